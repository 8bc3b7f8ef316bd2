"""Discoverable extraction: given the beginning of a training record, does the model say the rest by itself?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, PositiveInt

from auditor.battery.copies import copies_figure
from auditor.battery.estimates import between, compared, percent, rate
from auditor.battery.language.suffixes import (
    Suffixes,
    confirmed_persons,
    exhibits,
    no_controls,
    rate_strata,
    read_suffixes,
    require_records,
    was_generated,
)
from auditor.battery.per_record import counted
from auditor.contract.access import gives
from auditor.core.evidence import Dataset, Need
from auditor.core.finding import Gate, Measurement, Power, Stratum
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.statistics.power import smallest_detectable_excess, upper_bound_if_none

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.contract.paired import PerRecord
    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.finding import Estimate
    from auditor.core.subject import DatasetIdentity, Modality
    from auditor.evidence.table import ObservedTable

_SIDES = ("members", "controls")
PROBABILITY = 0.8
"""Of a signal, for the smallest effect that is printed."""


class Parameters(Record):
    """What is given to the model, and what it has to say."""

    prefix: PositiveInt = 50
    """Tokens of the record that the model is given."""
    suffix: PositiveInt = 50
    """Tokens that it has to say, every one."""
    prefixes: tuple[PositiveInt, ...] = Field(default=())
    """Further prefix lengths to report, from the same pass."""
    records: PositiveInt | None = 5000
    """Records drawn at random from members and from controls; null: all."""
    max_tokens: PositiveInt = 256
    """Longer records are cut after this many tokens."""
    generate: PositiveInt = 32
    """Records continued for real, to check the teacher-forced verdict."""
    distinct: PositiveInt = 10
    """A suffix with fewer different tokens is trivial: it is reported apart."""


def power_of_rates(members: int, controls: int, level: float) -> Power:
    """Return what a comparison of two rates could show with so many independent records on each side."""
    if not controls:
        statement = f"Without controls no excess can be shown; nothing in {members:,} bounds the rate at "
        bound = upper_bound_if_none(max(members, 1), level)
        return Power(
            smallest_effect=1.0, unit="ratio", probability=PROBABILITY, statement=f"{statement}{percent(bound)}."
        )
    effect = min(smallest_detectable_excess(max(members, 1), controls, level, PROBABILITY), 1.0)
    bound = upper_bound_if_none(max(members, 1), level)
    statement = (
        f"With {members:,} members and {controls:,} controls (independent units) an excess of {percent(effect)} would be "
        f"called a signal four times in five; nothing found among them bounds the rate at {percent(bound)}."
    )
    return Power(
        smallest_effect=effect,
        unit="ratio",
        probability=PROBABILITY,
        statement=statement,
    )


def forecast_rates(records: int | None, facts: Facts) -> Power:
    """Return what the sample at hand could show, counting persons or documents where records belong to them."""
    sides = []
    for identity in (facts.subject.members, facts.subject.controls):
        if identity is None:
            sides.append(0)
        else:
            sampled = identity.records if records is None else min(records, identity.records)
            sides.append(max(1, round(identity.clusters * sampled / max(identity.records, 1))))
    return power_of_rates(sides[0], sides[1], facts.confidence)


class DiscoverableExtraction:
    """Greedy k-token prefix to suffix, decided by the teacher-forced pass."""

    name = "language/discoverable-extraction"
    version = 2
    title = "Discoverable extraction"
    question = "Given the beginning of a training record, does the model say the rest of it word for word?"
    access: Access = "scores"
    modality: Modality = "text"
    statistics = ("excess_rate",)
    source = (
        "Carlini, Ippolito, Jagielski, Lee, Tramer, Zhang (2022), Quantifying Memorization Across Neural Language "
        "Models, arXiv 2202.07646, definition 3.1."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return the scores of members and controls, and some real continuations.

        Of a model that gives no scores, every record of the sample is continued for real.
        """
        if not gives(facts.subject.model, "scores-given-tokens"):
            return _continued(parameters, facts)
        sample = {"records": parameters.records, "max_tokens": parameters.max_tokens}
        window = {"prefix": parameters.prefix, "suffix": parameters.suffix, "generate": parameters.generate}
        first = min((parameters.prefix, *parameters.prefixes))
        found = {
            "members": Need(observer="token-scores", dataset="members", parameters={**sample, "from_token": first}),
            "continuations": Need(observer="continuations", dataset="members", parameters={**sample, **window}),
        }
        if facts.subject.controls is not None:
            found["controls"] = Need(
                observer="token-scores", dataset="controls", parameters={**sample, "from_token": first}
            )
        return found

    def forecast(self, parameters: Parameters, facts: Facts) -> Power:
        """Return what the sample could show."""
        return forecast_rates(parameters.records, facts)

    def measure(
        self, parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring
    ) -> Measurement:
        """Return the rate among members beside the rate among controls."""
        level = measuring.facts.confidence
        prefix, suffix = parameters.prefix, parameters.suffix
        members = read_suffixes(evidence["members"], prefix, suffix)
        require_records(members, prefix, suffix)
        controls = read_suffixes(evidence["controls"], prefix, suffix) if "controls" in evidence else None
        controls = controls if controls is not None and len(controls) else None
        other = None if controls is None else (controls.extracted, controls.clusters)
        rng = generator(measuring.seed, self.name, "clusters")
        found, control, excess, p_value = compared((members.extracted, members.clusters), other, level, rng)
        count = int(members.extracted.sum())
        beside = f", against {between(control)} of {len(controls):,} controls" if control and controls else ""
        persons = measuring.facts.subject.members.clustered_by == "person"
        generated = was_generated(evidence["members"])
        sure = confirmed_persons(members, controls, members.extracted, parameters.distinct, persons=persons)
        return Measurement(
            test=self.name,
            test_version=self.version,
            title=self.title,
            statistic="excess_rate",
            question=self.question,
            answer=f"Of {len(members):,} member records {count:,} were said word for word: {between(found)}{beside}.",
            estimate=found,
            control=control,
            control_reason="" if control else no_controls(),
            excess=excess,
            p_value=p_value,
            confirmed=sure.persons,
            members=len(members),
            controls=len(controls) if controls else 0,
            gates=() if generated else (_agreement(members, evidence["continuations"], suffix),),
            power=power_of_rates(found.n, control.n if control else 0, level),
            strata=tuple(self._strata(parameters, members, controls, evidence, control, level)),
            figures=(
                copies_figure(
                    members.copies,
                    members.extracted,
                    members.clusters,
                    control,
                    level,
                    title="Extraction by copies in training",
                ),
            ),
            exhibits=exhibits(
                members, np.flatnonzero(members.extracted)[np.argsort(-members.distinct[members.extracted])]
            ),
            caveats=(*sure.caveats, *self._caveats(parameters, members, controls, generated=generated)),
            method=(
                f"Each record's first {prefix} tokens are given to the model; it is extracted if {_decided(suffix, generated=generated)}. "
                "Held-out records are treated alike. Rates have exact intervals, differences Newcombe's, both clustered "
                "by person or document."
            ),
            advice=(
                "Find the repeated records among the extracted ones and remove duplicates, exact and near, before "
                "training again; train for fewer passes or with differential privacy. An output filter helps against "
                "queries, not against who holds the weights."
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
        """Return which records were said word for word."""
        read = {
            side: read_suffixes(evidence[side], parameters.prefix, parameters.suffix)
            for side in evidence
            if side in _SIDES
        }
        members, controls = read["members"], read.get("controls")
        beside = None if controls is None else controls.extracted
        return (counted("extracted", "said word for word", members, members.extracted, controls, beside),)

    def _strata(
        self,
        parameters: Parameters,
        members: Suffixes,
        controls: Suffixes | None,
        evidence: Mapping[str, ObservedTable],
        control: Estimate | None,
        level: float,
    ) -> list[Stratum]:
        strata = rate_strata(members, members.extracted, control, level)
        rich = members.distinct >= parameters.distinct
        beside = None
        if controls is not None:
            beside = rate(controls.extracted & (controls.distinct >= parameters.distinct), controls.clusters, level)
        strata.append(
            Stratum(
                by="suffix",
                label=f"not trivial ({parameters.distinct} or more different tokens)",
                estimate=rate(members.extracted & rich, members.clusters, level),
                control=beside,
            )
        )
        further = () if was_generated(evidence["members"]) else parameters.prefixes
        for prefix in sorted({parameters.prefix, *further}):
            some = read_suffixes(evidence["members"], prefix, parameters.suffix)
            other = read_suffixes(evidence["controls"], prefix, parameters.suffix) if "controls" in evidence else None
            if len(some):
                strata.append(
                    Stratum(
                        by="prefix",
                        label=f"{prefix} tokens",
                        estimate=rate(some.extracted, some.clusters, level),
                        control=rate(other.extracted, other.clusters, level)
                        if other is not None and len(other)
                        else None,
                        note=f"{len(some):,} records long enough; the next {parameters.suffix} tokens",
                    )
                )
        return strata

    def _caveats(
        self, parameters: Parameters, members: Suffixes, controls: Suffixes | None, *, generated: bool
    ) -> tuple[str, ...]:
        found = [
            "Only the suffix that follows this prefix is tested; other prompts may extract more.",
            "Greedy decoding says one continuation; sampling can say others (see probabilistic extraction).",
        ]
        if members.too_short:
            needed = parameters.prefix + parameters.suffix
            found.append(f"{members.too_short:,} member records with fewer than {needed} tokens could not be tested.")
        if generated:
            found.append(
                "The model was asked through a server: its weights were not seen, nor where its answers hang by a hair."
            )
            if parameters.prefixes:
                found.append("Further prefix lengths take scores of the text, which the server does not give.")
            return tuple(found)
        ambiguous = int((members.tied > 0).sum()) + (int((controls.tied > 0).sum()) if controls else 0)
        found.append(
            f"In {ambiguous:,} records the most likely token is ambiguous somewhere at the arithmetic's precision."
        )
        return tuple(found)


def _continued(parameters: Parameters, facts: Facts) -> dict[str, Need]:
    """Return continuations of members and controls: all of the sample."""
    found: dict[str, Need] = {}
    sides: dict[Dataset, DatasetIdentity | None] = {
        "members": facts.subject.members,
        "controls": facts.subject.controls,
    }
    for side, identity in sides.items():
        if identity is not None:
            count = identity.records if parameters.records is None else parameters.records
            asked = parameters.model_dump(include={"records", "max_tokens", "prefix", "suffix"})
            found[side] = Need(observer="continuations", dataset=side, parameters={**asked, "generate": max(1, count)})
    return found


def _decided(suffix: int, *, generated: bool) -> str:
    if generated:
        return f"it says the next {suffix} by itself, generating greedily"
    return f"each of the next {suffix} is the model's most likely token, which is the same as greedy generation and needs one pass"


def _agreement(members: Suffixes, continuations: ObservedTable, suffix: int) -> Gate:
    """Return the gate that real generation says the same as the teacher-forced pass, but for ambiguous tokens."""
    verdicts = dict(zip(members.ids.tolist(), zip(members.extracted, members.tied, strict=True), strict=True))
    compared = ambiguous = wrong = 0
    rows = zip(*(continuations.column(name) for name in ("id", "eligible", "equal")), strict=True)
    for name, eligible, equal in rows:
        if not eligible or name not in verdicts:
            continue
        compared += 1
        extracted, tied = verdicts[name]
        if bool(extracted) != bool(equal):
            ambiguous, wrong = (ambiguous + 1, wrong) if tied else (ambiguous, wrong + 1)
    detail = f"{compared} records continued for real over {suffix} tokens: {wrong} verdicts differ"
    detail += f", {ambiguous} more where the most likely token is ambiguous" if ambiguous else ""
    return Gate(name="teacher forcing agrees with generation", held=wrong == 0, on_failure="invalid", detail=detail)


TEST = DiscoverableExtraction()
