"""Says what a report says in the language of whoever reads it. English is what was signed; it passes unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NamedTuple

    class Part(NamedTuple):
        """A stretch of a text and whether it stayed English for want of a translation."""

        text: str
        english: bool


class Reader(Protocol):
    """Whoever reads: the language, and how this language says texts, numbers and dates."""

    language: str
    """Code of the language (ISO 639-1)."""

    def fixed(self, message: str) -> str:
        """Return the fixed words of a template, with their placeholders."""
        ...

    def fixed_plural(self, one: str, more: str, count: int) -> str:
        """Return the fixed words of a template for a count."""
        ...

    def say(self, text: str) -> Sequence[Part]:
        """Return a text that some part of the tool made, stretch by stretch."""
        ...

    def count(self, value: int) -> str:
        """Return a whole number."""
        ...

    def thousands(self, value: int) -> str:
        """Return a whole number with its thousands set apart."""
        ...

    def date(self, text: str) -> str:
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
        """Return nothing to put in its place: callers print the text as it is."""
        raise NotImplementedError

    def count(self, value: int) -> str:
        """Return the digits."""
        return str(value)

    def thousands(self, value: int) -> str:
        """Return the digits with commas."""
        return f"{value:,}"

    def date(self, text: str) -> str:
        """Return the date as it is written in the evidence."""
        return text
