"""Records of a subject: where they lie, how they are read, without ever holding them all."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from auditor.core.record import digest_of
from auditor.core.seeds import generator
from auditor.core.subject import Artifact, DatasetIdentity, RecordsSpec
from auditor.errors import DataError, did_you_mean
from auditor.evidence.digests import artifacts, joint_digest
from auditor.subjects.formats import Row, files_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

LONGEST_ID = 256
"""Characters."""
MOST_COPIES = 2**31 - 1
"""What a column of the evidence can hold."""


@dataclass(frozen=True, slots=True)
class DataRecord:
    """One record.

    Args:
        id: Unique in its file.
        text: The text, Unicode.
        cluster: Person, document or the record itself: the independent unit of every interval.
        copies: How often it stood in training; 1 where nothing is said.
        source: Source label, "" where nothing is said.
        image: The encoded image (PNG, JPEG, ...), byte; empty where the record is a text. Its text is then the caption.
        label: Class label from 0, None where nothing is said.
    """

    id: str
    text: str
    cluster: str
    copies: int = 1
    source: str = ""
    image: bytes = b""
    label: int | None = None


class RecordSource(Protocol):
    """A set of records that can be read in order, any number of times."""

    def __len__(self) -> int:
        """Return the number of usable records."""
        ...

    def sample(self, count: int | None, seed: int, start: int, stop: int) -> Iterator[DataRecord]:
        """Yield items start to stop of a simple random sample without replacement, in file order.

        Args:
            count: Size of the sample; None or a count not below the number of records: all of them.
            seed: Decides which records are in it. Samples of one seed are nested: a smaller is part of a larger.
            start: First item of the sample to yield.
            stop: One past the last.
        """
        ...


def nested_sample(total: int, count: int | None, seed: int) -> NDArray[np.int64]:
    """Return the positions of a simple random sample, ascending; samples of one seed are nested."""
    if count is None or count >= total:
        return np.arange(total)
    return np.sort(generator(seed, "records").permutation(total)[:count])


class FileRecords:
    """Records that lie in a file or folder; meets `RecordSource`.

    Args:
        spec: Where they lie and what the columns mean.
        base: Folder that paths are relative to.
        without: Positions in the file that are left out.
    """

    def __init__(self, spec: RecordsSpec, base: Path, without: Collection[int] = ()) -> None:
        """Read the file once: every record is checked, none is kept."""
        self.spec = spec
        self.base = base
        self.path = base / spec.path
        self._without = frozenset(without)
        self._files: tuple[Artifact, ...] = ()
        self._clusters = 0
        self._cursor: tuple[int, Iterator[tuple[int, Row]]] | None = None
        self._positions = self._check()

    def __len__(self) -> int:
        """Return the number of usable records."""
        return len(self._positions)

    def identity(self) -> DatasetIdentity:
        """Return the records by digest: the files and the meaning of their columns, not the records left out."""
        clustered: Literal["person", "document", "record"] = "record"
        if self.spec.person:
            clustered = "person"
        elif self.spec.document:
            clustered = "document"
        meaning = {key: value for key, value in self.spec.plain().items() if key != "path"}
        return DatasetIdentity(
            digest=digest_of([joint_digest(self._files), meaning, sorted(self._without)]),
            files=self._files,
            records=len(self),
            clusters=self._clusters,
            clustered_by=clustered,
            has_copies=self.spec.copies is not None,
            has_source=self.spec.source is not None,
        )

    def without(self, positions: Collection[int]) -> FileRecords:
        """Return the same records with some positions of the file left out."""
        return FileRecords(self.spec, self.base, self._without | set(positions))

    def sample(self, count: int | None, seed: int, start: int, stop: int) -> Iterator[DataRecord]:
        """Yield items start to stop of the sample, in file order; shards asked in order cost one pass in all."""
        chosen = self._positions[nested_sample(len(self), count, seed)[start:stop]]
        wanted = iter(chosen.tolist())
        target = next(wanted, None)
        if target is None:
            return
        # Whoever reads owns the place in the file: two readers do not share it.
        cursor, self._cursor = self._cursor, None
        if cursor is None or cursor[0] > target:
            if _stamps(self.path) != self._stamps:
                raise self._changed()
            cursor = (0, enumerate(rows_of(self.path)))
        rows = cursor[1]
        for position, row in rows:
            if position == target:
                record = self._record(row, position)
                target = next(wanted, None)
                if target is None:
                    self._cursor = (position + 1, rows)
                    yield record
                    return
                yield record
        raise self._changed(target)

    def fingerprints(self) -> Iterator[tuple[int, str, bytes]]:
        """Yield position, id and a 16-byte digest of each text, after Unicode and white space are made alike."""
        for position, row in enumerate(rows_of(self.path)):
            if position not in self._without:
                record = self._record(row, position)
                plain = " ".join(unicodedata.normalize("NFC", record.text).split())
                yield position, record.id, hashlib.blake2b(plain.encode(), digest_size=16).digest()

    def _changed(self, gone: int | None = None) -> DataError:
        what = "it was written to" if gone is None else f"record {gone} is gone"
        msg = f"{self.path}: the records changed after their digest was taken: {what}"
        return DataError(msg, hint="Let nothing write to the data during an audit, and run again.")

    def _check(self) -> NDArray[np.int64]:
        self._stamps = _stamps(self.path)
        self._files = artifacts(files_of(self.path), self.base)
        positions: list[int] = []
        seen: dict[bytes, str] = {}
        clusters: set[bytes] = set()
        for position, row in enumerate(rows_of(self.path)):
            if position == 0:
                self._check_columns(row)
            record = self._record(row, position)
            name = _short(record.id)
            if name in seen:
                msg = f"{row.where}: the id '{record.id[:80]}' stands already at {seen[name]}"
                raise DataError(msg, hint="Ids must be unique; leave the id column out to number the records.")
            seen[name] = row.where
            if position not in self._without:
                positions.append(position)
                clusters.add(_short(record.cluster))
        if not seen:
            msg = f"{self.path}: there is no record in it"
            raise DataError(msg, hint="Give a file with at least one record.")
        self._clusters = len(clusters)
        if _stamps(self.path) != self._stamps:
            raise self._changed()
        return np.array(positions, dtype=np.int64)

    def _check_columns(self, row: Row) -> None:
        for role in ("text", "id", "person", "document", "copies", "source"):
            name = getattr(self.spec, role)
            if name is not None and name not in row.values and not (row.is_file and role == "text"):
                msg = f"{row.where}: there is no column '{name}' (named as {role})"
                raise DataError(msg, hint=did_you_mean(name, row.values))

    def _record(self, row: Row, position: int) -> DataRecord:
        spec, values = self.spec, row.values
        text = values.get("text" if row.is_file else spec.text)
        if not isinstance(text, str):
            kind = "missing" if text is None else f"a {type(text).__name__}, not a text"
            msg = f"{row.where}: the column '{spec.text}' is {kind}"
            raise DataError(msg, hint="Every record needs a text.")
        if not text.strip():
            msg = f"{row.where}: the text is empty"
            raise DataError(msg, hint="Leave empty records out.")
        if "\x00" in text:
            msg = f"{row.where}: the text holds a NUL character"
            raise DataError(msg, hint="Is this a text file? Remove the NUL characters.")
        if not _is_unicode(text):
            msg = f"{row.where}: the text holds half of a surrogate pair, which no encoding can hold"
            raise DataError(msg, hint="Write the character whole; the file was cut between two halves.")
        name = str(values["id"]) if row.is_file else _named(row, spec.id, "id") or str(position)
        if len(name) > LONGEST_ID:
            msg = f"{row.where}: the id is longer than {LONGEST_ID} characters"
            raise DataError(msg, hint="Give the column that holds short ids.")
        cluster = _named(row, spec.person or spec.document, "person or document") or name
        return DataRecord(name, text, cluster, _copies(row, spec.copies), _named(row, spec.source, "source"))


def _named(row: Row, column: str | None, role: str) -> str:
    if column is None:
        return ""
    value = row.values.get(column)
    if value is None or isinstance(value, dict | list) or str(value) == "" or not _is_unicode(str(value)):
        msg = f"{row.where}: the column '{column}' ({role}) has no usable value"
        raise DataError(msg, hint="Every record needs one, as a word or number.")
    return str(value)


def _copies(row: Row, column: str | None) -> int:
    if column is None:
        return 1
    value: Any = row.values.get(column)
    try:
        number = int(value.removesuffix(".0") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if not 1 <= number <= MOST_COPIES or str(value) not in {str(number), f"{number}.0"}:
        msg = f"{row.where}: copies '{value}' is not a whole number from 1 to {MOST_COPIES:,}"
        raise DataError(msg, hint="Say how often the record stood in the training data.")
    return number


def _stamps(path: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time of the last change of each file: cheap to compare before each pass."""
    return [(str(file), (found := file.stat()).st_size, found.st_mtime_ns) for file in files_of(path)]


def _is_unicode(text: str) -> bool:
    """Return whether the text can be encoded: JSON can spell halves of characters that no text has."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def overlap(members: FileRecords, controls: FileRecords) -> dict[int, str]:
    """Return position and id of every control record whose text also stands among the members.

    Texts are compared after Unicode and white space are made alike; 16 bytes of memory per member.

    Raises:
        DataError: Every control stands among the members.
    """
    known = {digest for _, _, digest in members.fingerprints()}
    found = {position: name for position, name, digest in controls.fingerprints() if digest in known}
    if len(found) == len(controls):
        msg = f"{controls.path}: every control record also stands among the members ({members.path})"
        raise DataError(msg, hint="Controls are records of the same distribution that were NOT in training.")
    return found
