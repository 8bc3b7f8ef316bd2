"""The cheapest leaves of a tree in exact order, without looking at all of it."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from auditor.statistics._checks import checked_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Node = TypeVar("Node")
"""Names a place in the tree; nodes of equal cost come out in their own order, so they must be comparable."""

AHEAD = 8
"""One node is expanded ahead of its turn for every so many expanded before: looking ahead costs at most an eighth."""
_SPARE = 4096
"""Entries the queue may hold beyond twice what can still matter, before it is cut."""


class Child(NamedTuple, Generic[Node]):
    """A node below another one."""

    cost: float
    """Cost of the whole path from the root, at least that of its parent."""
    complete: bool
    """It is a leaf."""
    node: Node


class Leaf(NamedTuple, Generic[Node]):
    """A leaf, in order of cost."""

    cost: float
    node: Node
    expansions: int
    """Nodes expanded until it was known to be next."""


class ShortestPaths(Generic[Node]):
    """The leaves come out in exact order of cost, ties in the order of their nodes, until the budget is spent.

    This is Dijkstra's algorithm on a tree. The cheapest open nodes are expanded several at a time, so that a model can
    score them together; a leaf comes out only when no open node costs less or as much, so the order does not depend on it.
    Open nodes that the budget cannot reach any more are forgotten: the queue holds about as much as is left to do.

    Args:
        root: The node to begin with, at cost 0.
        expand: Returns the children of each of some nodes, given with their costs.
        budget: Nodes to expand at most.
        batch: Nodes to expand together at most.

    Source:
        Dijkstra (1959); Carlini et al. (2019), The Secret Sharer, section 5 (batched search over prefixes).
    """

    expansions: int
    """Nodes expanded so far."""
    exhausted: bool
    """The budget was spent before every leaf had come out."""
    frontier: float
    """Every leaf that has not come out costs at least this; infinite once all have."""

    def __init__(
        self,
        root: Node,
        expand: Callable[[Sequence[tuple[float, Node]]], Sequence[Sequence[Child[Node]]]],
        *,
        budget: int,
        batch: int = 64,
    ) -> None:
        """Begin with the root alone.

        Raises:
            ValueError: The budget is negative or the batch holds no node.
        """
        self.budget = checked_whole(budget, "budget")
        self.batch = checked_whole(batch, "batch", 1)
        self.expansions, self.exhausted, self.frontier = 0, False, 0.0
        self._expand = expand
        # Open nodes before leaves of equal cost: a leaf below them may cost no more.
        self._queue: list[tuple[float, bool, Node]] = [(0.0, False, root)]

    def __iter__(self) -> Iterator[Leaf[Node]]:
        """Yield the leaves.

        Raises:
            ValueError: A child costs less than its parent, or its cost is not a number.
        """
        while self._queue:
            cost, complete, node = self._queue[0]
            self.frontier = cost
            if complete:
                heapq.heappop(self._queue)
                yield Leaf(cost, node, self.expansions)
            elif self.expansions >= self.budget:
                self.exhausted = True
                return
            else:
                self._expand_some()
        self.frontier = math.inf

    def _expand_some(self) -> None:
        room = self.budget - self.expansions
        some: list[tuple[float, bool, Node]] = []
        aside: list[tuple[float, bool, Node]] = []
        wanted = min(room, self.batch, 1 + self.expansions // AHEAD)
        while self._queue and len(some) < wanted:
            entry = heapq.heappop(self._queue)
            (aside if entry[1] else some).append(entry)
        for entry in aside:
            heapq.heappush(self._queue, entry)
        found = self._expand([(cost, node) for cost, _, node in some])
        self.expansions += len(some)
        for (cost, _, node), children in zip(some, found, strict=True):
            for child in children:
                if not child.cost >= cost:
                    msg = f"a child of {node!r} costs {child.cost}, less than its parent's {cost}: costs may only grow"
                    raise ValueError(msg)
                if child.cost < math.inf:  # what is impossible never comes out
                    heapq.heappush(self._queue, (child.cost, child.complete, child.node))
        self._forget(self.budget - self.expansions)

    def _forget(self, room: int) -> None:
        """Drop what costs more than the first open node that the budget cannot reach: nothing of it can come out."""
        if len(self._queue) <= 2 * room + _SPARE:
            return
        costs = sorted(cost for cost, complete, _ in self._queue if not complete)
        if len(costs) > room:
            self._queue = [entry for entry in self._queue if entry[0] <= costs[room]]
            heapq.heapify(self._queue)
