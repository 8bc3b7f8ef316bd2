"""Exposure: how far a planted secret stands out among those that could have been. Log-perplexities are in nat."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import gammaincc

from auditor.statistics._checks import above_zero, checked_level, vector
from auditor.statistics.rate_interval import clopper_pearson
from auditor.statistics.skew_normal import (
    SkewNormal,
    skew_normal_adequacy,
    skew_normal_fit,
    skew_normal_log_cdf,
    skew_normal_refits,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

__all__ = [
    "Exposure",
    "SkewNormal",
    "exact_exposure",
    "extrapolated_exposure",
    "fisher_combination",
    "sampled_exposure",
    "skew_normal_adequacy",
    "skew_normal_fit",
    "skew_normal_log_cdf",
    "skew_normal_refits",
    "space_exposure_cap",
]

_LOG_2 = math.log(2.0)


class Exposure(NamedTuple):
    """The exposure of one canary, in bits, with its interval; `2 ** -bits` is a p-value."""

    bits: float
    low: float
    high: float
    """Infinite for a sample that no reference beats, unless the size of the space is known."""
    rank_below: int
    """References at or below the canary's log-perplexity, the canary itself not counted."""
    references: int
    """References compared with, the canary itself not counted."""
    p_value: float
    """Probability of so low a log-perplexity for a canary that was not trained on."""
    method: str
    capped: bool
    """The canary stands at or beyond what can be measured: read `bits` as "at least"."""


def space_exposure_cap(space_size: float) -> float:
    """No exposure can exceed the result.

    Args:
        space_size: Number of fillings the canary was drawn from, uniformly; at least 1.

    Returns:
        log2 of the size, in bits.

    Raises:
        ValueError: If the size is below 1 or not finite.

    Source:
        Carlini et al. (2019), The Secret Sharer, section 4: exposure = log2 |R| - log2 rank.
    """
    if not (math.isfinite(space_size) and space_size >= 1.0):
        msg = f"the space holds {space_size} fillings: give the number the canary was drawn from, at least 1"
        raise ValueError(msg)
    return math.log2(space_size)


def _canary(score: float) -> float:
    if math.isnan(score):
        msg = "the canary's log-perplexity is NaN: score it again, a missing number has no rank"
        raise ValueError(msg)
    return float(score)


def exact_exposure(canary: float, space_scores: ArrayLike) -> Exposure:
    """The exposure is exact: every filling of the space was scored.

    Args:
        canary: Log-perplexity of the canary, nat.
        space_scores: Log-perplexities of all fillings, the canary's own among them, without
            the other planted canaries.

    Returns:
        log2 |R| - log2 rank, from 0 to log2 |R|; ties count against the canary. `capped` if it ranks first.

    Raises:
        ValueError: If the space is empty or a score is NaN.

    Source:
        Carlini et al. (2019), The Secret Sharer, section 4 (rank and exposure).
    """
    scores = vector(space_scores, "space scores", finite=False)
    # The canary scored in another batch may differ in the last digit from its own entry: it still ranks at least first.
    rank = max(1, int(np.count_nonzero(scores <= _canary(canary))))
    bits = math.log2(scores.size) - math.log2(rank)
    p_value = rank / scores.size
    return Exposure(bits, bits, bits, rank - 1, scores.size - 1, p_value, "exact", capped=rank == 1)


def sampled_exposure(
    canary: float, references: ArrayLike, level: float = 0.95, *, space_size: float | None = None
) -> Exposure:
    """The exposure never overstates the evidence of a sample: 2 to the minus its bits is a valid p-value.

    Args:
        canary: Log-perplexity of the canary, nat.
        references: Log-perplexities of fillings drawn at random from the same space, shape [N],
            no planted one among them.
        level: Two-sided confidence level.
        space_size: Number of fillings in the space. Without it the upper end is infinite where no reference is at or
            below the canary, since a sample cannot tell how far beyond it the canary lies.

    Returns:
        -log2((k + 1) / (N + 1)) with k references at or below the canary, from 0 to log2(N + 1), and an interval
        from Clopper-Pearson on k of N.

    Raises:
        ValueError: If there is no reference, one is NaN, or an argument is out of range.

    Source:
        Carlini et al. (2019), The Secret Sharer, section 4 (by sampling); p-value of Phipson & Smyth (2010).
    """
    scores = vector(references, "references", finite=False)
    k, n = int(np.count_nonzero(scores <= _canary(canary))), scores.size
    cap = math.inf if space_size is None else space_exposure_cap(space_size)
    p_value = (k + 1) / (n + 1)
    bits = min(-math.log2(p_value), cap)
    share = clopper_pearson(k, n, level)
    low = max(0.0, -math.log2(share.high))
    high = min(cap, -math.log2(share.low)) if share.low > 0.0 else cap
    return Exposure(bits, min(low, bits), max(high, bits), k, n, p_value, "sampled, Clopper-Pearson", capped=k == 0)


def extrapolated_exposure(
    canary: float,
    fit: SkewNormal,
    space_size: float,
    rng: np.random.Generator,
    resamples: int = 200,
    *,
    level: float = 0.95,
    refits: Sequence[SkewNormal] | None = None,
) -> Exposure:
    """The exposure is that of the fitted law, held to what the space allows, and only as good as the fit.

    Args:
        canary: Log-perplexity of the canary, nat.
        fit: Law of the references, from :func:`skew_normal_fit`; look at its KS distance first.
        space_size: Number of fillings the canary was drawn from.
        rng: Source of the parametric bootstrap.
        resamples: Number of refits, at least 20.
        level: Two-sided confidence level.
        refits: Laws from :func:`skew_normal_refits`, to share them among many canaries; then `rng` is not used.

    Returns:
        -log2 F(canary), at most log2 |R|, with the wider of the percentile and the reflected (basic) interval over
        refits at either end: it holds the error of estimating the law, not the error of choosing it. `rank_below` is
        the number expected under the law.

    Raises:
        ValueError: If the canary is NaN, or an argument is out of range.

    Source:
        Carlini et al. (2019), The Secret Sharer, section 4 (approximation by distribution modelling).
    """
    cap = space_exposure_cap(space_size)
    tail = (1.0 - checked_level(level)) / 2.0
    score = _canary(canary)
    if score == -math.inf:
        msg = "the canary's log-perplexity is minus infinity, which no probability has: check its sign"
        raise ValueError(msg)
    laws = skew_normal_refits(fit, rng, resamples) if refits is None else refits
    if not laws:
        msg = "there are no refits: an interval needs some, leave the argument out to make them"
        raise ValueError(msg)
    raw = -float(skew_normal_log_cdf(score, fit)) / _LOG_2
    spread = [-float(skew_normal_log_cdf(score, law)) / _LOG_2 for law in laws]
    low, high = (float(q) for q in np.quantile(spread, [tail, 1.0 - tail]))
    bits = min(raw, cap)
    # Far out in the tail a fit errs upwards, and refits err so again: the reflected interval makes up for it.
    low, high = max(0.0, min(low, 2.0 * raw - high)), min(cap, max(high, 2.0 * raw - low))
    share = 2.0**-bits
    return Exposure(
        bits,
        min(low, bits),
        max(high, bits),
        math.floor(share * fit.references),
        fit.references,
        share,
        "skew-normal extrapolation, parametric bootstrap",
        capped=raw >= cap,
    )


def fisher_combination(p_values: ArrayLike) -> float:
    """The p-value is valid for "no canary was memorized" if the canaries are independent.

    Args:
        p_values: One p-value per canary, above 0 to 1; canaries of one template compete and are not independent.

    Returns:
        Upper tail of chi-squared with 2m degrees of freedom at -2 times the sum of logarithms.

    Raises:
        ValueError: If there is none, or one is outside (0, 1].

    Source:
        Fisher (1932), Statistical Methods for Research Workers, section 21.1; 2 ln 2 times the sum of exposures.
    """
    values = vector(p_values, "p-values")
    if (values <= 0.0).any() or (values > 1.0).any():
        where = int(np.flatnonzero((values <= 0.0) | (values > 1.0))[0])
        msg = f"p-value {where} is {values[where]}: a valid p-value lies above 0 and at most at 1"
        raise ValueError(msg)
    return above_zero(gammaincc(values.size, -float(np.log(values).sum())))
