"""Says a text in another language by its form: the sentence is found by its fixed words, and its values are carried over.

Texts come from the evidence already written out, in English. A message such as `Of {0} records {1} came out.` is found again in
`Of 10 records 3 came out.`; the translation takes the values, each said by itself. Nothing is guessed: a text whose form is not
known stays English, and a translation that does not carry every number of the English is not used.
"""

from __future__ import annotations

import re
from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from auditor.language.numbers import numbers_in, rewritten, unbroken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MOST_SENTENCES = 12
"""Sentences that are tried as one message."""
MOST_PIECES = 60
"""Sentences of a text; a longer one stays English as a whole."""
DEEPEST = 5
"""Values within values."""
LOOSE = 12
"""Letters of the fixed words from which on a value may be any text; below, values are numbers, names or messages themselves."""
KEY = 4
"""Letters by which forms are looked up."""
LONGEST = 6000
"""Characters of a text that is looked at."""

_PLACE = re.compile(r"\{(\d+)\}")
_END = re.compile(r"(?<=[.!?])[ ](?=\S)")
_BREAK = re.compile(r"[.!?] [A-Z\u201c]")
_LIST = re.compile(r"(, and |, | and )")
_BRACKETS = re.compile("[()\\[\\]\u201c\u201d]")
_CLOSING = {")": "(", "]": "[", "\u201d": "\u201c"}
_JOINTS = {"fr": {"; ": "\u202f; ", ": ": "\u00a0: "}}
"""How a language writes what stands between the members of a list, or after a label, where it differs."""
_STRONG = re.compile(r"(; )")
_CORE = re.compile(r"([\s,;:]*)(.*?)([\s,;]*)", re.DOTALL)
_IDENTIFIER = re.compile(r"(?=\S*[^a-z\s])\S+")
_NUMBER = r"[\u2212-]?\d[\d.,e+\u2212-]*"
_UNIT = re.compile(
    rf"(?P<number>\[?{_NUMBER}(?:, {_NUMBER})?(?: to {_NUMBER})?[\u00a0 ])(?P<known>[a-z][a-z ]*)(?P<end>\]?)"
)
_COUNTED = re.compile(r"(?P<number>\d[\d,]* )(?P<known>[a-z].*)")
_NUMBERED = re.compile(r"(?P<known>\S.*?)(?P<number>[ ][\u2212-]?\d[\d.,+%\u00a0\u2212\u2013 -]*)")
_ADDED = re.compile(r"(?P<known_what>.*\S)(?P<open> \()(?P<known_more>.+)(?P<close>\))")
_LABELLED = re.compile(r"(?P<known>[^:]+)(?P<colon>: )(?P<known_more>.+)", re.DOTALL)
_LETTERS = re.compile(r"[^\W\d_]")
_PROSE = re.compile(r"(?<![\w/.-])[a-z]{3,}(?![\w/])")
"""A word of English prose; a text with fewer than two is a name or a value."""
_VALUE = re.compile(r"[\s\d.,;:%()\[\]<>=+\u2212\u2013\u00d7/-]*(?:e[+-]?\d+)?[\s\d.,;:%()\[\]\u2013-]*")


VERBATIM = frozenset({"declared by the controller ({0})", "Controller: {0}", "Operator: {0}", "Signer: {0}"})
"""Messages whose value is a name: it is in no language."""


class Part(NamedTuple):
    """A stretch of a text and whether it stayed English for want of a translation."""

    text: str
    english: bool = False
    unknown: bool = False
    """It holds a word that may be English or a name: it is not marked, but another reading of the text is preferred."""


class Form(NamedTuple):
    """A message with values, and how it is said."""

    literals: tuple[str, ...]
    """Fixed words before, between and after the values."""
    said: tuple[str | int, ...]
    """Fixed words of the translation, and numbers of values."""
    letters: int
    labels: bool
    """It is a word, a colon and a value."""
    verbatim: bool
    """Its values are names."""


class Forms:
    """The messages of a language."""

    def __init__(self, translations: Mapping[str, str], language: str) -> None:
        """Take every message with its translation."""
        self.language = language
        self.exact: dict[str, str] = {}
        forms: list[Form] = []
        for message, said in translations.items():
            form = form_of(message, said)
            if form is None:
                self.exact[_unescaped(message)] = _unescaped(said)
            else:
                forms.append(form)
        forms.sort(key=lambda form: (-sum(map(len, form.literals)), form.literals))
        self._likely: dict[str, list[tuple[int, Form]]] = {}
        for rank, form in enumerate(forms):
            self._likely.setdefault(_key(form), []).append((rank, form))
        self._known: dict[tuple[str, int], tuple[Part, ...] | None] = {}
        self._joints = _JOINTS.get(language, {})
        self._and = f" {self.exact.get('and', 'and')} "

    def say(self, text: str) -> tuple[Part, ...]:
        """Return a text in the language, stretch by stretch; what has no translation stays English and is marked."""
        return tuple(part if part.english else Part(unbroken(part.text)) for part in self._whole(text, 0))

    def _whole(self, text: str, depth: int) -> tuple[Part, ...]:
        core = _CORE.fullmatch(text)
        if core is None or not _LETTERS.search(text):
            return (Part(rewritten(text, self.language)),)
        before, text, after = core.groups()
        found = self._direct(text, depth)
        if found is None or _english(found):
            pieces = _END.split(text)
            apart = self._pieces(pieces, depth) if 1 < len(pieces) <= MOST_PIECES else self._left(text)
            found = min(found or apart, apart, key=_english)
        return _joined([Part(before), *found, Part(after)])

    def _pieces(self, pieces: Sequence[str], depth: int) -> tuple[Part, ...]:
        parts: list[Part] = []
        at = 0
        while at < len(pieces):
            for end in range(min(len(pieces), at + MOST_SENTENCES), at, -1):
                if at == 0 and end == len(pieces):
                    continue
                found = self._direct(" ".join(pieces[at:end]), depth)
                if found is not None and (end == at + 1 or not _english(found)):
                    break
            else:
                end, found = at + 1, self._left(pieces[at])
            parts += [*([Part(" ")] if parts else []), *found]
            at = end
        return _joined(parts)

    def _left(self, text: str) -> tuple[Part, ...]:
        """Return a text that no message fits: marked where it is English prose, as it is where it is a name or a value."""
        words = len(_PROSE.findall(text))
        if words > 1:
            return (Part(text, english=True),)
        return (Part(rewritten(text, self.language), unknown=words == 1),)

    def _direct(self, text: str, depth: int) -> tuple[Part, ...] | None:
        if (
            text,
            depth,
        ) not in self._known:  # the depth counts, so that nothing said before can change what is said now
            self._known[text, depth] = self._found(text, depth)
        return self._known[text, depth]

    def _found(self, text: str, depth: int) -> tuple[Part, ...] | None:
        if text in self.exact:
            return (Part(self.exact[text]),)
        if depth >= DEEPEST or len(text) > LONGEST:
            return None
        best = self._by_form(text, depth)
        if best is not None and not _english(best):
            return best
        compound = self._compound(text, depth)
        return compound if compound is not None and (best is None or _english(compound) < _english(best)) else best

    def _by_form(self, text: str, depth: int) -> tuple[Part, ...] | None:
        if text in self.exact:
            return (Part(self.exact[text]),)
        best, least = None, 0
        for form in self._candidates(text):
            values = values_of(form.literals, text)
            said = self._filled(form, values, depth) if values is not None else None
            if said is None or not self._same_numbers(text, said):
                continue
            left = _english(said)
            if best is None or left < least:
                best, least = said, left
            if least == 0:
                break
        return best

    def _candidates(self, text: str) -> list[Form]:
        """Return the forms that begin, or else end, as a text does; those with most fixed words first."""
        keys = (text[:KEY], f"^{text[:1]}", f"{text[-KEY:]}$", "")
        ranked = sorted((found for key in keys for found in self._likely.get(key, ())), key=itemgetter(0))
        return [form for _, form in ranked]

    def _filled(self, form: Form, values: Sequence[str], depth: int) -> tuple[Part, ...] | None:
        last = len(values) - 1
        for place, value in enumerate(values):
            if not _balanced(value):
                return None
            if _BREAK.search(value) and (place != last or form.literals[-1]):
                return None
            if form.letters < LOOSE and not form.verbatim and not form.labels and not self._is_value(value, depth):
                return None
        parts: list[Part] = []
        for each in form.said:
            if isinstance(each, str):
                parts.append(Part(each))
            elif values[each]:
                parts += (Part(values[each]),) if form.verbatim else self._whole(values[each], depth + 1)
        return _joined(parts)

    def _is_value(self, value: str, depth: int) -> bool:
        """Return whether a form of few words may take this for its value: a number, names, or a message of its own."""
        if _VALUE.fullmatch(value) or value in self.exact:
            return True
        if all(_IDENTIFIER.fullmatch(piece) for piece in value.split(", ")):
            return True
        found = self._by_form(value, depth + 1)
        return found is not None and not _english(found)

    def _compound(self, text: str, depth: int) -> tuple[Part, ...] | None:
        """Return a text that known ones make up: a number with its unit, a name with a number, an addition in brackets, a list."""
        best: tuple[Part, ...] | None = None
        for made in self._compounds(text, depth):
            if made and self._same_numbers(text, made):
                if not _english(made):
                    return made
                best = made if best is None or _english(made) < _english(best) else best
        return best

    def _compounds(self, text: str, depth: int) -> Iterator[tuple[Part, ...] | None]:
        yield self._listed(text, _STRONG, depth)
        for shape in (_UNIT, _COUNTED, _NUMBERED, _ADDED, _LABELLED):
            match = shape.fullmatch(text)
            if match is not None:
                yield self._shaped(match, depth)
        yield self._listed(text, _LIST, depth)

    def _shaped(self, match: re.Match[str], depth: int) -> tuple[Part, ...] | None:
        parts: list[Part] = []
        some = False
        for name, piece in match.groupdict().items():
            if name in {"colon", "number"}:
                parts.append(Part(self._joints.get(piece, rewritten(piece, self.language).replace(", ", "; "))))
                continue
            found = self._direct(piece, depth + 1) if name.startswith("known") else None
            if name == "known" and found is None:
                return None
            some = some or found is not None
            parts += found if found is not None else self._whole(piece, depth + 1)
        return _joined(parts) if some else None

    def _listed(self, text: str, between: re.Pattern[str], depth: int) -> tuple[Part, ...] | None:
        """Return a list of known words, said one by one; a member may hold what parts the others."""
        pieces = between.split(text)
        if not 1 < len(pieces) <= 2 * MOST_PIECES:
            return None
        parts: list[Part] = []
        at = 0
        while at < len(pieces):
            for end in range(min(len(pieces), at + 2 * MOST_SENTENCES - 1), at, -2):
                whole = "".join(pieces[at:end])
                found = self._direct(whole, depth + 1) if end == at + 1 else self._member(whole, depth + 1)
                if found is not None and (end == at + 1 or not _english(found)):
                    break
            else:
                end, found = at + 1, self._left(pieces[at])
                if any(part.english for part in found):
                    return None
            parts += found
            if end < len(pieces):
                parts.append(Part(self._joints.get(pieces[end], pieces[end]).replace(" and ", self._and)))
            at = end + 1
        return _joined(parts)

    def _member(self, text: str, depth: int) -> tuple[Part, ...] | None:
        """Return a member of a list that itself holds what parts the members: a message, or so many of one."""
        counted = _COUNTED.fullmatch(text)
        if counted is not None and counted["known"] in self.exact:
            return _joined([Part(rewritten(counted["number"], self.language)), Part(self.exact[counted["known"]])])
        return self._by_form(text, depth)

    def _same_numbers(self, text: str, said: Iterable[Part]) -> bool:
        carried: Counter[str] = Counter()
        for part in said:
            carried.update(numbers_in(part.text, "en" if part.english else self.language))
        return carried == numbers_in(text, "en")


def form_of(message: str, said: str) -> Form | None:
    """Return a message with its translation as a form; None where it holds no values."""
    pieces = _PLACE.split(message)
    if len(pieces) == 1:
        return None
    order = [int(number) for number in pieces[1::2]]
    place = {number: index for index, number in enumerate(order)}
    into = _PLACE.split(said)
    if sorted(map(int, into[1::2])) != sorted(order):
        return None
    literals = tuple(map(_unescaped, pieces[::2]))
    spoken = tuple(place[int(part)] if index % 2 else _unescaped(part) for index, part in enumerate(into))
    letters = sum(len(_LETTERS.findall(part)) for part in literals)
    labels = len(literals) == 2 and literals[0].endswith(": ") and letters > 3
    return Form(literals, spoken, letters, labels=labels, verbatim=message in VERBATIM)


def _key(form: Form) -> str:
    """Return what a text of this form begins with, or else ends with; nothing: either can be anything."""
    first, last = form.literals[0], form.literals[-1]
    if first:
        return first[:KEY] if len(first) >= KEY else f"^{first[:1]}"
    return f"{last[-KEY:]}$" if len(last) >= KEY else ""


def values_of(literals: Sequence[str], text: str) -> list[str] | None:
    """Return what stands between the fixed words of a form, each as far left as it can; None: the text has another form."""
    first, last = literals[0], literals[-1]
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return None
    at, stop = len(first), len(text) - len(last)
    values = []
    for literal in literals[1:-1]:
        found = text.find(literal, at, stop)
        if found < 0:
            return None
        values.append(text[at:found])
        at = found + len(literal)
    values.append(text[at:stop])
    return values


def _balanced(value: str) -> bool:
    """Return whether every bracket that a value opens is closed in it: else it was cut at a wrong place."""
    open_now: list[str] = []
    for sign in _BRACKETS.findall(value):
        if sign in _CLOSING:
            if not open_now or open_now.pop() != _CLOSING[sign]:
                return False
        else:
            open_now.append(sign)
    return not open_now


def _unescaped(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")


def _english(parts: Iterable[Part]) -> int:
    """Return how many characters stayed English, or may have."""
    return sum(len(part.text) for part in parts if part.english or part.unknown)


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    out: list[Part] = []
    for part in parts:
        if not part.text:
            continue
        if out and out[-1][1:] == part[1:]:
            out[-1] = part._replace(text=out[-1].text + part.text)
        else:
            out.append(part)
    return tuple(out)
