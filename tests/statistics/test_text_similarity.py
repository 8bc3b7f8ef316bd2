"""Distances and overlaps against the table that defines them, and against values of other libraries."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.statistics.text_similarity import (
    bleu,
    common_run,
    common_subsequence,
    edit_distance,
    edit_similarity,
    near_verbatim_blocks,
    rouge_l,
)

SEQUENCES = st.lists(st.integers(0, 3), max_size=24)
CAT = ["the", "cat", "sat", "on", "the", "mat", "and", "looked", "at", "the", "dog"]
LONG = st.lists(st.integers(0, 2), min_size=60, max_size=140)


def table(a, b):
    """Levenshtein distance, longest common subsequence and longest common run, cell by cell."""
    distance = [[max(i, j) if not i or not j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    common = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    run = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a, start=1):
        for j, y in enumerate(b, start=1):
            best = min(distance[i - 1][j], distance[i][j - 1]) + 1
            distance[i][j] = min(best, distance[i - 1][j - 1] + (x != y))
            common[i][j] = common[i - 1][j - 1] + 1 if x == y else max(common[i - 1][j], common[i][j - 1])
            run[i][j] = run[i - 1][j - 1] + 1 if x == y else 0
    return distance[-1][-1], common[-1][-1], max(max(row) for row in run)


@given(SEQUENCES, SEQUENCES)
@settings(derandomize=True, deadline=None, max_examples=300)
def test_equal_to_the_table(a, b):
    distance, common, run = table(a, b)
    assert edit_distance(a, b) == distance
    assert common_subsequence(a, b) == common
    assert common_run(a, b) == run


@given(LONG, LONG)
@settings(derandomize=True, deadline=None, max_examples=15)
def test_equal_to_the_table_beyond_one_machine_word(a, b):
    assert (edit_distance(a, b), common_subsequence(a, b), common_run(a, b)) == table(a, b)


@given(SEQUENCES, SEQUENCES, st.integers(0, 30))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_a_limit_changes_no_distance_within_it(a, b, most):
    true = table(a, b)[0]
    assert edit_distance(a, b, most) == min(true, most + 1)


@given(SEQUENCES, SEQUENCES, SEQUENCES)
@settings(derandomize=True, deadline=None)
def test_the_distance_is_a_metric(a, b, c):
    assert edit_distance(a, a) == 0
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert (edit_distance(a, b) == 0) == (a == b)


@given(st.lists(st.integers(0, 40), max_size=200), st.lists(st.integers(0, 40), max_size=200))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_equal_to_rapidfuzz(a, b):
    rapidfuzz = pytest.importorskip("rapidfuzz")
    assert edit_distance(a, b) == rapidfuzz.distance.Levenshtein.distance(a, b)
    assert edit_similarity(a, b) == pytest.approx(rapidfuzz.distance.Levenshtein.normalized_similarity(a, b))
    assert common_subsequence(a, b) == rapidfuzz.distance.LCSseq.similarity(a, b)


def test_known_words():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    assert edit_distance("abc", "abd", 0) == 1
    assert edit_similarity("", "") == 1.0
    assert edit_similarity("abcd", "abxd") == 0.75
    assert common_subsequence("ABCBDAB", "BDCABA") == 4
    assert common_run("xabcdy", "zabcdw") == 4
    with pytest.raises(ValueError, match="at least 0"):
        edit_distance("a", "b", -1)


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("the cat sat on the mat and looked at the dog", 1.0),
        ("the cat sat on a mat and looked at a dog", 0.5427514372665473),
        ("dog the at looked and mat the on sat cat the", 0.17827531042796255),
        ("the the the the", 0.07306294305599051),
        ("the cat", 0.007855246784369017),
        ("a cat sat on the mat and it looked at the big dog too", 0.5005876601718166),
        ("zebra", 0.0),
    ],
)
def test_bleu_is_that_of_nltk(said, score):
    """`nltk` 3.10.4, sentence_bleu with SmoothingFunction().method2."""
    assert bleu(
        ["the", "cat", "sat", "on", "the", "mat", "and", "looked", "at", "the", "dog"], said.split()
    ) == pytest.approx(score, abs=1e-12)


@given(SEQUENCES, SEQUENCES)
@settings(derandomize=True, deadline=None)
def test_overlaps_lie_between_nothing_and_all(a, b):
    assert 0.0 <= bleu(a, b) <= 1.0
    if len(a) >= 4:
        assert bleu(a, a) == pytest.approx(1.0)
    found = rouge_l(a, b)
    assert rouge_l(b, a) == pytest.approx((found.recall, found.precision, found.f))
    assert common_run(a, b) <= common_subsequence(a, b) <= len(a) + len(b) - edit_distance(a, b)


def test_rouge_of_the_paper():
    """Lin (2004), section 3.1: S2 shares 3 of 4 words in order with the reference, S3 shares 2."""
    reference = ["police", "killed", "the", "gunman"]
    assert rouge_l(reference, ["police", "kill", "the", "gunman"]).f == pytest.approx(0.75)
    assert rouge_l(reference, ["the", "gunman", "kill", "police"]).f == pytest.approx(0.5)
    assert rouge_l(reference, []) == (0.0, 0.0, 0.0)


def words(first, last):
    return [f"w{number}" for number in range(first, last)]


def test_words_that_were_added_are_bridged():
    said = words(0, 60) + ["x"] * 5 + words(60, 120) + ["y"] * 5 + words(120, 150)
    (block,) = near_verbatim_blocks(words(0, 150), said)
    assert block == (0, 150, 0, 160, 150)
    assert len(said) - block.matched == 10


def test_words_that_were_left_out_are_not():
    blocks = near_verbatim_blocks(words(0, 150), words(0, 60) + words(65, 150), ((2, 1, 1), (10, 3, 1)))
    assert [block.matched for block in blocks] == [60, 85]


@given(st.lists(st.integers(0, 5), max_size=60), st.lists(st.integers(0, 5), max_size=60))
@settings(derandomize=True, deadline=None)
def test_blocks_are_in_order_and_apart(reference, said):
    blocks = near_verbatim_blocks(reference, said, ((2, 1, 1), (4, 2, 2)))
    for before, after in itertools.pairwise(blocks):
        assert before.stop <= after.start
        assert before.said_stop <= after.said_start
    for block in blocks:
        assert block.matched <= common_subsequence(
            reference[block.start : block.stop], said[block.said_start : block.said_stop]
        )
    assert not math.isnan(sum(block.matched for block in blocks))
