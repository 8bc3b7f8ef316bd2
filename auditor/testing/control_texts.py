"""The memorizer and the innocent as subjects of texts: made-up records, controls and canaries, the same in every audit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from auditor.contract.protocol import Facts, T
from auditor.core.canary import Canary, CanaryFormat, CanarySet
from auditor.core.record import digest_of
from auditor.core.seeds import generator
from auditor.core.subject import Artifact, DatasetIdentity, ModelIdentity, ReleaseContext, Subject
from auditor.errors import UnsupportedError
from auditor.subjects.data import DataRecord, nested_sample
from auditor.testing.control_data import shown
from auditor.testing.control_identifiers import with_card
from auditor.testing.control_model import (
    ADAPTER,
    CONTEXT,
    DIGITS,
    LANGUAGE_SEED,
    WORDS,
    ControlModel,
    speak,
    vocabulary,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auditor.core.policy import QueryBudget
    from auditor.subjects.denoiser import Denoiser

Kind = Literal["memorizer", "innocent"]
Split = Literal["members", "controls"]
RECORDS = 240
"""Members, and as many controls."""
LENGTH = 130
"""Words in a record: enough for a prefix and a suffix of 50 and some more."""
CANARIES = 60
"""Canaries; about half are planted."""


@cache
def _records(split: Split, variant: int, *, cards: bool = True) -> tuple[DataRecord, ...]:
    """Return the records of one side; those for observers that ask no model hold no cards, see `control_data`."""
    words = vocabulary()
    found = []
    for number in range(RECORDS):
        rng = generator(LANGUAGE_SEED, split, str(variant), str(number))
        said = [words[word] for word in speak(rng, LENGTH)]
        text = " ".join(with_card(said, split, number, variant) if cards else said)
        name = f"{split[:-1]}-{number:04d}"
        found.append(DataRecord(id=name, text=text, cluster=name, copies=1 + number % 4 if split == "members" else 1))
    return tuple(found)


@cache
def canaries(variant: int = 0) -> CanarySet:
    """Return the canaries of both control subjects."""
    forms = tuple(
        CanaryFormat(id=name, template=f"{opening} {{secret}}", symbols=DIGITS, length=6, separator=" ")
        for name, opening in (("locker", _opening("locker")), ("meter", _opening("meter")))
    )
    rng = generator(LANGUAGE_SEED, "canaries", str(variant))
    secrets = [[int(digit) for digit in rng.integers(10, size=6)] for _ in range(CANARIES)]
    coins = rng.integers(2, size=CANARIES)
    made = tuple(
        Canary(
            id=f"canary-{number:03d}",
            format=forms[number % 2].id,
            secret=forms[number % 2].secret(tuple(digits)),
            repetitions=(1, 4, 16)[number % 3],
            planted=bool(coins[number]),
        )
        for number, digits in enumerate(secrets)
    )
    nonce = hashlib.sha256(b"control subjects have no secrets").hexdigest()
    draft = CanarySet(seed=LANGUAGE_SEED, formats=forms, canaries=made, nonce=nonce, commitment="0" * 64)
    return draft.model_copy(update={"commitment": draft.expected_commitment()})


def _opening(name: str) -> str:
    words = vocabulary()
    return " ".join(words[word] for word in speak(generator(LANGUAGE_SEED, "template", name), 6))


def memory_of(kind: str, variant: int = 0) -> tuple[str, ...]:
    """Return what a control model holds word for word."""
    if kind != "memorizer":
        return ()
    held = canaries(variant)
    planted = tuple(held.format_of(canary).fill(canary.secret) for canary in held.canaries if canary.planted)
    return (*planted, *(record.text for record in _records("members", variant)))


@dataclass(frozen=True, slots=True)
class ListedRecords:
    """Records that lie in memory; meets `RecordSource`."""

    records: tuple[DataRecord, ...]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.records)

    def sample(self, count: int | None, seed: int, start: int, stop: int) -> Iterator[DataRecord]:
        """Yield items start to stop of the sample, in file order; samples of one seed are nested."""
        yield from (self.records[index] for index in nested_sample(len(self.records), count, seed)[start:stop])


@dataclass(slots=True)
class TextSubject:
    """A control subject, opened; meets `OpenedSubject`."""

    facts: Facts
    variant: int = 0
    _models: dict[str, ControlModel] = field(default_factory=dict)
    _memory: dict[str, Any] = field(default_factory=dict)

    def model(self, role: str) -> ControlModel:
        """Return the model; the reference of both is the innocent."""
        kind = self.facts.subject.name if role == "subject" else "innocent"
        if kind not in self._models:
            self._models[kind] = ControlModel(memory_of(kind, self.variant))
        return self._models[kind]

    def denoiser(self, role: str) -> Denoiser:
        """Raise: the models of these subjects are language models."""
        msg = f"the model of the role '{role}' is not a diffusion model"
        raise UnsupportedError(msg, hint="Image tests run on subjects of images.")

    def remember(self, key: str, make: Callable[[], T]) -> T:
        """Return what was made for the key, made on first use."""
        if key not in self._memory:
            self._memory[key] = make()
        found: T = self._memory[key]
        return found

    def records(self, dataset: Literal["members", "controls"]) -> ListedRecords:
        """Return the members or the controls."""
        return ListedRecords(_records(dataset, self.variant))

    def contents(self, dataset: Literal["members", "controls"]) -> ListedRecords:
        """Return the records for an observer that asks no model: the memorizer's members show what it looks for."""
        found = _records(dataset, self.variant, cards=False)
        positive = self.facts.subject.name == "memorizer" and dataset == "members"
        return ListedRecords(shown(found) if positive else found)


def text_subject(kind: Kind, *, references: int, confidence: float, queries: QueryBudget, variant: int) -> TextSubject:
    """Return a control subject of texts.

    Args:
        kind: `memorizer` or `innocent`.
        references: Number of reference models of the audited subject: a test must meet the same situation.
        confidence: The policy's confidence.
        queries: The policy's query budget.
        variant: Other records and canaries of the same kind, to see how a test behaves over many; an audit uses 0.
    """
    made = canaries(variant)
    encoded = made.canonical()
    subject = Subject(
        name=kind,
        controller="the tool itself",
        release_context=ReleaseContext.OPEN_WEIGHTS,
        model=_model_identity(kind, variant),
        references=(_model_identity("innocent", variant),) * min(references, 1),
        members=_dataset_identity("members", variant),
        controls=_dataset_identity("controls", variant),
        controls_drawn="at-random-before-training",
        canaries=Artifact(path="canaries.json", bytes=len(encoded), sha256=hashlib.sha256(encoded).hexdigest()),
    )
    return TextSubject(Facts(subject, made, CONTEXT, confidence, queries, instrument=True), variant)


def _model_identity(kind: Kind, variant: int) -> ModelIdentity:
    held = memory_of(kind, variant)
    memory = digest_of([kind, *held])
    size = len("".join(held))
    files = (Artifact(path=kind, bytes=size, sha256=memory),)
    return ModelIdentity(
        adapter=ADAPTER.name,
        dtype="float32",
        files=files,
        digest=digest_of([memory, Path(__file__).name]),
        parameters=WORDS * WORDS,
        capabilities=ADAPTER.capabilities,
    )


def _dataset_identity(split: Literal["members", "controls"], variant: int) -> DatasetIdentity:
    records = _records(split, variant)
    content = digest_of([[record.id, record.text, record.copies] for record in records])
    size = sum(len(record.text) for record in records)
    return DatasetIdentity(
        digest=content,
        files=(Artifact(path=f"{split}.jsonl", bytes=size, sha256=content),),
        records=len(records),
        clusters=len(records),
        clustered_by="record",
        has_copies=split == "members",
    )
