"""Gives a Jinja environment the words of a reader: `{% trans %}` for fixed words, `say` for texts that came from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment

    from auditor.language.reader import Reader

ENGLISH = Markup('<span lang="en">{}</span>')
"""How a stretch is marked that stayed English in a page of another language."""


def speak(environment: Environment, reader: Reader, visible: Callable[[str], str]) -> None:
    """Let every template of an environment speak to a reader.

    Filters: `say` (a text that the tool made; what stays English is marked `lang="en"`), `plainly` (the same without marks, for
    attributes), `word` (a text that is a message; anything else as it is), `lowered` and `capital` (first letters, as the language
    has them), `thousands`, `date`.

    Args:
        environment: With automatic escaping.
        reader: Whoever reads.
        visible: Spells out what could mislead; whatever stands in a placeholder passes it.
    """
    page = _Page(reader, visible)
    environment.add_extension("jinja2.ext.i18n")
    environment.policies["ext.i18n.trimmed"] = True
    environment.newstyle_gettext = True  # type: ignore[attr-defined]
    environment.globals.update(
        gettext=page.gettext,
        ngettext=page.ngettext,
        language=reader.language,
        foreign=Markup("") if page.english else Markup(' lang="en"'),
    )
    environment.filters.update(
        say=page.say,
        plainly=page.plainly,
        capital=page.capital,
        lowered=page.lowered,
        thousands=reader.thousands,
        date=reader.date,
        word=reader.word,
    )


@dataclass(frozen=True, slots=True)
class _Page:
    reader: Reader
    visible: Callable[[str], str]

    @property
    def english(self) -> bool:
        return self.reader.language == "en"

    def gettext(self, message: str, **values: Any) -> Markup:  # noqa: ANN401
        return self._filled(self.reader.fixed(message), values)

    def ngettext(self, one: str, more: str, number: int, **values: Any) -> Markup:  # noqa: ANN401
        return self._filled(self.reader.fixed_plural(one, more, number), {"num": number, **values})

    def _filled(self, words: str, values: dict[str, Any]) -> Markup:
        """Fill the placeholders of our own words; a value is escaped unless it is markup already."""
        return Markup(words) % {name: self._shown(value) for name, value in values.items()}  # noqa: S704

    def _shown(self, value: object) -> object:
        if isinstance(value, str) and not isinstance(value, Markup):
            return self.visible(value)
        return self.reader.count(value) if type(value) is int else value

    def say(self, text: Any) -> Any:  # noqa: ANN401
        if type(text) is int:
            return self.reader.count(text)
        if self.english or type(text) is not str:
            return text
        return Markup("").join(
            ENGLISH.format(self.visible(part.text)) if part.english else escape(self.visible(part.text))
            for part in self.reader.say(text)
        )

    def plainly(self, text: Any) -> Any:  # noqa: ANN401
        if type(text) is int:
            return self.reader.count(text)
        if self.english or type(text) is not str:
            return text
        return "".join(part.text for part in self.reader.say(text))

    def capital(self, text: str) -> str:
        if self.english:
            return text.capitalize()
        said = str(self.plainly(text))
        return said[:1].upper() + said[1:]

    def lowered(self, text: str) -> str:
        return text.lower() if self.english else str(self.plainly(text.lower()))
