"""Parts of a Markdown file between markers: everything outside of them stays as it is, byte for byte."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")


class Heading(NamedTuple):
    """A heading of a Markdown file."""

    line: int
    """Index of its first line."""
    end: int
    """Index of the line after it."""
    level: int
    text: str


def split_lines(text: str) -> list[str]:
    r"""Return the lines with their ends, which are `\n`, `\r\n` or `\r` and nothing else (unlike `str.splitlines`)."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text)


def outside_code(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield index and text of the lines that stand outside fenced code."""
    fence = ""
    for index, whole in enumerate(lines):
        text = whole.rstrip("\r\n")
        mark = _FENCE.match(text)
        if fence:
            closes = mark and mark[1][0] == fence[0] and len(mark[1]) >= len(fence) and not text[mark.end() :].strip()
            fence = "" if closes else fence
        elif mark and not (mark[1][0] == "`" and "`" in text[mark.end() :]):
            fence = mark[1]
        else:
            yield index, text


def headings(lines: Sequence[str]) -> list[Heading]:
    """Return the headings of a Markdown file, `#` and underlined, outside fenced code and comments."""
    found = []
    commented = False
    before: tuple[int, str] = (-1, "")
    for index, text in outside_code(lines):
        opened = commented or "<!--" in text
        commented = text.rfind("-->") < text.rfind("<!--") if "<!--" in text else commented and "-->" not in text
        mark = None if opened else _ATX.match(text)
        if mark:
            found.append(Heading(index, index + 1, len(mark[1]), _plain(mark[2] or "")))
        elif not opened and _UNDERLINE.match(text) and before[0] == index - 1 and _paragraph(before[1]):
            found.append(Heading(index - 1, index + 1, 1 if "=" in text else 2, _plain(before[1])))
        before = (index, "" if opened else text)
    return found


def without(lines: Sequence[str], start: str, end: str, where: str) -> list[str]:
    """Return the lines without every part between markers, the markers included.

    Args:
        lines: The lines, with their ends.
        start: The line a part begins with, without its end.
        end: The line it ends with.
        where: The file, for messages; the first line is its line 1.

    Raises:
        DataError: A part has no end, or no beginning.
    """
    kept: list[str] = []
    open_at: int | None = None
    inside = dict(outside_code(lines))
    for index, whole in enumerate(lines):
        text = inside.get(index, "").strip()
        if text == start and open_at is None:
            open_at = index
        elif text == end and open_at is not None:
            open_at = None
        elif text in {start, end}:
            msg = f"{where}:{index + 1}: the marker '{text}' stands where it cannot"
            raise DataError(
                msg,
                hint=f"A part begins with '{start}' and ends with '{end}', each on a line of its own. Mend or remove both.",
            )
        elif open_at is None:
            kept.append(whole)
    if open_at is not None:
        msg = f"{where}:{open_at + 1}: the marker '{start}' has no end"
        raise DataError(msg, hint=f"Put '{end}' back where the part ends, or remove the marker.")
    return kept


def escaped(text: str) -> str:
    """Return a text of one line that Markdown and HTML show as it is, in a table cell too."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (
        re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", plain)
        .replace("://", ":&#47;&#47;")
        .replace("@", "&#64;")
        .replace("www.", "www&#46;")
    )


def _plain(text: str) -> str:
    """Return a heading's words alone, in lower case."""
    return re.sub(r"[*_`#\[\]]|\(.*?\)|:[a-z_]+:", "", text).strip().casefold()


def _paragraph(text: str) -> bool:
    return bool(text.strip()) and not _ATX.match(text) and not text.lstrip().startswith((">", "-", "*", "|", "+"))
