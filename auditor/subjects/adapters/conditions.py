"""Turns captions and class labels into what a network and its pipeline are called with."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from auditor.errors import DataError, SubjectError, UnsupportedError
from auditor.subjects.adapters.opening import quietly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.denoiser import Condition, Conditioning

CACHE_BYTES = 256 * 2**20
"""Embeddings of captions that are kept; the one used longest ago goes first."""
_CAPTIONS_AT_ONCE = 16


class Conditions(Protocol):
    """What a network is conditioned on."""

    kind: Conditioning
    classes: int
    guided: bool

    def inputs(self, conditions: Sequence[Condition]) -> dict[str, Any]:
        """Return the arguments that condition one pass of the network, one row for each condition."""
        ...

    def call(self, conditions: Sequence[Condition], guidance: float) -> dict[str, Any]:
        """Return the arguments that condition a call of the pipeline, one image for each condition."""
        ...


class NoConditions:
    """The network takes none."""

    kind: Conditioning = "none"
    classes = 0
    guided = False

    def inputs(self, conditions: Sequence[Condition]) -> dict[str, Any]:
        """Return none."""
        named = next((condition for condition in conditions if condition is not None), None)
        if named is not None:
            msg = f"the model is not conditioned on anything, and was asked for {type(named).__name__} '{named}'"
            raise UnsupportedError(msg, hint="Ask it with the null condition.")
        return {}

    def call(self, conditions: Sequence[Condition], guidance: float) -> dict[str, Any]:  # noqa: ARG002
        """Return the number of images."""
        return {**self.inputs(conditions), "batch_size": len(conditions)}


class ClassLabels:
    """The network takes class labels.

    Args:
        classes: Number of labels.
        null: The label that means no class; None where the network has none.
        device: Where the network is.
        named: The pipeline takes labels, too; else they are given to the network alone.
    """

    kind: Conditioning = "class"

    def __init__(self, classes: int, null: int | None, device: torch.device, *, named: bool) -> None:
        """Keep what the labels mean."""
        self.classes, self.null, self.guided = classes, null, null is not None
        self._device, self._named = device, named

    def _numbers(self, conditions: Sequence[Condition]) -> list[int]:
        return [self._number(condition) for condition in conditions]

    def _number(self, condition: Condition) -> int:
        if condition is None:
            if self.null is None:
                msg = "the network knows classes alone and has no null class"
                raise UnsupportedError(msg, hint="Give every image its label: name the column as `label`.")
            return self.null
        if not isinstance(condition, int | np.integer) or not 0 <= int(condition) < self.classes:
            msg = f"'{condition}' is no class label of this model"
            raise DataError(msg, hint=f"Labels are whole numbers from 0 to {self.classes - 1}.")
        return int(condition)

    def inputs(self, conditions: Sequence[Condition]) -> dict[str, Any]:
        """Return the labels."""
        return {"class_labels": torch.tensor(self._numbers(conditions), device=self._device)}

    def call(self, conditions: Sequence[Condition], guidance: float) -> dict[str, Any]:
        """Return the labels where the pipeline takes them, else the number of images."""
        numbers = self._numbers(conditions)
        return {"class_labels": numbers, "guidance_scale": guidance} if self._named else {"batch_size": len(numbers)}


class Captions:
    """The network takes captions, embedded by the pipeline itself; each is embedded once and kept for a while.

    Args:
        pipeline: A Stable Diffusion or SDXL pipeline.
        size: Height and width of the images, pixel: SDXL is conditioned on them, too.
    """

    kind: Conditioning = "text"
    classes = 0
    guided = True

    def __init__(self, pipeline: Any, size: tuple[int, int]) -> None:  # noqa: ANN401
        """Embed the null condition and see that the text encoders fit the network.

        Raises:
            SubjectError: They do not.
        """
        self._pipeline = pipeline
        self._kept: OrderedDict[Condition, tuple[torch.Tensor, ...]] = OrderedDict()
        self._bytes = 0
        self._pooled = hasattr(pipeline, "tokenizer_2")
        self._size = size
        width = int(self._rows([None])[0].shape[-1])
        wanted = pipeline.unet.config.cross_attention_dim
        if width != wanted:
            msg = f"the text encoder gives {width} numbers for each token, the network takes {wanted}"
            raise SubjectError(msg, hint="Text encoder and network do not belong together; copy both from one place.")
        if self._pooled:
            self._see_that_sizes_fit()

    def _see_that_sizes_fit(self) -> None:
        unet = self._pipeline.unet
        given = 6 * unet.config.addition_time_embed_dim + int(self._rows([None])[1].shape[-1])
        taken = unet.add_embedding.linear_1.in_features
        if given != taken:
            msg = f"the second text encoder and the image's size give {given} numbers, the network takes {taken}"
            raise SubjectError(msg, hint="Text encoder and network do not belong together; copy both from one place.")

    def _embed(self, captions: list[str]) -> list[tuple[torch.Tensor, ...]]:
        with quietly():  # a caption that is too long would be printed
            made = self._pipeline.encode_prompt(
                prompt=captions,
                device=self._pipeline.device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=False,
            )
        parts = [made[0], made[2]] if self._pooled else [made[0]]
        return list(zip(*(part.cpu() for part in parts), strict=True))

    def _embed_null(self) -> tuple[torch.Tensor, ...]:
        """Return what the pipeline itself guides away from: the empty prompt, or zeros."""
        with quietly():
            made = self._pipeline.encode_prompt(
                prompt=[""], device=self._pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=True
            )
        return tuple(made[part][0].cpu() for part in ((1, 3) if self._pooled else (1,)))

    def _rows(self, conditions: Sequence[Condition]) -> list[torch.Tensor]:
        """Return the embeddings of conditions, on the network's device: of tokens, and of SDXL the pooled ones."""
        for condition in conditions:
            if condition is not None and not isinstance(condition, str):
                msg = f"'{condition}' is no caption"
                raise DataError(msg, hint="The model is conditioned on captions: name the column as `caption`.")
        new = [text for text in dict.fromkeys(conditions) if isinstance(text, str) and text not in self._kept]
        found: dict[Any, tuple[torch.Tensor, ...]] = {}
        for start in range(0, len(new), _CAPTIONS_AT_ONCE):
            part = new[start : start + _CAPTIONS_AT_ONCE]
            found.update(zip(part, self._embed(part), strict=True))
        if None in conditions and None not in self._kept:
            found[None] = self._embed_null()
        for condition in set(conditions) & self._kept.keys():
            found[condition] = self._kept[condition]
            self._kept.move_to_end(condition)
        rows = [found[condition] for condition in conditions]
        self._keep({condition: row for condition, row in found.items() if condition not in self._kept})
        return [torch.stack(list(part)).to(self._pipeline.device) for part in zip(*rows, strict=True)]

    def _keep(self, found: dict[Any, tuple[torch.Tensor, ...]]) -> None:
        for condition, row in found.items():
            own = tuple(part.clone() for part in row)  # a view would keep its whole batch alive
            self._kept[condition] = own
            self._bytes += sum(part.nbytes for part in own)
        while self._bytes > CACHE_BYTES and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= sum(part.nbytes for part in gone)

    def _sizes(self, rows: int, like: torch.Tensor) -> torch.Tensor:
        """Return what SDXL is told of an image: its size before it was cut, where it was cut, the size wanted."""
        return torch.tensor([[*self._size, 0, 0, *self._size]], dtype=like.dtype, device=like.device).repeat(rows, 1)

    def inputs(self, conditions: Sequence[Condition]) -> dict[str, Any]:
        """Return the embeddings as the network takes them."""
        rows = self._rows(conditions)
        if not self._pooled:
            return {"encoder_hidden_states": rows[0]}
        added = {"text_embeds": rows[1], "time_ids": self._sizes(len(conditions), rows[1])}
        return {"encoder_hidden_states": rows[0], "added_cond_kwargs": added}

    def call(self, conditions: Sequence[Condition], guidance: float) -> dict[str, Any]:
        """Return the embeddings as the pipeline takes them."""
        names = ("prompt_embeds", "pooled_prompt_embeds")
        given: dict[str, Any] = dict(zip(names, self._rows(conditions), strict=False))
        if guidance > 1.0:
            null = self._rows([None] * len(conditions))
            given |= {f"negative_{name}": rows for name, rows in zip(names, null, strict=False)}
        return given | {"guidance_scale": guidance}

    def padding(self, conditions: Sequence[Condition]) -> NDArray[np.bool_]:
        """Return which tokens stand at or after the first end-of-text of each caption, shape [captions, tokens]."""
        words = self._pipeline.tokenizer
        with quietly():
            texts = [condition if isinstance(condition, str) else "" for condition in conditions]
            length = words.model_max_length
            asked = words(texts, padding="max_length", max_length=length, truncation=True, return_tensors="np")
        ended = np.asarray(asked["input_ids"]) == words.eos_token_id
        return np.maximum.accumulate(ended, axis=1)
