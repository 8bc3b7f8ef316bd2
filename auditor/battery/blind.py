"""The blind gates: what classifiers that never see the model say about members and controls (rule R9).

An observation of blind scores has the columns `member`, `cluster`, `scored` and one column per classifier. The records
with `scored` false taught the classifiers and have no score; the others were never met by them. So each classifier is a
fixed function to the scored records, and the area of its scores has the interval that any score of them would have.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from auditor.core.finding import Gate
from auditor.statistics.roc import auc_interval, roc_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.evidence.table import ObservedTable
    from auditor.statistics.interval import Interval

PROBABILITY = 0.8
"""How surely a sample of the size that is advised shows two sets alike that are alike."""


def blind_areas(blind: ObservedTable, names: Sequence[str], level: float) -> dict[str, Interval]:
    """Return the area of each blind classifier, with intervals that hold for all of them together (Bonferroni).

    If members and controls are exchangeable, some lower end lies above 0.5 with probability (1 - level) / 2 at most; so
    much for the upper ends.

    Args:
        blind: The observation of blind scores.
        names: Its columns of scores, higher for more member-like.
        level: Two-sided confidence level of all intervals together.
    """
    each = 1.0 - (1.0 - level) / len(names)
    clusters = blind.column("cluster").astype(str)
    found = {}
    for name in names:
        scores, members, controls = _scored(blind, name)
        found[name] = auc_interval(scores[members], scores[controls], each, clusters[members], clusters[controls])
    return found


def blind_curve(blind: ObservedTable, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the false and true positive rates of one blind classifier on the records it was not taught."""
    scores, members, controls = _scored(blind, name)
    return roc_curve(scores[members], scores[controls])


def blind_gates(blind: ObservedTable, names: Sequence[str], level: float, margin: float) -> tuple[Gate, Gate]:
    """Return whether members and controls can be told apart without the model, and whether they are shown alike.

    Args:
        blind: The observation of blind scores.
        names: Its columns of scores, higher for more member-like.
        level: Two-sided confidence level of all intervals together.
        margin: How far above 0.5 an area may lie.
    """
    areas = blind_areas(blind, names, level)
    surest = max(areas, key=lambda name: areas[name].low)
    widest = max(found.high for found in areas.values())
    limit = 0.5 + margin
    told = ", ".join(f"{name} {found.value:.3f}" for name, found in areas.items())
    alike = f"the upper bounds of the blind areas reach {widest:.3f}; at most {limit:.2f} shows the two sets alike"
    if widest > limit and margin > 0.0:
        needed = records_to_show_alike(margin, level, len(names))
        alike += f", for which about {needed:,} independent records on each side would do if they are"
    return (
        Gate(
            name="blind baseline",
            held=areas[surest].low <= limit,
            on_failure="invalid",
            detail=(
                f"classifiers that never see the model learn from half of the records and reach areas of {told} on the other "
                f"half; the surest ({surest}) has the interval {areas[surest].low:.3f} to {areas[surest].high:.3f}, "
                f"allowed are {limit:.2f}"
            ),
        ),
        Gate(name="members and controls are alike", held=widest <= limit, on_failure="inconclusive", detail=alike),
    )


def records_to_show_alike(margin: float, level: float, classifiers: int) -> int:
    """Return how many independent records on each side would show two sets alike that are, four times in five.

    Half of them teach. The other half must bring every upper bound to the margin.

    Args:
        margin: How far above 0.5 an area may lie, above 0.
        level: Two-sided confidence level of all intervals together.
        classifiers: Number of classifiers.

    Returns:
        Twice the smallest n with (z + w) sd(n, n) <= margin, where z and w are the normal quantiles of the interval
        and of the probability, both shared among the classifiers (Bonferroni).
    """
    z = -float(ndtri((1.0 - level) / (2.0 * classifiers)))
    w = -float(ndtri((1.0 - PROBABILITY) / classifiers))
    squared = (margin / (z + w)) ** 2
    # Mann-Whitney: sd(n, n)^2 = (2n + 1) / (12 n^2) <= squared, solved for n.
    n = max(1, math.ceil((1.0 + math.sqrt(1.0 + 12.0 * squared)) / (12.0 * squared)))
    return 2 * n


def _scored(blind: ObservedTable, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the scores, and which rows are scored members and scored controls."""
    member, scored = (np.asarray(blind.column(column), dtype=np.bool_) for column in ("member", "scored"))
    return blind.column(name), scored & member, scored & ~member
