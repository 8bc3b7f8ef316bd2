"""Persons' identifiers as the model was asked for them, and what it said by itself; read from the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from auditor.errors import IntegrityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auditor.evidence.table import ObservedTable, Ragged

NAMES = {
    "email": "e-mail address",
    "phone": "telephone number",
    "iban": "bank account (IBAN)",
    "payment_card": "payment card",
    "ip_address": "IP address",
    "national_id": "national number (BE, ES, FR, IT)",
    "us_ssn": "US social security number",
    "us_itin": "US taxpayer number",
    "us_mbi": "US Medicare number",
    "uk_nino": "UK national insurance number",
    "uk_nhs": "UK NHS number",
    "crypto_wallet": "Bitcoin wallet",
    "medical_license": "US medical licence",
    "au_tfn": "Australian tax number",
    "au_medicare": "Australian Medicare number",
    "ca_sin": "Canadian social insurance number",
    "de_tax_id": "German tax number",
    "de_social_security": "German social security number",
    "es_nie": "Spanish number of foreigners",
    "fi_identity_code": "Finnish identity code",
    "in_aadhaar": "Indian Aadhaar number",
    "in_pan": "Indian account number (PAN)",
    "kr_rrn": "Korean resident number",
    "pl_pesel": "Polish PESEL",
    "se_personnummer": "Swedish personal number",
    "sg_fin": "Singaporean identity number",
    "tr_national_id": "Turkish national number",
    "za_id_number": "South African identity number",
}
"""Types of identifiers in the order of their numbers, and what they are called."""
NUMERIC = ("iban", "payment_card", "national_id")
"""Types whose form leaves more to chance than any number of generations can guess."""


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The identifiers of the compared records; every array has shape [identifiers]."""

    members: NDArray[np.bool_]
    persons: NDArray[np.int64]
    """Number of the person, document or record it stands with; a number is of one side alone."""
    records: NDArray[np.object_]
    sources: NDArray[np.object_]
    copies: NDArray[np.int64]
    kinds: NDArray[np.int64]
    numbers: NDArray[np.int64]
    characters: NDArray[np.int64]
    places: NDArray[np.int64]
    unique: NDArray[np.bool_]
    played: NDArray[np.bool_]
    given: NDArray[np.bool_]
    logprob: NDArray[np.float64]
    equal: NDArray[np.bool_]
    sampled: NDArray[np.int64]
    samples: NDArray[np.int64]
    rank: NDArray[np.int64]
    candidates: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of identifiers."""
        return len(self.kinds)

    @property
    def said(self) -> NDArray[np.bool_]:
        """Identifiers that some continuation of what stands before them says."""
        return self.played & (self.equal | (self.sampled > 0))

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Identifiers that are asked for and can count: of one person alone, and not said by what the model was given."""
        return self.played & self.unique & ~self.given


_BY_ROW = ("id", "cluster", "source", "copies", "member")
_LISTS = (
    "kind",
    "number",
    "characters",
    "place",
    "unique",
    "played",
    "given",
    "logprob",
    "equal",
    "sampled",
    "samples",
    "rank",
    "candidates",
)


def read_identifiers(table: ObservedTable) -> Identifiers:
    """Return what an observation of `identifier-scores` says."""
    rows: dict[str, list[NDArray[np.generic]]] = {name: [np.empty(0, dtype=object)] for name in _BY_ROW}
    lists: dict[str, list[NDArray[np.generic]]] = {name: [] for name in _LISTS}
    for shard in table.shards(*_BY_ROW, *_LISTS):
        ragged = {name: cast("Ragged", shard[name]) for name in _LISTS}
        lengths = ragged["kind"].lengths
        for name in _BY_ROW:
            rows[name].append(np.repeat(np.asarray(shard[name]).astype(object), lengths))
        for name, column in ragged.items():
            lists[name].append(column.values)
    by_row = {name: np.concatenate(parts) for name, parts in rows.items()}
    joined = {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in lists.items()}
    member = by_row["member"].astype(np.bool_)
    named = np.char.add(np.where(member, "m", "c"), by_row["cluster"].astype(str))
    return Identifiers(
        members=member,
        persons=np.unique(named, return_inverse=True)[1].astype(np.int64),
        records=by_row["id"],
        sources=by_row["source"],
        copies=by_row["copies"].astype(np.int64),
        kinds=joined["kind"].astype(np.int64),
        numbers=joined["number"].astype(np.int64),
        characters=joined["characters"].astype(np.int64),
        places=joined["place"].astype(np.int64),
        unique=joined["unique"].astype(np.bool_),
        played=joined["played"].astype(np.bool_),
        given=joined["given"].astype(np.bool_),
        logprob=joined["logprob"].astype(np.float64),
        equal=joined["equal"].astype(np.bool_),
        sampled=joined["sampled"].astype(np.int64),
        samples=joined["samples"].astype(np.int64),
        rank=joined["rank"].astype(np.int64),
        candidates=joined["candidates"].astype(np.int64),
    )


def said_by_reference(found: Identifiers, reference: Identifiers) -> NDArray[np.bool_]:
    """Return which identifiers a model that was not trained on these members says as well, shape [identifiers].

    Raises:
        IntegrityError: It was asked about other records.
    """
    if not np.array_equal(found.numbers, reference.numbers):
        msg = "the reference model was asked about other identifiers than the audited model"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")
    return np.isin(found.numbers, found.numbers[reference.said])


@dataclass(frozen=True, slots=True)
class Generated:
    """Identifiers in what the model said by itself; every array has shape [mentions]."""

    rows: NDArray[np.int64]
    """Row of the generation."""
    numbers: NDArray[np.int64]
    kinds: NDArray[np.int64]
    given: NDArray[np.bool_]
    others: NDArray[np.int64]
    """Number of the person beyond the compared ones who alone holds it, -1: none."""
    known: NDArray[np.bool_]
    generations: int
    different: int
    """Generations that repeat no earlier one."""

    def free(self) -> NDArray[np.int64]:
        """Return the numbers of the identifiers that came out and stood in no prompt they came out after."""
        return np.unique(self.numbers[~self.given])


def read_generated(table: ObservedTable) -> Generated:
    """Return what an observation of `open-generations` says of identifiers."""
    names = ("identifiers", "identifier_kinds", "identifier_given", "identifier_other", "identifier_known")
    parts: list[list[NDArray[np.generic]]] = [[np.empty(0, dtype=np.int64)] for _ in range(6)]
    start = 0
    for shard in table.shards(*names):
        columns = [cast("Ragged", shard[name]) for name in names]
        rows = start + np.repeat(np.arange(len(columns[0])), columns[0].lengths)
        for part, values in zip(parts, (rows, *(column.values for column in columns)), strict=True):
            part.append(values)
        start += len(columns[0])
    rows, numbers, kinds, given, others, known = (np.concatenate(part) for part in parts)
    groups = table.column("group").astype(np.int64)
    return Generated(
        rows=rows.astype(np.int64),
        numbers=numbers.astype(np.int64),
        kinds=kinds.astype(np.int64),
        given=given.astype(np.bool_),
        others=others.astype(np.int64),
        known=known.astype(np.bool_),
        generations=start,
        different=int((groups == np.arange(len(groups))).sum()),
    )
