"""How much attention each token of a caption gets: softmax by hand, every layer, padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from asked_of_denoisers import CAPTIONS, conditions_of, latents
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_pipelines import opened, tokenizer

from auditor.errors import UnsupportedError
from auditor.subjects.adapters.attention_weights import RecordingProcessor, cross_attention_layers

if TYPE_CHECKING:
    from tiny_pipelines import Pipelines

STEPS = np.array([0, 1, 250, 500, 750, 998, 999])


@settings(derandomize=True, deadline=None, max_examples=20)
@given(
    heads=st.integers(1, 3),
    pixels=st.integers(1, 9),
    tokens=st.integers(1, 6),
    rows=st.integers(1, 3),
    seed=st.integers(0, 10**6),
)
def test_recorded_attention_is_softmax_of_query_and_key(
    heads: int, pixels: int, tokens: int, rows: int, seed: int
) -> None:
    """Each head by hand; what the layer gives is what it gives without being recorded."""
    from diffusers.models.attention_processor import Attention

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        layer = Attention(query_dim=6, cross_attention_dim=5, heads=heads, dim_head=4)
        x, caption = torch.randn(rows, pixels, 6), torch.randn(rows, tokens, 5)
        plain = layer(x, encoder_hidden_states=caption)
        recorded: list[torch.Tensor] = []
        layer.set_processor(RecordingProcessor(recorded))
        assert (layer(x, encoder_hidden_states=caption) - plain).abs().max() < 1e-5
        for row in range(rows):
            mean = np.zeros(tokens)
            query = (x[row] @ layer.to_q.weight.T).numpy().astype(float)
            key = (caption[row] @ layer.to_k.weight.T).numpy().astype(float)
            for head in range(heads):
                part = slice(4 * head, 4 * head + 4)
                scores = np.exp(query[:, part] @ key[:, part].T / 2.0)  # the square root of 4
                mean += (scores / scores.sum(axis=1, keepdims=True)).mean(axis=0) / heads
            assert np.abs(recorded[0][row].numpy() - mean).max() < 1e-5


@pytest.mark.parametrize("name", ["captions", "two-encoders", "inpainting"])
def test_attention_of_every_layer_and_token(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    x, steps = latents(model, 7), STEPS
    plain, before = model.predict_noise(x, steps, CAPTIONS), model.passes
    seen = model.cross_attention(x, steps, CAPTIONS)
    assert model.passes == before + 7
    assert seen.weights.shape == (7, len(cross_attention_layers(model._network)), 12)
    assert np.allclose(seen.weights.sum(axis=2), 1.0, atol=1e-5)
    assert (seen.weights >= 0).all()
    assert np.array_equal(model.predict_noise(x, steps, CAPTIONS), plain)  # the library's own layers are back
    alone = model.cross_attention(x[2:3], steps[2:3], CAPTIONS[2:3])
    assert np.abs(alone.weights[0] - seen.weights[2]).max() < 1e-5


def test_padding_begins_at_the_first_end_of_text(pipelines: Pipelines) -> None:
    model = pipelines.model("captions")
    words = tokenizer()
    captions = ["a dog", None, "", "the cat on the tree of the dog on the boat on the tree"]
    padding = model.cross_attention(latents(model, 4), np.array([1] * 4), captions).padding
    for row, caption in enumerate(captions):
        ids = words(caption or "", truncation=True, max_length=12)["input_ids"]
        assert ids[-1] == words.eos_token_id
        assert padding[row].argmax() == len(ids) - 1
        assert padding[row, len(ids) - 1 :].all()
        assert not padding[row, : len(ids) - 1].any()


def test_padding_is_whatever_stands_after_the_end(pipelines: Pipelines) -> None:
    """Some tokenizers pad with another token than the one that ends a text."""
    model = opened(pipelines.folder("captions"))
    model._pipeline.tokenizer.pad_token = "!"
    padding = model.cross_attention(latents(model, 1), np.array([1]), ["a dog"]).padding[0]
    assert padding.tolist() == [False] * 3 + [True] * 9


@pytest.mark.parametrize("name", ["ddpm", "transformer", "classes"])
def test_models_without_captions_show_no_attention(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    with pytest.raises(UnsupportedError, match="no cross-attention"):
        model.cross_attention(latents(model, 1), np.array([1]), conditions_of(model, 1))
