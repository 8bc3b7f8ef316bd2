"""Images that cannot be read, may not be read, or do not fit what is said of them: each is named by its place."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import (
    COLUMNS,
    FORMATS,
    IMAGES,
    ROWS,
    encoded,
    opened,
    parquet,
    picture,
    save,
    whole,
    write,
    write_table,
)

from auditor.core.subject import RecordsSpec
from auditor.errors import DataError
from auditor.subjects import image_formats
from auditor.subjects.data import FileRecords
from auditor.subjects.images import decode


def refused(path: Path, **columns: str) -> DataError:
    """Return the error that opening gives; it names the place and says what to do."""
    with pytest.raises(DataError) as caught:
        opened(path, **columns)
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


# What may not be followed


@pytest.mark.parametrize("variant", ["jsonl", "csv"])
@pytest.mark.parametrize("family", ["folder", "paths"])
@pytest.mark.parametrize(
    "name", ["../out.png", "deep/../../out.png", "{base}/out.png", "..\\out.png", "C:\\out.png", "./../out.png", ".."]
)
def test_a_path_that_may_leave_the_folder(name: str, family: str, variant: str, tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(IMAGES[0])
    path = write(f"{family}-{variant}", tmp_path / "d")
    table = path / f"metadata.{variant}" if path.is_dir() else path
    text = table.read_text().replace("deep/002.png", json.dumps(name.format(base=tmp_path))[1:-1])
    table.write_text(text if variant == "jsonl" else text.replace("\\\\", "\\"))
    error = refused(path)
    assert error.message.startswith(f"{table}:{3 if variant == 'jsonl' else 4}: the path '")
    assert "leave the folder" in error.message


@pytest.mark.parametrize("kind", ["folder-jsonl", "paths-jsonl"])
@pytest.mark.parametrize("whole_folder", [False, True])
def test_a_link_that_leaves_the_folder(kind: str, whole_folder: bool, tmp_path: Path) -> None:
    path = write(kind, tmp_path / "d")
    deep = tmp_path / "d" / "deep"
    outside = tmp_path / "outside"
    if whole_folder:
        deep.rename(outside)
        deep.symlink_to(outside)
    else:
        (deep / "003.png").rename(outside)
        (deep / "003.png").symlink_to(outside)
    assert "link" in refused(path).message


@pytest.mark.parametrize("kind", ["folder-jsonl", "paths-jsonl"])
def test_a_link_to_another_image_of_the_folder_may_be_followed(kind: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path / "d")
    (tmp_path / "d" / "deep" / "003.png").unlink()
    (tmp_path / "d" / "deep" / "003.png").symlink_to("004.png")
    assert whole(opened(path, id="name"))[3].image == IMAGES[4]


def test_a_link_in_a_circle(tmp_path: Path) -> None:
    path = write("paths-jsonl", tmp_path / "d")
    (tmp_path / "d" / "deep" / "003.png").unlink()
    (tmp_path / "d" / "deep" / "003.png").symlink_to("003.png")
    assert f"{path}:4: " in refused(path).message


@pytest.mark.parametrize("name", ["../x.arrow", "/etc/hostname", "sub/x.arrow", "none.arrow", 7])
def test_the_state_of_a_saved_dataset_names_files_beside_it(name: Any, tmp_path: Path) -> None:
    path = write("saved", tmp_path / "d")
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    assert "is not in the folder" in refused(path).message


# Bad input


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"no image at all", "of no known kind"),
        (IMAGES[0][:60], "can be read"),
        (IMAGES[0][:40] + b"\xff" * 8 + IMAGES[0][48:], "can be read"),
        (encoded(picture(0), "GIF"), "of no known kind"),
        (b"P5 90000 90000 255\n", "pixels"),
    ],
)
def test_an_image_that_is_none_is_named_by_place(kind: str, content: bytes, said: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path / "d", images=[*IMAGES[:2], content, *IMAGES[3:]])
    error = refused(path, **COLUMNS)
    assert said in error.message
    table = {"folder-jsonl": path / "metadata.jsonl", "folder-csv": path / "metadata.csv"}.get(kind, path)
    place = {"jsonl": f"{table}:3 (002.png): ", "csv": f"{table}:4 (002.png): "}.get(kind[-5:].strip("-rs"), "")
    place = place or {"-csv": f"{table}:4 (002.png): "}.get(kind[-4:], f"{table}, row 3: ")
    assert error.message.startswith(place)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("role", ["caption", "label", "id", "person", "document", "copies", "source"])
def test_a_column_that_is_not_there(kind: str, role: str, tmp_path: Path) -> None:
    error = refused(write(kind, tmp_path / "d"), **{role: "wirds"})
    assert f"'wirds' (named as {role})" in error.message
    assert error.hint == "Did you mean 'words'?"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("role", "column", "value", "said"),
    [
        ("caption", "words", "", "empty"),
        ("caption", "words", "  ", "empty"),
        ("label", "class", "", "label ''"),
        ("label", "class", "cat", "label 'cat' is not a whole number from 0"),
        ("label", "class", "-1", "label '-1'"),
        ("label", "class", "1.5", "label '1.5'"),
    ],
)
def test_a_caption_or_label_that_is_missing_in_a_row(
    kind: str, role: str, column: str, value: Any, said: str, tmp_path: Path
) -> None:
    changed = [{**values, column: str(values[column])} for values in ROWS]
    changed[3][column] = value
    error = refused(write(kind, tmp_path / "d", changed), **{role: column})
    assert said in error.message
    assert any(place in error.message for place in ("jsonl:4: ", "csv:5: ", "row 4: "))


@pytest.mark.parametrize("kind", ["folder-jsonl", "paths-jsonl", "parquet", "parquet-struct", "saved"])
@pytest.mark.parametrize(("role", "column"), [("caption", "words"), ("label", "class")])
def test_a_caption_or_label_that_is_nothing(kind: str, role: str, column: str, tmp_path: Path) -> None:
    changed = [dict(values) for values in ROWS]
    changed[3][column] = None
    error = refused(write(kind, tmp_path / "d", changed), **{role: column})
    assert any(place in error.message for place in ("jsonl:4: ", "row 4: "))


def test_a_folder_of_images_that_is_not_said_to_be_one(tmp_path: Path) -> None:
    folder = write("folder-jsonl", tmp_path / "d")
    with pytest.raises(DataError, match=r"a folder of images \(deep/000.png\)") as caught:
        FileRecords(RecordsSpec(path="d"), tmp_path)
    assert "`image: image`" in caught.value.hint
    assert "`image: image`" in refused(folder, image="picture").hint


def test_a_folder_without_an_image(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_text("a text")
    assert "no image in the folder" in refused(tmp_path / "d").message


def test_columns_of_a_folder_without_metadata(tmp_path: Path) -> None:
    folder = write("folder-jsonl", tmp_path / "d")
    (folder / "metadata.jsonl").unlink()
    assert "metadata.jsonl" in refused(folder, caption="words").hint


def test_captions_and_labels_are_of_images(tmp_path: Path) -> None:
    path = write("parquet", tmp_path / "d")
    for role in ("caption", "label"):
        with pytest.raises(DataError, match="none of images"):
            FileRecords(RecordsSpec(path=path.name, text="words", **{role: "words"}), path.parent)


def change(table: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    if what == "missing file":
        table[2]["file_name"] = "deep/none.png"
    elif what == "named twice":
        table[2]["file_name"] = "deep/000.png"
    elif what == "row left out":
        del table[2]
    elif what == "no name":
        table[2]["file_name"] = ""
    elif what == "a number":
        table[2]["file_name"] = 7
    return table


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("missing file", ":3: there is no image 'deep/none.png'"),
        ("named twice", ":3: the image 'deep/000.png' was named before"),
        ("row left out", ": 1 images of the folder have no row, the first is 'deep/002.png'"),
        ("no name", ":3: the column 'file_name' is missing"),
        ("a number", ":3: the column 'file_name' is a int, not a path"),
    ],
)
def test_metadata_that_does_not_fit_the_folder(what: str, said: str, tmp_path: Path) -> None:
    folder = write("folder-jsonl", tmp_path / "d")
    table = [{"file_name": f"deep/{number:03d}.png", **values} for number, values in enumerate(ROWS)]
    write_table(folder / "metadata.jsonl", change(table, what))
    assert refused(folder).message.startswith(f"{folder / 'metadata.jsonl'}{said}")


def test_metadata_in_two_places(tmp_path: Path) -> None:
    folder = write("folder-jsonl", tmp_path / "d")
    (folder / "deep" / "metadata.csv").write_text("file_name\n")
    assert "in a folder below" in refused(folder).message
    (folder / "deep" / "metadata.csv").rename(folder / "metadata.csv")
    assert "metadata.jsonl lies beside it" in refused(folder).message
    (folder / "metadata.csv").unlink()
    write_table(folder / "metadata.jsonl", ROWS)
    assert ":1: there is no column 'file_name'" in refused(folder).message


@pytest.mark.parametrize("kind", ["parquet", "saved"])
@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (pa.array(["a.png", "b.png"]), "row 1: the column 'image' is a str, not an image"),
        (pa.array([IMAGES[0], None]), "row 2: the column 'image' is missing"),
        (pa.array([1, 2]), "row 1: the column 'image' is a int"),
        (
            pa.array([{"bytes": IMAGES[0], "path": None}, {"bytes": None, "path": "b.png"}]),
            "row 2: the column 'image' names the file 'b.png' and does not hold it",
        ),
        (pa.array([{"bytes": IMAGES[0]}, {"bytes": None}]), "row 2: the column 'image' is missing"),
    ],
)
def test_a_column_of_images_that_holds_something_else(kind: str, cells: pa.Array, said: str, tmp_path: Path) -> None:
    table = pa.table({"image": cells})
    path = parquet(table, tmp_path / "t.parquet") if kind == "parquet" else save(table, tmp_path / "t")
    assert said in refused(path).message
    assert "no column 'picture' (named as image)" in refused(path, image="picture").message


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_that_is_too_large_to_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_formats, "LARGEST_IMAGE", 50)
    assert "larger than" in refused(write(kind, tmp_path / "d")).message


def test_a_dataset_of_several_splits(tmp_path: Path) -> None:
    write("saved", tmp_path / "d").rename(tmp_path / "train")
    (tmp_path / "d").rmdir()
    (tmp_path / "all").mkdir()
    (tmp_path / "train").rename(tmp_path / "all" / "train")
    (tmp_path / "all" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert "train" in refused(tmp_path / "all").hint
    assert len(opened(tmp_path / "all" / "train")) == 6


def test_rows_that_an_index_chooses(tmp_path: Path) -> None:
    path = write("saved", tmp_path / "d")
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "_indices_data_files": [{"filename": "indices.arrow"}]}))
    assert "flatten_indices" in refused(path).hint
    (path / "state.json").write_text("[")
    assert "not the state of a saved dataset" in refused(path).message


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(0, 5000), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_damaged_saved_dataset_is_refused_or_read(place: int, harm: bytes, cut: bool) -> None:
    """Never a crash: offsets in the file are looked at before they are followed."""
    with tempfile.TemporaryDirectory() as base:
        path = write("saved", Path(base) / "d")
        file = path / "data-00000-of-00002.arrow"
        raw = file.read_bytes()
        place %= len(raw)
        file.write_bytes(raw[:place] if cut else raw[:place] + harm + raw[place + len(harm) :])
        try:
            assert len(whole(opened(path, **COLUMNS))) <= 6
        except DataError as error:
            assert str(path) in error.message  # noqa: PT017


def test_a_library_that_makes_pillow_lenient_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError, match="can be read"):
        decode(IMAGES[0][:60], "here")
    assert ImageFile.LOAD_TRUNCATED_IMAGES
