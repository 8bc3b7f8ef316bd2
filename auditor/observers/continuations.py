"""Continuations: some records of the sample continued for real, to check the teacher-forced verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.observers.token_scores import sampled

if TYPE_CHECKING:
    from collections.abc import Sequence


class Parameters(Record):
    """Which records are continued, and how far."""

    records: PositiveInt | None = None
    """Size of the scored sample; the continued records are a random part of it."""
    max_tokens: PositiveInt = 256
    """Longer texts are cut after this many tokens."""
    prefix: PositiveInt = 50
    """Tokens of the record that the model is given."""
    suffix: PositiveInt = 50
    """Tokens that it has to say."""
    generate: PositiveInt = 32
    """How many records are continued."""


class ContinuationsObserver:
    """Continues records greedily with a key-value cache."""

    name = "continuations"
    version = 1
    shard_items = 16
    parameters = Parameters

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return the different needs."""
        return list({need.identity(): need for need in needs}.values())

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether they are the same."""
        return joined == need

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="eligible", type="bool", unit="none", meaning="The record has a prefix and a suffix."),
            Column(name="equal", type="bool", unit="none", meaning="The greedy continuation is the suffix."),
            Column(name="agree", type="int32", unit="tokens", meaning="Tokens that agree from the start."),
            Column(name="continuation", type="string", unit="none", meaning="What the model said.", restricted=True),
            Column(name="suffix", type="string", unit="none", meaning="What the record says.", restricted=True),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records it continues."""
        return min(Parameters.from_plain(need.parameters).generate, sampled(need, facts))

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return the number of tokens that the model reads and says."""
        asked = Parameters.from_plain(need.parameters)
        return self.items(need, facts) * (asked.prefix + asked.suffix)

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Continue one part of the records."""
        asked = Parameters.from_plain(need.parameters)
        model = opened.model(need.model or "subject")
        dataset: Any = need.dataset
        source = opened.records(dataset)
        size = min(asked.generate, len(source) if asked.records is None else min(asked.records, len(source)))
        records = list(source.sample(size, part.seed, part.start, part.stop))
        lead = [] if model.begin is None else [model.begin]
        limit = min(asked.max_tokens, model.context - len(lead))
        encoded = [ids[:limit] for ids in model.encode([record.text for record in records])]
        eligible = [len(ids) >= asked.prefix + asked.suffix for ids in encoded]
        given = [
            np.concatenate([np.array(lead, dtype=np.int32), ids[: asked.prefix]])
            for ids, fits in zip(encoded, eligible, strict=True)
            if fits
        ]
        said = iter(model.continue_greedily(given, asked.suffix))
        agree, spoken, true = [], [], []
        for ids, fits in zip(encoded, eligible, strict=True):
            suffix = ids[asked.prefix : asked.prefix + asked.suffix]
            continuation = next(said) if fits else suffix[:0]
            differ = np.flatnonzero(continuation != suffix) if fits else np.array([0])
            agree.append(int(differ[0]) if len(differ) else asked.suffix)
            spoken.append(model.decode(continuation.tolist()))
            true.append(model.decode(suffix.tolist()))
        public = pa.table(
            {
                "id": pa.array([record.id for record in records], type=pa.string()),
                "eligible": pa.array(eligible, type=pa.bool_()),
                "equal": pa.array(
                    [fits and run == asked.suffix for fits, run in zip(eligible, agree, strict=True)], type=pa.bool_()
                ),
                "agree": pa.array(agree, type=pa.int32()),
            }
        )
        restricted = pa.table(
            {"continuation": pa.array(spoken, type=pa.string()), "suffix": pa.array(true, type=pa.string())}
        )
        return Shard(public, restricted, calls=len(given), tokens=len(given) * (asked.prefix + asked.suffix))


OBSERVER = ContinuationsObserver()
