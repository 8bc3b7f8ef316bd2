"""What an assessment reads out of the findings beside the states of clauses: prongs, access, rates by queries, parts, bounds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from auditor.core.finding import Access, Estimate, Outcome
from auditor.core.record import Name, Record, Text
from auditor.core.subject import ReleaseContext


class ProngState(Record):
    """One of the two ways in which training data can be obtained: 1 extraction from the model, 2 queries. They are kept apart."""

    prong: Literal[1, 2]
    clauses: tuple[Text, ...]
    """Ids of the clauses about it."""
    outcome: Outcome | None
    """The worst among its tests; None where no test of the policy speaks to it."""
    decided_by: tuple[Name, ...]
    tests: tuple[Name, ...]
    """All tests of the policy that are evidence about it."""
    beyond: tuple[Name, ...]
    """Of these, the tests that needed more than the access assumed."""
    reached: bool
    """Whether one of the tests measured under the access assumed, or a stronger one."""
    confirmed: NonNegativeInt
    """At least so many real persons' records came out under a test of it that is a signal."""
    sentence: Text
    """State, tests, and what it means: as it stands in the conclusion."""


class TestAccess(Record):
    """What one test needed to see of the model, and whether that lies within the access assumed."""

    __test__ = False  # pytest would collect a class of this name

    test: Name
    access: Access | None
    """None where the test was not measured or does not say."""
    within: bool | None
    """None where it cannot be said."""


class AssumedAccess(Record):
    """How near to the model somebody is assumed to come: one level above what the declared release context gives."""

    context: ReleaseContext
    declared: Access
    """The strongest access that the declared release context gives."""
    assumed: Access
    """One level above it, where there is one."""
    tests: tuple[TestAccess, ...]


class Conversion(Record):
    """A probability of one query, and what becomes of it when the model is asked as often as declared: 1 - (1 - p)^q."""

    test: Name
    what: Text
    asked: Text
    per_query: Estimate
    subject_queries: PositiveInt
    """Declared queries that one attacker can direct at one person's or work's data."""
    per_subject: Estimate
    lifetime_queries: PositiveInt
    lifetime: Estimate
    control_per_query: Estimate | None = None
    control_per_subject: Estimate | None = None
    control_lifetime: Estimate | None = None


class ExposedPart(Record):
    """The part of the data of which a test found most."""

    test: Name
    by: Text
    label: Text
    estimate: Estimate
    control: Estimate | None
    whole: Estimate
    """The same number over all of the data."""
    within: bool | None
    """Whether the upper bound of the part is at or below what is tolerated over all; None where they cannot be compared."""


class FormalBound(Record):
    """Differential privacy as a statement declares it: the one kind of evidence here that would speak of every record."""

    statement: Text
    """Id of the statement."""
    epsilon: float = Field(ge=0.0)
    delta: float = Field(ge=0.0, le=1.0)
    unit: Text
    """`record` or `person`."""
    false_positive_rate: float = Field(gt=0.0, lt=1.0)
    true_positive_rate_at_most: float = Field(ge=0.0, le=1.0)
    """min(1, e^epsilon FPR + delta, 1 - (1 - FPR - delta) e^-epsilon): what nobody could exceed, if the declaration is true."""
    test: Name | None
    """The test that bounded epsilon from below; None where none did."""
    lower: Estimate | None
    """The epsilon that it showed to be spent at least."""
    contradicted: bool
    """What was measured disagrees with the statement."""
    sentence: Text
    """The bound with its conditions."""
