"""The catalogues of messages: one `.pot` that is extracted, one `.po` for each language that people translate."""

from __future__ import annotations

import datetime as dt
import gettext
import io
from functools import cache
from typing import TYPE_CHECKING, Any

from auditor.core.resources import resource

if TYPE_CHECKING:
    from collections.abc import Iterable
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


@cache
def translations(language: str) -> gettext.GNUTranslations:
    """Return the translations of a language, as `gettext` asks them."""
    from babel.messages.mofile import write_mo  # noqa: PLC0415  (heavy)

    out = io.BytesIO()
    write_mo(out, read(language))
    out.seek(0)
    return gettext.GNUTranslations(out)


@cache
def texts(language: str) -> dict[str, str]:
    """Return the messages of a language that have no plural, with their translations: what a text is found by."""
    return {
        message: said
        for message, said in translations(language)._catalog.items()  # type: ignore[attr-defined]  # noqa: SLF001
        if isinstance(message, str) and message and said
    }


def singular(message: Any) -> str:  # noqa: ANN401  (babel's Message)
    """Return what a message is for one."""
    return str(message.id[0] if isinstance(message.id, (tuple, list)) else message.id)
