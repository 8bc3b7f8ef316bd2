"""A short sequence of tokens that makes a model say a text, searched for by swapping tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.statistics._checks import checked_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rank = Callable[[NDArray[np.int32]], NDArray[np.float32]]
    """Says how promising each token is at each place of a prompt, lower is better, shape [prompt, vocabulary]."""
    Score = Callable[[NDArray[np.int32]], tuple[NDArray[np.float64], NDArray[np.bool_]]]
    """Returns the loss of the text after each prompt, and whether the prompt makes the model say it."""

STRIDE = 5
"""Tokens of the first prompt, and tokens more after a failure (Schwarzschild et al. 2024)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long is searched at one length.

    Args:
        steps: Swaps, one after the other.
        candidates: Prompts tried for each.
        top: Tokens at each place among which swaps are drawn, the most promising ones.
        patience: Steps without a better prompt after which the search at this length ends.
    """

    steps: int
    candidates: int
    top: int
    patience: int


@dataclass(slots=True)
class ShortestPrompt:
    """What a search came upon; an upper bound, for shorter prompts may exist that it missed."""

    prompt: NDArray[np.int32] | None = None
    """The shortest prompt found, None if there is none."""
    failed: int = 0
    """Longest length below it at which the search failed; 0: none was tried."""
    steps: int = 0
    asked: int = 0
    """Prompts whose loss was asked."""
    ranked: int = 0
    """Prompts whose swaps were ranked."""
    spent: bool = False
    """The last search that failed would have gone on with more steps."""


def shortest_prompt(
    rank: Rank,
    score: Score,
    own: NDArray[np.int32],
    longest: int,
    vocabulary: int,
    budget: Budget,
    rng: np.random.Generator,
) -> ShortestPrompt:
    """Return the shortest prompt that greedy coordinate gradient comes upon, of all lengths tried.

    Lengths follow MiniPrompt: five tokens first, one less after a success, five more after a failure, until a length is
    neither above all that failed nor below all that succeeded. Each length begins with what is at hand: the tokens that
    stand before the text, the last prompt with one token less or some more, and random tokens. Unlike the published
    search it never moves to a worse prompt, so that it can stop when nothing gets better.

    Args:
        rank: Says which swaps are promising.
        score: Says what a prompt does.
        own: Tokens that stand before the text where it comes from; a start, if there are enough.
        longest: Longest prompt that counts, tokens, at least 1.
        vocabulary: Number of token ids.
        budget: How long is searched at each length.
        rng: Draws the random starts and the swaps.

    Raises:
        ValueError: An argument is out of range.

    Source:
        Schwarzschild, Feng, Maini, Lipton, Kolter (2024), Rethinking LLM Memorization through the Lens of Adversarial
        Compression, arXiv 2404.15146 (MiniPrompt); Zou et al. (2023), arXiv 2307.15043 (GCG).
    """
    checked_whole(longest, "longest", 1)
    for name in ("steps", "candidates", "top", "patience"):
        checked_whole(getattr(budget, name), name, 1)
    found = ShortestPrompt()
    high, length, last = longest + 1, min(STRIDE, longest), own[:0]
    while found.failed < length < high:
        starts = _starts(length, own, found.prompt, last, vocabulary, rng)
        said, last = _at(starts, rank, score, budget, rng, found)
        if said:
            found.prompt, high, length = last, length, length - 1
        else:
            found.failed, length = length, min(length + STRIDE, high - 1)
    return found


def _starts(
    length: int,
    own: NDArray[np.int32],
    held: NDArray[np.int32] | None,
    last: NDArray[np.int32],
    vocabulary: int,
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Return prompts of one length to begin with, shape [starts, length]."""
    drawn = rng.integers(vocabulary, size=length).astype(np.int32)
    rows: list[NDArray[np.int32]] = []
    if len(own) >= length:
        rows.append(own[len(own) - length :])
    if held is not None and len(held) == length + 1:
        rows += [np.delete(held, place) for place in range(len(held))]
    if 0 < len(last) < length:
        rows.append(np.concatenate([drawn[: length - len(last)], last]))
    return np.stack([*rows, drawn]).astype(np.int32)


def _at(
    starts: NDArray[np.int32],
    rank: Rank,
    score: Score,
    budget: Budget,
    rng: np.random.Generator,
    found: ShortestPrompt,
) -> tuple[bool, NDArray[np.int32]]:
    """Return whether a prompt of this length was found, and the best one; what it took is counted."""
    losses, said = score(starts)
    found.asked += len(starts)
    prompt, loss, done = _best(starts, losses, said)
    waited = 0
    promising: NDArray[np.int64] | None = None
    for _ in range(budget.steps):
        if done or waited == budget.patience:
            break
        found.steps += 1
        if promising is None:
            promising = _promising(prompt, rank(prompt), budget.top)
            found.ranked += 1
        tried = _swapped(prompt, promising, budget.candidates, rng)
        losses, said = score(tried)
        found.asked += len(tried)
        best, lowest, done = _best(tried, losses, said)
        waited = 0 if lowest < loss or done else waited + 1
        if not waited:
            prompt, loss, promising = best, lowest, None
    found.spent = not done and waited < budget.patience
    return done, prompt


def _best(
    prompts: NDArray[np.int32], losses: NDArray[np.float64], said: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], float, bool]:
    """Return the prompt of the lowest loss, among those that make the model say the text if any does."""
    row = int(np.where(said, losses, np.inf).argmin() if said.any() else losses.argmin())
    return prompts[row], float(losses[row]), bool(said[row])


def _promising(prompt: NDArray[np.int32], ranked: NDArray[np.float32], top: int) -> NDArray[np.int64]:
    """Return the most promising other tokens of each place, best first, shape [prompt, at most top]."""
    ranked = ranked.copy()
    ranked[np.arange(len(prompt)), prompt] = np.inf
    kept = min(top, max(ranked.shape[1] - 1, 1))
    columns = np.argpartition(ranked, kept - 1, axis=1)[:, :kept]
    order = np.argsort(np.take_along_axis(ranked, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _swapped(
    prompt: NDArray[np.int32], promising: NDArray[np.int64], candidates: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Return different prompts with one promising token swapped in, shape [at most candidates, prompt]."""
    top = promising.shape[1]
    swaps = np.arange(promising.size)
    if len(swaps) > candidates:  # else all are tried
        swaps = rng.choice(len(swaps), size=candidates, replace=False)
    tried = np.tile(prompt, (len(swaps), 1))
    tried[np.arange(len(swaps)), swaps // top] = promising[swaps // top, swaps % top]
    return tried
