from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact, hypergeom

from auditor.statistics.exposure import fisher_combination
from auditor.statistics.rates import (
    TIED,
    cluster_permutation_greater,
    fisher_greater,
    hypergeometric_tail,
    mcnemar_greater,
)

fixed = settings(derandomize=True, deadline=None, max_examples=80)


def test_values_of_the_method_notes() -> None:
    assert fisher_greater(8, 1000, 0, 1000) == pytest.approx(0.0039, abs=5e-5)
    assert fisher_greater(3, 1000, 0, 1000) == pytest.approx(0.125, abs=5e-4)
    assert mcnemar_greater(12, 2) == pytest.approx(0.0065, abs=5e-5)


@fixed
@given(st.data())
def test_fisher_agrees_with_scipy(data: st.DataObject) -> None:
    n1, n0 = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 300))
    k1, k0 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n0))
    theirs = fisher_exact([[k1, n1 - k1], [k0, n0 - k0]], alternative="greater").pvalue
    assert fisher_greater(k1, n1, k0, n0) == pytest.approx(theirs, rel=1e-8, abs=1e-12)


def test_far_tails_keep_their_digits() -> None:
    assert hypergeometric_tail(900, 1000, 1000, 100_000) == pytest.approx(
        hypergeom.sf(899, 100_000, 1000, 1000), rel=1e-6
    )
    assert hypergeometric_tail(50_400, 100_000, 100_000, 200_000) == pytest.approx(
        hypergeom.sf(50_399, 200_000, 100_000, 100_000), rel=1e-6
    )


@fixed
@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_agrees_with_scipy(b: int, c: int) -> None:
    expected = binomtest(b, b + c, alternative="greater").pvalue if b + c else 1.0
    assert mcnemar_greater(b, c) == pytest.approx(expected, rel=1e-9)


def test_cluster_permutation_agrees_with_all_relabellings() -> None:
    s, t = np.array([3, 1, 2, 0, 0, 1, 0]), np.array([4, 3, 2, 5, 1, 3, 2])
    members = (0, 1, 2)

    def studentised(inside: np.ndarray) -> float:
        rates, variance = [], 0.0
        for side in (inside, ~inside):
            rate = s[side].sum() / t[side].sum()
            rates.append(rate)
            variance += float(((s[side] - rate * t[side]) ** 2).sum()) / t[side].sum() ** 2
        return float((rates[0] - rates[1]) / math.sqrt(variance))

    sides = [np.isin(np.arange(7), chosen) for chosen in itertools.combinations(range(7), 3)]
    observed = studentised(np.isin(np.arange(7), members))
    exact = np.mean(np.array([studentised(inside) for inside in sides]) >= observed - TIED)
    p = cluster_permutation_greater(s[:3], t[:3], s[3:], t[3:], np.random.default_rng(0), 20_000)
    assert p == pytest.approx(exact, abs=5 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-4)


def test_cluster_permutation_of_singletons_is_fishers_test() -> None:
    s1, s0 = np.repeat([1, 0], [9, 41]), np.repeat([1, 0], [3, 57])
    p = cluster_permutation_greater(s1, np.ones(50), s0, np.ones(60), np.random.default_rng(1), 20_000)
    assert p == pytest.approx(fisher_greater(9, 50, 3, 60), abs=0.01)


def test_a_side_sampled_by_trials_calls_no_oftener() -> None:
    calls = []
    for seed in range(400):
        rng = np.random.default_rng([9, seed])
        sizes = rng.integers(1, 4, 400)
        members = rng.permutation(400) < 200
        trials = np.where(members, rng.binomial(sizes, 0.5), sizes)  # half of the members' records are left out
        successes = trials * (rng.random(400) < 0.03)
        sides = [values[side & (trials > 0)] for side in (members, ~members) for values in (successes, trials)]
        calls.append(cluster_permutation_greater(*sides, rng, 299) <= 0.05)
    assert np.mean(calls) <= 0.05 + 1.64 * math.sqrt(0.05 * 0.95 / 400)


def test_few_successes_on_a_sampled_side_are_no_surer_than_fishers_test_of_clusters() -> None:
    """Six of 692 clusters against none of 564: the sizes of the others cannot make that rarer than it is."""
    rng = np.random.default_rng(5)
    t1, t0 = 1 + rng.binomial(1, 0.5, 692), 1 + rng.binomial(2, 0.43, 564)
    p = cluster_permutation_greater(np.arange(692) < 6, t1, np.zeros(564), t0, rng, 9999)
    assert p == pytest.approx(fisher_greater(6, 692, 0, 564), abs=0.008)


def test_where_nothing_varies_only_a_difference_of_all_counts() -> None:
    rng = np.random.default_rng(4)
    assert cluster_permutation_greater([3, 2], [3, 2], [1, 4], [1, 4], rng, 99) == 1.0
    assert cluster_permutation_greater([0, 0], [3, 2], [0, 0], [1, 4], rng, 99) == 1.0
    assert cluster_permutation_greater([2] * 9, [2] * 9, [0] * 9, [2] * 9, rng, 99) == 1 / 100


def test_permutation_p_is_never_zero_and_repeats_with_its_seed() -> None:
    s, t = np.full(30, 5), np.full(30, 5)
    first = cluster_permutation_greater(s, t, 0 * s, t, np.random.default_rng(2), 999)
    assert first == 1 / 1000
    assert cluster_permutation_greater(s, t, s, t, np.random.default_rng(2), 999) == 1.0


def test_impossible_counts_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="whole"):
        fisher_greater(1.5, 3, 0, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="first sample"):
        fisher_greater(4, 3, 0, 3)
    with pytest.raises(ValueError, match="second sample"):
        fisher_greater(1, 3, 0, 0)
    with pytest.raises(ValueError, match="b is -1"):
        mcnemar_greater(-1, 3)
    with pytest.raises(ValueError, match="members"):
        cluster_permutation_greater([2], [1], [0], [1], rng)
    with pytest.raises(ValueError, match="controls: no cluster"):
        cluster_permutation_greater([1], [1], [0], [0], rng)
    with pytest.raises(ValueError, match="permutations"):
        cluster_permutation_greater([1], [1], [0], [1], rng, 5)


def test_no_p_value_is_zero_however_strong_the_evidence():
    """What floating point cannot hold is not impossible: 5,000 of 5,000 against none has p = 1 / C(10000, 5000)."""
    for p in (fisher_greater(5000, 5000, 0, 5000), mcnemar_greater(5000, 0), fisher_combination([1e-5] * 300)):
        assert 0.0 < p < 1e-300
    assert fisher_greater(3, 3, 0, 3) == pytest.approx(1 / 20)
    assert mcnemar_greater(5, 0) == pytest.approx(1 / 32)
