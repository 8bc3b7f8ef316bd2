"""Reads JSON lines, CSV, Parquet, saved Hugging Face datasets and folders of text, row by row."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.core.record import parse_json
from auditor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    import pyarrow as pa

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Some programs put it before UTF-8; it is not part of the first word."""
ROWS = 1024
"""Rows of a Parquet file that are held at once."""
HELD = 4 << 20
"""Bytes that are held at once where rows hold images, at least one row."""
LARGEST_LINE = 64 << 20
"""Bytes in one line of JSON."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row and where it stands."""

    where: str
    values: dict[str, Any]
    is_file: bool = False
    """The row is a whole file: its text stands under `text` and its name under `id`."""
    name: str = ""
    """What the record is called where no column says it; "": by its position."""


def files_of(path: Path) -> list[Path]:
    """Return the files that the records lie in, sorted.

    Raises:
        DataError: There are none.
    """
    if path.is_dir():
        found = saved_files(path) or sorted(file for file in path.rglob("*.txt") if file.is_file())
        if not found:
            msg = f"{path}: there is no .txt file in the folder"
            raise DataError(msg, hint="A folder of records holds one .txt file per record.")
        return found
    if not path.exists():
        msg = f"{path}: there is no such file"
        raise DataError(msg, hint="Paths are relative to the subject file.")
    if not path.stat().st_size:
        msg = f"{path}: the file is empty"
        raise DataError(msg, hint="Give a file with at least one record.")
    return [path]


def saved_files(folder: Path) -> list[Path]:
    """Return the files of a dataset as Hugging Face's `save_to_disk` writes it, in the order of rows; none if it is no such folder.

    Raises:
        DataError: What it says of itself cannot be followed.
    """
    if (folder / "dataset_dict.json").is_file() and not any(folder.glob("*.arrow")):
        splits = sorted(part.parent.name for part in folder.glob("*/state.json"))
        msg = f"{folder}: a saved dataset of several splits"
        raise DataError(msg, hint=f"Name the folder of one split: {', '.join(splits) or 'there is none'}.")
    state = folder / "state.json"
    arrows = sorted(folder.glob("data-*.arrow"))
    if not state.is_file():
        return arrows
    try:
        said = parse_json(state.read_bytes())
        names = [part["filename"] for part in said["_data_files"]]
        moved = said.get("_indices_data_files")
    except (ValueError, KeyError, TypeError) as error:
        if not arrows:
            return []
        msg = f"{state}: not the state of a saved dataset ({type(error).__name__}: {error})"
        raise DataError(msg, hint="Save the dataset again with save_to_disk.") from error
    if moved:
        msg = f"{state}: rows are chosen by an index"
        raise DataError(msg, hint="Call flatten_indices before save_to_disk.")
    for name in names:
        if not isinstance(name, str) or "/" in name or "\\" in name or not (folder / name).is_file():
            msg = f"{state}: the file '{str(name)[:80]}' is not in the folder"
            raise DataError(msg, hint="Save the dataset again with save_to_disk.")
    return [state, *(folder / name for name in names)]


def rows_of(path: Path, columns: Collection[str] | None = None) -> Iterator[Row]:
    """Yield the rows of a file or folder, in order, a few in memory at a time.

    Args:
        path: The file or folder.
        columns: What is read of a table whose rows hold images, and None stands in the others; None: all, many rows at once.

    Raises:
        DataError: The path is missing or empty, of an unknown kind, or a row cannot be read.
    """
    files = files_of(path)
    if path.is_dir():
        if saved_files(path):
            yield from _saved_rows(path, files, columns)
        else:
            yield from (_text_row(file, path) for file in files)
        return
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {
        ".jsonl": _json_rows,
        ".ndjson": _json_rows,
        ".csv": _csv_rows,
        ".parquet": lambda file: _parquet_rows(file, columns),
    }
    kind = path.suffix.lower()
    if kind not in readers:
        msg = f"{path}: records can be read from .jsonl, .csv, .parquet or a folder, not from '{kind}'"
        raise DataError(
            msg, hint="Convert the file to one of these; a folder holds .txt files, images or a saved dataset."
        )
    yield from readers[kind](path)


def _text_row(file: Path, folder: Path) -> Row:
    content = file.read_bytes()
    try:
        text = content.removeprefix(BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError:
        raise _not_utf8(str(file), content) from None
    return Row(str(file), {"id": file.relative_to(folder).as_posix(), "text": text}, is_file=True)


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(LARGEST_LINE), b""), start=1):
            where = f"{path}:{number}"
            if not line.strip():
                continue
            try:
                values = parse_json(line.removeprefix(BYTE_ORDER_MARK if number == 1 else b"").decode("utf-8"))
            except UnicodeDecodeError:
                raise _not_utf8(where, line) from None
            except ValueError as error:
                msg = f"{where}: not a JSON object on one line ({error})"
                raise DataError(msg, hint="Each line of a .jsonl file is one JSON object.") from error
            if not isinstance(values, dict):
                msg = f"{where}: a JSON {type(values).__name__}, not an object"
                raise DataError(msg, hint="Each line of a .jsonl file is one JSON object.")
            yield Row(where, values)


def _csv_rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, LARGEST_LINE))
    with path.open("rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, restkey="<more>", strict=True)
        try:
            names = list(reader.fieldnames or ())
            if len(set(names)) != len(names):
                msg = f"{path}:{reader.line_num}: two columns have the same name"
                raise DataError(msg, hint="Give every column a name of its own.")
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if "<more>" in row:
                    msg = f"{where}: the row has more cells than the head"
                    raise DataError(msg, hint="Quote cells that hold commas.")
                yield Row(where, dict(row))
        except UnicodeDecodeError:
            raise _undecodable_line(path) from None  # the reader is ahead of its lines: look for the place
        except csv.Error as error:
            msg = f"{path}:{reader.line_num}: not valid CSV ({error})"
            raise DataError(msg, hint="Quote cells that hold commas, quotes or line breaks.") from error


def _parquet_rows(path: Path, columns: Collection[str] | None) -> Iterator[Row]:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    number = 0
    try:
        # Whole columns are read ahead, but for images: of those a page is held, as large as the writer made it.
        ahead: dict[str, Any] = {} if columns is None else {"buffer_size": HELD // 4, "pre_buffer": False}
        with pq.ParquetFile(path, **ahead) as file:
            names = file.schema_arrow.names
            wanted = names if columns is None else [name for name in names if name in columns]
            empty = dict.fromkeys(names)
            _refuse_twice(names)
            groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
            largest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=0)
            size = ROWS if columns is None else _rows_held(largest)
            chosen = None if columns is None else wanted
            for batch in file.iter_batches(batch_size=size, columns=chosen):
                for values in _plain(batch, wanted):
                    number += 1
                    yield Row(f"{path}, row {number}", values if columns is None else empty | values)
    except (pa.ArrowException, OSError, ValueError) as error:
        msg = f"{path}, after row {number}: not valid Parquet ({str(error).splitlines()[0]})"
        raise DataError(msg, hint="Write the file again.") from error


def _saved_rows(folder: Path, files: list[Path], columns: Collection[str] | None) -> Iterator[Row]:
    """Yield the rows of Arrow streams, which lie in the file as they lie in memory: mapped, not read."""
    import pyarrow as pa  # noqa: PLC0415

    number = 0
    for path in files:
        if path.suffix != ".arrow":
            continue
        try:
            with pa.memory_map(str(path)) as raw, pa.ipc.open_stream(raw) as stream:
                names = stream.schema.names
                wanted = names if columns is None else [name for name in names if name in columns]
                empty = dict.fromkeys(names)
                _refuse_twice(names)
                for whole in stream:
                    batch = whole.select(wanted)
                    batch.validate(full=True)  # offsets in a damaged file could point anywhere
                    size = ROWS if columns is None else _rows_held(batch.nbytes / max(batch.num_rows, 1))
                    for start in range(0, batch.num_rows, size):
                        for values in _plain(batch.slice(start, size), wanted):
                            number += 1
                            yield Row(f"{folder}, row {number}", values if columns is None else empty | values)
        except (pa.ArrowException, OSError, ValueError) as error:
            msg = f"{path}, after row {number}: not a valid Arrow stream ({str(error).splitlines()[0]})"
            raise DataError(msg, hint="Save the dataset again with save_to_disk.") from error


def _rows_held(largest: float) -> int:
    return int(min(max(HELD / max(largest, 1.0), 1), ROWS))


def _refuse_twice(names: list[str]) -> None:
    if len(set(names)) != len(names):
        msg = "two columns have the same name"
        raise ValueError(msg)


def _plain(batch: pa.RecordBatch, names: list[str]) -> list[dict[str, Any]]:
    import pyarrow as pa  # noqa: PLC0415

    if not names:
        return [{} for _ in range(batch.num_rows)]
    rows: list[dict[str, Any]] = pa.table({name: _in_microseconds(batch.column(name)) for name in names}).to_pylist()
    return rows


def _in_microseconds(column: pa.Array) -> pa.Array:
    """Return the column; moments are cut to microseconds, which Python's own types hold."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pa.timestamp("us", column.type.tz), safe=False)
    if pa.types.is_time64(column.type) and column.type.unit == "ns":
        return column.cast(pa.time64("us"), safe=False)
    if pa.types.is_duration(column.type) and column.type.unit == "ns":
        return column.cast(pa.duration("us"), safe=False)
    return column


def _undecodable_line(path: Path) -> DataError:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return _not_utf8(f"{path}:{number}", line)
    return _not_utf8(str(path), b"")


def _not_utf8(where: str, content: bytes) -> DataError:
    """Return the error that names the first byte, counted from 0 in the line or file, that is not UTF-8."""
    try:
        content.decode("utf-8")
        msg = f"{where}: not UTF-8"
    except UnicodeDecodeError as error:
        msg = f"{where}: not UTF-8 (byte {error.start})"
    return DataError(msg, hint="Convert the file to UTF-8.")
