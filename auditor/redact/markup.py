"""Reads HTML, XML and SVG: the text as a reader sees it, attributes, comments, and what data addresses hold."""

from __future__ import annotations

import base64
import re
import urllib.parse
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from typing_extensions import override

from auditor.redact.pieces import Piece, parts_of, text_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.redact.pieces import Part

_DATA = re.compile(r"^\s*data:([^,]*),(.*)$", re.DOTALL | re.IGNORECASE)


class _Reader(HTMLParser):
    """Collects text, attributes and comments, each with its line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.places: list[tuple[int, str]] = []
        self.length = 0
        self.near = ""
        self.values: list[tuple[str, str]] = []
        self.columns: dict[int, list[str]] = {}
        self.cell = -1

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.near = f", below '{value[:60]}'" if re.fullmatch(r"[a-z]+[a-z0-9-]{0,40}", value) else self.near
            if value:
                self.values.append((f"attribute {name}, line {self.getpos()[0]}{self.near}", value))
        if tag == "tr":
            self.cell = -1
        elif tag in {"td", "th"}:
            self.cell += 1

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.cell = -1
            self._close()

    def _close(self) -> None:
        for cells in self.columns.values():
            self.values.append((f"column of a table that ends in line {self.getpos()[0]}{self.near}", " ".join(cells)))
        self.columns = {}

    @override
    def handle_data(self, data: str) -> None:
        if not data.strip():
            return
        self.places.append((self.length, f"line {self.getpos()[0]}{self.near}"))
        self.text.append(data)
        self.length += len(data) + 1
        if self.cell >= 0:
            self.columns.setdefault(self.cell, []).append(data)

    @override
    def handle_comment(self, data: str) -> None:
        self.values.append((f"comment, line {self.getpos()[0]}", data))

    @override
    def unknown_decl(self, data: str) -> None:
        self.values.append((f"declaration, line {self.getpos()[0]}", data))

    @override
    def handle_decl(self, decl: str) -> None:
        self.unknown_decl(decl)

    @override
    def handle_pi(self, data: str) -> None:
        self.unknown_decl(data)


def parts(name: str, content: bytes, depth: int) -> Iterator[Part]:
    """Yield what a page says: its text in order over all tags, each column of its tables, its attributes and comments."""
    reader = _Reader()
    reader.feed(content.decode("utf-8", "replace"))
    reader.close()
    # Text may be broken over tags anywhere, so it is read with and without a space between them: letters alone are compared.
    yield from text_parts(f"{name}, text", " ".join(reader.text), depth, places=tuple(reader.places))
    short: list[str] = []
    places: list[tuple[int, str]] = []
    length = 0
    for where, value in reader.values:
        if data := _DATA.match(value):
            yield from parts_of(f"{name}, {where}, data address", _data(data), depth + 1)
            continue
        places.append((length, where))
        short.append(value)
        length += len(value) + 1
    yield from text_parts(f"{name}, attributes", "\0".join(short), depth, places=tuple(places))


def _data(found: re.Match[str]) -> bytes:
    kind, body = found.groups()
    plain = urllib.parse.unquote_to_bytes(body)
    if kind.rstrip().lower().endswith(";base64"):
        packed = re.sub(rb"[^A-Za-z0-9+/_-]", b"", plain).replace(b"-", b"+").replace(b"_", b"/")
        return base64.b64decode(packed[: len(packed) - (len(packed) % 4 == 1)] + b"=" * (-len(packed) % 4))
    return plain


__all__ = ["Piece", "parts"]
