"""Finds the longest run of a query that stands word for word in a corpus, at every position of the query.

A suffix array holds where every suffix of the corpus begins, in the order of the suffixes. The longest match of a query
is one of the two suffixes it would stand between. Documents are divided by a symbol that no query holds, so a match
never reaches from one document into the next.

Memory: the symbols (1 byte of a text; 1, 2 or 3 bytes of a token, held as 1, 2 or 4) and 4 bytes for every symbol; while it
is built, 5 bytes for every byte of the symbols. 2^31 bytes of symbols are the most. `infini_gram_index` makes the same
index of a larger corpus on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from auditor.errors import DataError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

MOST_BYTES = 2**31 - 1
"""Bytes of symbols in one index."""
PADDING = 64
"""Symbols behind the text that may be read and never match."""
FIRST_STEP = 8
"""Symbols compared at once, doubled up to the padding."""
AT_ONCE = 1 << 15
"""Positions of queries searched together: what is read of them stays in the processor's cache."""
WITHOUT_LIBRARY = 4_000_000
"""Symbols that are sorted without pydivsufsort."""
BEFORE, BEHIND = -1, 2**31 - 1
"""Ends of a query: before every symbol of the corpus, behind every symbol."""
ORDERED_AT_ONCE = 1 << 22


class Matches(NamedTuple):
    """The longest match at each position of a query; both arrays have shape [positions]."""

    length: NDArray[np.int64]
    """Symbols, 0 where not even the first stands in the corpus."""
    place: NDArray[np.int64]
    """Where such a match begins in the corpus; -1 where the length is 0."""


@dataclass(frozen=True, slots=True)
class CorpusIndex:
    """A corpus whose suffixes are in order.

    Args:
        text: Symbols from 1, each document followed by 0, then `PADDING` zeros.
        order: Where each suffix begins, in the order of the suffixes, shape [symbols with separators].
        starts: Where each document begins, ascending, shape [documents].
        shift: What was added to the symbols of the documents: 1 for tokens, 0 for bytes.
        buckets: How many suffixes begin with a smaller first symbol (bytes: first two symbols), one past the last also.
    """

    text: NDArray[np.unsignedinteger]
    order: NDArray[np.signedinteger]
    starts: NDArray[np.int64]
    shift: int
    buckets: NDArray[np.int64]

    @classmethod
    def of_tokens(cls, documents: Iterable[NDArray[np.integer]], vocabulary: int) -> CorpusIndex:
        """Return the index of token ids.

        Args:
            documents: Ids of each document, 0 to `vocabulary` - 1.
            vocabulary: Number of ids there are.

        Raises:
            DataError: An id is outside the vocabulary.
            UnsupportedError: The corpus is too large for one index.
        """
        kind = np.uint8 if vocabulary < 2**8 else np.uint16 if vocabulary < 2**16 else np.uint32
        if vocabulary >= 2**24:
            msg = f"a vocabulary of {vocabulary:,} token ids is larger than the index can hold"
            raise UnsupportedError(msg, hint="Index the bytes of the texts.")
        parts: list[NDArray[np.unsignedinteger]] = []
        for number, ids in enumerate(documents):
            if len(ids) and (ids.min() < 0 or ids.max() >= vocabulary):
                msg = f"document {number} of the corpus holds a token id outside the vocabulary of {vocabulary:,}"
                raise DataError(msg, hint="The tokenizer does not belong to this model.")
            parts.append((ids + 1).astype(kind))
        return cls._of(parts, kind, 1 + (vocabulary >= 2**8) + (vocabulary >= 2**16), 1)

    @classmethod
    def of_texts(cls, documents: Iterable[str]) -> CorpusIndex:
        """Return the index of the UTF-8 bytes of texts, whatever tokenizer a model has.

        Raises:
            DataError: A text holds a NUL character, which divides documents.
            UnsupportedError: The corpus is too large for one index.
        """
        parts = []
        for number, document in enumerate(documents):
            encoded = np.frombuffer(document.encode(), dtype=np.uint8)
            if not encoded.all():
                msg = f"document {number} of the corpus holds a NUL character"
                raise DataError(msg, hint="Is this a text file? Remove the NUL characters.")
            parts.append(encoded)
        return cls._of(parts, np.uint8, 1, 0)

    @classmethod
    def _of(
        cls, parts: Sequence[NDArray[np.unsignedinteger]], kind: type[np.unsignedinteger], width: int, shift: int
    ) -> CorpusIndex:
        lengths = np.array([len(part) + 1 for part in parts], dtype=np.int64)
        total = int(lengths.sum())
        if total * width > MOST_BYTES:
            msg = f"the corpus has {total * width:,} bytes of symbols; one index holds {MOST_BYTES:,}"
            raise UnsupportedError(msg, hint="Match against a part of it, or index its tokens on disk.")
        text = np.zeros(total + PADDING, dtype=kind)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)[: len(parts)]
        for start, part in zip(starts.tolist(), parts, strict=True):
            text[start : start + len(part)] = part
        return cls.sorted(text, suffix_order(text[:total], width), starts, shift)

    @classmethod
    def sorted(
        cls, text: NDArray[np.unsignedinteger], order: NDArray[np.signedinteger], starts: NDArray[np.int64], shift: int
    ) -> CorpusIndex:
        """Return the index of symbols whose suffixes are in order already."""
        symbols = text[: len(order)]
        counts = np.zeros(int(symbols.max(initial=0)) + 1 if shift else 2**16, dtype=np.int64)
        for start in range(0, len(symbols), ORDERED_AT_ONCE):
            first: NDArray[np.integer] = symbols[start : start + ORDERED_AT_ONCE]
            if not shift:
                first = first.astype(np.uint16) << 8 | text[start + 1 : start + 1 + len(first)]
            counts += np.bincount(first, minlength=len(counts))
        return cls(text, order, starts, shift, np.concatenate([[0], np.cumsum(counts)]))

    @property
    def documents(self) -> int:
        """Number of documents."""
        return len(self.starts)

    @property
    def symbols(self) -> int:
        """Number of symbols, separators not counted."""
        return len(self.order) - len(self.starts)

    def document_of(self, place: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the document that each place lies in, -1 for place -1, shape [places]."""
        return np.searchsorted(self.starts, place, side="right").astype(np.int64) - 1

    def longest(self, queries: Sequence[NDArray[np.integer]]) -> list[Matches]:
        """Return the longest match at each position of each query, to the last symbol.

        Args:
            queries: Symbols as those of the documents: token ids, or bytes. A symbol that no document can hold matches
                nothing.
        """
        lengths = [len(query) for query in queries]
        line, at = self._line(queries, BEFORE)
        length, place = np.zeros(len(at), dtype=np.int64), np.full(len(at), -1, dtype=np.int64)
        for start in range(0, len(at) if len(self.order) else 0, AT_ONCE):
            part = slice(start, start + AT_ONCE)
            length[part], place[part] = self._longest(line, at[part])
        ends = np.cumsum(lengths)[:-1]
        return (
            [Matches(*row) for row in zip(np.split(length, ends), np.split(place, ends), strict=True)]
            if lengths
            else []
        )

    def occurrences(self, runs: Sequence[NDArray[np.integer]]) -> NDArray[np.int64]:
        """Return the part of the suffix order that begins with each run, first and one past the last, shape [runs, 2].

        Its length is how often the run stands in the corpus, overlaps counted; `order` of it is where.

        Args:
            runs: Symbols, at least one in each.
        """
        found = np.zeros((len(runs), 2), dtype=np.int64)
        if not runs:
            return found
        begins = np.cumsum([0, *(len(run) for run in runs)])[:-1]
        for side, end in enumerate((BEFORE, BEHIND)):
            line, at = self._line(runs, end)
            first = at[begins]
            for start in range(0, len(first), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                found[part, side] = self._bound(line, first[part])[0]
        return found

    def _line(self, queries: Sequence[NDArray[np.integer]], end: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return all queries in one line, an end behind each, and where each of their symbols stands in it."""
        total = sum(len(query) + 1 for query in queries)
        line = np.full(total + PADDING, end, dtype=np.int32)
        places, start = [], 0
        most = 2**8 - 1 if not self.shift else len(self.buckets) - 2
        for query in queries:
            shifted = np.asarray(query).astype(np.int64) + self.shift
            line[start : start + len(query)] = np.where((shifted >= 1) & (shifted <= most), shifted, BEFORE)
            places.append(np.arange(start, start + len(query)))
            start += len(query) + 1
        return line, np.concatenate(places) if places else np.empty(0, dtype=np.int64)

    def _longest(self, line: NDArray[np.int32], at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        bound, below, above = self._bound(line, at)
        best, place = np.zeros(len(at), dtype=np.int64), np.full(len(at), -1, dtype=np.int64)
        for side, known in ((bound - 1, below), (bound, above)):
            there = (side >= 0) & (side < len(self.order)) & (line[at] > 0)
            suffix = self.order[np.where(there, side, 0)].astype(np.int64)
            # What the search compared last is exact; what it never compared is compared now.
            open_ = np.flatnonzero(there & (known < 0))
            length = np.maximum(known, 0)
            length[open_] = self._common(line, at[open_], suffix[open_], np.zeros(len(open_), dtype=np.int64))
            better = there & (length > best)
            best, place = np.where(better, length, best), np.where(better, suffix, place)
        return best, place

    def _bound(
        self, line: NDArray[np.int32], at: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return how many suffixes stand before each query, and the symbols it shares with the suffixes beside that place.

        The latter are -1 where the search had no need to compare.
        """
        low, high = self._bucket(line, at)
        below, above = np.full(len(at), -1, dtype=np.int64), np.full(len(at), -1, dtype=np.int64)
        lead = 1 if self.shift else 2
        rows = np.flatnonzero(low < high)
        while len(rows):
            middle = (low[rows] + high[rows]) >> 1
            suffix = self.order[middle].astype(np.int64)
            # All suffixes between two share with the query what both share with it.
            known = np.maximum(np.minimum(below[rows], above[rows]), lead)
            length = self._common(line, at[rows], suffix, known)
            less = self.text[suffix + length] < line[at[rows] + length]
            smaller, larger = rows[less], rows[~less]
            low[smaller], below[smaller] = middle[less] + 1, length[less]
            high[larger], above[larger] = middle[~less], length[~less]
            rows = rows[low[rows] < high[rows]]
        return low, below, above

    def _bucket(self, line: NDArray[np.int32], at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return between which places of the order each query stands, by its first symbols alone."""
        first = line[at].astype(np.int64)
        key, certain = np.maximum(first, 0), first < 0
        if not self.shift:
            second = line[at + 1].astype(np.int64)
            key = (key << 8) + np.clip(second, 0, 2**8)
            certain |= (second < 0) | (second == BEHIND)
        low = self.buckets[np.minimum(key, len(self.buckets) - 1)]
        return low.copy(), np.where(certain, low, self.buckets[np.minimum(key + 1, len(self.buckets) - 1)])

    def _common(
        self, line: NDArray[np.int32], at: NDArray[np.int64], place: NDArray[np.int64], known: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return how many symbols queries share with suffixes, of which some are known to be shared; shape [queries]."""
        length, step = known.copy(), FIRST_STEP
        rows = np.arange(len(at))
        while len(rows):
            steps = np.arange(step)
            done = length[rows]
            differ = line[(at[rows] + done)[:, None] + steps] != self.text[(place[rows] + done)[:, None] + steps]
            first = differ.argmax(axis=1)
            over = differ[np.arange(len(rows)), first]
            length[rows] = done + np.where(over, first, step)
            rows, step = rows[~over], min(2 * step, PADDING)
        return length


def suffix_order(symbols: NDArray[np.unsignedinteger], width: int) -> NDArray[np.int32]:
    """Return where each suffix begins, in the order of the suffixes; a suffix stands before what it begins.

    Args:
        symbols: The corpus, shape [n].
        width: Bytes of a symbol that are used, the low ones, 1 to 3.

    Raises:
        UnsupportedError: pydivsufsort is not installed and the corpus is not small.
    """
    if not len(symbols):
        return np.empty(0, dtype=np.int32)
    try:
        from pydivsufsort import divsufsort  # noqa: PLC0415  (an optional package)
    except ImportError as error:
        if len(symbols) > WITHOUT_LIBRARY:
            msg = f"a corpus of {len(symbols):,} symbols is sorted by pydivsufsort, which is not installed"
            raise UnsupportedError(msg, hint="Run: pip install 'memorization-auditor[corpus]'.") from error
        return doubled_order(symbols)
    if width == 1:
        return np.asarray(divsufsort(np.ascontiguousarray(symbols, dtype=np.uint8)), dtype=np.int32)
    # Symbols as big-endian bytes are in the same order; suffixes that begin inside a symbol are left out.
    encoded = symbols.astype(f">u{2 if width == 2 else 4}").view(np.uint8).reshape(len(symbols), -1)
    whole = divsufsort(np.ascontiguousarray(encoded[:, -width:]).reshape(-1))
    order, filled = np.empty(len(symbols), dtype=np.int32), 0
    for start in range(0, len(whole), ORDERED_AT_ONCE):
        some = whole[start : start + ORDERED_AT_ONCE]
        kept = some[some % width == 0] if width != 2 else some[(some & 1) == 0]
        order[filled : filled + len(kept)] = kept // width if width != 2 else kept >> 1
        filled += len(kept)
    return order


def doubled_order(symbols: NDArray[np.unsignedinteger]) -> NDArray[np.int32]:
    """Return the same by sorting prefixes of length 1, 2, 4, ...: slower, and without any library.

    Source:
        Manber & Myers (1993), SIAM J. Comput. 22:935.
    """
    total = len(symbols)
    ranks = np.unique(symbols, return_inverse=True)[1].astype(np.int64)
    reach = 1
    while True:
        behind = np.zeros(total, dtype=np.int64)
        behind[: max(0, total - reach)] = ranks[reach:] + 1
        keys = ranks * (total + 1) + behind
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        ranks[order] = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
        if ranks[order[-1]] == total - 1:
            return order.astype(np.int32)
        reach *= 2


class Span(NamedTuple):
    """A run of a query that stands in the corpus and is part of no longer one."""

    start: int
    length: int


def spans(length: NDArray[np.int64], least: int) -> list[Span]:
    """Return the maximal runs of at least so many symbols that do not overlap, the longest first where two do.

    Args:
        length: The longest match at each position of a query, shape [positions].
        least: Fewest symbols, at least 1.
    """
    ends = np.arange(len(length)) + length
    before = np.concatenate([[0], ends])[: len(ends)]
    # A run that ends where the one before it ends is the end of that run.
    maximal = np.flatnonzero((length >= least) & (ends > before))
    kept: list[Span] = []
    for start in sorted(maximal.tolist(), key=lambda place: (-int(length[place]), place)):
        span = Span(start, int(length[start]))
        if all(span.start >= other.start + other.length or other.start >= span.start + span.length for other in kept):
            kept.append(span)
    return sorted(kept)


def covered(length: NDArray[np.int64], least: int) -> int:
    """Return how many symbols of a query lie in a match of at least so many symbols."""
    long = np.flatnonzero(length >= least)
    edges = np.zeros(len(length) + 1, dtype=np.int64)
    np.add.at(edges, long, 1)
    np.add.at(edges, long + length[long], -1)
    return int((np.cumsum(edges)[:-1] > 0).sum())
