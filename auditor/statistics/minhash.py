"""Finds sets that have most elements in common among many, without comparing every two.

Sets are arrays of 64-bit numbers, hashes of what they stand for. Sets whose MinHash signatures agree in a whole band are
candidates; what counts is decided by their exact Jaccard index. So what is found is true, and what is missed can be computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Hashes = NDArray[np.uint64]

BANDS, ROWS = 25, 5
"""Bands of the signature and minima in each: two sets of Jaccard index 0.8 share no band once in 20,000 times."""
COMPARED = 64
"""Members of a band's bucket that each later one is compared with: time stays linear in huge buckets."""
STRETCH = 1024
"""Elements that are hashed at once: memory stays bounded in long records."""
_ODD = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mixed(values: Hashes) -> Hashes:
    """The result is a bijection of 64-bit numbers whose every bit depends on every bit.

    Args:
        values: Numbers, any shape.

    Returns:
        Same shape.

    Source:
        Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators: the finalizer of SplitMix64.
    """
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))


def shingles(tokens: Hashes, length: int) -> Hashes:
    """The result is the set of hashes of all runs of tokens; a shorter sequence is one run.

    Args:
        tokens: Hash of each token, shape [tokens].
        length: Tokens in a run.

    Returns:
        Ascending and without repeats, shape [runs]; empty for no tokens.

    Raises:
        ValueError: If the length is not positive.

    Source:
        Broder (1997), On the resemblance and containment of documents.
    """
    if length < 1:
        msg = f"a run has {length} tokens: give at least 1"
        raise ValueError(msg)
    width = min(length, len(tokens))
    if not width:
        return tokens[:0]
    rolling = np.full(len(tokens) - width + 1, np.uint64(width))
    for place in range(width):
        rolling = mixed(rolling * _ODD + tokens[place : place + len(rolling)])
    return np.unique(rolling)


def jaccard(a: Hashes, b: Hashes) -> float:
    """The result is the number of elements in both sets over the number in either: 1 for equal sets.

    Args:
        a: Elements without repeats, shape [n].
        b: Elements without repeats, shape [m].

    Returns:
        0 to 1; 1 for two empty sets.

    Source:
        Jaccard (1901).
    """
    both = len(np.intersect1d(a, b, assume_unique=True))
    either = len(a) + len(b) - both
    return both / either if either else 1.0


def similar_groups(sets: Sequence[Hashes], least: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """The result puts two sets into one group if a chain of sets, each similar to the next, leads from one to the other.

    Args:
        sets: The sets, each without repeats.
        least: Least Jaccard index of similar sets, above 0 and at most 1.
        rng: Decides the hash functions.

    Returns:
        Number of the group of each set, from 0 in the order of their first sets, shape [sets].

    Raises:
        ValueError: If `least` is out of range.

    Source:
        Broder (1997) for MinHash; Indyk & Motwani (1998), STOC, for banding; Dietzfelbinger et al. (1997), J. Algorithms
        25:19, for the hash functions (multiply, then the high half).
    """
    if not 0.0 < least <= 1.0:
        msg = f"least is {least}: give a Jaccard index above 0 and at most 1"
        raise ValueError(msg)
    factors = rng.integers(2**63, size=BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    bands = np.array([_bands(values, factors) for values in sets], dtype=np.uint64).reshape(len(sets), BANDS)
    parents = list(range(len(sets)))
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        ends = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, ends):
            if len(bucket) > 1:
                _unite(bucket.tolist(), sets, least, parents)
    roots = [_root(parents, place) for place in range(len(sets))]
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root, len(numbers)) for root in roots], dtype=np.int64)


def _bands(values: Hashes, factors: Hashes) -> Hashes:
    """Return one number for each band of the signature, shape [BANDS]; every empty set has the same."""
    if not len(values):
        return np.zeros(BANDS, dtype=np.uint64)
    minima = np.full(len(factors), np.iinfo(np.uint64).max)
    for start in range(0, len(values), STRETCH):
        hashed = mixed(values[start : start + STRETCH, None] * factors) >> np.uint64(32)
        np.minimum(minima, hashed.min(axis=0), out=minima)
    rolled = np.arange(1, BANDS + 1, dtype=np.uint64)
    for row in minima.reshape(BANDS, ROWS).T:
        rolled = mixed(rolled * _ODD + row)
    return rolled


def _unite(bucket: list[int], sets: Sequence[Hashes], least: float, parents: list[int]) -> None:
    for later, one in enumerate(bucket):
        first = _root(parents, one)
        for other in bucket[: min(later, COMPARED)]:
            if parents[other] == first or (second := _root(parents, other)) == first:
                continue
            if jaccard(sets[one], sets[other]) >= least:
                parents[max(first, second)] = min(first, second)
                first = min(first, second)


def _root(parents: list[int], place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place
