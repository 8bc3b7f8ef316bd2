from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, combine_pvalues, skewnorm

from auditor.statistics.exposure import (
    SkewNormal,
    exact_exposure,
    extrapolated_exposure,
    fisher_combination,
    sampled_exposure,
    skew_normal_fit,
    skew_normal_refits,
    space_exposure_cap,
)

fixed = settings(derandomize=True, deadline=None, max_examples=80)
scores = st.lists(st.integers(0, 30).map(float), min_size=1, max_size=40)


def tf_privacy_interpolation(canary: float, references: np.ndarray) -> float:
    """TensorFlow Privacy's convention, for comparison: log2 N - log2 (k + 1), ties counted against the canary."""
    return math.log2(references.size) - math.log2(np.count_nonzero(references <= canary) + 1)


@pytest.mark.parametrize(("canary", "bits"), [(0.0, 4.0), (0.1, 4.0), (20.0, math.log2(16 / 17)), (3.5, 2.0)])
def test_vectors_of_tf_privacy_in_its_convention(canary: float, bits: float) -> None:
    references = np.arange(1.0, 17.0)
    assert tf_privacy_interpolation(canary, references) == pytest.approx(bits)
    ours = sampled_exposure(canary, references)
    assert ours.bits == pytest.approx(bits + math.log2(17 / 16))
    assert ours.bits >= 0


def test_exact_exposure_of_the_method_notes() -> None:
    space = np.arange(1.0, 17.0)
    assert exact_exposure(4.0, space)[:6] == (2.0, 2.0, 2.0, 3, 15, 0.25)
    first = exact_exposure(1.0, space)
    assert first.bits == space_exposure_cap(16) == 4.0
    assert first.capped
    assert exact_exposure(16.0, space).bits == 0.0
    assert space_exposure_cap(1e9) == pytest.approx(29.897, abs=5e-4)
    # All equal: ties count against the canary.
    assert exact_exposure(1.0, np.ones(8)).bits == 0.0


def test_a_canary_scored_with_other_rounding_still_ranks_first() -> None:
    assert exact_exposure(0.9999999, np.arange(1.0, 17.0)).bits == 4.0


def test_sampled_interval_of_the_method_notes() -> None:
    references = np.arange(1000.0)
    exposure = sampled_exposure(4.5, references)
    assert exposure.rank_below == 5
    assert (exposure.bits, exposure.low, exposure.high) == pytest.approx((7.38, 6.43, 9.26), abs=5e-3)
    for n, low in ((100, 5.08), (1000, 8.39), (10_000, 11.71), (100_000, 15.03)):
        none = sampled_exposure(-1.0, np.arange(float(n)), 0.90)
        assert none.low == pytest.approx(low, abs=5e-3)
        assert none.bits == pytest.approx(math.log2(n + 1))
        assert none.high == math.inf
        assert none.capped
    assert sampled_exposure(-1.0, references, space_size=1e6).high == pytest.approx(math.log2(1e6))
    assert sampled_exposure(1e9, references).bits == 0.0


@fixed
@given(scores, st.integers(-1, 31).map(float), st.randoms(use_true_random=False))
def test_rank_statistics(space: list[float], canary: float, random: object) -> None:
    """Inverted signs and argsort for rank, both found in public code, fail here."""
    sampled = sampled_exposure(canary, space, space_size=1e6)
    assert 0 <= sampled.low <= sampled.bits <= sampled.high <= math.log2(1e6)
    assert 2**-sampled.bits == pytest.approx(sampled.p_value)
    interval = binomtest(sampled.rank_below, len(space)).proportion_ci(0.95, "exact")
    assert 2**-sampled.low == pytest.approx(max(interval.high, sampled.p_value))
    shuffled = list(space)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sampled_exposure(canary, shuffled, space_size=1e6) == sampled
    assert sampled_exposure(canary - 1, space, space_size=1e6).bits >= sampled.bits
    exact = exact_exposure(canary, [*space, canary])
    assert exact.bits == pytest.approx(sampled.bits)
    assert exact.rank_below == sampled.rank_below
    assert exact.p_value == pytest.approx(sampled.p_value)
    assert exact_exposure(2 * canary, [2 * x for x in [*space, canary]]) == exact


def test_mean_exposure_without_memorization_is_1_44_bits() -> None:
    n = 200_000
    assert np.mean(-np.log2((np.arange(n) + 0.5) / n)) == pytest.approx(1 / math.log(2), abs=1e-4)
    rng = np.random.default_rng(0)
    drawn = [sampled_exposure(rng.random(), rng.random(999)) for _ in range(4000)]
    assert np.mean([e.bits for e in drawn]) == pytest.approx(1.4427, abs=0.08)
    for bits in (1, 3, 5):
        assert np.mean([e.bits >= bits for e in drawn]) <= 2.0**-bits + 3.1 * math.sqrt(2.0**-bits / 4000)
    assert np.mean([e.low for e in drawn]) < 1.4427


@pytest.mark.parametrize(("m", "bits", "p"), [(10, 3.0, 0.00313), (20, 2.0, 0.0529), (10, 1.4427, 0.458)])
def test_fisher_combination_of_the_method_notes(m: int, bits: float, p: float) -> None:
    assert fisher_combination([2**-bits] * m) == pytest.approx(p, rel=2e-3)


@fixed
@given(st.lists(st.floats(1e-12, 1.0), min_size=1, max_size=20))
def test_fisher_combination_agrees_with_scipy(p: list[float]) -> None:
    assert fisher_combination(p) == pytest.approx(combine_pvalues(p, "fisher").pvalue, rel=1e-8, abs=1e-300)
    assert fisher_combination(p[:1]) == pytest.approx(p[0])


def test_extrapolation_agrees_with_the_law_it_was_given() -> None:
    fit = skew_normal_fit(skewnorm.rvs(4, size=10_000, random_state=1))
    refits = skew_normal_refits(fit, np.random.default_rng(0), 40)
    for bits in (5, 10):
        canary = float(skewnorm.ppf(2.0**-bits, 4))
        exposure = extrapolated_exposure(canary, fit, 1e9, np.random.default_rng(0), refits=refits)
        theirs = -skewnorm.logcdf(canary, fit.shape, fit.location, fit.scale) / math.log(2)
        assert exposure.bits == pytest.approx(theirs, abs=1e-6)
        assert exposure.low <= bits <= exposure.high
        assert not exposure.capped
        assert exposure.p_value == pytest.approx(2**-exposure.bits)
        assert exposure.high - exposure.low < 1 + bits / 5
    repeated = extrapolated_exposure(-0.4, fit, 1e9, np.random.default_rng(3), 20)
    assert repeated == extrapolated_exposure(-0.4, fit, 1e9, np.random.default_rng(3), 20)


def test_extrapolation_never_exceeds_the_space() -> None:
    fit = SkewNormal(4.0, 0.0, 1.0, 0.0, 1.0, 500)
    exposure = extrapolated_exposure(-20.0, fit, 1e6, np.random.default_rng(1), 20)
    assert exposure.bits == exposure.high == math.log2(1e6)
    assert exposure.capped
    assert exposure.low <= exposure.bits


def test_extrapolated_interval_does_not_overstate() -> None:
    """The fit errs upwards in the far tail, so the low end is what a signal rests on: true 10 bits, 200 references."""
    rng = np.random.default_rng(2)
    canary, over, under = float(skewnorm.ppf(2.0**-10, 3)), 0, 0
    for _ in range(40):
        fit = skew_normal_fit(skewnorm.rvs(3, size=200, random_state=rng))
        exposure = extrapolated_exposure(canary, fit, 2.0**40, rng, 40)
        over += exposure.low > 10
        under += exposure.high < 10
    assert over <= 5  # nominal 1, 99.9th percentile 5
    assert under <= 5


def test_bad_scores_are_refused() -> None:
    fit = SkewNormal(4.0, 0.0, 1.0, 0.0, 1.0, 500)
    rng = np.random.default_rng(0)
    for call in (exact_exposure, sampled_exposure):
        with pytest.raises(ValueError, match="canary's log-perplexity is NaN"):
            call(math.nan, [1.0])
        with pytest.raises(ValueError, match="holds nan at position 0"):
            call(1.0, [math.nan])
        with pytest.raises(ValueError, match="at least 1"):
            call(1.0, [])
    with pytest.raises(ValueError, match="fillings"):
        space_exposure_cap(0)
    with pytest.raises(ValueError, match="behind the fit"):
        extrapolated_exposure(0.0, fit._replace(references=0), 1e6, rng)
    with pytest.raises(ValueError, match="minus infinity"):
        extrapolated_exposure(-math.inf, fit, 1e6, rng)
    with pytest.raises(ValueError, match="no refits"):
        extrapolated_exposure(0.0, fit, 1e6, rng, refits=())
    for bad in ([0.0], [1.2], [math.nan], []):
        with pytest.raises(ValueError, match="p-value"):
            fisher_combination(bad)
