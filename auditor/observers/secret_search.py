"""Secret search: in which order a search over a canary format's space comes upon the canaries, from the model alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.errors import UnsupportedError
from auditor.observers.secret_tokens import Spelling, Tokens, spell, symbols_of
from auditor.statistics.shortest_path import Child, Leaf, ShortestPaths
from auditor.subjects.capability import NextTokenModel, OpenModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.core.canary import Canary, CanaryFormat, CanarySet

TOKENS_PER_EXPANSION = 6
"""Guess for the plan, before anything is tokenised."""
Place = tuple[tuple[int, ...], Tokens]
"""A place in the space of secrets: the symbols that are complete, and the tokens of the next one so far."""
BATCH = 256
"""Prefixes whose next tokens are asked together."""


LARGEST_COST = 1e300
"""Stands for `nothing is left` where a cost must be finite."""
_COLUMNS = (
    ("format", "string", "none", "Id of the canary format."),
    ("canary", "string", "none", "Id of the canary."),
    ("planted", "bool", "none", "The coin flip before training."),
    ("repetitions", "int32", "records", "Times planted if planted."),
    ("searched", "bool", "none", "This tokenizer lets the format be searched exactly."),
    ("found", "bool", "none", "The search came upon the secret."),
    ("rank", "int64", "secrets", "Order in which it came out among all secrets, from 1; 0: not found."),
    ("canaries_before", "int64", "secrets", "Other canaries that came out before it."),
    ("expansions_found", "int64", "prefixes", "Prefixes asked until it came out; 0: not found."),
    ("expansions", "int64", "prefixes", "Prefixes of the format that were asked in all."),
    ("budget", "int64", "prefixes", "Prefixes that could be asked."),
    ("popped", "int64", "secrets", "Secrets of the format that came out in all."),
    ("space", "double", "secrets", "Size of the format's space."),
    ("exhausted", "bool", "none", "The budget was spent before the search was over."),
    ("cost", "double", "nat", "Minus log-probability along the path that found it; 0: not found."),
    ("frontier", "double", "nat", "Every secret that did not come out costs at least this."),
    ("score", "double", "nat", "Minus log-probability of the same tokens in one teacher-forced pass."),
)
_TYPES = {
    name: {"double": pa.float64(), "bool": pa.bool_()}.get(kind) or getattr(pa, kind)() for name, kind, _, _ in _COLUMNS
}


class Parameters(Record):
    """How long is searched."""

    expansions: PositiveInt = 4096
    """Prefixes of each format whose next tokens are asked, at most."""


@dataclass(slots=True)
class _Searched:
    """What the search of one format came upon."""

    popped: int = 0
    expansions: int = 0
    exhausted: bool = False
    frontier: float = 0.0
    calls: int = 0
    tokens: int = 0
    found: dict[str, tuple[int, int, Leaf[Place]]] | None = None
    """By secret: its rank, canaries that came out before it, and the leaf; None: the format cannot be searched."""
    scores: dict[str, float] | None = None
    """By secret of a canary: minus log-probability of its whole text after the head, in one teacher-forced pass, nat."""
    reason: str = ""


class SecretSearchObserver:
    """Searches each canary format by shortest paths, as one would who holds the model and knows the format alone."""

    name = "secret-search"
    version = 1
    shard_items = 4096
    parameters = Parameters

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return one need with the largest budget for each model."""
        largest: dict[str | None, Need] = {}
        for need in needs:
            held = largest.get(need.model)
            if held is None or _budget(need) > _budget(held):
                largest[need.model] = need
        return list(largest.values())

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether it searches at least as long: what came out earlier would have come out anyway."""
        return _budget(joined) >= _budget(need)

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""
        shown = [Column(name=name, type=kind, unit=unit, meaning=text) for name, kind, unit, text in _COLUMNS]
        said = "The secret, if the search came upon it."
        return (*shown, Column(name="secret", type="string", unit="none", meaning=said, restricted=True))

    def items(self, need: Need, facts: Facts) -> int:  # noqa: ARG002  (the protocol's argument)
        """Return the number of canaries."""
        return len(_canaries(facts).canaries)

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return about how many tokens pass the model."""
        return len(_canaries(facts).formats) * _budget(need) * TOKENS_PER_EXPANSION

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Search the formats of one part of the canaries; parts share what was searched already.

        Raises:
            UnsupportedError: The model does not say how likely next tokens are, or no format can be searched.
        """
        canaries = _canaries(opened.facts)
        role = need.model or "subject"
        budget = _budget(need)
        by_format = [(form, [c for c in canaries.canaries if c.format == form.id]) for form in canaries.formats]
        rows = [(form, canary) for form, mine in by_format for canary in mine][part.start : part.stop]
        searched: dict[str, _Searched] = {}
        calls = tokens = 0
        for form, mine in by_format:
            key = f"{self.name} {role} {budget} {canaries.commitment} {form.id} {part.seed}"
            fresh: list[bool] = []

            def search(form: CanaryFormat = form, mine: list[Canary] = mine, fresh: list[bool] = fresh) -> _Searched:
                fresh.append(True)
                return _search(opened.model(role), form, mine, budget, part.seed)

            searched[form.id] = opened.remember(key, search)
            if fresh:
                calls, tokens = calls + searched[form.id].calls, tokens + searched[form.id].tokens
        reasons = [one.reason for one in searched.values()]
        if all(reasons):
            raise UnsupportedError(
                "; ".join(reasons), hint="Plant canaries of formats that this tokenizer keeps apart."
            )
        return Shard(_public(rows, searched, budget), _restricted(rows, searched), calls=calls, tokens=tokens)


def _budget(need: Need) -> int:
    return Parameters.from_plain(need.parameters).expansions


def _canaries(facts: Facts) -> CanarySet:
    if facts.canaries is None:
        msg = "the subject has no canaries"
        raise UnsupportedError(msg, hint="Make and plant them before training: auditor canary make.")
    return facts.canaries


def _search(model: OpenModel, form: CanaryFormat, canaries: Sequence[Canary], budget: int, seed: int) -> _Searched:
    """Return what a search comes upon until the budget is spent or all canaries of the format came out."""
    if not isinstance(model, NextTokenModel):
        msg = "the model does not say how likely any token is to come next"
        raise UnsupportedError(msg, hint="Audit the weights through the adapter causal-lm.")
    searched = _Searched()
    secrets = sorted({canary.secret for canary in canaries})
    try:
        spelling = spell(model, form, secrets, seed)
    except UnsupportedError as error:
        searched.reason = error.message
        return searched
    wanted = set(secrets)
    searched.found = {}
    space = ShortestPaths[Place](
        ((), ()), _Expander(model, model, form, spelling, searched), budget=budget, batch=BATCH
    )
    for leaf in space:
        searched.popped += 1
        secret = form.secret(leaf.node[0])
        if secret in wanted:
            wanted.remove(secret)
            searched.found[secret] = (searched.popped, len(searched.found), leaf)
        if not wanted:
            break
    searched.expansions, searched.exhausted, searched.frontier = space.expansions, space.exhausted, space.frontier
    whole = [_ids(spelling.path(symbols_of(form, secret)) + spelling.tail) for secret in secrets]
    searched.scores = dict(zip(secrets, (-model.score_completions(spelling.head, whole)).tolist(), strict=True))
    searched.calls += 1
    searched.tokens += sum(len(ids) for ids in whole)
    return searched


class _Expander:
    """Asks the model for the costs of what can follow some places."""

    def __init__(
        self, model: OpenModel, asked: NextTokenModel, form: CanaryFormat, spelling: Spelling, counted: _Searched
    ) -> None:
        """Number the tokens of the alphabet; `model` and `asked` are the same, as two protocols see it."""
        self._model, self._asked, self._form, self._spelling, self._counted = model, asked, form, spelling, counted
        self._columns = {int(token): column for column, token in enumerate(spelling.alphabet)}

    def __call__(self, places: Sequence[tuple[float, Place]]) -> list[list[Child[Place]]]:
        """Return what can follow each place."""
        found: list[list[Child[Place]]] = [[] for _ in places]
        spelled = [len(place[0]) == self._form.length for _, place in places]
        if open_rows := [row for row, done in enumerate(spelled) if not done]:
            self._follow(open_rows, places, found)
        if last_rows := [row for row, done in enumerate(spelled) if done]:
            self._finish(last_rows, places, found)
        return found

    def _follow(self, rows: list[int], places: Sequence[tuple[float, Place]], found: list[list[Child[Place]]]) -> None:
        spelling, length = self._spelling, self._form.length
        paths = [_ids(spelling.path(symbols) + partial) for _, (symbols, partial) in (places[row] for row in rows)]
        costs = -self._asked.next_logprob(spelling.head, paths, spelling.alphabet)
        self._count(paths)
        for row, following in zip(rows, costs.tolist(), strict=True):
            cost, (symbols, partial) = places[row]
            steps = spelling.steps[len(symbols)]
            for token, symbol in steps[partial].items():
                total = cost + following[self._columns[token]]
                if symbol >= 0:
                    complete = len(symbols) + 1 == length and not spelling.tail
                    found[row].append(Child(total, complete, ((*symbols, symbol), ())))
                if (longer := (*partial, token)) in steps:
                    found[row].append(Child(total, False, (symbols, longer)))

    def _finish(self, rows: list[int], places: Sequence[tuple[float, Place]], found: list[list[Child[Place]]]) -> None:
        """Add what stands after the secret: it is the same for all, and not equally likely after each."""
        spelling = self._spelling
        whole = [_ids(spelling.path(places[row][1][0]) + spelling.tail) for row in rows]
        costs = -self._model.score_completions(spelling.head, whole)
        self._count(whole)
        for row, total in zip(rows, costs.tolist(), strict=True):
            cost, place = places[row]
            found[row].append(Child(max(cost, total), True, place))

    def _count(self, paths: Sequence[NDArray[np.int32]]) -> None:
        self._counted.calls += 1
        self._counted.tokens += len(self._spelling.head) + sum(len(path) for path in paths)


def _ids(tokens: Tokens) -> NDArray[np.int32]:
    return np.array(tokens, dtype=np.int32)


def _public(rows: Sequence[tuple[CanaryFormat, Canary]], searched: dict[str, _Searched], budget: int) -> pa.Table:
    kept: dict[str, list[object]] = {name: [] for name in _TYPES}
    for form, canary in rows:
        one = searched[form.id]
        rank, before, leaf = (one.found or {}).get(canary.secret, (0, 0, None))
        values = (
            form.id,
            canary.id,
            canary.planted,
            canary.repetitions,
            not one.reason,
            leaf is not None,
            rank,
            before,
            leaf.expansions if leaf else 0,
            one.expansions,
            budget,
            one.popped,
            float(form.space),
            one.exhausted,
            leaf.cost if leaf else 0.0,
            min(one.frontier, LARGEST_COST),
            (one.scores or {}).get(canary.secret, 0.0),
        )
        for name, value in zip(kept, values, strict=True):
            kept[name].append(value)
    return pa.table({name: pa.array(values, type=_TYPES[name]) for name, values in kept.items()})


def _restricted(rows: Sequence[tuple[CanaryFormat, Canary]], searched: dict[str, _Searched]) -> pa.Table:
    said = [canary.secret if canary.secret in (searched[form.id].found or {}) else "" for form, canary in rows]
    return pa.table({"secret": pa.array(said, type=pa.string())})


OBSERVER = SecretSearchObserver()
