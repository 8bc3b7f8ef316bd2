"""Canary scores: canaries and never-planted candidates of the same format, the shared beginning computed once."""

from __future__ import annotations

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
    from collections.abc import Sequence

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


class CanaryScoresObserver:
    """Scores every canary, planted or not, and the candidates of its format."""

    name = "canary-scores"
    version = 1
    shard_items = 4096
    parameters = Parameters

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
                everything = _items_of(form, canaries, count, part.seed)
                prefix, completions = _divided(model, [form.fill(item.secret) for item in everything])
                some = completions[low - start : high - start]
                rows.extend(everything[low - start : high - start])
                lengths.extend(len(completion) for completion in some)
                scores.extend((-model.score_completions(prefix, some)).tolist())
                calls += 1
            start = stop
        complete = {form.id: form.space - len(_taken(form, canaries)) <= count for form in canaries.formats}
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


def _candidates(need: Need) -> int:
    return Parameters.from_plain(need.parameters).candidates


def _canaries(facts: Facts) -> CanarySet:
    if facts.canaries is None:
        msg = "the subject has no canaries"
        raise UnsupportedError(msg, hint="Make and plant them before training: auditor canary make.")
    return facts.canaries


def _taken(form: CanaryFormat, canaries: CanarySet) -> list[Canary]:
    return [canary for canary in canaries.canaries if canary.format == form.id]


def _count(form: CanaryFormat, canaries: CanarySet, candidates: int) -> int:
    taken = len(_taken(form, canaries))
    return taken + min(candidates, form.space - taken)


def _items_of(form: CanaryFormat, canaries: CanarySet, candidates: int, seed: int) -> list[_Item]:
    """Return the canaries of a format and its candidates: uniform, without replacement, never a canary's secret."""
    taken = _taken(form, canaries)
    used = {canary.secret for canary in taken}
    found = [_Item(form, canary.secret, canary) for canary in taken]
    rng = generator(seed, "candidates", form.id)
    if form.space - len(used) <= candidates:
        numbers = iter(range(form.space))
    else:
        # More than are needed, all different: enough remain when the canaries' own secrets are left out.
        wanted = min(form.space, candidates + len(used))
        numbers = iter(_distinct(rng, form.space, wanted).tolist())
    for number in numbers:
        secret = form.secret(_places(number, len(form.symbols), form.length))
        if secret not in used:
            found.append(_Item(form, secret, None))
        if len(found) == len(taken) + candidates:
            break
    return found


def _distinct(rng: np.random.Generator, space: int, count: int) -> NDArray[np.int64]:
    """Return different uniform numbers below `space`, in the order they were drawn."""
    if space <= 4 * count:
        return np.asarray(rng.permutation(space)[:count], dtype=np.int64)
    drawn: dict[int, None] = {}
    while len(drawn) < count:
        drawn.update(dict.fromkeys(rng.integers(space, size=count - len(drawn)).tolist()))
    return np.fromiter(drawn, dtype=np.int64, count=count)


def _places(number: int, base: int, length: int) -> tuple[int, ...]:
    places = []
    for _ in range(length):
        number, digit = divmod(number, base)
        places.append(digit)
    return tuple(reversed(places))


def _divided(model: OpenModel, texts: Sequence[str]) -> tuple[NDArray[np.int32], list[NDArray[np.int32]]]:
    """Return the longest token prefix that all texts share, and what follows it in each.

    Whole texts are tokenised, so that no boundary is made that training did not see.
    """
    lead = np.array([] if model.begin is None else [model.begin], dtype=np.int32)
    encoded = [np.concatenate([lead, ids]) for ids in model.encode(texts)]
    shortest = min(len(ids) for ids in encoded)
    block = np.stack([ids[:shortest] for ids in encoded])
    differing = np.flatnonzero((block != block[0]).any(axis=0))
    shared = max(1, int(differing[0]) if len(differing) else shortest)
    return encoded[0][:shared], [ids[shared:] for ids in encoded]


OBSERVER = CanaryScoresObserver()
