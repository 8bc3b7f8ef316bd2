"""Statements as a person writes them, and the forms they are written on.

A clause names a form and the keys it asks of it; a form says what each key asks, in words, and what kind of answer fits. The forms
are data (`policies/clauses/statement-forms.yaml`), as the clauses are.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Literal

from pydantic import Field, field_validator

from auditor.core.record import Record, Text

Answer = bool | float | str
"""What can be answered: yes or no, a number, words."""

NOT_APPLICABLE = re.compile(r"(?:not applicable|none)\b", re.IGNORECASE)
"""How an answer begins that says that there is nothing to answer, whatever kind was asked."""
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


class Question(Record):
    """What one key of a form asks."""

    asks: Text
    """The question, in plain words."""
    kind: Literal["words", "number", "yes-or-no", "date", "digest"] = "words"
    """What kind of answer fits."""
    one_of: tuple[Text, ...] = ()
    """The only words that fit, if there are any."""

    def misfit(self, answer: Answer) -> str:
        """Return what would fit, in words; empty where the answer fits."""
        if isinstance(answer, str) and NOT_APPLICABLE.match(answer):
            return ""
        if self.one_of:
            return "" if answer in self.one_of else f"Write one of: {', '.join(self.one_of)}."
        number = isinstance(answer, int | float) and not isinstance(answer, bool)
        fits, hint = {
            "words": (isinstance(answer, str), "Write it in words: put a number into quotes, so that 1.10 stays 1.10."),
            "number": (number and float(answer) >= 0.0, "Write a number of 0 or more."),
            "yes-or-no": (isinstance(answer, bool), "Write true or false."),
            "date": (_is_date(answer), 'Write for example "2026-01-31".'),
            "digest": (
                isinstance(answer, str) and _DIGEST.fullmatch(answer) is not None,
                "Write the 64 hexadecimal digits that `sha256sum` prints.",
            ),
        }[self.kind]
        return "" if fits else f"{hint} `not applicable (why)` is an answer, too."


def _is_date(answer: Answer) -> bool:
    try:
        dt.date.fromisoformat(str(answer))
    except ValueError:
        return False
    return isinstance(answer, str)


class Form(Record):
    """A form on which a statement is written."""

    form: Text
    title: Text
    answers: dict[str, Question]


class Forms(Record):
    """All forms, as the file of that name holds them."""

    forms: tuple[Form, ...] = Field(min_length=1)


class EvidenceFile(Record):
    """A file that a statement rests on, as the user names it."""

    path: Text
    sha256: str = ""
    """Digest of the file when the statement was made; it is checked if given."""


class StatementEntry(Record):
    """One statement, as the user writes it: on a form, in free text, or both. A form that nobody filled in is no statement."""

    id: Text
    clauses: tuple[Text, ...] | None = Field(default=None, min_length=1)
    """Clauses that it answers; left out: every clause of the policy that asks its form."""
    form: Text | None = None
    answers: dict[str, Answer | None] | None = None
    """What each key of the form asks, answered; an empty one stays open."""
    text: str | None = None
    author: str | None = None
    """Who says so; needed as soon as something is answered, as are `role` and `date`."""
    role: str | None = None
    organisation: str | None = None
    date: str | None = None
    """ISO date, today at the latest."""
    evidence: tuple[EvidenceFile, ...] | None = None

    @field_validator("text", "author", "role", "organisation", "date")
    @classmethod
    def _stripped(cls, value: str | None) -> str | None:
        return value.strip() if value else None

    @property
    def answered(self) -> dict[str, Answer]:
        """The answers that are not empty, in the order they were written."""
        given = {key: value.strip() if isinstance(value, str) else value for key, value in (self.answers or {}).items()}
        return {key: value for key, value in given.items() if value is not None and value != ""}

    @property
    def untouched(self) -> bool:
        """Whether nobody filled it in."""
        return not (self.text or self.answered or self.evidence)


class StatementFile(Record):
    """All statements of a file."""

    statements: tuple[StatementEntry, ...]
