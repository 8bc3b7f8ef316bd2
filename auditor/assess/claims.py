"""What a statement plainly claims that something measured or declared can disagree with.

Answers on a form come first: they say yes or no. Free words are read second, and only a plain sentence counts: one with a condition,
a denial or a doubt in it claims nothing here.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from auditor.core.statement import NOT_APPLICABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.core.assessment import Statement
    from auditor.core.statement import Answer

TRAINING_METHOD = "training_method_statement"
TRAINING_DATA = "training_data_statement"
RELEASE_CONTEXT = "release_context_statement"


class Kind(StrEnum):
    """What is claimed, in words."""

    DEDUPLICATED = "the data was deduplicated"
    NO_PERSONAL_DATA = "there was no personal data in training"
    NOTHING_EXTRACTED = "no record can be extracted"
    NO_WORKS = "the model gives out no copies of works"
    EPSILON = "training had differential privacy"
    CONTEXT = "the release context is another"


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of a statement."""

    kind: Kind
    key: str = ""
    """The answer that makes it; empty: the free text."""
    words: str = ""
    """The claim in words, with its numbers."""
    epsilon: float = 0.0
    delta: float = 0.0
    unit: str = ""
    context: str = ""


_TEXTS: dict[Kind, tuple[re.Pattern[str], ...]] = {
    Kind.DEDUPLICATED: (
        re.compile(
            r"\b(?:was|were|is|are|have been|has been|we|we have)\s+(?:fully\s+|all\s+)?de-?duplicated\b", re.IGNORECASE
        ),
    ),
    Kind.NOTHING_EXTRACTED: (
        re.compile(
            r"\b(?:no|none of the)\s+(?:training\s+)?records?\s+(?:can|could)\s+be\s+extracted\b", re.IGNORECASE
        ),
    ),
    Kind.NO_PERSONAL_DATA: (
        re.compile(
            r"\b(?:contain|hold|include)(?:s|ed)?\s+no\s+personal\s+data\b"
            r"|\bno\s+personal\s+data\s+(?:was|were|is|are)\s+(?:used|in|contained|included)\b",
            re.IGNORECASE,
        ),
        re.compile(r"\btrain", re.IGNORECASE),
    ),
    Kind.NO_WORKS: (
        re.compile(
            r"\bno\s+(?:copy|copies|passages?|reproductions?)\s+(?:of|from)\s+(?:[\w-]+\s+){0,3}?works?\b",
            re.IGNORECASE,
        ),
        re.compile(r"\b(?:model|weights|outputs?)\b", re.IGNORECASE),
    ),
}
"""Patterns that must all stand in one sentence."""

_UNSURE = re.compile(
    r"\b(?:not|never|cannot|neither|whether|if|unless|partly|partially|only|should|shall|will|would|may|might|to be"
    r"|except|excepting|excluding|other than|apart from|aside from|besides|beyond|without|save for|but for"
    r"|false|untrue|wrong|incorrect|no evidence|no proof|validation|test set|test data|held-out|evaluation)\b|n't\b|\?\s*$",
    re.IGNORECASE,
)
"""Words that make a sentence something other than a plain claim: a statement is only contradicted where it plainly claims."""

_DENIED = re.compile(r"\s*(?:no|false|wrong|untrue|incorrect)\b\W*$", re.IGNORECASE)
"""A sentence after a claim that takes it back."""


def claims(statement: Statement) -> tuple[Claim, ...]:
    """Return what a statement plainly claims: by its answers first, by its words where no answer speaks to it."""
    answered = dict(_answers(statement))
    found = [claim for claim in answered.values() if claim is not None]
    for kind, patterns in _TEXTS.items():
        if kind in answered:
            continue
        texts = {"": statement.text, **{key: said for key, said in statement.answers.items() if isinstance(said, str)}}
        found += [Claim(kind, key=key, words=kind.value) for key, text in texts.items() if _says(text, patterns)]
    return tuple(found)


def _says(text: str, patterns: tuple[re.Pattern[str], ...]) -> bool:
    """Return whether a sentence of the text plainly makes the claim."""
    sentences = [part for part in re.split(r"(?<=[.;:!?])\s+|\n\n", text) if part.strip()]
    return any(
        all(pattern.search(sentence) for pattern in patterns)
        and not _UNSURE.search(sentence)
        and not _DENIED.match(after)
        for sentence, after in itertools.pairwise([*sentences, ""])
    )


def _answers(statement: Statement) -> Iterator[tuple[Kind, Claim | None]]:
    """Yield what the answers say of each kind of claim; None: they say that it is not claimed."""
    said = statement.answers
    if statement.form == TRAINING_METHOD:
        if isinstance(said.get("dedup"), bool):
            kind = Kind.DEDUPLICATED
            yield kind, Claim(kind, "dedup", f"{kind.value} (dedup: true)") if said["dedup"] is True else None
        yield Kind.EPSILON, _epsilon(said)
    if statement.form == TRAINING_DATA and isinstance(said.get("personal_data_in_training"), bool):
        kind, key = Kind.NO_PERSONAL_DATA, "personal_data_in_training"
        yield kind, Claim(kind, key, f"{kind.value} ({key}: false)") if said[key] is False else None
    context = said.get("context")
    if statement.form == RELEASE_CONTEXT and isinstance(context, str) and not NOT_APPLICABLE.match(context):
        yield Kind.CONTEXT, Claim(Kind.CONTEXT, "context", f"the release context is {context}", context=context)


def _epsilon(said: dict[str, Answer]) -> Claim | None:
    """Return the claim of differential privacy; None where epsilon, delta or the unit is open: then it says nothing definite.

    A delta that is not applicable is one of 0.
    """
    epsilon, delta, unit = _number(said.get("epsilon")), _number(said.get("delta")), said.get("unit")
    without = said.get("delta")
    if delta is None and isinstance(without, str) and NOT_APPLICABLE.match(without):
        delta = 0.0
    if epsilon is None or delta is None or unit not in {"record", "person"}:
        return None
    words = f"training had differential privacy with epsilon {epsilon:g} and delta {delta:g} for one {unit}"
    return Claim(Kind.EPSILON, "epsilon", words, epsilon=epsilon, delta=delta, unit=str(unit))


def _number(value: Answer | None) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
