from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest, skewnorm

from auditor.statistics.exposure import (
    SkewNormal,
    skew_normal_adequacy,
    skew_normal_fit,
    skew_normal_log_cdf,
    skew_normal_refits,
)
from auditor.statistics.skew_normal import _negative_log_likelihood

fixed = settings(derandomize=True, deadline=None, max_examples=60)


def standard(shape: float) -> SkewNormal:
    return SkewNormal(shape, 0.0, 1.0, 0.0, 1.0, 1000)


def test_log_cdf_of_the_method_notes() -> None:
    z = np.array([-0.5, -1.0, -2.0, -5.0, -20.0])
    expected = [-6.5538, -14.0164, -40.7934, -221.0903, -3411.36]
    assert skew_normal_log_cdf(z, standard(4.0)) == pytest.approx(expected, abs=5e-3)
    assert skew_normal_log_cdf(z[:4], standard(4.0)) == pytest.approx(skewnorm.logcdf(z[:4], 4), rel=1e-9)
    # Fifty-digit quadrature by mpmath.
    exact = [-40.793407415015133868, -221.09025962747432157, -3411.3561522692763723]
    assert skew_normal_log_cdf(z[2:], standard(4.0)) == pytest.approx(exact, rel=2e-13)
    assert skewnorm.logcdf(-20.0, 4) == -math.inf  # why there is one of our own


@pytest.mark.parametrize("shape", [0.0, 0.3, 1.0, 4.0, 100.0, -0.5, -3.0, -100.0])
def test_log_cdf_by_quadrature_of_the_log_density(shape: float) -> None:
    for z in (-0.3, -1.5, -4.0, -9.0, -30.0):
        at = skewnorm.logpdf(z, shape)
        if not math.isfinite(at):
            continue
        scale = 1.0 / max(1.0, -z * (1 + max(shape, 0.0) ** 2))
        integral = quad(
            lambda u, z=z, at=at, s=scale: math.exp(skewnorm.logpdf(z - s * u, shape) - at), 0, 80, limit=200
        )[0]
        expected = at + math.log(integral * scale)
        assert float(skew_normal_log_cdf(z, standard(shape))) == pytest.approx(expected, rel=1e-9, abs=1e-7)


@fixed
@given(st.floats(-100, 100), st.floats(-60, 60), st.floats(0.01, 5))
def test_log_cdf_is_finite_monotone_and_scales(shape: float, z: float, step: float) -> None:
    fit = SkewNormal(shape, 3.0, 2.0, 0.0, 1.0, 1000)
    here, there = skew_normal_log_cdf(np.array([z, z + step]) * 2 + 3, fit)
    assert -math.inf < here <= there + 1e-12
    assert there <= 0
    # The rounding of 3 + 2z is magnified by the slope of the logarithm.
    slope = (1 + shape**2) * (1 + abs(z))
    assert float(skew_normal_log_cdf(z, standard(shape))) == pytest.approx(here, rel=1e-9, abs=1e-9 + 1e-13 * slope)


def test_where_both_formulas_meet_they_agree() -> None:
    for shape in (-50.0, -2.0, 0.0, 0.7, 4.0, 30.0):
        z = np.linspace(-6, 1, 4001)
        steps = np.diff(skew_normal_log_cdf(z, standard(shape)))
        assert (steps >= -1e-12).all()
        assert np.abs(np.diff(steps, 2)).max() < 1e-3 * max(1.0, shape**2 / 10)
    assert skew_normal_log_cdf([math.inf, -math.inf], standard(4.0)).tolist() == [0.0, -math.inf]
    assert skew_normal_log_cdf(0.0, standard(0.0)).shape == ()


@pytest.mark.parametrize("shape", [-6.0, -1.0, 0.0, 0.5, 2.0, 4.0])
@pytest.mark.parametrize("n", [60, 5000])
def test_fit_is_at_least_as_likely_as_scipys(shape: float, n: int) -> None:
    values = skewnorm.rvs(shape, loc=40, scale=3, size=n, random_state=int(10 * shape + 100))
    fit = skew_normal_fit(values)
    ours = skewnorm.logpdf(values, fit.shape, fit.location, fit.scale).mean()
    theirs = skewnorm.fit(values)
    if abs(theirs[0]) < 100:
        assert ours >= skewnorm.logpdf(values, *theirs).mean() - 1e-7
    ks = kstest(values, skewnorm(fit.shape, fit.location, fit.scale).cdf)
    assert fit.ks_statistic == pytest.approx(ks.statistic, abs=1e-9)
    assert fit.ks_p == pytest.approx(ks.pvalue, abs=0.02)
    assert fit.references == n


def test_gradient_is_that_of_the_likelihood() -> None:
    y = np.random.default_rng(0).normal(size=50)
    theta = np.array([1.3, 0.2, -0.1])
    _, gradient = _negative_log_likelihood(theta, y)
    for i in range(3):
        step = np.zeros(3)
        step[i] = 1e-6
        numeric = (_negative_log_likelihood(theta + step, y)[0] - _negative_log_likelihood(theta - step, y)[0]) / 2e-6
        assert gradient[i] == pytest.approx(numeric, abs=1e-7)


def test_fit_follows_shift_and_scale_and_ignores_order() -> None:
    values = skewnorm.rvs(3, size=400, random_state=5)
    fit, moved = skew_normal_fit(values), skew_normal_fit(7 * values[::-1] - 200)
    assert moved.shape == pytest.approx(fit.shape, rel=1e-4)
    assert moved.location == pytest.approx(7 * fit.location - 200, abs=1e-3)
    assert moved.scale == pytest.approx(7 * fit.scale, rel=1e-4)


def test_a_half_normal_stops_at_the_steepest_shape() -> None:
    fit = skew_normal_fit(np.abs(np.random.default_rng(6).normal(size=300)))
    assert 20 < fit.shape <= 100
    assert math.isfinite(fit.location)


def test_ks_refutes_what_is_no_skew_normal() -> None:
    rng = np.random.default_rng(7)
    two_humps = np.concatenate([rng.normal(0, 1, 300), rng.normal(9, 1, 300)])
    assert skew_normal_fit(two_humps).ks_p < 0.01
    assert skew_normal_fit(rng.normal(size=600)).ks_p > 0.05


def test_adequacy_keeps_its_level_where_kolmogorov_sleeps() -> None:
    """With the law fitted to the same references Kolmogorov's p-value is far too large; the bootstrap's is not."""
    rng = np.random.default_rng(9)
    asleep = refuted = 0
    for _ in range(60):
        fit = skew_normal_fit(rng.gamma(1.0, 1.0, 60))
        asleep += fit.ks_p > 0.05
        law = skew_normal_fit(skewnorm.rvs(2, size=60, random_state=rng))
        refuted += skew_normal_adequacy(law, skew_normal_refits(law, rng, 20)) <= 0.05
    assert refuted <= 9  # 99.9th percentile of Bin(60, 1 / 21)
    assert asleep > 40
    heavy = skew_normal_fit(rng.standard_t(2, 300))
    assert skew_normal_adequacy(heavy, skew_normal_refits(heavy, rng, 39)) == 1 / 40
    with pytest.raises(ValueError, match="no refits"):
        skew_normal_adequacy(heavy, ())


def test_refits_scatter_around_the_fit() -> None:
    fit = SkewNormal(4.0, 50.0, 3.0, 0.0, 1.0, 2000)
    refits = skew_normal_refits(fit, np.random.default_rng(8), 40)
    assert len(refits) == 40
    assert np.median([r.shape for r in refits]) == pytest.approx(4.0, abs=0.3)
    assert np.mean([r.location for r in refits]) == pytest.approx(50.0, abs=0.05)
    assert np.mean([r.scale for r in refits]) == pytest.approx(3.0, abs=0.05)
    assert refits == skew_normal_refits(fit, np.random.default_rng(8), 40)


def test_bad_references_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 20"):
        skew_normal_fit(np.arange(19.0))
    with pytest.raises(ValueError, match="references that differ"):
        skew_normal_fit(np.full(30, 2.5))
    with pytest.raises(ValueError, match="holds inf"):
        skew_normal_fit(np.append(np.arange(30.0), math.inf))
    with pytest.raises(ValueError, match="NaN"):
        skew_normal_log_cdf(math.nan, standard(1.0))
    with pytest.raises(ValueError, match="resamples"):
        skew_normal_refits(standard(1.0), np.random.default_rng(0), 3)
