"""Personal data: how many records of the training data hold a structured identifier of a person?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import PositiveInt

from auditor.battery.estimates import between, compared, rate
from auditor.battery.language.discoverable_extraction import forecast_rates, power_of_rates
from auditor.battery.language.generating import not_drawn_at_random
from auditor.core.evidence import Need
from auditor.core.finding import Figure, Measurement, Power, Series, Stratum
from auditor.core.record import Record
from auditor.core.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.subject import Modality
    from auditor.evidence.table import ObservedTable

TYPES = {
    "email": "e-mail address",
    "phone": "telephone number",
    "iban": "bank account (IBAN)",
    "payment_card": "payment card",
    "ip_address": "IP address",
    "national_id": "national number (BE, ES, FR, IT)",
}
"""Columns of `personal-data`, and what they are called."""


class Parameters(Record):
    """Which records are read."""

    records: PositiveInt | None = 20_000
    """Most records of each side that are drawn at random; null: all."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The records of one side; every array has shape [records]."""

    clusters: NDArray[np.object_]
    sources: NDArray[np.object_]
    characters: NDArray[np.int64]
    counts: dict[str, NDArray[np.int64]]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.clusters)

    @property
    def total(self) -> NDArray[np.int64]:
        """Identifiers of any type in each record."""
        total: NDArray[np.int64] = np.array(list(self.counts.values())).sum(axis=0, dtype=np.int64)
        return total


def read_counted(table: ObservedTable) -> Counted:
    """Return the records of an observation of `personal-data`."""
    return Counted(
        clusters=table.column("cluster").astype(object),
        sources=table.column("source").astype(object),
        characters=table.column("characters").astype(np.int64),
        counts={kind: table.column(kind).astype(np.int64) for kind in TYPES},
    )


class PersonalData:
    """The share of members with a structured identifier, beside that of controls."""

    name = "dataset/personal-data"
    version = 2
    title = "Personal data in the training data"
    question = "How many records of the training data hold a structured identifier of a person?"
    access: Access = "data"
    modality: Modality = "text"
    statistics = ("excess_identifiers",)
    source = (
        "Identifiers by their own rules: RFC 5321 and 2606, ITU-T E.164, ISO 13616 and 7064, ISO/IEC 7812; Clopper, Pearson "
        "(1934), Newcombe (1998)."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return the counts of members and controls."""
        sides: list[Literal["members", "controls"]] = ["members"]
        if facts.subject.controls is not None:
            sides.append("controls")
        asked = {"records": parameters.records}
        return {side: Need(observer="personal-data", dataset=side, model=None, parameters=asked) for side in sides}

    def forecast(self, parameters: Parameters, facts: Facts) -> Power:
        """Return what the sample could show."""
        return forecast_rates(parameters.records, facts)

    def measure(
        self,
        parameters: Parameters,  # noqa: ARG002  (the protocol's argument)
        evidence: Mapping[str, ObservedTable],
        measuring: Measuring,
    ) -> Measurement:
        """Return the share of members with an identifier beside that of controls."""
        level = measuring.facts.confidence
        members = read_counted(evidence["members"])
        controls = read_counted(evidence["controls"]) if "controls" in evidence else None
        holds = members.total > 0
        other = None if controls is None else (controls.total > 0, controls.clusters)
        rng = generator(measuring.seed, self.name, "clusters")
        found, control, excess, p_value = compared((holds, members.clusters), other, level, rng)
        beside = f", against {between(control)} of {len(controls):,} controls" if control and controls else ""
        return Measurement(
            test=self.name,
            test_version=self.version,
            title=self.title,
            statistic=self.statistics[0],
            question=self.question,
            answer=(
                f"Of {len(members):,} members {int(holds.sum()):,} hold a structured identifier, {int(members.total.sum()):,} in "
                f"all: {between(found)}{beside}."
            ),
            estimate=found,
            control=control,
            control_reason="" if control else "The subject has no control records to look in.",
            excess=excess,
            p_value=p_value,
            members=len(members),
            controls=len(controls) if controls else 0,
            power=power_of_rates(found.n, control.n if control else 0, level),
            strata=tuple(_strata(members, controls, level)),
            figures=(_figure(members, controls),),
            caveats=_caveats(members, controls, measuring.facts),
            method=(
                "Each record is searched for e-mail addresses, telephone numbers, bank accounts, payment cards, IP addresses and "
                "national numbers, and what is found counts if its own rule holds: check digits, lengths, issuers, calling codes. "
                "Members and held-out records are read alike. Rates have exact intervals, differences Newcombe's, both clustered "
                "by person or document."
            ),
            advice=(
                "Remove or mask identifiers that training does not need before training again, and say on what ground the others "
                "are processed. The restricted evidence lists them by record."
            ),
            source=self.source,
            observations=tuple(table.record.id for table in evidence.values()),
        )


def _strata(members: Counted, controls: Counted | None, level: float) -> list[Stratum]:
    strata = []
    for kind, name in TYPES.items():
        beside = rate(controls.counts[kind] > 0, controls.clusters, level) if controls is not None else None
        number = int(members.counts[kind].sum())
        strata.append(
            Stratum(
                by="type",
                label=name,
                estimate=rate(members.counts[kind] > 0, members.clusters, level),
                control=beside,
                note=f"{number:,} in all members that were read",
            )
        )
    for name in sorted(set(members.sources.astype(str).tolist()) - {""}):
        chosen = members.sources.astype(str) == name
        strata.append(
            Stratum(by="source", label=name, estimate=rate(members.total[chosen] > 0, members.clusters[chosen], level))
        )
    return strata


def _figure(members: Counted, controls: Counted | None) -> Figure:
    series = []
    most = max(2, int(members.total.max(initial=0)))
    steps = [step for step in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89) if step <= most]
    for name, side, role in (("members", members, "members"), ("controls", controls, "controls")):
        if side is not None:
            series.append(
                Series(
                    name=name,
                    x=tuple(float(step) for step in steps),
                    y=tuple(float((side.total >= step).mean()) for step in steps),
                    role=role,  # type: ignore[arg-type]
                )
            )
    return Figure(
        kind="survival",
        title="Identifiers in a record",
        x_label="structured identifiers in the record",
        y_label="share of records with at least as many",
        series=tuple(series),
        caption=f"Share of records with at least so many identifiers; one member holds {int(members.total.max(initial=0)):,}.",
    )


def _caveats(members: Counted, controls: Counted | None, facts: Facts) -> tuple[str, ...]:
    found = [
        "It says what the data hold, not what the model memorized of them.",
        "Names, postal addresses and whatever is written freely are not looked for: the share of personal data is larger.",
        (
            "A number made up for something else can follow a rule by chance (a Luhn digit fits one in ten, mod 97 one in 97), and "
            "an identifier can be an organisation's: each is a candidate until somebody looks."
        ),
    ]
    if controls is not None:
        lengths = [float(np.median(side.characters)) for side in (members, controls)]
        if max(lengths) > 1.25 * min(lengths):
            found.append(
                f"Longer records hold more: the median member has {lengths[0]:,.0f} characters, the median control {lengths[1]:,.0f}."
            )
    return (*found, *not_drawn_at_random(facts))


TEST = PersonalData()
