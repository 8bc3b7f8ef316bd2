"""Whether a count grows with a dose: the permutation trend test, and the slope with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from auditor.statistics._checks import checked_whole, cluster_codes, vector
from auditor.statistics.location import bootstrap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray, IntArray
    from auditor.statistics.rate_interval import Interval


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
    checked_whole(permutations, "permutations", 99)
    found = _summed(dose, response, clusters)
    mean_dose = found.dose / found.size
    observed = 0.0
    drawn = np.zeros(permutations)
    for size in np.unique(found.size):
        some = np.flatnonzero(found.size == size)
        x, y = mean_dose[some] - mean_dose[some].mean(), found.response[some]
        observed += float(x @ y)
        # Only what is not 0 has to be moved: where few responded, few positions are drawn.
        some_y = y[y != 0.0]
        for number in range(permutations):
            drawn[number] += x[rng.choice(len(x), len(some_y), replace=False)] @ some_y
    return float((1 + np.count_nonzero(drawn >= observed - 1e-9 * max(1.0, abs(observed)))) / (permutations + 1))


def slope(
    dose: ArrayLike,
    response: ArrayLike,
    rng: np.random.Generator,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """The result is the least-squares slope of the response on the dose, resampled by cluster for its interval.

    Args:
        dose: Dose of each record, shape [n], not all equal.
        response: Response of each, shape [n].
        rng: Source of the resamples.
        clusters: Cluster of each record; None: each its own.
        level: Two-sided confidence level.

    Raises:
        ValueError: If shapes differ, doses are all equal, or there are fewer than two clusters.
    """
    x, y = vector(dose, "doses"), vector(response, "responses")
    codes = cluster_codes(clusters, x.size, "clusters")
    if x.shape != y.shape or np.ptp(x) == 0.0:
        msg = "a slope needs a response for every dose, and doses that differ"
        raise ValueError(msg)

    def fitted(rows: IntArray) -> float:
        centred = x[rows] - x[rows].mean()
        spread = float(centred @ centred)
        # A resample whose doses are all equal says nothing: it gets no slope rather than none at all.
        return float(centred @ y[rows]) / spread if spread > 0.0 else 0.0

    return bootstrap(fitted, codes, rng, level)._replace(method="least squares, bootstrap by cluster")
