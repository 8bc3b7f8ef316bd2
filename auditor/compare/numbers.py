"""Estimates of one statistic from the values of records, of each bundle and of the difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.contract.paired import RecordValues
from auditor.core.finding import Estimate
from auditor.statistics.interval import clustered_difference, clustered_rate, mover_difference
from auditor.statistics.paired import mean_interval, paired_areas, paired_means, paired_rates, sign_flip, swapped_areas
from auditor.statistics.roc import auc_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auditor.contract.paired import Kind
    from auditor.statistics.interval import Interval

LEAST_CLUSTERS = 2
"""Persons, documents or records that a paired interval needs on each side."""


@dataclass(frozen=True, slots=True)
class Matched:
    """Records that stand in both bundles, in one order; arrays of shape [records]."""

    clusters: NDArray[np.str_]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    unmatched: int
    """Records that stand in one of the bundles only."""

    @property
    def units(self) -> int:
        """Number of persons, documents or records."""
        return len(set(self.clusters.tolist()))


def match(first: RecordValues, second: RecordValues) -> Matched:
    """Return the values of the records that both have, by id, in the order of their ids."""
    ids, at_first, at_second = np.intersect1d(
        first.ids.astype(str), second.ids.astype(str), assume_unique=True, return_indices=True
    )
    return Matched(
        clusters=first.clusters[at_first].astype(str),
        first=first.values[at_first],
        second=second.values[at_second],
        unmatched=len(first.ids) + len(second.ids) - 2 * len(ids),
    )


def estimate_of(found: Interval, unit: str, n: int) -> Estimate:
    """Return an interval as an estimate of `n` independent units."""
    value = float(found.value)
    return Estimate(
        value=value,
        low=min(float(found.low), value),
        high=max(float(found.high), value),
        level=found.level,
        unit=unit,
        method=found.method,
        n=n,
    )


def cells(values: NDArray[np.float64], clusters: NDArray[np.str_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return successes and trials of each cluster."""
    codes = np.unique(clusters, return_inverse=True)[1]
    return np.bincount(codes, weights=values).astype(np.float64), np.bincount(codes).astype(np.float64)


def one_side(kind: Kind, values: NDArray[np.float64], clusters: NDArray[np.str_], level: float) -> Interval:
    """Return the rate or the mean of one side of one bundle."""
    return clustered_rate(*cells(values, clusters), level) if kind == "rate" else mean_interval(values, clusters, level)


def excess(
    kind: Kind,
    members: NDArray[np.float64],
    member_clusters: NDArray[np.str_],
    controls: NDArray[np.float64],
    control_clusters: NDArray[np.str_],
    level: float,
) -> Interval:
    """Return the excess of members over controls in one bundle; of scores, the area under the ROC curve."""
    if kind == "area":
        return auc_interval(members, controls, level, member_clusters, control_clusters)
    if kind == "rate":
        return clustered_difference(*cells(members, member_clusters), *cells(controls, control_clusters), level)
    return mover_difference(
        mean_interval(members, member_clusters, level), mean_interval(controls, control_clusters, level)
    )


def side_difference(kind: Kind, side: Matched, level: float) -> Interval:
    """Return second minus first of one side, paired by record."""
    paired = paired_rates if kind == "rate" else paired_means
    return paired(side.second, side.first, side.clusters, level)


def excess_difference(kind: Kind, members: Matched, controls: Matched, level: float) -> Interval:
    """Return how much the excess of members over controls grew: what members gained less what controls did."""
    if kind == "area":
        sides = (members.second, members.first), (controls.second, controls.first)
        return paired_areas(*sides, members.clusters, controls.clusters, level)
    gained = side_difference(kind, members, level), side_difference(kind, controls, level)
    return mover_difference(*gained)._replace(method=f"{gained[0].method}, members less controls (MOVER)")


def side_p(side: Matched, rng: np.random.Generator) -> float:
    """Return the p-value of no difference on one side."""
    return sign_flip((side.second - side.first) / len(side.first), rng, side.clusters)


def excess_p(kind: Kind, members: Matched, controls: Matched, rng: np.random.Generator) -> float:
    """Return the p-value of an excess that did not change; persons on both sides are exchanged as one."""
    if kind == "area":
        sides = (members.second, members.first), (controls.second, controls.first)
        return swapped_areas(*sides, rng, members.clusters, controls.clusters)
    moved = [(members.second - members.first) / len(members.first)]
    moved.append((controls.first - controls.second) / len(controls.first))
    return sign_flip(np.concatenate(moved), rng, np.concatenate([members.clusters, controls.clusters]))
