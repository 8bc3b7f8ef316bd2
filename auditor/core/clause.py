"""Legal clauses as data: tests know none of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from auditor.core.policy import Least
from auditor.core.record import Name, Record, Text


class ClauseKind(StrEnum):
    """What can answer a clause."""

    TESTABLE = "testable"
    HYBRID = "hybrid"
    DOCUMENTARY = "documentary"
    INTERPRETIVE = "interpretive"


class AttackClass(Record):
    """A way to obtain or recognise training data, as the clauses mean it, and the tests that are evidence about it."""

    id: Text
    name: Text
    measures: Text
    """What has to be estimated."""
    needs: Text
    """What the subject has to supply."""
    access: tuple[Literal["text", "scores", "weights", "data", "documents", "system", "any"], ...] = Field(min_length=1)
    """Access to the model, or to what lies beside it, with which it can be tried; `system`: the deployed system."""
    least: Least = Least()
    """The least sample with which its absence can be shown at the tolerances of the shipped policies."""
    tests: tuple[Name, ...] = ()
    """Tests whose findings are evidence about it; none: nothing here tests it, and every report says so."""
    every_test: bool = False
    """Every test is evidence about it: it is about how tests are made, not about one of them."""
    brings_out: bool = False
    """Where it succeeds, records come out: if they are of persons, somebody must decide whether that is a breach to notify."""


class AttackClasses(Record):
    """All attack classes, as the file of that name holds them."""

    attack_classes: tuple[AttackClass, ...] = Field(min_length=1)


class Source(Record):
    """Where the wording of clauses was seen."""

    id: Text
    what: Text
    at: Text
    """Address, or what kind of source without one it is."""


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
    sources: tuple[Text, ...] = ()
    """Ids of the catalogue's sources in which it was seen."""
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
    classes: tuple[Text, ...] = ()
    """Ids of the attack classes it speaks of, in the file `attack-classes.yaml` beside the catalogue."""
    tests: tuple[Name, ...] = ()
    """Tests whose findings are evidence for it: those of its classes, which the reader adds, and others named here."""
    every_test: bool = False
    """Every test of a policy is evidence for it; added by the reader from its classes."""
    attack_classes: tuple[Text, ...] = ()
    """Names of its classes that no test here tries; added by the reader."""
    statement: StatementForm | None = None
    verification: Verification


class Catalogue(Record):
    """The clauses of one instrument."""

    id: Text
    instrument: Text
    """Full name."""
    force: Text
    """What kind of instrument it is, and whom it binds."""
    version: Text
    issued: Text
    """ISO date."""
    status: Literal["in force", "in use", "draft", "contested"]
    source: Text
    """Address of the official text."""
    review_by: Text
    """ISO date by which a person must read it again."""
    compiled: Text
    sources: tuple[Source, ...] = ()
    clauses: tuple[Clause, ...] = Field(min_length=1)
