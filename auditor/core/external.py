"""What other tools found: beside an audit, never part of it.

Nothing of this enters a finding, a clause's state or the correction over the battery: this tool measured none of it, and cannot repeat it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, StringConstraints

from auditor.core.record import Digest, Record, Text
from auditor.core.subject import Artifact

NOTICE = (
    "External findings: made by another tool, not repeated here, not corrected with the battery, and no outcome of this audit. They change "
    "neither its findings nor the state of any clause."
)
"""Said wherever external findings are shown."""

Short = Annotated[str, StringConstraints(min_length=1, max_length=400, strip_whitespace=True)]
"""A few words on one line."""


class ExternalEstimate(Record):
    """A number as the other tool gives it; what it does not say is null, and nothing is computed in its place."""

    value: float
    low: float | None = None
    high: float | None = None
    """Ends of an interval, both or none."""
    level: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Confidence level of the interval."""
    n: NonNegativeInt | None = None
    """Number of units behind it."""
    method: Annotated[str, StringConstraints(max_length=400)] = ""
    """How the interval was made, if it is said."""


class GivenFinding(Record):
    """One finding of another tool, as a file of the minimal format gives it."""

    name: Short
    """What the tool calls it; unique in the file."""
    question: Annotated[str, StringConstraints(max_length=400)] = ""
    """What was asked, in one sentence."""
    statistic: Short
    """What the number is, for example `share of records said word for word`."""
    unit: Short = "ratio"
    estimate: ExternalEstimate | None = None
    """Null: the tool gives no number."""
    control: ExternalEstimate | None = None
    """The same statistic on records that were not in training."""
    verdict: Annotated[str, StringConstraints(max_length=400)] = ""
    """The tool's own word for it; it is quoted and not interpreted."""
    notes: tuple[Short, ...] = Field(default=(), max_length=20)


class GivenTool(Record):
    """The tool that a file comes from."""

    name: Short
    version: Short
    url: Annotated[str, StringConstraints(max_length=400)] = ""


class GivenModel(Record):
    """The model that was asked, as the other tool names it."""

    name: Short
    sha256: Digest | None = None
    """Digest of its weights, or the model digest of the bundle; null: the file does not say."""


class GivenFile(Record):
    """A file of the minimal format: what any tool can write to have its findings taken in."""

    format: Literal["external-findings"]
    version: Literal[1]
    tool: GivenTool
    created: Annotated[str, StringConstraints(max_length=40)] = ""
    """ISO 8601; empty: the file does not say."""
    model: GivenModel
    findings: tuple[GivenFinding, ...] = Field(min_length=1, max_length=10_000)


class ExternalFinding(GivenFinding):
    """One finding of another tool, with the place it was read from."""

    line: PositiveInt
    """Line of the file it stands on."""


ExternalForm = Literal["minimal", "memaudit", "garak"]
"""What a file of another tool can be read as."""


class ExternalFile(Record):
    """What one file of another tool says about a model; in an audit's own bundle, `external.json` lists them."""

    notice: Text = NOTICE
    form: ExternalForm
    """How the file was read."""
    tool: GivenTool
    created: str
    """When the other tool says that it ran; empty: it does not say."""
    file: Artifact
    """The file, by digest; what was left out of it stands there."""
    model: Digest
    """Digest of the audited model."""
    model_named: GivenModel
    about_this_model: Literal["by digest", "not shown"]
    """`not shown`: the file names its model in words alone, and nothing shows that it is the audited one."""
    findings: tuple[ExternalFinding, ...] = Field(min_length=1)
    left_out: tuple[Text, ...] = ()
    """What the file holds besides, and why it was not taken in."""


class ExternalFindings(ExternalFile):
    """What one file of another tool says, tied to a sealed bundle by digest: the addendum of `auditor import`."""

    schema_version: Literal[1] = 1
    bundle: Digest
    """SHA-256 of the manifest of the bundle it is put beside."""
    read: Text
    """When the file was read, ISO 8601."""
