"""The catalogues of messages: one `.pot` that is extracted, one `.po` for each language that people translate."""

from __future__ import annotations

import datetime as dt
import gettext
import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from auditor.core.resources import resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from babel.messages.catalog import Catalog

    from auditor.language.extraction import Message

LANGUAGES = ("de", "fr")
"""Languages with a catalogue; English needs none."""
DOMAIN = "report"
_STARTED = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
"""One date in the headers: a catalogue changes where its messages do."""
_WIDTH = 120


def template() -> Path:
    """Return where the extracted messages are."""
    return resource("templates/languages") / f"{DOMAIN}.pot"


def catalogue(language: str) -> Path:
    """Return where the translations of a language are."""
    return resource("templates/languages") / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def made(messages: Iterable[Message], language: str | None = None) -> Catalog:
    """Return a catalogue without translations."""
    from babel.messages.catalog import Catalog  # noqa: PLC0415  (heavy)

    found = Catalog(
        locale=language,
        domain=DOMAIN,
        project="auditor",
        version="1",
        msgid_bugs_address="see CONTRIBUTING.md",
        header_comment="# What a report says, message by message. How to translate: CONTRIBUTING.md.",
        creation_date=_STARTED,
        revision_date=_STARTED,
        last_translator="auditor",
        language_team="auditor",
        fuzzy=False,
    )
    for message in messages:
        found.add(
            (message.id, message.plural) if message.plural else message.id,
            locations=[(where.rpartition(":")[0], 0) for where in message.where[:3]],
        )
    return found


def read(language: str) -> Catalog:
    """Return the catalogue of a language with its translations."""
    from babel.messages.pofile import read_po  # noqa: PLC0415  (heavy)

    with catalogue(language).open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


def written(found: Catalog) -> bytes:
    """Return a catalogue as the bytes of its file."""
    from babel.messages.pofile import write_po  # noqa: PLC0415  (heavy)

    for message in found:
        message.locations = [(name, None) for name, _ in dict.fromkeys(message.locations)]  # type: ignore[misc]
        message.flags.discard("python-brace-format")
    out = io.BytesIO()
    write_po(out, found, width=_WIDTH, include_lineno=False)
    return out.getvalue()


def updated(messages: Iterable[Message], language: str) -> Catalog:
    """Return the catalogue of a language with today's messages and the translations it had; what is no longer said is kept as obsolete."""
    fresh = made(messages)
    found = read(language) if _there(language) else made((), language)
    found.update(fresh, no_fuzzy_matching=True, update_header_comment=True)
    for old in list(found.obsolete.values()):  # only its ends changed
        now = found.get(old.id.strip(" ,;:")) if isinstance(old.id, str) else None
        if now is not None and not now.string and isinstance(old.string, str):
            now.string = old.string.strip(" ,;:")
    found.creation_date = found.revision_date = _STARTED
    return found


def _there(language: str) -> bool:
    return (resource("templates/languages") / language / "LC_MESSAGES" / f"{DOMAIN}.po").exists()


@dataclass(frozen=True, slots=True)
class Translations:
    """What a language says for each message."""

    texts: Mapping[str, str]
    """Of messages without a plural: what a text is found by, too."""
    plurals: Mapping[str, tuple[str, ...]]
    """Of messages with one, by the English for one."""
    form: Callable[[int], int]
    """Which of its forms a count takes."""

    def fixed(self, message: str) -> str:
        """Return the translation; the message where there is none."""
        return self.texts.get(message, message)

    def fixed_plural(self, one: str, more: str, count: int) -> str:
        """Return the translation for a count; English where there is none."""
        forms = self.plurals.get(one)
        return forms[self.form(count)] if forms else one if count == 1 else more


@cache
def translations(language: str) -> Translations:
    """Return what a language says, read from its catalogue."""
    found = read(language)
    texts: dict[str, str] = {}
    plurals: dict[str, tuple[str, ...]] = {}
    # What the tool no longer says stands in bundles of earlier days.
    for message in (*found.obsolete.values(), *found):
        if message.fuzzy or not message.id:
            continue
        said = message.string
        if isinstance(said, str) and said:
            texts[singular(message)] = said
        elif isinstance(said, (tuple, list)) and all(said):
            plurals[singular(message)] = tuple(said)
    return Translations(texts, plurals, gettext.c2py(found.plural_expr))


def singular(message: Any) -> str:  # noqa: ANN401  (babel's Message)
    """Return what a message is for one."""
    return str(message.id[0] if isinstance(message.id, (tuple, list)) else message.id)
