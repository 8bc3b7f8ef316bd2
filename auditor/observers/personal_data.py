"""How many structured identifiers of persons stand in each record of the members, or of the controls; no model is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record, canonical_bytes
from auditor.observers.identifier_register import is_public
from auditor.observers.identifiers import TYPES, Found, identifiers

if TYPE_CHECKING:
    from collections.abc import Sequence

MEANINGS = {
    "email": "E-mail addresses; not those of domains reserved for examples.",
    "phone": "Telephone numbers with a country's calling code, or in the form used in North America.",
    "iban": "Bank accounts whose length and check digits are right.",
    "payment_card": "Payment cards of a known issuer whose check digit is right.",
    "ip_address": "IP addresses that can be reached from anywhere.",
    "national_id": "National numbers of Belgium, France, Italy and Spain whose check is right.",
}


class Parameters(Record):
    """Which records are read."""

    records: PositiveInt | None = None
    """Size of the random sample; null: all records."""


class PersonalDataObserver:
    """Counts the identifiers of each record by type; the values stay with the restricted evidence."""

    name = "personal-data"
    version = 2
    shard_items = 2000
    parameters = Parameters

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return one need for each side, with the largest sample."""
        found: dict[str, Need] = {}
        for need in needs:
            if need.dataset not in found or not self.covers(found[need.dataset], need):
                found[need.dataset] = need
        return list(found.values())

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether the sample is as large: samples are nested."""
        have, want = (Parameters.from_plain(one.parameters).records for one in (joined, need))
        return joined.dataset == need.dataset and (have is None or (want is not None and have >= want))

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="source", type="string", unit="none", meaning="Source label."),
            Column(name="characters", type="int32", unit="characters", meaning="Length of the record."),
            *(Column(name=kind, type="int32", unit="identifiers", meaning=MEANINGS[kind]) for kind in TYPES),
            Column(
                name="found",
                type="string",
                unit="none",
                meaning="The identifiers, JSON: pairs of type and value in the order of the text.",
                restricted=True,
            ),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records."""
        side = facts.subject.members if need.dataset == "members" else facts.subject.controls
        asked = Parameters.from_plain(need.parameters).records
        total = side.records if side else 0
        return total if asked is None else min(asked, total)

    def tokens(self, need: Need, facts: Facts) -> int:  # noqa: ARG002
        """Return 0: no model is asked."""
        return 0

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Look for identifiers in the records of one part."""
        asked = Parameters.from_plain(need.parameters)
        side = opened.contents("members" if need.dataset == "members" else "controls")
        records = list(side.sample(asked.records, part.seed, part.start, part.stop))
        found = [_of_persons(record.text) for record in records]
        counts = {kind: [sum(one.type == kind for one in row) for row in found] for kind in TYPES}
        public = pa.table(
            {
                "id": pa.array([record.id for record in records], type=pa.string()),
                "cluster": pa.array([record.cluster for record in records], type=pa.string()),
                "source": pa.array([record.source for record in records], type=pa.string()),
                "characters": pa.array([len(record.text) for record in records], type=pa.int32()),
                **{kind: pa.array(counts[kind], type=pa.int32()) for kind in TYPES},
            }
        )
        written = [canonical_bytes([[one.type, one.value] for one in row]).decode() for row in found]
        return Shard(public, pa.table({"found": pa.array(written, type=pa.string())}), calls=0, tokens=0)


def _of_persons(text: str) -> list[Found]:
    """Return the identifiers of a text that can be a person's: not an office's, and not one that manuals print."""
    return [one for one in identifiers(text) if not is_public(one.type, one.value)]


OBSERVER = PersonalDataObserver()
