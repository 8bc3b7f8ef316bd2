"""Findings and statements, clause by clause. No score, no verdict of compliance."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from auditor.core.clause import Clause
from auditor.core.finding import Estimate, Outcome
from auditor.core.reading import AssumedAccess, Conversion, ExposedPart, FormalBound, ProngState
from auditor.core.record import Name, Record, Text
from auditor.core.statement import Answer
from auditor.core.subject import Artifact


class Statement(Record):
    """A statement by the controller, not tested."""

    id: Text
    clauses: tuple[Text, ...]
    form: str = ""
    """The form it is written on; empty: in free text alone."""
    answers: dict[str, Answer] = Field(default_factory=dict)
    """What the keys of the form ask, answered; a key that was left empty is not there."""
    text: str = ""
    """In free words; empty where the answers say everything."""
    author: Text
    role: Text
    organisation: str = ""
    date: Text
    """ISO date."""
    evidence: tuple[Artifact, ...] = ()
    """Files the statement rests on, by digest."""


class StatementState(StrEnum):
    """State of a clause that a statement answers."""

    SUPPLIED = "supplied"
    MISSING = "missing"
    CONTRADICTED = "contradicted"


class Contradiction(Record):
    """Something measured or declared that a statement says is otherwise."""

    statement: Text
    """Id of the statement."""
    key: str = ""
    """The answer that is contradicted; empty: its free text."""
    claim: Text
    """What the statement says, in our words."""
    test: Name | None
    """The test that found otherwise; None: the subject file declares otherwise."""
    estimate: Estimate | None
    """What it found, with the interval."""
    words: Text
    """All of it in one sentence."""


class ClauseState(Record):
    """The state of one clause: the worst outcome among its tests, and whether its statement is there."""

    clause: Clause
    catalogue: Text
    outcome: Outcome | None
    """None where no test speaks to it."""
    decided_by: tuple[Name, ...]
    """The tests that have the worst outcome."""
    tests: tuple[Name, ...]
    """All tests of the policy that are evidence for it."""
    statement: StatementState | None
    """None where no statement is asked."""
    statement_ids: tuple[Text, ...] = ()
    unanswered: tuple[Text, ...] = ()
    """Keys that the clause asks and that its statements, written on a form, leave open: supplied, but incomplete."""
    contradiction: str = ""
    """In words; empty where nothing disagrees."""
    contradictions: tuple[Contradiction, ...] = ()
    """The same one by one."""
    rationale: Text


class AttackClassState(Record):
    """What is known about one attack class: which tests of the policy are evidence about it, and their worst outcome."""

    id: Text
    name: Text
    tests: tuple[Name, ...]
    """Tests of the policy that are evidence about it."""
    outcome: Outcome | None
    """None where no test of the policy is evidence about it."""
    not_tested: str
    """Why nothing here tested it; empty where a test measured it."""


class Assessment(Record):
    """The whole assessment."""

    clauses: tuple[ClauseState, ...]
    conclusion: tuple[Text, ...]
    """Sentences from templates; no other words reach a conclusion."""
    attack_classes: tuple[AttackClassState, ...] = ()
    """Every attack class that the clauses speak of, tested or not."""
    attack_classes_not_tested: tuple[Text, ...]
    limits: tuple[Text, ...]
    triggers: tuple[Text, ...]
    """What ends the validity of the report before its date."""
    exit_code: int
    prongs: tuple[ProngState, ...] = ()
    """The two ways to obtain training data, each with its own sentence; none where no clause is about one."""
    access: AssumedAccess | None = None
    """The access assumed, and which tests lie within it."""
    conversions: tuple[Conversion, ...] = ()
    """Probabilities of one query at the declared numbers of queries."""
    exposed_parts: tuple[ExposedPart, ...] = ()
    """The most exposed part of the data under each test that looked at parts."""
    formal_bounds: tuple[FormalBound, ...] = ()
    """Differential privacy as statements declare it."""
