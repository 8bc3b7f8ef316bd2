"""What a sample of a given size could have shown, and what size would do."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betainc, betaincinv, chdtri, gammaln, ndtri, xlog1py, xlogy

from auditor.statistics._checks import checked_level, checked_whole
from auditor.statistics.area import null_sd_auc
from auditor.statistics.rates import hypergeometric_tail

_LOG_2 = math.log(2.0)
_MOST_COLUMNS = 400
"""Control counts at which Fisher's critical value is searched; between them the next larger one is used."""


def records_needed(tolerance: float, level: float = 0.95) -> int:
    """With so many records and nothing found, the one-sided upper bound is at or below the tolerance.

    Args:
        tolerance: Largest rate to accept, strictly between 0 and 1.
        level: One-sided confidence level.

    Returns:
        Smallest whole n with 1 - (1 - level)^(1/n) <= tolerance.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Clopper & Pearson (1934) at no success; Hanley & Lippman-Hand (1983), JAMA 249:1743 ("rule of three").
    """
    rate = checked_level(tolerance, "tolerance")
    return max(1, math.ceil(math.log1p(-checked_level(level)) / math.log1p(-rate) * (1.0 - 1e-12)))


def upper_bound_if_none(n: int, level: float = 0.95) -> float:
    """If none of so many records is found, the true rate lies at or below the result.

    Args:
        n: Number of independent records, at least 1.
        level: One-sided confidence level.

    Returns:
        1 - (1 - level)^(1/n).

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Clopper & Pearson (1934) at no success.
    """
    return -math.expm1(math.log1p(-checked_level(level)) / checked_whole(n, "n", 1))


def _critical(k0: int, n1: int, n0: int, alpha: float, start: int) -> int:
    """Smallest k1, from `start` up, that Fisher's test calls larger than k0 of n0; n1 + 1 if none does."""

    def rejects(k1: int) -> bool:
        return hypergeometric_tail(k1, n1, k1 + k0, n1 + n0) <= alpha

    low, step = start, 1
    while low + step <= n1 and not rejects(low + step - 1):
        low += step
        step *= 2
    high = min(n1 + 1, low + step - 1)
    if high == n1 + 1 and rejects(n1):
        high = n1
    elif high <= n1 and not rejects(high):
        # The doubling stopped at the end of the range.
        high = n1 if rejects(n1) else n1 + 1
    while low < high:
        middle = (low + high) // 2
        if middle <= n1 and rejects(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _columns(n0: int, rate: float) -> tuple[list[int], list[float]]:
    """Control counts that matter, and their probabilities gathered on at most `_MOST_COLUMNS` of them."""
    sd = math.sqrt(n0 * rate * (1.0 - rate))
    low = max(0, math.floor(n0 * rate - 8.0 * sd - 8.0)) if rate > 0.0 else 0
    high = min(n0, math.ceil(n0 * rate + 8.0 * sd + 20.0)) if rate > 0.0 else 0
    k = np.arange(low, high + 1, dtype=np.float64)
    logs = gammaln(n0 + 1.0) - gammaln(k + 1.0) - gammaln(n0 - k + 1.0) + xlogy(k, rate) + xlog1py(n0 - k, -rate)
    mass = np.exp(logs)
    used = np.flatnonzero(mass > 1e-9)
    stride = math.ceil(used.size / _MOST_COLUMNS)
    # A block of counts takes the critical value of its largest, which errs towards less power.
    blocks = [used[i : i + stride] for i in range(0, used.size, stride)]
    return [int(k[block[-1]]) for block in blocks], [float(mass[block].sum()) for block in blocks]


def smallest_detectable_excess(
    n1: int, n0: int, level: float = 0.95, power: float = 0.8, control_rate: float = 0.0
) -> float:
    """A member rate above the control rate by the result is called a signal with the stated probability.

    Args:
        n1: Number of independent members, at least 1.
        n0: Number of independent controls, at least 1.
        level: One-sided confidence level; Fisher's test is run at 1 - level.
        power: Probability of a signal to reach.
        control_rate: True rate among controls, from 0 to below 1.

    Returns:
        Smallest excess, 0 to 1 - control_rate. Infinite if the sample is too small for any.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Exact power of Fisher's test, summed over both counts: Casagrande, Pike & Smith (1978), Appl. Stat. 27.
    """
    checked_whole(n1, "n1", 1)
    checked_whole(n0, "n0", 1)
    alpha, wanted = 1.0 - checked_level(level), checked_level(power, "power")
    if not 0.0 <= control_rate < 1.0:
        msg = f"control_rate is {control_rate}: give a rate from 0 to below 1"
        raise ValueError(msg)
    columns, mass = _columns(n0, control_rate)
    critical: list[int] = []
    for k0 in columns:
        critical.append(_critical(k0, n1, n0, alpha, critical[-1] if critical else 0))
    k1, weight = np.array(critical, dtype=np.float64), np.array(mass)

    def reached(rate: float) -> float:
        # betainc(k, n - k + 1, p) is P(Bin(n, p) >= k) for 1 <= k <= n.
        tail = np.where(k1 > n1, 0.0, betainc(np.maximum(k1, 1.0), np.maximum(n1 - k1 + 1.0, 1.0), rate))
        return float(weight @ tail)

    if reached(1.0) < wanted:
        return math.inf
    low, high = control_rate, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (low, middle) if reached(middle) >= wanted else (middle, high)
    return high - control_rate


def smallest_detectable_auc(n1: int, n0: int, level: float = 0.95, power: float = 0.8) -> float:
    """An area under the ROC curve at the result is told from 0.5 with the stated probability.

    Args:
        n1: Number of independent members, at least 1.
        n0: Number of independent controls, at least 1.
        level: One-sided confidence level.
        power: Probability of a signal to reach, at least 0.5.

    Returns:
        Smallest area, above 0.5 to 1. Infinite if the sample is too small for any.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Hanley & McNeil (1982), Radiology 143:29 (variance under the exponential model).
    """
    null = float(ndtri(checked_level(level))) * null_sd_auc(n1, n0)
    z = float(ndtri(checked_level(power, "power")))

    def gap(area: float) -> float:
        q1, q2 = area / (2.0 - area), 2.0 * area**2 / (1.0 + area)
        variance = area * (1.0 - area) + (n1 - 1) * (q1 - area**2) + (n0 - 1) * (q2 - area**2)
        return area - 0.5 - null - z * math.sqrt(max(0.0, variance) / (n1 * n0))

    if gap(1.0) < 0.0:
        return math.inf
    low, high = 0.5, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (low, middle) if gap(middle) >= 0.0 else (middle, high)
    return high


def smallest_detectable_exposure(canaries: int, level: float = 0.95, power: float = 0.8) -> float:
    """Independent canaries whose mean exposure is the result are called memorized together with the stated probability.

    Without memorization an exposure is exponential with mean 1 / ln 2 = 1.44 bits; memorization is taken to stretch it.

    Args:
        canaries: Number of independent canaries, at least 1.
        level: One-sided confidence level of Fisher's combination.
        power: Probability of a signal to reach.

    Returns:
        Mean exposure in bits.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Fisher's combination (1932) under the Lehmann (1953) alternative p = u^theta: both laws are chi-squared.
    """
    freedom = 2 * checked_whole(canaries, "canaries", 1)
    critical = float(chdtri(freedom, 1.0 - checked_level(level)))
    return critical / float(chdtri(freedom, checked_level(power, "power"))) / _LOG_2


def smallest_detectable_discordance(pairs: int, level: float = 0.95, power: float = 0.8) -> float:
    """The result is the smallest share of pairs in which only the first succeeds that McNemar's exact test would call.

    The second never succeeds alone, as where nothing comes out of controls.

    Args:
        pairs: Independent pairs, whole, at least 0.
        level: One minus the level of the one-sided test.
        power: Probability with which it is to be called.

    Returns:
        A share from above 0 to 1; 1 also where so few pairs could show nothing at all.

    Source:
        McNemar (1947); the number of discordant pairs is binomial (Clopper & Pearson 1934 for its beta form).
    """
    checked_level(level)
    checked_level(power)
    checked_whole(pairs, "pairs")
    least = math.ceil(math.log(1.0 - level) / math.log(0.5) - 1e-9)
    if pairs < least:
        return 1.0
    return float(betaincinv(least, pairs - least + 1.0, power))
