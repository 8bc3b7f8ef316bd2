"""How much two sequences of tokens or words have in common, exactly, and scores made of it.

Every function takes sequences of anything that can be hashed: token ids, words, bytes. The distances keep one bit per
element of the shorter sequence in a whole number, so that a column of the usual table costs a few operations.
"""

from __future__ import annotations

import math
from collections import Counter
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence


def _places(pattern: Sequence[Hashable]) -> dict[Hashable, int]:
    """Return, for each element, a whole number with a bit at each of its places."""
    places: dict[Hashable, int] = {}
    for place, element in enumerate(pattern):
        places[element] = places.get(element, 0) | 1 << place
    return places


def edit_distance(a: Sequence[Hashable], b: Sequence[Hashable], most: int | None = None) -> int:
    """The result is the smallest number of insertions, deletions and replacements that make one sequence the other.

    Args:
        a: One sequence.
        b: The other.
        most: Distances above this need not be told apart: the search ends as soon as it is certain.

    Returns:
        The distance in elements; `most` + 1 for every distance above `most`.

    Raises:
        ValueError: If `most` is negative.

    Source:
        Levenshtein (1966); bit-parallel columns Myers (1999), J. ACM 46:395, in the form of Hyyro (2003).
    """
    if most is not None and most < 0:
        msg = f"most is {most}: give a distance of at least 0"
        raise ValueError(msg)
    first, last = 0, 0
    shorter = min(len(a), len(b))
    while first < shorter and a[first] == b[first]:
        first += 1
    while last < shorter - first and a[-1 - last] == b[-1 - last]:
        last += 1
    a, b = a[first : len(a) - last], b[first : len(b) - last]
    pattern, text = (a, b) if len(a) <= len(b) else (b, a)
    limit = len(text) if most is None else most
    if not pattern or len(text) - len(pattern) > limit:
        return min(len(text), limit + 1)
    places = _places(pattern)
    ones, top = (1 << len(pattern)) - 1, 1 << (len(pattern) - 1)
    plus, minus, score = ones, 0, len(pattern)
    for done, element in enumerate(text, start=1):
        same = places.get(element, 0)
        diagonal = (((same & plus) + plus) ^ plus) | same | minus
        up, down = minus | ~(diagonal | plus) & ones, plus & diagonal
        score += (1 if up & top else 0) - (1 if down & top else 0)
        up, down = up << 1 | 1, down << 1
        plus, minus = (down | ~(diagonal | up)) & ones, up & diagonal & ones
        if score - (len(text) - done) > limit:
            return limit + 1
    return min(score, limit + 1)


def edit_similarity(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """The result is one minus the edit distance over the longer length: 1 for equal sequences, 0 for none in common.

    Args:
        a: One sequence.
        b: The other.

    Returns:
        0 to 1; 1 for two empty sequences.
    """
    longer = max(len(a), len(b))
    return 1.0 - edit_distance(a, b) / longer if longer else 1.0


def common_subsequence(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """The result is the length of the longest sequence that both hold in order, gaps allowed.

    Args:
        a: One sequence.
        b: The other.

    Returns:
        Elements, 0 to the shorter length.

    Source:
        Bit-parallel columns: Hyyro (2004), Bit-parallel LCS-length computation revisited.
    """
    pattern, text = (a, b) if len(a) <= len(b) else (b, a)
    places = _places(pattern)
    ones = (1 << len(pattern)) - 1
    open_places = ones
    for element in text:
        same = open_places & places.get(element, 0)
        open_places = ((open_places + same) | (open_places - same)) & ones
    return len(pattern) - open_places.bit_count()


def common_run(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """The result is the length of the longest run that stands in both without a gap.

    Args:
        a: One sequence.
        b: The other.

    Returns:
        Elements, 0 to the shorter length.
    """
    pattern, text = (a, b) if len(a) <= len(b) else (b, a)
    places = _places(pattern)
    # A run of length k ends where k matches stand one behind the other on a diagonal: shift, keep what goes on.
    columns = [places.get(element, 0) for element in text]
    longest = 0
    while any(columns):
        longest += 1
        columns = [
            (before << 1) & now
            for before, now in zip(columns, (places.get(e, 0) for e in text[longest:]), strict=False)
        ]
    return longest


class Overlap(NamedTuple):
    """Precision, recall and their harmonic mean."""

    precision: float
    """Share of what was said that is common."""
    recall: float
    """Share of the reference that is common."""
    f: float


def rouge_l(reference: Sequence[Hashable], said: Sequence[Hashable]) -> Overlap:
    """The result says how much of the reference was said in order, gaps allowed.

    Args:
        reference: What is true.
        said: What was said.

    Returns:
        Longest common subsequence over each length, and their harmonic mean; zeros where one is empty.

    Source:
        Lin (2004), ROUGE, section 3.1 with beta = 1.
    """
    common = common_subsequence(reference, said)
    if not common:
        return Overlap(0.0, 0.0, 0.0)
    precision, recall = common / len(said), common / len(reference)
    return Overlap(precision, recall, 2.0 * precision * recall / (precision + recall))


def bleu(reference: Sequence[Hashable], said: Sequence[Hashable], longest: int = 4) -> float:
    """The result is the geometric mean of n-gram precisions, n = 1 to `longest`, less a penalty for saying too little.

    Args:
        reference: What is true.
        said: What was said.
        longest: Longest n-gram, at least 1.

    Returns:
        0 to 1. Precisions of n > 1 have one added above and below, so that a short text without a common n-gram is not 0; a
        text without a common element is.

    Raises:
        ValueError: If `longest` is below 1.

    Source:
        Papineni et al. (2002), BLEU; smoothing Lin & Och (2004), ORANGE (method 2 of Chen & Cherry 2014).
    """
    if longest < 1:
        msg = f"longest is {longest}: give an n-gram of at least 1 element"
        raise ValueError(msg)
    total = 0.0
    for n in range(1, longest + 1):
        ours, theirs = _grams(said, n), _grams(reference, n)
        common = (ours & theirs).total()
        if n == 1 and not common:
            return 0.0
        # A text shorter than n has no n-gram: counted as one of none, as the usual implementations do.
        counted = max(1, ours.total())
        total += math.log(common / counted) if n == 1 else math.log((common + 1) / (counted + 1))
    penalty = 0.0 if len(said) > len(reference) else 1.0 - len(reference) / len(said)
    return math.exp(penalty + total / longest)


def _grams(sequence: Sequence[Hashable], n: int) -> Counter[tuple[Hashable, ...]]:
    return Counter(tuple(sequence[start : start + n]) for start in range(len(sequence) - n + 1))


class Block(NamedTuple):
    """A passage of the reference that was said nearly word for word."""

    start: int
    """First element in the reference."""
    stop: int
    """One past the last element in the reference."""
    said_start: int
    said_stop: int
    matched: int
    """Elements that are equal in both."""


FIRST_PASS = (2, 1, 20)
"""Largest gap, largest shift and fewest matched words of the first pass of near-verbatim blocks."""
SECOND_PASS = (10, 3, 100)
"""The same of the second pass."""


def near_verbatim_blocks(
    reference: Sequence[Hashable],
    said: Sequence[Hashable],
    passes: Sequence[tuple[int, int, int]] = (FIRST_PASS, SECOND_PASS),
) -> list[Block]:
    """The result lists the long passages of the reference that were said in order and nearly word for word.

    Runs in common are found one after the other; neighbours with a small gap are joined, short ones dropped, and the
    same again with wider limits. The matched elements of all blocks over the length of the reference are its
    near-verbatim recall.

    Args:
        reference: The work, as words.
        said: What was said, as words.
        passes: For each pass the largest gap in either text, the most elements by which the gap of the reference may be
            longer than that of what was said, and the fewest matched elements of a block that is kept.

    Returns:
        Blocks in order, disjoint in both texts.

    Source:
        Ahmed, Cooper, Koyejo, Liang (2026), arXiv 2601.02671; words that were added count as a gap and not as a shift.
    """
    matcher = SequenceMatcher(None, reference, said, autojunk=False)
    blocks = [
        Block(match.a, match.a + match.size, match.b, match.b + match.size, match.size)
        for match in matcher.get_matching_blocks()
        if match.size
    ]
    for gap, shift, fewest in passes:
        joined: list[Block] = []
        for block in blocks:
            before = joined[-1] if joined else None
            if before is not None:
                left_out, added = block.start - before.stop, block.said_start - before.said_stop
                if max(left_out, added) <= gap and left_out - added <= shift:
                    joined[-1] = Block(
                        before.start, block.stop, before.said_start, block.said_stop, before.matched + block.matched
                    )
                    continue
            joined.append(block)
        blocks = [block for block in joined if block.matched >= fewest]
    return blocks
