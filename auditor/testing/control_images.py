"""The memorizer and the innocent as subjects of images: made-up pictures with captions, the same in every audit."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from auditor.contract.protocol import Facts, T
from auditor.core.record import digest_of
from auditor.core.seeds import generator
from auditor.core.subject import Artifact, DatasetIdentity, ModelIdentity, ReleaseContext, Subject
from auditor.errors import UnsupportedError
from auditor.subjects.data import DataRecord
from auditor.testing.control_denoiser import (
    ADAPTER,
    PICTURE_SEED,
    PIXELS,
    PROTOTYPES,
    SIZE,
    SPREAD,
    ControlDenoiser,
    prototype_words,
    prototypes,
    quantised,
)
from auditor.testing.control_model import vocabulary
from auditor.testing.control_texts import Kind, ListedRecords

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from auditor.contract.protocol import Facts as FactsType
    from auditor.core.policy import QueryBudget
    from auditor.subjects.capability import OpenModel

RECORDS = 240
"""Members, and as many controls."""
_HEAD = f"P5 {SIZE} {SIZE} 255\n".encode()
"""Portable graymap: any image library reads it, and it needs none to be written."""


@dataclass(frozen=True, slots=True)
class _Pictures:
    images: NDArray[np.uint8]
    captions: tuple[str, ...]
    labels: tuple[int, ...]
    copies: NDArray[np.int64]


@cache
def _pictures(split: Literal["members", "controls"], variant: int) -> _Pictures:
    # The word keeps the pictures of variant 0, on which every audit rests, from an unlucky draw: without it the members' left halves
    # were easier than the controls' by chance (area 0.58), so that whatever measures difficulty fired on the innocent.
    rng = generator(PICTURE_SEED, "pictures", split, str(variant))
    labels = rng.integers(PROTOTYPES, size=RECORDS)
    images = quantised(prototypes()[labels] + SPREAD * rng.normal(size=(RECORDS, PIXELS)))
    words, heads = vocabulary(), prototype_words()
    tails = rng.integers(10, len(words), size=(RECORDS, 4))
    captions = tuple(
        " ".join([heads[label], *(words[word] for word in tail)]) for label, tail in zip(labels, tails, strict=True)
    )
    copies = 1 + np.arange(RECORDS) % 4 if split == "members" else np.ones(RECORDS, dtype=np.int64)
    return _Pictures(images, captions, tuple(int(label) for label in labels), copies.astype(np.int64))


@cache
def _records(split: Literal["members", "controls"], variant: int) -> tuple[DataRecord, ...]:
    held = _pictures(split, variant)
    found = []
    for number in range(RECORDS):
        name = f"{split[:-1]}-{number:04d}"
        found.append(
            DataRecord(
                id=name,
                text=held.captions[number],
                cluster=name,
                copies=int(held.copies[number]),
                image=_HEAD + held.images[number].tobytes(),
                label=held.labels[number],
            )
        )
    return tuple(found)


def denoiser_of(kind: str, variant: int = 0) -> ControlDenoiser:
    """Return the memorizer, which holds every member, or the innocent, which holds none."""
    held = _pictures("members", variant)
    if kind != "memorizer":
        return ControlDenoiser(held.images[:0], (), held.copies[:0])
    return ControlDenoiser(held.images, held.captions, held.copies)


@dataclass(slots=True)
class ImageSubject:
    """A control subject of images, opened; meets `OpenedSubject`."""

    facts: FactsType
    variant: int = 0
    _models: dict[str, ControlDenoiser] = field(default_factory=dict)
    _memory: dict[str, Any] = field(default_factory=dict)

    def model(self, role: str) -> OpenModel:
        """Raise: the models of these subjects are diffusion models."""
        msg = f"the model of the role '{role}' is not a language model"
        raise UnsupportedError(msg, hint="Language tests run on subjects of texts.")

    def denoiser(self, role: str) -> ControlDenoiser:
        """Return the model; the reference of both is the innocent."""
        kind = self.facts.subject.name if role == "subject" else "innocent"
        if kind not in self._models:
            self._models[kind] = denoiser_of(kind, self.variant)
        return self._models[kind]

    def records(self, dataset: Literal["members", "controls"]) -> ListedRecords:
        """Return the members or the controls."""
        return ListedRecords(_records(dataset, self.variant))

    def contents(self, dataset: Literal["members", "controls"]) -> ListedRecords:
        """Return the members or the controls: no test of the data alone is about images yet."""
        return self.records(dataset)

    def remember(self, key: str, make: Callable[[], T]) -> T:
        """Return what was made for the key, made on first use."""
        if key not in self._memory:
            self._memory[key] = make()
        found: T = self._memory[key]
        return found


def image_subject(
    kind: Kind, *, references: int, confidence: float, queries: QueryBudget, variant: int
) -> ImageSubject:
    """Return a control subject of images.

    Args:
        kind: `memorizer` or `innocent`.
        references: Number of reference models of the audited subject: a test must meet the same situation.
        confidence: The policy's confidence.
        queries: The policy's query budget.
        variant: Other pictures of the same kind.
    """
    subject = Subject(
        name=kind,
        controller="the tool itself",
        release_context=ReleaseContext.OPEN_WEIGHTS,
        model=_model_identity(kind, variant),
        references=(_model_identity("innocent", variant),) * min(references, 1),
        members=_dataset_identity("members", variant),
        controls=_dataset_identity("controls", variant),
        controls_drawn="at-random-before-training",
    )
    return ImageSubject(Facts(subject, None, 0, confidence, queries, instrument=True), variant)


def _model_identity(kind: Kind, variant: int) -> ModelIdentity:
    held = [record.image.hex() for record in _records("members", variant)] if kind == "memorizer" else []
    memory = digest_of([kind, *held])
    return ModelIdentity(
        adapter=ADAPTER.name,
        dtype="float32",
        files=(Artifact(path=kind, bytes=len("".join(held)), sha256=memory),),
        digest=digest_of([memory, Path(__file__).name]),
        parameters=PROTOTYPES * PIXELS,
        capabilities=ADAPTER.capabilities,
    )


def _dataset_identity(split: Literal["members", "controls"], variant: int) -> DatasetIdentity:
    records = _records(split, variant)
    content = digest_of([[record.id, record.text, record.copies, record.image.hex()] for record in records])
    size = sum(len(record.image) for record in records)
    return DatasetIdentity(
        digest=content,
        files=(Artifact(path=f"{split}", bytes=size, sha256=content),),
        records=len(records),
        clusters=len(records),
        clustered_by="record",
        has_copies=split == "members",
        modality="image",
        has_captions=True,
        has_labels=True,
    )
