"""How atypical images are, and how well members are told from controls that are as atypical."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.battery.estimates import estimate, one_sided
from auditor.core.finding import Estimate, Figure, Series, Stratum
from auditor.errors import UnsupportedError
from auditor.statistics.interval import Interval
from auditor.statistics.rate_interval import mover_difference
from auditor.statistics.stratified import stratified_auc, usable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.battery.diffusion.membership_scores import Sides
    from auditor.evidence.table import ObservedTable

QUARTERS = ("most typical quarter", "second quarter", "third quarter", "most atypical quarter")
BY = "atypicality, area within strata of it"
Strata = tuple["NDArray[np.int64]", "NDArray[np.int64]"]
"""Stratum of each member and of each control."""
Chosen = tuple["NDArray[np.bool_]", "NDArray[np.bool_]"]
"""Which members and which controls are compared."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the comparison; every array has shape [records]."""

    ids: NDArray[np.object_]
    clusters: NDArray[np.str_]
    copies: NDArray[np.int64]
    neighbours: NDArray[np.float64]
    """Mean distance to the nearest other records: how atypical the image is."""
    scores: NDArray[np.float64]
    """Higher for more member-like."""


def read_atypical(sides: Sides, distances: ObservedTable) -> tuple[Side, Side, int]:
    """Return both sides with score and atypicality, and how many controls were left out as copies of members.

    The score is the likelihood ratio where there are reference models, else minus the mean log loss.

    Args:
        sides: Both sides with their scores.
        distances: The observation of distances between images.

    Raises:
        UnsupportedError: A side has no image whose neighbours are known.
    """
    score = sides.losses.mean(axis=1)
    cut = len(sides.members.ids)
    member = distances.column("member").astype(bool)
    ids = distances.column("id")
    neighbours = np.append(distances.column("neighbours").astype(np.float64), np.nan)
    copies = np.append(distances.column("exact_copies").astype(np.int64), 0)
    found, left_out = [], 0
    for side, own, is_member in ((sides.members, score[:cut], True), (sides.controls, score[cut:], False)):
        place = {str(ids[row]): int(row) for row in np.flatnonzero(member == is_member)}
        rows = np.array([place.get(str(name), len(ids)) for name in side.ids], dtype=np.int64)
        kept = np.isfinite(neighbours[rows])
        if not is_member:
            left_out = int((kept & (copies[rows] > 0)).sum())
            kept &= copies[rows] == 0
        if not kept.any():
            msg = f"no {'member' if is_member else 'control'} has a neighbour whose distance is known"
            raise UnsupportedError(msg, hint="Supply more images.")
        scores = side.scores.get("lira", own)
        found.append(
            Side(
                side.ids[kept],
                side.clusters[kept].astype(str),
                side.copies[kept],
                neighbours[rows[kept]],
                scores[kept],
            )
        )
    return found[0], found[1], left_out


def area_within(members: Side, controls: Side, strata: Strata, chosen: Chosen, level: float) -> Estimate:
    """Return the area of a part of both sides, each member held against controls of its own stratum only.

    Raises:
        UnsupportedError: No stratum of the part has two independent members and controls.
    """
    first, second = chosen
    codes = [
        np.unique(side.clusters[mine], return_inverse=True)[1]
        for side, mine in zip((members, controls), chosen, strict=True)
    ]
    if not len(usable(strata[0][first], strata[1][second], codes[0], codes[1])):
        msg = f"the part that is compared has {int(first.sum())} members and {int(second.sum())} controls, in no stratum two of each"
        raise UnsupportedError(msg, hint="Supply more images, or images that are not all equally far from the others.")

    def interval(each: float) -> Interval:
        return stratified_auc(
            members.scores[first],
            controls.scores[second],
            strata[0][first],
            strata[1][second],
            each,
            members.clusters[first],
            controls.clusters[second],
        )

    units = min(len(np.unique(code)) for code in codes)
    return estimate(interval(level), "ratio", units, interval(one_sided(level)))


def beside(members: Side, controls: Side, strata: Strata, top: Chosen, level: float) -> list[Stratum]:
    """Return the whole sample, all but the most atypical quarter, and how far that quarter lies above the rest."""
    rest = ~top[0], ~top[1]
    whole = np.ones(len(members.ids), dtype=np.bool_), np.ones(len(controls.ids), dtype=np.bool_)
    quarter, others = (area_within(members, controls, strata, part, level) for part in (top, rest))
    above = mover_difference(
        *(Interval(part.value, part.low, part.high, level, part.method) for part in (quarter, others))
    )
    return [
        Stratum(by=BY, label="all images", estimate=area_within(members, controls, strata, whole, level)),
        Stratum(by=BY, label="all but the most atypical quarter", estimate=others),
        Stratum(
            by=BY,
            label="most atypical quarter less all others",
            estimate=estimate(above, "ratio", min(quarter.n, others.n)),
            note="above zero: outliers are easier to tell",
        ),
    ]


def by_quarter(members: Side, controls: Side, quarters: Strata, strata: Strata, level: float) -> list[Stratum]:
    """Return the area of every quarter of atypicality, intervals that hold for all of them together."""
    numbers = np.unique(quarters[0])
    each = 1.0 - (1.0 - level) / len(numbers)
    found = []
    for number in numbers:
        chosen = quarters[0] == number, quarters[1] == number
        try:
            area = area_within(members, controls, strata, chosen, each)
        except UnsupportedError:
            continue
        middle = float(np.median(members.neighbours[chosen[0]]))
        note = f"median distance to the nearest others {middle:.3g}"
        found.append(Stratum(by=BY, label=QUARTERS[number], estimate=area, note=note))
    return found


def quarter_figure(areas: Sequence[Stratum]) -> Figure:
    """Return the area by quarter of atypicality."""
    x = tuple(float(QUARTERS.index(row.label) + 1) for row in areas)
    last = areas[-1].estimate
    return Figure(
        kind="intervals",
        title="Are outliers easier to tell?",
        x_label="quarter of atypicality, 4: farthest from other images",
        y_label="area under the ROC curve",
        series=(
            Series(
                name="members against controls as atypical",
                x=x,
                y=tuple(row.estimate.value for row in areas),
                low=tuple(row.estimate.low for row in areas),
                high=tuple(row.estimate.high for row in areas),
                role="members",
            ),
            Series(name="chance", x=(x[0], x[-1]), y=(0.5,) * 2, role="reference"),
        ),
        caption=(
            f"Area under the ROC curve within strata of atypicality, by quarter, intervals that hold for all together; {areas[-1].label}: "
            f"{last.value:.3f} ({last.low:.3f} to {last.high:.3f})."
        ),
    )
