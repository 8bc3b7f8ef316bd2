"""What a subject can be asked; numpy at the border.

Token positions: for a sequence of ids ``x[0..T-1]`` the scores have length ``T - 1`` and ``logprob[j]`` is
``log p(x[j+1] | x[..j])`` in nat. A beginning-of-sequence token is part of the sequence if the model uses one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from auditor.core.subject import Artifact, ModelSpec

TIE_GAP = 1e-3
"""Two best logits nearer than this (nat) make the arg-max ambiguous at the precision of the arithmetic."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What to measure in the one teacher-forced pass.

    Args:
        moments: Mean and standard deviation of log p over the vocabulary, for Min-K%++.
        top_k: Renormalise over the k likeliest tokens, for sampled extraction; None: not measured.
        temperature: Temperature before the top-k renormalisation, above 0.
        first: Score only targets ``x[j]`` with j >= first (head and softmax run on those alone). At least 1.
    """

    moments: bool = False
    top_k: int | None = None
    temperature: float = 1.0
    first: int = 1


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Scores of one sequence; every array has length T - first.

    Args:
        logprob: log p of the target, nat, float32, <= 0.
        hit: The target is the arg-max (the smallest id among exact ties).
        tie: The two best logits lie within TIE_GAP of each other.
        mean: sum over v of p(v) log p(v), nat; empty unless asked.
        deviation: Standard deviation of log p under p, nat; empty unless asked.
        top_logprob: log probability of the target after temperature and top-k, nat, -inf outside; empty unless asked.
    """

    logprob: NDArray[np.float32]
    hit: NDArray[np.bool_]
    tie: NDArray[np.bool_]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    top_logprob: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """How to draw tokens.

    Args:
        tokens: How many to draw, at least 1; there is no early stop.
        top_k: Draw among the k likeliest tokens; None: among all.
        temperatures: Temperature of each step, above 0; the last one holds for all steps that follow.
    """

    tokens: int
    top_k: int | None = None
    temperatures: tuple[float, ...] = (1.0,)


@runtime_checkable
class OpenModel(Protocol):
    """A loaded language model that scores and continues token sequences."""

    vocabulary: int
    """Number of token ids the model knows."""
    context: int
    """Longest sequence it takes, tokens."""
    begin: int | None
    """Id of the beginning-of-sequence token that stands before every text, None if the model uses none."""

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the token ids of each text, without special tokens."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids."""
        ...

    def score(self, sequences: Sequence[NDArray[np.int32]], request: ScoreRequest) -> list[TokenScores]:
        """Return the scores of each sequence, in the order given, from one forward pass over each."""
        ...

    def continue_greedily(self, prefixes: Sequence[NDArray[np.int32]], tokens: int) -> list[NDArray[np.int32]]:
        """Return the greedy continuation of each prefix: `tokens` ids, no early stop."""
        ...

    def sample(
        self, prefixes: Sequence[NDArray[np.int32]], seeds: Sequence[int], request: SampleRequest
    ) -> list[NDArray[np.int32]]:
        """Return a random continuation of each prefix, decided by its own seed: batch mates change nothing.

        A prefix may not be empty.
        """
        ...

    def score_completions(
        self, prefix: NDArray[np.int32], completions: Sequence[NDArray[np.int32]]
    ) -> NDArray[np.float64]:
        """Return the summed log-probability of each completion after the prefix, nat, shape [completions].

        The prefix is computed once. It may not be empty; completions may differ in length.
        """
        ...


@runtime_checkable
class Adapted(Protocol):
    """A language model that stands on another one whose weights it leaves as they are."""

    def bare(self) -> OpenModel | None:
        """Return the model below, of the same weights in memory; None if it cannot be had without a second copy."""
        ...


@runtime_checkable
class NextTokenModel(Protocol):
    """A language model that says how likely any token is to come next; what an endpoint with a few best tokens cannot."""

    def next_logprob(
        self, prefix: NDArray[np.int32], paths: Sequence[NDArray[np.int32]], tokens: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Return log p of each token right after the prefix and each path, nat, at most 0, shape [paths, tokens].

        The prefix is computed once. It may not be empty; a path may be, and paths may differ in length.
        """
        ...


@runtime_checkable
class ProposingModel(Protocol):
    """A language model that says what else could stand in a text: it makes the neighbours that a text is compared with."""

    def other_tokens(self, sequences: Sequence[NDArray[np.int32]], count: int) -> list[NDArray[np.int32]]:
        """Return, for each target x[j + 1] of each sequence, the likeliest other tokens after x[..j], likeliest first.

        Returns:
            One array for each sequence, shape [T - 1, count], or fewer columns if the vocabulary is smaller.
        """
        ...


@runtime_checkable
class PromptSearchModel(Protocol):
    """A language model that can be searched for a prompt which makes it say a text: white box.

    A prompt is a whole sequence, with the beginning-of-sequence token if the model uses one. It may not be empty.
    """

    def rank_swaps(self, prompt: NDArray[np.int32], target: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return how promising each token is at each place of the prompt, lower is better, shape [prompt, vocabulary].

        Every subject ranks by its own means: a network by the gradient of the target's loss (nat) with respect to the
        one-hot tokens, a table by trying. It is a guess where to look: `score_targets` decides.
        """
        ...

    def score_targets(
        self, prompts: NDArray[np.int32], target: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return mean loss of the target after each prompt, nat, and whether each of its tokens is the arg-max.

        Args:
            prompts: Shape [prompts, tokens]; all have one length.
            target: The tokens to be said, at least one.
        """
        ...


@runtime_checkable
class RemoteAdapter(Protocol):
    """An adapter of models whose weights are not seen."""

    def stand_ins(self, spec: ModelSpec, base: Path) -> tuple[Artifact, ...]:
        """Return what names the model instead of its weights: what is declared, and what the server says of itself."""
        ...


@runtime_checkable
class RecordedModel(Protocol):
    """A model that is asked over a network and keeps what was asked and answered."""

    def record_in(self, folder: Path) -> None:
        """Keep every exchange in a folder from now on, and answer what is recorded there without asking again."""
        ...

    def settle(self) -> None:
        """Put what was recorded into one order, whatever the order in which answers came."""
        ...
