"""The words and numbers inside of drawings, in the language of whoever reads the report."""

from __future__ import annotations

import re
from html import escape, unescape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.core.finding import Figure
    from auditor.language.reader import Reader

_TEXT = re.compile(rb"(<text\b[^>]*>)([^<]*)(</text>)")
_NUMBER = re.compile(r"[\u2212-]?\d[\d.,]*(?:e[+-]?\d+)?[ \u00a0]?%?")


def plainly(text: str, reader: Reader) -> str:
    """Return a text in the language of the reader, without marks."""
    return text if reader.language == "en" else "".join(part.text for part in reader.say(text))


def spoken(figure: Figure, reader: Reader) -> Figure:
    """Return a figure with its labels in the language of the reader."""
    if reader.language == "en":
        return figure
    return figure.model_copy(
        update={
            "x_label": plainly(figure.x_label, reader),
            "y_label": plainly(figure.y_label, reader),
            "series": tuple(
                series.model_copy(update={"name": plainly(series.name, reader)}) for series in figure.series
            ),
        }
    )


def with_numbers(svg: bytes, reader: Reader) -> bytes:
    """Return a drawing with the numbers at its axes as the language of the reader writes them."""
    if reader.language == "en":
        return svg

    def said(match: re.Match[bytes]) -> bytes:
        text = unescape(match[2].decode())
        if not _NUMBER.fullmatch(text):
            return match[0]
        return match[1] + escape(plainly(text, reader), quote=False).encode() + match[3]

    return _TEXT.sub(said, svg)
