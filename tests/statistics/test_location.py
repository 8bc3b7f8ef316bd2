from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, quantile_test

from auditor.statistics import location
from auditor.statistics.interval import bootstrap, hodges_lehmann, median_interval

fixed = settings(derandomize=True, deadline=None, max_examples=60)
numbers = st.lists(st.integers(-20, 20), min_size=1, max_size=14)


@pytest.mark.parametrize("n", [6, 7, 20, 33, 200])
def test_median_interval_agrees_with_scipy(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    theirs = quantile_test(values, p=0.5).confidence_interval(0.95)
    ours = median_interval(values)
    assert (ours.low, ours.high) == (theirs.low, theirs.high)
    assert ours.value == np.median(values)
    assert ours.method == "order statistic"


@pytest.mark.parametrize(("n", "coverage"), [(1, "0"), (2, "0.5"), (3, "0.75"), (5, "0.9375")])
def test_too_few_values_say_what_their_range_covers(n: int, coverage: str) -> None:
    interval = median_interval(np.arange(n, dtype=float))
    assert (interval.low, interval.high) == (0.0, n - 1.0)
    assert interval.method == f"order statistic (coverage {coverage})"


def test_hodges_lehmann_interval_by_inverting_the_exact_test() -> None:
    rng = np.random.default_rng(1)
    for m, n in ((5, 6), (9, 4), (12, 12)):
        a, b = rng.normal(1, 1, m), rng.normal(0, 2, n)
        interval = hodges_lehmann(a, b)
        differences = np.sort((a[:, None] - b[None, :]).ravel())
        assert interval.value == pytest.approx(np.median(differences))
        # Just inside either end the exact test does not reject that shift, just outside it does.
        for end, outward in ((interval.low, -1), (interval.high, 1)):
            inside, outside = end - outward * 1e-9, end + outward * 1e-9
            assert mannwhitneyu(a - inside, b, method="exact").pvalue > 0.05
            assert mannwhitneyu(a - outside, b, method="exact").pvalue <= 0.05


def test_rank_sum_distribution_is_exact() -> None:
    for m, n in ((1, 1), (3, 4), (5, 2)):
        sums = [sum(c) - m * (m - 1) // 2 for c in itertools.combinations(range(m + n), m)]
        expected = np.cumsum(np.bincount(sums, minlength=m * n + 1)) / math.comb(m + n, m)
        assert location._rank_sum_cdf(m, n) == pytest.approx(expected, abs=1e-13)
    wide = location._rank_sum_cdf(50, 50)
    assert wide[0] == pytest.approx(1 / math.comb(100, 50), rel=1e-10)
    assert wide[1249] + 0.5 * (wide[1250] - wide[1249]) == pytest.approx(0.5, abs=1e-10)


def test_large_samples_without_storing_the_pairs_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    a, b = np.round(rng.normal(size=300), 2), np.round(rng.normal(0.5, 1, 200), 2)
    stored = hodges_lehmann(a, b)
    monkeypatch.setattr(location, "_PAIRS_IN_MEMORY", 0)
    assert hodges_lehmann(a, b)[:3] == pytest.approx(stored[:3], abs=1e-12)


def test_two_against_two_states_its_coverage() -> None:
    interval = hodges_lehmann([1.0, 2.0], [0.0, 0.5])
    assert (interval.low, interval.high) == (0.5, 2.0)
    assert interval.method.endswith("(coverage 0.6667)")


@fixed
@given(numbers, numbers)
def test_shift_is_antisymmetric_and_equivariant(a: list[int], b: list[int]) -> None:
    first, second = np.array(a, float), np.array(b, float)
    there, back = hodges_lehmann(first, second), hodges_lehmann(second, first)
    assert there.low <= there.value <= there.high
    assert (there.low, there.value, there.high) == (-back.high, -back.value, -back.low)
    assert hodges_lehmann(first + 7, second).value == there.value + 7
    median = median_interval(first)
    assert median.low <= median.value <= median.high
    assert median_interval(first[::-1]) == median


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("m", "n"), [(6, 7), (70, 60)])
def test_shift_interval_covers(m: int, n: int, ties: bool) -> None:
    rng = np.random.default_rng([m, ties])
    missed = 0
    for _ in range(300):
        a, b = (rng.integers(0, 4, m) + 1, rng.integers(0, 4, n)) if ties else (rng.normal(1, 1, m), rng.normal(size=n))
        interval = hodges_lehmann(a, b)
        missed += not interval.low <= 1 <= interval.high
    assert missed <= 27  # 99.9th percentile of Bin(300, 0.05)


@pytest.mark.parametrize("number", [5, 30])
def test_bootstrap_covers_the_mean_of_clustered_records(number: int) -> None:
    rng = np.random.default_rng(number)
    labels, missed = np.repeat(np.arange(number), 4), 0
    for _ in range(200):
        values = (rng.normal(size=(number, 1)) + 0.3 * rng.normal(size=(number, 4))).ravel()
        interval = bootstrap(lambda i, v=values: float(v[i].mean()), labels, rng, 0.95, 200)
        missed += not interval.low <= 0 <= interval.high
    assert missed <= 20


def test_bootstrap_of_cluster_numbers_and_of_records_agree() -> None:
    sums, sizes = np.array([1.0, 5.0, 2.0, 8.0]), np.array([2, 2, 2, 2])
    records = np.repeat(sums / sizes, sizes)
    by_number = bootstrap(lambda i: float(sums[i].sum() / sizes[i].sum()), 4, np.random.default_rng(3))
    by_record = bootstrap(
        lambda i: float(records[i].mean()), ["a", "a", "b", "b", "c", "c", "d", "d"], np.random.default_rng(3)
    )
    assert by_number[:3] == pytest.approx(by_record[:3])
    assert by_number == bootstrap(lambda i: float(sums[i].sum() / sizes[i].sum()), 4, np.random.default_rng(3))


def test_what_cannot_be_located_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="position 1"):
        median_interval([1.0, math.nan])
    with pytest.raises(ValueError, match="at least 1"):
        hodges_lehmann([], [1.0])
    with pytest.raises(ValueError, match="at least two"):
        bootstrap(lambda i: 0.0, ["a", "a"], rng)
    with pytest.raises(ValueError, match="not finite"):
        bootstrap(lambda i: math.nan, 5, rng)
    with pytest.raises(ValueError, match="resamples"):
        bootstrap(lambda i: 0.0, 5, rng, resamples=10)
