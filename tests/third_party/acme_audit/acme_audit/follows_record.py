"""How long the model follows a record by itself: the longest run of arg-max hits, members against controls."""

from __future__ import annotations

import numpy as np

from auditor.core.evidence import Need
from auditor.core.finding import Estimate, Measurement, Power
from auditor.core.record import Record
from auditor.errors import UnsupportedError
from auditor.statistics.location import hodges_lehmann, median_interval


class Parameters(Record):
    """Parameters of the test."""

    records: int = 200
    """Records to score on each side."""


def _longest_runs(table) -> np.ndarray:
    runs = []
    for shard in table.shards("hit"):
        for row in range(len(shard["hit"])):
            hits = np.concatenate([[0], shard["hit"][row].astype(int), [0]])
            edges = np.flatnonzero(np.diff(hits))
            runs.append((edges[1::2] - edges[::2]).max(initial=0))
    return np.array(runs, dtype=float)


class FollowsRecord:
    """The test."""

    name = "acme/follows-record"
    version = 1
    title = "How long the model follows a record by itself"
    question = "Does the model follow training records further than unseen ones?"
    access = "scores"
    modality = "text"
    statistics = ("excess_run",)
    source = "Acme Audit Ltd, internal method note 7 (2026)."
    parameters = Parameters

    def needs(self, parameters, facts):
        if facts.subject.controls is None:
            raise UnsupportedError("there are no controls", hint="Supply held-out records.")
        return {
            split: Need(observer="token-scores", dataset=split, parameters={"records": parameters.records})
            for split in ("members", "controls")
        }

    def forecast(self, parameters, facts):
        return Power(smallest_effect=1.0, unit="tokens", probability=0.8, statement="A run one token longer.")

    def measure(self, parameters, evidence, measuring):
        from scipy.stats import mannwhitneyu

        level = measuring.facts.confidence
        runs = {split: _longest_runs(evidence[split]) for split in ("members", "controls")}
        shift = hodges_lehmann(runs["members"], runs["controls"], level)
        p_value = float(mannwhitneyu(runs["members"], runs["controls"], alternative="greater").pvalue)
        sides = {split: median_interval(values, level) for split, values in runs.items()}

        def estimate(interval, n):
            return Estimate(
                value=interval.value,
                low=min(interval.low, interval.value),
                high=max(interval.high, interval.value),
                level=level,
                unit="tokens",
                method=interval.method,
                n=n,
            )

        return Measurement(
            test=self.name,
            test_version=self.version,
            title=self.title,
            statistic="excess_run",
            question=self.question,
            answer=f"Members are followed {shift.value:.1f} tokens further than controls.",
            estimate=estimate(sides["members"], len(runs["members"])),
            control=estimate(sides["controls"], len(runs["controls"])),
            excess=estimate(shift, len(runs["members"])),
            p_value=p_value,
            members=len(runs["members"]),
            controls=len(runs["controls"]),
            power=self.forecast(parameters, measuring.facts),
            method="Longest run of arg-max hits in each record, compared by the Mann-Whitney test.",
            advice="Look at the records with the longest runs.",
            source=self.source,
            observations=tuple(table.record.id for table in evidence.values()),
        )


TEST = FollowsRecord()
