"""Legal clauses as data: tests know none of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from auditor.core.record import Name, Record, Text


class ClauseKind(StrEnum):
    """What can answer a clause."""

    TESTABLE = "testable"
    HYBRID = "hybrid"
    DOCUMENTARY = "documentary"
    INTERPRETIVE = "interpretive"


class StatementForm(Record):
    """The statement a clause asks of the controller."""

    form: Text
    asks: tuple[Text, ...] = ()


class Verification(Record):
    """How far the wording of a clause was checked against its source."""

    verified: bool
    """True only where the operative wording was seen in a source."""
    level: Text
    paragraph_confirmed: bool
    """False: the paragraph number is inferred, and is printed as unverified."""
    note: str = ""


class Clause(Record):
    """One clause of an instrument, in our own words."""

    id: Text
    reference: Text
    title: Text
    paraphrase: Text
    quote: str = ""
    """A short quotation, only where the wording matters."""
    kind: ClauseKind
    prong: Literal[1, 2] | None = None
    """1: direct extraction, 2: obtaining data from queries; kept apart."""
    shows: Text
    """What a test can show about it."""
    cannot_show: str = ""
    """What no test can show about it."""
    tests: tuple[Name, ...] = ()
    """Tests whose findings are evidence for it."""
    attack_classes: tuple[Text, ...] = ()
    """Attack classes it names, for the list of what was not tested."""
    statement: StatementForm | None = None
    verification: Verification


class Catalogue(Record):
    """The clauses of one instrument."""

    id: Text
    instrument: Text
    """Full name."""
    version: Text
    issued: Text
    """ISO date."""
    status: Literal["in force", "in use", "draft", "contested"]
    source: Text
    """Address of the official text."""
    review_by: Text
    """ISO date by which a person must read it again."""
    compiled: Text
    clauses: tuple[Clause, ...] = Field(min_length=1)
