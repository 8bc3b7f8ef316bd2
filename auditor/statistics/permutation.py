"""The best of several scores, judged against the best that chance alone would have found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from auditor.statistics._checks import checked_whole, cluster_codes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray, IntArray

_CELLS = 2_000_000
"""Labels held in memory at once."""


class Fitted(Protocol):
    """A score that is learned from the labels, and is learned anew for each labelling."""

    def scores(self, is_member: FloatArray) -> FloatArray:
        """Return the score of every record under every labelling, both of shape [labellings, records]."""
        ...


def _midranks(values: FloatArray) -> FloatArray:
    ordered = np.sort(values)
    twice = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") + 1
    return np.asarray(twice / 2.0, dtype=np.float64)


def _rows(scores: ArrayLike, name: str) -> FloatArray:
    array = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if array.ndim != 2 or array.size == 0 or bool(np.isnan(array).any()):
        msg = f"{name} has shape {array.shape} or holds NaN: give one row per score, one number per record"
        raise ValueError(msg)
    return array


def _areas(ranks: FloatArray, is_member: FloatArray) -> FloatArray:
    """AUC of every score (rows of ranks) under every labelling (rows of is_member), shape [labellings, scores]."""
    n1 = is_member.sum(axis=1, keepdims=True)
    n0 = is_member.shape[1] - n1
    return np.asarray((is_member @ ranks.T - n1 * (n1 + 1.0) / 2.0) / (n1 * n0), dtype=np.float64)


def own_areas(scores: FloatArray, is_member: FloatArray) -> FloatArray:
    """The result is the area of each row of scores under its own labelling, ties counting half.

    Args:
        scores: Shape [labellings, records].
        is_member: 1 for members, 0 for controls, same shape.
    """
    from scipy.stats import rankdata  # heavy, and only learned scores need it

    n1 = is_member.sum(axis=1)
    ranked = (is_member * rankdata(scores, axis=1)).sum(axis=1)
    return np.asarray((ranked - n1 * (n1 + 1.0) / 2.0) / (n1 * (is_member.shape[1] - n1)), dtype=np.float64)


def _all_areas(ranks: FloatArray, is_member: FloatArray, fitted: Fitted | None) -> FloatArray:
    areas = _areas(ranks, is_member)
    if fitted is None:
        return areas
    return np.column_stack([areas, own_areas(fitted.scores(is_member), is_member)])


def _exceedances(
    ranks: FloatArray,
    codes: IntArray,
    member_units: int,
    permutations: int,
    rng: np.random.Generator,
    fitted: Fitted | None,
) -> IntArray:
    """How often the largest area over the scores not yet passed reaches the observed one, by rank of the observed."""
    units = int(codes.max()) + 1
    labels = (np.arange(units) < member_units).astype(np.float64)
    observed = _all_areas(ranks, labels[codes][None, :], fitted)[0]
    order = np.argsort(-observed, kind="stable")
    hits = np.zeros(observed.size, dtype=np.int64)
    step = max(1, _CELLS // codes.size)
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        shuffled = rng.permuted(np.broadcast_to(labels, (rows, units)), axis=1)
        drawn = _all_areas(ranks, shuffled if units == codes.size else shuffled[:, codes], fitted)[:, order]
        largest = np.maximum.accumulate(drawn[:, ::-1], axis=1)[:, ::-1]
        hits += (largest >= observed[order] - 1e-12).sum(axis=0)
    counted = np.empty_like(hits)
    counted[order] = np.maximum.accumulate(hits)
    return counted


def permutation_max_auc(
    member_scores: ArrayLike,
    control_scores: ArrayLike,
    rng: np.random.Generator,
    permutations: int = 999,
    member_clusters: ArrayLike | None = None,
    control_clusters: ArrayLike | None = None,
    fitted: Fitted | None = None,
) -> tuple[float, tuple[float, ...]]:
    """The p-values stay valid although the best of several dependent scores was picked after seeing them.

    Args:
        member_scores: Scores of members, shape [scores, n1], each row higher for more likely members.
        control_scores: Scores of controls, shape [scores, n0].
        rng: Source of the permutations.
        permutations: Number of relabellings, at least 99.
        member_clusters: A label per member; whole clusters are relabelled. Each record its own without it.
        control_clusters: A label per control. Labels are read within a side: a cluster on both sides counts as two.
        fitted: A further score, learned from the labels of members, then controls; it is learned anew for every relabelling, so
            that its p-value is exact although it was fitted to what it is judged on.

    Returns:
        The p-value of "no score tells members from controls", and the adjusted p-value of each score, in order, the
        fitted one last.

    Raises:
        ValueError: If shapes do not fit, a score is NaN, or there are too few permutations.

    Source:
        Westfall & Young (1993), Resampling-Based Multiple Testing, algorithm 4.1 (step-down maximum); +1 of
        Phipson & Smyth (2010).
    """
    checked_whole(permutations, "permutations", 99)
    first, second = _rows(member_scores, "member scores"), _rows(control_scores, "control scores")
    if first.shape[0] != second.shape[0]:
        msg = f"{first.shape[0]} scores of members and {second.shape[0]} of controls: give the same scores for both"
        raise ValueError(msg)
    n1, n0 = first.shape[1], second.shape[1]
    ranks = np.stack([_midranks(row) for row in np.hstack([first, second])])
    own = cluster_codes(member_clusters, n1, "member clusters")
    other = cluster_codes(control_clusters, n0, "control clusters")
    member_units = int(own.max()) + 1
    counted = _exceedances(ranks, np.concatenate([own, other + member_units]), member_units, permutations, rng, fitted)
    adjusted = tuple(float((1 + hits) / (permutations + 1)) for hits in counted)
    return min(adjusted), adjusted
