"""Common runs of what is shared and what is restricted: every one of at least `RUN` letters is found.

Of what is shared, one window of `WINDOW` letters is remembered every `STRIDE` letters; restricted text flows past and is asked at every
letter. A common run of `WINDOW` + `STRIDE` - 1 letters holds a remembered window wherever it lies. What the hashes find is compared
letter by letter, so that no hash decides anything (Karp and Rabin 1987, doi:10.1147/rd.312.0249).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from auditor.redact.letters import END

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

WINDOW = 20
"""Letters that are hashed together."""
STRIDE = 5
"""Letters from one remembered window to the next."""
RUN = WINDOW + STRIDE - 1
"""Letters of the shortest run that is always found."""
LEAST_DIFFERENT = 6
"""Different letters that a window has at least: rows of zeros are no text."""
_BASE = 0x9E3779B97F4A7C15  # odd: no power of it is 0 modulo 2**64
_BLOCK = 1 << 16
"""Letters hashed at once: what is made of them stays in the processor's cache."""


class Common(NamedTuple):
    """A run that stands in both."""

    shared: int
    """Where it begins in what is shared."""
    restricted: int
    """Where it begins in the restricted text."""
    length: int


class Shared:
    """What is to be shared, ready to be asked for windows.

    Args:
        letters: Its letters, `END` between what belongs apart, shape [n].
    """

    def __init__(self, letters: NDArray[np.uint8]) -> None:
        """Remember one window every `STRIDE` letters."""
        self.letters = letters
        places = np.arange(0, max(0, len(letters) - WINDOW + 1), STRIDE)
        places = places[_varied(letters, len(places))]
        hashes = _rolling_at(letters, places)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._places = hashes[order], places[order]
        bits = max(16, min(27, int(32 * len(places)).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._maybe = np.zeros(1 << bits, dtype=bool)
        self._maybe[hashes >> self._shift] = True

    def runs(self, restricted: NDArray[np.uint8], least: int = RUN) -> Iterator[Common]:
        """Yield every common run of at least so many letters, once for each place of a remembered window in it.

        Args:
            restricted: Letters of restricted texts, `END` between them, shape [n].
            least: At least `RUN`.
        """
        if not len(self._hashes):
            return
        done: dict[int, int] = {}
        for place, found in self._windows(restricted):
            # A run begins as far before its window here as there: the difference of the places names it.
            if done.get(found - place, -1) >= place:
                continue
            begin, end = self._reach(restricted, place, found)
            if end - begin >= WINDOW:
                done[found - place] = end - WINDOW
            if end - begin >= least:
                yield Common(found - (place - begin), begin, end - begin)

    def _windows(self, restricted: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
        for start in range(0, len(restricted) - WINDOW + 1, _BLOCK):
            hashes = _rolling(restricted[start : start + _BLOCK + WINDOW - 1])
            likely = np.flatnonzero(self._maybe.take(hashes >> self._shift))
            asked = hashes[likely]
            first = np.searchsorted(self._hashes, asked, side="left")
            same = self._hashes[np.minimum(first, len(self._hashes) - 1)] == asked
            likely, first, asked = likely[same], first[same], asked[same]
            last = np.searchsorted(self._hashes, asked, side="right")
            for place, begin, end in zip(likely.tolist(), first.tolist(), last.tolist(), strict=True):
                for one in range(begin, end):
                    yield start + place, int(self._places[one])

    def _reach(self, restricted: NDArray[np.uint8], place: int, found: int) -> tuple[int, int]:
        """Return where the common run around a window begins and ends in the restricted text."""
        back = _agree(restricted[:place][::-1], self.letters[:found][::-1])
        ahead = _agree(restricted[place:], self.letters[found:])
        return place - back, place + ahead


def _agree(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """Return how many letters two texts agree in from the start; nothing agrees with `END`."""
    total = min(len(one), len(other))
    step, done = 64, 0
    while done < total:
        left, right = one[done : min(done + step, total)], other[done : min(done + step, total)]
        differ = np.flatnonzero((left != right) | (left == END))
        if len(differ):
            return done + int(differ[0])
        done += len(left)
        step = min(2 * step, 1 << 16)
    return total


def _rolling(letters: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the hash of every window, shape [n - WINDOW + 1]."""
    fours = _doubled(_doubled(letters.astype(np.uint64) + np.uint64(1), 1), 2)
    sixteens = _doubled(_doubled(fours, 4), 8)
    return _spread(sixteens[:-4] * _power(4) + fours[16:])


def _doubled(sums: NDArray[np.uint64], width: int) -> NDArray[np.uint64]:
    """Return sums over twice as many letters, each made of two neighbours."""
    return sums[:-width] * _power(width) + sums[width:]


def _power(width: int) -> np.uint64:
    return np.uint64(pow(_BASE, width, 2**64))


def _rolling_at(letters: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the hash of the window at each place."""
    sums = np.zeros(len(places), dtype=np.uint64)
    for step in range(WINDOW):
        sums = sums * np.uint64(_BASE) + letters[places + step].astype(np.uint64) + np.uint64(1)
    return _spread(sums)


def _varied(letters: NDArray[np.uint8], count: int) -> NDArray[np.bool_]:
    """Return for each window whether it is text: one piece, of several different letters; shape [count]."""
    found = np.zeros(count, dtype=bool)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        part = letters[start * STRIDE : (stop - 1) * STRIDE + WINDOW]
        rows = np.sort(np.lib.stride_tricks.sliding_window_view(part, WINDOW)[::STRIDE], axis=1)
        different = 1 + (rows[:, 1:] != rows[:, :-1]).sum(axis=1)
        found[start:stop] = (rows[:, 0] != END) & (different >= LEAST_DIFFERENT)
    return found


def _spread(sums: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return hashes whose high bits hang on every letter."""
    return (sums ^ (sums >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)


def places_of(
    values: Collection[bytes], letters: NDArray[np.uint8], begins: NDArray[np.bool_]
) -> Iterator[tuple[int, bytes]]:
    """Yield where whole values stand that are too short for a run: between signs, not within a word.

    Args:
        values: Letters of each value.
        letters: What is to be shared, `END` between what belongs apart, shape [n].
        begins: Whether something else than a letter stood before each letter, shape [n].
    """
    if not values or not len(letters):
        return
    by_length: dict[int, list[bytes]] = {}
    for value in values:
        by_length.setdefault(len(value), []).append(value)
    starts = np.flatnonzero(begins & (letters != END))
    ends = np.append(begins | (letters == END), True)
    for length, several in by_length.items():
        possible = starts[starts + length <= len(letters)]
        possible = possible[ends[possible + length]]
        known = np.sort(_sums(np.frombuffer(b"".join(several), dtype=np.uint8).reshape(-1, length)))
        sums = (
            _sums(np.lib.stride_tricks.sliding_window_view(letters, length)[possible]) if len(possible) else known[:0]
        )
        near = np.minimum(np.searchsorted(known, sums), len(known) - 1)
        kept = set(several)
        for place in possible[known[near] == sums].tolist():
            value = letters[place : place + length].tobytes()
            if value in kept:
                yield place, value


def _sums(rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the hash of each row."""
    sums = np.zeros(len(rows), dtype=np.uint64)
    for column in range(rows.shape[1]):
        sums = sums * np.uint64(_BASE) + rows[:, column].astype(np.uint64) + np.uint64(1)
    return _spread(sums)
