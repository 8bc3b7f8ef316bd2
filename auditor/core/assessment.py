"""Findings and statements, clause by clause. No score, no verdict of compliance."""

from __future__ import annotations

from enum import StrEnum

from auditor.core.clause import Clause
from auditor.core.finding import Outcome
from auditor.core.record import Name, Record, Text
from auditor.core.subject import Artifact


class Statement(Record):
    """A statement by the controller, not tested."""

    id: Text
    clauses: tuple[Text, ...]
    text: Text
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
    contradiction: str = ""
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
