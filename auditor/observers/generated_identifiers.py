"""Persons' identifiers in what a model says by itself, each with its number among those of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.core.evidence import Column
from auditor.observers.identifier_register import is_given, normal, register
from auditor.observers.recognizers import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.contract.protocol import OpenedSubject, Part
    from auditor.observers.beginnings import Beginning
    from auditor.observers.identifier_register import Register
    from auditor.observers.open_generations import Parameters


def identifier_columns() -> tuple[Column, ...]:
    """Return the columns that say which identifiers stand in what was said."""
    return (
        Column(
            name="identifiers",
            type="list<int32>",
            unit="none",
            meaning="Identifiers in what was said, by number: those of compared records first, as identifier-scores has them.",
        ),
        Column(name="identifier_kinds", type="list<int32>", unit="none", meaning="Type of each, by place in the list."),
        Column(name="identifier_given", type="list<bool>", unit="none", meaning="The prompt says it already."),
        Column(
            name="identifier_other",
            type="list<int32>",
            unit="none",
            meaning="Number of the person beyond the compared ones who alone holds it; -1: none.",
        ),
        Column(name="identifier_known", type="list<bool>", unit="none", meaning="It stands somewhere in the data."),
    )


def identifier_rows(
    rows: Sequence[Beginning],
    texts: Sequence[str],
    opened: OpenedSubject,
    asked: Parameters,
    part: Part,
    name: str,
) -> dict[str, list[list[int] | list[bool]]]:
    """Return the values of those columns, one list for each generation.

    Args:
        rows: What each begins with.
        texts: What the model said.
        opened: The subject.
        asked: Parameters of the observation.
        part: The part of the generations that these are.
        name: Of the observation, for what its shards share.
    """
    known = register(opened, part.seed, asked.documents, asked.identifiers)
    model = opened.model("subject")
    fresh: dict[tuple[str, str], int] = opened.remember(f"new identifiers {name} {part.seed}", dict)
    if not fresh and part.start:  # the run was taken up again
        for text in part.earlier("generated").to_pylist():
            _numbered(text, known, fresh)
    found: dict[str, list[list[int] | list[bool]]] = {column.name: [] for column in identifier_columns()}
    lead = 0 if model.begin is None else 1
    for row, text in zip(rows, texts, strict=True):
        prompt = model.decode(row.prefix[lead:].tolist())
        listed = _numbered(text, known, fresh)
        found["identifiers"].append([number for number, _, _ in listed])
        found["identifier_kinds"].append([KINDS.index(kind) for _, kind, _ in listed])
        found["identifier_given"].append([is_given(kind, value, prompt) for _, kind, value in listed])
        found["identifier_other"].append([known.other_person(kind, value) for _, kind, value in listed])
        found["identifier_known"].append([known.is_known(kind, normal(kind, value)) for _, kind, value in listed])
    return found


def _numbered(text: str, known: Register, fresh: dict[tuple[str, str], int]) -> list[tuple[int, str, str]]:
    """Return number, type and value of the identifiers of a text; new ones get the next numbers."""
    found = []
    for one in known.finder.find(text):
        key = (one.type, normal(one.type, one.value))
        number = known.numbers.get(key)
        if number is None:
            number = fresh.setdefault(key, len(known.known) + len(fresh))
        found.append((number, one.type, one.value))
    return found
