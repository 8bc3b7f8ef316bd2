"""Which characters the shipped fonts can draw; the others are spelled out where no other font may help."""

from __future__ import annotations

import re
from functools import cache

from auditor.core.resources import resource
from auditor.report.writing import code_point

FACES = (
    "SourceSans3-Regular.ttf",
    "SourceSans3-SemiBold.ttf",
    "SourceSans3-Italic.ttf",
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSansMono.ttf",
)
_BEYOND = re.compile("[^\n\t\x20-\x7e]")


@cache
def drawn_by(face: str) -> frozenset[int]:
    """Return the characters that a shipped font has a glyph for."""
    from fontTools.ttLib import TTFont  # noqa: PLC0415  (heavy)

    with TTFont(resource(f"templates/fonts/{face}"), lazy=True) as font:
        return frozenset(font.getBestCmap())


def drawable(text: str, *, faces: tuple[str, ...] = FACES) -> str:
    """Return a text with every character that none of the fonts can draw as its number: no empty boxes.

    Args:
        text: Any text; a whole page of HTML too.
        faces: File names of shipped fonts.
    """
    letters = {ord(letter) for letter in set(_BEYOND.findall(text))}
    known = frozenset().union(*(drawn_by(face) for face in faces)) if letters else frozenset()
    missing = {letter: code_point(chr(letter)) for letter in letters - known}
    return text.translate(missing) if missing else text
