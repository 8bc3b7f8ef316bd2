"""The bytes of a record, column by column, and their hashes: made for whole shards at once, never value by value.

A record's bytes are what a stranger would write down from `docs/bundle.md`. Columns are turned into binary ones over the same buffers
and joined row-wise by Arrow, so that no number becomes a Python object on the way to its hash.
"""

from __future__ import annotations

import itertools
import struct
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from auditor.errors import IntegrityError
from auditor.evidence.merkle import LEAF, RootBuilder
from auditor.evidence.table import shard_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_ROWS = 16384
"""Records that are joined at once: bounds the memory beside the shard itself."""
_LONGEST = 2**32
"""Bytes of a value, one more than its length can say."""
_AHEAD = 3
"""Shards that are decoded while the one before is hashed."""


def record_bytes(table: pa.Table) -> Iterator[bytes]:
    """Yield the bytes of each record that its leaf is the hash of.

    For each column in order: length of the name (uint32, little-endian), the name (UTF-8), length of the value in bytes
    (uint32), the value. Strings are UTF-8, numbers little-endian at their width, booleans one byte; a list is
    its elements.

    Raises:
        IntegrityError: A value is missing, or of a type that no observation has.
    """
    for rows in _joined(table, b""):
        yield from map(bytes, _slices(rows))


def leaf_hashes(table: pa.Table) -> Iterator[list[bytes]]:
    """Yield the hashes of the records (`merkle.leaf_hash` of `record_bytes`), many at a time.

    Raises:
        IntegrityError: A value is missing, or of a type that no observation has.
    """
    for rows in _joined(table, LEAF):
        yield [sha256(content).digest() for content in _slices(rows)]


def observation_root(folder: Path, shards: int | None = None) -> str:
    """Return the Merkle root (RFC 6962) over the public columns of every record, in order.

    Shards are decoded on other threads while the ones before them are hashed.

    Args:
        folder: Folder of an observation.
        shards: Number of shards; None: as many as there are.

    Raises:
        IntegrityError: A shard is missing or damaged.
    """
    if shards is None:
        shards = len(sorted(folder.glob("shard-*.parquet")))
    builder = RootBuilder()
    for table in _tables([folder / shard_name(number) for number in range(shards)]):
        for hashes in leaf_hashes(table):
            builder.extend(hashes)
    return builder.root()


def _tables(paths: list[Path]) -> Iterator[pa.Table]:
    """Yield the tables in order, the next ones being read meanwhile."""
    if len(paths) == 1:  # most observations of a small audit: a thread would cost more than it saves
        yield _table(paths[0])
        return
    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting = [pool.submit(_table, path) for path in paths[:_AHEAD]]
        for number in range(len(paths)):
            table = waiting.pop(0).result()
            if number + _AHEAD < len(paths):
                waiting.append(pool.submit(_table, paths[number + _AHEAD]))
            yield table


def _table(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            return file.read(use_threads=False)
    except (OSError, pa.ArrowException) as error:
        msg = f"{path}: the shard cannot be read ({error})"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.") from error


def _slices(rows: pa.LargeBinaryArray) -> Iterator[memoryview]:
    """Return the values of a binary array without a copy."""
    _, offsets, values = rows.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[rows.offset : rows.offset + len(rows) + 1].tolist()
    view = memoryview(values) if values is not None else memoryview(b"")
    return (view[start:end] for start, end in itertools.pairwise(ends))


def _joined(table: pa.Table, prefix: bytes) -> Iterator[pa.LargeBinaryArray]:
    """Yield the bytes of the records behind a prefix, so many at a time."""
    if not (table.num_rows and table.num_columns):
        return
    for batch in table.combine_chunks().to_batches(max_chunksize=_ROWS):
        parts: list[Any] = []
        before = prefix
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            encoded = name.encode()
            head = before + struct.pack("<I", len(encoded)) + encoded
            before = b""
            ends, values, width = _cells(column, name)
            if width is None:
                parts += [_scalar(head), _lengths(ends, name)]
            else:
                parts.append(_scalar(head + struct.pack("<I", width)))
            parts.append(_binary(ends, values))
        yield pc.binary_join_element_wise(*parts, _scalar(b""))


def _scalar(content: bytes) -> pa.Scalar:
    return pa.scalar(content, type=pa.large_binary())


_WORDS = {pa.string(): np.int32, pa.binary(): np.int32, pa.large_string(): np.int64, pa.large_binary(): np.int64}
"""Types whose values are bytes already, and of what kind their offsets are."""


def _cells(array: pa.Array, name: str) -> tuple[NDArray[np.int64], pa.Buffer, int | None]:
    """Return where the values of a column end in a buffer of bytes, the buffer, and their width where it is that of their type."""
    kind = array.type
    if array.null_count:
        msg = f"column '{name}': {array.null_count} values are missing"
        raise IntegrityError(msg, hint="A record has a value in every column.")
    if kind in _WORDS:
        _, offsets, values = array.buffers()
        ends = np.frombuffer(offsets, dtype=_WORDS[kind])[array.offset : array.offset + len(array) + 1]
        return ends.astype(np.int64), values or pa.py_buffer(b""), None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        values, width = _raw(array.flatten(), name)
        ends = array.offsets.to_numpy().astype(np.int64)
        return (ends - ends[0]) * width, values, None
    values, width = _raw(array, name)
    return np.arange(len(array) + 1, dtype=np.int64) * width, values, width


def _raw(values: pa.Array, name: str) -> tuple[pa.Buffer, int]:
    """Return numbers or booleans in little-endian order, and the width of one in bytes."""
    kind = values.type
    if values.null_count or not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        what = (
            f"{values.null_count} values are missing" if values.null_count else f"of type {kind}, which no record has"
        )
        msg = f"column '{name}': {what}"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")
    found = values.to_numpy(zero_copy_only=False)
    return pa.py_buffer(np.ascontiguousarray(found, dtype=found.dtype.newbyteorder("<"))), found.dtype.itemsize


def _binary(ends: NDArray[np.int64], values: pa.Buffer) -> pa.LargeBinaryArray:
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(ends) - 1, [None, pa.py_buffer(ends), values])


def _lengths(ends: NDArray[np.int64], name: str) -> pa.LargeBinaryArray:
    """Return the length of each value as four bytes."""
    lengths = np.diff(ends)
    if lengths.max(initial=0) >= _LONGEST:
        msg = f"column '{name}': a value of {lengths.max():,} bytes"
        raise IntegrityError(msg, hint="A value has less than 4 GiB.")
    return _binary(np.arange(len(ends), dtype=np.int64) * 4, pa.py_buffer(lengths.astype("<u4")))
