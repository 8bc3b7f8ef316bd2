"""How the report writes values: numbers with units, outcomes in word and shape, texts that cannot mislead."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING

from auditor.core.assessment import StatementState
from auditor.core.finding import Outcome

if TYPE_CHECKING:
    from auditor.core.finding import Estimate

LONGEST_TEXT = 2000
"""Characters of a text that are printed."""
MOST_MARKS = 4
"""Combining marks in a row that are drawn on one letter."""

OUTCOMES = {
    Outcome.SIGNAL: (
        "signal",
        "Signal",
        "\u25a0",
        "More than in the control was shown, or a record of a real person came out.",
    ),
    Outcome.INVALID: ("invalid", "Invalid", "\u2715", "A control failed: the number means nothing."),
    Outcome.NOT_RUN: ("not-run", "Not run", "\u2013", "Asked for and not done."),
    Outcome.INCONCLUSIVE: ("inconclusive", "Inconclusive", "\u25d0", "Neither shown nor excluded."),
    Outcome.NO_SIGNAL: (
        "no-signal",
        "No signal",
        "\u25cb",
        "Within the tolerance, and the sample could have shown more.",
    ),
    Outcome.NOT_APPLICABLE: ("not-applicable", "Not applicable", "\u2298", "Declared by a person, with a reason."),
}
"""Class, word, shape and meaning of every outcome, the gravest first: never a colour alone."""

STATEMENTS = {
    StatementState.CONTRADICTED: ("contradicted", "Contradicted", "\u2715"),
    StatementState.MISSING: ("missing", "Missing", "\u25cb"),
    StatementState.SUPPLIED: ("supplied", "Supplied", "\u25cf"),
}
"""Class, word and shape of every state of a statement."""

STATUSES = {
    "in force": ("force", "In force", "\u25cf"),
    "in use": ("force", "In use", "\u25cf"),
    "draft": ("draft", "Draft", "\u25cb"),
    "contested": ("contested", "Contested", "\u25d0"),
}
"""Class, word and shape of the status of a catalogue."""

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS = frozenset({"Mn", "Me"})
_PLAIN = re.compile(r"[\n\t\x20-\x7e\u00a0-\u00ac\u00ae-\u02ff\u2010-\u2027\u2030-\u205e\u2190-\u23ff\u2500-\u27ef]*")
"""Characters that hide nothing, so that most texts need no look at each letter."""


def number(value: float, unit: str) -> str:
    """Return a number as a reader compares it: ratios as percentages, the rest with its unit."""
    if not math.isfinite(value):
        return "\u2013"
    if unit == "ratio":
        share = 100 * value
        digits = 1 if abs(share) >= 10 else 2 if abs(share) >= 0.1 or share == 0 else 3
        return f"{share:.{digits}f}\u00a0%".replace("-", "\u2212")
    return f"{value:.2f}\u00a0{unit}".replace("-", "\u2212")


def interval(found: Estimate) -> str:
    """Return an interval in brackets."""
    low, high = number(found.low, found.unit), number(found.high, found.unit)
    unit = "\u00a0%" if found.unit == "ratio" else f"\u00a0{found.unit}"
    low = low.removesuffix(unit)
    return f"[{low}, {high}]"


def estimate(found: Estimate | None) -> dict[str, str] | None:
    """Return a number with its interval, both formatted."""
    if found is None:
        return None
    return {
        "value": number(found.value, found.unit),
        "interval": interval(found),
        "level": f"{100 * found.level:g}\u00a0%",
        "method": found.method,
        "n": f"{found.n:,}",
        "bound": "" if found.upper is None else number(found.upper, found.unit),
    }


def p_value(value: float | None) -> str:
    """Return a p-value, bounded where it is too small to matter."""
    if value is None:
        return "\u2013"
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"


def plural(count: int, one: str, more: str = "") -> str:
    """Return a count with its noun."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def visible(text: str) -> str:
    """Return a text with every character that could mislead a reader spelled out, and not too long."""
    if len(text) <= LONGEST_TEXT:
        return spelled(text)
    return f"{spelled(text[:LONGEST_TEXT])} \u2026 ({len(text) - LONGEST_TEXT:,} more characters)"


def spelled(text: str) -> str:
    """Return a text with every character that could mislead a reader spelled out."""
    if _PLAIN.fullmatch(text):
        return text
    shown, marks = [], 0
    for letter in text:
        category = unicodedata.category(letter)
        marks = marks + 1 if category in _MARKS else 0
        hidden = (category in _HIDDEN and letter not in "\n\t") or marks > MOST_MARKS
        shown.append(code_point(letter) if hidden else letter)
    return "".join(shown)


def code_point(letter: str) -> str:
    """Return the number of a character in words, for one that cannot be shown."""
    return f"\u27e8U+{ord(letter):04X}\u27e9"


def outcome(value: Outcome | None) -> dict[str, str] | None:
    """Return class, word, shape and meaning of an outcome."""
    if value is None:
        return None
    name, word, shape, meaning = OUTCOMES[value]
    return {"class": name, "word": word, "shape": shape, "meaning": meaning}


def statement_state(value: StatementState | None) -> dict[str, str] | None:
    """Return class, word and shape of the state of a statement."""
    if value is None:
        return None
    name, word, shape = STATEMENTS[value]
    return {"class": name, "word": word, "shape": shape}
