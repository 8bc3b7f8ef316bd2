"""Inpainting: given half of a training image, does the model fill in the rest nearer to the truth than for held-out images?"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from auditor.battery.blind import blind_gates
from auditor.battery.estimates import between
from auditor.battery.membership_outcome import (
    Scored,
    area,
    caveats,
    chance,
    forecast,
    over_chance,
    point,
    power,
    roc_figure,
    strata,
)
from auditor.core.evidence import Need
from auditor.core.finding import Exhibit, Measurement, Power
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.evidence.table import Ragged
from auditor.statistics.roc import least_controls, permutation_max_auc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.subject import Modality
    from auditor.evidence.table import ObservedTable

MOST_EXHIBITS = 5
BESIDE = ", beside the reference"
"""Of the name of a score that is a difference to a reference model."""


class Parameters(Record):
    """Which images are completed, and how the completions are judged."""

    records: PositiveInt | None = 500
    """Records drawn at random from members and from controls; null: all."""
    completions: PositiveInt = 8
    """Times each image is completed, from seeds that all images and models share."""
    half: Literal["left", "right", "centre"] = "left"
    """What is masked: a half, or a middle rectangle of about half of the pixels."""
    steps: PositiveInt = 50
    """Denoising steps."""
    guidance: float = Field(default=1.0, ge=1.0)
    """Guidance scale; 1: none."""
    best: NonNegativeInt = 0
    """Completions of least denoising loss that make a further score, chosen without the truth; 0: that score is left out."""
    losses: PositiveInt = 4
    """Noises from which that loss is measured."""
    fpr: float = Field(default=0.01, gt=0.0, lt=0.5)
    """False positive rate at which a true positive rate is printed, where the controls can carry it."""
    permutations: int = Field(default=999, ge=99)
    """Permutations of the membership labels."""
    blind_margin: float = Field(default=0.05, ge=0.0, lt=0.5)
    """How far above 0.5 a blind classifier's area may lie before members and controls count as told apart."""
    pictures: Literal["none", "masked", "full"] = "masked"
    """Pictures of completions beside the training image: none, pixelated beyond recognition, or as they are."""


class Inpainting:
    """Distance of completions to the truth on the masked pixels: members against controls, or both beside a reference model."""

    name = "diffusion/inpainting"
    version = 1
    title = "Inpainting"
    question = (
        "Given half of a training image, does the model fill in the rest nearer to the truth than for held-out images?"
    )
    access: Access = "weights"
    modality: Modality = "image"
    statistics = ("excess_auc",)
    source = (
        "Carlini et al. (2023), Extracting Training Data from Diffusion Models, arXiv 2301.13188 (inpainting). "
        "Family: Westfall and Young (1993)."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return completions of members and controls, by the model and by a reference where there is one, and the blind baseline."""
        subject = facts.subject
        if "inpaints" not in subject.model.capabilities:
            msg = "the model cannot complete images"
            raise UnsupportedError(msg, hint="Inpainting needs a diffusion pipeline whose images can be masked.")
        if subject.controls is None:
            msg = "the subject has no controls, so nothing says how well images can be completed without memory"
            raise UnsupportedError(msg, hint="Supply held-out images of the same distribution as data.controls.")
        asked = {
            "records": parameters.records,
            "completions": parameters.completions,
            "half": parameters.half,
            "steps": parameters.steps,
            "guidance": parameters.guidance,
            "losses": parameters.losses if parameters.best else 0,
            "pictures": "none",
        }
        found: dict[str, Need] = {}
        compared = bool(subject.references) and "inpaints" in subject.references[0].capabilities
        for dataset in ("members", "controls"):
            shown = {"pictures": parameters.pictures} if dataset == "members" else {}
            found[dataset] = Need(observer="completions", dataset=dataset, parameters={**asked, **shown})
            if compared:
                found[f"{dataset}-reference"] = Need(
                    observer="completions", dataset=dataset, model="reference-0", parameters={**asked, "losses": 0}
                )
        # Half of the records teach the blind classifiers, so twice as many are drawn where there are: no model is asked.
        drawn = None if parameters.records is None else 2 * parameters.records
        captions = "conditions-on-text" in subject.model.capabilities
        found["blind"] = Need(
            observer="image-blind-baseline",
            dataset="members+controls",
            model=None,
            parameters={"records": drawn, "captions": captions},
        )
        return found

    def forecast(self, parameters: Parameters, facts: Facts) -> Power:
        """Return what the sample could show."""
        return forecast(facts, parameters.records, parameters.fpr)

    def measure(
        self, parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring
    ) -> Measurement:
        """Return how well the distance of completions tells members from controls."""
        level = measuring.facts.confidence
        members, controls = (read_completions(evidence, side, parameters.best) for side in ("members", "controls"))
        names = list(members.scores)
        family = 1.0 - (1.0 - level) / len(names)
        areas = {name: area(members, controls, name, family) for name in names}
        points = {}
        if len(controls.ids) >= least_controls(parameters.fpr):
            points = {name: point(members, controls, name, parameters.fpr, family) for name in names}
        p_value, adjusted = permutation_max_auc(
            members.stacked(names),
            controls.stacked(names),
            generator(measuring.seed, self.name, "labels"),
            parameters.permutations,
            members.clusters.astype(str),
            controls.clusters.astype(str),
        )
        shown = p_value <= 1.0 - level and max(found.low for found in areas.values()) > 0.5
        # Where nothing is shown, what is printed must bound every score, so it is the one that could be largest.
        best = max(names, key=lambda name: areas[name].value if shown else areas[name].bound)
        found = areas[best]
        blind = _blind_names(measuring.facts)
        return Measurement(
            test=self.name,
            test_version=self.version,
            title=self.title,
            statistic="excess_auc",
            question=self.question,
            answer=(
                f"Members are completed nearer to the truth than controls with an area under the ROC curve of {between(found)} by the "
                f"best of {len(names)} scores ({best}); p = {p_value:.2g} against shuffled labels."
            ),
            estimate=found,
            control=chance(found),
            excess=over_chance(found),
            p_value=p_value,
            members=len(members.ids),
            controls=len(controls.ids),
            gates=blind_gates(evidence["blind"], blind, level, parameters.blind_margin),
            power=power(members.units, controls.units, parameters.fpr, level),
            strata=tuple(strata(areas, points, adjusted, members, controls, best, level)),
            figures=(roc_figure(members, controls, best, found, evidence["blind"], blind),),
            exhibits=_exhibits(members, controls, best, evidence["members"].column("picture")),
            caveats=_caveats(parameters, measuring.facts, controls, compared=any(BESIDE in name for name in names)),
            method=(
                f"Of each image the {parameters.half} part is masked and made again {parameters.completions} times by the model's own "
                "inpainting, from seeds that all images share; a score is the distance to the truth on the masked pixels, as the mean and "
                "as the least over the completions, and its difference to a reference model where there is one. Areas have intervals that "
                "hold for all scores together (Bonferroni), and the p-value compares the largest with those of shuffled labels, whole "
                "clusters at a time. Classifiers that never see the model do the same as a control."
            ),
            advice=(
                "Look at the completions listed beside their images: is the masked part plausible or is it the image's own? Remove "
                "duplicates, exact and near, and train for fewer passes."
            ),
            source=self.source,
            observations=tuple(table.record.id for table in evidence.values()),
        )


def read_completions(evidence: Mapping[str, ObservedTable], side: str, best: int = 0) -> Scored:
    """Return one score per record and way of reading its completions, higher for nearer ones.

    Args:
        evidence: The observations.
        side: `members` or `controls`.
        best: Completions of least loss that make a further score; 0: none.

    Raises:
        UnsupportedError: The reference completed other records.
    """
    table = evidence[side]
    ids = table.column("id")
    scores = {name: -np.asarray(table.column(name), dtype=np.float64) for name in ("mean", "nearest")}
    if best and "losses" in table.names:
        scores[f"mean of the {best} of least loss"] = -_of_least_loss(table, best)
    if f"{side}-reference" in evidence:
        other = evidence[f"{side}-reference"]
        if ids.tolist() != other.column("id").tolist():
            msg = f"the reference model completed other {side} than the model did"
            raise UnsupportedError(msg, hint="Let both observations ask for the same sample.")
        for name in ("mean", "nearest"):
            scores[name + BESIDE] = np.asarray(other.column(name), dtype=np.float64) + scores[name]
    return Scored(ids, table.column("cluster"), table.column("copies").astype(np.int64), scores)


def _of_least_loss(table: ObservedTable, best: int) -> NDArray[np.float64]:
    """Return the mean distance of the completions with the least denoising loss: what is chosen without knowing the truth."""
    found = []
    for shard in table.shards("distances", "losses"):
        distances, losses = shard["distances"], shard["losses"]
        if isinstance(distances, Ragged) and isinstance(losses, Ragged):
            for row in range(len(distances)):
                chosen = np.argsort(np.asarray(losses[row]), kind="stable")[:best]
                found.append(float(np.asarray(distances[row], dtype=np.float64)[chosen].mean()))
    return np.array(found)


def _blind_names(facts: Facts) -> tuple[str, ...]:
    captions = "conditions-on-text" in facts.subject.model.capabilities
    return ("pixels", "surface", "captions") if captions else ("pixels", "surface")


def _exhibits(members: Scored, controls: Scored, best: str, pictures: NDArray[np.object_]) -> tuple[Exhibit, ...]:
    """Return the members that are completed nearer than any control, those with a picture first, then the nearest."""
    limit = float(controls.scores[best].max())
    order = [row for row in np.argsort(-members.scores[best], kind="stable") if members.scores[best][row] > limit]
    order.sort(key=lambda row: not pictures[row])
    return tuple(
        Exhibit(
            record=str(members.ids[row]),
            excerpt=f"completed nearer to the truth than any of {len(controls.ids):,} controls",
            note=(
                f"distance on the masked pixels: mean {-members.scores['mean'][row]:.3f}, least "
                f"{-members.scores['nearest'][row]:.3f}; {members.copies[row]} copies in training"
            ),
            picture=base64.b64encode(pictures[row] or b"").decode(),
        )
        for row in order[:MOST_EXHIBITS]
    )


def _caveats(parameters: Parameters, facts: Facts, controls: Scored, *, compared: bool) -> tuple[str, ...]:
    beside = (
        "The reference model must have seen neither members nor controls: one that was trained on the controls completes them better, "
        "which looks like memory of the members."
        if compared
        else "Without a reference model an image that is easy to complete cannot be told from one that is known; only the sets can."
    )
    return (
        beside,
        f"{parameters.completions} completions of one mask are tested; the published experiment made 5,000 of each image.",
        *caveats(facts, controls, parameters.fpr),
    )


TEST = Inpainting()
