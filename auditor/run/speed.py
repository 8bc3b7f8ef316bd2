"""Times a model on a small batch, so that a plan can say how long a run will take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from auditor.core.seeds import generator
from auditor.subjects.capability import ScoreRequest

if TYPE_CHECKING:
    from auditor.subjects.capability import OpenModel
    from auditor.subjects.denoiser import Condition, Denoiser

LENGTH = 128
SEQUENCES = 8


def scoring_speed(model: OpenModel, seed: int) -> float:
    """Return how many tokens a second a model scores, from one batch after a first that warms it up."""
    rng = generator(seed, "speed")
    length = min(LENGTH, model.context)
    batch = [rng.integers(model.vocabulary, size=length).astype("int32") for _ in range(SEQUENCES)]
    request = ScoreRequest(moments=True, top_k=40)
    model.score(batch, request)
    began = time.perf_counter()
    model.score(batch, request)
    return SEQUENCES * length / max(time.perf_counter() - began, 1e-9)


def denoising_speed(model: Denoiser, seed: int) -> float:
    """Return how many images a second pass the network, from one batch after a first that warms it up."""
    rng = generator(seed, "speed")
    latents = rng.standard_normal((SEQUENCES, *model.latent_shape), dtype=np.float32)
    steps = np.full(SEQUENCES, len(model.alphas_cumprod) // 2)
    conditions: list[Condition] = [None] * SEQUENCES
    if not model.guided and model.conditioning != "none":
        conditions = ["" if model.conditioning == "text" else 0] * SEQUENCES
    model.predict_noise(latents, steps, conditions)
    began = time.perf_counter()
    model.predict_noise(latents, steps, conditions)
    return SEQUENCES / max(time.perf_counter() - began, 1e-9)
