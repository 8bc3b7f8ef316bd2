"""Reads the controller's statements: stored and shown, never judged."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from auditor.core.assessment import Statement
from auditor.core.record import Record, Text
from auditor.core.yaml import Document, load_yaml, misfit
from auditor.errors import DataError, did_you_mean
from auditor.evidence.digests import artifact

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditor.core.clause import Catalogue
    from auditor.core.subject import Artifact


class EvidenceFile(Record):
    """A file that a statement rests on, as the user names it."""

    path: Text
    sha256: str = ""
    """Digest of the file when the statement was made; it is checked if given."""


class StatementEntry(Record):
    """One statement, as the user writes it."""

    id: Text
    clauses: tuple[Text, ...] = Field(min_length=1)
    text: Text
    author: Text
    role: Text
    organisation: str = ""
    date: Text
    evidence: tuple[EvidenceFile, ...] = ()


class StatementFile(Record):
    """All statements of a file."""

    statements: tuple[StatementEntry, ...]


def load_statements(path: Path, catalogues: Sequence[Catalogue], *, today: dt.date) -> tuple[Statement, ...]:
    """Return the statements of a YAML file: a list, or a mapping with the key `statements`.

    Raises:
        DataError: The file does not fit, a clause does not exist, a date lies in the future, or a file that a statement
            rests on is missing or was changed.
    """
    document = load_yaml(path, DataError)
    listed = document.value if isinstance(document.value, list) else None
    plain: dict[str, Any] = {"statements": listed} if listed is not None else document.value
    try:
        entries = StatementFile.from_plain(plain).statements
    except ValidationError as error:
        # A bare list was wrapped to be validated: places in the file do not have the wrapper's key.
        raise misfit(document, error, DataError, StatementFile, skip=listed is not None) from error
    except TypeError as error:
        msg = f"{path}: not a list of statements"
        raise DataError(msg, hint="`auditor init` writes one to start from.") from error
    root: tuple[str | int, ...] = () if listed is not None else ("statements",)
    known = {clause.id for catalogue in catalogues for clause in catalogue.clauses}
    seen: set[str] = set()
    found = []
    for number, entry in enumerate(entries):
        place = (*root, number)
        if entry.id in seen:
            msg = f"{document.where((*place, 'id'))}: the statement '{entry.id}' stands twice"
            raise DataError(msg, hint="Statement ids are unique.")
        seen.add(entry.id)
        for position, clause in enumerate(entry.clauses):
            if clause not in known:
                msg = f"{document.where((*place, 'clauses', position))}: no clause of the policy is called '{clause}'"
                raise DataError(msg, hint=did_you_mean(clause, known))
        _check_date(entry.date, document, place, today)
        files = tuple(
            _evidence(item, path.parent, document, (*place, "evidence", position))
            for position, item in enumerate(entry.evidence)
        )
        found.append(Statement(**{**entry.plain(), "clauses": entry.clauses, "evidence": files}))
    return tuple(found)


def _check_date(text: str, document: Document, place: tuple[str | int, ...], today: dt.date) -> None:
    where = document.where((*place, "date"))
    try:
        date = dt.date.fromisoformat(text)
    except ValueError as error:
        msg = f"{where}: '{text}' is not an ISO date"
        raise DataError(msg, hint='Write for example "2026-01-31".') from error
    if date > today:
        msg = f"{where}: the statement is dated {text}, in the future"
        raise DataError(msg, hint="A statement carries the day it was made.")


def _evidence(item: EvidenceFile, base: Path, document: Document, place: tuple[str | int, ...]) -> Artifact:
    where = document.where(place)
    path = base / item.path
    if not path.is_file():
        msg = f"{where}: there is no file '{item.path}'"
        raise DataError(msg, hint="Paths are relative to the statements file.")
    found = artifact(path, base)
    if item.sha256 and item.sha256.lower() != found.sha256:
        msg = f"{where}: '{item.path}' was changed since the statement was made (its SHA-256 is {found.sha256})"
        raise DataError(msg, hint="Put the file back, or make the statement again with the new digest.")
    return found
