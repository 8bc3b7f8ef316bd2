"""Leaves in order: against brute force over whole spaces, whatever the batch, the ties and the budget."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.statistics import shortest_path
from auditor.statistics.shortest_path import AHEAD, Child, ShortestPaths


class Markov:
    """A language of some symbols, each likelier or less after the one before it; some secrets were learned."""

    def __init__(self, rng: np.random.Generator, symbols: int, length: int, *, grid: float = 0.0) -> None:
        self.length = length
        self.start = self._costs(rng, (symbols,), grid)
        self.after = self._costs(rng, (symbols, symbols), grid)
        self.learned: dict[tuple[int, ...], float] = {}
        self.widest = 0

    @staticmethod
    def _costs(rng: np.random.Generator, shape: tuple[int, ...], grid: float) -> np.ndarray:
        costs = -np.log(rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]))
        return np.round(costs / grid) * grid if grid else costs

    def learn(self, secret: tuple[int, ...], certainty: float) -> None:
        for place in range(self.length):
            self.learned[secret[: place + 1]] = -math.log(certainty)

    def step(self, path: tuple[int, ...]) -> float:
        if path in self.learned:
            return self.learned[path]
        return float(self.start[path[0]] if len(path) == 1 else self.after[path[-2], path[-1]])

    def cost(self, secret: tuple[int, ...]) -> float:
        total = 0.0
        for place in range(self.length):
            total += self.step(secret[: place + 1])
        return total

    def expand(self, nodes):
        self.widest = max(self.widest, len(nodes))
        return [
            [
                Child(cost + self.step((*path, symbol)), len(path) + 1 == self.length, (*path, symbol))
                for symbol in range(len(self.start))
            ]
            for cost, path in nodes
        ]

    def in_order(self) -> list[tuple[float, tuple[int, ...]]]:
        space = itertools.product(range(len(self.start)), repeat=self.length)
        return sorted((self.cost(secret), secret) for secret in space)


def test_ten_symbols_and_five_places_in_the_order_of_brute_force():
    """All 10^5 secrets are ranked by brute force; a learned one comes out at its rank, after a hundredth of the space."""
    language = Markov(np.random.default_rng(3), 10, 5)
    language.learn((2, 8, 1, 2, 6), 0.9)
    ranked = language.in_order()
    search = ShortestPaths((), language.expand, budget=1000)
    found = list(search)
    assert len(found) > 50
    assert [(leaf.cost, leaf.node) for leaf in found] == ranked[: len(found)]
    assert search.exhausted
    assert search.expansions == 1000
    assert found[-1].cost <= search.frontier <= ranked[len(found)][0]
    rank = next(number for number, leaf in enumerate(found) if leaf.node == (2, 8, 1, 2, 6))
    assert ranked[rank][1] == (2, 8, 1, 2, 6)
    assert rank == 0
    assert found[0].expansions <= 5 + 5  # one node a place, and hardly any ahead of its turn


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    symbols=st.integers(2, 5),
    length=st.integers(1, 4),
    seed=st.integers(0, 1000),
    batch=st.sampled_from([1, 3, 64]),
    grid=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_whole_space_in_order_with_ties(symbols, length, seed, batch, grid):
    language = Markov(np.random.default_rng(seed), symbols, length, grid=grid)
    search = ShortestPaths((), language.expand, budget=10_000, batch=batch)
    assert [(leaf.cost, leaf.node) for leaf in search] == language.in_order()
    assert not search.exhausted
    assert search.frontier == math.inf
    assert search.expansions == sum(symbols**place for place in range(length))
    assert language.widest <= batch


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), budget=st.integers(0, 90), batch=st.sampled_from([1, 7, 64]))
def test_whatever_the_budget_what_came_out_is_the_beginning_of_the_order(seed, budget, batch):
    language = Markov(np.random.default_rng(seed), 4, 4, grid=0.25)
    search = ShortestPaths((), language.expand, budget=budget, batch=batch)
    found = [(leaf.cost, leaf.node) for leaf in search]
    ranked = language.in_order()
    assert found == ranked[: len(found)]
    assert search.expansions <= budget
    assert search.exhausted == (len(found) < len(ranked))
    assert all(cost >= search.frontier for cost, _ in ranked[len(found) :])


def test_looking_ahead_costs_little_and_never_less_than_one_by_one():
    for seed in range(20):
        language = Markov(np.random.default_rng(seed), 6, 4)
        alone = next(iter(ShortestPaths((), language.expand, budget=5000, batch=1)))
        together = next(iter(ShortestPaths((), language.expand, budget=5000)))
        assert (together.cost, together.node) == (alone.cost, alone.node)
        assert alone.expansions <= together.expansions <= alone.expansions * (1 + 2 / AHEAD) + 2


def test_the_queue_stays_as_short_as_what_is_left_to_do(monkeypatch):
    monkeypatch.setattr(shortest_path, "_SPARE", 10)
    language = Markov(np.random.default_rng(1), 20, 3)
    search, longest, found = ShortestPaths((), language.expand, budget=120), 0, []
    for leaf in search:
        longest = max(longest, len(search._queue))
        found.append((leaf.cost, leaf.node))
    assert found == language.in_order()[: len(found)]
    assert len(search._queue) <= 10 + 20 * 16
    assert longest < 20 * 120


def test_what_is_impossible_never_comes_out():
    language = Markov(np.random.default_rng(0), 3, 3)
    language.start[1] = math.inf
    found = [leaf.node for leaf in ShortestPaths((), language.expand, budget=1000)]
    assert len(found) == 18
    assert all(node[0] != 1 for node in found)


def test_costs_that_shrink_are_refused():
    for wrong in (-1.0, math.nan):
        search = ShortestPaths((), lambda nodes, cost=wrong: [[Child(cost, True, (1,))]], budget=5)
        with pytest.raises(ValueError, match="may only grow"):
            list(search)
    with pytest.raises(ValueError, match="batch"):
        ShortestPaths((), lambda nodes: [], budget=5, batch=0)
    with pytest.raises(ValueError, match="budget"):
        ShortestPaths((), lambda nodes: [], budget=-1)
