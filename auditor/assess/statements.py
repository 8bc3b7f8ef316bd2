"""Reads the controller's statements: stored and shown, never judged."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from auditor.core.assessment import Statement
from auditor.core.statement import EvidenceFile, StatementEntry, StatementFile
from auditor.core.yaml import Document, load_yaml, misfit
from auditor.errors import DataError, did_you_mean
from auditor.evidence.digests import artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from auditor.core.clause import Catalogue, Clause
    from auditor.core.statement import Form
    from auditor.core.subject import Artifact
    from auditor.core.yaml import Place

MOST = 1000
"""Statements that a file may hold: more than a person reads."""
_NEEDED = ("author", "role", "date")


def load_statements(
    path: Path,
    catalogues: Sequence[Catalogue],
    *,
    today: dt.date,
    others: Callable[[], Sequence[Catalogue]] = tuple,
    forms: Mapping[str, Form] | None = None,
) -> tuple[Statement, ...]:
    """Return the statements of a YAML file: a list, or a mapping with the key `statements`.

    A form that nobody filled in is no statement and is left out. A statement that names no clauses answers every clause of the
    catalogues that asks its form.

    Args:
        path: The file.
        catalogues: Catalogues of the policy.
        today: No statement is made later.
        others: Returns further catalogues whose clauses a statement may name: one file can serve several policies. It is only called
            where a clause or form is not among the policy's.
        forms: What the keys of each form ask; what is not there is asked in words.

    Raises:
        DataError: The file does not fit, a clause, form or key does not exist, an answer is of the wrong kind, a date lies in the
            future, nobody signs, or a file that a statement rests on is missing or was changed.
    """
    file = read_file(path)
    own = [clause for catalogue in catalogues for clause in catalogue.clauses]
    known = {clause.id for clause in own} | {clause.statement.form for clause in own if clause.statement is not None}
    named = {name for entry in file.entries for name in (*(entry.clauses or ()), *([entry.form] if entry.form else ()))}
    rest = [] if named <= known else [clause for catalogue in others() for clause in catalogue.clauses]
    reader = _Reader(file, own, rest, forms or {}, today)
    return tuple(
        found for number, entry in enumerate(reader.file.entries) if (found := reader.statement(number, entry))
    )


class StatementsFile:
    """A file of statements as it was written, with the place of everything in it."""

    def __init__(self, document: Document, entries: tuple[StatementEntry, ...], root: Place) -> None:
        """Keep what was read; `root` is the place of the list in the document."""
        self.document = document
        self.entries = entries
        self.root = root

    def place(self, number: int, *parts: str | int) -> Place:
        """Return the place of a part of an entry in the document."""
        return (*self.root, number, *parts)

    def where(self, number: int, *parts: str | int) -> str:
        """Return `file:line` of a part of an entry."""
        return self.document.where(self.place(number, *parts))


def read_file(path: Path) -> StatementsFile:
    """Return the entries of a file of statements, filled in or not.

    Raises:
        DataError: The file does not fit its schema, holds too many statements or an id twice.
    """
    document = load_yaml(path, DataError)
    listed = document.value if isinstance(document.value, list) else None
    plain: Any = {"statements": listed} if listed is not None else document.value
    root: tuple[str | int, ...] = () if listed is not None else ("statements",)
    rows = plain.get("statements") if isinstance(plain, dict) else None
    if isinstance(rows, list):
        _check_shape(document, rows, root)
    try:
        entries = StatementFile.from_plain(plain).statements
    except ValidationError as error:
        # A bare list was wrapped to be validated: places in the file do not have the wrapper's key.
        raise misfit(document, error, DataError, StatementFile, skip=listed is not None) from error
    except TypeError as error:
        msg = f"{path}: not a list of statements"
        raise DataError(msg, hint="`auditor statements new` writes one to start from.") from error
    found = StatementsFile(document, entries, root)
    lines: dict[str, int] = {}
    for number, entry in enumerate(entries):
        if entry.id in lines:
            msg = f"{found.where(number, 'id')}: the statement '{entry.id}' stands already on line {lines[entry.id]}"
            raise DataError(msg, hint="Statement ids are unique.")
        lines[entry.id] = document.line_of(found.place(number, "id"))
    return found


def _check_shape(document: Document, rows: list[Any], root: Place) -> None:
    """Refuse what the schema would refuse in words that nobody could use."""
    if len(rows) > MOST:
        msg = f"{document.where((*root, MOST))}: {len(rows):,} statements are more than the {MOST:,} a file may hold"
        raise DataError(msg, hint="Answer many clauses by one statement on a form; `auditor statements new` writes it.")
    for number, row in enumerate(rows):
        answers = row.get("answers") if isinstance(row, dict) else None
        for key, value in answers.items() if isinstance(answers, dict) else ():
            if isinstance(value, list | dict):
                where = document.where((*root, number, "answers", key))
                msg = f"{where}: the answer to '{key}' is a {'list' if isinstance(value, list) else 'mapping'}"
                raise DataError(msg, hint="Write it in words, in one text; long ones go under `key: >-`.")


class _Reader:
    """Turns the entries of a file into statements, and refuses what does not hold."""

    def __init__(
        self,
        file: StatementsFile,
        own: Sequence[Clause],
        rest: Sequence[Clause],
        forms: Mapping[str, Form],
        today: dt.date,
    ) -> None:
        self.file = file
        self._today = today
        self._forms = forms
        self._own = own
        self._clauses = {clause.id: clause for clause in (*rest, *self._own)}
        self._asks: dict[str, dict[str, None]] = {}
        for clause in self._clauses.values():
            if clause.statement is not None:
                self._asks.setdefault(clause.statement.form, {}).update(dict.fromkeys(clause.statement.asks))
        self._base = file.document.path.parent

    def statement(self, number: int, entry: StatementEntry) -> Statement | None:
        """Return the statement of an entry; None where nobody filled it in."""
        self._check_form(number, entry)
        self._check_answers(number, entry)
        clauses = self._clauses_of(number, entry)
        if entry.untouched and entry.form is not None:
            return None
        if not entry.text and not entry.answered:
            self._refuse(number, ["text"], "'text' is missing", "Say it in words, or answer the keys of a form.")
        for key in _NEEDED:
            if not getattr(entry, key):
                self._refuse(
                    number, [key], f"'{key}' is missing", "A statement carries who makes it, in which role, and when."
                )
        self._check_date(number, str(entry.date))
        files = tuple(self._evidence(item, number, position) for position, item in enumerate(entry.evidence or ()))
        return Statement(
            id=entry.id,
            clauses=clauses,
            form=entry.form or "",
            answers=entry.answered,
            text=entry.text or "",
            author=str(entry.author),
            role=str(entry.role),
            organisation=entry.organisation or "",
            date=str(entry.date),
            evidence=files,
        )

    def _refuse(self, number: int, parts: Sequence[str | int], what: str, hint: str) -> None:
        msg = f"{self.file.where(number, *parts)}: {what}"
        raise DataError(msg, hint=hint)

    def _check_form(self, number: int, entry: StatementEntry) -> None:
        if entry.form is not None and entry.form not in self._asks:
            self._refuse(
                number, ["form"], f"no clause asks a form '{entry.form}'", did_you_mean(entry.form, self._asks)
            )
        if entry.form is None and entry.answers is not None:
            hint = f"Name the form whose keys these are. {_list(self._asks)}"
            self._refuse(number, ["answers"], "'answers' stand without a `form`", hint)

    def _check_answers(self, number: int, entry: StatementEntry) -> None:
        if entry.form is None:
            return
        form = self._forms.get(entry.form)
        known = self._asks[entry.form]
        for key in entry.answers or {}:
            if key not in known:
                what = f"the form '{entry.form}' has no key '{key}'"
                self._refuse(number, ["answers", key], what, did_you_mean(key, known))
        for key, answer in entry.answered.items():
            question = form.answers.get(key) if form is not None else None
            if question is not None and (hint := question.misfit(answer)):
                shown = str(answer).lower() if isinstance(answer, bool) else str(answer)
                kind = "one of the words" if question.one_of else _KINDS[question.kind]
                self._refuse(number, ["answers", key], f"{key}: '{shown[:60]}' is not {kind}", hint)

    def _clauses_of(self, number: int, entry: StatementEntry) -> tuple[str, ...]:
        if entry.clauses is None:
            if entry.form is None:
                what = "neither `clauses` nor a `form` says what it answers"
                self._refuse(number, ["clauses"], what, "`auditor clauses` lists the clauses and the forms they ask.")
            own = _asking(self._own, entry.form)
            return own or _asking(self._clauses.values(), entry.form)
        for position, name in enumerate(entry.clauses):
            if name not in self._clauses:
                what = f"no clause of the policy is called '{name}'"
                self._refuse(number, ["clauses", position], what, did_you_mean(name, self._clauses))
            asked = self._clauses[name].statement
            if entry.form is not None and (asked is None or asked.form != entry.form):
                what = f"the clause '{name}' asks {f'the form {asked.form!r}' if asked else 'no statement'}, not '{entry.form}'"
                self._refuse(number, ["clauses", position], what, "Name the clauses that ask this form, or none.")
        return entry.clauses

    def _check_date(self, number: int, text: str) -> None:
        try:
            date = dt.date.fromisoformat(text)
        except ValueError:
            self._refuse(number, ["date"], f"'{text}' is not an ISO date", 'Write for example "2026-01-31".')
            return
        if date > self._today:
            what = f"the statement is dated {text}, in the future"
            self._refuse(number, ["date"], what, "A statement carries the day it was made.")

    def _evidence(self, item: EvidenceFile, number: int, position: int) -> Artifact:
        parts = ("evidence", position)
        path = self._base / item.path
        if not path.is_file():
            self._refuse(number, parts, f"there is no file '{item.path}'", "Paths are relative to the statements file.")
        found = artifact(path, self._base)
        if item.sha256 and item.sha256.lower() != found.sha256:
            what = f"'{item.path}' was changed since the statement was made (its SHA-256 is {found.sha256})"
            self._refuse(number, parts, what, "Put the file back, or make the statement again with the new digest.")
        return found


_KINDS = {
    "words": "in words",
    "number": "a number of 0 or more",
    "yes-or-no": "true or false",
    "date": "an ISO date",
    "digest": "a SHA-256",
}


def _list(words: Iterable[str]) -> str:
    return f"Known: {', '.join(sorted(words))}."


def _asking(clauses: Iterable[Clause], form: str | None) -> tuple[str, ...]:
    return tuple(clause.id for clause in clauses if clause.statement is not None and clause.statement.form == form)
