"""The share of members found at a low false positive rate, never read beyond what the controls can support."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import betaincinv

from auditor.statistics._checks import checked_level, cluster_codes, vector
from auditor.statistics.clustered import clustered_rate
from auditor.statistics.rate_interval import Interval, clopper_pearson, mover_difference

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray


class OperatingPoint(NamedTuple):
    """A threshold taken from the controls, and what it finds."""

    fpr: float
    """False positive rate asked for."""
    threshold: float
    """A record counts as found if its score is strictly above."""
    tpr: Interval
    """Share of members found."""
    fpr_interval: Interval
    """Share of new controls that this threshold finds."""
    excess: Interval
    """`tpr` minus `fpr_interval`."""


def least_controls(fpr: float) -> int:
    """Below the result a false positive rate would rest on fewer than ten controls.

    Args:
        fpr: False positive rate, strictly between 0 and 1.

    Returns:
        10 / fpr, rounded up.

    Raises:
        ValueError: If the rate is out of range.

    Source:
        Ours: ten controls at or above the threshold bring the relative error of the rate to about one in three.
    """
    # 10 / 0.001 is 10000.000000000002 on some rates: a count must not grow by rounding.
    return math.ceil(10.0 / checked_level(fpr, "fpr") * (1.0 - 1e-12))


def _control_rate(controls: FloatArray, threshold: float, k: int, level: float) -> Interval:
    """The share of new controls strictly above the k-th largest of these."""
    n = controls.size
    above = int(np.count_nonzero(controls > threshold))
    tied = int(np.count_nonzero(controls == threshold)) > 1
    tail = (1.0 - level) / 2.0
    high = float(betaincinv(k, n + 1.0 - k, 1.0 - tail))
    # Among tied controls the true share lies below the k-th order statistic by an unknown part of the tie.
    rank = above if tied else k
    low = float(betaincinv(rank, n + 1.0 - rank, tail)) if rank else 0.0
    value = min(max((above + 1.0) / (n + 1.0), low), high)
    return Interval(
        value, low, high, level, "order statistic, ties counted as not found" if tied else "order statistic"
    )


def _by_cluster(found: FloatArray, labels: ArrayLike, level: float, name: str) -> Interval:
    codes = cluster_codes(labels, found.size, name)
    return clustered_rate(np.bincount(codes, found), np.bincount(codes), level)


def tpr_at_fpr(
    members: ArrayLike,
    controls: ArrayLike,
    fpr: float,
    level: float = 0.95,
    member_clusters: ArrayLike | None = None,
    control_clusters: ArrayLike | None = None,
) -> OperatingPoint:
    """The share of members found never comes with more false positives than asked for, ties included.

    The threshold is the k-th largest control, k = floor(fpr * (n0 + 1)): then fewer than k controls lie strictly
    above it, and a new control does with probability k / (n0 + 1) <= fpr.

    Args:
        members: Scores of members, shape [n1], higher for more likely members.
        controls: Scores of controls, shape [n0], at least :func:`least_controls`.
        fpr: False positive rate asked for, strictly between 0 and 1.
        level: Two-sided confidence level of every interval.
        member_clusters: A label per member, for members of one person or document.
        control_clusters: A label per control. Given, the false positive rate gets a clustered interval too.

    Returns:
        The operating point. Scores tied with the threshold count as not found.

    Raises:
        ValueError: If there are too few controls for the rate, a sample is empty or holds NaN, or labels do not fit.

    Source:
        Share above an order statistic: Beta(k, n0 + 1 - k), David & Nagaraja (2003), Order Statistics; the
        difference by Zou & Donner (2008).
    """
    checked_level(level)
    first, second = vector(members, "members", finite=False), vector(controls, "controls", finite=False)
    if second.size < least_controls(fpr):
        msg = (
            f"{second.size} controls are too few for a false positive rate of {fpr:g}: "
            f"supply at least {least_controls(fpr)}, or ask for a higher rate"
        )
        raise ValueError(msg)
    k = math.floor(fpr * (second.size + 1) * (1.0 + 1e-12))
    threshold = float(np.partition(second, second.size - k)[second.size - k])
    found = (first > threshold).astype(np.float64)
    if member_clusters is None:
        tpr = clopper_pearson(float(found.sum()), first.size, level)
    else:
        tpr = _by_cluster(found, member_clusters, level, "member clusters")
    false = _control_rate(second, threshold, k, level)
    if control_clusters is not None:
        wide = _by_cluster((second > threshold).astype(np.float64), control_clusters, level, "control clusters")
        false = Interval(
            false.value, min(false.low, wide.low), max(false.high, wide.high), level, f"{false.method}; {wide.method}"
        )
    return OperatingPoint(fpr, threshold, tpr, false, mover_difference(tpr, false))
