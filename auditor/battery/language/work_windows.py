"""What the windows of a work say about the work: which come out, what they cover, how long it goes on, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from auditor.statistics.text_similarity import FIRST_PASS, SECOND_PASS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auditor.evidence.table import ObservedTable, Ragged

ROUNDING = 1e-5
"""Log-probabilities are kept in single precision."""
LISTS = ("cells", "log_p", "agree", "tied", "distinct", "echo", "hit", "characters")


@dataclass(frozen=True, slots=True)
class Rule:
    """When a window comes out and is not trivial."""

    probability: float
    """Least probability that one query says the suffix."""
    distinct: int
    """Fewest different tokens of its suffix."""
    echo: int
    """Longest run of its suffix that may stand in its own prefix, tokens."""


@dataclass(frozen=True, slots=True)
class Work:
    """One work; a cell is `stride` tokens, a suffix covers `width` cells."""

    id: str
    cluster: str
    copies: int
    source: str
    records: int
    short: int
    """Passages without a whole window."""
    tokens: int
    cut: bool
    cells: NDArray[np.int64]
    """Cells of each passage."""
    log_p: NDArray[np.float64]
    """Of each window, as what follows."""
    agree: NDArray[np.int64]
    tied: NDArray[np.int64]
    distinct: NDArray[np.int64]
    echo: NDArray[np.int64]
    hit: NDArray[np.bool_]
    """Of each token of the cells."""
    characters: NDArray[np.int64]
    """Of each cell."""
    excerpt: str
    stride: int
    width: int

    @property
    def windows(self) -> int:
        """Number of windows."""
        return len(self.log_p)

    @property
    def reach(self) -> int:
        """Tokens that some window could cover."""
        return self.stride * int(self.cells.sum())

    def extractable(self, rule: Rule) -> NDArray[np.bool_]:
        """Return which windows come out under the rule, shape [windows]."""
        likely: NDArray[np.bool_] = self.log_p >= np.log(rule.probability) - ROUNDING
        return self.plain(rule) & likely

    def plain(self, rule: Rule) -> NDArray[np.bool_]:
        """Return which windows are not trivial, shape [windows]."""
        return (self.distinct >= rule.distinct) & (self.echo <= rule.echo)

    def first_cells(self) -> NDArray[np.int64]:
        """Return the first cell of every window's suffix, shape [windows]."""
        starts = np.cumsum(self.cells) - self.cells
        parts = [
            start + np.arange(cells - self.width + 1)
            for start, cells in zip(starts.tolist(), self.cells.tolist(), strict=True)
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def covered(self, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which cells stand in the suffix of a flagged window, shape [cells]."""
        edges = np.zeros(int(self.cells.sum()) + 1, dtype=np.int64)
        first = self.first_cells()[flags]
        np.add.at(edges, first, 1)
        np.add.at(edges, first + self.width, -1)
        return np.cumsum(edges)[:-1] > 0

    def longest(self, covered: NDArray[np.bool_]) -> int:
        """Return the tokens of the longest run of covered cells; a run does not cross passages."""
        most = 0
        for part in np.split(covered, np.cumsum(self.cells)[:-1]):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], part.astype(np.int8), [0]])))
            most = max(most, int((edges[1::2] - edges[::2]).max(initial=0)))
        return most * self.stride

    def nearly(self) -> int:
        """Return the tokens of passages that are said nearly word for word, if the model is set right after each mistake.

        What `near_verbatim_blocks` finds where every token stands beside its own: no text is shifted against the other.
        """
        total = 0
        for part in np.split(self.hit, self.stride * np.cumsum(self.cells)[:-1]):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], part.astype(np.int8), [0]])))
            starts, stops = edges[::2], edges[1::2]
            matched = stops - starts
            for gap, _, fewest in (FIRST_PASS, SECOND_PASS):
                if not len(matched):
                    break
                firsts = np.flatnonzero(np.concatenate([[True], starts[1:] - stops[:-1] > gap]))
                matched = np.add.reduceat(matched, firsts)
                starts, stops = starts[firsts], stops[np.append(firsts[1:], len(stops)) - 1]
                kept = matched >= fewest
                starts, stops, matched = starts[kept], stops[kept], matched[kept]
            total += int(matched.sum())
        return total

    def cheapest(self, flags: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the expected queries for each of the likeliest flagged windows whose suffixes do not overlap, ascending.

        A passage that comes out with probability p in one query takes 1 / p queries in expectation.
        """
        first, taken = self.first_cells(), np.zeros(int(self.cells.sum()), dtype=np.bool_)
        chosen = np.flatnonzero(flags)
        found = []
        for window in chosen[np.argsort(-self.log_p[chosen], kind="stable")].tolist():
            suffix = slice(first[window], first[window] + self.width)
            if not taken[suffix].any():
                taken[suffix] = True
                found.append(float(np.exp(-min(self.log_p[window], 0.0))))
        return np.array(found, dtype=np.float64)

    def within(self, costs: NDArray[np.float64], queries: int) -> int:
        """Return the tokens that come out, in expectation, within a number of queries directed at the work, best first."""
        affordable = int(np.searchsorted(np.cumsum(costs), queries * (1.0 + ROUNDING), "right"))
        return affordable * self.width * self.stride


def read_works(table: ObservedTable, stride: int, suffix: int) -> list[Work]:
    """Return the works of an observation of `work-scores`, in its order."""
    flat = ("id", "cluster", "copies", "source", "records", "short", "tokens", "cut", "excerpt")
    works = []
    for shard in table.shards(*flat, *LISTS):
        for row in range(len(shard["id"])):
            lists: dict[str, Any] = {name: cast("Ragged", shard[name])[row] for name in LISTS}
            works.append(
                Work(
                    id=str(shard["id"][row]),
                    cluster=str(shard["cluster"][row]),
                    copies=int(cast("Any", shard["copies"][row])),
                    source=str(shard["source"][row]),
                    records=int(cast("Any", shard["records"][row])),
                    short=int(cast("Any", shard["short"][row])),
                    tokens=int(cast("Any", shard["tokens"][row])),
                    cut=bool(shard["cut"][row]),
                    excerpt=str(shard["excerpt"][row]),
                    stride=stride,
                    width=suffix // stride,
                    log_p=lists.pop("log_p").astype(np.float64),
                    hit=lists.pop("hit").astype(np.bool_),
                    **{name: values.astype(np.int64) for name, values in lists.items()},
                )
            )
    return works
