"""Outliers: are atypical images easier to tell as members, and which single images are most exposed?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from auditor.battery.blind import blind_gates
from auditor.battery.diffusion.atypicality import (
    QUARTERS,
    Side,
    area_within,
    beside,
    by_quarter,
    quarter_figure,
    read_atypical,
)
from auditor.battery.diffusion.exposed_records import called_by_quarter, exhibits, exposed, most_exposed
from auditor.battery.diffusion.membership_scores import read_sides
from auditor.battery.estimates import between
from auditor.battery.membership_outcome import PROBABILITY, chance, over_chance
from auditor.core.evidence import Need
from auditor.core.finding import Measurement, Power
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.statistics.power import smallest_detectable_auc
from auditor.statistics.stratified import permutation_max_stratified, strata_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.subject import Modality
    from auditor.evidence.table import ObservedTable

BLIND = ("pixels", "surface", "captions")


class Parameters(Record):
    """Which images are scored, and within which strata they are compared."""

    records: PositiveInt | None = 1000
    """Images drawn at random from members and from controls; null: all."""
    timesteps: tuple[NonNegativeInt, ...] = Field(default=(50, 100, 150, 200, 300), min_length=1)
    """Timesteps of the losses that the score averages over, in thousandths of the schedule, declared beforehand."""
    noises: PositiveInt = 3
    """Noise draws at each, the same for all images and models."""
    parts: PositiveInt = 2
    """Strata in each quarter of atypicality, within which members are compared with controls."""
    fdr: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Share of wrong ones expected at most among the images called exposed."""
    permutations: int = Field(default=999, ge=99)
    """Permutations of the membership labels within strata."""
    blind_margin: float = Field(default=0.05, ge=0.0, lt=0.5)
    """How far above 0.5 a blind classifier's area may lie before members and controls count as told apart."""


class Outliers:
    """Membership among the most atypical quarter, within strata of atypicality, beside the other quarters."""

    name = "diffusion/outliers"
    version = 1
    title = "Exposure of atypical images"
    question = "Can the most atypical images be told as members, and which single images are most exposed?"
    access: Access = "weights"
    modality: Modality = "image"
    statistics = ("excess_auc",)
    source = (
        "Carlini et al. (2023), Extracting Training Data from Diffusion Models, arXiv 2301.13188 (outliers, likelihood ratio). Strata: van "
        "Elteren (1960). Single records: Bates et al. (2023), Ann. Stat. 51:149; Benjamini and Hochberg (1995)."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return losses of both sides under every model, distances between images, and the blind baseline."""
        if facts.subject.controls is None:
            msg = "the subject has no control records, so risk has nothing to be calibrated on"
            raise UnsupportedError(msg, hint="Supply held-out images of the same distribution as data.controls.")
        if "denoises" not in facts.subject.model.capabilities:
            msg = "the model cannot be asked for the noise it predicts"
            raise UnsupportedError(msg, hint="Audit the pipeline itself, with the adapter `diffusion`.")
        sweep = {
            "records": parameters.records,
            "timesteps": sorted(set(parameters.timesteps)),
            "noises": parameters.noises,
        }
        found: dict[str, Need] = {}
        for side in ("members", "controls"):
            found[side] = Need(observer="denoising-scores", dataset=side, parameters=sweep)
            for number in range(len(facts.subject.references)):
                found[f"{side}-reference-{number}"] = Need(
                    observer="denoising-scores", dataset=side, model=f"reference-{number}", parameters=sweep
                )
        found["distances"] = Need(
            observer="image-distances",
            dataset="members+controls",
            model=None,
            parameters={"records": parameters.records},
        )
        # Half of the records teach the blind classifiers, so twice as many are drawn where there are: no model is asked.
        drawn = None if parameters.records is None else 2 * parameters.records
        captions = "conditions-on-text" in facts.subject.model.capabilities
        found["blind"] = Need(
            observer="image-blind-baseline",
            dataset="members+controls",
            model=None,
            parameters={"records": drawn, "captions": captions},
        )
        return found

    def forecast(self, parameters: Parameters, facts: Facts) -> Power:
        """Return what the most atypical quarter of the sample could show."""
        sides = [identity.clusters for identity in (facts.subject.members, facts.subject.controls) if identity]
        capped = [side if parameters.records is None else min(side, parameters.records) for side in sides]
        return _power(capped[0] // 4, capped[-1] // 4, facts.confidence)

    def measure(
        self, parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring
    ) -> Measurement:
        """Return the membership area among the most atypical quarter, and who is most exposed."""
        level = measuring.facts.confidence
        references = len(measuring.facts.subject.references)
        steps = sorted(set(parameters.timesteps))
        sides = read_sides(evidence, references, steps, steps[0], steps)
        members, controls, copied = read_atypical(sides, evidence["distances"])
        quarters, fine = (
            strata_of(members.neighbours, controls.neighbours, bins, members.clusters, controls.clusters)
            for bins in (len(QUARTERS), len(QUARTERS) * parameters.parts)
        )
        top = quarters[0] == len(QUARTERS) - 1, quarters[1] == len(QUARTERS) - 1
        found = area_within(members, controls, fine, top, level)
        p_value, _ = permutation_max_stratified(
            members.scores[None, top[0]],
            controls.scores[None, top[1]],
            fine[0][top[0]],
            fine[1][top[1]],
            generator(measuring.seed, self.name, "labels"),
            parameters.permutations,
            members.clusters[top[0]],
            controls.clusters[top[1]],
        )
        each = exposed(members, controls, *fine)
        areas = by_quarter(members, controls, quarters, fine, level)
        called = int(each.called(parameters.fdr).sum())
        blind = BLIND if "conditions-on-text" in measuring.facts.subject.model.capabilities else BLIND[:2]
        n1, n0 = (len(np.unique(side.clusters[mine])) for side, mine in zip((members, controls), top, strict=True))
        return Measurement(
            test=self.name,
            test_version=self.version,
            title=self.title,
            statistic="excess_auc",
            question=self.question,
            answer=(
                f"Among the most atypical quarter the area under the ROC curve is {between(found)} within strata of like atypicality, "
                f"p = {p_value:.2g} against labels shuffled within them; {called:,} of {len(members.ids):,} members are called exposed."
            ),
            estimate=found,
            control=chance(found),
            excess=over_chance(found),
            p_value=p_value,
            members=len(members.ids),
            controls=len(controls.ids),
            gates=blind_gates(evidence["blind"], blind, level, parameters.blind_margin),
            power=_power(n1, n0, level),
            strata=(
                *beside(members, controls, fine, top, level),
                *areas,
                *called_by_quarter(members, each, quarters[0], parameters.fdr, level),
                *most_exposed(members, each, len(controls.ids), parameters.fdr, level),
            ),
            figures=(quarter_figure(areas),),
            exhibits=exhibits(members, each, parameters.fdr),
            caveats=_caveats(measuring, members, controls, copied, parameters.fdr, references),
            method=(
                "How atypical an image is, is its mean distance to its nearest other images, members and controls alike; members are "
                "compared with controls of the same stratum of atypicality only, so that an image that is hard for every model is no "
                "sign. The score is the likelihood ratio to the reference models, or without them minus the mean log loss; labels are "
                "shuffled within strata, whole clusters at a time. Single members get conformal p-values against all controls' scores, "
                "each relative to its stratum, and those called exposed keep the false discovery rate (Benjamini-Hochberg)."
            ),
            advice=(
                "Tell the persons behind the images that are called exposed, or leave these out and train again; add more images like "
                "them, or train with differential privacy, which bounds what one image can change."
            ),
            source=self.source,
            observations=tuple(table.record.id for table in evidence.values()),
        )


def _power(n1: int, n0: int, level: float) -> Power:
    effect = smallest_detectable_auc(max(n1, 1), max(n0, 1), level, PROBABILITY) - 0.5
    statement = (
        f"With {n1:,} members and {n0:,} controls (independent units) in the most atypical quarter an area of {0.5 + effect:.3f} would be "
        "called a signal four times in five."
    )
    return Power(smallest_effect=effect, unit="ratio", probability=PROBABILITY, statement=statement)


def _caveats(
    measuring: Measuring, members: Side, controls: Side, copied: int, fdr: float, references: int
) -> tuple[str, ...]:
    # With every p-value at its least, 1 / (n0 + 1), so many members must have it before any can be called.
    least = math.ceil(len(members.ids) / ((len(controls.ids) + 1) * fdr))
    found = [
        "An image called exposed behaves unlike images that were not in training; some of those called are not (false discovery rate).",
        f"No p-value lies below 1/{len(controls.ids) + 1:,}: fewer than {least:,} exposed images cannot be called; more controls can.",
    ]
    if len(np.unique(members.clusters)) < len(members.ids):
        found.append(
            "Images of one person or document are not independent: the rate of false calls is kept for single images only."
        )
    if copied:
        found.append(f"{copied:,} controls were left out because the same image stands among the members.")
    if not references:
        found.append("There is no reference model, so what is hard for every model is taken out by atypicality alone.")
    if measuring.facts.subject.controls_drawn != "at-random-before-training":
        found.append("The controls were not declared as drawn at random before training.")
    return tuple(found)


TEST = Outliers()
