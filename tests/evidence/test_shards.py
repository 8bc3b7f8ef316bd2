"""Shards appear whole or not at all, and their root binds every record."""

from __future__ import annotations

import errno
import hashlib
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditor.core.evidence import Column, Observation
from auditor.errors import IntegrityError, StorageError
from auditor.evidence.merkle import leaf_hash, root
from auditor.evidence.records import observation_root, record_bytes
from auditor.evidence.shards import ObservationWriter, storage_error, write_file
from auditor.evidence.table import ObservedTable, Ragged

OBSERVATION = Observation(
    observer="token-scores",
    observer_version=1,
    dataset="members",
    model_role="subject",
    model="0" * 64,
    data=("1" * 64,),
    parameters={"records": 3},
    seed=7,
)
COLUMNS = (
    Column(name="id", type="string", unit="none", meaning="id"),
    Column(name="tokens", type="int32", unit="tokens", meaning="length"),
    Column(name="logprob", type="list<float>", unit="nat", meaning="scores"),
    Column(name="text", type="string", unit="none", meaning="text", restricted=True),
)


def shard(start: int, rows: int) -> tuple[pa.Table, pa.Table]:
    scores = [np.arange(start + row, dtype=np.float32) for row in range(rows)]
    public = pa.table(
        {
            "id": [f"r{start + row}" for row in range(rows)],
            "tokens": pa.array([len(score) for score in scores], type=pa.int32()),
            "logprob": Ragged.of(scores, np.float32).to_arrow(),
        }
    )
    return public, pa.table({"text": [f"secret {start + row}" for row in range(rows)]})


def write(folder, key=b"k" * 32, sizes=(2, 1)):
    writer = ObservationWriter(folder, key)
    start = 0
    for number, rows in enumerate(sizes):
        public, restricted = shard(start, rows)
        writer.write(number, public, restricted, calls=1, tokens=rows * 10)
        start += rows
    return writer.finish(OBSERVATION, COLUMNS, len(sizes))


def test_what_was_written_is_read_back(tmp_path):
    record = write(tmp_path / "o")
    table = ObservedTable(tmp_path / "o")
    assert table.record == record
    assert (record.items, record.calls, record.tokens, record.shards) == (3, 2, 30, 2)
    assert list(table.column("id")) == ["r0", "r1", "r2"]
    rows = [
        row for part in table.shards("logprob") for row in (part["logprob"][i] for i in range(len(part["logprob"])))
    ]
    assert [list(row) for row in rows] == [[], [0.0], [0.0, 1.0]]
    assert "text" not in table.names
    with pytest.raises(TypeError, match="ragged"):
        table.column("logprob")


def test_the_leaf_is_the_documented_encoding():
    table = pa.table({"a": ["é"], "n": pa.array([258], type=pa.int32()), "v": [[True, False]]})
    expected = b"".join(
        struct.pack("<I", len(part)) + part
        for part in (b"a", "é".encode(), b"n", b"\x02\x01\x00\x00", b"v", b"\x01\x00")
    )
    assert next(record_bytes(table)) == expected


def test_the_root_does_not_depend_on_shard_boundaries(tmp_path):
    public, _ = shard(0, 5)
    for name, sizes in (("a", (5,)), ("b", (2, 3)), ("c", (1, 1, 1, 1, 1))):
        writer, start = ObservationWriter(tmp_path / name, b""), 0
        for number, rows in enumerate(sizes):
            writer.write(number, public.slice(start, rows), None, calls=0, tokens=0)
            start += rows
    roots = {observation_root(tmp_path / name) for name in "abc"}
    assert roots == {root([leaf_hash(content) for content in record_bytes(public)])}


def test_restricted_columns_lie_apart_and_are_bound(tmp_path):
    record = write(tmp_path / "o")
    public = pq.read_table(tmp_path / "o" / "shard-00000.parquet")
    assert "text" not in public.column_names
    assert "secret" not in (tmp_path / "o" / "shard-00000.parquet").read_bytes().decode("latin1")
    assert pq.read_table(tmp_path / "o" / "restricted" / "shard-00000.parquet").column("text").to_pylist() == [
        "secret 0",
        "secret 1",
    ]
    commitments = public.column("commitment").to_pylist()
    assert len(set(commitments)) == 2
    assert hashlib.sha256(b"secret 0").digest() not in commitments
    assert write(tmp_path / "p", key=b"other" * 8).merkle_root != record.merkle_root


def test_equal_work_gives_equal_bytes(tmp_path):
    write(tmp_path / "a" / "o")
    write(tmp_path / "b" / "o")
    for path in sorted((tmp_path / "a").rglob("*.parquet")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_a_draft_is_not_evidence(tmp_path):
    folder = tmp_path / "o"
    folder.mkdir()
    (folder / "shard-00000.parquet.draft").write_bytes(b"half")
    writer = ObservationWriter(folder, b"")
    assert not writer.has(0)
    assert not writer.finished
    with pytest.raises(IntegrityError, match=r"observation\.json"):
        ObservedTable(folder)


def test_a_restricted_file_without_its_public_one_does_not_count(tmp_path):
    writer = ObservationWriter(tmp_path / "o", b"")
    (tmp_path / "o" / "restricted").mkdir(parents=True)
    (tmp_path / "o" / "restricted" / "shard-00000.parquet").write_bytes(b"x")
    assert not writer.has(0)


@pytest.mark.parametrize(
    ("number", "word"), [(errno.ENOSPC, "space"), (errno.EROFS, "read-only"), (errno.EACCES, "--out")]
)
def test_storage_errors_say_what_to_do(tmp_path, number, word):
    assert word in storage_error(tmp_path, OSError(number, "x")).hint


def test_writing_below_a_file_is_a_storage_error(tmp_path):
    (tmp_path / "f").write_text("x")
    with pytest.raises(StorageError, match="cannot be written"):
        write_file(tmp_path / "f" / "g", b"x")


def test_a_damaged_shard_is_named(tmp_path):
    write(tmp_path / "o")
    (tmp_path / "o" / "shard-00001.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(IntegrityError, match="shard-00001"):
        list(ObservedTable(tmp_path / "o").shards("id"))
    with pytest.raises(IntegrityError, match="shard-00001"):
        observation_root(tmp_path / "o")


def test_the_digest_of_a_restricted_shard_cannot_be_tried(tmp_path):
    """A shard of one short text: whoever knows everything but the text and the key cannot find it by writing every candidate."""
    digests = []
    for key in (b"k" * 32, b"k" * 32, b"q" * 32):
        folder = tmp_path / f"{len(digests)}" / "o"
        writer = ObservationWriter(folder, key)
        writer.write(0, pa.table({"id": ["r0"]}), pa.table({"text": ["7 4 9 4 8 4"]}), calls=1, tokens=1)
        digests.append(hashlib.sha256((folder / "restricted" / "shard-00000.parquet").read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]
    plain = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"text": ["7 4 9 4 8 4"]}), plain, compression="zstd")
    assert hashlib.sha256(plain.read_bytes()).hexdigest() not in digests
