"""Membership: can the model's scores tell records it was trained on from held-out ones, better than a blind classifier?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, PositiveInt

from auditor.battery.blind import blind_areas, blind_curve, blind_gates
from auditor.battery.estimates import between, copies_bins, estimate, one_sided
from auditor.battery.language.membership_scores import SCORES, Scored, read_scores
from auditor.core.evidence import Need
from auditor.core.finding import Estimate, Figure, Measurement, Power, Series, Stratum
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.statistics.power import smallest_detectable_auc
from auditor.statistics.roc import auc_interval, least_controls, permutation_max_auc, roc_curve, tpr_at_fpr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.subject import Modality
    from auditor.evidence.table import ObservedTable

BLIND = ("bag_of_words", "character_ngrams", "surface")
PROBABILITY = 0.8


class Parameters(Record):
    """Which records are scored, and how the scores are judged."""

    records: PositiveInt | None = 5000
    """Records drawn at random from members and from controls; null: all."""
    max_tokens: PositiveInt = 256
    """Longer records are cut after this many tokens."""
    fpr: float = Field(default=0.01, gt=0.0, lt=0.5)
    """False positive rate at which the true positive rate is taken."""
    min_k: float = Field(default=0.2, gt=0.0, le=1.0)
    """Share of the least likely tokens that Min-K% and Min-K%++ average over."""
    permutations: int = Field(default=999, ge=99)
    """Permutations of the membership labels."""
    blind_margin: float = Field(default=0.05, ge=0.0, lt=0.5)
    """How far above 0.5 a blind classifier's area may lie before members and controls count as told apart."""


class Membership:
    """Loss, zlib, lowercase, Min-K%, Min-K%++ and, where there is a reference model, the reference score."""

    name = "language/membership"
    version = 2
    title = "Membership inference"
    question = "Can the model's scores tell the records it was trained on from held-out ones?"
    access: Access = "distribution"
    modality: Modality = "text"
    statistics = ("excess_tpr", "excess_auc")
    source = (
        "Scores: Yeom et al. (2018); Carlini et al. (2021), arXiv 2012.07805 (zlib, lowercase); Shi et al. (2023), Min-K%; "
        "Zhang et al. (2024), Min-K%++. Blind baseline: Das, Zhang, Tramer (2024). Family: Westfall and Young (1993)."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return the scores of members and controls, as they are and in lower case, and the blind baseline."""
        if facts.subject.controls is None:
            msg = "the subject has no control records, so membership has nothing to compare with"
            raise UnsupportedError(msg, hint="Supply held-out records of the same distribution as data.controls.")
        sample = {"records": parameters.records, "max_tokens": parameters.max_tokens}
        found: dict[str, Need] = {}
        for dataset in ("members", "controls"):
            found[dataset] = Need(observer="token-scores", dataset=dataset, parameters={**sample, "moments": True})
            found[f"{dataset}-lowercase"] = Need(
                observer="token-scores", dataset=dataset, parameters={**sample, "transform": "lowercase"}
            )
            if facts.subject.references:
                found[f"{dataset}-reference"] = Need(
                    observer="token-scores", dataset=dataset, model="reference-0", parameters=sample
                )
        # Half of the records teach the blind classifiers, so twice as many are drawn where there are: no model is asked.
        drawn = None if parameters.records is None else 2 * parameters.records
        found["blind"] = Need(
            observer="blind-baseline", dataset="members+controls", model=None, parameters={"records": drawn}
        )
        return found

    def forecast(self, parameters: Parameters, facts: Facts) -> Power:
        """Return what the sample could show."""
        sides = [identity.clusters for identity in (facts.subject.members, facts.subject.controls) if identity]
        capped = [side if parameters.records is None else min(side, parameters.records) for side in sides]
        return _power(capped[0], capped[1], parameters.fpr, facts.confidence)

    def measure(
        self, parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring
    ) -> Measurement:
        """Return how well the best score tells members from controls, beside chance and the blind baseline."""
        level = measuring.facts.confidence
        members = read_scores(evidence, "members", parameters.min_k)
        controls = read_scores(evidence, "controls", parameters.min_k)
        if min(len(members.ids), len(controls.ids)) < 2:
            msg = f"{len(members.ids)} members and {len(controls.ids)} controls have a token that can be scored"
            raise UnsupportedError(msg, hint="Supply more and longer records.")
        names = [name for name in SCORES if name in members.scores]
        family = 1.0 - (1.0 - level) / len(names)
        areas = {name: _area(members, controls, name, family) for name in names}
        points = {}
        if len(controls.ids) >= least_controls(parameters.fpr):
            points = {name: self._point(members, controls, name, parameters.fpr, family) for name in names}
        p_value, adjusted = permutation_max_auc(
            np.stack([members.scores[name] for name in names]),
            np.stack([controls.scores[name] for name in names]),
            generator(measuring.seed, self.name, "labels"),
            parameters.permutations,
            members.clusters.astype(str),
            controls.clusters.astype(str),
        )
        best, statistic, found, control, excess = _primary(names, areas, points, p_value, 1.0 - level)
        shown = f"area under the ROC curve {between(areas[best])}"
        if points:
            shown = (
                f"true positive rate {between(points[best][0])} at a false positive rate of {parameters.fpr:g}; {shown}"
            )
        return Measurement(
            test=self.name,
            test_version=self.version,
            title=self.title,
            statistic=statistic,
            question=self.question,
            answer=f"The best of {len(names)} scores ({best}) reaches: {shown}; p = {p_value:.2g} against shuffled labels.",
            estimate=found,
            control=control,
            excess=excess,
            p_value=p_value,
            members=len(members.ids),
            controls=len(controls.ids),
            gates=blind_gates(evidence["blind"], BLIND, level, parameters.blind_margin),
            power=_power(_units(members), _units(controls), parameters.fpr, level),
            strata=tuple(_strata(names, areas, points, adjusted, members, controls, best, family)),
            figures=(_roc(members, controls, best, evidence["blind"], family),),
            caveats=self._caveats(parameters, measuring, controls),
            method=(
                "Each record gets six scores or fewer from the passes (loss, zlib, lowercase, Min-K%, Min-K%++, reference). The area "
                "under each ROC curve and the true positive rate at a threshold taken from the controls have intervals that hold "
                "for all scores together (Bonferroni). The p-value compares the largest area with those of shuffled labels, whole "
                "clusters at a time. As a control, classifiers that never see the model learn from one half of the records, divided by "
                "person or document, and are scored once on the other half; their intervals hold for all of them together."
            ),
            advice=(
                "Train for fewer passes, on deduplicated data, or with differential privacy; look at the strata for who is recognised. "
                "If the blind baseline is the reason for an invalid outcome, hold records out at random before training."
            ),
            source=self.source,
            observations=tuple(table.record.id for table in evidence.values()),
        )

    def _point(
        self, members: Scored, controls: Scored, name: str, fpr: float, level: float
    ) -> tuple[Estimate, Estimate, Estimate]:
        point, narrower = (
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
        n1, n0 = _units(members), _units(controls)
        return (
            estimate(point.tpr, "ratio", n1, narrower.tpr),
            estimate(point.fpr_interval, "ratio", n0),
            estimate(point.excess, "ratio", min(n1, n0), narrower.excess),
        )

    def _caveats(self, parameters: Parameters, measuring: Measuring, controls: Scored) -> tuple[str, ...]:
        found = ["A score that tells sets apart on average says little about one record; this is no proof of use."]
        needed = least_controls(parameters.fpr)
        if len(controls.ids) < needed:
            found.append(
                f"{len(controls.ids):,} controls cannot carry a true positive rate at {parameters.fpr:g}; {needed:,} are needed, "
                "so none is given."
            )
        if measuring.facts.subject.controls_drawn != "at-random-before-training":
            found.append("The controls were not declared as drawn at random before training.")
        return tuple(found)


def _units(side: Scored) -> int:
    return len(set(side.clusters.tolist()))


def _area(members: Scored, controls: Scored, name: str, level: float) -> Estimate:
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
    return estimate(found, "ratio", min(_units(members), _units(controls)), narrower)


Points = dict[str, tuple[Estimate, Estimate, Estimate]]


def _primary(
    names: list[str], areas: dict[str, Estimate], points: Points, p_value: float, alpha: float
) -> tuple[str, str, Estimate, Estimate, Estimate]:
    """Return the score, the statistic and its numbers that the outcome rests on.

    The score with the largest value is printed: its interval holds for all scores together, so the choice costs nothing.
    Where the controls carry no threshold, or the threshold shows nothing but the areas do, the area is the statistic.
    """
    if points:
        best = max(names, key=lambda name: points[name][2].low)
        if points[best][2].low <= 0.0:
            # Nothing shown: what is printed must bound every score, so it is the one that could be largest.
            best = max(names, key=lambda name: points[name][2].bound)
        if points[best][2].low > 0.0 or p_value > alpha:
            return (best, "excess_tpr", *points[best])
    best = max(names, key=lambda name: areas[name].value)
    found = areas[best]
    chance = found.model_copy(update={"value": 0.5, "low": 0.5, "high": 0.5, "upper": None, "method": "chance, exact"})
    shifted = {name: getattr(found, name) - 0.5 for name in ("value", "low", "high")}
    excess = found.model_copy(update={**shifted, "upper": found.bound - 0.5})
    return best, "excess_auc", found, chance, excess


def _power(n1: int, n0: int, fpr: float, level: float) -> Power:
    effect = smallest_detectable_auc(max(n1, 1), max(n0, 1), level, PROBABILITY) - 0.5
    carries = f"carry a rate at {fpr:g}" if n0 >= least_controls(fpr) else f"cannot carry a rate at {fpr:g}"
    statement = (
        f"With {n1:,} members and {n0:,} controls (independent units) an area of {0.5 + effect:.3f} would be called a "
        f"signal four times in five; the controls {carries} ({least_controls(fpr):,} are needed)."
    )
    return Power(smallest_effect=effect, unit="ratio", probability=PROBABILITY, statement=statement)


def _strata(
    names: list[str],
    areas: dict[str, Estimate],
    points: Points,
    adjusted: tuple[float, ...],
    members: Scored,
    controls: Scored,
    best: str,
    level: float,
) -> list[Stratum]:
    strata = [
        Stratum(by="score, area under the ROC curve", label=name, estimate=areas[name], note=f"adjusted p = {p:.2g}")
        for name, p in zip(names, adjusted, strict=True)
    ]
    strata += [
        Stratum(by="score, true positive rate", label=name, estimate=points[name][0], control=points[name][1])
        for name in names
        if name in points
    ]
    for label, chosen, _ in copies_bins(members.copies):
        if chosen.sum() > 1:
            strata.append(
                Stratum(
                    by=f"copies, area of {best}",
                    label=label,
                    estimate=_area(members.only(chosen), controls, best, level),
                )
            )
    return strata


def _roc(members: Scored, controls: Scored, best: str, blind: ObservedTable, level: float) -> Figure:
    fpr, tpr = roc_curve(members.scores[best], controls.scores[best])
    found = _area(members, controls, best, level)
    area = blind_areas(blind, BLIND, level)
    strongest = max(area, key=lambda name: area[name].value)
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
            f"{found.high:.3f}); the best classifier that never sees the model reaches {area[strongest].value:.3f}."
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


TEST = Membership()
