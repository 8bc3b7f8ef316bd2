"""What is audited, by digest and by whose word."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field, NonNegativeInt

from auditor.core.record import Digest, Name, Record, Text

Modality = Literal["text", "image"]
"""What a record is."""


class ReleaseContext(StrEnum):
    """Who can reach the model. Declared by a person, never inferred."""

    INTERNAL = "internal"
    PUBLIC_API = "public-api"
    OPEN_WEIGHTS = "open-weights"


class Artifact(Record):
    """One file, named by its content."""

    path: Text
    """Path relative to the folder it was found in."""
    bytes: NonNegativeInt
    """Size, byte."""
    sha256: Digest
    """SHA-256 of the content."""


class ModelSpec(Record):
    """Where a model lies and how it is opened, as the user wrote it."""

    adapter: Name
    """Name of the adapter that opens it, for example `causal-lm`."""
    path: Text
    """Folder or address, relative to the subject file."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision in which the model is run."""
    device: Text = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""


class RecordsSpec(Record):
    """Where a set of records lies and which columns mean what."""

    path: Text
    """A .jsonl, .csv, .parquet file, a folder of .txt files or images, or a saved dataset folder, relative to the subject file."""
    text: Text = "text"
    """Column that holds the text."""
    id: Text | None = None
    """Column that holds a unique id; without it the row number is the id."""
    person: Text | None = None
    """Column that names the person a record is about: the unit of every interval; one confirmed person is a signal."""
    document: Text | None = None
    """Column that names the document a record comes from; intervals are clustered by it if there is no `person`."""
    copies: Text | None = None
    """Column that says how often the record stood in the training data."""
    source: Text | None = None
    """Column that names the source; results are also given per source."""
    image: Text | None = None
    """Column that holds the image, as bytes or as a path; for a folder of images, `image`. Without it records are texts."""
    caption: Text | None = None
    """Column that holds the caption an image was trained with."""
    label: Text | None = None
    """Column that holds the class label an image was trained with, a whole number from 0."""


class DataSpec(Record):
    """The data that goes with the model."""

    members: RecordsSpec
    """Records that were in training."""
    controls: RecordsSpec | None = None
    """Records of the same distribution that were not."""
    controls_drawn: Literal["at-random-before-training", "afterwards", "not-declared"] = "not-declared"
    """How the controls were chosen, as the controller declares it."""
    canaries: Text | None = None
    """Canary manifest written by `auditor canary make`, relative to the subject file."""


class SubjectSpec(Record):
    """The subject file, as the user wrote it."""

    name: Text
    """A short name for the report's cover."""
    model: ModelSpec
    release_context: ReleaseContext
    data: DataSpec
    references: tuple[ModelSpec, ...] = ()
    """Models of the same tokenizer that were not trained on the members."""
    statements: Text | None = None
    """YAML file with the controller's statements, relative to the subject file."""
    policy: Text = "edpb-28-2024"
    """Name of a shipped policy, or a path relative to the subject file."""
    controller: Text = "not declared"
    """Who answers for the processing, as printed on the cover."""


class ModelIdentity(Record):
    """A model by digest."""

    adapter: Name
    dtype: Literal["float32", "bfloat16"]
    files: tuple[Artifact, ...]
    """Every file that can change what the model computes, sorted by path."""
    digest: Digest
    """SHA-256 over the raw file digests in sorted order (the subject digest of OpenSSF model-signing)."""
    parameters: NonNegativeInt = 0
    """Number of parameters, 0 where the adapter cannot tell."""
    capabilities: tuple[str, ...] = ()
    """What the adapter can do with it, for example `scores-tokens`."""


class DatasetIdentity(Record):
    """A set of records by digest."""

    digest: Digest
    """SHA-256 over the file digests and the meaning of the columns."""
    files: tuple[Artifact, ...]
    records: NonNegativeInt
    """Number of usable records."""
    clusters: NonNegativeInt
    """Number of distinct persons or documents; equal to `records` where neither is named."""
    clustered_by: Literal["person", "document", "record"] = "record"
    has_copies: bool = False
    has_source: bool = False
    modality: Modality = "text"
    has_captions: bool = False
    has_labels: bool = False


class Subject(Record):
    """What is audited, by digest."""

    name: Text
    controller: Text
    release_context: ReleaseContext
    model: ModelIdentity
    references: tuple[ModelIdentity, ...] = ()
    members: DatasetIdentity
    controls: DatasetIdentity | None = None
    controls_drawn: Literal["at-random-before-training", "afterwards", "not-declared"] = "not-declared"
    canaries: Artifact | None = None
    statements: Artifact | None = None
    overlap: tuple[str, ...] = Field(default=())
    """Ids of control records whose text also stands among the members; they are left out of every control."""
