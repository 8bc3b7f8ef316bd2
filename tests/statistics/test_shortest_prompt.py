"""The search for a short prompt: exhaustive search on tiny vocabularies, the lengths it tries, and the budget it keeps."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.statistics.shortest_prompt import Budget, shortest_prompt

RNG = np.random.default_rng
WIDE = Budget(steps=60, candidates=64, top=64, patience=15)
NOTHING = np.empty(0, dtype=np.int32)


class Table:
    """A language of a few tokens whose next token depends on the last two and, less, on how the text began."""

    def __init__(self, seed: int, vocabulary: int = 4) -> None:
        rng = RNG(seed)
        self.vocabulary = vocabulary
        self.pairs = rng.normal(0, 2.0, (vocabulary + 1, vocabulary + 1, vocabulary))
        self.first = rng.normal(0, 1.0, (vocabulary, vocabulary))
        self.asked: list[np.ndarray] = []

    def logits(self, said):
        before = said[-2] if len(said) > 1 else self.vocabulary
        return self.pairs[before, said[-1]] + self.first[said[0]]

    def loss(self, prompt, target):
        said, total = list(prompt), 0.0
        for token in target:
            row = self.logits(said)
            total += np.log(np.exp(row).sum()) - row[token]
            said.append(token)
        return total / len(target)

    def says(self, prompt, target):
        said = list(prompt)
        for token in target:
            if int(self.logits(said).argmax()) != token:
                return False
            said.append(token)
        return True

    def search(self, target, longest, budget=WIDE, seed=0, own=NOTHING):
        def rank(prompt):
            ranked = np.empty((len(prompt), self.vocabulary), dtype=np.float32)
            for place, token in product(range(len(prompt)), range(self.vocabulary)):
                other = prompt.copy()
                other[place] = token
                ranked[place, token] = self.loss(other, target)
            return ranked

        def score(prompts):
            self.asked.append(prompts)
            losses = np.array([self.loss(prompt, target) for prompt in prompts])
            return losses, np.array([self.says(prompt, target) for prompt in prompts])

        return shortest_prompt(rank, score, own, longest, self.vocabulary, budget, RNG(seed))

    def exhaustive(self, target, longest):
        for length in range(1, longest + 1):
            for prompt in product(range(self.vocabulary), repeat=length):
                if self.says(prompt, target):
                    return length
        return None


def test_it_is_bounded_by_exhaustive_search_and_nearly_always_reaches_it():
    reached, compared, missed = 0, 0, 0
    for seed in range(30):
        table = Table(seed)
        said = list(RNG(seed).integers(table.vocabulary, size=3))
        target = []
        for _ in range(5):
            target.append(int(table.logits([*said, *target]).argmax()))
        shortest = table.exhaustive(target, 4)
        assert shortest is not None
        assert shortest <= 3
        found = table.search(target, 4, seed=seed)
        if found.prompt is None:
            missed += 1
            continue
        assert table.says(found.prompt, target)
        assert len(found.prompt) >= shortest
        compared += 1
        reached += len(found.prompt) == shortest
    assert missed == 0
    assert reached >= 0.9 * compared


def test_where_exhaustive_search_finds_nothing_it_finds_nothing():
    none = 0
    for seed in range(40):
        table, target = Table(seed, vocabulary=3), RNG([seed, 1]).integers(3, size=5).tolist()
        if table.exhaustive(target, 4) is None:
            none += 1
            found = table.search(target, 4, seed=seed)
            assert found.prompt is None
            assert found.failed == 4
    assert none >= 5


@pytest.mark.parametrize("needed", range(1, 21))
def test_lengths_follow_miniprompt(needed):
    tried = []

    def score(prompts):
        tried.append(prompts.shape[1])
        return np.full(len(prompts), 1.0), np.full(len(prompts), prompts.shape[1] >= needed)

    def rank(prompt):
        return np.zeros((len(prompt), 7), dtype=np.float32)

    found = shortest_prompt(rank, score, NOTHING, 19, 7, Budget(3, 4, 3, 2), RNG(0))
    assert (0 if found.prompt is None else len(found.prompt)) == (needed if needed <= 19 else 0)
    assert found.failed == needed - 1
    lengths = list(dict.fromkeys(tried))
    assert lengths[0] == 5
    if 5 < needed <= 10:  # one failure, then down from ten to the first that fails
        assert lengths == [5, *range(10, max(needed - 2, 5), -1)]
    if needed == 20:
        assert lengths == [5, 10, 15, 19]


def test_what_stands_before_the_text_is_tried_first_and_a_token_less_after_that():
    table = Table(3, vocabulary=6)
    own = RNG(3).integers(6, size=9).astype(np.int32)
    target = []
    for _ in range(8):
        target.append(int(table.logits([*own[-5:], *target]).argmax()))
    found = table.search(target, 7, own=own)
    assert np.array_equal(table.asked[0][0], own[-5:])
    shorter = {tuple(np.delete(own[-5:], place)) for place in range(5)}
    assert shorter <= {tuple(row) for row in table.asked[1]}
    assert len(found.prompt) <= 5


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 6), candidates=st.integers(1, 9), top=st.integers(1, 5))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_the_budget_is_kept_swaps_are_single_and_equal_seeds_search_alike(seed, steps, candidates, top):
    target = RNG(seed).integers(4, size=6).tolist()
    table, budget = Table(seed), Budget(steps, candidates, top, patience=3)
    found = table.search(target, 5, budget, seed)
    lengths = len({prompts.shape[1] for prompts in table.asked})
    assert found.steps <= steps * lengths
    assert found.ranked <= found.steps
    assert found.asked == sum(len(prompts) for prompts in table.asked)
    assert found.asked <= candidates * found.steps + lengths * (2 + 5 + 1)
    for prompts in table.asked:
        assert len({tuple(row) for row in prompts}) == len(prompts) or len(prompts) <= 8
        assert prompts.min() >= 0
        assert prompts.max() < 4
    again = Table(seed).search(target, 5, budget, seed)
    assert (again.steps, again.asked, again.failed) == (found.steps, found.asked, found.failed)
    assert np.array_equal(again.prompt, found.prompt) if found.prompt is not None else again.prompt is None


def test_it_gives_up_where_nothing_gets_better_and_says_when_the_steps_were_spent():
    def score(prompts):
        return np.ones(len(prompts)), np.zeros(len(prompts), dtype=bool)

    def rank(prompt):
        return np.zeros((len(prompt), 9), dtype=np.float32)

    patient = shortest_prompt(rank, score, NOTHING, 5, 9, Budget(50, 4, 3, 7), RNG(0))
    assert (patient.steps, patient.ranked, patient.spent) == (7, 1, False)
    hasty = shortest_prompt(rank, score, NOTHING, 5, 9, Budget(5, 4, 3, 7), RNG(0))
    assert (hasty.steps, hasty.spent) == (5, True)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"candidates": 0}, {"top": 0}, {"patience": 0}, {"longest": 0}])
def test_what_cannot_be_searched_is_refused(wrong):
    given = {"steps": 1, "candidates": 1, "top": 1, "patience": 1, "longest": 1} | wrong
    longest = given.pop("longest")
    with pytest.raises(ValueError, match=next(iter(wrong))):
        shortest_prompt(None, None, NOTHING, longest, 4, Budget(**given), RNG(0))
