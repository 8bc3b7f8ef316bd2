"""Membership: can a diffusion model's denoising tell the images it was trained on from held-out ones?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from auditor.battery.blind import blind_gates
from auditor.battery.dataset_inference import shared_codes
from auditor.battery.diffusion.dataset_inference import whole_set_stratum
from auditor.battery.diffusion.membership_scores import SCORES, Sides, codes_of, read_sides
from auditor.battery.estimates import between, estimate, one_sided
from auditor.battery.membership_outcome import (
    Point,
    Scored,
    area,
    caveats,
    forecast,
    point,
    power,
    primary,
    roc_figure,
    strata,
)
from auditor.battery.per_record import areas
from auditor.core.evidence import Need
from auditor.core.finding import Estimate, Figure, Measurement, Power, Series, Stratum
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.statistics.interval import Interval
from auditor.statistics.out_of_fold import OutOfFold, folds_of, learning_spread, widened
from auditor.statistics.roc import auc_interval, least_controls, permutation_max_auc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.contract.paired import PerRecord
    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.subject import Modality
    from auditor.evidence.table import ObservedTable

BLIND = ("pixels", "surface", "captions")
"""Blind classifiers; the last where the model is conditioned on captions."""
LEARNED = "multi_loss"
"""The score that is learned from the labels."""


class Parameters(Record):
    """Which images are scored, and how the scores are judged."""

    records: PositiveInt | None = 1000
    """Images drawn at random from members and from controls; null: all."""
    timesteps: tuple[NonNegativeInt, ...] = (10, 50, 100, 150, 200, 300, 400, 500, 700, 900)
    """Timesteps of the losses, in thousandths of the schedule."""
    timestep: NonNegativeInt = 100
    """The one of them at which the score `loss` is taken, declared beforehand."""
    noises: PositiveInt = 3
    """Noise draws at each, the same for all images and models."""
    secmi: PositiveInt = 100
    """Timestep at which SecMI compares."""
    pia: PositiveInt = 200
    """Timestep of PIA and PIAN."""
    sima: PositiveInt = 100
    """Timestep of SimA."""
    clid: tuple[NonNegativeInt, ...] = (100, 200, 300)
    """Timesteps at which conditions are compared, for guided models that are conditioned."""
    clid_weight: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of the conditional gain in CLiD; the rest is the loss."""
    band: tuple[NonNegativeInt, NonNegativeInt] = (50, 300)
    """First and last timestep that the likelihood ratio averages over."""
    folds: int = Field(default=5, ge=2)
    """Folds in which the multi-loss is learned."""
    fpr: float = Field(default=0.01, gt=0.0, lt=0.5)
    """False positive rate at which the true positive rate is taken."""
    permutations: int = Field(default=999, ge=99)
    """Permutations of the membership labels."""
    blind_margin: float = Field(default=0.05, ge=0.0, lt=0.5)
    """How far above 0.5 a blind classifier's area may lie before members and controls count as told apart."""


class DiffusionMembership:
    """Loss, SecMI, PIA, PIAN, SimA, multi-loss; CLiD where the model is guided; reference and LiRA where there are references."""

    name = "diffusion/membership"
    version = 1
    title = "Membership inference on images"
    question = "Can the model's denoising tell the images it was trained on from held-out ones?"
    access: Access = "weights"
    modality: Modality = "image"
    statistics = ("excess_tpr", "excess_auc")
    source = (
        "Scores: Carlini et al. (2023), arXiv 2301.13188 (loss, likelihood ratio); Duan et al. (2023), arXiv 2302.01316 (SecMI); "
        "Kong et al. (2023), arXiv 2305.18355 (PIA, PIAN); arXiv 2509.25003 (SimA); Zhai et al. (2024), arXiv 2405.14800 (CLiD); "
        "Dubinski et al. (2025), arXiv 2411.12858 (multi-loss, dataset inference). Blind baseline: Das, Zhang, Tramer (2024). "
        "Family: Westfall and Young (1993)."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return the denoising scores of members and controls under every model, and the blind baseline."""
        if facts.subject.controls is None:
            msg = "the subject has no control records, so membership has nothing to compare with"
            raise UnsupportedError(msg, hint="Supply held-out images of the same distribution as data.controls.")
        capabilities = facts.subject.model.capabilities
        if "denoises" not in capabilities:
            msg = "the model cannot be asked for the noise it predicts"
            raise UnsupportedError(msg, hint="Audit the pipeline itself, with the adapter `diffusion`.")
        text = "conditions-on-text" in capabilities
        compared = "guides" in capabilities and (text or "conditions-on-class" in capabilities)
        sweep = {"records": parameters.records, "timesteps": list(_steps(parameters)), "noises": parameters.noises}
        reference = {**sweep, "timesteps": sorted({*_averaged(parameters), parameters.timestep})}
        scores = {"secmi": parameters.secmi, "pia": parameters.pia, "sima": parameters.sima}
        conditions = {"clid": list(parameters.clid)} if compared else {}
        found: dict[str, Need] = {}
        for side in ("members", "controls"):
            asked = {**sweep, **scores, **conditions}
            found[side] = Need(observer="denoising-scores", dataset=side, parameters=asked)
            for number in range(len(facts.subject.references)):
                found[f"{side}-reference-{number}"] = Need(
                    observer="denoising-scores", dataset=side, model=f"reference-{number}", parameters=reference
                )
        # Half of the records teach the blind classifiers, so twice as many are drawn where there are: no model is asked.
        drawn = None if parameters.records is None else 2 * parameters.records
        found["blind"] = Need(
            observer="image-blind-baseline",
            dataset="members+controls",
            model=None,
            parameters={"records": drawn, "captions": text},
        )
        return found

    def forecast(self, parameters: Parameters, facts: Facts) -> Power:
        """Return what the sample could show."""
        return forecast(facts, parameters.records, parameters.fpr)

    def measure(
        self, parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring
    ) -> Measurement:
        """Return how well the best score tells members from controls, beside chance and the blind baseline."""
        level = measuring.facts.confidence
        references = len(measuring.facts.subject.references)
        steps, averaged = _steps(parameters), _averaged(parameters)
        sides = read_sides(evidence, references, steps, parameters.timestep, averaged, parameters.clid_weight)
        members, controls = sides.members, sides.controls
        if min(members.units, controls.units) < parameters.folds:
            msg = (
                f"{members.units} persons, documents or records of members and {controls.units} of controls are too few"
            )
            raise UnsupportedError(
                msg, hint=f"At least {parameters.folds} on each side are needed, many more to show anything."
            )
        codes, units = codes_of(sides)
        rng = generator(measuring.seed, self.name, "folds")
        folds = folds_of(shared_codes((members, controls)), parameters.folds, rng)
        learned = OutOfFold(sides.features, folds)
        label = np.repeat([1.0, 0.0], [len(members.ids), len(controls.ids)])
        fixed = [name for name in SCORES if name in members.scores]
        p_value, adjusted = permutation_max_auc(
            members.stacked(fixed),
            controls.stacked(fixed),
            generator(measuring.seed, self.name, "labels"),
            parameters.permutations,
            members.clusters.astype(str),
            controls.clusters.astype(str),
            fitted=learned,
        )
        joined = sides.joined(LEARNED, learned.scores(label[None, :])[0])
        members, controls = joined.members, joined.controls
        names = [*fixed, LEARNED]
        family = 1.0 - (1.0 - level) / len(names)
        areas = {name: area(members, controls, name, family) for name in fixed}
        spread = learning_spread(learned, codes, units, generator(measuring.seed, self.name, "learning"))
        areas[LEARNED] = learned_area(joined, family, spread)
        points: dict[str, Point] = {}
        if len(controls.ids) >= least_controls(parameters.fpr):
            points = {name: point(members, controls, name, parameters.fpr, family) for name in fixed}
        best, statistic, found, control, excess = primary(areas, points, p_value, 1.0 - level, unequal=True)
        shown = f"area under the ROC curve {between(areas[best])}"
        if points and best in points:
            shown = (
                f"true positive rate {between(points[best][0])} at a false positive rate of {parameters.fpr:g}; {shown}"
            )
        blind = BLIND if "conditions-on-text" in measuring.facts.subject.model.capabilities else BLIND[:2]
        sweep = _sweep(sides, family)
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
            gates=blind_gates(evidence["blind"], blind, level, parameters.blind_margin),
            power=power(members.units, controls.units, parameters.fpr, level),
            strata=(
                *strata(areas, points, adjusted, members, controls, best, family),
                *sweep,
                whole_set_stratum(
                    sides, folds, generator(measuring.seed, self.name, "whole set"), parameters.permutations, level
                ),
            ),
            figures=(
                roc_figure(members, controls, best, areas[best], evidence["blind"], blind),
                _sweep_figure(sides, sweep, parameters.timestep),
            ),
            caveats=_caveats(measuring, controls, parameters.fpr, areas[best], references),
            method=(
                "Every image gets up to nine scores from shared passes, each noise draw the same for all images and models; timesteps "
                "were declared beforehand. Areas under ROC curves and the true positive rate at a threshold taken from the controls "
                "have intervals that hold for all scores together (Bonferroni), and the p-value compares the largest area with those "
                "of shuffled labels, whole clusters at a time; the multi-loss is learned on other folds, and anew on every shuffle. As "
                "a control, classifiers that never see the model learn from one half of the records and are scored once on the other."
            ),
            advice=(
                "Train for fewer passes, on deduplicated and augmented data, or with differential privacy; look at the strata for who is "
                "recognised. If the blind baseline is the reason for an invalid outcome, hold images out at random before training."
            ),
            source=self.source,
            observations=tuple(table.record.id for table in evidence.values()),
        )

    def per_record(
        self, parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring
    ) -> Sequence[PerRecord]:
        """Return the scores of members and controls: against reference models where there are any, then the loss."""
        references = len(measuring.facts.subject.references)
        steps, averaged = _steps(parameters), _averaged(parameters)
        sides = read_sides(evidence, references, steps, parameters.timestep, averaged, parameters.clid_weight)
        return areas(sides.members, sides.controls, ("reference", "loss"), {})


def _steps(parameters: Parameters) -> tuple[int, ...]:
    """Return the timesteps of the sweep, ascending."""
    return tuple(sorted({*parameters.timesteps, parameters.timestep}))


def _averaged(parameters: Parameters) -> list[int]:
    """Return the timesteps that the likelihood ratio averages over; the references are asked at no other."""
    first, last = parameters.band
    return [step for step in _steps(parameters) if first <= step <= last] or [parameters.timestep]


def learned_area(sides: Sides, level: float, spread: float) -> Estimate:
    """Return the area of the learned score, its interval as much wider as learning makes it.

    Args:
        sides: Both sides, with the learned score.
        level: Level of the interval.
        spread: What `learning_spread` says.
    """
    members, controls = sides.members, sides.controls

    def interval(each: float) -> Interval:
        found = auc_interval(
            members.scores[LEARNED],
            controls.scores[LEARNED],
            each,
            members.clusters.astype(str),
            controls.clusters.astype(str),
        )
        return widened(found, spread)

    return estimate(interval(level), "ratio", min(members.units, controls.units), interval(one_sided(level)))


def _sweep(sides: Sides, level: float) -> list[Stratum]:
    """Return the area of the loss at every timestep, intervals that hold for all of them together."""
    each = 1.0 - (1.0 - level) / len(sides.timesteps)
    cut = len(sides.members.ids)
    found = []
    for column, step in enumerate(sides.timesteps):
        interval = auc_interval(
            sides.losses[:cut, column],
            sides.losses[cut:, column],
            each,
            sides.members.clusters.astype(str),
            sides.controls.clusters.astype(str),
        )
        n = min(sides.members.units, sides.controls.units)
        found.append(Stratum(by="timestep, area of the loss", label=str(step), estimate=estimate(interval, "ratio", n)))
    return found


def _sweep_figure(sides: Sides, sweep: list[Stratum], declared: int) -> Figure:
    x = tuple(float(step) for step in sides.timesteps)
    rows = [row.estimate for row in sweep]
    at = rows[sides.timesteps.index(declared)]
    return Figure(
        kind="intervals",
        title="Where along the noise the loss tells members from controls",
        x_label="timestep (thousandths of the schedule)",
        y_label="area under the ROC curve",
        series=(
            Series(
                name="loss",
                x=x,
                y=tuple(row.value for row in rows),
                low=tuple(row.low for row in rows),
                high=tuple(row.high for row in rows),
                role="members",
            ),
            Series(name="chance", x=(x[0], x[-1]), y=(0.5, 0.5), role="reference"),
        ),
        caption=(
            f"Area under the ROC curve of the loss at {len(x)} timesteps, intervals that hold for all together. The score `loss` "
            f"is taken at {declared}, declared beforehand: {at.value:.3f} ({at.low:.3f} to {at.high:.3f})."
        ),
    )


def _caveats(measuring: Measuring, controls: Scored, fpr: float, best: Estimate, references: int) -> tuple[str, ...]:
    found = list(caveats(measuring.facts, controls, fpr))
    if best.low <= 0.5:
        found.append(
            "No score tells single images apart here; what a whole set shows is in the stratum `whole set`, and says nothing of one image."
        )
    if not references:
        found.append(
            "There is no reference model, so hard and easy images are not told apart: a likelihood ratio might show more."
        )
    return tuple(found)


TEST = DiffusionMembership()
