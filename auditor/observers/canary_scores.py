"""Canary scores: canaries and never-planted candidates of the same format, the shared beginning computed once."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.canary import Canary, CanaryFormat, CanarySet
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from auditor.subjects.capability import OpenModel

TOKENS_PER_SECRET = 12
"""Guess for the plan, before anything is tokenised."""


class Parameters(Record):
    """How many candidates the canaries are ranked among."""

    candidates: PositiveInt = 4096
    """Never-planted candidates per format; the whole remaining space if it is not larger."""


@dataclass(frozen=True, slots=True)
class _Item:
    form: CanaryFormat
    secret: str
    canary: Canary | None


@dataclass(frozen=True, slots=True)
class _Divided:
    """The items of a format, the tokens that all of them begin with, and what follows in each."""

    items: list[_Item]
    shared: NDArray[np.int32]
    rests: list[NDArray[np.int32]]


class CanaryScoresObserver:
    """Scores every canary, planted or not, and the candidates of its format."""

    name = "canary-scores"
    version = 1
    shard_items = 4096
    parameters = Parameters

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._latest: tuple[weakref.ref[OpenModel], tuple[CanaryFormat, str, int, int], _Divided] | None = None

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return one need with the most candidates for each model."""
        largest: dict[str | None, Need] = {}
        for need in needs:
            held = largest.get(need.model)
            if held is None or _candidates(need) > _candidates(held):
                largest[need.model] = need
        return list(largest.values())

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether it has at least as many candidates."""
        return _candidates(joined) >= _candidates(need)

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""
        return (
            Column(name="format", type="string", unit="none", meaning="Id of the canary format."),
            Column(name="canary", type="string", unit="none", meaning="Id of the canary, empty for a candidate."),
            Column(name="planted", type="bool", unit="none", meaning="The coin flip before training."),
            Column(name="repetitions", type="int32", unit="records", meaning="Times planted if planted; 0: candidate."),
            Column(name="tokens", type="int32", unit="tokens", meaning="Tokens after the beginning the format shares."),
            Column(name="score", type="double", unit="nat", meaning="Minus log-probability of those tokens."),
            Column(
                name="exhaustive", type="bool", unit="none", meaning="The candidates are all of the remaining space."
            ),
            Column(name="secret", type="string", unit="none", meaning="The secret.", restricted=True),
        )

    def asks(self, need: Need) -> tuple[str, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return what the model must be able to do."""
        return ("scores-completions",)

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of canaries and candidates."""
        canaries = _canaries(facts)
        return sum(_count(form, canaries, _candidates(need)) for form in canaries.formats)

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return about how many tokens are scored."""
        return self.items(need, facts) * TOKENS_PER_SECRET

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Score one part of the canaries and candidates."""
        canaries = _canaries(opened.facts)
        model = opened.model(need.model or "subject")
        count = _candidates(need)
        rows: list[_Item] = []
        lengths: list[int] = []
        scores: list[float] = []
        start = calls = 0
        for form in canaries.formats:
            stop = start + _count(form, canaries, count)
            low, high = max(part.start, start), min(part.stop, stop)
            if low < high:
                divided = self._divided(model, form, canaries, count, part.seed)
                some = slice(low - start, high - start)
                found, tokens, asked = _scored(model, divided.shared, divided.rests[some])
                rows.extend(divided.items[some])
                lengths.extend(tokens)
                scores.extend(found)
                calls += asked
            start = stop
        complete = {form.id: form.space - len(_secrets(form, canaries)) <= count for form in canaries.formats}
        public = pa.table(
            {
                "format": pa.array([row.form.id for row in rows], type=pa.string()),
                "canary": pa.array([row.canary.id if row.canary else "" for row in rows], type=pa.string()),
                "planted": pa.array([bool(row.canary and row.canary.planted) for row in rows], type=pa.bool_()),
                "repetitions": pa.array([row.canary.repetitions if row.canary else 0 for row in rows], type=pa.int32()),
                "tokens": pa.array(lengths, type=pa.int32()),
                "score": pa.array(scores, type=pa.float64()),
                "exhaustive": pa.array([complete[row.form.id] for row in rows], type=pa.bool_()),
            }
        )
        restricted = pa.table({"secret": pa.array([row.secret for row in rows], type=pa.string())})
        return Shard(public, restricted, calls=calls, tokens=sum(lengths))

    def _divided(self, model: OpenModel, form: CanaryFormat, canaries: CanarySet, count: int, seed: int) -> _Divided:
        """Return the tokenised items of a format; shards that follow each other share them."""
        key = (form, canaries.commitment, count, seed)
        if self._latest is None or self._latest[0]() is not model or self._latest[1] != key:
            self._latest = (weakref.ref(model), key, _divide(model, _items_of(form, canaries, count, seed)))
        return self._latest[2]


def _candidates(need: Need) -> int:
    return Parameters.from_plain(need.parameters).candidates


def _canaries(facts: Facts) -> CanarySet:
    if facts.canaries is None:
        msg = "the subject has no canaries"
        raise UnsupportedError(msg, hint="Make and plant them before training: auditor canary make.")
    return facts.canaries


def _taken(form: CanaryFormat, canaries: CanarySet) -> list[Canary]:
    return [canary for canary in canaries.canaries if canary.format == form.id]


def _secrets(form: CanaryFormat, canaries: CanarySet) -> set[str]:
    """Return the secrets of a format's canaries, planted or not: no candidate may equal one."""
    return {canary.secret for canary in _taken(form, canaries)}


def _count(form: CanaryFormat, canaries: CanarySet, candidates: int) -> int:
    return len(_taken(form, canaries)) + min(candidates, form.space - len(_secrets(form, canaries)))


def _items_of(form: CanaryFormat, canaries: CanarySet, candidates: int, seed: int) -> list[_Item]:
    """Return the canaries of a format and its candidates: uniform, without replacement, never a canary's secret."""
    used = _secrets(form, canaries)
    items = [_Item(form, canary.secret, canary) for canary in _taken(form, canaries)]
    wanted = min(candidates, form.space - len(used))
    for secret in _drawn(form, generator(seed, "candidates", form.id), wanted + len(used)):
        if not wanted:
            break
        if secret not in used:
            items.append(_Item(form, secret, None))
            used.add(secret)
            wanted -= 1
    return items


def _drawn(form: CanaryFormat, rng: np.random.Generator, count: int) -> Iterator[str]:
    """Yield secrets in random order, uniform: from a list of the whole space if it is small, else as often as asked."""
    base = len(form.symbols)
    if form.space <= 4 * count:
        for number in rng.permutation(form.space).tolist():
            yield form.secret(_places(number, base, form.length))
        return
    while True:  # secrets drawn twice are passed over by the caller
        for row in rng.integers(base, size=(count, form.length)).tolist():
            yield form.secret(tuple(row))


def _places(number: int, base: int, length: int) -> tuple[int, ...]:
    places = []
    for _ in range(length):
        number, digit = divmod(number, base)
        places.append(digit)
    return tuple(reversed(places))


def _divide(model: OpenModel, items: list[_Item]) -> _Divided:
    """Return the longest token prefix that all items share, and what follows it in each.

    Whole texts are tokenised, so that no boundary is made that training did not see.
    """
    lead = np.array([] if model.begin is None else [model.begin], dtype=np.int32)
    encoded = [np.concatenate([lead, ids]) for ids in model.encode([item.form.fill(item.secret) for item in items])]
    longest = encoded[0]
    for ids in encoded:
        shortest = min(len(longest), len(ids))
        differing = np.flatnonzero(longest[:shortest] != ids[:shortest])
        longest = longest[: differing[0] if len(differing) else shortest]
    return _Divided(items, longest, [ids[len(longest) :] for ids in encoded])


def _scored(
    model: OpenModel, shared: NDArray[np.int32], rests: Sequence[NDArray[np.int32]]
) -> tuple[list[float], list[int], int]:
    """Return the score and the number of scored tokens of each item, and how often a beginning was computed.

    Where nothing stands before the first token, it has no probability: scoring starts at the second.
    """
    if len(shared):
        return (-model.score_completions(shared, rests)).tolist(), [len(rest) for rest in rests], 1
    scores = np.zeros(len(rests))
    by_first: dict[int, list[int]] = {}
    for row, rest in enumerate(rests):
        if len(rest):
            by_first.setdefault(int(rest[0]), []).append(row)
    for rows in by_first.values():
        scores[rows] = -model.score_completions(rests[rows[0]][:1], [rests[row][1:] for row in rows])
    return scores.tolist(), [max(len(rest) - 1, 0) for rest in rests], len(by_first)


OBSERVER = CanaryScoresObserver()
