"""Scores of records beside those of their neighbours: the same texts with one token replaced by another likely one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.evidence.table import Ragged
from auditor.observers.equal_needs import EqualNeeds
from auditor.subjects.capability import OpenModel, ProposingModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TOKENS_PER_RECORD = 150
"""Guess for the plan, before anything is tokenised."""


class Parameters(Record):
    """Which records are scored, and beside how many neighbours."""

    records: PositiveInt | None = None
    """Size of the random sample on each side; null: all records."""
    max_tokens: PositiveInt = 256
    """Longer texts are cut after this many tokens."""
    neighbours: PositiveInt = 25
    """Neighbours of each record."""


class NeighbourScoresObserver(EqualNeeds):
    """Scores every record of both sides and its neighbours, which the model itself proposes.

    A neighbour has one token replaced, at a place drawn at random, by the likeliest other token there. No second model is
    needed, nothing is tokenised again, and a record and its neighbours have the same tokens but one.
    """

    name = "neighbour-scores"
    version = 1
    shard_items = 64
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""
        about = "Mean log p of the same tokens of each neighbour."
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="member", type="bool", unit="none", meaning="The record is a member."),
            Column(name="tokens", type="int32", unit="tokens", meaning="Scored tokens; 0: the record is too short."),
            Column(name="own", type="double", unit="nat", meaning="Mean log p of the record's scored tokens."),
            Column(name="neighbour", type="list<float>", unit="nat", meaning=about),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records on both sides."""
        return sum(_sizes(need, facts))

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return about how many tokens that is: a pass for the proposals, one for the record, one for each neighbour."""
        asked = Parameters.from_plain(need.parameters)
        return self.items(need, facts) * (asked.neighbours + 2) * min(asked.max_tokens, TOKENS_PER_RECORD)

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Score one part of the members, then of the controls.

        Raises:
            UnsupportedError: The model proposes no tokens.
        """
        asked = Parameters.from_plain(need.parameters)
        model = opened.model(need.model or "subject")
        if not isinstance(model, ProposingModel):
            msg = "the model does not say what else could stand in a text"
            raise UnsupportedError(msg, hint="Audit the weights through the adapter causal-lm.")
        members, _ = _sizes(need, opened.facts)
        records = list(opened.records("members").sample(asked.records, part.seed, part.start, min(part.stop, members)))
        member = [True] * len(records)
        if part.stop > members:
            start = max(part.start - members, 0)
            records += opened.records("controls").sample(asked.records, part.seed, start, part.stop - members)
            member += [False] * (len(records) - len(member))
        lead = [] if model.begin is None else [model.begin]
        texts = model.encode([record.text for record in records])
        room = min(asked.max_tokens, model.context - len(lead))
        sequences = [np.array([*lead, *ids[:room]], dtype=np.int32) for ids in texts]
        others = model.other_tokens(sequences, _ranks(sequences, asked.neighbours))
        rows = [
            _scores(model, ids, other, asked.neighbours, generator(part.seed, self.name, record.id))
            for record, ids, other in zip(records, sequences, others, strict=True)
        ]
        public = pa.table(
            {
                "id": pa.array([record.id for record in records], type=pa.string()),
                "member": pa.array(member, type=pa.bool_()),
                "tokens": pa.array([max(len(ids) - 1, 0) for ids in sequences], type=pa.int32()),
                "own": pa.array([float(row[0]) if len(row) else 0.0 for row in rows], type=pa.float64()),
                "neighbour": Ragged.of([row[1:].astype(np.float32) for row in rows], np.float32).to_arrow(),
            }
        )
        scored = sum(len(ids) * (1 + len(row)) for ids, row in zip(sequences, rows, strict=True))
        return Shard(public, None, calls=sum(1 + len(row) for row in rows), tokens=scored)


def _sizes(need: Need, facts: Facts) -> tuple[int, int]:
    asked = Parameters.from_plain(need.parameters).records
    sides = (facts.subject.members, facts.subject.controls)
    first, second = (
        0 if side is None else side.records if asked is None else min(asked, side.records) for side in sides
    )
    return first, second


def _ranks(sequences: Sequence[NDArray[np.int32]], neighbours: int) -> int:
    """Return how many other tokens a place must have, so that the shortest text has enough neighbours."""
    shortest = min((len(ids) - 1 for ids in sequences if len(ids) > 1), default=neighbours)
    return -(-neighbours // shortest)


def _scores(
    model: OpenModel,
    ids: NDArray[np.int32],
    others: NDArray[np.int32],
    neighbours: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the mean log p of a record's scored tokens, then of those of its neighbours; empty without a scored token."""
    if len(ids) < 2:
        return np.empty(0)
    # Every place once before any place twice: then the next likely token stands there.
    places = rng.permutation(len(ids) - 1)
    count = min(neighbours, others.size)
    where, which = places[np.arange(count) % len(places)], np.arange(count) // len(places)
    made = np.tile(ids[1:], (1 + count, 1))
    made[np.arange(1, 1 + count), where] = others[where, which]
    totals = model.score_completions(ids[:1], list(made))
    return totals / (len(ids) - 1)


OBSERVER = NeighbourScoresObserver()
