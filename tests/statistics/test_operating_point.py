from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, kstest

from auditor.statistics.interval import clopper_pearson, clustered_rate
from auditor.statistics.roc import least_controls, tpr_at_fpr

fixed = settings(derandomize=True, deadline=None, max_examples=60)


def test_ten_controls_must_stand_behind_the_rate() -> None:
    assert [least_controls(f) for f in (0.1, 0.01, 0.001, 0.05, 0.003)] == [100, 1000, 10_000, 200, 3334]
    with pytest.raises(ValueError, match="supply at least 1000"):
        tpr_at_fpr(np.arange(5.0), np.arange(999.0), 0.01)
    with pytest.raises(ValueError, match="fpr"):
        least_controls(0.0)


def test_threshold_is_an_order_statistic_and_its_rate_a_beta() -> None:
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(2000):
        controls = rng.random(200)
        point = tpr_at_fpr([0.0], controls, 0.1)
        assert np.count_nonzero(controls > point.threshold) == 19
        rates.append(1 - point.threshold)
    assert kstest(rates, beta(20, 181).cdf).pvalue > 0.001
    assert point.fpr_interval.value == 20 / 201
    assert point.fpr_interval[1:3] == pytest.approx(tuple(beta(20, 181).ppf([0.025, 0.975])))


@fixed
@given(st.integers(2, 40), st.sampled_from([0.02, 0.05, 0.1]), st.integers(0, 10_000))
def test_members_are_never_counted_beyond_the_rate(levels: int, fpr: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    controls = rng.integers(0, levels, least_controls(fpr) + seed % 50).astype(float)
    members = rng.integers(0, levels + 1, 60).astype(float)
    point = tpr_at_fpr(members, controls, fpr)
    above = int(np.count_nonzero(controls > point.threshold))
    assert point.threshold in controls
    assert above <= math.floor(fpr * (controls.size + 1))
    assert above / controls.size <= fpr
    assert point.tpr.value == np.mean(members > point.threshold)
    # No lower threshold keeps the rate: the next one down would count the tied controls too.
    assert np.count_nonzero(controls >= point.threshold) >= math.floor(fpr * (controls.size + 1))
    for interval in (point.tpr, point.fpr_interval, point.excess):
        assert interval.low <= interval.value <= interval.high
    assert point.fpr_interval.value <= fpr + 1e-12
    assert point.excess.value == pytest.approx(point.tpr.value - point.fpr_interval.value)


def test_binary_scores_are_not_read_past_their_rate() -> None:
    """Scores of two values: at 1 % nothing can be found when 5 % of controls share the top, at 10 % all of it."""
    members, controls = np.repeat([1.0, 0.0], [60, 40]), np.repeat([1.0, 0.0], [50, 950])
    assert tpr_at_fpr(members, controls, 0.01).tpr.value == 0.0
    assert tpr_at_fpr(members, controls, 0.1).tpr.value == 0.6
    assert tpr_at_fpr(members, controls, 0.01).fpr_interval.low == 0.0


def test_tied_top_of_members_alone_is_found() -> None:
    """A peer reports 0 at low rates for tied top scores."""
    members, controls = np.repeat([9.0, 0.0], [30, 70]), np.linspace(0, 1, 1000)
    point = tpr_at_fpr(members, controls, 0.01)
    assert point.tpr.value == 0.3
    assert point.tpr == clopper_pearson(30, 100)
    assert point.excess.low > 0.15


def test_members_of_one_person_count_together() -> None:
    rng = np.random.default_rng(1)
    members, controls = np.repeat(rng.normal(1, 1, 40), 5), rng.normal(size=1000)
    labels = np.repeat(np.arange(40), 5)
    point = tpr_at_fpr(members, controls, 0.05, 0.95, labels)
    found = (members > point.threshold).reshape(40, 5).sum(axis=1)
    assert point.tpr == clustered_rate(found, np.full(40, 5))
    alone = tpr_at_fpr(members, controls, 0.05)
    assert point.excess.high - point.excess.low > 1.5 * (alone.excess.high - alone.excess.low)
    both = tpr_at_fpr(members, controls, 0.05, 0.95, labels, np.arange(1000) // 20)
    assert both.fpr_interval.high >= point.fpr_interval.high


@pytest.mark.parametrize("kind", ["continuous", "tied", "clustered"])
@pytest.mark.parametrize(("n1", "n0", "fpr"), [(50, 1000, 0.01), (1000, 1000, 0.01), (40, 100, 0.1)])
def test_excess_covers_zero_on_innocent_data(n1: int, n0: int, fpr: float, kind: str) -> None:
    rng = np.random.default_rng([n1, n0, len(kind)])
    accused, missed, repeats = 0, 0, 400
    for _ in range(repeats):
        members, controls, labels = rng.normal(size=n1), rng.normal(size=n0), None
        if kind == "tied":
            members, controls = np.round(2 * members), np.round(2 * controls)
        if kind == "clustered":
            members, labels = np.repeat(members[: n1 // 5], 5), np.repeat(np.arange(n1 // 5), 5)
        excess = tpr_at_fpr(members, controls, fpr, 0.95, labels).excess
        accused += excess.low > 0
        missed += not excess.low <= 0 <= excess.high
    assert accused <= 20  # 5 %, nominal 2.5 %
    assert missed <= 34


def test_excess_fires_on_memorization() -> None:
    rng = np.random.default_rng(2)
    assert all(tpr_at_fpr(rng.normal(1, 1, 300), rng.normal(size=1000), 0.01).excess.low > 0 for _ in range(20))


def test_bad_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="controls holds nan"):
        tpr_at_fpr([1.0], np.append(np.zeros(100), math.nan), 0.1)
    with pytest.raises(ValueError, match="member clusters"):
        tpr_at_fpr([1.0], np.zeros(100), 0.1, 0.95, ["a", "b"])
