"""Reads JSON, Parquet and Arrow: every text in order, every list of whole numbers as digits, every picture."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.redact.pieces import Piece, parts_of, text_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.redact.pieces import Part

NAMES = frozenset({"id", "cluster", "source", "format", "canary", "match", "nearest", "kind", "side"})
"""Columns of public shards that name records; so does every one that ends in `_id` or `_cluster`."""
LONGEST_NAME = 128
"""Characters of the longest value that is taken for a name."""


def is_name(column: str) -> bool:
    """Return whether a column of a public shard names records."""
    return column in NAMES or column.endswith(("_id", "_cluster"))


def json_parts(name: str, content: bytes, depth: int) -> Iterator[Part]:
    """Yield the texts of a JSON value in order, its keys, and its whole numbers; JSON lines are read line by line."""
    text = content.decode("utf-8-sig", "replace")
    try:
        values = [("$", json.loads(text))]
    except ValueError:
        values = [
            (f"line {number}", json.loads(line))
            for number, line in enumerate(text.splitlines(), start=1)
            if line.strip()
        ]
    strings: list[str] = []
    places: list[tuple[int, str]] = []
    keys: dict[str, None] = {}
    numbers: list[str] = []
    length = 0
    stack: list[tuple[str, Any]] = values[::-1]
    while stack:
        where, value = stack.pop()
        if isinstance(value, str):
            places.append((length, where))
            strings.append(value)
            length += len(value) + 1
        elif isinstance(value, dict):
            keys.update(dict.fromkeys(value))
            stack.extend((f"{where}.{key[:40]}", inner) for key, inner in reversed(list(value.items())))
        elif isinstance(value, list):
            stack.extend((f"{where}[{number}]", value[number]) for number in range(len(value) - 1, -1, -1))
        elif isinstance(value, int) and not isinstance(value, bool):
            numbers.append(str(value))
    yield from text_parts(name, " ".join(strings), depth, places=tuple(places))
    yield from text_parts(f"{name}, keys", " ".join(keys), depth)
    yield Piece(f"{name}, whole numbers", " ".join(numbers))


def parquet_parts(name: str, content: bytes, depth: int) -> Iterator[Part]:
    """Yield the texts, whole numbers and pictures of a Parquet file, column by column, and what its head says."""
    file = pq.ParquetFile(io.BytesIO(content))
    head = {**(file.schema_arrow.metadata or {}), **(file.metadata.metadata or {})}
    head.pop(b"ARROW:schema", None)
    said = [text.decode("utf-8", "replace") for pair in head.items() for text in pair]
    yield from text_parts(f"{name}, head", "\0".join([*file.schema_arrow.names, *said]), depth)
    for column in file.schema_arrow.names:
        if _holds_text(file.schema_arrow.field(column).type):
            yield from column_parts(name, column, file.read(columns=[column]).column(column), depth)


def arrow_parts(name: str, content: bytes, depth: int) -> Iterator[Part]:
    """Yield the same of an Arrow stream."""
    with pa.ipc.open_stream(content) as stream:
        table = stream.read_all()
    for column in table.column_names:
        yield from column_parts(name, column, table.column(column), depth)


def _holds_text(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
        if pa.types.is_integer(kind):
            return True
    return not (pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind))


def column_parts(name: str, column: str, values: pa.ChunkedArray, depth: int) -> Iterator[Part]:
    """Yield what one column says."""
    where = f"{name}, column {column}"
    listed = False
    while pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        values, listed = (
            pa.chunked_array([chunk.flatten() for chunk in values.chunks], type=values.type.value_type),
            True,
        )
    kind = values.type
    if pa.types.is_integer(kind) and listed:
        yield Piece(where, digits_of(values))
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        for row, value in enumerate(values.to_pylist()):
            if value and len(value) > 32:
                yield from parts_of(f"{where}, row {row}", value, depth + 1)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        texts = [value or "" for value in values.cast(pa.string()).to_pylist()]
        places, length = [], 0
        for row, text in enumerate(texts):
            places.append((length, f"row {row}"))
            length += len(text) + 1
        # A text may be split over rows; names that follow each other are no text.
        between = "\0" if is_name(column) else " "
        yield from text_parts(where, between.join(texts), depth, places=tuple(places))
    elif pa.types.is_struct(kind) or pa.types.is_map(kind):
        yield from text_parts(where, json.dumps(values.to_pylist(), default=str, ensure_ascii=False), depth)


def digits_of(values: pa.ChunkedArray | pa.Array) -> str:
    """Return whole numbers as digits, one behind the other."""
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    return "".join(bytes(chunk.cast(pa.string()).buffers()[2] or b"").decode() for chunk in chunks if len(chunk))
