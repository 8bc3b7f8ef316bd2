"""Images and conditions that any of the small diffusion models can be asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from auditor.subjects.denoiser import Condition, Denoiser

CAPTIONS = ["a red boat", None, "the grey cat on the tree", "", "a red boat", "winter", "a dog"]


def conditions_of(model: Denoiser, count: int) -> list[Condition]:
    if model.conditioning == "text":
        return (CAPTIONS * count)[:count]
    if model.conditioning == "class":
        return [None if model.guided and row == 1 else row % model.classes for row in range(count)]
    return [None] * count


def pictures(model: Denoiser, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *model.image_shape), dtype=np.uint8)


def latents(model: Denoiser, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *model.latent_shape)).astype(np.float32)
