"""Whether a count grows with a dose: the permutation trend test, and the slope with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import stdtrit

from auditor.statistics._checks import checked_level, checked_whole, cluster_codes, vector
from auditor.statistics.rate_interval import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray

_CELLS = 1 << 21
"""Cells of random tables that are held at once."""


class _Clusters(NamedTuple):
    dose: FloatArray
    response: FloatArray
    size: FloatArray


def _summed(dose: ArrayLike, response: ArrayLike, clusters: ArrayLike | None) -> _Clusters:
    x, y = vector(dose, "doses"), vector(response, "responses")
    if x.shape != y.shape:
        msg = f"{x.size} doses and {y.size} responses: give both for every record"
        raise ValueError(msg)
    codes = cluster_codes(clusters, x.size, "clusters")
    size = np.bincount(codes).astype(np.float64)
    summed = [np.bincount(codes, weights=values).astype(np.float64) for values in (x, y)]
    return _Clusters(summed[0], summed[1], size)


def trend_greater(
    dose: ArrayLike,
    response: ArrayLike,
    rng: np.random.Generator,
    clusters: ArrayLike | None = None,
    permutations: int = 9999,
) -> float:
    """The p-value is valid for "the response does not grow with the dose" if responses were dealt to records by chance.

    The statistic is the sum of dose times response: for responses of 0 and 1 that of Cochran and Armitage. Clusters are moved whole,
    among clusters of the same number of records.

    Args:
        dose: Dose of each record, for example log2 of its copies, shape [n].
        response: Response of each, for example how often it was extracted, shape [n].
        rng: Source of the permutations.
        clusters: Cluster of each record; None: each its own.
        permutations: Number of permutations, at least 99.

    Returns:
        (1 + permutations that reach the observed statistic) / (permutations + 1): never 0, and 1 where nothing can differ.

    Raises:
        ValueError: If shapes differ or a value is not finite.

    Source:
        Cochran (1954), Biometrics 10:417; Armitage (1955), Biometrics 11:375; Phipson & Smyth (2010) for the +1.
    """
    from scipy.stats import random_table

    checked_whole(permutations, "permutations", 99)
    found = _summed(dose, response, clusters)
    mean_dose = found.dose / found.size
    observed = 0.0
    drawn = np.zeros(permutations)
    for size in np.unique(found.size):
        some = found.size == size
        x, doses = np.unique(mean_dose[some], return_counts=True)
        y, responses = np.unique(found.response[some], return_counts=True)
        centred = x - (x @ doses) / doses.sum()
        observed += float((mean_dose[some] - (x @ doses) / doses.sum()) @ found.response[some])
        # Records of equal dose and response are interchangeable, so a permutation is a random table with these margins.
        tables = random_table(doses, responses, seed=rng)
        for block in range(0, permutations, step := max(1, _CELLS // (len(x) * len(y)))):
            count = min(step, permutations - block)
            drawn[block : block + count] += np.einsum("i,pij,j->p", centred, tables.rvs(size=count), y)
    return float((1 + np.count_nonzero(drawn >= observed - 1e-9 * max(1.0, abs(observed)))) / (permutations + 1))


def paired_trend_greater(
    dose: ArrayLike,
    response: ArrayLike,
    rng: np.random.Generator,
    clusters: ArrayLike | None = None,
    permutations: int = 9999,
) -> float:
    """The p-value is valid for "the response does not grow with the dose" where every record was seen at every dose.

    The statistic is the sum of dose times response. The responses of a record are dealt to its doses anew, in the same way for all
    records of a cluster: Page's test for responses of 0 and 1, with the doses themselves for ranks.

    Args:
        dose: The doses, shape [doses].
        response: Response of each record at each dose, shape [n, doses].
        rng: Source of the permutations.
        clusters: Cluster of each record, shape [n]; None: each its own.
        permutations: Number of permutations, at least 99.

    Returns:
        (1 + permutations that reach the observed statistic) / (permutations + 1): never 0, and 1 where nothing can differ.

    Raises:
        ValueError: If shapes do not fit or a value is not finite.

    Source:
        Page (1963), JASA 58:216; Phipson & Smyth (2010) for the +1.
    """
    checked_whole(permutations, "permutations", 99)
    x, y = vector(dose, "doses"), np.asarray(response, dtype=np.float64)
    if y.ndim != 2 or y.shape[1] != x.size or not np.isfinite(y).all():
        msg = f"responses have shape {y.shape} for {x.size} doses, or one is not finite: give one row a record"
        raise ValueError(msg)
    codes = cluster_codes(clusters, len(y), "clusters")
    summed = np.stack([np.bincount(codes, weights=column) for column in y.T], axis=1)
    summed = summed[np.ptp(summed, axis=1) > 0.0]  # equal responses stay where they are
    centred = x - x.mean()
    observed = float((summed @ centred).sum())
    reached = 0
    for start in range(0, permutations, step := max(1, _CELLS // max(summed.size, 1))):
        count = min(step, permutations - start)
        drawn = rng.permuted(np.broadcast_to(summed, (count, *summed.shape)), axis=2).sum(axis=1) @ centred
        reached += int(np.count_nonzero(drawn >= observed - 1e-9 * max(1.0, abs(observed))))
    return float((1 + reached) / (permutations + 1))


def slope(dose: ArrayLike, response: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95) -> Interval:
    """The result is the least-squares slope of the response on the dose; its interval leaves out one cluster after the other.

    Args:
        dose: Dose of each record, shape [n], not all equal.
        response: Response of each, shape [n].
        clusters: Cluster of each record; None: each its own.
        level: Two-sided confidence level.

    Raises:
        ValueError: If shapes differ, doses are all equal, or there are fewer than three clusters.

    Source:
        Delete-one-cluster jackknife with a t quantile: Efron & Tibshirani (1993), chapter 11. A cluster without which all doses are
        equal is kept.
    """
    checked_level(level)
    x, y = vector(dose, "doses"), vector(response, "responses")
    codes = cluster_codes(clusters, x.size, "clusters")
    if x.shape != y.shape or np.ptp(x) == 0.0 or codes.max() < 2:
        msg = "a slope needs a response for every dose, doses that differ, and three clusters"
        raise ValueError(msg)
    x, y = x - x.mean(), y - y.mean()
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y])
    parts = np.stack([np.bincount(codes, weights=term) for term in terms])
    whole = parts.sum(axis=1, keepdims=True)
    n, sx, sy, sxx, sxy = whole - parts
    spread = n * sxx - sx * sx
    value = float((whole[4] / whole[3])[0])
    left = np.divide(n * sxy - sx * sy, spread, out=np.full(len(n), value), where=spread > 1e-12 * whole[0] * whole[3])
    count = len(n)
    error = np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    half = float(stdtrit(count - 1.0, (1.0 + level) / 2.0) * error)
    return Interval(value, value - half, value + half, level, "least squares, jackknife by cluster")
