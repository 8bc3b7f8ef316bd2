"""Times a model on a small batch, so that a plan can say how long a run will take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from auditor.core.seeds import generator
from auditor.subjects.capability import ScoreRequest

if TYPE_CHECKING:
    from auditor.subjects.capability import OpenModel

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
