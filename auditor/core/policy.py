"""What is asked, how much is tolerated, and for which clause."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from auditor.core.record import Name, Record, Text


class Tolerance(Record):
    """How much is tolerated, of what, for whom, why and by whose word. No regulator sets a number."""

    statistic: Text
    """The statistic of the test that is held against it, for example `excess_rate`."""
    at_most: float
    """Largest tolerated value of the excess over the control, and of the absolute value."""
    by_release_context: dict[Literal["internal", "public-api", "open-weights"], float] = Field(default_factory=dict)
    """The same for a declared release context, where it differs."""
    absolute_at_most: float | None = None
    """Largest tolerated absolute value where it differs, for a statistic whose chance level is not zero."""
    unit: Text = "ratio"
    population: Text
    """Over whom the statistic is taken, for example `member records`."""
    reason: Text
    set_by: Text
    """`controller`, or `engineering default` which the controller must justify or replace."""


class Least(Record):
    """The least sample a test must have had, or its best outcome is `inconclusive`."""

    members: NonNegativeInt = 0
    controls: NonNegativeInt = 0
    canaries: NonNegativeInt = 0
    """Planted canaries."""


class TestEntry(Record):
    """One test of the battery, as a policy asks for it."""

    __test__ = False  # pytest would collect a class of this name

    test: Name
    required: bool = True
    parameters: dict[str, Any] = Field(default_factory=dict)
    least: Least = Least()
    tolerance: Tolerance | None = None
    evidence_for: tuple[Text, ...] | None = None
    """Ids of the clauses it is evidence for; null: every clause of the policy's catalogues that names the test."""
    not_applicable: Text | None = None
    """A person's reason why the test does not apply; never inferred."""
    because: Text | None = None
    """Why an entry differs from that of the policy this one extends."""


class QueryBudget(Record):
    """How often the deployed model may be asked; rates per query are converted to it."""

    per_subject: PositiveInt
    """Queries one attacker can direct at one person's or work's data."""
    lifetime: PositiveInt
    """Queries over the life of the deployment."""
    reason: Text


class Override(Record):
    """One change that a policy makes to the one it extends."""

    place: Text
    """What is changed: a test, or a part of its entry or of the policy."""
    inherited: Text
    now: Text
    because: Text


class Policy(Record):
    """A policy: the pre-declared battery."""

    id: Text
    version: PositiveInt
    title: Text
    catalogues: tuple[Text, ...] = Field(min_length=1)
    """Clause catalogues, by id."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    seed: int = Field(ge=0, lt=2**53)
    correction: Literal["holm"] = "holm"
    queries: QueryBudget
    tests: tuple[TestEntry, ...] = Field(min_length=1)
    statements: tuple[Text, ...] | None = None
    """Ids of the clauses whose statement is asked; null: every clause of the policy's catalogues that asks one."""
    exhibits: Literal["none", "masked", "full"] = "masked"
    """How much of what the model gave back the report shows: nothing; texts masked and pictures pixelated; or pictures as they are."""
    language: Literal["en", "de", "fr"] = "en"
    """Of the report: English, German or French. Findings and assessment are stored in English, which is what is signed."""
    page: Literal["a4", "letter"] = "a4"
    """Size of the page that the report is printed on and its PDF made for."""
    valid_months: PositiveInt = 12
    """How long the report may be relied on."""
    extends: Text | None = None
    """The policy that this one builds on: name of a shipped one, or a path."""
    because: Text | None = None
    """Why it differs from the policy that it extends."""
    without: dict[Name, Text] = Field(default_factory=dict)
    """Tests of the extended policy that are left out, each with a reason."""
    overrides: tuple[Override, ...] = ()
    """Everything that differs from the extended policies; written by the reader."""
