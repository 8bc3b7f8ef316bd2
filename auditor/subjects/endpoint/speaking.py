"""A model behind a server: what it says after a text, and how likely it finds a text, as far as the server tells."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from math import log
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from auditor.errors import EndpointError, UnsupportedError
from auditor.evidence.shards import write_file
from auditor.subjects.capability import TIE_GAP, SampleRequest, ScoreRequest, TokenScores
from auditor.subjects.endpoint.answers import Echo, Said, read_completion, read_echo, read_message
from auditor.subjects.endpoint.ways import (
    CHAT,
    COMPLETIONS,
    chat_body,
    echo_body,
    limit,
    prompt_body,
    read_places,
)
from auditor.subjects.sampling import check_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from auditor.subjects.endpoint.asking import Asking
    from auditor.subjects.endpoint.units import Units
    from auditor.subjects.endpoint.ways import Way

MORE = 8
"""Tokens asked for beyond those that are compared: the cut through a text is then not where the answer ends."""
ROUNDS = 4
"""How often a model is asked to go on where what it said has fewer units than are needed."""
_NONE = np.empty(0, dtype=np.float32)
T = TypeVar("T")
S = TypeVar("S")


class EndpointModel:
    """A model behind a server; meets `OpenModel` and `RecordedModel`.

    A continuation that ends early is filled up with the id `vocabulary`, which stands for nothing and equals no token.

    Args:
        asking: The server.
        way: How it can be asked.
        units: What texts are cut into.
        context: Longest sequence the model takes, tokens.
        papers: What names the model instead of its weights, by file name; written beside the exchanges.
    """

    def __init__(
        self, asking: Asking, way: Way, units: Units, context: int, papers: Mapping[str, bytes] | None = None
    ) -> None:
        """Ask nothing yet."""
        self._asking = asking
        self._way = way
        self._units = units
        self._papers = dict(papers or {})
        self.vocabulary = units.vocabulary
        self.begin = units.begin
        self.context = context // units.per_unit

    def record_in(self, folder: Path) -> None:
        """Keep every exchange in a folder from now on, and answer what is recorded there without asking again."""
        self._asking.exchanges.record_in(folder)
        for name, content in self._papers.items():
            write_file(folder / name, content)

    def settle(self) -> None:
        """Sort what was recorded."""
        self._asking.exchanges.settle()

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the ids of each text, without special tokens."""
        return self._units.encode(texts)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        return self._units.decode(ids)

    def score(self, sequences: Sequence[NDArray[np.int32]], request: ScoreRequest) -> list[TokenScores]:
        """Return the scores of each sequence, as the server gives them for a text that it is made to repeat.

        Raises:
            BudgetError: What may be spent is spent; what was answered is kept.
            EndpointError: The server fails, or gives what cannot be.
            UnsupportedError: The server gives no such scores.
            ValueError: A sequence is longer than the context, or the request asks for what cannot be.
        """
        if request.moments or request.top_k is not None:
            msg = "the endpoint names a few likely tokens, and what is asked takes all of them"
            raise UnsupportedError(msg, hint="Open the model itself, as a causal-lm.")
        if request.first < 1:
            msg = f"first begins at 1: {request}"
            raise ValueError(msg)
        self._check([ids for ids in sequences if len(ids)], 1)
        return self._each(lambda ids: self._score(ids, request.first), sequences)

    def score_completions(
        self, prefix: NDArray[np.int32], completions: Sequence[NDArray[np.int32]]
    ) -> NDArray[np.float64]:
        """Return the summed log-probability of each completion after the prefix, nat; each takes a call of its own.

        Raises:
            BudgetError, EndpointError, UnsupportedError, ValueError: As `score` does.
        """
        if not len(prefix):
            msg = "the prefix is empty: begin with the model's beginning-of-sequence token or the text's first token"
            raise ValueError(msg)
        whole = [np.concatenate([prefix, completion]).astype(np.int32) for completion in completions]
        scores = self.score(whole, ScoreRequest(first=len(prefix)))
        return np.array([row.logprob.astype(np.float64).sum() for row in scores], dtype=np.float64)

    def continue_greedily(self, prefixes: Sequence[NDArray[np.int32]], tokens: int) -> list[NDArray[np.int32]]:
        """Return the continuation of each prefix at temperature 0, filled up with nothing where the model ends early.

        Raises:
            BudgetError: What may be spent is spent; what was answered is kept.
            EndpointError: The server fails, or gives what cannot be.
            ValueError: A prefix is empty, or does not fit the context with its continuation.
        """
        self._check(prefixes, tokens)
        return self._each(lambda prefix: self._filled(self._continued(prefix, tokens, MORE, {}), tokens), prefixes)

    def sample(
        self, prefixes: Sequence[NDArray[np.int32]], seeds: Sequence[int], request: SampleRequest
    ) -> list[NDArray[np.int32]]:
        """Return a random continuation of each prefix; shorter where the model ends early. The server may heed the seed.

        Raises:
            BudgetError, EndpointError, ValueError: As `continue_greedily` does.
            UnsupportedError: The server does not draw so.
        """
        if not self._way.samples:
            msg = "the endpoint does not draw among the k likeliest tokens at any temperature"
            raise UnsupportedError(msg, hint="Open the model itself, as a causal-lm.")
        check_request(request, len(prefixes), len(seeds))
        self._check(prefixes, request.tokens)
        return self._each(lambda pair: self._drawn(*pair, request), list(zip(prefixes, seeds, strict=True)))

    def _score(self, ids: NDArray[np.int32], first: int) -> TokenScores:
        if len(ids) <= first:
            nothing = np.empty(0, dtype=np.bool_)
            return TokenScores(_NONE, nothing, nothing, _NONE, _NONE, _NONE)
        if not self._way.scores:
            msg = "the endpoint does not say how likely the tokens of a given text are"
            raise UnsupportedError(
                msg, hint="Open the model itself, as a causal-lm, or ask a server that repeats texts."
            )
        body = echo_body(self._asking.spec, self._units, self._way, ids)
        echo = read_echo(self._asking.ask(COMPLETIONS, body, (len(ids), 1)))
        left_out = read_places(echo, self._units, ids)
        return _scores_of(echo, range(first - left_out, len(ids) - left_out))

    def _drawn(self, prefix: NDArray[np.int32], seed: int, request: SampleRequest) -> NDArray[np.int32]:
        """Return a continuation, drawn with one question for each run of steps of one temperature."""
        steps = [request.temperatures[min(step, len(request.temperatures) - 1)] for step in range(request.tokens)]
        said = prefix[:0]
        for temperature, run in groupby(steps):
            count = len(list(run))
            drawing: dict[str, Any] = {"temperature": float(temperature), "seed": seed % 2**31}
            if request.top_k is not None:
                drawing["top_k"] = request.top_k
            more = self._continued(np.concatenate([prefix, said]).astype(np.int32), count, 0, drawing)[:count]
            said = np.concatenate([said, more])
            if len(more) < count and self._units.per_unit == 1:
                break
        return said.astype(np.int32)

    def _continued(
        self, prefix: NDArray[np.int32], tokens: int, more: int, drawing: dict[str, Any]
    ) -> NDArray[np.int32]:
        """Return what the model says after a prefix, as far as it was asked to."""
        text = ""
        ids = prefix[:0]
        for _ in range(ROUNDS):
            asked = (tokens - len(ids)) * self._units.per_unit + more
            said = self._asked(prefix, ids, text, asked, drawing)
            if not text:
                exact = self._units.exact(said.tokens[:tokens]) if len(said.tokens) >= tokens else None
                if exact is not None:
                    return exact
            text += said.text
            ids = self._units.after(prefix, text)
            if said.cut and self._units.per_unit > 1:
                ids = ids[:-1]  # the last word may go on
            if len(ids) >= tokens or not said.cut or not said.text or self._way.api == "chat":
                break
        return ids

    def _asked(
        self, prefix: NDArray[np.int32], ids: NDArray[np.int32], text: str, asked: int, drawing: dict[str, Any]
    ) -> Said:
        """Return what the model says after a prefix and what it said before."""
        spec, way, head = self._asking.spec, self._way, self._units.decode(prefix.tolist())
        cost = ((len(prefix) + len(ids)) * self._units.per_unit, asked)
        if way.api == "chat":
            body = chat_body(spec, head) | limit(way, asked) | drawing
            told = len((spec.instruction or "").encode()) + 128
            said = read_message(self._asking.ask(CHAT, body, (cost[0] + told, asked)))
            return Said(_joined(head, said.text), said.cut, ())
        body = prompt_body(spec, self._units, way, np.concatenate([prefix, ids]).astype(np.int32)) | limit(way, asked)
        if way.prompt == "text":
            body["prompt"] = head + text
        if way.lists:
            body["logprobs"] = 1
        return read_completion(self._asking.ask(COMPLETIONS, body | drawing, cost))

    def _filled(self, ids: NDArray[np.int32], tokens: int) -> NDArray[np.int32]:
        nothing = np.full(max(tokens - len(ids), 0), self.vocabulary, dtype=np.int32)
        return np.concatenate([ids[:tokens], nothing]).astype(np.int32)

    def _check(self, sequences: Sequence[NDArray[np.int32]], more: int) -> None:
        for ids in sequences:
            if not len(ids) or len(ids) + more - 1 > self.context:
                msg = f"a sequence of {len(ids)} tokens and {more - 1} more does not fit the context of {self.context}"
                raise ValueError(msg)
            if int(ids.min()) < 0 or int(ids.max()) >= self.vocabulary:
                msg = f"a token id is outside the vocabulary of {self.vocabulary}"
                raise ValueError(msg)

    def _each(self, work: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """Return what comes of each item, several under way at once; the first failure ends those not yet begun."""
        workers = min(self._asking.spec.concurrency, len(items))
        if workers <= 1:
            return [work(item) for item in items]
        with ThreadPoolExecutor(workers) as pool:
            try:
                return list(pool.map(work, items))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _scores_of(echo: Echo, places: range) -> TokenScores:
    """Return the scores of some places of a text."""
    logprob, hit, tie = [], [], []
    for place in places:
        score = echo.logprob[place] if place >= 0 else None
        if score is None:
            msg = f"the server gives no log-probability of token {place} of a text"
            raise EndpointError(msg, hint="Does it put the token before every text that its model was trained with?")
        best = echo.best[place]
        first = max(score, *best[:1])
        second = best[1] if len(best) > 1 else log(0.5)
        logprob.append(score)
        hit.append(score >= first)
        tie.append(first - second < TIE_GAP)
    return TokenScores(
        np.array(logprob, dtype=np.float32),
        np.array(hit, dtype=np.bool_),
        np.array(tie, dtype=np.bool_),
        _NONE,
        _NONE,
        _NONE,
    )


def _joined(head: str, reply: str) -> str:
    """Return the reply of a chat model as it stands behind the text it was given.

    Many repeat that text, and none can be made to begin in the middle of a line: a space is put between two words.
    """
    said = reply.lstrip()
    if head.strip() and said.startswith(head.strip()):
        return said[len(head.strip()) :]
    apart = head[-1:].isspace() or reply[:1].isspace() or not reply[:1].isalnum()
    return reply if apart else f" {reply}"
