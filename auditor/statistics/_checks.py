"""What every function here refuses before it computes: NaN, wrong shapes, counts and levels out of range."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


def checked_level(level: float, name: str = "level") -> float:
    """Return a probability strictly between 0 and 1, or refuse it."""
    if not 0.0 < level < 1.0:
        msg = f"{name} is {level}: give a probability strictly between 0 and 1, such as 0.95"
        raise ValueError(msg)
    return float(level)


def checked_counts(successes: float, trials: float, name: str = "the sample") -> tuple[float, float]:
    """Return a count and its total as floats, or refuse what no experiment can give."""
    if not (math.isfinite(successes) and math.isfinite(trials)):
        msg = f"{name} has {successes} successes in {trials} trials: both must be finite numbers"
        raise ValueError(msg)
    if trials <= 0.0:
        msg = f"{name} has {trials} trials: a rate needs at least one"
        raise ValueError(msg)
    if not 0.0 <= successes <= trials:
        msg = f"{name} has {successes} successes in {trials} trials: successes must lie between 0 and trials"
        raise ValueError(msg)
    return float(successes), float(trials)


def checked_whole(value: int, name: str, least: int = 0) -> int:
    """Return a whole number not below `least`, or refuse it."""
    if value != int(value) or value < least:
        msg = f"{name} is {value}: give a whole number of at least {least}"
        raise ValueError(msg)
    return int(value)


def vector(values: ArrayLike, name: str, least: int = 1, *, finite: bool = True) -> FloatArray:
    """Return a one-dimensional float array without NaN, or refuse it.

    Infinite scores are allowed where only ranks matter (`finite=False`): a log-probability of minus infinity is a fact.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        msg = f"{name} has {array.ndim} dimensions: give one number per unit"
        raise ValueError(msg)
    if array.size < least:
        msg = f"{name} holds {array.size} numbers: at least {least} needed"
        raise ValueError(msg)
    bad = ~np.isfinite(array) if finite else np.isnan(array)
    if bad.any():
        where = int(np.flatnonzero(bad)[0])
        msg = f"{name} holds {array[where]} at position {where}: repair or remove it, with its record"
        raise ValueError(msg)
    return array


def cluster_codes(labels: ArrayLike | None, size: int, name: str) -> IntArray:
    """Return one whole number per unit naming its cluster; without labels every unit is its own."""
    if labels is None:
        return np.arange(size, dtype=np.int64)
    array = np.asarray(labels)
    if array.shape != (size,):
        msg = f"{name} has shape {array.shape}: give one label for each of the {size} units"
        raise ValueError(msg)
    if array.dtype.kind == "f" and bool(np.isnan(array).any()):
        msg = f"{name} holds NaN: every unit needs a cluster, give a unit without one a label of its own"
        raise ValueError(msg)
    return np.asarray(np.unique(array, return_inverse=True)[1], dtype=np.int64)


def above_zero(p_value: float) -> float:
    """Return a p-value that floating point rounded to 0 as the smallest normal number: no evidence has a probability of 0."""
    return max(float(p_value), float(np.finfo(np.float64).tiny))
