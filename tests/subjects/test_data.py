"""Records from files: the same in every format, sampled nested and in order, and every damaged file named by place."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.core.subject import RecordsSpec
from auditor.errors import DataError
from auditor.subjects.data import DataRecord, FileRecords, nested_sample, overlap

ROWS = [
    {"id": f"{number:03d}.txt", "text": text, "who": f"p{number % 5}", "times": 1 + number % 3, "from": "web"}
    for number, text in enumerate(
        [
            "plain",
            "Straße, café, 東京, \U0001f600",
            'a "quoted" text, with a comma',
            "two\nlines",
            "carriage\r\nreturn",
            "line\u2028separator and next\u0085line",
            "  white space around  ",
            *(f"record number {number} of a longer file" for number in range(30)),
        ]
    )
]
COLUMNS = {"id": "id", "person": "who", "copies": "times", "source": "from"}


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline="")
    return path


def write(kind: str, base: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    path = base / f"records.{kind}"
    if kind == "jsonl":
        return jsonl(path, rows)
    if kind == "csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=10)
    else:
        for row in rows:
            (base / "folder").mkdir(exist_ok=True)
            (base / "folder" / row["id"]).write_bytes(row["text"].encode())
        return base / "folder"
    return path


def opened(path: Path, **columns: str) -> FileRecords:
    return FileRecords(RecordsSpec(path=path.name, **columns), path.parent)


def whole(records: FileRecords, count: int | None = None, seed: int = 0) -> list[DataRecord]:
    return list(records.sample(count, seed, 0, len(records)))


def refused(path: Path, **columns: str) -> DataError:
    """Return the error that opening gives; it names the file and says what to do."""
    with pytest.raises(DataError) as caught:
        opened(path, **columns)
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


# What is read


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_the_formats_hold_equal_records(kind: str, tmp_path: Path) -> None:
    found = whole(opened(write(kind, tmp_path), **COLUMNS))
    assert found == [DataRecord(row["id"], row["text"], row["who"], row["times"], row["from"]) for row in ROWS]


def test_a_folder_holds_a_record_in_each_file(tmp_path: Path) -> None:
    folder = write("folder", tmp_path)
    (folder / "notes.md").write_text("not a record")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "one.txt").write_text("below")
    found = whole(opened(folder))
    assert found[:-1] == [DataRecord(row["id"], row["text"], row["id"]) for row in ROWS]
    assert found[-1].id == "deeper/one.txt"
    assert len({file.sha256 for file in opened(folder).identity().files}) == len(ROWS) + 1


def test_a_record_without_names_is_called_by_its_position(tmp_path: Path) -> None:
    found = whole(opened(jsonl(tmp_path / "records.ndjson", ROWS)))
    assert [record.id for record in found] == [str(number) for number in range(len(ROWS))]
    assert [record.cluster for record in found] == [record.id for record in found]
    assert {(record.copies, record.source) for record in found} == {(1, "")}


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_byte_order_mark_is_not_part_of_the_first_word(kind: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert whole(opened(path, id="id"))[0] == DataRecord("000.txt", "plain", "000.txt")


def test_blank_lines_are_no_records_and_lines_still_count(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('\n{"text": "one"}\n\n  \n{"text": "two"}\n{"txt": "three"}')
    assert f"{path}:6:" in refused(path).message
    path.write_text('\n{"text": "one"}\r\n\n  \n{"text": "two"}')
    assert [record.text for record in whole(opened(path))] == ["one", "two"]


def test_persons_come_before_documents_as_the_unit(tmp_path: Path) -> None:
    path = write("jsonl", tmp_path)
    identity = opened(path, person="who", document="id").identity()
    assert (identity.clustered_by, identity.clusters, identity.records) == ("person", 5, len(ROWS))
    assert opened(path, document="who").identity().clustered_by == "document"
    assert opened(path).identity().clustered_by == "record"
    assert opened(path).identity().clusters == len(ROWS)


def test_the_identity_is_of_content_and_meaning_and_not_of_the_place(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    here, there = write("jsonl", tmp_path), write("jsonl", tmp_path / "there")
    digests = [opened(here).identity().digest, opened(there).identity().digest]
    assert digests[0] == digests[1]
    others = [
        opened(here, id="id").identity().digest,
        opened(here).without([3]).identity().digest,
        opened(jsonl(tmp_path / "other.jsonl", ROWS[:-1])).identity().digest,
    ]
    assert len({digests[0], *others}) == 4


def test_other_columns_of_a_table_do_not_matter(tmp_path: Path) -> None:
    """Moments finer than Python holds, lists, nothing at all: only the columns that are named count."""
    path = tmp_path / "records.parquet"
    columns = {
        "text": pa.array(["one", "two"]).dictionary_encode(),
        "when": pa.array([1, None], pa.timestamp("ns", "UTC")),
        "clock": pa.array([1, 2], pa.time64("ns")),
        "lasted": pa.array([1, 2], pa.duration("ns")),
        "list": pa.array([[1.5], []]),
        "nothing": pa.nulls(2),
        "bytes": pa.array([b"\xff", b""]),
    }
    pq.write_table(pa.table(columns), path)
    assert [record.text for record in whole(opened(path))] == ["one", "two"]
    assert "'bytes'" in refused(path, text="bytes").message
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"]), path)
    assert "same name" in refused(path).message


# Samples


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.integers(1, 60), st.integers(0, 70), st.integers(0, 70), st.integers(0, 2**53 - 1))
def test_samples_of_one_seed_are_nested(total: int, one: int, other: int, seed: int) -> None:
    small, large = sorted((one, other))
    inner, outer = (nested_sample(total, count, seed).tolist() for count in (small, large))
    assert set(inner) <= set(outer) <= set(range(total))
    assert len(inner) == min(small, total)
    assert inner == sorted(set(inner))
    assert nested_sample(total, None, seed).tolist() == list(range(total))


def test_every_record_is_as_likely_as_another_to_be_sampled() -> None:
    seen = np.zeros(20)
    for seed in range(4000):
        seen[nested_sample(20, 5, seed)] += 1
    # Each is Binomial(4000, 1/4): mean 1000, deviation 27.4; 20 of them stay within 4.5 deviations but once in 7000.
    assert np.abs(seen - 1000).max() < 4.5 * 27.4
    assert seen.sum() == 20_000


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "folder"])
def test_the_bounds_of_shards_change_nothing(kind: str, tmp_path: Path) -> None:
    records = opened(write(kind, tmp_path))
    expected = whole(records, 23, 9)
    assert len(expected) == 23
    every = whole(records)
    places = [every.index(record) for record in expected]
    assert places == sorted(places) == nested_sample(len(records), 23, 9).tolist()
    for size in (1, 7, 23, 100):
        parts = [list(records.sample(23, 9, start, start + size)) for start in range(0, 23, size)]
        assert [record for part in parts for record in part] == expected
    backwards = [list(records.sample(23, 9, start, start + 7)) for start in (21, 14, 7, 0)]
    assert [record for part in backwards[::-1] for record in part] == expected
    assert list(records.sample(23, 9, 23, 99)) == list(records.sample(0, 9, 0, 5)) == []


def test_two_readers_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    records = opened(write("jsonl", tmp_path))
    every = whole(records)
    first = records.sample(None, 0, 0, 30)
    head = [next(first) for _ in range(3)]
    later = list(records.sample(None, 0, 10, 20))
    assert later == every[10:20]
    assert [*head, *first] == every[:30]


def test_shards_in_order_read_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from auditor.subjects import data

    records = opened(write("jsonl", tmp_path))
    passes = []
    inner = data.rows_of

    def watched(path: Path) -> Any:
        passes.append(path)
        return inner(path)

    monkeypatch.setattr(data, "rows_of", watched)
    for start in range(0, len(records), 4):
        list(records.sample(20, 1, start, start + 4))
    assert len(passes) == 1


def test_records_that_are_left_out_are_in_no_sample(tmp_path: Path) -> None:
    records = opened(write("jsonl", tmp_path), id="id")
    fewer = records.without([0, 5]).without([36])
    assert len(fewer) == fewer.identity().records == len(records) - 3
    assert {record.id for record in whole(records)} - {record.id for record in whole(fewer)} == {
        "000.txt",
        "005.txt",
        "036.txt",
    }


@pytest.mark.parametrize("kind", ["jsonl", "folder"])
def test_records_that_change_after_their_digest_was_taken_are_noticed(kind: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path)
    records = opened(path)
    file = path / "003.txt" if path.is_dir() else path
    os.utime(file, ns=(1, 1))
    with pytest.raises(DataError, match="changed after their digest") as caught:
        whole(records)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_records_that_are_gone_are_noticed_where_the_clock_does_not_tell(tmp_path: Path) -> None:
    path = write("jsonl", tmp_path)
    records = opened(path)
    records._positions = np.append(records._positions, len(ROWS))
    with pytest.raises(DataError, match=f"record {len(ROWS)} is gone"):
        whole(records)


# Overlap


def test_controls_that_are_members_are_found_and_named(tmp_path: Path) -> None:
    members = opened(jsonl(tmp_path / "members.jsonl", ROWS))
    rows = [
        {"id": "new", "text": "not in training"},
        {"id": "equal", "text": ROWS[3]["text"]},
        {"id": "spaced", "text": "  two \t lines\n"},
        {"id": "decomposed", "text": "Straße, cafe\u0301, 東京, \U0001f600"},
        {"id": "case", "text": "PLAIN"},
    ]
    controls = opened(jsonl(tmp_path / "controls.jsonl", rows), id="id")
    assert overlap(members, controls) == {1: "equal", 2: "spaced", 3: "decomposed"}
    assert overlap(members, controls.without([1, 2, 3])) == {}


def test_controls_that_are_all_members_are_refused(tmp_path: Path) -> None:
    members = opened(jsonl(tmp_path / "members.jsonl", ROWS))
    controls = opened(jsonl(tmp_path / "controls.jsonl", ROWS[::-1]))
    with pytest.raises(DataError, match="every control record also stands among the members") as caught:
        overlap(members, controls)
    assert str(controls.path) in caught.value.message
    assert str(members.path) in caught.value.message
    assert caught.value.hint


# Bad input


@pytest.mark.parametrize("name", ["records.jsonl", "records.csv", "records.parquet"])
def test_files_that_are_missing_or_empty(name: str, tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / name).message
    (tmp_path / name).write_bytes(b"")
    assert "empty" in refused(tmp_path / name).message


@pytest.mark.parametrize(("name", "content"), [("records.jsonl", "\n \n"), ("records.csv", "id,text\n")])
def test_a_file_without_a_record(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert "no record" in refused(tmp_path / name).message


def test_a_parquet_file_without_a_record(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], type=pa.string())}), tmp_path / "records.parquet")
    assert "no record" in refused(tmp_path / "records.parquet").message


def test_a_folder_without_a_text(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert ".txt" in refused(tmp_path / "folder").message


@pytest.mark.parametrize("name", ["records.json", "records.tsv", "records", "records.jsonl.gz"])
def test_a_kind_of_file_that_is_not_known(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("text")
    assert ".parquet" in refused(tmp_path / name).message


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("role", ["text", "id", "person", "document", "copies", "source"])
def test_a_column_that_is_not_there(kind: str, role: str, tmp_path: Path) -> None:
    error = refused(write(kind, tmp_path), **{role: "tixt"})
    assert f"'tixt' (named as {role})" in error.message
    assert error.hint == "Did you mean 'text'?"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_ids_that_stand_twice_are_named_by_both_places(kind: str, tmp_path: Path) -> None:
    rows = [{**row, "text": f"line {number}"} for number, row in enumerate(ROWS[:9])]
    rows[7]["id"] = rows[2]["id"]
    path = write(kind, tmp_path, rows)
    error = refused(path, id="id")
    first, second = {
        "jsonl": (f"{path}:3", f"{path}:8"),
        "csv": (f"{path}:4", f"{path}:9"),
        "parquet": (f"{path}, row 3", f"{path}, row 8"),
    }[kind]
    assert error.message == f"{second}: the id '002.txt' stands already at {first}"


def test_an_id_is_compared_as_a_word(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "records.jsonl", [{"id": 7, "text": "a"}, {"id": "7", "text": "b"}])
    assert "stands already" in refused(path, id="id").message


@pytest.mark.parametrize("lines", [0, 3, 2000])
def test_bytes_that_are_not_utf8_are_found_where_they_stand(lines: int, tmp_path: Path) -> None:
    """Also far behind the first block that is read at once."""
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"text": "fine"}\n' * lines + b'{"text": "caf\xe9"}\n{"text": "fine"}\n')
    assert refused(path).message == f"{path}:{lines + 1}: not UTF-8 (byte 13)"
    path = tmp_path / "records.csv"
    path.write_bytes(b"text\n" + b'"fine"\n' * lines + b'"caf\xe9"\nfine\n')
    assert refused(path).message == f"{path}:{lines + 2}: not UTF-8 (byte 4)"


def test_a_text_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_bytes(b"fine")
    (tmp_path / "folder" / "b.txt").write_bytes(b"caf\xe9")
    assert refused(tmp_path / "folder").message == f"{tmp_path / 'folder' / 'b.txt'}: not UTF-8 (byte 3)"


def test_a_parquet_text_that_is_not_utf8(tmp_path: Path) -> None:
    raw = pa.array([b"fine", b"caf\xe9"]).view(pa.string())
    pq.write_table(pa.table({"text": raw}), tmp_path / "records.parquet")
    refused(tmp_path / "records.parquet")


@pytest.mark.parametrize(
    "line",
    [
        '{"text": "cut sho',
        "just words",
        '{"text": "a", "text": "b"}',
        '{"text": "a", "score": NaN}',
        "[" * 100_000,
        '["a", "list"]',
        '"a text"',
        "null",
        "7",
    ],
)
def test_a_line_that_is_not_an_object(line: str, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    assert refused(path).message.startswith(f"{path}:2: ")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "missing"),
        (5, "a int, not a text"),
        (["a"], "a list, not a text"),
        ("", "empty"),
        (" \n\t ", "empty"),
        ("nul \x00 inside", "NUL"),
        ("half \ud83d of a pair", "surrogate"),
    ],
)
def test_a_text_that_is_none(value: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps({"text": "fine"}) + "\n" + json.dumps({"text": value}) + "\n")
    error = refused(path)
    assert error.message.startswith(f"{path}:2: ")
    assert said in error.message


def test_nul_in_csv_and_folders(tmp_path: Path) -> None:
    (tmp_path / "records.csv").write_bytes(b"text\nfine\nnul \x00 inside\n")
    refused(tmp_path / "records.csv")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_bytes(b"nul \x00 inside")
    assert "NUL" in refused(tmp_path / "folder").message


@pytest.mark.parametrize("value", ["2.5", 2.5, 0, -1, "many", "", None, True, [2], "1e3", "1_0", " 2", 1e999, 2**31])
def test_copies_that_are_not_whole_numbers(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    content = json.dumps({"text": "a", "n": value}).replace("Infinity", "1e999")
    path.write_text(content + "\n")
    error = refused(path, copies="n")
    assert error.message.startswith(f"{path}:1: copies '")


@pytest.mark.parametrize(("value", "copies"), [(1, 1), ("12", 12), (3.0, 3), ("4.0", 4), (2**31 - 1, 2**31 - 1)])
def test_copies_that_are(value: Any, copies: int, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "records.jsonl", [{"text": "a", "n": value}])
    assert whole(opened(path, copies="n"))[0].copies == copies


@pytest.mark.parametrize("role", ["id", "person", "document", "source"])
@pytest.mark.parametrize("value", [None, "", ["a"], {"a": 1}, "\ud800"])
def test_a_name_that_is_none(role: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"text": "a", "n": 1}\n' + json.dumps({"text": "b", "n": value}) + "\n")
    error = refused(path, **{role: "n"})
    assert error.message.startswith(f"{path}:2: the column 'n' ")


def test_an_id_that_is_a_whole_text(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "records.jsonl", [{"text": "word " * 60}])
    assert "longer than 256" in refused(path, id="text").message


def _csv_more_cells(path: Path) -> None:
    path.write_text("id,text\n1,one\n2,two, and a comma\n")


def _csv_open_quote(path: Path) -> None:
    path.write_text('id,text\n1,one\n2,"two\n')


def _csv_fewer_cells(path: Path) -> None:
    path.write_text("id,text\n1,one\n2\n")


def _csv_column_twice(path: Path) -> None:
    path.write_text("id,text,text\n1,one,other\n")


@pytest.mark.parametrize("damage", [_csv_more_cells, _csv_open_quote, _csv_fewer_cells, _csv_column_twice])
def test_csv_that_can_be_read_in_two_ways(damage: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "records.csv"
    damage(path)
    assert f"{path}:" in refused(path).message


@pytest.mark.parametrize(
    "harm", [lambda raw: raw[:-20], lambda raw: raw[:40] + b"\x00" * 40 + raw[80:], lambda raw: b"PAR1"]
)
def test_parquet_that_is_damaged(harm: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = write("parquet", tmp_path)
    path.write_bytes(harm(path.read_bytes()))
    refused(path)
