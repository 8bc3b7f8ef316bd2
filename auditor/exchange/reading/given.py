"""What a reader makes of a file, and errors that name file and line."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from auditor.core.record import parse_json
from auditor.errors import DataError, did_you_mean
from auditor.exchange.source import line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditor.core.external import ExternalFinding, GivenModel, GivenTool

LARGEST = 256 << 20
"""Bytes of a file that is read."""
SHORT = 400
"""Letters of a text that is taken over."""


class Given(NamedTuple):
    """What a file of another tool says."""

    tool: GivenTool
    created: str
    model: GivenModel
    findings: tuple[ExternalFinding, ...]
    left_out: tuple[str, ...] = ()


class JsonFile:
    """A JSON file whose values are asked for by place, with errors that name file and line.

    Args:
        path: The file, for messages.
        text: What it holds.

    Raises:
        DataError: It is not JSON, or not an object.
    """

    def __init__(self, path: Path, text: str) -> None:
        """Read the text; a key that stands twice is refused."""
        self.path, self.text = path, text
        try:
            self.value: dict[str, Any] = parse_json(text)
        except json.JSONDecodeError as error:
            msg = f"{path}:{error.lineno}: not JSON ({error.msg})"
            raise DataError(msg, hint="Is the file whole, and is it the one the tool wrote?") from error
        except ValueError as error:
            msg = f"{path}: not JSON that every reader reads alike ({error})"
            raise DataError(msg, hint="Is the file whole, and is it the one the tool wrote?") from error
        if not isinstance(self.value, dict):
            msg = f"{path}:1: not a JSON object"
            raise DataError(
                msg, hint="Is it the file the tool wrote? docs/exchange.md says what each format looks like."
            )

    def line_of(self, place: Sequence[str | int]) -> int:
        """Return the line (from 1) of a value, or of the nearest one around it."""
        return line_of(self.text, place)

    def wrong(self, place: Sequence[str | int], what: str, hint: str) -> NoReturn:
        """Raise the error that says what is wrong with a value, and where."""
        name = ".".join(str(part) for part in place) or "the file"
        msg = f"{self.path}:{self.line_of(place)}: {line(name)} {what}"
        raise DataError(msg, hint=hint)

    def at(self, place: Sequence[str | int]) -> Any:  # noqa: ANN401  (any JSON value)
        """Return the value at a place, None where there is none."""
        value: Any = self.value
        for part in place:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def mapping(self, *place: str) -> dict[str, Any]:
        """Return the object at a place.

        Raises:
            DataError: There is none.
        """
        value = self.at(place)
        if not isinstance(value, dict):
            known = self.at(place[:-1])
            hint = (
                did_you_mean(place[-1], known)
                if value is None and isinstance(known, dict)
                else "Is it the file the tool wrote?"
            )
            self.wrong(place, "is missing" if value is None else "is not an object", hint)
        return value

    def words(self, *place: str, otherwise: str | None = None) -> str:
        """Return the text at a place, on one line and not longer than is taken over.

        Raises:
            DataError: There is none, and nothing stands in for it.
        """
        value = self.at(place)
        if value is None and otherwise is not None:
            return otherwise
        if not isinstance(value, str) or not value.strip():
            self.wrong(place, "is not a text", "Is it the file the tool wrote?")
        return shortened(value)

    def number(self, *place: str) -> float | None:
        """Return the number at a place, None where it is null or not there.

        Raises:
            DataError: It is something else.
        """
        value = self.at(place)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.wrong(place, "is not a number", "Is it the file the tool wrote?")
        return float(value)

    def count(self, *place: str) -> int | None:
        """Return the number of things at a place, None where it is null or not there.

        Raises:
            DataError: It is something else.
        """
        value = self.number(*place)
        if value is None:
            return None
        if value < 0 or value != int(value) or value >= 2**53:
            self.wrong(place, "is not a number of things", "Is it the file the tool wrote?")
        return int(value)


def line_of(text: str, place: Sequence[str | int]) -> int:
    """Return the line (from 1) of a value in a JSON text, or of the nearest one around it."""
    return text.count("\n", 0, _position(text, place)) + 1


def lines_of_members(text: str, place: Sequence[str | int]) -> list[int]:
    """Return the line (from 1) of every member of the object or list at a place, in one pass."""
    lines, line_number, before = [], 1, 0
    for _, at in _members(text, _position(text, place)):
        line_number += text.count("\n", before, at)
        before = at
        lines.append(line_number)
    return lines


def _position(text: str, place: Sequence[str | int]) -> int:
    at = _skip(text, 0)
    for part in place:
        found = next((start for key, start in _members(text, at) if key == part), None)
        if found is None:
            break
        at = found
    return at


def _members(text: str, at: int) -> Iterator[tuple[str | int, int]]:
    """Yield key or number of every member of the object or list at a position, and where it begins."""
    decoder = json.JSONDecoder()
    if text[at : at + 1] not in {"{", "["}:
        return
    named = text[at] == "{"
    at, number = _skip(text, at + 1), 0
    while text[at : at + 1] not in {"}", "]", ""}:
        key: Any = number
        if named:
            key, at = decoder.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)  # the colon
        yield key, at
        at = _skip(text, decoder.raw_decode(text, at)[1])
        at = _skip(text, at + 1) if text[at : at + 1] == "," else at
        number += 1


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def shortened(text: str) -> str:
    """Return a text on one line, cut where it is longer than is taken over."""
    plain = line(text)
    return plain if len(plain) <= SHORT else plain[: SHORT - 1] + "\u2026"


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        DataError: It cannot be read, is too large or is not UTF-8.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            msg = f"{path}: {size:,} bytes are more than the {LARGEST:,} that are read"
            raise DataError(msg, hint="Is this the right file?")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"{path}: not UTF-8 (byte {error.start})"
        raise DataError(msg, hint="Is this the file the tool wrote?") from error
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise DataError(msg, hint="Check the path.") from error
