"""Records that are images: the same in every format, read a few at a time, and compared by their pixels."""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import (
    COLUMNS,
    FORMATS,
    IMAGES,
    encoded,
    expected,
    opened,
    parquet,
    picture,
    row,
    save,
    whole,
    write,
)

from auditor.core.subject import RecordsSpec
from auditor.errors import DataError
from auditor.subjects import data
from auditor.subjects.data import FileRecords, overlap
from auditor.subjects.images import decode

HERE = Path(__file__).parent


# What is read

words = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "who": words,
            "times": st.integers(1, 2**31 - 1),
            "from": words,
            "words": st.lists(words, min_size=1, max_size=3).map(" ".join),
            "class": st.integers(0, 2**31 - 1),
        }
    ),
    min_size=1,
    max_size=7,
)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(rows, st.integers(0, 99))
def test_every_format_holds_the_same_records(rows: list[dict[str, Any]], seed: int) -> None:
    rows = [{"name": f"n{number}", **values} for number, values in enumerate(rows)]
    images = [encoded(picture(seed + number, (2 + number, 3, 3))) for number in range(len(rows))]
    for kind in FORMATS:
        with tempfile.TemporaryDirectory() as base:
            found = opened(write(kind, Path(base) / "data", rows, images), **COLUMNS)
            assert whole(found) == expected(rows, images), kind
            assert found.identity().modality == "image"


@pytest.mark.parametrize("name", ["saved_dataset", "saved_dataset.parquet"])
def test_what_the_library_itself_wrote(name: str) -> None:
    """Both were written by Hugging Face datasets 5.2, the folder in two files."""
    found = opened(HERE / name, caption="caption", label="label", person="who")
    records = whole(found)
    assert [record.text for record in records] == [f"picture {i}, 東京" for i in range(5)]
    assert [record.label for record in records] == [0, 1, 2, 0, 1]
    assert [record.cluster for record in records] == ["p0", "p1", "p0", "p1", "p0"]
    for number, record in enumerate(records):
        pixels = (np.arange(36).reshape(4, 3, 3) * 7 + number * 31) % 256
        assert decode(record.image, "").tolist() == pixels.tolist()
    texts = FileRecords(RecordsSpec(path=name, text="caption"), HERE)
    assert [record.text for record in whole(texts)] == [record.text for record in records]
    assert texts.identity().modality == "text"


def test_texts_of_a_saved_dataset_are_those_of_the_parquet_file(tmp_path: Path) -> None:
    table = pa.table({"text": [f"text {i}" for i in range(2500)], "n": pa.array(range(2500), pa.int32())})
    columns = {"copies": "n"}
    found = []
    for path in (parquet(table.slice(1), tmp_path / "t.parquet"), save(table.slice(1), tmp_path / "t", files=3)):
        records = FileRecords(RecordsSpec(path=path.name, **columns), tmp_path)
        found.append(whole(records))
        assert list(records.sample(20, 1, 5, 9)) == list(records.sample(20, 1, 0, 20))[5:9]
    assert found[0] == found[1]
    assert len(found[0]) == 2499


def test_a_folder_of_images_alone(tmp_path: Path) -> None:
    """Sorted by path and called by it; what is hidden or no image is no record."""
    folder = tmp_path / "faces"
    for name in ("b/2.JPG", "a.png", "b/10.jpeg", "c.webp", "d.bmp", "e.tif"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        kind = {"jpg": "JPEG", "tif": "TIFF"}.get(name.lower().rsplit(".")[-1], name.rsplit(".")[-1].upper())
        (folder / name).write_bytes(encoded(picture(len(name)), kind))
    for name in (".hidden.png", "README.md", "._a.png", ".cache/x.png", "b/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no image")
    found = opened(folder)
    assert [record.id for record in whole(found)] == ["a.png", "b/10.jpeg", "b/2.JPG", "c.webp", "d.bmp", "e.tif"]
    assert all(record.cluster == record.id and record.text == "" and record.label is None for record in whole(found))
    identity = found.identity()
    assert (identity.modality, identity.has_captions, identity.has_labels, identity.records) == (
        "image",
        False,
        False,
        6,
    )
    assert [file.path for file in identity.files] == [f"faces/{record.id}" for record in whole(found)]


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_known_of_the_records_is_said(kind: str, tmp_path: Path) -> None:
    identity = opened(write(kind, tmp_path / "d"), **COLUMNS).identity()
    assert (identity.has_captions, identity.has_labels, identity.has_copies, identity.has_source) == (True,) * 4
    assert (identity.clustered_by, identity.clusters, identity.records) == ("person", 2, 6)
    bare = opened(write(kind, tmp_path / "e")).identity()
    assert (bare.has_captions, bare.has_labels, bare.has_copies, bare.has_source) == (False,) * 4
    assert bare.clusters == 6
    assert bare.digest != identity.digest


@pytest.mark.parametrize("kind", FORMATS)
def test_the_bounds_of_shards_change_nothing(kind: str, tmp_path: Path) -> None:
    many = [row(number) for number in range(21)]
    images = [encoded(picture(number)) for number in range(21)]
    records = opened(write(kind, tmp_path / "d", many, images), **COLUMNS)
    sample = whole(records, 11, 5)
    assert len(sample) == 11
    for size in (1, 4, 11):
        parts = [list(records.sample(11, 5, start, start + size)) for start in range(0, 11, size)]
        assert [record for part in parts for record in part] == sample


@pytest.mark.parametrize("kind", ["folder-jsonl", "paths-csv"])
def test_only_the_images_that_are_asked_for_are_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = opened(write(kind, tmp_path / "d"), **COLUMNS)
    read = []
    inner = Path.read_bytes

    def watched(path: Path) -> bytes:
        read.append(path.name)
        return inner(path)

    monkeypatch.setattr(Path, "read_bytes", watched)
    sample = list(records.sample(2, 1, 0, 2))
    assert len([name for name in read if name.endswith(".png")]) == len(sample) == 2


@pytest.mark.parametrize("kind", FORMATS)
def test_every_file_counts(kind: str, tmp_path: Path) -> None:
    """Another byte in an image is another digest, and one written during the audit is noticed."""
    path = write(kind, tmp_path / "d")
    records = opened(path, **COLUMNS)
    other = opened(write(kind, tmp_path / "e", images=[*IMAGES[:-1], encoded(picture(99))]), **COLUMNS)
    assert records.identity().digest != other.identity().digest
    file = next(iter(sorted((tmp_path / "d").rglob("*.png")))) if (tmp_path / "d" / "deep").exists() else path
    file = next(file.glob("*.arrow")) if file.is_dir() else file
    os.utime(file, ns=(1, 1))
    with pytest.raises(DataError, match="changed after their digest") as caught:
        whole(records)
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["parquet", "saved"])
def test_a_few_images_are_in_memory_at_a_time(kind: str, tmp_path: Path) -> None:
    """64 images of a megabyte lie in one row group, or one batch, and beside another column as large."""
    images = [encoded(picture(number, (600, 600, 3)), "BMP") for number in range(64)]
    table = pa.table({"image": pa.array(images), "other": pa.array(images[::-1])})
    if kind == "parquet":
        # A page is read whole, whoever reads it: how much lies in one is the writer's choice.
        pages = {"row_group_size": 64, "write_batch_size": 2, "use_dictionary": False, "compression": "none"}
        pq.write_table(table, path := tmp_path / "t.parquet", **pages)
    else:
        path = save(table, tmp_path / "t", files=1)
        with (
            pa.OSFile(str(path / "data-00000-of-00001.arrow"), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema) as s,
        ):
            s.write_table(table)
    size = sum(map(len, images))
    del table, images
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    records = opened(path)
    most = 0
    for record in records.sample(None, 0, 0, 64):
        most = max(most, pa.total_allocated_bytes() - before)
        assert record.image
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(most, peak) < size / 5


# Overlap


def test_controls_that_are_members_are_found_by_their_pixels(tmp_path: Path) -> None:
    """Whatever the file: PNG, BMP or TIFF, grey or grey written as colours; another shape is another picture."""
    grey = picture(50, (4, 6, 1))
    members = [encoded(picture(1)), encoded(grey), encoded(picture(2)), encoded(picture(3))]
    controls = [
        encoded(picture(9)),
        encoded(picture(1), "BMP"),
        encoded(np.repeat(grey, 3, axis=2), "TIFF"),
        encoded(picture(2).reshape(4, 5, 3)),
        encoded(picture(3), "JPEG"),
    ]
    found = [
        opened(write("parquet", tmp_path / "m", [row(i) for i in range(4)], members), id="name"),
        opened(write("folder-csv", tmp_path / "c", [row(i) for i in range(5)], controls), id="name"),
    ]
    assert overlap(found[0], found[1]) == {1: "n1", 2: "n2"}
    assert overlap(found[0], found[1].without([1, 2])) == {}
    assert [record.id for record in whole(found[1].without([1, 2]))] == ["n0", "n3", "n4"]
    with pytest.raises(DataError, match="every control record also stands among the members"):
        overlap(found[0], found[0])


def test_texts_are_not_controls_of_images(tmp_path: Path) -> None:
    path = write("parquet", tmp_path / "d")
    texts = FileRecords(RecordsSpec(path=path.name, text="words"), path.parent)
    with pytest.raises(DataError, match=r"are images .* are texts"):
        overlap(opened(path), texts)


@pytest.mark.parametrize("kind", FORMATS)
def test_each_image_is_decoded_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    inner = data.decode

    def watched(content: bytes, where: str) -> Any:
        decoded.append(where)
        return inner(content, where)

    monkeypatch.setattr(data, "decode", watched)
    members = opened(write(kind, tmp_path / "m"))
    controls = opened(write(kind, tmp_path / "c", images=[*IMAGES[:1], *(encoded(picture(i)) for i in range(10, 15))]))
    fewer = controls.without(overlap(members, controls))
    assert len(fewer) == 5
    assert overlap(members, fewer) == {}
    assert len(decoded) == 12


def test_images_that_changed_since_are_decoded_again(tmp_path: Path) -> None:
    path = write("paths-jsonl", tmp_path / "d")
    records = opened(path)
    (tmp_path / "d" / "deep" / "000.png").write_bytes(b"no image any more")
    with pytest.raises(DataError, match="of no known kind"):
        records.without([5])
