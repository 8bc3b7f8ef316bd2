"""What changed between two conditions that saw the same records: differences with paired intervals, and whether they are chance.

The first condition is the later one: every difference is first minus second, so more than zero is more than before.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from auditor.statistics._checks import above_zero, checked_level, checked_whole, cluster_codes, vector
from auditor.statistics.area import auc, auc_interval
from auditor.statistics.clustered import clustered_wilson
from auditor.statistics.rate_interval import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray, IntArray

_ENUMERATED = 12
"""Up to so many clusters that changed, all assignments of signs are counted; beyond, some are drawn."""
_CELLS = 1 << 22
"""Cells of random tables that are held at once."""


def mover_paired(a: Interval, b: Interval, correlation: float) -> Interval:
    """The interval is for a - b where both were estimated from the same records.

    Args:
        a: Estimate and interval of the first quantity.
        b: The same for the second, at the same level.
        correlation: Of the two estimates, -1 to 1; 0 gives the interval of independent estimates.

    Returns:
        The difference with its interval.

    Raises:
        ValueError: If the levels differ or the correlation is out of range.

    Source:
        Zou & Donner (2008), Stat. Med. 27:1693 (MOVER), with correlation: Zou (2007), Psychol. Methods 12:399.
    """
    if a.level != b.level or not -1.0 - 1e-9 <= correlation <= 1.0 + 1e-9:
        msg = (
            f"levels {a.level} and {b.level}, correlation {correlation}: give one level and a correlation from -1 to 1"
        )
        raise ValueError(msg)
    value = a.value - b.value
    down, up = a.value - a.low, a.high - a.value
    other_down, other_up = b.value - b.low, b.high - b.value
    low = value - math.sqrt(max(0.0, down**2 - 2.0 * correlation * down * other_up + other_up**2))
    high = value + math.sqrt(max(0.0, up**2 - 2.0 * correlation * up * other_down + other_down**2))
    return Interval(value, low, high, a.level, f"paired MOVER of {a.method}")


def paired_rates(
    first: ArrayLike, second: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """The interval is for the difference of two rates, first minus second, over the same records.

    Args:
        first: 1 where the record is a success under the first condition, else 0; shape [n].
        second: The same under the second, record by record.
        clusters: Cluster of each record; None: each its own.
        level: Two-sided confidence level.

    Returns:
        The difference with Newcombe's paired interval; where clusters hold several records, with that of effective trials and the
        correlation between clusters. It has width even where no record changed.

    Raises:
        ValueError: If shapes differ, a value is neither 0 nor 1, or there is none.

    Source:
        Newcombe (1998), Stat. Med. 17:2635, method 10. Ours: clusters as in `clustered_difference`, his correction of the
        correlation carried over to the sums of clusters.
    """
    checked_level(level)
    a, b, codes = _pairs(first, second, clusters)
    if not (np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all()):
        msg = "a rate is of values that are 0 or 1"
        raise ValueError(msg)
    trials = np.bincount(codes).astype(np.float64)
    s1, s2 = np.bincount(codes, weights=a), np.bincount(codes, weights=b)
    one, other = clustered_wilson(s1, trials, level), clustered_wilson(s2, trials, level)
    # Sums of clusters less what their size would give; of single records these are the terms of the phi coefficient.
    r1, r2 = s1 - one.value * trials, s2 - other.value * trials
    together, spread = float(r1 @ r2), math.sqrt(float(r1 @ r1) * float(r2 @ r2))
    if together > 0.0:
        together = max(0.0, together - float((trials**2).mean()) / 2.0)
    correlation = min(1.0, max(-1.0, together / spread)) if spread > 0.0 else 0.0
    method = "Newcombe paired" + ("" if len(codes) == len(trials) else " on effective trials")
    found = mover_paired(one, other, correlation)
    return found._replace(low=max(-1.0, found.low), high=min(1.0, found.high), method=method)


def paired_means(
    first: ArrayLike, second: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """The interval is for the mean difference, first minus second, over the same records.

    Args:
        first: Value of each record under the first condition, shape [n].
        second: The same under the second.
        clusters: Cluster of each record; None: each its own.
        level: Two-sided confidence level.

    Returns:
        The mean difference with a t interval on the delete-one-cluster jackknife; without clusters the paired t interval. It has no
        width where every record changed by the same.

    Raises:
        ValueError: If shapes differ, a value is not finite, or there are fewer than two clusters.

    Source:
        Student (1908); Efron & Tibshirani (1993), chapter 11. A cluster counts for the degrees of freedom by its size (Kish).
    """
    a, b, codes = _pairs(first, second, clusters)
    return mean_interval(a - b, codes, level)._replace(method="paired t, jackknife by cluster")


def mean_interval(values: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95) -> Interval:
    """The interval covers the mean per record although records of one cluster resemble each other.

    Args:
        values: One value a record, shape [n].
        clusters: Cluster of each; None: each its own.
        level: Two-sided confidence level.

    Raises:
        ValueError: If a value is not finite, or there are fewer than two clusters.

    Source:
        As :func:`paired_means`.
    """
    checked_level(level)
    d = vector(values, "values")
    codes = cluster_codes(clusters, d.size, "clusters")
    size, sums = np.bincount(codes).astype(np.float64), np.bincount(codes, weights=d)
    count, n = size.size, float(d.size)
    if count < 2:
        msg = f"{count} cluster(s): an interval for a mean needs at least two"
        raise ValueError(msg)
    value = float(d.mean())
    left = (sums.sum() - sums) / (n - size)
    error = math.sqrt((count - 1) / count * float(((left - left.mean()) ** 2).sum()))
    freedom = max(1.0, n**2 / float((size**2).sum()) - 1.0)
    half = float(stdtrit(freedom, (1.0 + level) / 2.0)) * error
    return Interval(value, value - half, value + half, level, "t, jackknife by cluster")


def paired_areas(
    members: tuple[ArrayLike, ArrayLike],
    controls: tuple[ArrayLike, ArrayLike],
    member_clusters: ArrayLike | None = None,
    control_clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """The interval is for the difference of two areas under ROC curves, first minus second, over the same records.

    Args:
        members: Scores of the members under the first and under the second condition, shape [n1] both.
        controls: The same of the controls, shape [n0] both.
        member_clusters: Cluster of each member; None: each its own.
        control_clusters: Cluster of each control; a label that stands on both sides names one cluster.
        level: Two-sided confidence level.

    Returns:
        The difference of the areas; its interval joins those of the two areas by their correlation, so that it also has width where
        members and controls are told apart without a fault.

    Raises:
        ValueError: If shapes differ or a sample is empty.

    Source:
        Correlation: DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837, clustered by Obuchowski (1997), Biometrics 53:567.
        Interval: MOVER, as :func:`mover_paired`.
    """
    sides = [
        (np.asarray(m, dtype=np.float64), np.asarray(c, dtype=np.float64))
        for m, c in zip(members, controls, strict=True)
    ]
    intervals = [auc_interval(m, c, level, member_clusters, control_clusters) for m, c in sides]
    if sides[0][0].shape != sides[1][0].shape or sides[0][1].shape != sides[1][1].shape:
        msg = "both conditions need a score for every record"
        raise ValueError(msg)
    codes = _shared(member_clusters, control_clusters, sides[0][0].size, sides[0][1].size)
    one, other = (_influence(m, c, codes) for m, c in sides)
    spread = math.sqrt(float(one @ one) * float(other @ other))
    correlation = min(1.0, max(-1.0, float(one @ other) / spread)) if spread > 0.0 else 0.0
    found = mover_paired(intervals[0], intervals[1], correlation)
    method = "DeLong paired" if member_clusters is None and control_clusters is None else "Obuchowski paired"
    return found._replace(low=max(-1.0, found.low), high=min(1.0, found.high), method=f"{method}, MOVER")


def _influence(members: FloatArray, controls: FloatArray, codes: IntArray) -> FloatArray:
    """Return how far each cluster moves the area: the sums whose products are its variance and covariance."""
    area = auc(members, controls)
    ordered_c, ordered_m = np.sort(controls), np.sort(members)
    below = np.searchsorted(ordered_c, members, "left") + np.searchsorted(ordered_c, members, "right")
    above = (
        2 * members.size - np.searchsorted(ordered_m, controls, "left") - np.searchsorted(ordered_m, controls, "right")
    )
    v1, v0 = below / (2.0 * controls.size), above / (2.0 * members.size)
    moved = np.concatenate([(v1 - area) / members.size, (v0 - area) / controls.size])
    return np.asarray(np.bincount(codes, weights=moved), dtype=np.float64)


def _shared(
    member_clusters: ArrayLike | None, control_clusters: ArrayLike | None, members: int, controls: int
) -> IntArray:
    """Return one code per record, members first; a label that stands on both sides is one cluster."""
    names: list[tuple[str, object]] = []
    for side, labels, count in (("members", member_clusters, members), ("controls", control_clusters, controls)):
        given = (
            [(side, row) for row in range(count)]
            if labels is None
            else [("label", x) for x in np.asarray(labels).tolist()]
        )
        if len(given) != count:
            msg = f"{len(given)} clusters for {count} {side}: give one label for each"
            raise ValueError(msg)
        names += given
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], dtype=np.int64)


def sign_flip(
    changes: ArrayLike, rng: np.random.Generator, clusters: ArrayLike | None = None, permutations: int = 9999
) -> float:
    """The two-sided p-value is exact for "under which condition a record was seen does not matter".

    Exchanging the two conditions for a cluster turns the sign of what it adds to the difference. If conditions do not matter, all
    assignments of signs are equally likely. Where instead both sides of a comparison change alike (members and controls by the same
    mean), the signs spread wider than the difference does and the p-value is too large, never too small, for many clusters.

    Args:
        changes: What each record adds to the difference, shape [n]: (first - second) / n for members, the same with a minus for
            controls.
        rng: Source of the signs.
        clusters: Cluster of each record; None: each its own.
        permutations: Assignments that are drawn, at least 99, where there are too many to count.

    Returns:
        Share of the assignments whose difference is at least as far from zero; 1 where nothing changed.

    Raises:
        ValueError: If a value is not finite.

    Source:
        Fisher (1935), The Design of Experiments, section 21; Phipson & Smyth (2010) for the +1 where assignments are drawn. With
        values of 0 and 1 and no clusters it is McNemar's exact test.
    """
    checked_whole(permutations, "permutations", 99)
    given = vector(changes, "changes", least=0)
    if not given.size:
        return 1.0
    sums = np.bincount(cluster_codes(clusters, given.size, "clusters"), weights=given)
    scale = float(np.abs(sums).max())
    if scale == 0.0:
        return 1.0
    # Equal to nine digits is equal: clusters of equal weight are interchangeable, and only how many turn their sign matters.
    weights, counts = np.unique(np.round(np.abs(sums[np.abs(sums) > 1e-12 * scale]) / scale, 9), return_counts=True)
    reached = abs(float(sums.sum())) / scale - 1e-7
    total = float(weights @ counts)
    if int(counts.sum()) <= _ENUMERATED:
        signs = np.array(np.meshgrid(*[(-1.0, 1.0)] * int(counts.sum()))).reshape(int(counts.sum()), -1)
        return float((np.abs(np.repeat(weights, counts) @ signs) >= reached).mean())
    hits = 0
    for start in range(0, permutations, step := max(1, _CELLS // len(weights))):
        turned = rng.binomial(counts, 0.5, size=(min(step, permutations - start), len(weights)))
        hits += int(np.count_nonzero(np.abs(total - 2.0 * turned @ weights) >= reached))
    return float((1 + hits) / (permutations + 1))


def swapped_areas(
    members: tuple[ArrayLike, ArrayLike],
    controls: tuple[ArrayLike, ArrayLike],
    rng: np.random.Generator,
    member_clusters: ArrayLike | None = None,
    control_clusters: ArrayLike | None = None,
    permutations: int = 999,
) -> float:
    """The two-sided p-value is valid for "under which condition a record was scored does not matter for its rank".

    Args:
        members: Scores of the members under the first and under the second condition.
        controls: The same of the controls.
        rng: Source of the exchanges.
        member_clusters: Cluster of each member; None: each its own.
        control_clusters: Cluster of each control; a label that stands on both sides names one cluster.
        permutations: Number of exchanges, at least 99.

    Returns:
        (1 + exchanges whose areas differ by as much) / (permutations + 1): never 0.

    Source:
        Bandos, Rockette & Gur (2005), Stat. Med. 24:2873: ranks of a record are exchanged between the conditions.
    """
    checked_whole(permutations, "permutations", 99)
    ranks = [
        _midranks(np.concatenate([np.asarray(m, dtype=np.float64), np.asarray(c, dtype=np.float64)]))
        for m, c in zip(members, controls, strict=True)
    ]
    cut = np.asarray(members[0]).size
    codes = _shared(member_clusters, control_clusters, cut, ranks[0].size - cut)
    stacked = np.stack(ranks)
    observed = abs(_apart(stacked, cut))
    hits = 0
    for _ in range(permutations):
        turned = rng.integers(0, 2, size=int(codes.max()) + 1)[codes] == 1
        hits += abs(_apart(np.where(turned, stacked[::-1], stacked), cut)) >= observed - 1e-12
    return float((1 + hits) / (permutations + 1))


def _apart(ranks: FloatArray, cut: int) -> float:
    return auc(ranks[0, :cut], ranks[0, cut:]) - auc(ranks[1, :cut], ranks[1, cut:])


def _midranks(values: FloatArray) -> FloatArray:
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2.0


def p_of_interval(found: Interval) -> float:
    """The two-sided p-value is that at which a normal interval of this width on the side of zero would just reach zero.

    Args:
        found: A difference with its interval.

    Returns:
        Above 0, to 1; 1 where the difference is zero, and where the interval has no width: then it says nothing of what chance
        does. Else at or below one minus the level exactly where the interval leaves zero out.

    Source:
        Altman & Bland (2011), BMJ 343:d2304, with the arm of the interval that points to zero.
    """
    arm = found.value - found.low if found.value > 0.0 else found.high - found.value
    if found.value == 0.0 or arm <= 0.0:
        return 1.0
    z = abs(found.value) / arm * float(ndtri((1.0 + checked_level(found.level)) / 2.0))
    return min(1.0, above_zero(2.0 * ndtr(-z)))


def _pairs(first: ArrayLike, second: ArrayLike, clusters: ArrayLike | None) -> tuple[FloatArray, FloatArray, IntArray]:
    a, b = vector(first, "values of the first condition"), vector(second, "values of the second condition")
    if a.shape != b.shape:
        msg = f"{a.size} and {b.size} values: pairs need both for every record"
        raise ValueError(msg)
    return a, b, cluster_codes(clusters, a.size, "clusters")
