"""Groups of similar sets against all pairs by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from auditor.statistics.minhash import BANDS, COMPARED, ROWS, jaccard, mixed, shingles, similar_groups

EXACT = settings(derandomize=True, deadline=None, max_examples=60)
SETS = st.sets(st.integers(0, 30), max_size=15)


def hashes(values):
    return np.array(sorted(values), dtype=np.uint64)


def brute(sets, least):
    pairs = [
        (a, b)
        for a, b in itertools.product(range(len(sets)), repeat=2)
        if len(sets[a] & sets[b]) >= least * len(sets[a] | sets[b])
    ]
    tied = coo_array((np.ones(len(pairs)), tuple(zip(*pairs, strict=True))), shape=(len(sets),) * 2)
    return connected_components(tied, directed=False)[1]


def same_partition(a, b):
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


@EXACT
@given(SETS, SETS)
def test_the_jaccard_index_is_that_of_sets(a, b):
    expected = len(a & b) / len(a | b) if a | b else 1.0
    assert jaccard(hashes(a), hashes(b)) == expected


@pytest.mark.parametrize("least", [0.8, 0.9, 1.0])
def test_groups_are_those_of_all_pairs(least):
    rng = np.random.default_rng(3)
    sets = []
    for _ in range(60):
        first = set(rng.integers(2**62, size=rng.integers(5, 60)).tolist())
        sets.append(first)
        for _ in range(rng.integers(0, 4)):
            drop = int(rng.integers(0, max(2, len(first) // 4)))
            kept = set(rng.permutation(sorted(sets[-1]))[drop:].tolist())
            sets.append(kept or first)
    found = similar_groups([hashes(values) for values in sets], least, np.random.default_rng(0))
    assert same_partition(found.tolist(), brute(sets, least).tolist())
    assert len(set(found.tolist())) < len(sets)
    firsts = [int(np.flatnonzero(found == group)[0]) for group in range(found.max() + 1)]
    assert firsts == sorted(firsts)  # numbered in the order of their first sets


def test_pairs_are_found_as_often_as_banding_says():
    """At a Jaccard index of one half a pair shares a band with probability 1 - (1 - 2^-5)^25 = 0.548."""
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(400):
        values = rng.integers(2**63, size=150, dtype=np.uint64)
        a, b = np.sort(values[:100]), np.sort(values[np.r_[0:50, 100:100]])
        groups = similar_groups([a, b], 0.5, rng)
        found += int(groups[0] == groups[1])
    expected = 1 - (1 - 0.5**ROWS) ** BANDS
    assert abs(found / 400 - expected) < 4 * np.sqrt(expected * (1 - expected) / 400)


def test_a_bucket_of_thousands_of_equal_sets_is_one_group_and_takes_no_time():
    one = hashes(range(20))
    assert set(similar_groups([one] * (40 * COMPARED), 0.8, np.random.default_rng(0)).tolist()) == {0}


def test_runs_are_the_runs_of_the_text():
    words = [f"w{number % 7}" for number in range(40)]
    codes = np.array([int(word[1:]) + 11 for word in words], dtype=np.uint64)
    for length in (1, 2, 5):
        runs = {tuple(words[place : place + length]) for place in range(len(words) - length + 1)}
        assert len(shingles(codes, length)) == len(runs)
    assert len(shingles(codes[:3], 5)) == 1
    assert not np.array_equal(shingles(codes[:2], 5), shingles(codes[:3], 5))
    assert len(shingles(codes[:0], 5)) == 0
    assert not np.array_equal(shingles(codes[:5], 5), shingles(codes[:5][::-1], 5))


def test_mixing_loses_nothing_and_empty_sets_are_equal():
    assert len(np.unique(mixed(np.arange(100_000, dtype=np.uint64)))) == 100_000
    empty = hashes([])
    assert similar_groups([empty, hashes([1]), empty], 0.8, np.random.default_rng(0)).tolist() == [0, 1, 0]
    assert similar_groups([], 0.8, np.random.default_rng(0)).tolist() == []


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="Jaccard"):
        similar_groups([], 0.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least 1"):
        shingles(hashes([1]), 0)
