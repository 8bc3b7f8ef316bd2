"""What is asked of a subject, and what came back."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeInt

from auditor.core.record import Digest, Name, Record, Text

Dataset = Literal["members", "controls", "canaries", "members+controls"]
"""Which records an observation is about."""


class Need(Record):
    """An observation that a test needs, before it is tied to a subject."""

    observer: Name
    dataset: Dataset
    model: Text | None = "subject"
    """`subject`, `reference-0`, ...; None for an observation of the data alone."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the observer, plain JSON."""


class Observation(Record):
    """One unit of work, named by everything that can change what it sees."""

    observer: Name
    observer_version: int
    dataset: Dataset
    model_role: Text | None
    model: Digest | None
    """Digest of the model that is asked."""
    dtype: str = "float32"
    data: tuple[Digest, ...]
    """Digests of the data it reads."""
    parameters: dict[str, Any]
    seed: int
    subject: Literal["audited", "memorizer", "innocent"] = "audited"
    """The audited subject, or a control of the instrument."""


class Column(Record):
    """One column of an observation."""

    name: Text
    type: Text
    """Arrow type, for example `list<float>`."""
    unit: Text
    meaning: Text
    restricted: bool = False
    """True where it holds text or images; such columns lie apart and can be withheld."""


class ObservationRecord(Record):
    """What lies beside the shards of an observation."""

    observation: Observation
    id: Digest
    columns: tuple[Column, ...]
    items: NonNegativeInt
    shards: NonNegativeInt
    calls: NonNegativeInt
    """Forward or generation calls made."""
    tokens: NonNegativeInt
    """Tokens scored or generated."""
    merkle_root: Digest
    """RFC 6962 root over the records, in order."""


class Omission(Record):
    """What was asked for and not done."""

    reason: Literal["capability", "data", "budget", "fault", "unknown-plug-in"]
    message: Text
    where: str = ""
