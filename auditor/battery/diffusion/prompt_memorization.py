"""Prompt memorization: does the network react to captions of its training data unlike to captions it never saw?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from auditor.battery.blind import blind_gates
from auditor.battery.copies import copies_bins
from auditor.battery.diffusion.calibration import below, calibrating, reached_share
from auditor.battery.diffusion.captions import (
    SCORES,
    Captions,
    length_gates,
    length_matched_roc,
    read_captions,
    require_captions,
    units,
)
from auditor.battery.estimates import between, estimate, one_sided, rate
from auditor.core.evidence import Need
from auditor.core.finding import Estimate, Exhibit, Measurement, Power, Stratum
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.statistics.power import smallest_detectable_auc
from auditor.statistics.stratified import permutation_max_stratified, strata_of, stratified_auc, usable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from auditor.battery.diffusion.captions import Strata
    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.subject import Modality
    from auditor.evidence.table import ObservedTable

BLIND = ("bag_of_words", "character_ngrams", "surface")
PROBABILITY = 0.8
MOST_EXHIBITS = 5


class Parameters(Record):
    """Which captions are scored, and how the scores are judged."""

    records: PositiveInt | None = 500
    """Records drawn at random from members and from controls; null: all."""
    steps: PositiveInt = 20
    """Denoising steps of the trajectory."""
    noises: PositiveInt = 4
    """Starting noises, the same for every caption."""
    guidance: float = Field(default=7.5, ge=1.0)
    """Guidance scale along the trajectory."""
    layer: NonNegativeInt = 3
    """Cross-attention layer of score E, from 0."""
    strata: PositiveInt = 20
    """Most strata of caption length within which captions are compared; equal lengths are always in one."""
    fpr: float = Field(default=0.01, gt=0.0, lt=0.5)
    """Share of captions of calibrating controls above the threshold at which captions are called memorized."""
    permutations: int = Field(default=999, ge=99)
    """Permutations of the membership labels within strata."""
    margin: float = Field(default=0.05, ge=0.0, lt=0.5)
    """How far from 0.5 the areas of caption length and of blind classifiers may lie."""


class PromptMemorization:
    """Text-conditional noise magnitude, one-step reproduction and cross-attention entropy, length against equal length."""

    name = "diffusion/prompt-memorization"
    version = 1
    title = "Prompt memorization"
    question = "Does the network react to captions of its training data unlike to captions it never saw?"
    access: Access = "weights"
    modality: Modality = "image"
    statistics = ("excess_auc",)
    source = (
        "Wen, Liu, Chen, Lyu (2024), Detecting, Explaining, and Mitigating Memorization in Diffusion Models, arXiv 2407.21720; "
        "Webster (2023), arXiv 2305.08694; Ren et al. (2024), arXiv 2403.11052. Family: Westfall and Young (1993)."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return the scores of members' and controls' captions, and the blind baseline of the captions."""
        require_captions(facts)
        capabilities = facts.subject.model.capabilities
        if "guides" not in capabilities or "denoises" not in capabilities:
            msg = "the network has no null condition, so nothing says what it would do without the caption"
            raise UnsupportedError(msg, hint="Train with captions dropped at times (classifier-free guidance).")
        asked = {
            "records": parameters.records,
            "steps": parameters.steps,
            "noises": parameters.noises,
            "guidance": parameters.guidance,
            "layer": parameters.layer,
            "attention": "shows-attention" in capabilities,
        }
        # Half of the records teach the blind classifiers, so twice as many are drawn where there are: no model is asked.
        blind = {"records": None if parameters.records is None else 2 * parameters.records}
        return {
            "members": Need(observer="prompt-scores", dataset="members", parameters=asked),
            "controls": Need(observer="prompt-scores", dataset="controls", parameters=asked),
            "blind": Need(observer="blind-baseline", dataset="members+controls", model=None, parameters=blind),
        }

    def forecast(self, parameters: Parameters, facts: Facts) -> Power:
        """Return what the sample could show."""
        sides = [identity.clusters for identity in (facts.subject.members, facts.subject.controls) if identity]
        capped = [side if parameters.records is None else min(side, parameters.records) for side in sides]
        return power_of_area(capped[0], capped[-1] if len(capped) > 1 else 1, facts.confidence)

    def measure(
        self, parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring
    ) -> Measurement:
        """Return how well the best score tells members' captions from controls' of equal length."""
        level = measuring.facts.confidence
        members, controls = read_captions(evidence["members"]), read_captions(evidence["controls"])
        lengths = members.lengths, controls.lengths
        strata = strata_of(*lengths, parameters.strata, members.clusters, controls.clusters)
        kept = usable(*strata, *(np.unique(side.clusters, return_inverse=True)[1] for side in (members, controls)))
        if not len(kept):
            msg = f"{len(members.ids)} members' and {len(controls.ids)} controls' captions have no length in common"
            raise UnsupportedError(
                msg, hint="Supply more records, or captions of like length; or ask for fewer strata."
            )
        names = [name for name in SCORES if name in members.scores]
        family = 1.0 - (1.0 - level) / len(names)
        areas = {name: self._area(members, controls, name, strata, family) for name in names}
        p_value, adjusted = permutation_max_stratified(
            np.stack([members.scores[name] for name in names]),
            np.stack([controls.scores[name] for name in names]),
            *strata,
            generator(measuring.seed, self.name, "labels"),
            parameters.permutations,
            members.clusters,
            controls.clusters,
        )
        shown = p_value <= 1.0 - level and max(found.low for found in areas.values()) > 0.5
        # Where nothing is shown, what is printed must bound every score, so it is the one that could be largest.
        best = max(names, key=lambda name: areas[name].value if shown else areas[name].bound)
        found = areas[best]
        chance, excess = above_chance(found)
        half = calibrating(controls.clusters.astype(object), generator(measuring.seed, self.name, "calibration"))
        flags = {name: _flagged(members, controls, half, name, parameters.fpr) for name in names}
        return Measurement(
            test=self.name,
            test_version=self.version,
            title=self.title,
            statistic="excess_auc",
            question=self.question,
            answer=(
                f"Among captions of equal length the best of {len(names)} scores ({best}) reaches an area under the ROC curve of "
                f"{between(found)}; p = {p_value:.2g} against labels shuffled within lengths."
            ),
            estimate=found,
            control=chance,
            excess=excess,
            p_value=p_value,
            members=len(members.ids),
            controls=len(controls.ids),
            gates=(
                *length_gates(members, controls, strata, kept, parameters.margin, level),
                *blind_gates(evidence["blind"], BLIND, level, parameters.margin),
            ),
            power=power_of_area(units(members), units(controls), level),
            strata=tuple(
                self._strata(parameters, members, controls, strata, names, areas, adjusted, best, flags, half, level)
            ),
            figures=(length_matched_roc(members, controls, strata, best, found),),
            exhibits=_exhibits(members, best, flags[best][0]),
            caveats=_caveats(parameters, measuring, members, controls, int(half.sum())),
            method=(
                "Every caption is denoised from the same noises with guidance, without any image of the data, and scored by how much it "
                "moves the network's prediction (text-conditional noise magnitude, over all steps and at the first; one-step "
                "reproduction) and, where the network shows it, by the entropy of its cross-attention. Members' captions are held "
                "against controls' of like length; areas are means over the lengths, with intervals that hold for all scores together. "
                "The p-value compares the largest area with those of labels shuffled within lengths, whole clusters at a time."
            ),
            advice=(
                "Generate many images from the captions listed and compare them with their images (diffusion/prompted-extraction). Remove "
                "duplicates of the images and vary repeated captions before training again."
            ),
            source=self.source,
            observations=tuple(table.record.id for table in evidence.values()),
        )

    def _area(
        self,
        members: Captions,
        controls: Captions,
        name: str,
        strata: Strata,
        level: float,
        chosen: NDArray[np.bool_] | None = None,
    ) -> Estimate:
        mine = np.ones(len(members.ids), dtype=np.bool_) if chosen is None else chosen
        found, narrower = (
            stratified_auc(
                members.scores[name][mine],
                controls.scores[name],
                strata[0][mine],
                strata[1],
                each,
                members.clusters[mine],
                controls.clusters,
            )
            for each in (level, one_sided(level))
        )
        return estimate(found, "ratio", min(len(set(members.clusters[mine].tolist())), units(controls)), narrower)

    def _strata(
        self,
        parameters: Parameters,
        members: Captions,
        controls: Captions,
        strata: Strata,
        names: Sequence[str],
        areas: Mapping[str, Estimate],
        adjusted: Sequence[float],
        best: str,
        flags: Mapping[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]],
        half: NDArray[np.bool_],
        level: float,
    ) -> list[Stratum]:
        found = [
            Stratum(
                by="score, area among equal lengths", label=name, estimate=areas[name], note=f"adjusted p = {p:.2g}"
            )
            for name, p in zip(names, adjusted, strict=True)
        ]
        found += [
            Stratum(
                by=f"score, captions flagged at {parameters.fpr:g} of calibrating controls",
                label=name,
                estimate=rate(flags[name][0], members.clusters.astype(object), level),
                control=rate(flags[name][1], controls.clusters[~half].astype(object), level)
                if not half.all()
                else None,
            )
            for name in names
        ]
        for label, chosen, _ in copies_bins(members.copies):
            sides = (np.unique(side, return_inverse=True)[1] for side in (members.clusters[chosen], controls.clusters))
            if len(usable(strata[0][chosen], strata[1], *sides)):
                part = self._area(members, controls, best, strata, level, chosen)
                found.append(Stratum(by=f"copies, area of {best} among equal lengths", label=label, estimate=part))
        return found


def above_chance(found: Estimate) -> tuple[Estimate, Estimate]:
    """Return chance as the control of an area, and the area minus chance."""
    chance = found.model_copy(update={"value": 0.5, "low": 0.5, "high": 0.5, "upper": None, "method": "chance, exact"})
    shifted = {name: getattr(found, name) - 0.5 for name in ("value", "low", "high")}
    return chance, found.model_copy(update={**shifted, "upper": found.bound - 0.5})


def power_of_area(n1: int, n0: int, level: float) -> Power:
    """Return what an area under the ROC curve could show with so many independent units on each side."""
    effect = min(smallest_detectable_auc(max(n1, 1), max(n0, 1), level, PROBABILITY), 1.0) - 0.5
    statement = (
        f"With {n1:,} members and {n0:,} controls (independent units) an area of {0.5 + effect:.3f} would be called a signal four "
        "times in five."
    )
    return Power(smallest_effect=effect, unit="ratio", probability=PROBABILITY, statement=statement)


def _flagged(
    members: Captions, controls: Captions, half: NDArray[np.bool_], name: str, fpr: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which members and which controls that did not calibrate lie above the threshold of the half that did."""
    threshold = -below(-controls.scores[name][half], fpr)
    return members.scores[name] > threshold, controls.scores[name][~half] > threshold


def _exhibits(members: Captions, best: str, flagged: NDArray[np.bool_]) -> tuple[Exhibit, ...]:
    order = [row for row in np.argsort(-members.scores[best], kind="stable") if flagged[row]][:MOST_EXHIBITS]
    return tuple(
        Exhibit(
            record=str(members.ids[row]),
            excerpt=str(members.excerpts[row]),
            note=f"{best} {members.scores[best][row]:.4g}, {members.copies[row]} copies in training",
        )
        for row in order
    )


def _caveats(
    parameters: Parameters, measuring: Measuring, members: Captions, controls: Captions, calibrated: int
) -> tuple[str, ...]:
    found = [
        "A caption that stands out is not yet an image that came out: extraction confirms it.",
        "The one-step score is Webster's denoising confidence carried over to variance-preserving networks.",
    ]
    reached = reached_share(calibrated, parameters.fpr)
    if reached > parameters.fpr:
        found.append(
            f"{calibrated:,} calibrating controls carry a threshold at {reached:.3g}, not at {parameters.fpr:g}."
        )
    if int(members.same.max()) > 1 or int(controls.same.max()) > 1:
        found.append(
            f"{int((members.same > 1).sum()):,} members' and {int((controls.same > 1).sum()):,} controls' captions stand with several "
            "records of the sample; each counts."
        )
    if measuring.facts.subject.controls_drawn != "at-random-before-training":
        found.append("The controls were not declared as drawn at random before training.")
    return tuple(found)


TEST = PromptMemorization()
