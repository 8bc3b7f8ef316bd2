"""Learned scores: against least squares record by record, exact p-values under shuffles, and intervals that allow for learning."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.statistics.area import auc, auc_interval
from auditor.statistics.out_of_fold import RIDGE, OutOfFold, folds_of, learning_spread, widened
from auditor.statistics.permutation import own_areas, permutation_max_auc
from auditor.statistics.rate_interval import Interval


def data(seed: int, n: int = 60, shift: float = 0.0):
    rng = np.random.default_rng(seed)
    labels = np.repeat([1.0, 0.0], n)
    features = rng.normal(size=(2 * n, 5)) @ rng.normal(size=(5, 5)) + shift * labels[:, None]
    return features, labels, folds_of(np.arange(2 * n), 5, rng), rng


def test_a_score_is_least_squares_on_the_other_folds():
    features, labels, folds, _ = data(0)
    found = OutOfFold(features, folds).scores(labels[None, :])[0]
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    for record in (0, 17, 61, 119):
        train = folds != folds[record]
        inner, y = x[train] - x[train].mean(axis=0), labels[train] - labels[train].mean()
        rows = np.vstack([inner, np.sqrt(RIDGE) * np.eye(5)])  # ridge as extra rows
        beta = np.linalg.lstsq(rows, np.concatenate([y, np.zeros(5)]), rcond=None)[0]
        assert found[record] == pytest.approx(x[record] @ beta)


def test_no_record_teaches_its_own_score():
    features, labels, folds, _ = data(1)
    fitted = OutOfFold(features, folds)
    before = fitted.scores(labels[None, :])[0]
    changed = labels.copy()
    mine = folds == folds[3]
    changed[mine] = 1.0 - changed[mine]
    np.testing.assert_allclose(fitted.scores(changed[None, :])[0][mine], before[mine])


def test_clusters_stay_whole_and_labels_decide_nothing():
    clusters = np.repeat(np.arange(12), 4)
    folds = folds_of(clusters, 5, np.random.default_rng(0))
    assert all(len(set(folds[clusters == c])) == 1 for c in range(12))
    assert set(folds) == set(range(5))
    with pytest.raises(ValueError, match="cannot be divided"):
        folds_of(np.zeros(9, dtype=np.int64), 5, np.random.default_rng(0))


def test_the_area_of_each_row_is_that_of_its_own_labels():
    rng = np.random.default_rng(2)
    scores, labels = rng.integers(0, 4, size=(6, 30)).astype(float), (rng.random((6, 30)) < 0.4).astype(float)
    for row, found in enumerate(own_areas(scores, labels)):
        assert found == pytest.approx(auc(scores[row][labels[row] == 1], scores[row][labels[row] == 0]))


@pytest.mark.parametrize("clusters", [1, 4])
def test_learned_scores_raise_no_more_false_alarms_than_they_say(clusters):
    """Without learning anew the plain interval of an area of learned scores excludes 0.5 about twice as often as it says."""
    alarms = plain = wide = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        units = np.repeat(np.arange(120 // clusters), clusters)
        features = rng.normal(size=(len(units), 6)) + rng.normal(size=(units.max() + 1, 6))[units]
        folds = folds_of(units, 5, rng)
        fitted = OutOfFold(features, folds)
        half = len(units) // 2
        sides = units[:half], units[half:]
        p, _ = permutation_max_auc(
            features[:half, :1].T, features[half:, :1].T, rng, 99, sides[0], sides[1], fitted=fitted
        )
        alarms += p <= 0.05
        scores = fitted.scores((np.arange(len(units)) < half).astype(float)[None, :])[0]
        found = auc_interval(scores[:half], scores[half:], 0.95, *sides)
        factor = learning_spread(fitted, units, half // clusters, rng, 99)
        plain += found.low > 0.5
        wide += widened(found, factor).low > 0.5
    assert alarms <= 17  # exact at 0.05: 1 in 100 runs of 200 has more
    assert wide <= 10
    assert wide <= plain


def test_what_differs_is_learned():
    features, labels, folds, rng = data(3, shift=1.0)
    fitted = OutOfFold(features, folds)
    p, adjusted = permutation_max_auc(rng.normal(size=(1, 60)), rng.normal(size=(1, 60)), rng, 199, fitted=fitted)
    assert p == adjusted[1] == 0.005
    assert adjusted[0] > 0.05
    scores = fitted.scores(labels[None, :])[0]
    assert auc(scores[:60], scores[60:]) > 0.7


def test_an_interval_is_widened_on_the_logit_scale():
    found = widened(Interval(0.6, 0.5, 0.7, 0.95, "m"), 1.0)
    assert (found.low, found.high) == pytest.approx((0.5, 0.7))
    wide = widened(Interval(0.9, 0.8, 0.95, 0.95, "m"), 2.0)
    odds = 9.0 * (4.0 / 9.0) ** 2
    assert wide.low == pytest.approx(odds / (1 + odds))
    assert 0.95 < wide.high < 1.0
    edge = widened(Interval(1.0, 0.97, 1.0, 0.95, "m"), 1.4)
    assert edge.low < 0.97
    assert edge.high == edge.value == 1.0


def test_features_that_cannot_be_used_are_refused():
    with pytest.raises(ValueError, match="finite"):
        OutOfFold(np.array([[1.0], [np.nan]]), np.array([0, 1]))
