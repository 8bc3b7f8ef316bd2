"""Turns intervals into the estimates of a measurement; shared by the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from auditor.core.finding import Estimate
from auditor.core.percentage import percent as percent  # noqa: PLC0414  (said with the estimates by every test)
from auditor.statistics.interval import Interval, clustered_difference, clustered_rate
from auditor.statistics.rates import cluster_permutation_greater, fisher_greater

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Flagged = tuple[NDArray[np.bool_], NDArray[np.object_]]
    """What is flagged on one side, and the person or document of each."""


def one_sided(level: float) -> float:
    """Return the level of the two-sided interval whose upper end is the one-sided bound at `level`."""
    return 2.0 * level - 1.0


def estimate(interval: Interval, unit: str, n: int, narrower: Interval | None = None) -> Estimate:
    """Return an interval as an estimate of `n` independent units.

    Args:
        interval: The two-sided interval.
        unit: Unit of its ends.
        n: Independent units behind it.
        narrower: The same interval at `one_sided(level)`; its upper end is the one-sided bound.
    """
    value = float(interval.value)
    high = max(float(interval.high), value)
    return Estimate(
        value=value,
        low=min(float(interval.low), value),
        high=high,
        upper=None if narrower is None else min(max(float(narrower.high), value), high),
        level=interval.level,
        unit=unit,
        method=interval.method,
        n=n,
    )


def by_cluster(flags: NDArray[np.bool_], clusters: NDArray[np.object_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return successes and trials of each cluster, shape [clusters] both."""
    _, codes = np.unique(clusters.astype(str), return_inverse=True)
    trials = np.bincount(codes)
    return np.bincount(codes, weights=flags).astype(np.int64), trials.astype(np.int64)


def rate(flags: NDArray[np.bool_], clusters: NDArray[np.object_], level: float) -> Estimate:
    """Return the share of flagged records, its interval clustered by person or document."""
    successes, trials = by_cluster(flags, clusters)
    narrower = clustered_rate(successes, trials, one_sided(level))
    return estimate(clustered_rate(successes, trials, level), "ratio", len(trials), narrower)


def excess_rate(
    members: NDArray[np.bool_],
    member_clusters: NDArray[np.object_],
    controls: NDArray[np.bool_],
    control_clusters: NDArray[np.object_],
    level: float,
) -> Estimate:
    """Return the share among members minus the share among controls (Newcombe, clustered)."""
    s1, t1 = by_cluster(members, member_clusters)
    s0, t0 = by_cluster(controls, control_clusters)
    narrower = clustered_difference(s1, t1, s0, t0, one_sided(level))
    return estimate(clustered_difference(s1, t1, s0, t0, level), "ratio", min(len(t1), len(t0)), narrower)


def excess_rate_p(
    members: NDArray[np.bool_],
    member_clusters: NDArray[np.object_],
    controls: NDArray[np.bool_],
    control_clusters: NDArray[np.object_],
    rng: np.random.Generator,
) -> float:
    """Return the one-sided p-value of no excess: Fisher's exact test, or a permutation of whole clusters."""
    s1, t1 = by_cluster(members, member_clusters)
    s0, t0 = by_cluster(controls, control_clusters)
    if (t1 == 1).all() and (t0 == 1).all():
        return fisher_greater(int(s1.sum()), len(t1), int(s0.sum()), len(t0))
    return cluster_permutation_greater(s1, t1, s0, t0, rng)


class Compared(NamedTuple):
    """The share of flagged members beside that of flagged controls, where there are any."""

    members: Estimate
    controls: Estimate | None
    excess: Estimate | None
    p_value: float | None


def compared(members: Flagged, controls: Flagged | None, level: float, rng: np.random.Generator) -> Compared:
    """Return both shares, their difference and its one-sided p-value; the share of members alone where there are no controls.

    Args:
        members: Which members are flagged, and the person or document of each, shape [members] both.
        controls: The same of the controls; None: there are none.
        level: Confidence level of the intervals.
        rng: Source of the permutation of clusters.
    """
    if controls is None:
        return Compared(rate(*members, level), None, None, None)
    sides = (*members, *controls)
    return Compared(
        rate(*members, level), rate(*controls, level), excess_rate(*sides, level), excess_rate_p(*sides, rng)
    )


def between(found: Estimate) -> str:
    """Return an interval in words: `value (95 % interval low to high)`."""
    show = percent if found.unit == "ratio" else lambda value: f"{value:.2f}"
    unit = "" if found.unit == "ratio" else f" {found.unit}"
    return f"{show(found.value)}{unit} ({100 * found.level:g} % interval {show(found.low)} to {show(found.high)})"
