"""Keeps conclusions to templates: nothing that a test, a clause or data call themselves can make a sentence say more than it may."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from auditor.core.percentage import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.finding import Estimate

FORBIDDEN = (
    "compliant",
    "non-compliant",
    "anonymous",
    "anonymised",
    "de-identified",
    "de-personalised",
    "certified",
    "guaranteed",
    "safe",
    "GDPR-proof",
    "passes EDPB",
    "zero risk",
)
"""Words that cannot stand in a conclusion: no test can carry them."""

OVERCLAIMS = (
    r"(?:model|models|subject|system|it|audit|test|tests|battery|policy|controller)\W+(?:(?:has|have|all|is|are|was|were)\W+)?pass(?:es|ed)?",
    r"pass(?:es|ed)?\W+(?:the\W+|this\W+|all\W+|every\W+)?(?:audit|tests?|policy|battery|gdpr|edpb|ai\W+act|law)",
    r"(?:no|zero|without|free\W+(?:of|from))\W+(?:any\W+)?(?:memori[sz]ation|leakage\W+at\W+all|personal\W+data|risks?)",
    r"(?:does|did|do|has|have|can|could)\W*n(?:o|')t\W+(?:ever\W+)?(?:memori[sz]ed?|leak|remember)",
    r"(?:memori[sz]ed|remembers|leaks|leaked)\W+(?:nothing|no\W+\w+)",
    r"\d+(?:\.\d+)?\s*/\s*10{1,2}",
    r"(?:privacy|leakage|risk|overall|total|trust)\W+(?:score|grade|rating)",
    r"(?:fully|completely|entirely|legally)\W+(?:private|lawful|clean)",
    r"in\W+line\W+with\W+(?:the\W+)?(?:gdpr|edpb|ai\W+act|law)",
)
"""Ways to say more than a test can: verdicts, absence, scores. They stand in no template, and no test says them in one."""

LONGEST = 600
"""Characters of a text that a sentence takes over."""

_SPELLING = {"anonymised": "anonymi[sz]ed", "de-personalised": "de[\\W_]*personali[sz]ed"}


def _pattern(word: str) -> str:
    """Return a word however its parts are joined."""
    return _SPELLING.get(word, r"[\W_]*".join(map(re.escape, re.split(r"[\s-]+", word.lower()))))


_FORBIDDEN = re.compile(
    "(?<![a-z0-9])(?:" + "|".join(sorted(map(_pattern, FORBIDDEN), key=len, reverse=True)) + ")(?![a-z0-9])"
)
_OVERCLAIMS = re.compile("(?<![a-z0-9])(?:" + "|".join(OVERCLAIMS) + ")(?![a-z0-9])")

_LOOK_ALIKE = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0455\u0456\u0458\u04cf\u0501\u051b\u051d\u03b1"
    "\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03f2\u0131\u0251\u0261\u04e1\u1d22\u0493\u2019",
    "abekmhopctyxsijldqwaeikvoptuxciag3zf'",
)
"""Cyrillic and Greek letters that look like Latin ones."""


def plain_letters(text: str) -> str:
    """Return a text as a reader would see its letters: in lower case, without what is invisible, accents or look-alikes."""
    shown = []
    for letter in unicodedata.normalize("NFKD", text):
        kind = unicodedata.category(letter)
        if kind in {"Cf", "Mn", "Me", "Cs"}:
            continue
        shown.append(" " if kind[0] in "CZ" else letter)
    return "".join(shown).casefold().translate(_LOOK_ALIKE)


def forbidden_words(text: str) -> tuple[str, ...]:
    """Return the words in a text that cannot stand in a conclusion, however they are written."""
    return tuple(match.group() for match in _FORBIDDEN.finditer(plain_letters(text)))


def overclaims(text: str) -> tuple[str, ...]:
    """Return what a text says that no test can show."""
    return tuple(match.group() for match in _OVERCLAIMS.finditer(plain_letters(text)))


def may_stand(text: str) -> bool:
    """Return whether a text may stand in a conclusion."""
    return not forbidden_words(text) and not overclaims(text)


class Foreign(NamedTuple):
    """Words that are not ours, and what stands in their place where they could not stand in a conclusion."""

    text: str
    otherwise: str

    @property
    def own(self) -> str:
        """The words if they may stand, else what stands for them."""
        return self.text if may_stand(self.text) else self.otherwise


def say(template: str, **parts: Foreign | str | float) -> str:
    """Return a template filled in.

    Foreign words that cannot stand are replaced; where they only cannot together, across the seams of the template, all of them are.

    Args:
        template: One of our templates.
        parts: What fills it: our own words and numbers, or foreign words.
    """
    said = template.format(**{name: part.own if isinstance(part, Foreign) else part for name, part in parts.items()})
    if may_stand(said):
        return said
    return template.format(
        **{name: part.otherwise if isinstance(part, Foreign) else part for name, part in parts.items()}
    )


def shortened(text: str) -> str:
    """Return a text of at most `LONGEST` characters, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} \u2026"


def tests_named(names: Sequence[str]) -> Foreign:
    """Return the names of tests; a third party chose them."""
    hidden = [name if may_stand(name) else "a test whose name stands under its finding" for name in names]
    some = (
        "a test whose name stands under its finding"
        if len(names) == 1
        else "tests whose names stand under their findings"
    )
    return Foreign(", ".join(hidden), some)


def clauses_named(names: Sequence[str], most: int = 50) -> Foreign:
    """Return the ids of clauses, the first of them where there are very many; a third party chose them."""
    shown = [shortened(name) if may_stand(name) else "a clause named in the table of clauses" for name in names[:most]]
    more = [f"and {len(names) - most:,} more, in the table of clauses"] if len(names) > most else []
    return Foreign(", ".join([*shown, *more]), f"{len(names):,} clauses, named in the table of clauses")


def numbers(found: Estimate) -> str:
    """Return a number with its interval; a unit that cannot stand is left out."""
    unit = "" if found.unit == "ratio" or not may_stand(found.unit) else f" {shortened(found.unit)}"
    if found.low == found.high:
        return f"{found.value:.3g}{unit}"
    return f"{found.value:.3g}{unit} ({100 * found.level:g} % interval {found.low:.3g} to {found.high:.3g}{unit})"


def shares(found: Estimate) -> str:
    """Return a number with its interval, a ratio in percent, as answers say it."""
    if found.unit != "ratio":
        return numbers(found)
    value, low, high = map(percent, (found.value, found.low, found.high))
    return f"{value} ({100 * found.level:g} % interval {low} to {high})"


def chance(found: Estimate) -> str:
    """Return a probability with its interval, where it has one; close to 1 it is said to be above 0.999."""
    value, low, high = (_near_one(end) for end in (found.value, found.low, found.high))
    return value if low == high else f"{value} ({100 * found.level:g} % interval {low} to {high})"


def _near_one(probability: float) -> str:
    return "above 0.999" if probability > _NEARLY else f"{probability:.3g}"


_NEARLY = 0.999
