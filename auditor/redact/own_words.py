"""What may stand in a report although restricted text says it, too: the tool's own words, names of records, public parts of canaries.

A model can have been trained on the law, or on a report like this one. What the tool says of itself anyway gives nothing away.
"""

from __future__ import annotations

import functools
import string
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import auditor
from auditor.core.resources import resource
from auditor.redact.letters import bare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

PHRASE = 16
"""Letters of the shortest phrase that counts as said elsewhere."""
_BASE = np.uint64(0x9E3779B97F4A7C15)


class Words:
    """Texts that give nothing away.

    Args:
        texts: The texts.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """Remember every phrase."""
        self.letters = bare("\0".join(text.replace("\0", " ") for text in texts))
        self._phrases = np.sort(_phrases(self.letters))

    def covered(self, run: bytes) -> NDArray[np.bool_]:
        """Return for each letter of a run whether it belongs to a phrase that these texts hold, too."""
        found = np.zeros(len(run), dtype=bool)
        asked = _phrases(run)
        if not len(asked) or not len(self._phrases):
            return found
        near = np.minimum(np.searchsorted(self._phrases, asked), len(self._phrases) - 1)
        for place in np.flatnonzero(self._phrases[near] == asked):
            found[place : place + PHRASE] = True
        return found

    def __contains__(self, value: bytes) -> bool:
        """Return whether these texts hold a value."""
        return value in self.letters


@functools.cache
def tool_words() -> Words:
    """Return all that the tool says by itself: its templates, policies and clauses, and its source."""
    return Words(_said())


def _said() -> Iterator[str]:
    yield string.digits + string.ascii_lowercase + string.digits
    roots = [Path(auditor.__file__).parent]
    roots += [resource(name) for name in ("templates", "policies")]
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.suffix in {".py", ".j2", ".css", ".js", ".yaml", ".po"}:
                yield path.read_text(encoding="utf-8", errors="replace")


def _phrases(letters: bytes) -> NDArray[np.uint64]:
    values = np.frombuffer(letters, dtype=np.uint8).astype(np.uint64) + np.uint64(1)
    if len(values) < PHRASE:
        return np.empty(0, dtype=np.uint64)
    sums = values
    for width in (1, 2, 4, 8):
        sums = sums[:-width] * np.uint64(pow(int(_BASE), width, 2**64)) + sums[width:]
    return sums
