"""Writes the same images with the same columns in every format that is read."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from auditor.core.subject import RecordsSpec
from auditor.subjects.data import DataRecord, FileRecords

FORMATS = ("folder-jsonl", "folder-csv", "paths-jsonl", "paths-csv", "parquet", "parquet-struct", "saved")
COLUMNS = {"id": "name", "person": "who", "copies": "times", "source": "from", "caption": "words", "label": "class"}


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels).save(out, kind, **options)
    return out.getvalue()


def picture(seed: int, shape: tuple[int, ...] = (5, 4, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def row(number: int) -> dict[str, Any]:
    return {
        "name": f"n{number}",
        "who": f"p{number % 2}",
        "times": 1 + number % 3,
        "from": "web",
        "words": f"picture, {number}",
        "class": number % 4,
    }


ROWS = [row(number) for number in range(6)]
IMAGES = [encoded(picture(number)) for number in range(6)]


def write(kind: str, base: Path, rows: list[dict[str, Any]] = ROWS, images: list[bytes] = IMAGES) -> Path:
    """Write images and columns; return what a subject file would name."""
    base.mkdir(parents=True, exist_ok=True)
    family, _, variant = kind.partition("-")
    if family in {"folder", "paths"}:
        names = [f"deep/{number:03d}.png" for number in range(len(rows))]
        (base / "deep").mkdir()
        for name, content in zip(names, images, strict=True):
            (base / name).write_bytes(content)
        column = "file_name" if family == "folder" else "image"
        table = base / (f"metadata.{variant}" if family == "folder" else f"table.{variant}")
        write_table(table, [{column: name, **values} for name, values in zip(names, rows, strict=True)])
        return base if family == "folder" else table
    cells: list[Any] = list(images)
    if kind != "parquet":
        cells = [{"bytes": content, "path": None} for content in images]
    filled = [{"image": cell, **values} for cell, values in zip(cells, rows, strict=True)]
    kinds = [pa.binary() if kind == "parquet" else pa.struct([("bytes", pa.binary()), ("path", pa.string())])]
    table = pa.Table.from_pylist(filled)
    table = table.set_column(0, "image", pa.array(cells, type=kinds[0]))
    return save(table, base / "set") if family == "saved" else parquet(table, base / "table.parquet")


def parquet(table: pa.Table, path: Path) -> Path:
    pq.write_table(table, path, row_group_size=4)
    return path


def save(table: pa.Table, folder: Path, files: int = 2) -> Path:
    """Write a table as `save_to_disk` does; `saved_dataset/` here was written by the library itself."""
    folder.mkdir()
    names = [f"data-{number:05d}-of-{files:05d}.arrow" for number in range(files)]
    size = -(-table.num_rows // files)
    for number, name in enumerate(names):
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table.slice(number * size, size), max_chunksize=3)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(values) + "\n" for values in rows), encoding="utf-8")
        return
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def opened(path: Path, **columns: str) -> FileRecords:
    return FileRecords(RecordsSpec(path=path.name, **{"image": "image", **columns}), path.parent)


def whole(records: FileRecords, count: int | None = None, seed: int = 0) -> list[DataRecord]:
    return list(records.sample(count, seed, 0, len(records)))


def expected(rows: list[dict[str, Any]] = ROWS, images: list[bytes] = IMAGES) -> list[DataRecord]:
    return [
        DataRecord(
            id=values["name"],
            text=values["words"],
            cluster=values["who"],
            copies=values["times"],
            source=values["from"],
            image=content,
            label=values["class"],
        )
        for values, content in zip(rows, images, strict=True)
    ]
