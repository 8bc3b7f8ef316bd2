"""Whether one rate is above another: exact p-values for independent, clustered and paired trials."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betainc, gammaln

from auditor.statistics._checks import above_zero, checked_counts, checked_whole, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray


TIED = 0.02
"""Standard errors. Few successes put the same clusters on one side in many relabellings; sizes of the others, which
differ where a side was sampled, must not order these. Counting them as equal makes the p-value a little larger."""


def _log_choose(n: float, k: FloatArray) -> FloatArray:
    return np.asarray(gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0), dtype=np.float64)


def hypergeometric_tail(k: int, drawn: int, marked: int, total: int) -> float:
    """The result is the probability that `drawn` of `total` hold at least `k` of the `marked`.

    Args:
        k: Least number of marked units in the draw.
        drawn: Units drawn without replacement.
        marked: Marked units among all.
        total: Units altogether.

    Returns:
        A probability, accurate to about nine digits.
    """
    least, most = max(0, drawn + marked - total), min(drawn, marked)
    if k <= least:
        return 1.0
    if k > most:
        return 0.0
    # Sum the shorter tail, and of it only what can be seen beside its largest term.
    mean = drawn * (marked / total)
    sd = math.sqrt(max(1.0, mean * (1.0 - marked / total) * (total - drawn) / max(1.0, total - 1.0)))
    reach = math.ceil(40.0 * sd) + 40
    upper = k > mean
    first, last = (k, min(most, k + reach)) if upper else (max(least, k - 1 - reach), k - 1)
    terms = np.arange(first, last + 1, dtype=np.float64)
    logs = _log_choose(marked, terms) + _log_choose(total - marked, drawn - terms)
    logs -= _log_choose(total, np.array([float(drawn)]))
    tail = math.fsum(np.exp(logs))
    return min(1.0, max(0.0, tail if upper else 1.0 - tail))


def fisher_greater(k1: int, n1: int, k0: int, n0: int) -> float:
    """The p-value is valid for "the first rate is not above the second", whatever their common value.

    Args:
        k1: Successes of the first sample (members), whole.
        n1: Trials of the first sample, whole, at least 1.
        k0: Successes of the second sample (controls), whole.
        n0: Trials of the second sample, whole, at least 1.

    Returns:
        Probability of at least `k1` successes in the first sample given all successes, above 0 to 1.

    Raises:
        ValueError: If a count is not whole or out of range.

    Source:
        Fisher (1935), The Design of Experiments; one-sided hypergeometric tail.
    """
    for value, name in ((k1, "k1"), (n1, "n1"), (k0, "k0"), (n0, "n0")):
        checked_whole(value, name)
    checked_counts(k1, n1, "the first sample")
    checked_counts(k0, n0, "the second sample")
    return above_zero(hypergeometric_tail(int(k1), int(n1), int(k1 + k0), int(n1 + n0)))


def _cells(successes: ArrayLike, trials: ArrayLike, name: str) -> FloatArray:
    s, t = vector(successes, f"successes of {name}"), vector(trials, f"trials of {name}")
    if s.shape != t.shape or (s < 0).any() or (s > t).any():
        msg = f"{name}: give successes and trials for every cluster, with 0 <= successes <= trials"
        raise ValueError(msg)
    cells = np.column_stack([s, t])[t > 0]
    if not cells.size:
        msg = f"{name}: no cluster has a trial, a rate needs at least one"
        raise ValueError(msg)
    return cells


def cluster_permutation_greater(
    s1: ArrayLike,
    t1: ArrayLike,
    s0: ArrayLike,
    t0: ArrayLike,
    rng: np.random.Generator,
    permutations: int = 9999,
) -> float:
    """The p-value is valid if whole clusters were assigned to members and controls by chance, however alike they are.

    The difference of rates is divided by its standard error. So it also holds, for many clusters, where one side was
    sampled by trials and its clusters are smaller: the bare difference then calls too often.

    Args:
        s1: Successes of each member cluster.
        t1: Trials of each member cluster; clusters without a trial are left out.
        s0: Successes of each control cluster.
        t0: Trials of each control cluster.
        rng: Source of the permutations.
        permutations: Number of relabellings, at least 99.

    Returns:
        (1 + relabellings whose studentised difference of rates reaches the observed one) / (permutations + 1): never 0.

    Raises:
        ValueError: If shapes differ, counts are out of range, or a side has no trial.

    Source:
        Phipson & Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9:39, for the +1; Chung & Romano (2013), Ann. Stat. 41:484,
        for dividing by the standard error.
    """
    checked_whole(permutations, "permutations", 99)
    first, second = _cells(s1, t1, "members"), _cells(s0, t0, "controls")
    # Clusters with equal counts are interchangeable, so a relabelling is a draw from an urn with one colour per kind.
    kinds, counts = np.unique(np.vstack([first, second]), axis=0, return_counts=True)
    drawn = rng.multivariate_hypergeometric(counts, len(first), size=permutations, method="marginals")
    # Sums of successes, trials and their products over a side say its rate and the rate's cluster-robust variance.
    sums = np.column_stack([kinds, kinds[:, 0] ** 2, kinds[:, 0] * kinds[:, 1], kinds[:, 1] ** 2])
    some, own = drawn.astype(np.float64) @ sums, _sums(first)
    studentised = _studentised(some, counts @ sums - some)
    observed = _studentised(own[None], _sums(second)[None])[0]
    return float((1 + np.count_nonzero(studentised >= observed - TIED)) / (permutations + 1))


def _sums(cells: FloatArray) -> FloatArray:
    successes, trials = cells.T
    return np.asarray([successes.sum(), trials.sum(), successes @ successes, successes @ trials, trials @ trials])


def _studentised(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the difference of two rates over its cluster-robust standard error, from the sums of each side.

    Where neither rate varies the difference is 0, or beyond every other.
    """
    difference = first[:, 0] / first[:, 1] - second[:, 0] / second[:, 1]
    variance = np.zeros(len(first))
    for side in (first, second):
        rate = side[:, 0] / side[:, 1]
        variance += np.maximum(side[:, 2] - 2.0 * rate * side[:, 3] + rate**2 * side[:, 4], 0.0) / side[:, 1] ** 2
    still = variance <= 1e-15
    beyond = np.where(np.abs(difference) < 1e-12, 0.0, np.copysign(np.inf, difference))
    return np.asarray(np.where(still, beyond, difference / np.sqrt(np.where(still, 1.0, variance))))


def mcnemar_greater(b: int, c: int) -> float:
    """The p-value is valid for "the first of two paired conditions succeeds no more often than the second".

    Args:
        b: Pairs where only the first succeeded, whole.
        c: Pairs where only the second succeeded, whole.

    Returns:
        Probability of at least `b` heads in b + c fair tosses; 1 without a discordant pair.

    Raises:
        ValueError: If a count is negative or not whole.

    Source:
        McNemar (1947), Psychometrika 12; exact binomial form.
    """
    checked_whole(b, "b")
    checked_whole(c, "c")
    return 1.0 if b == 0 else above_zero(betainc(float(b), c + 1.0, 0.5))
