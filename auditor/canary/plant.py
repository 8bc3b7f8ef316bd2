"""Plants canaries in training data, and counts them in what is going to be trained on."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.core.canary import HOLE
from auditor.core.seeds import generator
from auditor.errors import DataError, did_you_mean
from auditor.evidence.shards import storage_error, write_file
from auditor.subjects.formats import BYTE_ORDER_MARK, files_of, rows_of, saved_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from auditor.core.canary import CanarySet

Line = tuple[str, str]
"""Id and text of a line to plant."""


@dataclass(frozen=True, slots=True)
class Planted:
    """What was planted."""

    records: int
    """Records the data had."""
    planted: int
    """Lines added."""
    canaries: int
    """Canaries they belong to."""


def planted_texts(canaries: CanarySet) -> list[Line]:
    """Return id and text of every line to plant, each canary as often as its tier says, in a fixed order."""
    return [
        (f"{canary.id}-{copy}", canaries.format_of(canary).fill(canary.secret))
        for canary in canaries.canaries
        if canary.planted
        for copy in range(canary.repetitions)
    ]


def plant(canaries: CanarySet, data: Path, out: Path, *, text: str = "text") -> Planted:
    """Write the data with the planted canaries at random places, and return what was planted.

    Args:
        canaries: The canaries.
        data: A .jsonl, .csv or .parquet file, or a folder of .txt files.
        out: Where to write; never the data itself.
        text: Column that holds the text.

    Raises:
        DataError: The data cannot be read, the text of a canary already occurs in it, or the target exists.
        StorageError: The target cannot be written.
    """
    if out.exists():
        msg = f"{out}: exists already"
        raise DataError(msg, hint="Choose a new place with --out; nothing is changed in place.")
    if data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        msg = f"{out}: lies in the folder of the data"
        raise DataError(msg, hint="Choose a place outside with --out; nothing is changed in place.")
    if data.is_dir() and saved_files(data):
        msg = f"{data}: canaries cannot be planted in a saved dataset"
        raise DataError(msg, hint="Write it as Parquet (Dataset.to_parquet), plant there, and train on that.")
    records = _checked(canaries, data, text)
    lines = planted_texts(canaries)
    if data.is_dir():
        _plant_folder(lines, data, out)
    else:
        writers: dict[str, Callable[[Path, list[Line], list[int], str], bytes]] = {
            ".jsonl": _with_lines_jsonl,
            ".ndjson": _with_lines_jsonl,
            ".csv": _with_lines_csv,
            ".parquet": _with_lines_parquet,
        }
        arranged = _arranged(canaries, records, len(lines))
        write_file(out, writers[data.suffix.lower()](data, lines, arranged, text))
    return Planted(records, len(lines), sum(canary.planted for canary in canaries.canaries))


def count_planted(canaries: CanarySet, path: Path) -> dict[str, int]:
    """Return how often each canary's full text stands in a file or folder, whatever the format.

    Count what will be trained on, after deduplication and filtering: what a pipeline removed cannot be remembered.

    Raises:
        DataError: The data cannot be read.
    """
    counts = dict.fromkeys((canary.id for canary in canaries.canaries), 0)
    for row in rows_of(path):
        for canary, found in _occurrences(canaries, row.values):
            counts[canary] += found
    return counts


def _checked(canaries: CanarySet, data: Path, text: str) -> int:
    """Return the number of records; each can be read, and none holds a canary by accident.

    Training data that already had a canary's text would make the coin flip a lie.
    """
    records = 0
    for row in rows_of(data):
        if not records and not row.is_file and text not in row.values:
            msg = f"{row.where}: there is no column '{text}'"
            raise DataError(msg, hint=f"Name the column with --text. {did_you_mean(text, row.values)}")
        for canary, _ in _occurrences(canaries, row.values):
            msg = f"{row.where}: the text of canary '{canary}' already occurs in the data"
            raise DataError(msg, hint="Make other canaries with another --seed.")
        records += 1
    if not records:
        msg = f"{data}: there is no record in it"
        raise DataError(msg, hint="Give the training data that the canaries go into.")
    return records


def _occurrences(canaries: CanarySet, values: Any) -> Iterator[tuple[str, int]]:  # noqa: ANN401
    """Yield id and count of the canaries whose full text stands in a value, however deep."""
    for words in _texts(values):
        begun = {form.id for form in canaries.formats if form.template.partition(HOLE)[0] in words}
        for canary in canaries.canaries if begun else ():
            if canary.format in begun:
                found = words.count(canaries.format_of(canary).fill(canary.secret))
                if found:
                    yield canary.id, found


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _arranged(canaries: CanarySet, records: int, lines: int) -> list[int]:
    """Return the order of what is written: below `records` that record of the data, from there on a line to plant.

    Records keep their order; lines stand in random order, each before a record drawn uniformly, or at the end.
    """
    shuffled = generator(canaries.seed, "order").permutation(lines)
    places = np.sort(generator(canaries.seed, "places").integers(records + 1, size=lines))
    merged: list[int] = []
    done = 0
    for line, place in zip(shuffled.tolist(), places.tolist(), strict=True):
        merged.extend(range(done, place))
        merged.append(records + line)
        done = place
    return [*merged, *range(done, records)]


def _with_lines_jsonl(data: Path, lines: list[Line], arranged: list[int], text: str) -> bytes:
    content = data.read_bytes().removeprefix(BYTE_ORDER_MARK)
    records = [line.rstrip(b"\r") for line in content.split(b"\n") if line.strip()]  # other line ends belong to a text
    named = "id" in json.loads(records[0])
    made = [
        json.dumps({**({"id": name} if named else {}), text: words}, ensure_ascii=False).encode()
        for name, words in lines
    ]
    everything = records + made
    return b"\n".join(everything[number] for number in arranged) + b"\n"


def _with_lines_csv(data: Path, lines: list[Line], arranged: list[int], text: str) -> bytes:
    with data.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        everything = list(reader)
        fields = list(reader.fieldnames or ())
    everything += [{text: words, **({"id": name} if "id" in fields else {})} for name, words in lines]
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, fieldnames=fields, restval="")
    writer.writeheader()
    writer.writerows(everything[number] for number in arranged)
    return written.getvalue().encode()


def _with_lines_parquet(data: Path, lines: list[Line], arranged: list[int], text: str) -> bytes:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    written = io.BytesIO()
    try:
        table = pq.read_table(data)
        joined = pa.concat_tables([table, _parquet_lines(table, lines, text)]).unify_dictionaries()
        pq.write_table(joined.take(arranged), written)
    except pa.ArrowException as error:
        msg = f"{data}: its columns cannot take a line with a text and an id alone ({error})"
        raise DataError(msg, hint="Make the other columns nullable, or leave them out.") from error
    return written.getvalue()


def _parquet_lines(table: pa.Table, lines: list[Line], text: str) -> pa.Table:
    """Return the lines as rows of a table's schema: ids as its ids are, every other column null.

    Numbered ids go on after the largest.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    names: list[Any] = [None] * len(lines)
    if "id" in table.column_names:
        kind = table.schema.field("id").type
        if pa.types.is_integer(kind):
            last = pc.max(table.column("id")).as_py() or 0
            names = [last + 1 + number for number in range(len(lines))]
        elif not (pa.types.is_floating(kind) or pa.types.is_nested(kind) or pa.types.is_temporal(kind)):
            names = [name for name, _ in lines]
    empty = dict.fromkeys(table.column_names)
    rows = [
        empty | ({"id": name} if "id" in empty else {}) | {text: words}
        for name, (_, words) in zip(names, lines, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=table.schema)


def _plant_folder(lines: list[Line], data: Path, out: Path) -> None:
    files = {file.relative_to(data): file for file in files_of(data)}
    made = {f"{name}.txt" for name, _ in lines}
    taken = [file for name, file in files.items() if name.as_posix() in made]
    if taken:
        msg = f"{taken[0]}: has the name of a file that would be planted"
        raise DataError(msg, hint="Rename it; nothing is overwritten.")
    draft = out.with_name(out.name + ".draft")
    try:
        draft.mkdir(parents=True)
        for name, file in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_bytes(file.read_bytes())
        for planted, words in lines:
            (draft / f"{planted}.txt").write_text(words + "\n", encoding="utf-8")
        draft.replace(out)
    except OSError as error:
        raise storage_error(draft, error) from error
