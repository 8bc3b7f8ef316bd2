from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.statistics.interval import (
    clopper_pearson,
    clustered_difference,
    clustered_rate,
    effective_trials,
    newcombe,
)

fixed = settings(derandomize=True, deadline=None, max_examples=80)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    trials = draw(st.lists(st.integers(1, 12), min_size=1, max_size=25))
    return [draw(st.integers(0, t)) for t in trials], trials


def draw_clusters(rng: np.random.Generator, sizes: np.ndarray, rate: float, correlation: float) -> np.ndarray:
    """Beta-binomial successes; a correlation of 1 means that a cluster is all of one kind."""
    if correlation >= 1:
        chance = (rng.random(sizes.size) < rate).astype(float)
    else:
        weight = (1 - correlation) / correlation
        chance = rng.beta(rate * weight, (1 - rate) * weight, sizes.size)
    return rng.binomial(sizes, chance)


def test_singletons_are_independent_trials_exactly() -> None:
    s, t = np.array([1, 0, 0, 1, 0, 0, 0]), np.ones(7)
    assert effective_trials(s, t) == 7
    assert clustered_rate(s, t) == clopper_pearson(2, 7)
    assert clustered_difference(s, t, [0, 0, 1], [1, 1, 1]) == newcombe(2, 7, 1, 3)


def test_clusters_of_one_mind_count_once() -> None:
    s, t = np.repeat([10, 0], [5, 45]), np.full(50, 10)
    # 5 of 50 clusters found whole: variance p (1 - p) / (C - 1) of the cluster means, against p (1 - p) / (n - 1).
    assert effective_trials(s, t) == pytest.approx(500 * 49 / 499, rel=1e-9)
    assert clustered_rate(s, t).high == pytest.approx(clopper_pearson(5, 50).high, abs=0.01)
    assert clustered_rate(s, t).low == pytest.approx(clopper_pearson(5, 50).low, abs=0.01)


def test_design_effect_is_kishs_for_equal_clusters() -> None:
    s, t = np.array([3, 0, 1, 4, 0, 2, 0, 1]), np.full(8, 4)
    means, rate = s / 4, s.sum() / 32
    kish = (means.var(ddof=1) / 8) / (rate * (1 - rate) / 31)
    assert kish > 1
    assert effective_trials(s, t) <= 32 / kish * (1 + 1e-12)
    assert effective_trials(s, t) == pytest.approx(32 / kish, rel=0.05)


def test_nothing_found_leaves_as_many_witnesses_as_clusters() -> None:
    assert effective_trials([0] * 20, [50] * 20) == 20
    assert effective_trials([50] * 20, [50] * 20) == 20
    assert clustered_rate([0] * 20, [50] * 20).high == clopper_pearson(0, 20).high
    assert clustered_rate([50] * 20, [50] * 20).low == clopper_pearson(20, 20).low


def test_one_success_is_no_better_than_none() -> None:
    none = clustered_rate([0] * 20, [50] * 20)
    one = clustered_rate([1] + [0] * 19, [50] * 20)
    assert one.high >= none.high


def test_one_cluster_says_almost_nothing() -> None:
    interval = clustered_rate([30], [100])
    assert interval.low < 0.02
    assert interval.high > 0.97


@fixed
@given(clusters(), st.randoms(use_true_random=False))
def test_ordered_invariant_to_order_and_bounded(data: tuple[list[int], list[int]], random: object) -> None:
    s, t = data
    effective, interval = effective_trials(s, t), clustered_rate(s, t)
    assert 1 <= effective <= sum(t)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    pairs = list(zip(s, t, strict=True))
    random.shuffle(pairs)  # type: ignore[attr-defined]
    again = clustered_rate([a for a, _ in pairs], [b for _, b in pairs])
    assert again[:3] == pytest.approx(interval[:3], abs=1e-9)
    failures = clustered_rate([b - a for a, b in pairs], [b for _, b in pairs])
    assert failures.low == pytest.approx(1 - interval.high, abs=1e-9)
    with_empty = clustered_rate([*s, 0], [*t, 0])
    assert with_empty == interval


@fixed
@given(clusters(), clusters())
def test_difference_is_antisymmetric(a: tuple[list[int], list[int]], b: tuple[list[int], list[int]]) -> None:
    there, back = clustered_difference(*a, *b), clustered_difference(*b, *a)
    assert there.low == pytest.approx(-back.high, abs=1e-12)
    assert there.low <= there.value <= there.high


@pytest.mark.parametrize(
    ("s", "t"), [([1], [1, 2]), ([3], [2]), ([-1], [2]), ([math.nan], [2]), ([], []), ([0, 0], [0, 0]), ([[1]], [[2]])]
)
def test_impossible_clusters_are_refused(s: list[float], t: list[float]) -> None:
    for call in (effective_trials, clustered_rate):
        with pytest.raises(ValueError, match="cluster"):
            call(s, t)


SIZES = {
    "equal": lambda rng, c: np.full(c, 8),
    "unequal": lambda rng, c: np.ceil(2 * rng.pareto(1.5, c) + 0.01).astype(int),
}


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("correlation", [0.3, 1.0])
@pytest.mark.parametrize(("number", "rate"), [(10, 0.5), (100, 0.1), (100, 0.02)])
def test_rate_interval_covers_under_correlation(kind: str, correlation: float, number: int, rate: float) -> None:
    rng = np.random.default_rng([number, int(1000 * rate), int(10 * correlation), len(kind)])
    repeats, missed_low, missed_high = 400, 0, 0
    for _ in range(repeats):
        sizes = SIZES[kind](rng, number)
        interval = clustered_rate(draw_clusters(rng, sizes, rate, correlation), sizes)
        missed_low += interval.low > rate
        missed_high += interval.high < rate
    # Nominal 10 on either side of 400; 21 is beyond the 99.9th percentile of that.
    assert missed_low <= 21
    assert missed_high <= 21
    assert missed_low + missed_high <= 0.05 * repeats + 14


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize(("rate", "excess"), [(0.1, 0.0), (0.02, 0.1), (0.005, 0.0)])
def test_difference_interval_covers_under_correlation(kind: str, rate: float, excess: float) -> None:
    rng = np.random.default_rng([int(1000 * rate), int(10 * excess), len(kind)])
    repeats, missed_low, missed_high = 400, 0, 0
    for _ in range(repeats):
        members, controls = SIZES[kind](rng, 60), np.full(90, 4)
        interval = clustered_difference(
            draw_clusters(rng, members, rate + excess, 0.8), members, draw_clusters(rng, controls, rate, 0.8), controls
        )
        missed_low += interval.low > excess
        missed_high += interval.high < excess
    assert missed_low <= 21
    assert missed_high <= 21


def test_naive_interval_would_not_cover() -> None:
    """The simulation can tell: records taken as independent miss far more often than they say."""
    rng = np.random.default_rng(5)
    sizes, missed = np.full(100, 8), 0
    for _ in range(200):
        s = draw_clusters(rng, sizes, 0.1, 1.0)
        interval = clopper_pearson(s.sum(), sizes.sum())
        missed += not interval.low <= 0.1 <= interval.high
    assert missed > 60


def test_difference_fires_on_memorization() -> None:
    rng = np.random.default_rng(6)
    sizes = np.full(100, 8)
    fired = sum(
        clustered_difference(
            draw_clusters(rng, sizes, 0.3, 0.5), sizes, draw_clusters(rng, sizes, 0.05, 0.5), sizes
        ).low
        > 0
        for _ in range(50)
    )
    assert fired >= 48
