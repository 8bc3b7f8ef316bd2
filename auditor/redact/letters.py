"""Texts as bare letters and digits, in which a run is found however it is written, broken or laid out.

Compatibility forms are resolved (NFKC: ligatures, full width), case is folded, and everything that is no letter or digit is left
out: white space, hyphens, quotation marks, table cells, tags. What is left is UTF-8: a letter of Latin script is one byte, an ideograph
three, so that a run of a given length says about as much in either.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

END = 0
"""Stands between texts: no letter is this byte."""

_KEPT = np.zeros(256, dtype=bool)
_KEPT[128:] = True
_KEPT[[*range(0x30, 0x3A), *range(0x61, 0x7B), END]] = True


class Letters(NamedTuple):
    """Texts as bare letters and digits, one behind the other."""

    bytes: NDArray[np.uint8]
    """Letters and digits in UTF-8, shape [n]; `END` stands between texts."""
    begins: NDArray[np.bool_]
    """Whether something else than a letter or digit stood before it, shape [n]."""


def letters_of(text: str) -> Letters:
    """Return the letters and digits of a text; a NUL in it separates what belongs apart."""
    raw = np.frombuffer(folded(text), dtype=np.uint8)
    kept = _KEPT[raw]
    before = np.ones(len(raw), dtype=bool)
    before[1:] = ~kept[:-1] | (raw[:-1] == END)
    return Letters(raw[kept], before[kept])


def bare(text: str) -> bytes:
    """Return the letters and digits of a text, as bytes."""
    return letters_of(text).bytes.tobytes()


def folded(text: str) -> bytes:
    """Return a text with its forms resolved and its case folded, and a space for every other sign that is not ASCII."""
    parts: list[bytes] = []
    start = 0
    while start < len(text):
        # Cut at a space or a separator, so that no letter is parted from its marks; most parts of most texts are ASCII.
        stop = min(start + _PART, len(text))
        if stop < len(text):
            cut = max(text.rfind(" ", start, stop), text.rfind("\0", start, stop))
            stop = cut + 1 if cut > start else stop
        part = text[start:stop]
        parts.append(part.casefold().encode() if part.isascii() else _plain(part))
        start = stop
    return b"".join(parts)


def _plain(text: str) -> bytes:
    resolved = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    points = np.frombuffer(resolved.encode("utf-32-le", "replace"), dtype=np.uint32)
    kinds = _kinds_of(points)
    shown = np.where(kinds == _SIGN, np.uint32(0x20), points)[kinds != _MARK]
    return bytes(shown.astype("<u4").tobytes().decode("utf-32-le").encode())


_PART = 1 << 16
_LETTER, _SIGN, _MARK = 0, 1, 2


_UNKNOWN = 3
_KINDS = np.full(0x110000, _UNKNOWN, dtype=np.uint8)
"""Of every code point that was met: whether it is a letter or digit (or ASCII), a sign between words, or a mark within one."""
_KINDS[:0x80] = _LETTER


def _kinds_of(points: NDArray[np.uint32]) -> NDArray[np.uint8]:
    kinds = _KINDS[points]
    if (kinds == _UNKNOWN).any():
        for point in np.unique(points[kinds == _UNKNOWN]).tolist():
            letter = chr(point)
            within = unicodedata.category(letter) in {"Mn", "Me", "Cf"}
            _KINDS[point] = _LETTER if letter.isalnum() else _MARK if within else _SIGN
        kinds = _KINDS[points]
    return kinds
