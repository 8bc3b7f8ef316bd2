"""Thresholds that are taken from one half of the controls and judged on the other.

A threshold that was taken from the very controls it is then held against finds a share of them that was fixed beforehand, whatever
the model does: no control any more. So half of the controls' clusters (persons, documents), drawn by the policy's seed, fix the
threshold and are not counted again. Given that half, the threshold is a constant to the members and to the other half; if
members and controls are exchangeable, so are the flags, and Fisher's test of the two rates is exact.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def calibrating(clusters: NDArray[np.object_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which controls fix thresholds: those of half of the clusters, drawn at random, rounded up.

    Args:
        clusters: The cluster of each control, shape [controls].
        rng: Decides which.
    """
    names, codes = np.unique(clusters.astype(str), return_inverse=True)
    chosen = np.zeros(len(names), dtype=np.bool_)
    chosen[rng.permutation(len(names))[: math.ceil(len(names) / 2)]] = True
    return np.asarray(chosen[codes])


def below(values: NDArray[np.float64], share: float) -> float:
    """Return the value that at most a share of new controls lies strictly below.

    It is the k-th smallest, k = floor(share (n + 1)) but at least 1: a new control lies strictly below it with probability
    k / (n + 1) at most.

    Args:
        values: Values of the calibrating controls, shape [n], n at least 1.
        share: Share asked for, 0 to 1; below 1 / (n + 1) it cannot be had, and the smallest value is returned.
    """
    k = min(max(1, math.floor(share * (len(values) + 1) * (1.0 + 1e-12))), len(values))
    return float(np.partition(values, k - 1)[k - 1])


def reached_share(count: int, share: float) -> float:
    """Return the share of new controls that `below` lets through on average, with `count` calibrating ones."""
    return min(max(1, math.floor(share * (count + 1) * (1.0 + 1e-12))), count) / (count + 1)
