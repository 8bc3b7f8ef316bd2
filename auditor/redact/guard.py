"""The leak guard: every artefact that is to be shared is held against everything restricted.

A run counts where at least `RUN` letters and digits in a row stand in both, and `NEW` of them are said nowhere else: neither by the
tool itself, nor as the name of a record, nor in a sentence around a canary. Runs shorter than `QUOTED` may also stand in what persons
declared for the audit (policy, statements): set phrases of the law do. Values too short for a run count where they stand whole, between
other signs.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from auditor.core.redaction import GuardRule, Protected, Redaction, Scanned
from auditor.errors import LeakError
from auditor.redact.letters import END, bare, letters_of
from auditor.redact.own_words import Words, tool_words
from auditor.redact.pictures import Kept
from auditor.redact.pieces import Picture, Piece, parts_of
from auditor.redact.protected import (
    Origin,
    Secret,
    canaries_in,
    declared_in,
    ids_in,
    names_in,
    pictures_in,
    secrets_of,
    texts_in,
)
from auditor.redact.runs import RUN, Shared, places_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

NEW = 12
"""Letters of a run that nobody else says."""
VALUE = 12
"""Letters of the shortest value that is looked for as a whole."""
QUOTED = 64
"""Letters from which a run counts although a person declared it: a sentence, no phrase."""
MOST = 20
"""Places that are named, the longest runs first."""
_MOST_KEPT = 2000
_HELD = 1 << 26
"""Letters of artefacts that are compared at once."""
_JOINED = 1 << 20
"""Letters of restricted texts that are compared at once."""


class Artefact(NamedTuple):
    """Something that is to be shared."""

    name: str
    content: bytes | Path


class Leak(NamedTuple):
    """Something restricted in an artefact; never what it is."""

    artefact: str
    where: str
    origin: Origin
    row: int
    record: str
    """Name of the record; empty: it has none."""
    length: int
    """Letters and digits; 0: a picture."""

    def described(self) -> str:
        """Return where it stands and what it is of, in one line."""
        what = f"{self.length} letters" if self.length else "a picture"
        column = f", column {self.origin.column}" if self.origin.column else ""
        record = f"record '{self.record}' " if self.record else ""
        return f"{self.artefact}, {self.where}: {what} of {record}({self.origin.file}{column}, row {self.row})"


class Look(NamedTuple):
    """What a scan saw."""

    redaction: Redaction
    leaks: tuple[Leak, ...]


class _Held:
    """Letters of some artefacts, with the pieces they come from."""

    def __init__(self, pieces: Sequence[tuple[str, Piece]]) -> None:
        found = [letters_of(piece.text) for _, piece in pieces]
        gap = np.array([END], dtype=np.uint8)
        parts = [part for one in found for part in (one.bytes, gap)]
        flags = [part for one in found for part in (one.begins, np.ones(1, dtype=bool))]
        self.pieces = pieces
        self.letters = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint8)
        self.begins = np.concatenate(flags) if flags else np.empty(0, dtype=bool)
        self.starts = np.cumsum([0, *(len(one.bytes) + 1 for one in found)])
        self.shared = Shared(self.letters)

    def place(self, letter: int) -> tuple[str, str]:
        """Return the artefact and the place in it of a letter, in words."""
        index = int(np.searchsorted(self.starts, letter, side="right")) - 1
        name, piece = self.pieces[index]
        offset, low, high = letter - int(self.starts[index]), 0, len(piece.places)
        while high - low > 1:  # the place whose text begins last before the letter
            middle = (low + high) // 2
            if len(bare(piece.text[: piece.places[middle][0]])) <= offset:
                low = middle
            else:
                high = middle
        near = f", {piece.places[low][1]}" if piece.places else ""
        return name, f"{piece.where.removeprefix(name).lstrip(', /') or 'text'}{near}"


class Guard:
    """The leak guard of one bundle.

    Args:
        bundle: The whole bundle, with its restricted part.
        pictures: Compare pictures, too; False where the policy shows them as they are.
        known: Texts that whoever receives the artefacts has anyway.
    """

    def __init__(self, bundle: Path, *, pictures: bool = True, known: Iterable[str] = ()) -> None:
        """Read what is public by declaration; restricted texts are read when something is scanned."""
        self.bundle = bundle
        self._pictures = pictures
        self._names = Words(names_in(bundle))
        self._ids = Words(ids_in(bundle))
        self._known = Words(known)
        self._declared = Words(declared_in(bundle))
        self._judged: dict[tuple[bytes, bool], bool] = {}
        self._counts = {"texts": 0, "letters": 0, "values": 0, "too_short": 0, "pictures": 0}

    def look(self, artefacts: Iterable[Artefact]) -> Look:
        """Return what was scanned, and everything restricted that was found in it."""
        scanned: list[Scanned] = []
        leaks: list[Leak] = []
        waiting: list[tuple[str, Piece]] = []
        pictures: list[tuple[str, Picture]] = []
        letters = 0
        for artefact in artefacts:
            row, pieces, shown = _read(artefact)
            scanned.append(row)
            pictures += [(artefact.name, picture) for picture in shown]
            waiting += [(artefact.name, piece) for piece in pieces]
            letters += row.letters
            if letters > _HELD:
                leaks += self._compare(_Held(waiting))
                waiting, letters = [], 0
        leaks += self._compare(_Held(waiting))
        if self._pictures:
            leaks += self._compare_pictures(pictures)
        redaction = Redaction(
            rule=GuardRule(run=RUN, new=NEW, value=VALUE),
            protected=Protected(**self._counts),
            scanned=tuple(sorted(scanned, key=lambda item: item.path)),
            pictures_compared=self._pictures,
        )
        return Look(redaction, tuple(dict.fromkeys(leaks)))

    def check(self, artefacts: Iterable[Artefact]) -> Redaction:
        """Return what was scanned, if nothing restricted was found in it.

        Raises:
            LeakError: Something was; the message says where and of which record.
        """
        seen = self.look(artefacts)
        if seen.leaks:
            raise leak_error(seen.leaks)
        return seen.redaction

    def _compare(self, held: _Held) -> list[Leak]:
        found: list[tuple[int, int, Origin, int]] = []
        values: dict[bytes, tuple[Origin, int, tuple[int, ...]]] = {}
        told: set[int] = set()
        counts = dict.fromkeys(self._counts, 0)
        for origin, texts, rows in _blocks(self.bundle, told):
            joined = letters_of("\0".join(texts)).bytes
            ends = np.append(np.flatnonzero(joined == END), len(joined))
            starts = np.concatenate([[0], ends[:-1] + 1])
            counts["texts"] += len(texts)
            counts["letters"] += int((ends - starts).sum())
            for begin, end, row in zip(starts.tolist(), ends.tolist(), rows, strict=True):
                if VALUE <= end - begin < RUN and origin.whole:
                    values.setdefault(joined[begin:end].tobytes(), (origin, row, ()))
                elif end - begin < RUN:
                    counts["too_short"] += 1
            for common in held.shared.runs(joined):
                index = int(np.searchsorted(starts, common.restricted, side="right")) - 1
                whole = common.length == ends[index] - starts[index]
                if len(found) < _MOST_KEPT and self._leaks(held, common.shared, common.length, whole=whole):
                    found.append((common.length, common.shared, origin, rows[index]))
        canaries = canaries_in(self.bundle)
        for secret in secrets_of(canaries) if canaries else ():
            values[secret.letters] = (secret.origin, secret.row, secret.parts)
        counts["values"] = len(values)
        self._counts |= counts
        for place, value in places_of(values.keys(), held.letters, held.begins):
            origin, row, parts = values[value]
            written = _parts(held.begins[place : place + len(value)])
            if len(found) < _MOST_KEPT and (not parts or parts == written) and not self._said(value):
                found.append((len(value), place, origin, row))
        found.sort(key=lambda item: -item[0])
        return [self._leak(held, place, length, origin, row) for length, place, origin, row in found[:MOST]]

    def _leaks(self, held: _Held, place: int, length: int, *, whole: bool) -> bool:
        """Return whether a common run gives something away that is not said elsewhere; a whole text is no mere id."""
        run = held.letters[place : place + length].tobytes()
        if (run, whole) not in self._judged:
            covered = tool_words().covered(run) | self._known.covered(run) | self._names.covered(run)
            if not whole:
                covered |= self._ids.covered(run)
            if length < QUOTED:
                covered |= self._declared.covered(run)
            self._judged[run, whole] = int((~covered).sum()) >= NEW
        return self._judged[run, whole]

    def _said(self, value: bytes) -> bool:
        return any(value in words for words in (self._names, self._ids, self._known, self._declared, tool_words()))

    def _leak(self, held: _Held, place: int, length: int, origin: Origin, row: int) -> Leak:
        name, where = held.place(place)
        return Leak(name, where, origin, row, self._record(origin, row), length)

    def _record(self, origin: Origin, row: int) -> str:
        """Return the name of a record: the id that its public part has, else the canary's."""
        if origin.column.startswith("canary "):
            return origin.column
        path = self.bundle / origin.file
        public = path.parent.parent / path.name
        if path.suffix != ".parquet" or not public.exists():
            return ""
        names = pq.read_schema(public).names
        column = next((name for name in ("id", "record", "canary", "prompt_id", "member_id") if name in names), None)
        return str(pq.read_table(public, columns=[column]).column(column)[row]) if column else ""

    def _compare_pictures(self, pictures: Sequence[tuple[str, Picture]]) -> list[Leak]:
        origins: list[tuple[Origin, int]] = []

        def contents() -> Iterator[bytes]:
            for origin, row, content in pictures_in(self.bundle):
                origins.append((origin, row))
                yield content

        kept = Kept(contents())
        self._counts["pictures"] = kept.count
        found: list[Leak] = []
        for name, picture in pictures:
            for number in kept.found(picture.content):
                if len(found) < MOST:
                    origin, row = origins[number]
                    where = picture.where.removeprefix(name).lstrip(", /") or "picture"
                    found.append(Leak(name, where, origin, row, self._record(origin, row), 0))
        return found


def leak_error(leaks: Sequence[Leak]) -> LeakError:
    """Return the error that names where something leaked."""
    places = "\n".join(f"  {leak.described()}" for leak in leaks[:MOST])
    more = f"\n  and at least {len(leaks) - MOST} more" if len(leaks) > MOST else ""
    msg = f"restricted text or pictures in what is to be shared, at {len(leaks)} place{'s' if len(leaks) > 1 else ''}:\n{places}{more}"
    return LeakError(
        msg,
        hint="Nothing was sealed or written; all evidence is kept. If a statement, a policy or a file name quotes a record, take the "
        "quotation out; if the id of a record is its text, give records other ids; if a test or plug-in writes it, that is a fault of "
        "it: leave the test out or set `exhibits: none`, and report it. See docs/redaction.md.",
    )


def _read(artefact: Artefact) -> tuple[Scanned, list[Piece], list[Picture]]:
    content = artefact.content.read_bytes() if isinstance(artefact.content, Path) else artefact.content
    pieces: list[Piece] = []
    pictures: list[Picture] = []
    unread: list[str] = []
    for part in parts_of(artefact.name, content):
        if isinstance(part, Piece):
            pieces.append(part)
        elif isinstance(part, Picture):
            pictures.append(part)
        else:
            unread.append(f"{part.where}: {part.why}")
    pieces.append(Piece("name of the file", artefact.name))
    letters = sum(len(piece.text) for piece in pieces)
    return Scanned(path=artefact.name, letters=letters, pictures=len(pictures), unread=tuple(unread)), pieces, pictures


def _blocks(bundle: Path, told: set[int]) -> Iterator[tuple[Origin, list[str], list[int]]]:
    """Yield different restricted texts, so many at once as are compared together."""
    for origin, texts, rows in texts_in(bundle):
        some: list[str] = []
        where: list[int] = []
        size = 0
        for text, row in zip(texts, rows, strict=True):
            mark = hash(text)
            if mark in told or not text:
                continue
            told.add(mark)
            some.append(text.replace("\0", " "))
            where.append(row)
            size += len(text)
            if size > _JOINED:
                yield origin, some, where
                some, where, size = [], [], 0
        if some:
            yield origin, some, where


def _parts(begins: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return the lengths of the parts that letters fall into."""
    cuts = [0, *(np.flatnonzero(begins[1:]) + 1).tolist(), len(begins)]
    return tuple(int(end - start) for start, end in itertools.pairwise(cuts))


__all__ = ["Artefact", "Guard", "Leak", "Look", "Secret", "leak_error"]
