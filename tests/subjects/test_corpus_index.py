"""The index of a corpus against brute force: every longest match, every count, every division of documents."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import DataError, UnsupportedError
from auditor.subjects import corpus_index
from auditor.subjects.corpus_index import CorpusIndex, covered, doubled_order, spans, suffix_order

BY_BYTES = st.lists(st.text(alphabet="abé", min_size=0, max_size=14), min_size=1, max_size=8)
VOCABULARIES = st.sampled_from([4, 300, 70_000])


@st.composite
def token_corpora(draw):
    """Documents and queries over few ids, which lie far apart, so that all their bytes matter."""
    vocabulary = draw(VOCABULARIES)
    ids = [0, 1, vocabulary // 2, vocabulary - 1]
    sequence = st.lists(st.sampled_from(ids), max_size=14).map(lambda row: np.array(row, dtype=np.int32))
    return vocabulary, draw(st.lists(sequence, min_size=1, max_size=8)), draw(st.lists(sequence, max_size=4))


def brute_longest(documents, query, start):
    """The longest beginning of the rest of the query that stands in one document."""
    rest = list(query[start:])
    for length in range(len(rest), 0, -1):
        for document in documents:
            if any(list(document[i : i + length]) == rest[:length] for i in range(len(document) - length + 1)):
                return length
    return 0


def check(index, documents, queries):
    for query, found in zip(queries, index.longest(queries), strict=True):
        assert len(found.length) == len(query)
        for start, (length, place) in enumerate(zip(*found, strict=True)):
            assert length == brute_longest(documents, query, start)
            assert (place < 0) == (length == 0)
            if length:
                document = int(index.document_of(np.array([place]))[0])
                inside = int(place - index.starts[document])
                assert list(documents[document][inside : inside + length]) == list(query[start : start + length])
        # What matches from one symbol on also matches from the next on, but for its first symbol.
        assert (found.length[1:] >= found.length[:-1] - 1).all()


@given(token_corpora())
@settings(derandomize=True, deadline=None, max_examples=150)
def test_tokens_equal_brute_force(corpus):
    vocabulary, documents, queries = corpus
    index = CorpusIndex.of_tokens(documents, vocabulary)
    assert index.documents == len(documents)
    assert index.symbols == sum(map(len, documents))
    check(index, documents, queries)


@given(BY_BYTES, st.lists(st.text(alphabet="abéx\0", max_size=14), max_size=4))
@settings(derandomize=True, deadline=None, max_examples=150)
def test_bytes_equal_brute_force(documents, queries):
    index = CorpusIndex.of_texts(documents)
    check(index, [document.encode() for document in documents], [np.frombuffer(q.encode(), np.uint8) for q in queries])


@given(token_corpora(), st.data())
@settings(derandomize=True, deadline=None, max_examples=100)
def test_counts_equal_brute_force(corpus, data):
    vocabulary, documents, queries = corpus
    index = CorpusIndex.of_tokens(documents, vocabulary)
    pool = [list(row) for row in [*documents, *queries] if len(row)]
    asked = []
    for _ in range(3 if pool else 0):
        row = data.draw(st.sampled_from(pool))
        start = data.draw(st.integers(0, len(row) - 1))
        asked.append(np.array(row[start : data.draw(st.integers(start + 1, len(row)))]))
    for run, (first, last) in zip(asked, index.occurrences(asked), strict=True):
        places = [
            int(start + i)
            for start, document in zip(index.starts, documents, strict=True)
            for i in range(len(document) - len(run) + 1)
            if list(document[i : i + len(run)]) == list(run)
        ]
        assert sorted(index.order[first:last].tolist()) == places


@given(BY_BYTES, st.text(alphabet="abéx", min_size=1, max_size=5))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_counts_of_bytes_equal_brute_force(documents, run):
    index = CorpusIndex.of_texts(documents)
    run = run.encode()
    ((first, last),) = index.occurrences([np.frombuffer(run, np.uint8)])
    encoded = [document.encode() for document in documents]
    assert last - first == sum(d[i : i + len(run)] == run for d in encoded for i in range(len(d)))


@given(st.lists(st.integers(0, 3), max_size=80), st.sampled_from([1, 2, 3]))
@settings(derandomize=True, deadline=None, max_examples=150)
def test_both_ways_to_sort_give_the_order_of_the_suffixes(symbols, width):
    kind = {1: np.uint8, 2: np.uint16, 3: np.uint32}[width]
    text = np.array([symbol * (1 << 8 * (width - 1)) for symbol in symbols], dtype=kind)
    true = sorted(range(len(text)), key=lambda place: text[place:].tolist())
    assert suffix_order(text, width).tolist() == true
    if len(text):
        assert doubled_order(text).tolist() == true


def planted(length, rng, vocabulary=5000):
    corpus = [rng.integers(vocabulary, size=400) for _ in range(50)]
    said = rng.integers(vocabulary, size=300)
    said[100 : 100 + length] = corpus[17][200 : 200 + length]
    said[99], said[100 + length] = (corpus[17][199] + 1) % vocabulary, (corpus[17][200 + length] + 1) % vocabulary
    return corpus, said


@pytest.mark.parametrize("length", [49, 50, 51])
def test_a_copy_is_measured_to_the_token(length):
    corpus, said = planted(length, np.random.default_rng(length))
    index = CorpusIndex.of_tokens(corpus, 5000)
    (found,) = index.longest([said])
    assert found.length.max() == length
    assert int(found.length.argmax()) == 100
    assert index.document_of(found.place[[100]])[0] == 17
    assert [tuple(span) for span in spans(found.length, 50)] == ([(100, length)] if length >= 50 else [])
    assert covered(found.length, 50) == (length if length >= 50 else 0)


def test_a_copy_over_the_end_of_a_document_is_none():
    rng = np.random.default_rng(1)
    corpus = [rng.integers(900, size=60), rng.integers(900, size=60)]
    (found,) = CorpusIndex.of_tokens(corpus, 900).longest([np.concatenate([corpus[0][30:], corpus[1][:30]])])
    assert found.length.max() == 30


def test_a_copy_at_the_very_end():
    corpus = [np.arange(100), np.arange(200, 300)]
    (found,) = CorpusIndex.of_tokens(corpus, 300).longest([np.array([*range(240, 300), 5])])
    assert found.length[0] == 60


def test_repetition_is_searched_to_its_end():
    index = CorpusIndex.of_texts(["a" * 5000, "b" + "a" * 3000])
    found, other = index.longest([np.frombuffer(b"a" * 4000, np.uint8), np.frombuffer(b"ba" + b"a" * 6000, np.uint8)])
    assert found.length.tolist() == list(range(4000, 0, -1))
    assert other.length[0] == 3001
    ((first, last),) = index.occurrences([np.frombuffer(b"aaaa", np.uint8)])
    assert last - first == 4997 + 2997


def test_nothing_asked_and_nothing_indexed():
    index = CorpusIndex.of_tokens([np.array([1, 2])], 5)
    assert index.longest([]) == []
    assert index.longest([np.array([], dtype=np.int32)])[0].length.tolist() == []
    empty = CorpusIndex.of_tokens([], 5)
    assert empty.longest([np.array([1, 2])])[0].length.tolist() == [0, 0]
    assert CorpusIndex.of_tokens([np.array([], dtype=np.int32)], 5).longest([np.array([1])])[0].length.tolist() == [0]
    assert index.occurrences([]).shape == (0, 2)


def test_a_token_that_no_document_can_hold_ends_a_match():
    index = CorpusIndex.of_tokens([np.array([1, 2, 3, 4])], 5)
    assert index.longest([np.array([1, 2, 99, 3, -1, 4])])[0].length.tolist() == [2, 1, 0, 1, 0, 1]


def test_what_is_no_text_is_refused():
    with pytest.raises(DataError, match="NUL"):
        CorpusIndex.of_texts(["a", "b\0c"])
    with pytest.raises(DataError, match=r"document 1 .* outside"):
        CorpusIndex.of_tokens([np.array([0]), np.array([5])], 5)
    with pytest.raises(UnsupportedError, match="vocabulary"):
        CorpusIndex.of_tokens([], 2**24)


def test_a_corpus_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(corpus_index, "MOST_BYTES", 100)
    with pytest.raises(UnsupportedError, match="one index holds"):
        CorpusIndex.of_texts(["a" * 100])


def test_without_the_library_small_corpora_are_sorted_all_the_same(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydivsufsort", None)
    rng = np.random.default_rng(3)
    documents = [rng.integers(3, size=40) for _ in range(5)]
    check(CorpusIndex.of_tokens(documents, 3), documents, [rng.integers(3, size=20)])
    monkeypatch.setattr(corpus_index, "WITHOUT_LIBRARY", 10)
    with pytest.raises(UnsupportedError, match="not installed") as refused:
        CorpusIndex.of_tokens(documents, 3)
    assert "[corpus]" in refused.value.hint


@given(st.lists(st.integers(0, 6), max_size=30))
@settings(derandomize=True, deadline=None)
def test_spans_are_apart_and_inside_what_is_covered(lengths):
    length = np.array(lengths, dtype=np.int64)
    for place in range(len(length) - 2, -1, -1):  # as matches are: from the next position on at most one less
        length[place] = min(length[place], length[place + 1] + 1)
    if len(length):
        length[-1] = min(length[-1], 1)
        for place in range(len(length) - 2, -1, -1):
            length[place] = min(length[place], length[place + 1] + 1)
    found = spans(length, 2)
    positions = [place for span in found for place in range(span.start, span.start + span.length)]
    assert len(positions) == len(set(positions)) <= covered(length, 2)
    inside = {p for i, n in enumerate(length.tolist()) if n >= 2 for p in range(i, i + n)}
    assert covered(length, 2) == len(inside)
    assert bool(found) == bool((length >= 2).any())
    assert max((span.length for span in found), default=0) == (length.max() if (length >= 2).any() else 0)
