"""The index on disk against the one in memory, place by place, and against brute force."""

import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
from test_corpus_index import check

from auditor.errors import DataError, StorageError, UnsupportedError
from auditor.observers.corpora import corpus_of
from auditor.subjects import corpus_index, infini_gram_index
from auditor.subjects.corpus_index import CorpusIndex
from auditor.subjects.data import DataRecord
from auditor.subjects.infini_gram_index import index_of_tokens, index_on_disk
from auditor.testing.control_model import ControlModel, speak, vocabulary


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """infini-gram, and a temporary folder to look into."""
    pytest.importorskip("infini_gram", reason="the extra [infini-gram] is not installed")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def row(*ids):
    return np.array(ids, dtype=np.int32)


def same(disk, memory):
    assert isinstance(disk.order, np.memmap)
    assert not isinstance(memory.order, np.memmap)
    assert np.array_equal(disk.order, memory.order)
    assert np.array_equal(disk.text, memory.text)
    assert np.array_equal(disk.starts, memory.starts)
    assert np.array_equal(disk.buckets, memory.buckets)
    assert (disk.documents, disk.symbols) == (memory.documents, memory.symbols)


@pytest.mark.parametrize("ids", [3, 255, 256, 300, 65_535, 65_536, 70_000, 2**24 - 1])
def test_random_tokens_equal_the_index_in_memory_and_brute_force(installed, ids):
    rng = np.random.default_rng(ids)
    # Few ids, which lie far apart and at both ends, so that all their bytes matter.
    some = np.unique([0, 1, min(255, ids - 1), ids // 2, ids - 1])
    documents = [rng.choice(some, size=rng.integers(25)) for _ in range(12)]
    documents += [row(), np.repeat(some[-1:], 40), documents[0], row()]
    index = index_on_disk(iter(documents), ids)
    same(index, CorpusIndex.of_tokens(documents, ids))
    queries = [rng.choice(some, size=n) for n in (0, 1, 30)]
    queries += [np.repeat(some[-1:], 60), np.concatenate([documents[0], documents[1]])]
    queries += [np.concatenate([documents[2], [alien], documents[3]]) for alien in (ids, 2**24, 2**31 - 1, -1, -2)]
    check(index, documents, queries)


@pytest.mark.parametrize("ids", [200, 400, 90_000])
def test_parts_that_several_processes_sort_are_in_one_order(installed, monkeypatch, ids):
    # Parts longer than the bytes they share, with long repeats over their borders.
    monkeypatch.setattr(infini_gram_index, "LEAST_OF_A_PROCESS", 150_000)
    rng = np.random.default_rng(5)
    shared = rng.integers(ids, size=3000)
    documents = [np.concatenate([rng.integers(ids, size=30_000), shared]) for _ in range(3 if ids > 2**16 else 10)]
    same(index_on_disk(documents, ids, 2), CorpusIndex.of_tokens(documents, ids))


@pytest.mark.parametrize("documents", [[], [row()], [row(), row()], [row(2)], [row(), row(2), row()]])
def test_corpora_with_next_to_nothing(installed, documents):
    index = index_on_disk(documents, 4)
    assert index.order.tolist() == CorpusIndex.of_tokens(documents, 4).order.tolist()
    check(index, documents, [row(), row(2), row(2, 2, 1)])
    assert index.longest([]) == []


def test_nothing_is_left_of_an_index_or_an_error(installed):
    index = index_on_disk([row(1, 2, 3)], 5)
    assert list(installed.iterdir()) == []
    assert index.longest([row(2, 3)])[0].length.tolist() == [2, 1]
    for wrong in (row(5), row(-1)):
        with pytest.raises(DataError, match=r"document 1 .* outside the vocabulary of 5"):
            index_on_disk([row(0), wrong], 5)
    assert list(installed.iterdir()) == []


def test_what_cannot_be_built_is_said(installed, monkeypatch):
    def refused(error, match):
        with pytest.raises(error, match=match) as told:
            index_on_disk([row(1, 2, 3)], 5)
        assert "TMPDIR" in str(told.value.hint)

    with monkeypatch.context() as patch:
        patch.setattr(infini_gram_index.shutil, "disk_usage", lambda _: SimpleNamespace(free=91))
        refused(StorageError, "takes 92 bytes")
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(installed / "missing"))
        refused(StorageError, "cannot be written")
    (installed / "a b").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(installed / "a b"))
        refused(UnsupportedError, "take the path apart")
    with monkeypatch.context() as patch:
        patch.setattr(infini_gram_index.sys, "executable", "/bin/false")
        refused(UnsupportedError, "ended with 1 .* it said: nothing")
    with pytest.raises(UnsupportedError, match="vocabulary of 16,777,216"):
        index_on_disk([], 2**24)


def test_parts_too_small_for_the_indexer_are_noticed(installed, monkeypatch):
    monkeypatch.setattr(infini_gram_index, "LEAST_OF_A_PROCESS", 10)
    documents = [np.random.default_rng(1).integers(4, size=30_000)]
    with pytest.raises(UnsupportedError, match="places of this corpus; it has 30,001"):
        index_on_disk(documents, 4, 2)


def test_a_corpus_that_does_not_fit_is_indexed_on_disk(installed, monkeypatch):
    rng = np.random.default_rng(3)
    documents = [rng.integers(6, size=30) for _ in range(20)]
    monkeypatch.setattr(corpus_index, "MOST_BYTES", 20 * 31)
    memory = index_of_tokens(iter(documents), 6)
    monkeypatch.setattr(corpus_index, "MOST_BYTES", 20 * 31 - 1)
    same(index_of_tokens(iter(documents), 6), memory)


def test_observers_find_the_same_in_either(installed, monkeypatch):
    rng = np.random.default_rng(8)
    said = [" ".join(vocabulary()[word] for word in speak(rng, 90)) for _ in range(40)]
    records = [DataRecord(f"m{n}", text, f"p{n // 2}") for n, text in enumerate([*said[:30], *said[:4]])]
    model = ControlModel(())
    memory = corpus_of(iter(records), model)
    monkeypatch.setattr(corpus_index, "MOST_BYTES", 1000)
    disk = corpus_of(iter(records), model)
    same(disk.index, memory.index)
    assert disk.ids.tolist() == memory.ids.tolist() == [record.id for record in records]
    assert disk.names[disk.units].tolist() == memory.names[memory.units].tolist()
    queries = model.encode([*said[28:], said[1]])
    for ours, theirs in zip(disk.match(queries, 20), memory.match(queries, 20), strict=True):
        assert ours.length.tolist() == theirs.length.tolist()
        assert ours[1:] == theirs[1:]
    assert disk.match(queries[-1:], 20)[0].documents == [2]


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(infini_gram_index, "find_spec", lambda _: None)
    monkeypatch.setattr(corpus_index, "MOST_BYTES", 10)
    assert index_of_tokens([row(1, 2)], 5).symbols == 2
    with pytest.raises(UnsupportedError, match="infini-gram is not installed") as told:
        index_of_tokens([row(*range(5)), row(*range(5))], 5)
    assert "memorization-auditor[infini-gram]" in str(told.value.hint)
