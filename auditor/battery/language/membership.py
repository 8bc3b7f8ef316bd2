"""Membership: can the model's scores tell records it was trained on from held-out ones, better than a blind classifier?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from auditor.battery.blind import blind_gates
from auditor.battery.dataset_inference import shared_codes, unit_codes, whole_set
from auditor.battery.estimates import between
from auditor.battery.language.membership_scores import SCORES, calibrated, features, read_scores
from auditor.battery.membership_outcome import area, caveats, forecast, point, power, primary, roc_figure, strata
from auditor.battery.per_record import areas
from auditor.contract.access import gives
from auditor.core.evidence import Need
from auditor.core.finding import Measurement, Power
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.statistics.out_of_fold import folds_of
from auditor.statistics.roc import least_controls, permutation_max_auc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.battery.membership_outcome import Scored
    from auditor.contract.paired import PerRecord
    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.finding import Stratum
    from auditor.core.subject import Modality
    from auditor.evidence.table import ObservedTable

BLIND = ("bag_of_words", "character_ngrams", "surface")


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
    references: PositiveInt = 1
    """Reference models that score the records, as many as there are; from two on, LiRA. Each costs a pass."""
    rmia_a: float = Field(default=0.3, ge=0.0, le=1.0)
    """How much a model that never saw a record falls behind on it, for RMIA."""
    dc_pdd: bool = False
    """Also count tokens over members and controls, for DC-PDD; no model is asked."""
    recall: int = Field(default=0, ge=0)
    """Controls that stand before every record, for ReCaLL (7 in the literature); 0: none. It costs a longer pass over both sides."""
    neighbours: int = Field(default=0, ge=0, le=200)
    """Neighbours of every record that the model itself proposes, for the neighbourhood score (25 in the literature); 0: none. Each
    costs a pass over both sides."""
    folds: int = Field(default=5, ge=2)
    """Folds in which dataset inference learns."""


WITHOUT_MOMENTS = (
    "Min-K%++ takes the likelihood of every token, which the model behind its server does not give: it is left out."
)


class Membership:
    """Loss, zlib, lowercase, Min-K%, Min-K%++; DC-PDD, ReCaLL and neighbourhood where asked; reference, RMIA, LiRA where they can be."""

    name = "language/membership"
    version = 3
    title = "Membership inference"
    question = "Can the model's scores tell the records it was trained on from held-out ones?"
    access: Access = "distribution"
    modality: Modality = "text"
    statistics = ("excess_tpr", "excess_auc")
    source = (
        "Scores: Yeom et al. (2018); Carlini et al. (2021), arXiv 2012.07805 (zlib, lowercase); Shi et al. (2023), Min-K%; "
        "Zhang et al. (2024), Min-K%++; Zhang et al. (2024), DC-PDD; ReCaLL (2024); Mattern et al. (2023), neighbourhood; Zarifzadeh, "
        "Liu, Shokri (2024), arXiv 2312.03262 (RMIA); Carlini et al. (2022), arXiv 2112.03570 (LiRA). Whole set: Maini, Jia, Papernot, "
        "Dziedzic (2024), LLM Dataset Inference. Blind baseline: Das, Zhang, Tramer (2024). Family: Westfall and Young (1993)."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return the scores of members and controls, as they are and in lower case, and the blind baseline."""
        if facts.subject.controls is None:
            msg = "the subject has no control records, so membership has nothing to compare with"
            raise UnsupportedError(msg, hint="Supply held-out records of the same distribution as data.controls.")
        sample = {"records": parameters.records, "max_tokens": parameters.max_tokens}
        # Moments take the whole distribution, which no server gives: there Min-K%++ is left out.
        whole = {**sample, "moments": True} if gives(facts.subject.model, "scores-tokens") else sample
        found: dict[str, Need] = {}
        for dataset in ("members", "controls"):
            found[dataset] = Need(observer="token-scores", dataset=dataset, parameters=whole)
            found[f"{dataset}-lowercase"] = Need(
                observer="token-scores", dataset=dataset, parameters={**sample, "transform": "lowercase"}
            )
            for number in range(min(parameters.references, len(facts.subject.references))):
                role = f"reference-{number}"
                found[f"{dataset}-{role}"] = Need(
                    observer="token-scores", dataset=dataset, model=role, parameters=sample
                )
        if parameters.dc_pdd:
            found["frequencies"] = Need(
                observer="token-frequencies", dataset="members+controls", model="subject", parameters=sample
            )
        if parameters.recall:
            found["context"] = Need(
                observer="context-scores",
                dataset="members+controls",
                model="subject",
                parameters={**sample, "shots": parameters.recall},
            )
        if parameters.neighbours:
            if "proposes-tokens" not in facts.subject.model.capabilities:
                msg = "the model does not say what else could stand in a text, so records have no neighbours"
                raise UnsupportedError(
                    msg, hint="Leave `neighbours` out, or audit the weights through the adapter causal-lm."
                )
            found["neighbours"] = Need(
                observer="neighbour-scores",
                dataset="members+controls",
                model="subject",
                parameters={**sample, "neighbours": parameters.neighbours},
            )
        # Half of the records teach the blind classifiers, so twice as many are drawn where there are: no model is asked.
        drawn = None if parameters.records is None else 2 * parameters.records
        found["blind"] = Need(
            observer="blind-baseline", dataset="members+controls", model=None, parameters={"records": drawn}
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
        members, controls = (read_scores(evidence, side, parameters.min_k) for side in ("members", "controls"))
        if min(len(members.ids), len(controls.ids)) < 2:
            msg = f"{len(members.ids)} members and {len(controls.ids)} controls have a token that can be scored"
            raise UnsupportedError(msg, hint="Supply more and longer records.")
        members, controls = calibrated(members, controls, parameters.rmia_a)
        names = [name for name in SCORES if name in members.scores]
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
        best, statistic, found, control, excess = primary(areas, points, p_value, 1.0 - level)
        shown = f"area under the ROC curve {between(areas[best])}"
        if points:
            shown = (
                f"true positive rate {between(points[best][0])} at a false positive rate of {parameters.fpr:g}; {shown}"
            )
        return Measurement(
            test=self.name,
            test_version=self.version,
            access=self.access if "min_k_plus_plus" in names else "scores",
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
            power=power(members.units, controls.units, parameters.fpr, level),
            strata=(
                *strata(areas, points, adjusted, members, controls, best, family),
                *_whole_set(parameters, members, controls, measuring),
            ),
            figures=(roc_figure(members, controls, best, areas[best], evidence["blind"], BLIND),),
            caveats=(
                *caveats(measuring.facts, controls, parameters.fpr),
                *(() if "min_k_plus_plus" in names else (WITHOUT_MOMENTS,)),
            ),
            method=(
                f"Each record gets {len(names)} scores from the passes ({', '.join(names)}). The area "
                "under each ROC curve and the true positive rate at a threshold taken from the controls have intervals that hold "
                "for all scores together (Bonferroni). The p-value compares the largest area with those of shuffled labels, whole "
                "clusters at a time. As a control, classifiers that never see the model learn from one half of the records, divided by "
                "person or document, and are scored once on the other half; their intervals hold for all of them together. What the "
                "whole set shows is learned on other folds, and anew on every shuffle."
            ),
            advice=(
                "Train for fewer passes, on deduplicated data, or with differential privacy; look at the strata for who is recognised. "
                "If the blind baseline is the reason for an invalid outcome, hold records out at random before training."
            ),
            source=self.source,
            observations=tuple(table.record.id for table in evidence.values()),
        )

    def per_record(
        self,
        parameters: Parameters,
        evidence: Mapping[str, ObservedTable],
        measuring: Measuring,  # noqa: ARG002
    ) -> Sequence[PerRecord]:
        """Return the scores of members and controls: against reference models where there are any, then the loss."""
        members, controls = (read_scores(evidence, side, parameters.min_k) for side in ("members", "controls"))
        members, controls = calibrated(members, controls, parameters.rmia_a)
        return areas(members, controls, ("reference", "loss"), {})


def _whole_set(parameters: Parameters, members: Scored, controls: Scored, measuring: Measuring) -> list[Stratum]:
    """Return dataset inference, where there are enough persons, documents or records to divide into folds."""
    if min(members.units, controls.units) < parameters.folds:
        return []
    rng = generator(measuring.seed, TEST.name, "folds")
    folds = folds_of(shared_codes((members, controls)), parameters.folds, rng)
    codes, units = unit_codes(members, controls)
    shuffles = generator(measuring.seed, TEST.name, "whole set")
    learned = features(members, controls)
    level = measuring.facts.confidence
    return [whole_set(learned, codes, units, folds, shuffles, parameters.permutations, level, "record")]


TEST = Membership()
