"""The area under the ROC curve and its interval. A higher score means more likely a member."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, ndtri

from auditor.statistics._checks import checked_level, checked_whole, vector
from auditor.statistics.rate_interval import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray


_FEW_DISORDERED = 5.0
"""With fewer records than this on the wrong side the variance seen is a matter of luck; a score interval joins in."""


def _placements(values: FloatArray, among: FloatArray) -> FloatArray:
    """Share of `among` below each value, ties counting half."""
    ordered = np.sort(among)
    twice = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(twice / (2.0 * among.size), dtype=np.float64)


def auc(members: ArrayLike, controls: ArrayLike) -> float:
    """The result is the probability that a random member scores above a random control, ties counting half.

    Args:
        members: Scores of members, shape [n1]; infinite scores are ranked like any.
        controls: Scores of controls, shape [n0].

    Returns:
        Area under the ROC curve, 0 to 1; one minus it with the samples exchanged.

    Raises:
        ValueError: If a sample is empty or holds NaN.

    Source:
        Mann & Whitney (1947); Hanley & McNeil (1982), Radiology 143:29.
    """
    first, second = vector(members, "members", finite=False), vector(controls, "controls", finite=False)
    return float(_placements(first, second).mean())


def _keys(labels: ArrayLike | None, size: int, side: str) -> list[tuple[str, object]]:
    """Cluster names that tell a labelled cluster, which both sides may share, from a record that is its own."""
    if labels is None:
        return [(side, i) for i in range(size)]
    values = np.asarray(labels)
    if values.shape != (size,):
        msg = f"{side} clusters have shape {values.shape}: give one label for each of the {size} {side}"
        raise ValueError(msg)
    return [("label", x) for x in values.tolist()]


def _obuchowski(
    members: FloatArray,
    controls: FloatArray,
    member_keys: list[tuple[str, object]],
    control_keys: list[tuple[str, object]],
) -> tuple[float, float, int, int]:
    """AUC, its variance, and the numbers of member and control clusters."""
    names = {key: i for i, key in enumerate(dict.fromkeys([*member_keys, *control_keys]))}
    of_member = np.array([names[key] for key in member_keys])
    of_control = np.array([names[key] for key in control_keys])
    v1, v0 = _placements(members, controls), 1.0 - _placements(controls, members)
    area = float(v1.mean())
    # Sums over each cluster of how far its records lie from the area; zero for a cluster without such records.
    d1 = np.bincount(of_member, v1 - area, minlength=len(names))
    d0 = np.bincount(of_control, v0 - area, minlength=len(names))
    i1, i0, both = np.unique(of_member).size, np.unique(of_control).size, len(names)
    if i1 < 2 or i0 < 2:
        return area, 0.0, i1, i0
    m, n = members.size, controls.size
    variance = i1 / (i1 - 1) * float(d1 @ d1) / m**2 + i0 / (i0 - 1) * float(d0 @ d0) / n**2
    variance += 2.0 * both / (both - 1) * float(d1 @ d0) / (m * n)
    return area, max(0.0, variance), i1, i0


def _newcombe_variance(area: float, m: int, n: int) -> float:
    star = (m + n) / 2.0 - 1.0
    return area * (1.0 - area) * (1.0 + star * ((1.0 - area) / (2.0 - area) + area / (1.0 + area))) / (m * n)


def _newcombe_low(area: float, m: int, n: int, z: float) -> float:
    """Smallest area that the observed one does not contradict: (area - theta)^2 = z^2 V(theta)."""
    low, high = 0.0, area
    for _ in range(100):
        middle = (low + high) / 2.0
        if area - middle > z * math.sqrt(_newcombe_variance(middle, m, n)):
            low = middle
        else:
            high = middle
    return low


def _newcombe_interval(area: float, m: int, n: int, z: float) -> tuple[float, float]:
    low = _newcombe_low(area, m, n, z) if area > 0.0 else 0.0
    high = 1.0 - _newcombe_low(1.0 - area, m, n, z) if area < 1.0 else 1.0
    return low, high


def auc_interval(
    members: ArrayLike,
    controls: ArrayLike,
    level: float = 0.95,
    member_clusters: ArrayLike | None = None,
    control_clusters: ArrayLike | None = None,
) -> Interval:
    """The interval covers the area under the ROC curve of new members and controls drawn like these.

    Args:
        members: Scores of members, shape [n1], higher for more likely members.
        controls: Scores of controls, shape [n0].
        level: Two-sided confidence level.
        member_clusters: A label per member, for members of one person or document; each its own without it.
        control_clusters: A label per control. A label that stands on both sides names one cluster.

    Returns:
        The area with its interval on the logit scale; never of width zero.

    Raises:
        ValueError: If a sample is empty or holds NaN, or labels do not fit.

    Source:
        DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837; clustered by Obuchowski (1997), Biometrics 53:567;
        logit scale of Pepe (2003). Near 0 and 1, where the variance is seen poorly or
        not at all, the wider of it and Newcombe (2006), Stat. Med. 25:559, method 5.
    """
    first, second = vector(members, "members", finite=False), vector(controls, "controls", finite=False)
    z = float(ndtri((1.0 + checked_level(level)) / 2.0))
    m_keys, c_keys = _keys(member_clusters, first.size, "members"), _keys(control_clusters, second.size, "controls")
    area, variance, m, n = _obuchowski(first, second, m_keys, c_keys)
    few = min(m, n) * min(area, 1.0 - area) < _FEW_DISORDERED
    score_low, score_high = _newcombe_interval(area, m, n, z) if few or variance <= 0.0 else (area, area)
    if variance <= 0.0 or not 0.0 < area < 1.0:
        return Interval(area, min(score_low, area), max(score_high, area), level, "Newcombe method 5")
    logit, half = math.log(area / (1.0 - area)), z * math.sqrt(variance) / (area * (1.0 - area))
    low, high = min(float(expit(logit - half)), score_low), max(float(expit(logit + half)), score_high)
    method = "DeLong, logit" if member_clusters is None and control_clusters is None else "Obuchowski, logit"
    return Interval(area, low, high, level, f"{method}, with Newcombe method 5" if few else method)


def roc_curve(members: ArrayLike, controls: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The vertices joined by straight lines are the empirical ROC curve; their area is :func:`auc`.

    Args:
        members: Scores of members, shape [n1].
        controls: Scores of controls, shape [n0].

    Returns:
        False and true positive rates from (0, 0) to (1, 1). Tied scores make one slanted step; no hull is taken, and
        vertices on a straight line between their neighbours are left out.

    Raises:
        ValueError: If a sample is empty or holds NaN.

    Source:
        Fawcett (2006), Pattern Recognit. Lett. 27:861 (equal scores are processed together).
    """
    first, second = (
        np.sort(vector(members, "members", finite=False)),
        np.sort(vector(controls, "controls", finite=False)),
    )
    cuts = np.unique(np.concatenate([first, second]))[::-1]
    true = np.concatenate([[0], first.size - np.searchsorted(first, cuts, "left")]).astype(np.int64)
    false = np.concatenate([[0], second.size - np.searchsorted(second, cuts, "left")]).astype(np.int64)
    dx, dy = np.diff(false), np.diff(true)
    bends = dx[:-1] * dy[1:] != dx[1:] * dy[:-1]
    keep = np.concatenate([[True], bends, [True]])
    return false[keep] / second.size, true[keep] / first.size


def minimum_detectable_auc(n1: int, n0: int, level: float = 0.95) -> float:
    """An area at or below the result cannot be told from 0.5 by this many records.

    Args:
        n1: Number of members, at least 1.
        n0: Number of controls, at least 1.
        level: One-sided confidence level.

    Returns:
        0.5 plus the one-sided normal quantile times the standard deviation of the area without memorization, at most 1.

    Raises:
        ValueError: If a number is below 1 or the level is out of range.

    Source:
        Mann & Whitney (1947): null standard deviation sqrt((n1 + n0 + 1) / (12 n1 n0)).
    """
    sd = null_sd_auc(n1, n0)
    return min(1.0, 0.5 + float(ndtri(checked_level(level))) * sd)


def null_sd_auc(n1: int, n0: int) -> float:
    """The result is the standard deviation of the area when members and controls are alike and scores are not tied.

    Args:
        n1: Number of members, at least 1.
        n0: Number of controls, at least 1.

    Returns:
        sqrt((n1 + n0 + 1) / (12 n1 n0)).

    Raises:
        ValueError: If a number is below 1.

    Source:
        Mann & Whitney (1947), Ann. Math. Stat. 18:50.
    """
    checked_whole(n1, "n1", 1)
    checked_whole(n0, "n0", 1)
    return math.sqrt((n1 + n0 + 1) / (12.0 * n1 * n0))
