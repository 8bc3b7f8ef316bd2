"""Two language models whose memory is known exactly: a memorizer and an innocent.

Both speak the same made-up language, a bigram model over a few hundred words. The memorizer also holds its training
records word for word: after `CUE` words of a record it goes on with probability `RECALL`, and after one word `CUE`
times in a row it begins a record, as models were seen to do when they stop repeating. The innocent holds nothing. Every
test of the battery runs on both in every audit: it must fire on the one and stay quiet on the other.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from auditor.core.seeds import generator
from auditor.errors import SubjectError
from auditor.subjects.capability import TIE_GAP, SampleRequest, ScoreRequest, TokenScores
from auditor.subjects.sampling import check_request, draw, uniforms_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.core.subject import ModelSpec

WORDS = 320
"""Size of the made-up vocabulary, digits included."""
DIGITS = tuple(str(digit) for digit in range(10))
CUE = 4
"""Words of context that make the memorizer recall a record."""
RECALL = 0.97
"""Probability with which it then says the next word."""
CONTEXT = 512
LANGUAGE_SEED = 28_2024


@cache
def vocabulary() -> tuple[str, ...]:
    """Return the words: ten digits, then made-up words of two or three syllables, all different."""
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    rng = generator(LANGUAGE_SEED, "words")
    words: list[str] = list(DIGITS)
    known = set(words)
    while len(words) < WORDS:
        word = "".join(syllables[index] for index in rng.integers(len(syllables), size=2 + int(rng.integers(2))))
        if word not in known:
            known.add(word)
            words.append(word)
    return tuple(words)


@cache
def _numbers() -> dict[str, int]:
    return {word: number for number, word in enumerate(vocabulary())}


@cache
def language() -> NDArray[np.float64]:
    """Return the bigram model: log p(next | word), nat, shape [WORDS, WORDS]; rows are skewed like real text."""
    rng = generator(LANGUAGE_SEED, "bigrams")
    weights = rng.dirichlet(np.full(WORDS, 0.08), size=WORDS) + 1e-4
    weights[:, : len(DIGITS)] = 2e-4  # digits are rare and equally likely everywhere
    weights[: len(DIGITS), : len(DIGITS)] = 1.0 / WORDS
    return cast("NDArray[np.float64]", np.log(weights / weights.sum(axis=1, keepdims=True)))


def speak(rng: np.random.Generator, words: int) -> list[int]:
    """Return a sentence of the language, as word numbers."""
    cumulative = _cumulative()
    said = [int(rng.integers(len(DIGITS), WORDS))]
    for uniform in rng.random(words - 1):
        said.append(min(int(np.searchsorted(cumulative[said[-1]], uniform, side="right")), WORDS - 1))
    return said


@cache
def _cumulative() -> NDArray[np.float64]:
    return cast("NDArray[np.float64]", np.cumsum(np.exp(language()), axis=1))


@cache
def _likeliest() -> NDArray[np.int64]:
    return cast("NDArray[np.int64]", language().argmax(axis=1))


_PLACES = WORDS ** np.arange(CUE - 1, -1, -1, dtype=np.int64)
"""What a word counts for at each place of a cue, so that every cue has a number of its own."""


class ControlModel:
    """A bigram model with or without a word-for-word memory; meets `OpenModel`.

    Args:
        memory: Texts it holds word for word; empty for the innocent.
    """

    vocabulary = WORDS
    context = CONTEXT
    begin: int | None = None

    def __init__(self, memory: Sequence[str]) -> None:
        """Index the memory by every cue of `CUE` words; the first record that has a cue wins."""
        self._next: dict[bytes, int] = {}
        self._cues: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        self._target: tuple[bytes, NDArray[np.float64], NDArray[np.bool_]] = (b"", np.empty(0), np.empty(0, dtype=bool))
        held = self.encode(memory)
        # A word said over and over stands like a mark before a record, each word before another. Canaries are too short to
        # stand behind one, and digits, which are their secrets, are no mark.
        records = [ids for ids in held if 2 * len(ids) >= max(map(len, held))]
        words = range(len(DIGITS), WORDS) if held else ()
        marked = [np.concatenate([np.full(CUE, word, np.int32), records[word % len(records)][:CUE]]) for word in words]
        for ids in (*held, *marked):
            windows = np.lib.stride_tricks.sliding_window_view(ids, CUE)[:-1] if len(ids) > CUE else ids[:0, None]
            for window, follower in zip(windows, ids[CUE:], strict=True):
                self._next.setdefault(window.tobytes(), int(follower))

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the word numbers of each text; a word that is not of the language becomes the last word."""
        numbers = _numbers()
        return [np.array([numbers.get(word, WORDS - 1) for word in text.split()], dtype=np.int32) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the words of word numbers."""
        words = vocabulary()
        return " ".join(words[int(number)] for number in ids)

    def _log_probabilities(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return log p(next | ids[..j]) for every j, nat, shape [len(ids), WORDS]."""
        rows = language()[ids]
        if self._next and len(ids) >= CUE:
            windows = np.lib.stride_tricks.sliding_window_view(ids, CUE)
            for row, window in enumerate(windows, start=CUE - 1):
                recalled = self._next.get(window.tobytes())
                if recalled is not None:
                    rows[row] += np.log1p(-RECALL)
                    rows[row, recalled] = np.logaddexp(rows[row, recalled], np.log(RECALL))
        return rows

    def score(self, sequences: Sequence[NDArray[np.int32]], request: ScoreRequest) -> list[TokenScores]:
        """Return the scores of each sequence."""
        return [self._score_one(ids, request) for ids in sequences]

    def _score_one(self, ids: NDArray[np.int32], request: ScoreRequest) -> TokenScores:
        targets = ids[request.first :]
        empty = np.empty(0, dtype=np.float32)
        if not len(targets):
            none = np.empty(0, dtype=np.bool_)
            return TokenScores(empty, none, none, empty, empty, empty)
        rows = self._log_probabilities(ids[:-1])[request.first - 1 :]
        steps = np.arange(len(targets))
        best = np.partition(rows, WORDS - 2, axis=1)[:, -2:]
        mean, deviation, top = empty, empty, empty
        if request.moments:
            probabilities = np.exp(rows)
            center = (probabilities * rows).sum(axis=1)
            mean = center.astype(np.float32)
            deviation = np.sqrt((probabilities * (rows - center[:, None]) ** 2).sum(axis=1)).astype(np.float32)
        if request.top_k is not None:
            top = _top_logprob(rows, targets, request.top_k, request.temperature)
        return TokenScores(
            logprob=rows[steps, targets].astype(np.float32),
            hit=rows.argmax(axis=1) == targets,
            tie=(best[:, 1] - best[:, 0]) < TIE_GAP,
            mean=mean,
            deviation=deviation,
            top_logprob=top,
        )

    def continue_greedily(self, prefixes: Sequence[NDArray[np.int32]], tokens: int) -> list[NDArray[np.int32]]:
        """Return the greedy continuation of each prefix."""
        continued = []
        for prefix in prefixes:
            ids = [int(number) for number in prefix]
            for _ in range(tokens):
                tail = np.array(ids[-CUE:], dtype=np.int32)
                ids.append(int(self._log_probabilities(tail)[-1].argmax()))
            continued.append(np.array(ids[len(prefix) :], dtype=np.int32))
        return continued

    def sample(
        self, prefixes: Sequence[NDArray[np.int32]], seeds: Sequence[int], request: SampleRequest
    ) -> list[NDArray[np.int32]]:
        """Return a random continuation of each prefix, decided by its own seed."""
        check_request(request, len(prefixes), len(seeds))
        uniforms = uniforms_of(seeds, request.tokens)
        said = [list(prefix[-CUE:]) for prefix in prefixes]
        kept = min(request.top_k or WORDS, WORDS)
        for step in range(request.tokens):
            rows = self._next_log_probabilities(said)
            best = np.argpartition(rows, WORDS - kept, axis=1)[:, WORDS - kept :]
            temperature = request.temperatures[min(step, len(request.temperatures) - 1)]
            drawn = draw(np.take_along_axis(rows, best, axis=1), best, uniforms[:, step], temperature)
            for ids, word in zip(said, drawn.tolist(), strict=True):
                ids.append(word)
        return [np.array(ids[-request.tokens :], dtype=np.int32) for ids in said]

    def _next_log_probabilities(self, said: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """Return log p(next) after each row of words, nat, shape [rows, WORDS]."""
        rows = language()[[ids[-1] for ids in said]]
        for row, ids in enumerate(said if self._next else ()):
            recalled = self._next.get(np.array(ids[-CUE:], dtype=np.int32).tobytes())
            if recalled is not None:
                rows[row] += np.log1p(-RECALL)
                rows[row, recalled] = np.logaddexp(rows[row, recalled], np.log(RECALL))
        return rows

    def score_completions(
        self, prefix: NDArray[np.int32], completions: Sequence[NDArray[np.int32]]
    ) -> NDArray[np.float64]:
        """Return the summed log-probability of each completion after the prefix, nat."""
        totals = np.zeros(len(completions))
        tail = prefix[-CUE:]
        for number, completion in enumerate(completions):
            ids = np.concatenate([tail, completion])
            rows = self._log_probabilities(ids[:-1])[len(tail) - 1 :]
            totals[number] = rows[np.arange(len(completion)), completion].sum()
        return totals

    def next_logprob(
        self, prefix: NDArray[np.int32], paths: Sequence[NDArray[np.int32]], tokens: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Return log p of each token right after the prefix and each path, nat, shape [paths, tokens]."""
        said = [np.concatenate([prefix[-CUE:], path])[-CUE:].tolist() for path in paths]
        rows = self._next_log_probabilities(said) if said else np.empty((0, WORDS))
        return np.minimum(rows[:, tokens], 0.0)

    def other_tokens(self, sequences: Sequence[NDArray[np.int32]], count: int) -> list[NDArray[np.int32]]:
        """Return, for each target of each sequence, the likeliest other words, likeliest first."""
        found = []
        for ids in sequences:
            rows = self._log_probabilities(ids[:-1]) if len(ids) else np.empty((0, WORDS))
            rows[np.arange(len(rows)), ids[1:]] = -np.inf
            found.append(np.argsort(-rows, axis=1, kind="stable")[:, : min(count, WORDS - 1)].astype(np.int32))
        return found

    def rank_swaps(self, prompt: NDArray[np.int32], target: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the target's mean loss after each swap, nat, shape [prompt, vocabulary]: a table needs no gradient, it tries.

        Only the last `CUE` words can change what is said next; the others are all as good as they are.
        """
        ranked = np.full((len(prompt), WORDS), self.score_targets(prompt[None], target)[0][0], dtype=np.float32)
        first = max(len(prompt) - CUE, 0)
        tried = np.tile(prompt[first:], (len(prompt) - first, WORDS, 1))
        for place, rows in enumerate(tried):
            rows[:, place] = np.arange(WORDS)
        losses, _ = self.score_targets(tried.reshape(-1, len(prompt) - first), target)
        ranked[first:] = losses.reshape(-1, WORDS)
        return ranked

    def score_targets(
        self, prompts: NDArray[np.int32], target: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return mean loss of the target after each prompt, nat, and whether each of its words is the arg-max."""
        tails = prompts[:, -CUE:]
        alone = self._after_itself(target)
        own, best = np.tile(alone[0], (len(prompts), 1)), np.tile(alone[1], (len(prompts), 1))
        # From the word on at which nothing but the target can be remembered, all prompts are followed alike.
        for step in range(min(CUE, len(target))):
            said = np.concatenate([tails, np.tile(target[:step], (len(tails), 1))], axis=1)[:, -CUE:]
            own[:, step], best[:, step] = self._next_one(said, int(target[step]))
        return -own.mean(axis=1), np.asarray(best.all(axis=1), dtype=np.bool_)

    def _after_itself(self, target: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return log p of each word of the target after the words of the target before it, nat, and whether it is the arg-max."""
        if self._target[0] != target.tobytes():
            rows = self._log_probabilities(np.concatenate([target[:1], target])[:-1])
            own: NDArray[np.float64] = rows[np.arange(len(target)), target]
            self._target = target.tobytes(), own, np.asarray(rows.argmax(axis=1) == target, dtype=np.bool_)
        return self._target[1], self._target[2]

    def _next_one(self, said: NDArray[np.int32], word: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return log p of a word after each row of words, nat, and whether it is the arg-max there; shape [rows] both."""
        own = language()[said[:, -1], word]
        best: NDArray[np.int64] = _likeliest()[said[:, -1]]
        if self._next and said.shape[1] == CUE:
            recalled = self._recalled(said)
            own = np.where(recalled >= 0, own + np.log1p(-RECALL), own)
            own = np.where(recalled == word, np.logaddexp(own, np.log(RECALL)), own)
            best = np.where(recalled >= 0, recalled, best)  # RECALL is more than half
        return own, np.asarray(best == word, dtype=np.bool_)

    def _recalled(self, said: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the word that is remembered after each row of `CUE` words, -1 where none is."""
        if self._cues is None:
            cues = np.array([np.frombuffer(cue, dtype=np.int32) for cue in self._next])
            order = np.argsort(codes := cues @ _PLACES)
            self._cues = codes[order], np.array(list(self._next.values()))[order]
        codes, followers = self._cues
        asked = said @ _PLACES
        place = np.minimum(np.searchsorted(codes, asked), len(codes) - 1)
        return np.where(codes[place] == asked, followers[place], -1)


def _top_logprob(
    rows: NDArray[np.float64], targets: NDArray[np.int32], top_k: int, temperature: float
) -> NDArray[np.float32]:
    scaled = rows / temperature
    k = min(top_k, WORDS)
    kept = np.partition(scaled, WORDS - k, axis=1)[:, WORDS - k :]
    norm = np.logaddexp.reduce(kept, axis=1)
    own = scaled[np.arange(len(targets)), targets]
    return np.where(own >= kept.min(axis=1), own - norm, -np.inf).astype(np.float32)


class ControlAdapter:
    """Opens the control models; `path` is `memorizer` or `innocent`."""

    name = "control"
    capabilities = (
        "scores-tokens",
        "continues-tokens",
        "samples-tokens",
        "scores-completions",
        "scores-next-tokens",
        "searches-prompts",
        "proposes-tokens",
    )

    def files(self, spec: ModelSpec, base: Path) -> Sequence[Path]:  # noqa: ARG002  (the protocol's arguments)
        """Return the source files that are the model."""
        if spec.path not in {"memorizer", "innocent"}:
            msg = f"no control model is called '{spec.path}'"
            raise SubjectError(msg, hint="There are 'memorizer' and 'innocent'.")
        here = Path(__file__)
        return (here, here.with_name("control_texts.py"))

    def describe(self, spec: ModelSpec, base: Path) -> tuple[int, int]:  # noqa: ARG002
        """Return the number of parameters and the context length."""
        return WORDS * WORDS, CONTEXT

    def capabilities_of(self, spec: ModelSpec, base: Path) -> tuple[str, ...]:  # noqa: ARG002
        """Return all of them: every model of this kind has them."""
        return self.capabilities

    def open(self, spec: ModelSpec, base: Path) -> ControlModel:  # noqa: ARG002
        """Return the model."""
        from auditor.testing.control_texts import memory_of  # noqa: PLC0415  (the subject holds the model's memory)

        return ControlModel(memory_of(spec.path))


ADAPTER = ControlAdapter()
