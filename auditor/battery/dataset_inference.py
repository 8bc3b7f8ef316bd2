"""Dataset inference: what a whole set shows where no single record can be told; shared by texts and images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr

from auditor.battery.estimates import estimate
from auditor.core.finding import Stratum
from auditor.statistics.interval import Interval
from auditor.statistics.out_of_fold import OutOfFold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.battery.membership_outcome import Scored


def unit_codes(members: Scored, controls: Scored) -> tuple[NDArray[np.int64], int]:
    """Return the independent unit of each record, members' units first, and how many are members'."""
    _, own = np.unique(members.clusters.astype(str), return_inverse=True)
    _, other = np.unique(controls.clusters.astype(str), return_inverse=True)
    units = int(own.max()) + 1
    return np.concatenate([own, other + units]).astype(np.int64), units


def shared_codes(sides: Sequence[Scored]) -> NDArray[np.int64]:
    """Return the cluster of each record, equal on both sides where the name is: what is divided into folds."""
    names = np.concatenate([side.clusters.astype(str) for side in sides])
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def whole_set(
    features: NDArray[np.float64],
    codes: NDArray[np.int64],
    member_units: int,
    folds: NDArray[np.int64],
    rng: np.random.Generator,
    permutations: int,
    level: float,
    single: str,
) -> Stratum:
    """Return how far the members' mean out-of-fold score lies above the controls', with a p-value that is valid for the set.

    Whole clusters are relabelled and the score is learned anew on every relabelling, so the p-value is exact. Welch's test, which takes
    learned scores for independent ones, stands beside it for comparison with the literature.

    Args:
        features: What is learned from, members first, shape [records, features].
        codes: Independent unit of each record, those of members first.
        member_units: How many units are members'.
        folds: Fold of each record.
        rng: Source of the shuffles.
        permutations: Number of shuffles.
        level: Level of the interval.
        single: What one record is called.

    Source:
        Maini, Jia, Papernot, Dziedzic (2024), LLM Dataset Inference; CDI: Dubinski, Kowalczuk, Boenisch, Dziedzic (2025), arXiv
        2411.12858. Both take Student's or Welch's test of scores learned on one split.
    """
    count = int(codes.max()) + 1
    labels = (np.arange(count) < member_units).astype(np.float64)
    learned = OutOfFold(features, folds)
    observed, scores = _difference(learned, labels[codes][None, :])
    step = max(1, 2_000_000 // codes.size)
    drawn = [
        _difference(learned, rng.permuted(np.broadcast_to(labels, (rows, count)), axis=1)[:, codes])[0]
        for rows in [step] * (permutations // step) + [permutations % step]
        if rows
    ]
    differences = np.concatenate(drawn)
    p_value = (1 + int((differences >= observed[0] - 1e-12).sum())) / (permutations + 1)
    first, second = (_cluster_means(scores[0], codes, range_) for range_ in ((0, member_units), (member_units, count)))
    welch = _welch(first, second)
    # Over shuffles the difference spreads as it would for a model that learned nothing.
    half = float(np.quantile(np.abs(differences - differences.mean()), level))
    value = float(observed[0])
    method = "permutation of whole clusters, learned anew"
    return Stratum(
        by="whole set, difference of mean scores",
        label="all scores together",
        estimate=estimate(
            Interval(value, value - half, value + half, level, method),
            "standard deviations",
            min(len(first), len(second)),
        ),
        note=f"p = {p_value:.2g} for the set (Welch's test: {welch:.2g}); it says nothing of a single {single}",
    )


def _difference(learned: OutOfFold, is_member: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the difference of means over the spread of all, by labelling, and the scores."""
    scores = learned.scores(is_member)
    n1 = is_member.sum(axis=1)
    total = scores.sum(axis=1)
    inside = (scores * is_member).sum(axis=1)
    spread = scores.std(axis=1)
    spread = np.where(spread > 0.0, spread, 1.0)
    return np.asarray((inside / n1 - (total - inside) / (scores.shape[1] - n1)) / spread), scores


def _cluster_means(
    scores: NDArray[np.float64], codes: NDArray[np.int64], between: tuple[int, int]
) -> NDArray[np.float64]:
    means = np.bincount(codes, scores) / np.bincount(codes)
    return np.asarray(means[between[0] : between[1]])


def _welch(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    a, b = first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)
    if a + b <= 0.0:
        return 1.0
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    return float(stdtr(freedom, -(first.mean() - second.mean()) / math.sqrt(a + b)))
