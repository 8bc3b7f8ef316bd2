"""What the probability of a suffix means for someone who may ask often. Logarithms are natural."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from auditor.statistics._checks import checked_level, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from auditor.statistics._checks import FloatArray

_ROUNDING = 1e-4
"""A sum of single-precision log-probabilities may end this far above 0."""
_SMALL = -30.0
"""Below this log p, log(1 - p) equals -p to the last digit."""


def _log_probabilities(log_p: ArrayLike) -> FloatArray:
    values = np.asarray(log_p, dtype=np.float64)
    if bool(np.isnan(values).any()) or bool((values > _ROUNDING).any()):
        msg = "log_p holds NaN or a value above 0: give natural logarithms of probabilities, minus infinity for none"
        raise ValueError(msg)
    return np.minimum(values, 0.0)


def _minus_log_miss(log_p: FloatArray, log_scale: float) -> FloatArray:
    """-log(1 - p) times exp(log_scale), for p down to exp(-1e300)."""
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        large = -np.log1p(-np.exp(log_p)) * math.exp(min(log_scale, 700.0))
        small = np.exp(log_p + log_scale)
    return np.asarray(np.where(log_p < _SMALL, small, large), dtype=np.float64)


def at_least_once(log_p: ArrayLike, queries: float) -> FloatArray:
    """The result is the probability that at least one of several independent generations is the suffix.

    Args:
        log_p: Natural log-probability of the suffix under the sampling distribution, any shape; minus infinity if the
            sampling rule excludes it.
        queries: Number of generations, at least 0; need not be whole.

    Returns:
        1 - (1 - p)^n in the shape of `log_p`, with full relative accuracy for p far below machine precision.

    Raises:
        ValueError: If a value is NaN or above 0, or the number of queries is negative or not finite.

    Source:
        Hayes et al. (2024), arXiv:2410.19482: (n, p)-discoverable extraction.
    """
    values = _log_probabilities(log_p)
    if not (math.isfinite(queries) and queries >= 0.0):
        msg = f"queries is {queries}: give a finite number of generations, at least 0"
        raise ValueError(msg)
    if queries == 0.0:
        return np.zeros_like(values)
    return np.asarray(-np.expm1(-_minus_log_miss(values, math.log(queries))), dtype=np.float64)


def queries_needed(log_p: ArrayLike, probability: float) -> FloatArray:
    """So many generations make the suffix appear at least once with the stated probability.

    Args:
        log_p: Natural log-probability of the suffix, any shape.
        probability: Probability to reach, strictly between 0 and 1.

    Returns:
        log(1 - probability) / log(1 - p) in the shape of `log_p`; not rounded: values up to 1 mean one query,
        infinity that no number suffices.

    Raises:
        ValueError: If a value is NaN or above 0, or the probability is out of range.

    Source:
        Hayes et al. (2024), arXiv:2410.19482.
    """
    values = _log_probabilities(log_p)
    wanted = -math.log1p(-checked_level(probability, "probability"))
    with np.errstate(divide="ignore", over="ignore"):
        far = np.exp(math.log(wanted) - values)
        near = wanted / -np.log1p(-np.exp(np.maximum(values, _SMALL)))
    return np.asarray(np.where(values < _SMALL, far, near), dtype=np.float64)


def is_extractable(log_p: ArrayLike, queries: float, probability: float) -> NDArray[np.bool_]:
    """True where the suffix is (n, p)-discoverably extractable.

    Args:
        log_p: Natural log-probability of the suffix, any shape.
        queries: Number of generations n, at least 0.
        probability: Probability p to reach, strictly between 0 and 1.

    Returns:
        Truth values in the shape of `log_p`; reaching the probability exactly counts.

    Raises:
        ValueError: As :func:`at_least_once`.

    Source:
        Hayes et al. (2024), arXiv:2410.19482, definition of (n, p)-discoverable extraction.
    """
    reached = at_least_once(log_p, queries)
    # Equality must survive rounding: with one query and p = 0.5 this is the share of suffixes at 0.5 or above.
    return np.asarray(reached >= checked_level(probability, "probability") * (1.0 - 1e-12), dtype=np.bool_)


def survival(log_p: ArrayLike, grid: ArrayLike) -> FloatArray:
    """The result is the share of items at least as probable as each point of the grid.

    Args:
        log_p: Natural log-probabilities of the items, shape [items].
        grid: Natural log-probabilities to compare with, shape [points].

    Returns:
        Shares from 0 to 1, shape [points].

    Raises:
        ValueError: If there is no item, or a value is NaN or above 0.

    Source:
        Hayes et al. (2024), arXiv:2410.19482, figures of extraction rate against probability.
    """
    items = np.sort(_log_probabilities(vector(log_p, "log_p", finite=False)))
    points = vector(grid, "grid", finite=False)
    return np.asarray(1.0 - np.searchsorted(items, points, "left") / items.size, dtype=np.float64)
