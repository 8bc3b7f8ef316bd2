"""Writes an observation: one shard after the other, each appearing by one rename.

A run may be killed at any moment. What is left is finished shards, which are not made again, and at most one draft,
which is. No journal, no lock, no database.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.core.evidence import Column, Observation, ObservationRecord
from auditor.errors import IntegrityError, StorageError
from auditor.evidence.records import observation_root, record_bytes
from auditor.evidence.table import RECORD_FILE, shard_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COMMITMENT = "commitment"
"""Column that binds a record's restricted columns without showing them: HMAC-SHA256 under the record's own key."""

RESTRICTED = "restricted"
"""Folder of everything that can be withheld."""

_DRAFT = ".draft"


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    draft = path.with_name(path.name + _DRAFT)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError as error:
        raise storage_error(path, error) from error


def storage_error(path: Path, error: OSError) -> StorageError:
    """Return the error that says what to do about a file that could not be written."""
    advice = {
        errno.ENOSPC: "Free some space and run the same command again: finished shards are kept.",
        errno.EDQUOT: "The quota is used up; free some space and run the same command again.",
        errno.EROFS: "The file system is read-only; choose another folder with --out.",
        errno.EACCES: "The folder may not be written by this user; choose another one with --out.",
        errno.EPERM: "The folder may not be written by this user; choose another one with --out.",
    }
    hint = advice.get(error.errno or 0, "Choose another folder with --out.")
    return StorageError(f"{path}: cannot be written ({error.strerror or error})", hint=hint)


class ObservationWriter:
    """Writes the shards of one observation.

    Args:
        folder: Folder of the observation in the bundle.
        key: Secret of the bundle, 32 bytes; the key of each record's commitment is derived from it.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        """Remember where to write; nothing is written yet."""
        self.folder = folder
        self._key = key

    @property
    def finished(self) -> bool:
        """Whether every shard and the record beside them are there."""
        return (self.folder / RECORD_FILE).exists()

    def has(self, number: int) -> bool:
        """Return whether a shard is there: its public file is renamed last."""
        return (self.folder / shard_name(number)).exists()

    def earlier(self, number: int, column: str) -> pa.ChunkedArray:
        """Return a column of all shards before one, public or restricted.

        Raises:
            IntegrityError: A shard cannot be read, or there is no such column.
        """
        chunks: list[pa.Array] = []
        for shard in range(number):
            name = shard_name(shard)
            for path in (self.folder / name, self.folder / RESTRICTED / name):
                if path.exists() and column in pq.read_schema(path).names:
                    chunks.extend(pq.read_table(path, columns=[column]).column(column).chunks)
                    break
            else:
                msg = f"{self.folder / name}: the shard has no column '{column}'"
                raise IntegrityError(msg, hint="Remove the folder of the observation and run again.")
        return pa.chunked_array(chunks) if chunks else pa.chunked_array([], type=pa.null())

    def write(self, number: int, public: pa.Table, restricted: pa.Table | None, *, calls: int, tokens: int) -> None:
        """Write one shard.

        Raises:
            StorageError: The disk is full or the folder cannot be written.
        """
        name = shard_name(number)
        if restricted is not None:
            commitments = [
                hmac.new(self._record_key(number, row), content, hashlib.sha256).digest()
                for row, content in enumerate(record_bytes(restricted))
            ]
            public = public.append_column(COMMITMENT, pa.array(commitments, type=pa.binary()))
            # The manifest lists the digest of this file: without a salt, the texts of a shard of few short ones could be found by trying.
            salt = salt_of(self._key, f"{self.folder.name}/{number}")
            self._replace(self.folder / RESTRICTED / name, restricted.replace_schema_metadata({b"salt": salt}))
        public = public.replace_schema_metadata({b"calls": str(calls).encode(), b"tokens": str(tokens).encode()})
        self._replace(self.folder / name, public)

    def keep(self, name: str, text: bytes) -> None:
        """Write a text that can be withheld beside the restricted shards, with a salt as its last line.

        Raises:
            StorageError: The disk is full or the folder cannot be written.
        """
        salt = salt_of(self._key, f"{self.folder.name}/{name}")
        write_file(self.folder / RESTRICTED / name, text.rstrip(b"\n") + b"\nsalt: " + salt + b"\n")

    def finish(self, observation: Observation, columns: Sequence[Column], shards: int) -> ObservationRecord:
        """Write the record beside the shards: from now on the observation is evidence."""
        items = calls = tokens = 0
        for number in range(shards):
            schema = pq.read_schema(self.folder / shard_name(number))
            items += pq.read_metadata(self.folder / shard_name(number)).num_rows
            calls += int(schema.metadata[b"calls"])
            tokens += int(schema.metadata[b"tokens"])
        listed = tuple(columns)
        if any(column.restricted for column in listed):
            meaning = "Binds the restricted columns of the record: HMAC-SHA256 under the record's own key."
            listed = (*listed, Column(name=COMMITMENT, type="binary", unit="none", meaning=meaning))
        record = ObservationRecord(
            observation=observation,
            id=observation.identity(),
            columns=listed,
            items=items,
            shards=shards,
            calls=calls,
            tokens=tokens,
            merkle_root=observation_root(self.folder, shards),
        )
        write_file(self.folder / RECORD_FILE, record.canonical())
        return record

    def _record_key(self, shard: int, row: int) -> bytes:
        return record_key(self._key, self.folder.name, shard, row)

    @staticmethod
    def _replace(path: Path, table: pa.Table) -> None:
        draft = path.with_name(path.name + _DRAFT)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, draft, compression="zstd")
            with draft.open("rb") as stream:
                os.fsync(stream.fileno())
            draft.replace(path)
        except OSError as error:
            raise storage_error(path, error) from error


def record_key(key: bytes, observation: str, shard: int, row: int) -> bytes:
    """Return the key of one record's commitment, derived from the bundle's secret; it gives away no other one."""
    return hmac.new(key, f"{observation}/{shard}/{row}".encode(), hashlib.sha256).digest()


def salt_of(key: bytes, place: str) -> bytes:
    """Return what makes the digest of a restricted file unguessable: derived from the bundle's secret and the place of the file."""
    return hmac.new(key, f"salt/{place}".encode(), hashlib.sha256).hexdigest().encode()
