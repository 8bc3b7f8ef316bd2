"""Says what a report says in the language of whoever reads it. English is what was signed; it passes unchanged."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import TYPE_CHECKING, Literal, Protocol

from auditor.language.catalogue import translations
from auditor.language.forms import Forms
from auditor.language.numbers import SEPARATORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.language.forms import Part

Language = Literal["en", "de", "fr"]


class Reader(Protocol):
    """Whoever reads: the language, and how this language says texts, numbers and dates."""

    @property
    def language(self) -> str:
        """Code of the language (ISO 639-1)."""
        ...

    def fixed(self, message: str) -> str:
        """Return the fixed words of a template, with their placeholders."""
        ...

    def fixed_plural(self, one: str, more: str, count: int) -> str:
        """Return the fixed words of a template for a count."""
        ...

    def say(self, text: str) -> Sequence[Part]:
        """Return a text that some part of the tool made, stretch by stretch."""
        ...

    def word(self, text: str) -> str:
        """Return a text that is a message; anything else as it is, its numbers too."""
        ...

    def count(self, value: int) -> str:
        """Return a whole number."""
        ...

    def thousands(self, value: int) -> str:
        """Return a whole number with its thousands set apart."""
        ...

    def date(self, value: object) -> str:
        """Return a date or a point in time, given as ISO 8601."""
        ...


class English:
    """The reader of what was signed: every text passes as it is."""

    language = "en"

    def fixed(self, message: str) -> str:
        """Return the words as they are."""
        return message

    def fixed_plural(self, one: str, more: str, count: int) -> str:
        """Return the words for one, or for more."""
        return one if count == 1 else more

    def say(self, text: str) -> Sequence[Part]:
        """Return the text as it is."""
        from auditor.language.forms import Part  # noqa: PLC0415

        return (Part(text),)

    def word(self, text: str) -> str:
        """Return the text as it is."""
        return text

    def count(self, value: int) -> str:
        """Return the digits."""
        return str(value)

    def thousands(self, value: int) -> str:
        """Return the digits with commas."""
        return f"{value:,}"

    def date(self, value: object) -> str:
        """Return the date as it is written in the evidence."""
        return str(value)


class Translated:
    """A reader of another language: fixed words from its catalogue, texts by their form."""

    def __init__(self, language: str) -> None:
        """Take a language that has a catalogue."""
        self.language = language
        self._words = translations(language)
        self._forms = _forms(language)
        self._thousands = SEPARATORS[language][0]

    def fixed(self, message: str) -> str:
        """Return the words of the catalogue; English where they are missing."""
        return self._words.fixed(message)

    def fixed_plural(self, one: str, more: str, count: int) -> str:
        """Return the words for a count, by the rule of the language."""
        return self._words.fixed_plural(one, more, count)

    def say(self, text: str) -> Sequence[Part]:
        """Return a text by its form; what has none stays English and is marked."""
        return self._forms.say(text)

    def word(self, text: str) -> str:
        """Return the translation of a message; anything else as it is."""
        return self._forms.exact.get(text, text)

    def count(self, value: int) -> str:
        """Return the digits, thousands set apart from five digits on."""
        return self.thousands(value) if abs(value) >= 10_000 else str(value)

    def thousands(self, value: int) -> str:
        """Return the digits with thousands set apart."""
        return f"{value:,}".replace(",", self._thousands).replace("-", "\u2212")

    def date(self, value: object) -> str:
        """Return a day, or a point in time in UTC, as the language writes it; anything else as it is."""
        from babel.dates import format_date  # noqa: PLC0415  (heavy)

        text = str(value)
        try:
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            return text
        if len(text) == len("2026-01-31"):
            return str(format_date(moment.date(), format="long", locale=self.language))
        there = moment.astimezone(dt.UTC) if moment.tzinfo else moment
        day = str(format_date(there.date(), format="long", locale=self.language))
        return f"{day}, {there:%H:%M:%S} UTC"


@cache
def _forms(language: str) -> Forms:
    return Forms(translations(language).texts, language)


@cache
def reader(language: str) -> Reader:
    """Return the reader of a language.

    Args:
        language: `en`, `de` or `fr`.
    """
    return English() if language == "en" else Translated(language)
