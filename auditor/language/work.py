"""Hands out what is not translated yet, in files that several people can fill at once, and takes their translations back."""

from __future__ import annotations

import fcntl
import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from auditor.errors import UsageError
from auditor.language.catalogue import LANGUAGES, catalogue, made, read, singular, updated, written
from auditor.language.extraction import messages
from auditor.language.faults import faults, forbidden

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIRST = ("templates/", "auditor/report", "auditor/assess", "policies/", "auditor/battery", "auditor/preregister")
"""What is seen first is handed out first."""
CONCLUSIONS = ("auditor/assess/conclusion.py", "auditor/assess/prongs.py")
"""Where the sentences of the summary stand; some words may not."""


class State(NamedTuple):
    """How far a language is."""

    language: str
    messages: int
    translated: int
    words: int
    words_left: int
    faulty: tuple[str, ...]


def update() -> list[State]:
    """Extract every message again and bring the catalogues up to date; translations are kept. Returns how far each language is."""
    found = messages()
    folder = template_folder()
    _write(folder / "report.pot", written(made(found)))
    for language in LANGUAGES:
        place = folder / language / "LC_MESSAGES"
        place.mkdir(parents=True, exist_ok=True)
        with _alone(language):
            _write(place / "report.po", written(updated(found, language)))
    return [state(language) for language in LANGUAGES]


def template_folder() -> Path:
    """Return the folder of the catalogues."""
    from auditor.core.resources import resource  # noqa: PLC0415

    return resource("templates/languages")


def state(language: str) -> State:
    """Return how far a language is, and which of its translations cannot be used."""
    found = [item for item in read(language) if item.id]
    done = [item for item in found if _said(item)]
    wrong = [f"{singular(item)!r}: {fault}" for item in done for fault in _faults(item, language)]
    return State(
        language,
        len(found),
        len(done),
        sum(_words(item) for item in found),
        sum(_words(item) for item in found if not _said(item)),
        tuple(wrong),
    )


def split(language: str, folder: Path, parts: int) -> list[Path]:
    """Write what is not translated into numbered JSON files of about as many words each, and return them.

    Each is a list of {"id", "msgid", "where", "msgstr"} (with "msgid_plural" and a list as "msgstr" where there is a plural).
    """
    _known(language)
    left = sorted((item for item in read(language) if item.id and not _said(item)), key=_place)
    share = sum(_words(item) for item in left) / max(parts, 1)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[list[dict[str, Any]]] = [[] for _ in range(parts)]
    words = 0.0
    for number, item in enumerate(left):
        row: dict[str, Any] = {
            "id": number,
            "msgid": singular(item),
            "where": item.locations[0][0] if item.locations else "",
        }
        if item.pluralizable:
            row["msgid_plural"] = item.id[1]
        files[min(int(words / share) if share else 0, parts - 1)].append(
            {**row, "msgstr": ["", ""] if item.pluralizable else ""}
        )
        words += _words(item)
    out = []
    for place, rows in enumerate(files, start=1):
        path = folder / f"{language}-{place:02d}.json"
        _write(path, (json.dumps(rows, ensure_ascii=False, indent=1) + "\n").encode())
        out.append(path)
    return out


def merge(language: str, files: Iterable[Path]) -> tuple[int, list[str]]:
    """Take translations back into the catalogue; return how many, and what is wrong with those that were not taken.

    A file is a list of {"msgid", "msgstr"}; what has no `msgstr` is passed over.

    Raises:
        UsageError: A file cannot be read.
    """
    _known(language)
    taken, wrong = 0, []
    with _alone(language):
        found = read(language)
        for path in files:
            for row in _rows(path):
                said = row.get("msgstr")
                if not said or not any(said):
                    continue
                item = found.get(row.get("msgid", ""))
                if item is None:
                    wrong.append(f"{path.name}: no such message: {row.get('msgid')!r}")
                    continue
                before, item.string = item.string, tuple(said) if isinstance(said, list) else said
                against = _faults(item, language)
                if against:
                    item.string = before
                    wrong += [f"{path.name}, {row.get('id', '?')}: {fault} | {singular(item)!r}" for fault in against]
                else:
                    item.flags.discard("fuzzy")
                    taken += 1
        _write(catalogue(language), written(found))
    return taken, wrong


def _faults(item: Any, language: str) -> list[str]:  # noqa: ANN401  (babel's Message)
    if item.pluralizable:
        if not isinstance(item.string, (tuple, list)) or len(item.string) != 2 or not all(item.string):
            return ["one string for one and one for more are needed"]
        found = faults(item.id[1], item.string[1], language)
        found += [fault for fault in faults(item.id[0], item.string[0], language) if "numbers" not in fault]
        return found
    found = faults(item.id, item.string, language)
    if any(name in CONCLUSIONS for name, _ in item.locations):
        found += [f"a word that no conclusion may hold: {word}" for word in forbidden(item.string, language)]
    return found


def _said(item: Any) -> bool:  # noqa: ANN401
    return all(item.string) if isinstance(item.string, (tuple, list)) else bool(item.string)


def _words(item: Any) -> int:  # noqa: ANN401
    return len(singular(item).split())


def _place(item: Any) -> int:  # noqa: ANN401
    where = item.locations[0][0] if item.locations else ""
    return next((place for place, start in enumerate(FIRST) if where.startswith(start)), len(FIRST))


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}"
        raise UsageError(msg, hint="Give the files that `split` wrote.") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        msg = f"{path} is not a list of messages"
        raise UsageError(msg, hint="Give the files that `split` wrote.")
    return rows


def _known(language: str) -> None:
    if language not in LANGUAGES:
        msg = f"there is no catalogue for '{language}'"
        raise UsageError(msg, hint=f"Known are {', '.join(LANGUAGES)}.")


@contextmanager
def _alone(language: str) -> Iterator[None]:
    """Let one at a time change a catalogue."""
    with (Path(tempfile.gettempdir()) / f"auditor-language-{language}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)
