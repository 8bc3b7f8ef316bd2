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
from auditor.subjects.image_formats import content_of, image_files, image_rows, place_of, refuse_images_as_texts
from auditor.subjects.images import decode, pixel_digest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

LONGEST_ID = 256
"""Characters."""
LARGEST = 2**31 - 1
"""What a column of the evidence can hold: copies, labels."""
DIGEST = 16
"""Bytes that tell texts and pictures apart."""


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
        decoded: The same records, read before: images of files that did not change since are not decoded again.
    """

    def __init__(
        self, spec: RecordsSpec, base: Path, without: Collection[int] = (), decoded: FileRecords | None = None
    ) -> None:
        """Read the file once: every record is checked and every image decoded; none is kept."""
        self.spec = spec
        self.base = base
        self.path = base / spec.path
        self._without = frozenset(without)
        self._files: tuple[Artifact, ...] = ()
        self._clusters = 0
        self._cursor: tuple[int, Iterator[tuple[int, Row]]] | None = None
        self._pictures = b""
        """`pixel_digest` of every position, one after another."""
        if spec.image is None and (spec.caption or spec.label):
            msg = f"{self.path}: a column of {'captions' if spec.caption else 'labels'} is named and none of images"
            raise DataError(msg, hint="Name the column of images as `image`, or leave caption and label out.")
        self._positions = self._check(decoded)

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
            modality="text" if self.spec.image is None else "image",
            has_captions=self.spec.caption is not None,
            has_labels=self.spec.label is not None,
        )

    def without(self, positions: Collection[int]) -> FileRecords:
        """Return the same records with some positions of the file left out."""
        return FileRecords(self.spec, self.base, self._without | set(positions), decoded=self)

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
            if self._stamped() != self._stamps:
                raise self._changed()
            cursor = (0, enumerate(self._rows()))
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
        """Yield position, id and a 16-byte digest of each record.

        Of a text after Unicode and white space are made alike; of an image its shape and pixels, whatever its file.
        """
        for position, row in enumerate(self._rows()):
            if position in self._without:
                continue
            if self.spec.image is not None:
                digest = self._pictures[DIGEST * position : DIGEST * (position + 1)]
                yield position, self._names(row, position)[0], digest
            else:
                record = self._record(row, position)
                plain = " ".join(unicodedata.normalize("NFC", record.text).split())
                yield position, record.id, hashlib.blake2b(plain.encode(), digest_size=DIGEST).digest()

    def _rows(self) -> Iterator[Row]:
        return rows_of(self.path) if self.spec.image is None else image_rows(self.path, self.spec)

    def _listed(self) -> list[Path]:
        return files_of(self.path) if self.spec.image is None else image_files(self.path, self.spec)

    def _stamped(self) -> list[tuple[str, int, int]]:
        """Return name, size and time of the last change of each file: cheap to compare before each pass."""
        return _stamps(self._listed())

    def _changed(self, gone: int | None = None) -> DataError:
        what = "it was written to" if gone is None else f"record {gone} is gone"
        msg = f"{self.path}: the records changed after their digest was taken: {what}"
        return DataError(msg, hint="Let nothing write to the data during an audit, and run again.")

    def _check(self, decoded: FileRecords | None) -> NDArray[np.int64]:
        if self.spec.image is None:
            refuse_images_as_texts(self.path)
        files = self._listed()
        self._stamps = _stamps(files)
        self._files = artifacts(files, self.base)
        known = decoded._pictures if decoded is not None and decoded._stamps == self._stamps else b""  # noqa: SLF001
        pictures = bytearray()
        positions: list[int] = []
        seen: dict[bytes, str] = {}
        clusters: set[bytes] = set()
        for position, row in enumerate(self._rows()):
            if position == 0:
                self._check_columns(row)
            record = self._record(row, position)
            if self.spec.image is not None and not known:
                pictures += pixel_digest(decode(record.image, place_of(row, self.spec.image)))
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
        self._pictures = known or bytes(pictures)
        if self._stamped() != self._stamps:
            raise self._changed()
        return np.array(positions, dtype=np.int64)

    def _check_columns(self, row: Row) -> None:
        text = "text" if self.spec.image is None else "image"
        for role in (text, "id", "person", "document", "copies", "source", "caption", "label"):
            name = getattr(self.spec, role)
            if name is not None and name not in row.values and not (row.is_file and role == "text"):
                msg = f"{row.where}: there is no column '{name}' (named as {role})"
                hint = did_you_mean(name, row.values)
                if self.spec.image is not None and self.path.is_dir() and len(row.values) == 1:
                    hint = (
                        "A folder of images has its columns in a metadata.jsonl or metadata.csv, with `file_name`; "
                        "without `id` an image is called by its path."
                    )
                raise DataError(msg, hint=hint)

    def _record(self, row: Row, position: int) -> DataRecord:
        spec = self.spec
        name, cluster = self._names(row, position)
        if spec.image is None:
            text, image, label = _text(row, "text" if row.is_file else spec.text), b"", None
        else:
            text = "" if spec.caption is None else _text(row, spec.caption, "caption")
            label = None if spec.label is None else _whole(row, spec.label, "label", 0)
            image = content_of(row, spec.image)
        copies = 1 if spec.copies is None else _whole(row, spec.copies, "copies", 1)
        return DataRecord(name, text, cluster, copies, _named(row, spec.source, "source"), image, label)

    def _names(self, row: Row, position: int) -> tuple[str, str]:
        """Return the record's id and its person or document."""
        spec = self.spec
        name = str(row.values["id"]) if row.is_file else _named(row, spec.id, "id") or row.name or str(position)
        if len(name) > LONGEST_ID:
            msg = f"{row.where}: the id is longer than {LONGEST_ID} characters"
            raise DataError(msg, hint="Give the column that holds short ids.")
        return name, _named(row, spec.person or spec.document, "person or document") or name


def _text(row: Row, column: str, role: str = "text") -> str:
    text = row.values.get(column)
    if not isinstance(text, str):
        kind = "missing" if text is None else f"a {type(text).__name__}, not a text"
        msg = f"{row.where}: the column '{column}' is {kind}"
        raise DataError(msg, hint=f"Every record needs a {role}.")
    if not text.strip():
        msg = f"{row.where}: the {role} is empty"
        raise DataError(msg, hint="Leave empty records out.")
    if "\x00" in text:
        msg = f"{row.where}: the {role} holds a NUL character"
        raise DataError(msg, hint="Is this a text file? Remove the NUL characters.")
    if not _is_unicode(text):
        msg = f"{row.where}: the {role} holds half of a surrogate pair, which no encoding can hold"
        raise DataError(msg, hint="Write the character whole; the file was cut between two halves.")
    return text


def _named(row: Row, column: str | None, role: str) -> str:
    if column is None:
        return ""
    value = row.values.get(column)
    if value is None or isinstance(value, dict | list) or str(value) == "" or not _is_unicode(str(value)):
        msg = f"{row.where}: the column '{column}' ({role}) has no usable value"
        raise DataError(msg, hint="Every record needs one, as a word or number.")
    return str(value)


def _whole(row: Row, column: str, role: str, least: int) -> int:
    value: Any = row.values.get(column)
    try:
        number = int(value.removesuffix(".0") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        number = least - 1
    if not least <= number <= LARGEST or str(value) not in {str(number), f"{number}.0"}:
        msg = f"{row.where}: {role} '{value}' is not a whole number from {least} to {LARGEST:,}"
        hints = {
            "copies": "Say how often the record stood in the training data.",
            "label": "Every record needs the number of the class it was trained with, from 0, and no name.",
        }
        raise DataError(msg, hint=hints[role])
    return number


def _stamps(files: list[Path]) -> list[tuple[str, int, int]]:
    return [(str(file), (found := file.stat()).st_size, found.st_mtime_ns) for file in files]


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
    """Return position and id of every control record that also stands among the members.

    Texts are compared after Unicode and white space are made alike, images pixel by pixel whatever their files; 16 bytes
    of memory per member.

    Raises:
        DataError: Every control stands among the members, or they are records of another kind.
    """
    kinds = ["texts" if records.spec.image is None else "images" for records in (members, controls)]
    if kinds[0] != kinds[1]:
        msg = f"the members ({members.path}) are {kinds[0]} and the controls ({controls.path}) are {kinds[1]}"
        raise DataError(msg, hint="Controls are records of the same distribution; name `image` for both or neither.")
    known = {digest for _, _, digest in members.fingerprints()}
    found = {position: name for position, name, digest in controls.fingerprints() if digest in known}
    if len(found) == len(controls):
        msg = f"{controls.path}: every control record also stands among the members ({members.path})"
        raise DataError(msg, hint="Controls are records of the same distribution that were NOT in training.")
    return found
