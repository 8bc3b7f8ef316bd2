"""Writes numbers as the readers of a language write them, and tells whether two texts carry the same numbers."""

from __future__ import annotations

import re
from collections import Counter

SEPARATORS = {"en": (",", "."), "de": (".", ","), "fr": ("\u202f", ",")}
"""What sets thousands apart, and what stands before the decimals. No other language than these is written here."""

_DIGITS = re.compile(r"\d(?:[\d.,\u00a0\u202f]*\d)?")
_ENGLISH = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_PLAIN = {
    "en": _ENGLISH,
    "de": re.compile(r"(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?"),
    "fr": re.compile(r"(?:\d{1,3}(?:[\u202f\u00a0]\d{3})+|\d+)(?:,\d+)?"),
}
_STANDING = re.compile(r"(?<![\w./:,§-])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?(?![\w/:-]|\.\d|,\d)")
"""A number that stands alone: no part of a name, a path, a version, a date or a paragraph."""
_INTERVAL = re.compile(r"\[(?P<low>[\u2212-]?[\d.,e+\u2013-]+), (?P<high>[^\[\],;]*(?:\d,\d[^\[\],;]*)*)\]")
_PERCENT = re.compile(r"(?<=\d) ?(?=%)")


def numbers_in(text: str, language: str) -> Counter[str]:
    """Return the numbers in a text as English would write them without commas, each with how often it stands there."""
    found: Counter[str] = Counter()
    plain = _PLAIN[language]
    for match in _DIGITS.finditer(text):
        token = match.group()
        pieces = [token] if plain.fullmatch(token) or language == "en" else re.split("[\u00a0\u202f]", token)
        for piece in pieces:
            found[_canonical(piece, language)] += 1
    return found


def _canonical(token: str, language: str) -> str:
    if not _PLAIN[language].fullmatch(token):
        return token
    thousands, decimal = SEPARATORS[language]
    return token.replace(thousands, "").replace("\u00a0", "").replace(decimal, ".")


def rewritten(text: str, language: str) -> str:
    """Return a text of values with its numbers as a language writes them: 1,234.5 % becomes 1.234,5 % in German.

    What is part of a name, a path, a version, a date or a digest stays.
    """
    if language == "en":
        return text
    text = _INTERVAL.sub(lambda match: f"[{match['low']}; {match['high']}]", text)
    return unbroken(_STANDING.sub(lambda match: _number(match.group(), language), text))


def unbroken(text: str) -> str:
    """Return a text in which no line can end between a number and its sign of per cent."""
    return _PERCENT.sub("\u00a0", text)


def _number(token: str, language: str) -> str:
    thousands, decimal = SEPARATORS[language]
    whole, point, decimals = token.partition(".")
    return whole.replace(",", thousands) + (decimal if point else "") + decimals
