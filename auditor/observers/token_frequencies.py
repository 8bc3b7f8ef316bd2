"""How frequent each token of a record is among all records, members and controls pooled; no model is asked but its tokenizer.

The counts do not know who is a member: dealing the labels anew changes nothing, so a score that uses them stays exchangeable.
Counting controls alone would not do: every control's own tokens would be among the counts, and no member's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.evidence.table import Ragged
from auditor.observers.equal_needs import EqualNeeds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Parameters(Record):
    """Which records are counted."""

    records: PositiveInt | None = None
    """Size of the random sample on each side; null: all records."""
    max_tokens: PositiveInt = 256
    """Longer texts are cut after this many tokens."""


class TokenFrequenciesObserver(EqualNeeds):
    """Counts tokens over members and controls, and says of every token of every record how frequent it is."""

    name = "token-frequencies"
    version = 1
    shard_items = 1 << 30  # one shard: all records are counted together
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="member", type="bool", unit="none", meaning="The record is a member."),
            Column(
                name="log_frequency",
                type="list<float>",
                unit="nat",
                meaning="Logarithm of the token's smoothed share of all tokens of members and controls, from token 0 on.",
            ),
        )

    def asks(self, need: Need) -> tuple[str, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return what the model must be able to do."""
        return ("scores-given-tokens",)

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records on both sides."""
        sides = (facts.subject.members, facts.subject.controls)
        asked = Parameters.from_plain(need.parameters).records
        totals = [side.records if side else 0 for side in sides]
        return sum(total if asked is None else min(asked, total) for total in totals)

    def tokens(self, need: Need, facts: Facts) -> int:  # noqa: ARG002
        """Return 0: no token is scored."""
        return 0

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Count the tokens of both sides and look every one of them up."""
        asked = Parameters.from_plain(need.parameters)
        model = opened.model(need.model or "subject")
        limit = min(asked.max_tokens, model.context - (model.begin is not None))
        names, member, kept = [], [], []
        for dataset in ("members", "controls"):
            side = list(opened.records(dataset).sample(asked.records, part.seed, 0, part.stop))
            names += [record.id for record in side]
            member += [dataset == "members"] * len(side)
            kept += [ids[:limit] for ids in model.encode([record.text for record in side])]
        table = log_frequencies(kept, model.vocabulary)
        public = pa.table(
            {
                "id": pa.array(names, type=pa.string()),
                "member": pa.array(member, type=pa.bool_()),
                "log_frequency": Ragged.of([table[ids] for ids in kept], np.float32).to_arrow(),
            }
        )
        return Shard(public, None, calls=0, tokens=0)


def log_frequencies(records: Sequence[NDArray[np.int32]], vocabulary: int) -> NDArray[np.float32]:
    """Return log((count + 1) / (tokens + vocabulary)) of every token of the vocabulary, nat (Laplace).

    Args:
        records: Token ids of each record.
        vocabulary: Number of different tokens.
    """
    counts = np.bincount(np.concatenate([np.empty(0, dtype=np.int32), *records]), minlength=vocabulary)
    return np.asarray(np.log((counts + 1.0) / (counts.sum() + vocabulary)), dtype=np.float32)


OBSERVER = TokenFrequenciesObserver()
