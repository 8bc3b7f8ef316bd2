"""What the membership tests share: areas, operating points, the statistic the outcome rests on, strata and the ROC figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.battery.blind import blind_areas, blind_curve
from auditor.battery.copies import copies_bins
from auditor.battery.estimates import estimate, one_sided
from auditor.core.finding import Estimate, Figure, Power, Series, Stratum
from auditor.statistics.power import smallest_detectable_auc
from auditor.statistics.roc import auc_interval, least_controls, roc_curve, tpr_at_fpr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.contract.protocol import Facts
    from auditor.evidence.table import ObservedTable

PROBABILITY = 0.8
Point = tuple[Estimate, Estimate, Estimate]
"""True positive rate, false positive rate and their difference, at one threshold."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of one side; every array has shape [records]."""

    ids: NDArray[np.object_]
    clusters: NDArray[np.object_]
    copies: NDArray[np.int64]
    scores: dict[str, NDArray[np.float64]]

    def only(self, chosen: NDArray[np.bool_]) -> Scored:
        """Return the records of a selection."""
        return Scored(
            self.ids[chosen],
            self.clusters[chosen],
            self.copies[chosen],
            {name: values[chosen] for name, values in self.scores.items()},
        )

    def stacked(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Return some scores as rows, shape [names, records]."""
        return np.stack([self.scores[name] for name in names])

    @property
    def units(self) -> int:
        """Number of independent units: persons, documents or records."""
        return len(set(self.clusters.tolist()))


def area(members: Scored, controls: Scored, name: str, level: float) -> Estimate:
    """Return the area under the ROC curve of one score, its interval clustered by person or document."""
    found, narrower = (
        auc_interval(
            members.scores[name],
            controls.scores[name],
            each,
            members.clusters.astype(str),
            controls.clusters.astype(str),
        )
        for each in (level, one_sided(level))
    )
    return estimate(found, "ratio", min(members.units, controls.units), narrower)


def point(members: Scored, controls: Scored, name: str, fpr: float, level: float) -> Point:
    """Return what one score finds at a threshold taken from the controls."""
    found, narrower = (
        tpr_at_fpr(
            members.scores[name],
            controls.scores[name],
            fpr,
            each,
            members.clusters.astype(str),
            controls.clusters.astype(str),
        )
        for each in (level, one_sided(level))
    )
    n1, n0 = members.units, controls.units
    return (
        estimate(found.tpr, "ratio", n1, narrower.tpr),
        estimate(found.fpr_interval, "ratio", n0),
        estimate(found.excess, "ratio", min(n1, n0), narrower.excess),
    )


def primary(
    areas: dict[str, Estimate], points: dict[str, Point], p_value: float, alpha: float, *, unequal: bool = False
) -> tuple[str, str, Estimate, Estimate, Estimate]:
    """Return the score, the statistic and its numbers that the outcome rests on.

    The score with the largest value is printed: its interval holds for all scores together, so the choice costs nothing.
    Where the controls carry no threshold, or the threshold shows nothing but the areas do, the area is the statistic.

    Args:
        areas: Area of each score.
        points: Operating points, of the scores that have one.
        p_value: p-value of the largest area.
        alpha: Level of a signal.
        unequal: Some intervals are wider than others at equal numbers, so that the largest area need not have the largest bound.
    """
    if points:
        best = max(points, key=lambda name: points[name][2].low)
        if points[best][2].low <= 0.0:
            # Nothing shown: what is printed must bound every score, so it is the one that could be largest.
            best = max(points, key=lambda name: points[name][2].bound)
        if points[best][2].low > 0.0 or p_value > alpha:
            return (best, "excess_tpr", *points[best])
    best = max(areas, key=lambda name: areas[name].value)
    if unequal and areas[best].low <= 0.5:
        best = max(areas, key=lambda name: areas[name].bound)
    found = areas[best]
    return best, "excess_auc", found, chance(found), over_chance(found)


def chance(found: Estimate) -> Estimate:
    """Return the area that chance gives, beside an area found."""
    return found.model_copy(update={"value": 0.5, "low": 0.5, "high": 0.5, "upper": None, "method": "chance, exact"})


def over_chance(found: Estimate) -> Estimate:
    """Return an area less that of chance."""
    shifted = {name: getattr(found, name) - 0.5 for name in ("value", "low", "high")}
    return found.model_copy(update={**shifted, "upper": found.bound - 0.5})


def power(n1: int, n0: int, fpr: float, level: float) -> Power:
    """Return what so many members and controls could show.

    Args:
        n1: Members, independent units.
        n0: Controls, independent units.
        fpr: False positive rate at which the true positive rate is asked.
        level: Confidence level.
    """
    effect = smallest_detectable_auc(max(n1, 1), max(n0, 1), level, PROBABILITY) - 0.5
    carries = f"carry a rate at {fpr:g}" if n0 >= least_controls(fpr) else f"cannot carry a rate at {fpr:g}"
    statement = (
        f"With {n1:,} members and {n0:,} controls (independent units) an area of {0.5 + effect:.3f} would be called a "
        f"signal four times in five; the controls {carries} ({least_controls(fpr):,} are needed)."
    )
    return Power(smallest_effect=effect, unit="ratio", probability=PROBABILITY, statement=statement)


def forecast(facts: Facts, records: int | None, fpr: float) -> Power:
    """Return what a sample could show, before anything is asked."""
    sides = [identity.clusters for identity in (facts.subject.members, facts.subject.controls) if identity]
    capped = [side if records is None else min(side, records) for side in sides]
    return power(capped[0], capped[1], fpr, facts.confidence)


def strata(
    areas: dict[str, Estimate],
    points: dict[str, Point],
    adjusted: Sequence[float],
    members: Scored,
    controls: Scored,
    best: str,
    level: float,
) -> list[Stratum]:
    """Return every score, and the best one by how often a record stood in training.

    Args:
        areas: Area of each score.
        points: Operating points, of the scores that have one.
        adjusted: Adjusted p-value of each score, in the order of `areas`.
        members: The members.
        controls: The controls.
        best: The score that is taken apart.
        level: Level of the intervals of the parts.
    """
    found = [
        Stratum(by="score, area under the ROC curve", label=name, estimate=areas[name], note=f"adjusted p = {p:.2g}")
        for name, p in zip(areas, adjusted, strict=True)
    ]
    found += [
        Stratum(by="score, true positive rate", label=name, estimate=points[name][0], control=points[name][1])
        for name in areas
        if name in points
    ]
    for label, chosen, _ in copies_bins(members.copies):
        if chosen.sum() > 1:
            found.append(
                Stratum(
                    by=f"copies, area of {best}",
                    label=label,
                    estimate=area(members.only(chosen), controls, best, level),
                )
            )
    return found


def roc_figure(
    members: Scored, controls: Scored, best: str, found: Estimate, blind: ObservedTable, names: Sequence[str]
) -> Figure:
    """Return the ROC curves of the best score and of the best blind classifier.

    Args:
        members: The members.
        controls: The controls.
        best: The score.
        found: Its area.
        blind: The observation of blind scores.
        names: The blind classifiers.
    """
    fpr, tpr = roc_curve(members.scores[best], controls.scores[best])
    blind_found = blind_areas(blind, names, found.level)
    strongest = max(blind_found, key=lambda name: blind_found[name].value)
    x, y = blind_curve(blind, strongest)
    return Figure(
        kind="roc",
        title=f"Members against controls, by {best}",
        x_label="false positive rate",
        y_label="true positive rate",
        series=(
            _thinned(f"model ({best})", fpr, tpr, "members"),
            _thinned(f"blind ({strongest})", x, y, "controls"),
            Series(name="chance", x=(1e-4, 1.0), y=(1e-4, 1.0), role="reference"),
        ),
        x_scale="log",
        y_scale="log",
        caption=(
            f"ROC curve on logarithmic axes. The model's {best} reaches an area of {found.value:.3f} ({found.low:.3f} to "
            f"{found.high:.3f}); the best classifier that never sees the model reaches {blind_found[strongest].value:.3f}."
        ),
    )


def _thinned(name: str, x: NDArray[np.float64], y: NDArray[np.float64], role: str) -> Series:
    """Return a curve with at most 200 of its corners, the ends kept."""
    keep = np.unique(np.round(np.linspace(0, len(x) - 1, min(len(x), 200))).astype(int))
    return Series(
        name=name,
        x=tuple(float(value) for value in x[keep]),
        y=tuple(float(value) for value in y[keep]),
        role="members" if role == "members" else "controls",
    )


def caveats(facts: Facts, controls: Scored, fpr: float) -> tuple[str, ...]:
    """Return what membership cannot say, and what this sample cannot carry."""
    found = ["A score that tells sets apart on average says little about one record; this is no proof of use."]
    needed = least_controls(fpr)
    if len(controls.ids) < needed:
        found.append(
            f"{len(controls.ids):,} controls cannot carry a true positive rate at {fpr:g}; {needed:,} are needed, "
            "so none is given."
        )
    if facts.subject.controls_drawn != "at-random-before-training":
        found.append("The controls were not declared as drawn at random before training.")
    return tuple(found)
