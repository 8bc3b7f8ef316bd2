"""The form of a text: its fixed words and a place for each value. How one is put together, written and recognised as something printed."""

from __future__ import annotations

import itertools
import re
import string
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Form = tuple[str | None, ...]
"""Literal text and None for each value."""


class Choice(NamedTuple):
    """One of the ways a text comes out, and on what that rests."""

    form: Form
    given: frozenset[tuple[str, bool]] = frozenset()
    """Conditions of the source and whether they held: two that contradict each other never meet in one text."""


VALUE = Choice((None,))
MOST_FORMS = 12
"""Combinations of one text that are spelled out; beyond, its alternatives are forms of their own."""

_NAMED = re.compile(r"\{[a-z_]+(?:[:!][^{}]*)?\}")
_MARKUP = re.compile(
    r"[\n#]|://|</|/>|=\"|^data:|\{secret\}|^import |[*] \{|->|templates/|^\^|^tag:|apt-get|sans-serif|\.jsonl|_seen\b"
)
_BEGINS = re.compile(r" [A-Z]")
_ENDS = re.compile(r"[.!?] $")
_CODE = re.compile(r"[\w./:@%{}<>=+*-]*")


def written(form: Form) -> str:
    """Return a form as a message: values become `{0}`, `{1}`; braces of the text are doubled."""
    places = itertools.count()
    return "".join(
        f"{{{next(places)}}}" if part is None else part.replace("{", "{{").replace("}", "}}") for part in merged(form)
    )


def merged(form: Form) -> Form:
    """Return a form whose neighbouring fixed words are one."""
    out: list[str | None] = []
    for part in form:
        before = out[-1] if out else None
        if part is not None and before is not None:
            out[-1] = before + part
        elif part != "":
            out.append(part)
    return tuple(out)


def together(choices: Sequence[Sequence[Choice]]) -> list[Choice]:
    """Return every way in which parts come together without contradiction."""
    found = [Choice(())]
    for each in choices:
        found = [
            Choice((*left.form, *right.form), left.given | right.given)
            for left, right in itertools.product(found, each)
            if not any((asked, not held) in left.given for asked, held in right.given)
        ][: 50 * MOST_FORMS]
    return unique(found)


def held(choice: Choice, asked: str, *, true: bool) -> Choice:
    """Return a choice that rests on one more condition."""
    return choice._replace(given=choice.given | {(asked, true)})


def unique(choices: Sequence[Choice]) -> list[Choice]:
    """Return choices without those that stand twice."""
    return list(dict.fromkeys(choice._replace(form=merged(choice.form)) for choice in choices))


def of_template(form: Form) -> Iterator[Form]:
    """Return a text that is itself a template of named values as a form."""
    text = "".join(part or "" for part in form)
    if None in form or not _NAMED.search(text):
        yield form
        return
    try:
        fields = list(string.Formatter().parse(text))
    except ValueError:
        yield form
        return
    parts: list[str | None] = []
    for literal, name, _, _ in fields:
        parts.append(literal)
        if name is not None:
            parts.append(None)
    yield merged(tuple(parts))


def core(form: Form) -> Form:
    """Return a form without what stands at its ends: white space, commas, and a value that is a sentence of its own."""
    parts = list(form)
    while parts:
        first, last = parts[0], parts[-1]
        if first is not None and first != first.lstrip(" ,;:"):
            parts[0] = first.lstrip(" ,;:")
        elif last is not None and last != last.rstrip(" ,;"):
            parts[-1] = last.rstrip(" ,;")
        elif first == "" or (len(parts) > 1 and first is None and _BEGINS.match(parts[1] or "")):
            parts = parts[1:]
        elif last == "" or (len(parts) > 1 and last is None and _ENDS.search(parts[-2] or "")):
            parts = parts[:-1]
        else:
            break
    return tuple(parts)


def is_read(form: Form, *, label: bool) -> bool:
    """Return whether a form holds words that are printed: a sentence or a label, no name of a column and no code."""
    text = " ".join(part for part in form if part is not None)
    letters = sum(letter.isalpha() for letter in text)
    if letters < 3 or _MARKUP.search(text):
        return False
    if None in form and " " not in "".join(part or "" for part in form):
        return False  # the name of something, with a number
    if len(form) == 1 and _CODE.fullmatch(text):
        return label and text.isalpha() and not text.isupper()
    return len(re.findall(r"[A-Za-z]{2,}", text)) >= (1 if label or None in form or re.search(r"\d", text) else 2)
