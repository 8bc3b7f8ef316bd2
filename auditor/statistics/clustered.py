"""Rates of clustered trials: several records of one person or document are not several witnesses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import stdtrit

from auditor.statistics._checks import checked_level, vector
from auditor.statistics.rate_interval import Interval, clopper_pearson, mover_difference, wilson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray


class _Sample(NamedTuple):
    successes: float
    trials: float
    effective: float
    """Independent trials worth as much as these, before the correction for few clusters."""
    clusters: int
    freedom: float
    """Degrees of freedom of the variance between clusters: one less than as many equal ones would be worth."""
    singletons: bool


def _design_effect(successes: FloatArray, trials: FloatArray) -> float:
    """How many times larger the variance of the pooled rate is than among independent trials.

    Two estimates are made and the larger is taken. The jackknife alone is too small where cluster sizes differ: a rate
    that is low because large clusters happened to hold no success comes with a variance that is low for the same
    reason. The correlation within clusters does not share that fault.
    """
    k, n, clusters = successes.sum(), trials.sum(), trials.size
    rate = k / n
    residual = successes - rate * trials
    simple = rate * (1.0 - rate) / (n - 1.0)
    between = (clusters - 1) / clusters * ((residual / (1.0 - trials / n)) ** 2).sum() / n**2
    heaviest = (trials**2).sum() / n
    mean_between = (residual**2 / trials).sum() / (clusters - 1)
    mean_within = (successes * (trials - successes) / trials).sum() / (n - clusters) if n > clusters else 0.0
    typical = (n - heaviest) / (clusters - 1)
    total = mean_between + (typical - 1.0) * mean_within
    correlation = max(0.0, (mean_between - mean_within) / total) if total > 0.0 else 1.0
    return float(max(between / simple, 1.0 + (heaviest - 1.0) * correlation))


def _sample(successes_by_cluster: ArrayLike, trials_by_cluster: ArrayLike) -> _Sample:
    successes = vector(successes_by_cluster, "successes by cluster")
    trials = vector(trials_by_cluster, "trials by cluster")
    if successes.shape != trials.shape:
        msg = f"{successes.size} clusters with successes and {trials.size} with trials: give both for every cluster"
        raise ValueError(msg)
    if (trials < 0).any() or (successes < 0).any() or (successes > trials).any():
        where = int(np.flatnonzero((trials < 0) | (successes < 0) | (successes > trials))[0])
        msg = (
            f"cluster {where} has {successes[where]} successes in {trials[where]} trials: "
            "successes must lie between 0 and trials"
        )
        raise ValueError(msg)
    used = trials > 0
    successes, trials = successes[used], trials[used]
    if not trials.size:
        msg = "no cluster has a trial: a rate needs at least one"
        raise ValueError(msg)
    k, n, clusters = float(successes.sum()), float(trials.sum()), int(trials.size)
    freedom = n**2 / float((trials**2).sum()) - 1.0
    if bool((trials <= 1.0).all()):
        return _Sample(k, n, n, clusters, freedom, singletons=True)
    if k in {0.0, n} or clusters == 1:
        return _Sample(k, n, min(n, float(clusters)), clusters, freedom, singletons=False)
    effective = min(n, max(1.0, n / _design_effect(successes, trials)))
    return _Sample(k, n, effective, clusters, freedom, singletons=False)


def _adjusted(sample: _Sample, level: float) -> float:
    """Effective trials after the correction for a variance that rests on few clusters."""
    if sample.singletons:
        return sample.effective
    if sample.clusters == 1:
        return 1.0
    if sample.successes in {0.0, sample.trials}:
        # No variance was estimated, so there is none to correct: each cluster is one trial.
        return sample.effective
    tail = (1.0 + level) / 2.0
    ratio = float(stdtrit(max(1.0, sample.trials - 1.0), tail) / stdtrit(max(1.0, sample.freedom), tail))
    return min(sample.trials, max(1.0, sample.effective * ratio**2))


def effective_trials(successes_by_cluster: ArrayLike, trials_by_cluster: ArrayLike) -> float:
    """The result is the number of independent trials that would fix the rate as well as these clustered ones do.

    Args:
        successes_by_cluster: Successes of each cluster, shape [clusters].
        trials_by_cluster: Trials of each cluster, shape [clusters]; clusters without a trial are left out.

    Returns:
        n divided by the design effect, from 1 to n. At a rate of 0 or 1 the design effect cannot be estimated and
        the number of clusters is returned, which is what is left if every cluster is of one mind.

    Raises:
        ValueError: If shapes differ, a count is not finite or successes exceed trials, or there is no trial.

    Source:
        Kish (1965), Survey Sampling; variance between clusters as in Korn & Graubard (1998), Survey Methodology 24:193,
        by the delete-one-cluster jackknife, or from the analysis-of-variance correlation within clusters
        (Donner 1986, Int. Stat. Rev. 54:67) if that is larger.
    """
    return _sample(successes_by_cluster, trials_by_cluster).effective


def clustered_rate(successes_by_cluster: ArrayLike, trials_by_cluster: ArrayLike, level: float = 0.95) -> Interval:
    """The interval covers the rate per trial although trials of one cluster resemble each other.

    Args:
        successes_by_cluster: Successes of each cluster, shape [clusters].
        trials_by_cluster: Trials of each cluster, shape [clusters].
        level: Two-sided confidence level.

    Returns:
        The pooled rate with a Clopper-Pearson interval on effective counts. With one trial in every cluster it is
        the exact Clopper-Pearson interval.

    Raises:
        ValueError: As :func:`effective_trials`, or if the level is out of range.

    Source:
        Korn & Graubard (1998), Survey Methodology 24:193, with the degrees-of-freedom adjustment, for which a
        cluster counts by its size (Kish). Ours: the ends never lie inside those that no success (no failure) among the
        clusters would give, because a few successes that happen to fall in different clusters do not show that
        clusters are of many minds.
    """
    checked_level(level)
    sample = _sample(successes_by_cluster, trials_by_cluster)
    if sample.singletons:
        return clopper_pearson(sample.successes, sample.trials, level)
    rate, n = sample.successes / sample.trials, _adjusted(sample, level)
    raw = clopper_pearson(min(rate * n, n), n, level)
    floor = clopper_pearson(0.0, float(sample.clusters), level).high
    low = min(raw.low, 1.0 - floor, rate)
    return Interval(rate, low, max(raw.high, floor, rate), level, "Clopper-Pearson on effective trials (Korn-Graubard)")


def _clustered_wilson(sample: _Sample, level: float) -> Interval:
    if sample.singletons:
        return wilson(sample.successes, sample.trials, level)
    rate, n = sample.successes / sample.trials, _adjusted(sample, level)
    raw = wilson(min(rate * n, n), n, level)
    floor = wilson(0.0, float(sample.clusters), level).high
    return Interval(
        rate, min(raw.low, 1.0 - floor, rate), max(raw.high, floor, rate), level, "Wilson on effective trials"
    )


def clustered_wilson(successes_by_cluster: ArrayLike, trials_by_cluster: ArrayLike, level: float = 0.95) -> Interval:
    """The interval is Wilson's on effective trials: what differences of clustered rates are built from.

    Args:
        successes_by_cluster: Successes of each cluster, shape [clusters].
        trials_by_cluster: Trials of each cluster, shape [clusters].
        level: Two-sided confidence level.

    Raises:
        ValueError: As :func:`effective_trials`, or if the level is out of range.

    Source:
        Wilson (1927) on the effective counts of Korn & Graubard (1998).
    """
    return _clustered_wilson(_sample(successes_by_cluster, trials_by_cluster), checked_level(level))


def clustered_difference(s1: ArrayLike, t1: ArrayLike, s0: ArrayLike, t0: ArrayLike, level: float = 0.95) -> Interval:
    """The interval is for the difference of two rates per trial, first minus second, of clustered trials.

    Args:
        s1: Successes of each cluster of the first sample (members).
        t1: Trials of each cluster of the first sample.
        s0: Successes of each cluster of the second sample (controls).
        t0: Trials of each cluster of the second sample.
        level: Two-sided confidence level.

    Returns:
        The difference with Newcombe's interval on effective counts; Newcombe's own with one trial in every cluster.

    Raises:
        ValueError: As :func:`effective_trials`, or if the level is out of range.

    Source:
        Newcombe (1998), Stat. Med. 17:873, method 10, on the effective counts of Korn & Graubard (1998).
    """
    checked_level(level)
    first, second = _sample(s1, t1), _sample(s0, t0)
    difference = mover_difference(_clustered_wilson(first, level), _clustered_wilson(second, level))
    plain = first.singletons and second.singletons
    return difference._replace(method="Newcombe hybrid score" + ("" if plain else " on effective trials"))
