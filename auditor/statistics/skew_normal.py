"""The skew-normal law fitted to reference scores, with a left tail that does not run out of digits."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import erfcx, kolmogorov, log_ndtr, ndtr, owens_t

from auditor.statistics._checks import checked_whole, vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray

_LOG_2 = math.log(2.0)
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_STEEPEST = 100.0
"""Largest |shape|: beyond it the likelihood is flat and the law is a half-normal to four digits."""
_LEAST_REFERENCES = 20
_MOST_STEPS = 300


class SkewNormal(NamedTuple):
    """A skew-normal law and how well it fits the references it came from."""

    shape: float
    """0 for the normal law, positive for a long right tail."""
    location: float
    scale: float
    ks_statistic: float
    """Largest distance between the empirical and the fitted distribution function, 0 to 1."""
    ks_p: float
    """Kolmogorov's p-value. The law was fitted to the same references: small refutes the fit, large proves little;
    :func:`skew_normal_adequacy` takes the fitting into account."""
    references: int = 0
    """Number of references behind the fit."""


def _negative_log_likelihood(theta: FloatArray, y: FloatArray) -> tuple[float, FloatArray]:
    """Mean negative log-likelihood and its gradient in (shape, location, log scale)."""
    shape, location, log_scale = (float(t) for t in theta)
    scale = math.exp(log_scale)
    z = (y - location) / scale
    log_cdf = log_ndtr(shape * z)
    value = log_scale + 0.5 * float(np.mean(z * z)) - float(np.mean(log_cdf)) + _HALF_LOG_2PI - _LOG_2
    # Mills ratio phi/Phi through logs: both underflow far out, their ratio does not.
    mills = np.exp(-0.5 * (shape * z) ** 2 - _HALF_LOG_2PI - log_cdf)
    by_shape = -float(np.mean(mills * z))
    by_z = z - shape * mills
    return value, np.array([by_shape, -float(np.mean(by_z)) / scale, 1.0 - float(np.mean(by_z * z))])


def _by_moments(y: FloatArray) -> FloatArray:
    """Start from mean, deviation and skewness (Azzalini 1985), with the skewness kept inside what the law can have."""
    skew = float(np.clip(np.mean((y - y.mean()) ** 3) / y.std() ** 3, -0.95, 0.95))
    root = abs(skew) ** (2.0 / 3.0)
    delta = math.copysign(math.sqrt(math.pi / 2.0 * root / (root + ((4.0 - math.pi) / 2.0) ** (2.0 / 3.0))), skew)
    scale = y.std() / math.sqrt(1.0 - 2.0 * delta**2 / math.pi)
    return np.array(
        [delta / math.sqrt(1.0 - delta**2), y.mean() - scale * delta * math.sqrt(2.0 / math.pi), math.log(scale)]
    )


def _descended(theta: FloatArray, y: FloatArray) -> tuple[float, FloatArray]:
    """Minimise by BFGS with backtracking: scipy's own calls threaded algebra, thirty times slower on a busy machine."""
    inverse = np.eye(3)
    value, gradient = _negative_log_likelihood(theta, y)
    for _ in range(_MOST_STEPS):
        step = -inverse @ gradient
        slope = float(gradient @ step)
        if slope >= 0.0:
            inverse, step, slope = np.eye(3), -gradient, -float(gradient @ gradient)
        size = min(1.0, 2.0 / max(1e-300, float(np.abs(step).max())))
        while True:
            moved = theta + size * step
            moved[0] = min(max(moved[0], -_STEEPEST), _STEEPEST)
            there, new_gradient = _negative_log_likelihood(moved, y)
            if there <= value + 1e-4 * size * slope or size < 1e-12:
                break
            size /= 2.0
        gain = value - there
        if not gain > 0.0:
            break
        change, turn = moved - theta, new_gradient - gradient
        curvature = float(change @ turn)
        if curvature > 1e-14:
            left = np.eye(3) - np.outer(change, turn) / curvature
            inverse = left @ inverse @ left.T + np.outer(change, change) / curvature
        theta, value, gradient = moved, there, new_gradient
        if gain < 1e-12 and float(np.abs(gradient).max()) < 1e-5:
            break
    return value, theta


def _maximise(y: FloatArray, start: FloatArray) -> FloatArray:
    """The likeliest parameters. At shape 0 the likelihood is always stationary, so both sides of it are tried."""
    starts = [start] if abs(start[0]) > 1.0 else [start, np.array([1.0, -0.7, 0.2]), np.array([-1.0, 0.7, 0.2])]
    return min((_descended(one, y) for one in starts), key=lambda found: found[0])[1]


def _cdf(z: FloatArray, shape: float) -> FloatArray:
    return np.asarray(np.clip(ndtr(z) - 2.0 * owens_t(z, shape), 0.0, 1.0), dtype=np.float64)


def _described(ordered: FloatArray, theta: FloatArray, centre: float, spread: float) -> SkewNormal:
    shape, location, scale = float(theta[0]), centre + spread * float(theta[1]), spread * math.exp(float(theta[2]))
    n = ordered.size
    fitted = _cdf((ordered - location) / scale, shape)
    steps = np.arange(n + 1) / n
    distance = float(max((steps[1:] - fitted).max(), (fitted - steps[:-1]).max()))
    # Stephens (1970): with this factor Kolmogorov's limit law serves from a handful of references on.
    stretch = math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)
    return SkewNormal(shape, location, scale, distance, float(kolmogorov(stretch * distance)), n)


def skew_normal_fit(references: ArrayLike) -> SkewNormal:
    """The law is the likeliest skew-normal for the references; whether it is a good one the KS distance says.

    Args:
        references: Log-perplexities (nat) of random fillings that were not planted, shape [n], n at least 20.

    Returns:
        Shape, location and scale with the Kolmogorov-Smirnov distance; |shape| is at most 100.

    Raises:
        ValueError: If there are fewer than 20 references, one is not finite, or all are equal.

    Source:
        Azzalini (1985), Scand. J. Stat. 12:171; used for exposure by Carlini et al. (2019), The Secret Sharer.
    """
    values = np.sort(vector(references, "references", _LEAST_REFERENCES))
    centre, spread = float(values.mean()), float(values.std())
    if spread <= 1e-12 * max(1.0, abs(centre)):
        msg = f"all {values.size} references score {centre:g}: a law needs references that differ"
        raise ValueError(msg)
    y = (values - centre) / spread
    return _described(values, _maximise(y, _by_moments(y)), centre, spread)


def skew_normal_refits(fit: SkewNormal, rng: np.random.Generator, resamples: int = 200) -> tuple[SkewNormal, ...]:
    """The laws are what the fit would have been on other references, were the fitted law true.

    Args:
        fit: The law to draw from, with its number of references.
        rng: Source of the references.
        resamples: Number of refits, at least 20.

    Returns:
        One law per resample; use them for many canaries, they do not depend on any.

    Raises:
        ValueError: If the fit does not say on how many references it rests, or `resamples` is too small.

    Source:
        Parametric bootstrap, Efron & Tibshirani (1993), section 6.5; drawing by Azzalini (1985).
    """
    checked_whole(resamples, "resamples", 20)
    n = checked_whole(fit.references, "the number of references behind the fit", _LEAST_REFERENCES)
    delta = fit.shape / math.hypot(1.0, fit.shape)
    refits = []
    for _ in range(resamples):
        z = delta * np.abs(rng.standard_normal(n)) + math.sqrt(1.0 - delta**2) * rng.standard_normal(n)
        z.sort()
        centre, spread = float(z.mean()), float(z.std())
        y = (z - centre) / spread
        truth = np.array([fit.shape, -centre / spread, -math.log(spread)])
        theta = _maximise(y, truth)
        drawn = _described(z, theta, centre, spread)
        refits.append(drawn._replace(location=fit.location + fit.scale * drawn.location, scale=fit.scale * drawn.scale))
    return tuple(refits)


def skew_normal_adequacy(fit: SkewNormal, refits: Sequence[SkewNormal]) -> float:
    """The p-value is valid for "the references follow a skew-normal law", the fitting of the law included.

    Args:
        fit: The law fitted to the references.
        refits: Its refits, from :func:`skew_normal_refits`.

    Returns:
        (1 + refits at least as far from their references as the fit is from its own) / (refits + 1).

    Raises:
        ValueError: If there is no refit.

    Source:
        Stute, Gonzalez Manteiga & Presedo Quindimil (1993), Metrika 40:243: bootstrap of Kolmogorov's distance.
    """
    if not refits:
        msg = "there are no refits: make some with skew_normal_refits"
        raise ValueError(msg)
    return (1 + sum(law.ks_statistic >= fit.ks_statistic for law in refits)) / (len(refits) + 1)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
_EDGES = (0.0, 1.0, 4.0, 12.0, 48.0)
"""Ends of the panels, in units of the decay length; the law is log-concave, so what lies beyond is below e^-48."""


def _log_density_drop(z: FloatArray, t: FloatArray, shape: float) -> FloatArray:
    """l(z - t) - l(z) for the log density l, without subtracting large numbers; z is [n, 1], t is [n, nodes]."""
    moved = z * t - 0.5 * t * t
    if shape == 0.0:
        return moved
    if shape < 0.0:
        return np.asarray(moved + log_ndtr(shape * (z - t)) - log_ndtr(shape * z), dtype=np.float64)
    # log Phi(y) = -y^2/2 + log(erfcx(-y / sqrt 2) / 2); the squares are subtracted by hand.
    scaled = np.log(erfcx(-shape * (z - t) / math.sqrt(2.0))) - np.log(erfcx(-shape * z / math.sqrt(2.0)))
    return np.asarray((1.0 + shape * shape) * moved + scaled, dtype=np.float64)


def _log_tail(z: FloatArray, shape: float) -> FloatArray:
    """Log F(z) far to the left: l(z) + log of the integral of exp(l(z - t) - l(z)) over t > 0."""
    if shape > 0.0:
        # Phi(y) = exp(-y^2/2) erfcx(-y / sqrt 2) / 2, so phi(y) / Phi(y) keeps its digits for every y < 0.
        scaled = erfcx(-shape * z / math.sqrt(2.0))
        log_cdf = -0.5 * (shape * z) ** 2 + np.log(scaled) - _LOG_2
        mills = math.sqrt(2.0 / math.pi) / scaled
    else:
        log_cdf = log_ndtr(shape * z)
        mills = np.exp(-0.5 * (shape * z) ** 2 - _HALF_LOG_2PI - log_cdf)
    log_density = _LOG_2 - 0.5 * z * z - _HALF_LOG_2PI + log_cdf
    rate = -z + shape * mills
    total = np.zeros_like(z)
    for left, right in itertools.pairwise(_EDGES):
        u = left + (right - left) * (np.asarray(_NODES) + 1.0) / 2.0
        drop = _log_density_drop(z[:, None], u[None, :] / rate[:, None], shape)
        total += np.exp(drop) @ (np.asarray(_WEIGHTS) * (right - left) / 2.0)
    return np.asarray(log_density + np.log(total / rate), dtype=np.float64)


def skew_normal_log_cdf(x: ArrayLike, fit: SkewNormal) -> FloatArray:
    """The result is log P(reference <= x) under the law, finite however far x lies to the left.

    Args:
        x: Log-perplexities (nat), any shape.
        fit: The law.

    Returns:
        Natural logarithms, at most 0, in the shape of `x`.

    Raises:
        ValueError: If `x` holds NaN or the scale is not positive.

    Source:
        Azzalini (1985) (Owen's T); in the tail the integral of the density ratio, by quadrature.
    """
    values = np.asarray(x, dtype=np.float64)
    if bool(np.isnan(values).any()) or not fit.scale > 0.0:
        msg = f"x holds NaN or the scale is {fit.scale}: give numbers and a law with a positive scale"
        raise ValueError(msg)
    z = np.atleast_1d((values - fit.location) / fit.scale).ravel()
    cdf = _cdf(z, fit.shape)
    result = np.zeros_like(z)
    # Owen's T loses digits by cancellation long before it returns 0.
    tail = (cdf < 1e-4) & np.isfinite(z)
    result[~tail] = np.log(np.maximum(cdf[~tail], np.finfo(np.float64).tiny))
    result[z == -math.inf] = -math.inf
    if tail.any():
        result[tail] = _log_tail(z[tail], fit.shape)
    return np.minimum(result, 0.0).reshape(values.shape)
