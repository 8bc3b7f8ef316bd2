"""Writes the forms that a policy needs, commented with the clauses that ask them, and adds to a file what it does not have yet.

What stands in a file is kept byte for byte: keys and forms are only put between its lines, and the file is read again before it is
handed back.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.core.statement import Form, Question, StatementEntry, StatementFile
from auditor.core.yaml import parse_yaml
from auditor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from auditor.assess.statements import StatementsFile
    from auditor.core.clause import Catalogue, Clause

WIDTH = 118
_READ_AS = {"true", "false", "null", "yes", "no", "on", "off"}
"""Words that a reader of YAML may take for something else."""
_BY_HAND = "Write the list with dashes and `answers:` with one key a line, or start anew in another file."


@dataclass(frozen=True, slots=True)
class NeededForm:
    """A form, with the clauses of a policy that ask it."""

    form: str
    title: str
    clauses: tuple[tuple[Catalogue, Clause], ...]
    questions: Mapping[str, Question]
    complete: bool
    """Every clause of the policy's catalogues that asks the form is among them, so that the entry need not name them."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the clauses."""
        return tuple(clause.id for _, clause in self.clauses)

    def asked_by(self, key: str) -> tuple[str, ...]:
        """Return the clauses that ask a key."""
        return tuple(clause.id for _, clause in self.clauses if clause.statement and key in clause.statement.asks)

    def only(self, ids: Collection[str]) -> NeededForm:
        """Return the same form for some of its clauses."""
        clauses = tuple(pair for pair in self.clauses if pair[1].id in ids)
        keys = {key for _, clause in clauses if clause.statement for key in clause.statement.asks}
        questions = {key: question for key, question in self.questions.items() if key in keys}
        complete = self.complete and len(clauses) == len(self.clauses)
        return NeededForm(self.form, self.title, clauses, questions, complete)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who makes the statements; empty where the form leaves it open."""

    author: str = ""
    role: str = ""
    organisation: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Updated:
    """A file with what it did not have yet."""

    text: str
    forms: tuple[str, ...]
    """Forms that were added."""
    keys: tuple[str, ...]
    """Keys that were added, as `statement.key`."""


def needed_forms(
    catalogues: Sequence[Catalogue], asked: Collection[str], forms: Mapping[str, Form]
) -> tuple[NeededForm, ...]:
    """Return the forms that clauses ask, in the order of the first clause that asks each.

    Args:
        catalogues: Catalogues of the policy.
        asked: Ids of the clauses whose statement the policy asks.
        forms: What the keys of each form ask, in words.
    """
    asking: dict[str, list[tuple[Catalogue, Clause]]] = {}
    every: dict[str, int] = {}
    for catalogue in catalogues:
        for clause in catalogue.clauses:
            if clause.statement is None:
                continue
            every[clause.statement.form] = every.get(clause.statement.form, 0) + 1
            if clause.id in asked:
                asking.setdefault(clause.statement.form, []).append((catalogue, clause))
    found = []
    for name, clauses in asking.items():
        known = forms.get(name, Form(form=name, title=_words(name), answers={}))
        keys = dict.fromkeys(key for _, clause in clauses if clause.statement for key in clause.statement.asks)
        questions = {key: known.answers.get(key, Question(asks=_words(key))) for key in keys}
        found.append(NeededForm(name, known.title, tuple(clauses), questions, len(clauses) == every[name]))
    return tuple(found)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def write_forms(needed: Sequence[NeededForm], *, about: str, signer: Signer | None = None) -> str:
    """Return a file with every form, empty, each below the clauses that ask it.

    Args:
        needed: The forms.
        about: For what, in words, for example `policy baseline`.
        signer: Who makes the statements, if that is known.
    """
    how = (
        f"Statements for {about}: what no test can answer. Answer under `answers`, in words, numbers, true or false; say "
        "the rest under `text`. Who signs is named under `author` and `role`. A form that stays empty counts as missing and "
        "stops nothing; an answer that stays empty is named as open. `not applicable (why)` is an answer, too. What is "
        "measured can contradict a statement; its content is not judged. Paraphrases are not the law's words. Not legal advice."
    )
    further = (
        "`auditor statements check` says what is missing; `auditor statements new --update` adds what a policy asks "
        "besides. Evidence is a list of files with their SHA-256: a file that was changed since is refused."
    )
    lines = [line for part in (how, further) for line in _comment(part)]
    taken: set[str] = set()
    for form in needed:
        lines += ["", *_entry(form, taken, signer or Signer())]
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str = "") -> list[str]:
    plain = " ".join(text.split())  # whatever a reader of YAML takes for the end of a line is not in a comment
    return textwrap.wrap(
        plain, WIDTH, initial_indent=f"# {indent}", subsequent_indent=f"# {indent}", break_on_hyphens=False
    )


def _entry(form: NeededForm, taken: set[str], signer: Signer) -> list[str]:
    lines = [f"# {' '.join(form.title.split())}"]
    for catalogue, clause in form.clauses:
        about = f"{clause.id} ({catalogue.id}, {clause.reference}): {clause.paraphrase}"
        lines += _comment(about, "  ")
    lines += [f"- id: {_word(_free(form.form, taken))}", f"  form: {_word(form.form)}"]
    if not form.complete:
        lines.append(f"  clauses: [{', '.join(map(_word, form.ids))}]")
    lines += ["  answers:", *_keys(form, "    ")]
    for key, value in (
        ("text", ""),
        ("author", signer.author),
        ("role", signer.role),
        ("organisation", signer.organisation),
        ("date", signer.date),
    ):
        lines.append(f"  {key}: {_quoted(value)}".rstrip())
    lines.append("  evidence: []".ljust(32) + "# - {path: file.pdf, sha256: ...}")
    return lines


def _keys(form: NeededForm, indent: str) -> list[str]:
    lines = []
    for key, question in form.questions.items():
        hint = {"number": "a number", "yes-or-no": "true or false", "date": '"2026-01-31"', "digest": "64 digits"}.get(
            question.kind, ""
        )
        hint = " | ".join(question.one_of) if question.one_of else hint
        asks = " ".join(question.asks.split())
        end = "" if asks.endswith((".", "?", "!", "...")) else "."
        by = ", ".join(form.asked_by(key))
        lines.append(f"{indent}{_word(key)}:".ljust(32) + f" # {asks}{end}{f' {hint}.' if hint else ''} ({by})")
    return lines


def _word(name: str) -> str:
    """Return a name as YAML reads it back, whatever a catalogue calls it."""
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name) and name.lower() not in _READ_AS else _quoted(name)


def _quoted(value: str) -> str:
    plain = " ".join(value.split())
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"' if plain else ""


def _free(form: str, taken: set[str]) -> str:
    name = re.sub(r"_statement$", "", form).replace("_", "-")
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    taken.add(found)
    return found


def update(file: StatementsFile, text: str, needed: Sequence[NeededForm], *, signer: Signer | None = None) -> Updated:
    """Return a file of statements with the forms and keys that it does not have yet; all that stands in it stays.

    Args:
        file: What the file says.
        text: Its text.
        needed: The forms that are needed.
        signer: Who makes the statements of forms that are added, if that is known.

    Raises:
        DataError: The file is written so that nothing can be put between its lines.
    """
    if not file.entries:
        msg = f"{file.document.path}: the file has no statements, so that nothing shows where one is put"
        raise DataError(msg, hint="Remove the file and write it anew.")
    after: dict[int, list[str]] = {}
    keys, forms, appended = [], [], []
    taken = {entry.id for entry in file.entries}
    for form in needed:
        own = [number for number, entry in enumerate(file.entries) if entry.form == form.form]
        covered = _covered(form, file.entries)
        there = {key for number in own for key in file.entries[number].answers or {}}
        here = form.only(covered)
        missing = [key for key in here.questions if key not in there]
        if own and missing:
            line, lines = _put(file, text, own[0], here, missing)
            after.setdefault(line, []).extend(lines)
            keys += [f"{file.entries[own[0]].id}.{key}" for key in missing]
        left = [name for name in form.ids if name not in covered]
        if left:
            part = form.only(left)
            forms.append(form.form)
            appended += ["", *_entry(part, taken, signer or Signer())]
    rows = text.split("\n")
    first = re.match(r"\s*-", rows[file.document.line_of(file.place(0)) - 1])
    if first is None:
        raise _closed(file)
    indent = first.group()[:-1]
    made = [line for number, row in enumerate(rows, start=1) for line in (row, *after.get(number, ()))]
    written = "\n".join(made)
    if appended:
        added = "\n".join(f"{indent}{line}" if line else "" for line in appended)
        written = f"{written.rstrip()}\n{added}\n"
    _check(file, written)
    return Updated(written, tuple(forms), tuple(keys))


def _covered(form: NeededForm, entries: Sequence[StatementEntry]) -> set[str]:
    """Return the clauses of a form that some entry answers, on the form or in free text."""
    covered: set[str] = set()
    for entry in entries:
        if entry.form == form.form and entry.clauses is None:
            covered |= set(form.ids)
        elif entry.form in {None, form.form}:
            covered |= set(entry.clauses or ()) & set(form.ids)
    return covered


def _put(
    file: StatementsFile, text: str, number: int, form: NeededForm, missing: Sequence[str]
) -> tuple[int, list[str]]:
    """Return the line behind which keys are put, and what is put there."""
    rows = text.split("\n")
    only = NeededForm(form.form, form.title, form.clauses, {key: form.questions[key] for key in missing}, form.complete)
    answers = file.place(number, "answers")
    name = "answers" if file.document.has(answers) else "form"
    line = file.document.line_of(file.place(number, name))
    opened = re.match(rf"(\s*(?:-\s+)?){name}:(.*)", rows[line - 1])
    if opened is None:
        raise _closed(file)
    column = len(opened.group(1))
    if name == "form":
        return line, [f"{' ' * column}answers:", *_keys(only, " " * (column + 2))]
    if not re.fullmatch(r"\s*(?:#.*)?\r?", opened.group(2)):
        raise _closed(file)
    below = [file.document.line_of((*answers, key)) for key in file.entries[number].answers or {}]
    indent = column + 2
    if below:
        row = rows[min(below) - 1]
        indent = len(row) - len(row.lstrip(" "))
    return line, _keys(only, " " * indent)


def _closed(file: StatementsFile) -> DataError:
    return DataError(f"{file.document.path}: nothing can be put between the lines of this file", hint=_BY_HAND)


def _check(file: StatementsFile, written: str) -> None:
    """Refuse a file in which anything that stood there before now says something else."""
    value = parse_yaml(written.encode(), file.document.path, DataError).value
    plain = {"statements": value} if isinstance(value, list) else value
    entries = StatementFile.from_plain(plain).statements
    for before, after in zip(file.entries, entries, strict=False):
        kept = after.model_copy(update={"answers": before.answers})
        if kept != before or before.answered != after.answered:
            raise _closed(file)
    if len(entries) < len(file.entries):
        raise _closed(file)
