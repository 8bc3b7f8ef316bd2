"""Reads an observation back, shard by shard, as numpy columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from auditor.core.evidence import ObservationRecord
from auditor.core.record import parse_json
from auditor.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

RECORD_FILE = "observation.json"


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of different length, one behind the other.

    Args:
        values: All rows joined, shape [sum of lengths].
        offsets: Where each row begins, and one past the end, shape [rows + 1].
    """

    values: NDArray[np.generic]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.generic]:
        """Return one row, without a copy."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Length of each row, shape [rows]."""
        return np.diff(self.offsets)

    @classmethod
    def of(cls, rows: Sequence[NDArray[np.generic]], dtype: type[np.generic]) -> Ragged:
        """Return the rows joined; works for no rows at all."""
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        values = np.concatenate([np.asarray(row, dtype=dtype) for row in rows]) if rows else np.empty(0, dtype=dtype)
        return cls(values, offsets)

    def to_arrow(self) -> pa.ListArray:
        """Return the rows as an Arrow list column."""
        return pa.ListArray.from_arrays(pa.array(self.offsets.astype(np.int32)), pa.array(self.values))


ColumnValues = np.ndarray | Ragged
"""One column: a flat array (strings as dtype object) or ragged rows."""


def _column(array: pa.ChunkedArray) -> ColumnValues:
    joined = array.combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        joined = pa.concat_arrays(joined.chunks) if joined.num_chunks else pa.array([], type=joined.type)
    if pa.types.is_list(joined.type):
        offsets = joined.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
        values = joined.values.to_numpy(zero_copy_only=False)[offsets[0] : offsets[-1]]
        return Ragged(values, offsets - offsets[0])
    return np.asarray(joined.to_numpy(zero_copy_only=False))


class ObservedTable:
    """A finished observation.

    Args:
        folder: The observation's folder in the bundle.
    """

    def __init__(self, folder: Path) -> None:
        """Read what lies beside the shards; no shard is opened yet."""
        self.folder = folder
        try:
            self.record = ObservationRecord.from_plain(parse_json((folder / RECORD_FILE).read_bytes()))
        except (OSError, ValueError) as error:
            msg = f"{folder / RECORD_FILE}: the observation cannot be read ({error})"
            raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.") from error

    def shards(self, *columns: str) -> Iterator[dict[str, ColumnValues]]:
        """Yield the named columns of one shard after the other; memory holds one shard at a time."""
        for number in range(self.record.shards):
            path = self.folder / shard_name(number)
            try:
                table = pq.read_table(path, columns=list(columns))
            except (OSError, pa.ArrowException) as error:
                msg = f"{path}: the shard cannot be read ({error})"
                raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.") from error
            yield {name: _column(table.column(name)) for name in columns}

    def column(self, name: str) -> np.ndarray:
        """Return a flat column over all shards, in record order.

        Raises:
            TypeError: The column is ragged; read it shard by shard.
        """
        parts = []
        for shard in self.shards(name):
            values = shard[name]
            if isinstance(values, Ragged):
                msg = f"column '{name}' is ragged: read it through shards()"
                raise TypeError(msg)
            parts.append(values)
        return np.concatenate(parts) if parts else np.empty(0)

    @property
    def names(self) -> frozenset[str]:
        """Names of the columns that are not restricted."""
        return frozenset(column.name for column in self.record.columns if not column.restricted)


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{number:05d}.parquet"
