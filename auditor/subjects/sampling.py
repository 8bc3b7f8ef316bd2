"""Draws tokens from logits by the inverse of their distribution, each row by numbers of its own.

The likeliest tokens stand first, so the same uniform number draws the same token wherever the logits agree but for
rounding, and the batch a row stands in changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditor.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.capability import SampleRequest


def check_request(request: SampleRequest, prefixes: int, seeds: int) -> None:
    """Refuse what cannot be drawn.

    Raises:
        ValueError: No token is asked, the top k or a temperature is out of range, or a prefix has no seed.
    """
    wrong = request.tokens < 1 or (request.top_k is not None and request.top_k < 1) or not request.temperatures
    if wrong or min(request.temperatures) <= 0.0:
        msg = f"tokens and top_k begin at 1 and temperatures are above 0: {request}"
        raise ValueError(msg)
    if prefixes != seeds:
        msg = f"{prefixes} prefixes and {seeds} seeds: give one for each"
        raise ValueError(msg)


def uniforms_of(seeds: Sequence[int], tokens: int) -> NDArray[np.float64]:
    """Return the uniform numbers that decide each row, shape [rows, tokens]; a longer row begins like a shorter one."""
    return np.array([np.random.default_rng(seed).random(tokens) for seed in seeds]).reshape(len(seeds), tokens)


def draw(
    logits: NDArray[np.floating], ids: NDArray[np.integer], uniforms: NDArray[np.float64], temperature: float
) -> NDArray[np.int64]:
    """Return the drawn token of each row, shape [rows].

    Args:
        logits: Logits or log-probabilities of the tokens that may be drawn, shape [rows, kept].
        ids: Their ids, shape [rows, kept].
        uniforms: In [0, 1), shape [rows].
        temperature: Above 0.

    Raises:
        SubjectError: A largest logit is no number.
    """
    order = np.lexsort((ids, -logits), axis=1)
    values = np.take_along_axis(logits, order, axis=1).astype(np.float64)
    if not np.isfinite(values[:, 0]).all() or np.isnan(values).any():
        msg = "the model gives NaN or infinity instead of probabilities"
        raise SubjectError(msg, hint="Is the checkpoint whole, and made for this precision? Try dtype: float32.")
    weights = np.exp((values - values[:, :1]) / temperature)
    cumulative = np.cumsum(weights, axis=1)
    place = (cumulative <= (uniforms * cumulative[:, -1])[:, None]).sum(axis=1)
    chosen = np.take_along_axis(order, np.minimum(place, values.shape[1] - 1)[:, None], axis=1)
    return np.take_along_axis(ids, chosen, axis=1)[:, 0].astype(np.int64)
