"""A linear discriminant that never met the record it scores, and what its learning does to intervals.

Areas of scores that are learned on the other folds spread wider than areas of scores that were fixed beforehand: all folds
learn from overlapping halves of one set of labels. How much wider is measured, by learning anew from shuffled labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from auditor.statistics._checks import checked_whole
from auditor.statistics.permutation import own_areas
from auditor.statistics.rate_interval import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray, IntArray

RIDGE = 1.0
"""Penalty on the coefficients of standardised features, in records."""


def folds_of(clusters: IntArray, folds: int, rng: np.random.Generator) -> IntArray:
    """The result names a fold for every record: clusters are whole, and labels were not looked at.

    Args:
        clusters: Cluster of each record, whole numbers from 0, shape [n].
        folds: Number of folds, at least 2.
        rng: Source of the division.

    Raises:
        ValueError: There are fewer clusters than folds.
    """
    count = int(clusters.max()) + 1
    if count < checked_whole(folds, "folds", 2):
        msg = f"{count} clusters cannot be divided into {folds} folds: supply more records, or ask for fewer folds"
        raise ValueError(msg)
    return np.asarray(rng.permutation(count) % folds, dtype=np.int64)[clusters]


class OutOfFold:
    """Scores of a ridge-penalised linear discriminant, learned for each fold on the others.

    It is the first Newton step of logistic regression from no coefficients, and has a closed form for any number of
    labellings at once: so it can be learned anew on every shuffle of a permutation test.

    Args:
        features: Shape [n, features], finite.
        folds: Fold of each record, shape [n].

    Raises:
        ValueError: Shapes do not fit, or a feature is not finite.

    Source:
        Fisher (1936); Hastie, Tibshirani, Friedman (2009), chapter 4 (least squares on the labels gives its direction).
    """

    def __init__(self, features: ArrayLike, folds: IntArray) -> None:
        """Standardise the features over all records (labels are not looked at) and solve for each fold."""
        x = np.asarray(features, dtype=np.float64)
        if x.ndim != 2 or len(x) != len(folds) or not np.isfinite(x).all():
            msg = f"features have shape {x.shape} for {len(folds)} records, or one is not finite: give one row a record"
            raise ValueError(msg)
        spread = x.std(axis=0)
        self._x = (x - x.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
        self._folds: list[tuple[np.ndarray, np.ndarray, FloatArray]] = []
        for fold in np.unique(folds):
            test, train = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            inner = self._x[train] - self._x[train].mean(axis=0)
            solve = np.linalg.solve(inner.T @ inner + RIDGE * np.eye(x.shape[1]), inner.T)
            self._folds.append((test, train, solve))

    def scores(self, is_member: FloatArray) -> FloatArray:
        """Return the score of every record under every labelling, higher for more member-like.

        Args:
            is_member: 1 for members, 0 for controls, shape [labellings, n].
        """
        found = np.empty(is_member.shape)
        for test, train, solve in self._folds:
            # No intercept: the share of members among the others would tell the share that is left for this fold.
            found[:, test] = (is_member[:, train] @ solve.T) @ self._x[test].T
        return found


def learning_spread(
    fitted: OutOfFold, units: IntArray, member_units: int, rng: np.random.Generator, draws: int = 199
) -> float:
    """The result says how many times wider the area of a learned score spreads than that of a fixed one, at least 1.

    Args:
        fitted: The learned score; members first.
        units: Independent unit of each record, those of members from 0 to member_units - 1, shape [n].
        member_units: Number of units that are members.
        rng: Source of the shuffles.
        draws: Number of shuffles.

    Returns:
        Standard deviation of the area over shuffled labels when it is learned anew, over that when it is kept.
    """
    count = int(units.max()) + 1
    labels = (np.arange(count) < member_units).astype(np.float64)
    shuffled = rng.permuted(np.broadcast_to(labels, (draws, count)), axis=1)[:, units]
    anew = own_areas(fitted.scores(shuffled), shuffled)
    kept = np.broadcast_to(fitted.scores(labels[units][None, :]), shuffled.shape)
    fixed = float(own_areas(np.asarray(kept), shuffled).std())
    return max(1.0, float(anew.std()) / fixed) if fixed > 0.0 else 1.0


def widened(found: Interval, factor: float) -> Interval:
    """The result is an interval of a probability, `factor` times as wide on the logit scale.

    Args:
        found: Interval with ends between 0 and 1.
        factor: At least 1.
    """
    inner = min(max(found.value, 1e-6), 1.0 - 1e-6)
    low, high = (
        float(expit(logit(inner) + factor * (logit(min(max(end, 1e-9), 1.0 - 1e-9)) - logit(inner))))
        for end in (found.low, found.high)
    )
    method = f"{found.method}, times {factor:.2f} for learning"
    return Interval(found.value, min(low, found.low), max(high, found.high), found.level, method)
