"""What is audited, by digest and by whose word."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

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


class EndpointPrice(Record):
    """What a server asks for its answers."""

    prompt: float = Field(ge=0.0)
    """Price of 1,000 tokens that are sent."""
    completion: float = Field(ge=0.0)
    """Price of 1,000 tokens that come back."""


class EndpointBudget(Record):
    """What may be spent on one model; what is asked beyond it becomes `not_run`."""

    calls: PositiveInt | None = None
    """Most requests, those that failed included; null: no limit."""
    money: float | None = Field(default=None, gt=0.0)
    """Most money, in the currency of the price; null: no limit."""


class EndpointSpec(Record):
    """How a server of the OpenAI interface is asked, as the user wrote it. Its address is the model's `path`."""

    model: Text
    """Name of the model, as the server knows it."""
    api: Literal["auto", "completions", "chat"] = "auto"
    """`completions` continues a text, `chat` answers a message; auto: completions where the server has them."""
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable that holds the key; the key itself stands in no file."""
    tokenizer: Text | None = None
    """Folder with the model's tokenizer, relative to the subject file; without it the unit of text is the word."""
    instruction: Text | None = None
    """What a chat model is told before it is given the beginning of a text."""
    context: PositiveInt | None = None
    """Longest sequence the model takes, tokens; null: what the server says, or 2,048."""
    requests_per_minute: PositiveInt | None = None
    """Most requests in a minute; null: no limit of our own."""
    concurrency: int = Field(default=4, ge=1, le=64)
    """Requests under way at once."""
    timeout_s: float = Field(default=120.0, gt=0.0, le=3600.0)
    """Longest time one request may take, seconds."""
    retries: int = Field(default=6, ge=0, le=20)
    """How often a request that failed is asked again."""
    price: EndpointPrice | None = None
    """Price of tokens, needed for a budget in money."""
    budget: EndpointBudget = EndpointBudget()
    """What may be spent."""
    fingerprint: Literal["fixed", "any"] = "fixed"
    """`fixed`: an answer with another system fingerprint ends the work; `any`: the server may use several."""
    allow_http: bool = False
    """Also ask a server on another machine without encryption."""


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
    peft: Text | None = None
    """Folder of a PEFT adapter on the model at `path`, relative to the subject file."""
    peft_base: Text | None = None
    """What the adapter's configuration calls its base, where that is not the name of the folder at `path`."""
    endpoint: EndpointSpec | None = None
    """How a server is asked, for the adapter `completion-endpoint`."""


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


class Responsible(Record):
    """Who answers for the audit by name, and signs it by hand or with a seal of their own; the tool's seal does not replace that."""

    name: Text
    role: Text
    organisation: Text


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
    responsible: Responsible | None = None
    """Who dates and signs the report (AI Act, Annex IV point 2(g)); without it the report leaves the name open."""


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
    seen: Literal["weights", "answers"] = "weights"
    """`answers`: the weights were not seen; the digest names what the server says of itself."""


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
    responsible: Responsible | None = None
    """Who dates and signs the report, as the subject file names them."""
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
