"""Membership: can the model's scores tell records it was trained on from held-out ones, better than a blind classifier?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from auditor.battery.blind import blind_gates
from auditor.battery.estimates import between
from auditor.battery.language.membership_scores import SCORES, read_scores
from auditor.battery.membership_outcome import area, caveats, forecast, point, power, primary, roc_figure, strata
from auditor.core.evidence import Need
from auditor.core.finding import Measurement, Power
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.statistics.roc import least_controls, permutation_max_auc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.contract.protocol import Access, Facts, Measuring
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
        return forecast(facts, parameters.records, parameters.fpr)

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
            strata=tuple(strata(areas, points, adjusted, members, controls, best, family)),
            figures=(roc_figure(members, controls, best, areas[best], evidence["blind"], BLIND),),
            caveats=caveats(measuring.facts, controls, parameters.fpr),
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


TEST = Membership()
