"""Stands between a pipeline and its network: counts what passes, and puts right what the pipeline does not know of."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


class NetworkPasses:
    """Counts the images that go through a network, whoever calls it.

    Args:
        network: The network of a pipeline.
        channels: Channels of what it denoises; what it gives beyond them is a variance.
    """

    def __init__(self, network: Any, channels: int) -> None:  # noqa: ANN401
        """Look at every pass from here on."""
        self.images = 0
        self._channels = channels
        self._labels: torch.Tensor | None = None
        self._null: tuple[int, int] | None = None
        self._strip = False
        network.register_forward_pre_hook(self._before, with_kwargs=True)
        network.register_forward_hook(self._after)

    def _before(self, _: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        self.images += len(args[0])
        if self._labels is not None:
            return args, {**kwargs, "class_labels": self._labels}
        if self._null is not None and len(kwargs["class_labels"]) > self._null[0]:
            first, null = self._null
            labels = kwargs["class_labels"].clone()
            labels[first:] = null
            return args, {**kwargs, "class_labels": labels}
        return args, kwargs

    def _after(self, _: object, __: object, made: Any) -> Any:  # noqa: ANN401
        return type(made)(sample=made.sample[:, : self._channels]) if self._strip else made

    @contextlib.contextmanager
    def put_right(
        self,
        *,
        labels: torch.Tensor | None = None,
        null: tuple[int, int] | None = None,
        strip: bool = False,
    ) -> Iterator[None]:
        """Change what goes in and out while the block runs.

        Args:
            labels: Class labels for every pass: diffusers' unconditional pipelines give none.
            null: Rows from the first number on get the second as their label: diffusers' DiT pipeline writes 1000 as null class.
            strip: Leave the variance out: diffusers' DDIM step does not know it.
        """
        self._labels, self._null, self._strip = labels, null, strip
        try:
            yield
        finally:
            self._labels, self._null, self._strip = None, None, False
