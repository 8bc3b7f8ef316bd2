"""Comparisons within strata: members are held against controls of their own stratum only.

Where members' captions are longer than controls', a score that grows with length tells them apart although nothing was memorized.
Within strata of equal length it does not. A higher score means more likely a member.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import expit, ndtri

from auditor.statistics._checks import checked_level, checked_whole, cluster_codes, vector
from auditor.statistics.area import auc
from auditor.statistics.rate_interval import Interval, wilson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray, IntArray

_CELLS = 2_000_000
"""Labels held in memory at once."""
_FEW = 10.0
"""Below this many wrongly ordered units the variance seen is a matter of luck; a score interval joins in."""


class Side(NamedTuple):
    """The units of one side."""

    scores: FloatArray
    """Shape [scores, records]."""
    strata: IntArray
    """Stratum of each record, equal within a cluster, shape [records]."""
    clusters: IntArray
    """Cluster of each record, shape [records]."""


def strata_of(
    member_values: ArrayLike,
    control_values: ArrayLike,
    bins: int,
    member_clusters: ArrayLike | None = None,
    control_clusters: ArrayLike | None = None,
) -> tuple[IntArray, IntArray]:
    """The strata do not depend on which records are members; a cluster is never divided.

    Args:
        member_values: What is made alike, such as caption lengths, shape [n1].
        control_values: The same of controls, shape [n0].
        bins: Largest number of strata, at least 1.
        member_clusters: A label per member; a cluster's value is its mean.
        control_clusters: A label per control.

    Returns:
        Stratum of each member and of each control, from 0, cut at the quantiles of all values of clusters; equal
        values are in one stratum.

    Raises:
        ValueError: If a value is not finite or labels do not fit.
    """
    checked_whole(bins, "bins", 1)
    means: list[FloatArray] = []
    codes: list[IntArray] = []
    for values, labels, name in (
        (member_values, member_clusters, "members"),
        (control_values, control_clusters, "controls"),
    ):
        array = vector(values, f"values of {name}")
        code = cluster_codes(labels, array.size, f"clusters of {name}")
        means.append(np.bincount(code, array) / np.bincount(code))
        codes.append(code)
    cuts = np.unique(np.quantile(np.concatenate(means), np.arange(1, bins) / bins, method="inverted_cdf"))
    first, second = (np.searchsorted(cuts, mean, "left")[code] for mean, code in zip(means, codes, strict=True))
    return first.astype(np.int64), second.astype(np.int64)


def usable(member_strata: ArrayLike, control_strata: ArrayLike, members: IntArray, controls: IntArray) -> IntArray:
    """The strata returned have at least two clusters on each side: a variance can be seen there.

    Args:
        member_strata: Stratum of each member.
        control_strata: Stratum of each control.
        members: Cluster of each member.
        controls: Cluster of each control.
    """
    first, second = np.asarray(member_strata), np.asarray(control_strata)
    kept = [
        stratum
        for stratum in np.unique(first)
        if min(np.unique(members[first == stratum]).size, np.unique(controls[second == stratum]).size) >= 2
    ]
    return np.array(kept, dtype=np.int64)


def _sides(
    member_scores: ArrayLike,
    control_scores: ArrayLike,
    member_strata: ArrayLike,
    control_strata: ArrayLike,
    member_clusters: ArrayLike | None,
    control_clusters: ArrayLike | None,
) -> tuple[Side, Side, IntArray]:
    sides = []
    for scores, strata, clusters, name in (
        (member_scores, member_strata, member_clusters, "member"),
        (control_scores, control_strata, control_clusters, "control"),
    ):
        rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
        where = np.asarray(strata, dtype=np.int64)
        if rows.ndim != 2 or not rows.size or np.isnan(rows).any() or where.shape != rows.shape[1:]:
            msg = f"{name} scores have shape {rows.shape} and strata {where.shape}, or a score is NaN: give one of each a record"
            raise ValueError(msg)
        codes = cluster_codes(clusters, rows.shape[1], f"{name} clusters")
        if np.unique(np.stack([codes, where]), axis=1).shape[1] != np.unique(codes).size:
            msg = f"a {name} cluster lies in two strata: give strata that keep clusters whole (see strata_of)"
            raise ValueError(msg)
        sides.append(Side(rows, where, codes))
    first, second = sides
    if len(first.scores) != len(second.scores):
        msg = (
            f"{len(first.scores)} scores of members and {len(second.scores)} of controls: give the same scores for both"
        )
        raise ValueError(msg)
    kept = usable(first.strata, second.strata, first.clusters, second.clusters)
    if not kept.size:
        msg = "no stratum has two clusters on each side: ask for fewer strata"
        raise ValueError(msg)
    return first, second, kept


def _weights(first: Side, second: Side, kept: IntArray) -> FloatArray:
    """Van Elteren's weights of the strata, by clusters: they do not change when labels are exchanged within strata."""
    found = []
    for stratum in kept:
        m, n = (np.unique(side.clusters[side.strata == stratum]).size for side in (first, second))
        found.append(m * n / (m + n + 1.0))
    weights = np.array(found)
    return np.asarray(weights / weights.sum())


def stratified_auc(
    members: ArrayLike,
    controls: ArrayLike,
    member_strata: ArrayLike,
    control_strata: ArrayLike,
    level: float = 0.95,
    member_clusters: ArrayLike | None = None,
    control_clusters: ArrayLike | None = None,
) -> Interval:
    """The interval covers the mean over strata of the areas under their ROC curves.

    Args:
        members: Scores of members, shape [n1].
        controls: Scores of controls, shape [n0].
        member_strata: Stratum of each member, the same within a cluster.
        control_strata: Stratum of each control.
        level: Two-sided confidence level.
        member_clusters: A label per member; each its own without it. Labels are read within a side.
        control_clusters: A label per control.

    Returns:
        The mean with van Elteren's weights and its interval; strata with fewer than two clusters on a side are left out.
        With one stratum the area itself.

    Raises:
        ValueError: If shapes do not fit, a score is NaN, or no stratum can be used.

    Source:
        van Elteren (1960), Bull. Inst. Int. Stat. 37:351 (weights); placements of DeLong et al. (1988), summed by cluster as
        Obuchowski (1997); logit scale of Pepe (2003). Near 0 and 1 the wider of it and Wilson's interval for the fewer
        clusters.
    """
    z = float(ndtri((1.0 + checked_level(level)) / 2.0))
    first, second, kept = _sides(members, controls, member_strata, control_strata, member_clusters, control_clusters)
    weights = _weights(first, second, kept)
    area = variance = 0.0
    units = np.zeros(2)
    for weight, stratum in zip(weights, kept, strict=True):
        mine, other = first.strata == stratum, second.strata == stratum
        x, y = first.scores[0, mine], second.scores[0, other]
        own = auc(x, y)
        area += float(weight) * own
        for side, (values, among, codes) in enumerate(((x, y, first.clusters[mine]), (y, x, second.clusters[other]))):
            ordered = np.sort(among)
            below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
            centred = below / (2.0 * among.size) - (own if side == 0 else 1.0 - own)
            sums = np.bincount(codes, centred, minlength=int(codes.max()) + 1)
            clusters = np.unique(codes).size
            variance += float(weight) ** 2 * clusters / (clusters - 1.0) * float(sums @ sums) / values.size**2
            units[side] += clusters
    fewest = float(units.min())
    near = wilson(area * fewest, fewest, level) if fewest * min(area, 1.0 - area) < _FEW or variance <= 0.0 else None
    low, high = (near.low, near.high) if near else (area, area)
    if variance > 0.0 and 0.0 < area < 1.0:
        logit, half = math.log(area / (1.0 - area)), z * math.sqrt(variance) / (area * (1.0 - area))
        low, high = min(low, float(expit(logit - half))), max(high, float(expit(logit + half)))
    method = f"van Elteren over {kept.size} strata, logit" + (", with Wilson" if near else "")
    return Interval(area, min(low, area), max(high, area), level, method)


def _units(first: Side, second: Side, stratum: int) -> tuple[FloatArray, IntArray, int]:
    """Return the midranks of a stratum's records, the cluster of each, and how many of the clusters are members."""
    mine, other = first.strata == stratum, second.strata == stratum
    pooled = np.hstack([first.scores[:, mine], second.scores[:, other]])
    ranks = np.empty_like(pooled)
    for row, values in enumerate(pooled):
        ordered = np.sort(values)
        ranks[row] = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") + 1) / 2.0
    codes = np.unique(first.clusters[mine], return_inverse=True)[1]
    members = int(codes.max()) + 1
    rest = np.unique(second.clusters[other], return_inverse=True)[1] + members
    return ranks, np.concatenate([codes, rest]).astype(np.int64), members


def _areas(ranks: FloatArray, is_member: FloatArray) -> FloatArray:
    """Area of every score (rows of ranks) under every labelling (rows of is_member), shape [labellings, scores]."""
    n1 = is_member.sum(axis=1, keepdims=True)
    return np.asarray(
        (is_member @ ranks.T - n1 * (n1 + 1.0) / 2.0) / (n1 * (is_member.shape[1] - n1)), dtype=np.float64
    )


def permutation_max_stratified(
    member_scores: ArrayLike,
    control_scores: ArrayLike,
    member_strata: ArrayLike,
    control_strata: ArrayLike,
    rng: np.random.Generator,
    permutations: int = 999,
    member_clusters: ArrayLike | None = None,
    control_clusters: ArrayLike | None = None,
) -> tuple[float, tuple[float, ...]]:
    """The p-values are valid if within every stratum members and controls are alike, however the strata differ.

    Args:
        member_scores: Scores of members, shape [scores, n1], each row higher for more likely members.
        control_scores: Scores of controls, shape [scores, n0].
        member_strata: Stratum of each member, the same within a cluster.
        control_strata: Stratum of each control.
        rng: Source of the permutations.
        permutations: Number of relabellings, at least 99.
        member_clusters: A label per member; whole clusters are relabelled.
        control_clusters: A label per control.

    Returns:
        The p-value of "no score tells members from controls within strata", and the adjusted one of each score.

    Raises:
        ValueError: If shapes do not fit, a score is NaN, no stratum can be used, or there are too few permutations.

    Source:
        Westfall & Young (1993), algorithm 4.1 (step-down maximum), the labels exchanged within strata; +1 of
        Phipson & Smyth (2010).
    """
    checked_whole(permutations, "permutations", 99)
    first, second, kept = _sides(
        member_scores, control_scores, member_strata, control_strata, member_clusters, control_clusters
    )
    weights = _weights(first, second, kept)
    blocks = [_units(first, second, int(stratum)) for stratum in kept]
    observed = np.zeros(len(first.scores))
    for weight, (ranks, codes, members) in zip(weights, blocks, strict=True):
        observed += weight * _areas(ranks, (codes < members).astype(np.float64)[None, :])[0]
    order = np.argsort(-observed, kind="stable")
    hits = np.zeros(observed.size, dtype=np.int64)
    step = max(1, _CELLS // max(codes.size for _, codes, _ in blocks))
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        drawn = np.zeros((rows, observed.size))
        for weight, (ranks, codes, members) in zip(weights, blocks, strict=True):
            units = (np.arange(int(codes.max()) + 1) < members).astype(np.float64)
            shuffled = rng.permuted(np.broadcast_to(units, (rows, units.size)), axis=1)
            drawn += weight * _areas(ranks, shuffled[:, codes])
        largest = np.maximum.accumulate(drawn[:, order][:, ::-1], axis=1)[:, ::-1]
        hits += (largest >= observed[order] - 1e-12).sum(axis=0)
    counted = np.empty_like(hits)
    counted[order] = np.maximum.accumulate(hits)
    adjusted = tuple(float((1 + count) / (permutations + 1)) for count in counted)
    return min(adjusted), adjusted
