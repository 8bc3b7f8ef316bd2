"""The bytes of records, made for whole shards at once, against the words of docs/bundle.md written down value by value."""

from __future__ import annotations

import hashlib
import struct
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import IntegrityError
from auditor.evidence.merkle import leaf_hash, root
from auditor.evidence.records import leaf_hashes, observation_root, record_bytes

FORMS = {
    pa.int32(): "<i",
    pa.int64(): "<q",
    pa.float32(): "<f",
    pa.float64(): "<d",
    pa.bool_(): "<?",
    pa.uint32(): "<I",
}
WORDS = {
    pa.string(): st.text(max_size=9),
    pa.large_string(): st.text(max_size=9),
    pa.binary(): st.binary(max_size=9),
    pa.large_binary(): st.binary(max_size=9),
}
NUMBERS = {
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.uint32(): st.integers(0, 2**32 - 1),
}


def written_down(value, kind: pa.DataType) -> bytes:
    """Return a value as the page says."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return b"".join(written_down(item, kind.value_type) for item in value)
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else struct.pack(FORMS[kind], value)


def by_the_page(table: pa.Table) -> list[bytes]:
    records = []
    for row in table.to_pylist():
        parts = []
        for name in table.column_names:
            value = written_down(row[name], table.schema.field(name).type)
            parts += [struct.pack("<I", len(name.encode())), name.encode(), struct.pack("<I", len(value)), value]
        records.append(b"".join(parts))
    return records


@st.composite
def tables(draw):
    """Tables of any types that a record may have, in pieces, and cut out of longer ones."""
    rows = draw(st.integers(0, 6))
    names = draw(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=5, unique=True))
    columns = {}
    for name in names:
        kind = draw(st.sampled_from([*WORDS, *NUMBERS]))
        values = {**WORDS, **NUMBERS}[kind]
        if kind in NUMBERS and draw(st.booleans()):
            kind = draw(st.sampled_from([pa.list_, pa.large_list]))(kind)
            values = st.lists(values, max_size=4)
        columns[name] = pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), type=kind)
    table = pa.table(columns)
    cut = draw(st.integers(0, rows))
    return pa.concat_tables([table, table]).slice(cut, draw(st.integers(0, 2 * rows - cut)))


@given(tables())
@settings(derandomize=True, deadline=None, max_examples=300)
def test_records_are_written_as_the_page_says(table):
    expected = by_the_page(table)
    assert list(record_bytes(table)) == expected
    assert [one for many in leaf_hashes(table) for one in many] == [leaf_hash(content) for content in expected]


def test_more_records_than_are_joined_at_once(monkeypatch):
    monkeypatch.setattr("auditor.evidence.records._ROWS", 7)
    table = pa.table({"id": [f"r{row}" for row in range(40)], "loss": np.arange(40.0)})
    assert list(record_bytes(table)) == by_the_page(table)
    assert [len(many) for many in leaf_hashes(table)] == [7, 7, 7, 7, 7, 5]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None]),
        pa.array([1, None]),
        pa.array([1.0, None]),
        pa.array([[1], None]),
        pa.array([[1], [None]]),
        pa.array([["a"], ["b"]]),
        pa.array([{"a": 1}, {"a": 2}]),
        pa.array(["a", "b"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_what_no_record_holds_is_refused(column):
    """A missing value and one that is there must never give the same bytes."""
    with pytest.raises(IntegrityError, match="column 'x'"):
        list(record_bytes(pa.table({"x": column})))


def shards(folder, count: int) -> list[bytes]:
    folder.mkdir(parents=True)
    leaves = []
    for number in range(count):
        table = pa.table({"id": [f"{number}/{row}" for row in range(3)]})
        pq.write_table(table, folder / f"shard-{number:05d}.parquet")
        leaves += [leaf_hash(content) for content in by_the_page(table)]
    return leaves


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 17])
def test_shards_count_in_their_order_whoever_reads_first(tmp_path, count):
    leaves = shards(tmp_path / "o", count)
    assert observation_root(tmp_path / "o") == root(leaves)
    assert observation_root(tmp_path / "o", count) == root(leaves)


@pytest.mark.parametrize("broken", [0, 3, 8])
def test_a_broken_shard_is_named_and_no_thread_is_left(tmp_path, broken):
    shards(tmp_path / "o", 9)
    (tmp_path / "o" / f"shard-{broken:05d}.parquet").write_bytes(b"PAR1")
    before = threading.active_count()
    with pytest.raises(IntegrityError, match=f"shard-{broken:05d}"):
        observation_root(tmp_path / "o")
    assert threading.active_count() == before


def test_the_empty_root(tmp_path):
    (tmp_path / "o").mkdir()
    assert observation_root(tmp_path / "o") == hashlib.sha256(b"").hexdigest()
