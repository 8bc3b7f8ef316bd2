"""Plants canaries in training data, and counts them in what is going to be trained on."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.core.seeds import generator
from auditor.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.core.canary import CanarySet


@dataclass(frozen=True, slots=True)
class Planted:
    """What was planted."""

    records: int
    """Records the data had."""
    planted: int
    """Lines added."""
    canaries: int
    """Canaries they belong to."""


def planted_texts(canaries: CanarySet) -> list[tuple[str, str]]:
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
        DataError: The data cannot be read, a secret already occurs in it, or the target exists.
    """
    if out.exists():
        msg = f"{out}: exists already"
        raise DataError(msg, hint="Choose a new place with --out; nothing is changed in place.")
    if not data.exists():
        msg = f"{data}: there is no such file or folder"
        raise DataError(msg, hint="Give the training data that the canaries go into.")
    lines = planted_texts(canaries)
    if data.is_dir():
        return _plant_folder(canaries, lines, data, out)
    kind = data.suffix.lower()
    readers: dict[str, Any] = {".jsonl": _plant_jsonl, ".csv": _plant_csv, ".parquet": _plant_parquet}
    if kind not in readers:
        msg = f"{data}: canaries can be planted in .jsonl, .csv, .parquet or a folder of .txt files, not in '{kind}'"
        raise DataError(msg, hint="Convert the training data, plant, and convert back.")
    planted: Planted = readers[kind](canaries, lines, data, out, text)
    return planted


def count_planted(canaries: CanarySet, path: Path) -> dict[str, int]:
    """Return how often each canary's full text stands in a file or folder, whatever the format.

    Count what will be trained on, after deduplication and filtering: what a pipeline removed cannot be remembered.
    """
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq  # noqa: PLC0415

        content = json.dumps(pq.read_table(path).to_pylist(), default=str, ensure_ascii=False)
    else:
        content = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return {canary.id: content.count(canaries.format_of(canary).fill(canary.secret)) for canary in canaries.canaries}


def _order(canaries: CanarySet, records: int, lines: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return, for each line, the number of data records that stand before it; ascending, shape [lines]."""
    return np.sort(generator(canaries.seed, "places").integers(records + 1, size=lines))


def _refuse_accident(canaries: CanarySet, content: str, where: str) -> None:
    for canary in canaries.canaries:
        if canaries.format_of(canary).fill(canary.secret) in content:
            msg = f"{where}: the text of canary '{canary.id}' already occurs in the data"
            raise DataError(msg, hint="Make other canaries with another --seed.")


def _merge(records: list[Any], made: list[Any], places: np.ndarray[Any, np.dtype[np.intp]]) -> list[Any]:
    merged, done = [], 0
    for item, place in zip(made, places, strict=True):
        merged.extend(records[done:place])
        merged.append(item)
        done = int(place)
    return merged + records[done:]


def _plant_jsonl(canaries: CanarySet, lines: list[tuple[str, str]], data: Path, out: Path, text: str) -> Planted:
    content = data.read_text(encoding="utf-8")
    _refuse_accident(canaries, content, str(data))
    records = [line for line in content.splitlines() if line.strip()]
    first = json.loads(records[0]) if records else {}
    if records and text not in first:
        msg = f"{data}: line 1 has no column '{text}'; it has {', '.join(first)}"
        raise DataError(msg, hint="Name the column with --text.")
    order = generator(canaries.seed, "order").permutation(len(lines))
    made = [
        json.dumps({**({"id": lines[i][0]} if "id" in first else {}), text: lines[i][1]}, ensure_ascii=False)
        for i in order
    ]
    merged = _merge(records, made, _order(canaries, len(records), len(lines)))
    out.write_text("\n".join(merged) + "\n", encoding="utf-8")
    return _planted(len(records), lines)


def _plant_csv(canaries: CanarySet, lines: list[tuple[str, str]], data: Path, out: Path, text: str) -> Planted:
    _refuse_accident(canaries, data.read_text(encoding="utf-8"), str(data))
    with data.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        records = list(reader)
        fields = list(reader.fieldnames or ())
    if text not in fields:
        msg = f"{data}: no column '{text}'; it has {', '.join(fields)}"
        raise DataError(msg, hint="Name the column with --text.")
    order = generator(canaries.seed, "order").permutation(len(lines))
    made = [{text: lines[i][1], **({"id": lines[i][0]} if "id" in fields else {})} for i in order]
    with out.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=fields, restval="")
        writer.writeheader()
        writer.writerows(_merge(records, made, _order(canaries, len(records), len(lines))))
    return _planted(len(records), lines)


def _plant_parquet(canaries: CanarySet, lines: list[tuple[str, str]], data: Path, out: Path, text: str) -> Planted:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    table = pq.read_table(data)
    if text not in table.column_names:
        msg = f"{data}: no column '{text}'; it has {', '.join(table.column_names)}"
        raise DataError(msg, hint="Name the column with --text.")
    _refuse_accident(canaries, "\n".join(str(value) for value in table.column(text).to_pylist()), str(data))
    order = generator(canaries.seed, "order").permutation(len(lines))
    empty = dict.fromkeys(table.column_names)
    made = [{**empty, text: lines[i][1], **({"id": lines[i][0]} if "id" in empty else {})} for i in order]
    merged = _merge(table.to_pylist(), made, _order(canaries, table.num_rows, len(lines)))
    pq.write_table(pa.Table.from_pylist(merged, schema=table.schema), out)
    return _planted(table.num_rows, lines)


def _plant_folder(canaries: CanarySet, lines: list[tuple[str, str]], data: Path, out: Path) -> Planted:
    files = sorted(data.rglob("*.txt"))
    for file in files:
        content = file.read_text(encoding="utf-8")
        _refuse_accident(canaries, content, str(file))
        target = out / file.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
    out.mkdir(parents=True, exist_ok=True)
    for name, text in lines:
        (out / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
    return _planted(len(files), lines)


def _planted(records: int, lines: list[tuple[str, str]]) -> Planted:
    return Planted(records=records, planted=len(lines), canaries=len({name.rsplit("-", 1)[0] for name, _ in lines}))
