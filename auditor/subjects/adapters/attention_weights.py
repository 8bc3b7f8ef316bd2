"""Records how much attention each token of a caption gets, in every cross-attention layer of a network."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


class RecordingProcessor:
    """Computes cross-attention and keeps its probabilities, mean over heads and pixels.

    The library's own processors fuse softmax and product and never have the probabilities.
    """

    def __init__(self, recorded: list[torch.Tensor]) -> None:
        """Keep where the probabilities go, one tensor of shape [rows, tokens] for each call."""
        self._recorded = recorded

    def __call__(
        self,
        attn: Any,  # noqa: ANN401
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        **_: object,
    ) -> torch.Tensor:
        """Return what the layer gives."""
        residual, shape = hidden_states, hidden_states.shape
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        if len(shape) == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        tokens = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        mask = attn.prepare_attention_mask(attention_mask, tokens.shape[1], len(hidden_states))
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        if encoder_hidden_states is not None and attn.norm_cross:
            tokens = attn.norm_encoder_hidden_states(tokens)
        query, key, value = (
            attn.head_to_batch_dim(made) for made in (attn.to_q(hidden_states), attn.to_k(tokens), attn.to_v(tokens))
        )
        weights = attn.get_attention_scores(query, key, mask)
        by_head = weights.float().mean(dim=1)
        self._recorded.append(by_head.view(len(residual), -1, by_head.shape[-1]).mean(dim=1))
        hidden_states = attn.batch_to_head_dim(torch.bmm(weights, value))
        hidden_states = attn.to_out[1](attn.to_out[0](hidden_states))
        if len(shape) == 4:
            hidden_states = hidden_states.transpose(1, 2).reshape(shape)
        if attn.residual_connection:
            hidden_states = hidden_states + residual
        made_whole: torch.Tensor = hidden_states / attn.rescale_output_factor
        return made_whole


def cross_attention_layers(network: Any) -> list[Any]:  # noqa: ANN401
    """Return the layers that attend from pixels to the tokens of a caption."""
    from diffusers.models.attention_processor import (  # noqa: PLC0415
        Attention,
        AttnProcessor,
        AttnProcessor2_0,
    )

    return [
        layer
        for layer in network.modules()
        if isinstance(layer, Attention)
        and layer.is_cross_attention
        and isinstance(layer.processor, AttnProcessor | AttnProcessor2_0)
    ]


@contextlib.contextmanager
def recording(layers: list[Any]) -> Iterator[list[torch.Tensor]]:
    """Record the attention of the layers while the block runs: one tensor [rows, tokens] a layer, in the order they are computed."""
    recorded: list[torch.Tensor] = []
    before = [layer.processor for layer in layers]
    try:
        for layer in layers:
            layer.set_processor(RecordingProcessor(recorded))
        yield recorded
    finally:
        for layer, processor in zip(layers, before, strict=True):
            layer.set_processor(processor)
