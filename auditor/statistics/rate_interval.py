"""Intervals for a rate and for the difference of two rates, from counts of independent trials."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.special import betaincinv, ndtri

from auditor.statistics._checks import checked_counts, checked_level


class Interval(NamedTuple):
    """An estimate with the range that the data leave open, `low <= value <= high`."""

    value: float
    low: float
    high: float
    level: float
    """Confidence level, between 0 and 1."""
    method: str
    """How the interval was made, as printed beside it."""


def _beta_low(successes: float, trials: float, tail: float) -> float:
    if successes <= 0.0:
        return 0.0
    return min(float(betaincinv(successes, trials - successes + 1.0, tail)), successes / trials)


def _beta_high(successes: float, trials: float, tail: float) -> float:
    if successes >= trials:
        return 1.0
    return max(float(betaincinv(successes + 1.0, trials - successes, 1.0 - tail)), successes / trials)


def clopper_pearson(successes: float, trials: float, level: float = 0.95) -> Interval:
    """The interval covers the true rate with at least the stated probability, whatever that rate is.

    Args:
        successes: Number of successes, 0 to `trials`; need not be whole, so that effective counts can be given.
        trials: Number of independent trials, above 0; need not be whole.
        level: Two-sided confidence level, strictly between 0 and 1.

    Returns:
        The observed rate with its exact interval; the low end is 0 at no success, the high end 1 at no failure.

    Raises:
        ValueError: If the counts are not finite, out of order, or the level is out of range.

    Source:
        Clopper & Pearson (1934), Biometrika 26, in its beta quantile form.
    """
    k, n = checked_counts(successes, trials)
    tail = (1.0 - checked_level(level)) / 2.0
    return Interval(k / n, _beta_low(k, n, tail), _beta_high(k, n, tail), level, "Clopper-Pearson")


def clopper_pearson_upper(successes: float, trials: float, level: float = 0.95) -> Interval:
    """The high end is at or above the true rate with at least the stated probability; the low end is 0.

    Args:
        successes: Number of successes, 0 to `trials`.
        trials: Number of independent trials, above 0.
        level: One-sided confidence level.

    Returns:
        The observed rate with 0 and its exact upper bound.

    Raises:
        ValueError: As :func:`clopper_pearson`.

    Source:
        Clopper & Pearson (1934). With no success in n this is 1 - (1 - level)^(1/n), the "rule of three".
    """
    k, n = checked_counts(successes, trials)
    high = _beta_high(k, n, 1.0 - checked_level(level))
    return Interval(k / n, 0.0, high, level, "Clopper-Pearson, one-sided upper")


def clopper_pearson_lower(successes: float, trials: float, level: float = 0.95) -> Interval:
    """The low end is at or below the true rate with at least the stated probability; the high end is 1.

    Args:
        successes: Number of successes, 0 to `trials`.
        trials: Number of independent trials, above 0.
        level: One-sided confidence level.

    Returns:
        The observed rate with its exact lower bound and 1.

    Raises:
        ValueError: As :func:`clopper_pearson`.

    Source:
        Clopper & Pearson (1934).
    """
    k, n = checked_counts(successes, trials)
    low = _beta_low(k, n, 1.0 - checked_level(level))
    return Interval(k / n, low, 1.0, level, "Clopper-Pearson, one-sided lower")


def wilson(successes: float, trials: float, level: float = 0.95) -> Interval:
    """The interval holds every rate that a score test at this level would not reject.

    Args:
        successes: Number of successes, 0 to `trials`; need not be whole.
        trials: Number of independent trials, above 0.
        level: Two-sided confidence level.

    Returns:
        The observed rate with its score interval. It covers about `level` on average,
        where Clopper-Pearson covers at least that.

    Raises:
        ValueError: As :func:`clopper_pearson`.

    Source:
        Wilson (1927), J. Am. Stat. Assoc. 22; method 3 of Newcombe (1998), Stat. Med. 17:857.
    """
    k, n = checked_counts(successes, trials)
    z = float(ndtri((1.0 + checked_level(level)) / 2.0))
    rate = k / n
    centre = (k + z * z / 2.0) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(max(0.0, k * (n - k) / n + z * z / 4.0))
    low = 0.0 if k <= 0.0 else min(rate, max(0.0, centre - half))
    high = 1.0 if k >= n else max(rate, min(1.0, centre + half))
    return Interval(rate, low, high, level, "Wilson")


def newcombe(k1: float, n1: float, k0: float, n0: float, level: float = 0.95) -> Interval:
    """The interval is for the difference k1/n1 - k0/n0 of two independent rates and is not degenerate at 0 of n.

    Args:
        k1: Successes of the first sample (members).
        n1: Trials of the first sample.
        k0: Successes of the second sample (controls).
        n0: Trials of the second sample.
        level: Two-sided confidence level.

    Returns:
        The difference, between -1 and 1, with its hybrid score interval.

    Raises:
        ValueError: As :func:`clopper_pearson`.

    Source:
        Newcombe (1998), Stat. Med. 17:873, method 10.
    """
    difference = mover_difference(wilson(k1, n1, level), wilson(k0, n0, level))
    return difference._replace(method="Newcombe hybrid score")


def mover_difference(a: Interval, b: Interval) -> Interval:
    """The interval is for a - b and is built from the two intervals alone, so it keeps their asymmetry.

    Args:
        a: Estimate and interval of the first quantity.
        b: The same for the second, estimated independently and at the same level.

    Returns:
        The difference with its interval.

    Raises:
        ValueError: If the levels differ or an end is not finite.

    Source:
        Zou & Donner (2008), Stat. Med. 27:1693 (MOVER).
    """
    if a.level != b.level:
        msg = f"the intervals have levels {a.level} and {b.level}: compute both at the same level before subtracting"
        raise ValueError(msg)
    if not all(math.isfinite(x) for x in (*a[:3], *b[:3])):
        msg = f"an interval has an end that is not finite, {a[:3]} and {b[:3]}: a difference needs finite ends"
        raise ValueError(msg)
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return Interval(value, low, high, a.level, f"MOVER of {a.method} and {b.method}")
