"""Where a distribution lies: medians, shifts, and a bootstrap for what has no formula."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import bdtr, ndtr, ndtri, stdtrit

from auditor.statistics._checks import checked_level, checked_whole, cluster_codes, vector
from auditor.statistics.rate_interval import Interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray, IntArray

_EXACT_PAIRS = 2500
"""Up to this many pairs the Mann-Whitney distribution is counted, above it is normal to three digits."""
_PAIRS_IN_MEMORY = 4_000_000


def median_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """The interval covers the population median with at least the stated probability, whatever the distribution.

    Args:
        values: Independent observations, shape [n], in any unit.
        level: Two-sided confidence level.

    Returns:
        The sample median between two order statistics. If n is too small for the level the ends are the smallest and
        the largest value, and `method` states the coverage that this range has: read it before the level.

    Raises:
        ValueError: If there is no value, one is not finite, or the level is out of range.

    Source:
        Sign-test interval, Hollander, Wolfe & Chicken (2014), section 3.6.
    """
    ordered = np.sort(vector(values, "values"))
    tail = (1.0 - checked_level(level)) / 2.0
    n = ordered.size
    below = bdtr(np.arange(n // 2 + 1, dtype=np.float64), n, 0.5)
    # 1e-12 keeps a level that is met with equality, such as 0.5 at n = 2, from failing by rounding.
    drop = int(np.count_nonzero(below <= tail * (1.0 + 1e-12)))
    median = float(np.median(ordered))
    if drop == 0:
        coverage = 1.0 - 2.0 ** (1 - n)
        return Interval(
            median, float(ordered[0]), float(ordered[-1]), level, f"order statistic (coverage {coverage:.4g})"
        )
    return Interval(median, float(ordered[drop - 1]), float(ordered[n - drop]), level, "order statistic")


def _rank_sum_cdf(m: int, n: int) -> FloatArray:
    """P(U <= u) for u = 0 .. mn of the Mann-Whitney statistic without ties, by its generating function."""
    size = m * n + 1
    ways = np.zeros(size)
    ways[0] = 1.0
    for i in range(1, min(m, n) + 1):
        # The Gaussian binomial: multiply by (1 - q^(big + i)), divide by (1 - q^i), keeping probabilities.
        up = max(m, n) + i
        if up < size:
            ways[up:] = ways[up:] - ways[:-up]
        for start in range(i):
            ways[start::i] = np.cumsum(ways[start::i])
        ways *= i / up
    return np.asarray(np.clip(np.cumsum(ways), 0.0, 1.0), dtype=np.float64)


def _pairs_to_drop(m: int, n: int, tail: float) -> int:
    """How many of the ordered pairwise differences may be left out at either end."""
    pairs = m * n
    if pairs <= _EXACT_PAIRS:
        below = _rank_sum_cdf(m, n)[: pairs // 2 + 1]
        return int(np.count_nonzero(below <= tail * (1.0 + 1e-9)))
    sd = math.sqrt(pairs * (m + n + 1) / 12.0)
    return max(0, math.floor(pairs / 2.0 + float(ndtri(tail)) * sd - 0.5) + 1)


def _difference_at(a: FloatArray, b: FloatArray, rank: int) -> float:
    """The `rank`-th smallest (from 1) of all a_i - b_j; a and b sorted; by bisection, without storing the pairs."""
    low, high = float(a[0] - b[-1]), float(a[-1] - b[0])
    for _ in range(200):
        middle = low + (high - low) / 2.0
        if middle in {low, high}:
            break
        count = int((b.size - np.searchsorted(b, a - middle, side="left")).sum())
        low, high = (low, middle) if count >= rank else (middle, high)
    return high


def hodges_lehmann(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """The estimate is the shift of a against b, and its interval covers the true shift without assuming a shape.

    Args:
        a: First sample, shape [m].
        b: Second sample, shape [n], same unit, independent of the first.
        level: Two-sided confidence level.

    Returns:
        The median of all differences a_i - b_j between two of their order statistics; with ties it covers at least as
        much. If the samples are too small for the level the ends are the smallest and largest difference, and
        `method` states their coverage.

    Raises:
        ValueError: If a sample is empty or holds a number that is not finite, or the level is out of range.

    Source:
        Hodges & Lehmann (1963); interval of Moses: Hollander, Wolfe & Chicken (2014), section 4.3.
    """
    first, second = np.sort(vector(a, "a")), np.sort(vector(b, "b"))
    tail = (1.0 - checked_level(level)) / 2.0
    pairs = first.size * second.size
    drop = _pairs_to_drop(first.size, second.size, tail)
    method = "Hodges-Lehmann, Mann-Whitney"
    if drop == 0:
        coverage = 1.0 - 2.0 / math.comb(first.size + second.size, first.size)
        method += f" (coverage {coverage:.4g})"
    ranks = [max(1, drop), (pairs + 1) // 2, pairs // 2 + 1, pairs + 1 - max(1, drop)]
    if pairs <= _PAIRS_IN_MEMORY:
        differences = np.partition((first[:, None] - second[None, :]).ravel(), [rank - 1 for rank in ranks])
        low, left, right, high = (float(differences[rank - 1]) for rank in ranks)
    else:
        low, left, right, high = (_difference_at(first, second, rank) for rank in ranks)
    return Interval((left + right) / 2.0, low, high, level, method)


def bootstrap(
    statistic: Callable[[IntArray], float],
    clusters: ArrayLike | int,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """The interval spans what the statistic would be had other clusters of the same kind been drawn.

    Args:
        statistic: Maps an array of positions (with repetition) to a finite number. Positions are those of `clusters`.
        clusters: One cluster label per record: the statistic gets the records of the clusters drawn. Or the number of
            clusters: the statistic gets the numbers of the clusters drawn, from 0.
        rng: Source of the resamples.
        level: Two-sided confidence level.
        resamples: Number of resamples, at least 100.

    Returns:
        The statistic on the data with the percentile interval over resamples, its tails moved out for few clusters, and
            nowhere inside the t interval with the spread of the resamples.

    Raises:
        ValueError: If there are fewer than two clusters, the statistic is not finite, or an argument is out of range.

    Source:
        Efron & Tibshirani (1993), section 13.3; tails of Hesterberg (2015), Am. Stat. 69:371
        ("expanded percentile").
    """
    checked_level(level)
    checked_whole(resamples, "resamples", 100)
    labels = np.arange(int(clusters)) if isinstance(clusters, int | np.integer) else np.asarray(clusters)
    codes = cluster_codes(labels, labels.size, "clusters")
    order = np.argsort(codes, kind="stable").astype(np.int64)
    count = int(codes.max()) + 1 if codes.size else 0
    if count < 2:
        msg = f"{count} cluster(s): a bootstrap over clusters needs at least two, better twenty"
        raise ValueError(msg)
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    value = float(statistic(np.arange(codes.size, dtype=np.int64)))
    draws = np.empty(resamples)
    for i in range(resamples):
        drawn = rng.integers(0, count, size=count)
        draws[i] = statistic(order[drawn] if count == codes.size else np.concatenate([members[c] for c in drawn]))
    if not (math.isfinite(value) and np.isfinite(draws).all()):
        msg = "the statistic is not finite on the data or on a resample: define it for every draw of clusters"
        raise ValueError(msg)
    quantile = float(stdtrit(count - 1.0, (1.0 + level) / 2.0)) * math.sqrt(count / (count - 1.0))
    low, high = (float(q) for q in np.quantile(draws, [float(ndtr(-quantile)), float(ndtr(quantile))]))
    # A handful of clusters gives a resampling distribution without tails: its spread says more than its quantiles.
    reach = quantile * float(draws.std())
    return Interval(
        value, min(low, value - reach), max(high, value + reach), level, "percentile bootstrap over clusters"
    )
