from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import mannwhitneyu

from auditor.statistics.area import _newcombe_variance
from auditor.statistics.roc import auc, auc_interval, minimum_detectable_auc, null_sd_auc, roc_curve

fixed = settings(derandomize=True, deadline=None, max_examples=80)
scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=25)


def brute_auc(members: list[float], controls: list[float]) -> float:
    return float(np.mean([(a > b) + 0.5 * (a == b) for a in members for b in controls]))


@fixed
@given(scores, scores)
def test_area_is_the_share_of_ordered_pairs(members: list[float], controls: list[float]) -> None:
    area = auc(members, controls)
    assert area == pytest.approx(brute_auc(members, controls), abs=1e-12)
    assert area == pytest.approx(mannwhitneyu(members, controls).statistic / len(members) / len(controls), abs=1e-12)
    assert auc(controls, members) == pytest.approx(1 - area, abs=1e-12)
    assert auc(np.exp(members), np.exp(controls)) == area
    false, true = roc_curve(members, controls)
    assert np.trapezoid(true, false) == pytest.approx(area, abs=1e-12)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()


def test_binary_scores_are_not_read_in_one_order() -> None:
    """A peer keeps the first of tied scores and reports .171 where the area is .601."""
    rng = np.random.default_rng(0)
    members, controls = (rng.random(500) < 0.7).astype(float), (rng.random(500) < 0.5).astype(float)
    expected = 0.5 + (members.mean() - controls.mean()) / 2
    for _ in range(3):
        assert auc(members, controls) == pytest.approx(expected, abs=1e-12)
        rng.shuffle(members)
        rng.shuffle(controls)
    false, true = roc_curve(members, controls)
    assert false.tolist() == [0, controls.mean(), 1]
    assert true.tolist() == [0, members.mean(), 1]


def test_six_level_scores_agree_with_all_pairs() -> None:
    rng = np.random.default_rng(1)
    members, controls = rng.binomial(5, 0.55, 200).astype(float), rng.binomial(5, 0.45, 200).astype(float)
    assert auc(members, controls) == pytest.approx(brute_auc(list(members), list(controls)), abs=1e-12)


def test_constant_scores_say_nothing() -> None:
    """A peer's metric gives +1 or -1 on constant scores, by row order."""
    interval = auc_interval(np.zeros(50), np.zeros(50))
    assert interval.value == 0.5
    assert interval.low < 0.5 < interval.high
    assert [x.tolist() for x in roc_curve(np.zeros(5), np.zeros(5))] == [[0, 1], [0, 1]]


def test_curve_keeps_only_vertices_and_takes_no_hull() -> None:
    false, true = roc_curve([4.0, 3.0, 1.0], [2.0, 0.0])
    assert false.tolist() == [0, 0, 0.5, 0.5, 1]
    assert true == pytest.approx([0, 2 / 3, 2 / 3, 1, 1])


def test_infinite_scores_are_ranked() -> None:
    assert auc([math.inf, 0.0], [-math.inf, 0.0]) == 0.875
    assert roc_curve([math.inf], [-math.inf])[1].tolist() == [0, 1, 1]


def test_null_deviation_and_smallest_area_of_the_method_notes() -> None:
    assert null_sd_auc(1000, 1000) == pytest.approx(0.01291, abs=5e-6)
    for n, area in ((100, 0.567), (200, 0.548), (500, 0.530), (1000, 0.521), (5000, 0.510)):
        # The notes print three digits, of which the last is cut for 5000 (0.5095).
        assert minimum_detectable_auc(n, n) == pytest.approx(area, abs=6e-4)
    rng = np.random.default_rng(2)
    drawn = [auc(rng.random(30), rng.random(20)) for _ in range(4000)]
    assert np.std(drawn) == pytest.approx(null_sd_auc(30, 20), rel=0.04)


def test_delong_variance_by_its_definition() -> None:
    rng = np.random.default_rng(3)
    x, y = np.round(rng.normal(0.8, 1, 60), 1), np.round(rng.normal(0, 1, 45), 1)
    psi = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    sd = math.sqrt(psi.mean(axis=1).var(ddof=1) / 60 + psi.mean(axis=0).var(ddof=1) / 45)
    area = psi.mean()
    half = ndtri(0.975) * sd / (area * (1 - area))
    logit = math.log(area / (1 - area))
    interval = auc_interval(x, y)
    assert interval[:3] == pytest.approx((area, 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))))
    assert interval.method == "DeLong, logit"
    # Clusters of one record change nothing but the name.
    single = auc_interval(x, y, member_clusters=np.arange(60), control_clusters=100 + np.arange(45))
    assert single[:3] == pytest.approx(interval[:3])


def test_copies_of_a_record_are_no_further_witnesses() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(0.5, 1, 80), rng.normal(0, 1, 80)
    once = auc_interval(x, y)
    fivefold = auc_interval(
        np.repeat(x, 5), np.repeat(y, 5), 0.95, np.repeat(np.arange(80), 5), np.repeat(np.arange(80), 5) + 100
    )
    assert fivefold[:3] == pytest.approx(once[:3], abs=1e-12)
    naive = auc_interval(np.repeat(x, 5), np.repeat(y, 5))
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


def test_a_document_on_both_sides_is_one_cluster() -> None:
    rng = np.random.default_rng(5)
    effect = 3 * rng.normal(size=60)
    x, y = effect + rng.normal(size=60), effect + rng.normal(size=60)
    paired = auc_interval(x, y, member_clusters=np.arange(60), control_clusters=np.arange(60))
    apart = auc_interval(x, y)
    assert paired.high - paired.low < 0.6 * (apart.high - apart.low)


def test_newcombe_fallback_solves_its_equation() -> None:
    z = ndtri(0.975)
    for m, n in ((20, 30), (300, 40)):
        interval = auc_interval(np.arange(m) + 100.0, np.arange(n))
        assert (interval.value, interval.high) == (1.0, 1.0)
        assert 1 - interval.low == pytest.approx(z * math.sqrt(_newcombe_variance(interval.low, m, n)), rel=1e-6)
        mirrored = auc_interval(np.arange(m), np.arange(n) + 1000.0)
        assert mirrored.high == pytest.approx(1 - interval.low, abs=1e-9)
    # With N* = (m + n) / 2 - 1 the null variance is that of Mann and Whitney.
    assert _newcombe_variance(0.5, 25, 25) == pytest.approx(null_sd_auc(25, 25) ** 2, rel=1e-12)


@fixed
@given(scores, scores)
def test_interval_is_ordered_proper_and_antisymmetric(members: list[float], controls: list[float]) -> None:
    interval, mirrored = auc_interval(members, controls), auc_interval(controls, members)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.high > interval.low
    assert interval.low == pytest.approx(1 - mirrored.high, abs=1e-9)


@pytest.mark.parametrize("area", [0.5, 0.9, 0.999])
@pytest.mark.parametrize(("n1", "n0"), [(8, 8), (100, 30), (300, 300)])
def test_interval_covers_the_true_area(n1: int, n0: int, area: float) -> None:
    rng = np.random.default_rng([n1, n0, int(1000 * area)])
    shift, missed_low, missed_high, repeats = math.sqrt(2) * ndtri(area), 0, 0, 500
    for _ in range(repeats):
        interval = auc_interval(rng.normal(size=n1) + shift, rng.normal(size=n0))
        missed_low += interval.low > area
        missed_high += interval.high < area
    assert missed_low <= 25  # nominal 12.5, 99.9th percentile 24
    assert missed_high <= 25


def test_perfect_separation_still_covers_what_produced_it() -> None:
    """At an area of .995 a sample of 15 + 15 is often perfectly separated; the interval must not be [1, 1]."""
    rng = np.random.default_rng(6)
    shift, separated, covered = math.sqrt(2) * ndtri(0.995), 0, 0
    for _ in range(300):
        x, y = rng.normal(size=15) + shift, rng.normal(size=15)
        if x.min() > y.max():
            separated += 1
            covered += auc_interval(x, y).low <= 0.995
    assert separated > 100
    assert covered == separated


@pytest.mark.parametrize("levels", [None, 2])
def test_clustered_interval_covers_one_half(levels: int | None) -> None:
    rng = np.random.default_rng([7, levels or 0])
    missed = 0
    for _ in range(400):
        x = (rng.normal(size=(25, 1)) + 0.5 * rng.normal(size=(25, 6))).ravel()
        y = (rng.normal(size=(40, 1)) + 0.5 * rng.normal(size=(40, 3))).ravel()
        if levels:
            x, y = np.sign(x), np.sign(y)
        interval = auc_interval(x, y, 0.95, np.arange(150) // 6, 1000 + np.arange(120) // 3)
        missed += not interval.low <= 0.5 <= interval.high
    assert missed <= 34


def test_bad_scores_are_refused() -> None:
    for call in (auc, auc_interval, roc_curve):
        with pytest.raises(ValueError, match="members holds nan at position 1"):
            call([0.0, math.nan], [1.0])
        with pytest.raises(ValueError, match="controls holds 0"):
            call([0.0], [])
    with pytest.raises(ValueError, match="one label for each"):
        auc_interval([1.0, 2.0], [1.0], 0.95, ["a"])
    with pytest.raises(ValueError, match="n0"):
        minimum_detectable_auc(3, 0)
