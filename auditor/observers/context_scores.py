"""Token scores of members and controls after a context of some controls: how much do records that were never shown help or hinder?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.errors import UnsupportedError
from auditor.evidence.table import Ragged
from auditor.observers.equal_needs import EqualNeeds
from auditor.subjects.capability import ScoreRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.capability import OpenModel
    from auditor.subjects.data import DataRecord

FEWEST = 8
"""Tokens of a control that are a context at all."""
SEPARATOR = "\n"


class Parameters(Record):
    """Which records are scored, and after what."""

    records: PositiveInt | None = None
    """Size of the random sample on each side; null: all records."""
    max_tokens: PositiveInt = 256
    """Longer texts are cut after this many tokens."""
    shots: PositiveInt = 7
    """Controls in the context, drawn at random; they and the records of their persons or documents are not scored."""


class ContextScoresObserver(EqualNeeds):
    """Scores every record of both sides after the same controls."""

    name = "context-scores"
    version = 1
    shard_items = 256
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="member", type="bool", unit="none", meaning="The record is a member."),
            Column(name="begin", type="int32", unit="tokens", meaning="Index of the first scored token of the text."),
            Column(
                name="logprob", type="list<float>", unit="nat", meaning="log p of each scored token after the context."
            ),
        )

    def asks(self, need: Need) -> tuple[str, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return what the model must be able to do."""
        return ("scores-given-tokens",)

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records on both sides."""
        return sum(_sizes(need, facts))

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return about how many tokens that is: the context stands before every record."""
        return self.items(need, facts) * (facts.context_length or 1024)

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Score one part of the members, then of the controls."""
        asked = Parameters.from_plain(need.parameters)
        model = opened.model(need.model or "subject")
        members, _ = _sizes(need, opened.facts)
        sides = (
            ("members", part.start, min(part.stop, members)),
            ("controls", max(part.start - members, 0), part.stop - members),
        )
        shown = list(opened.records("controls").sample(asked.shots, part.seed, 0, asked.shots))
        apart = {record.cluster for record in shown}
        records: list[DataRecord] = []
        member: list[bool] = []
        for dataset, start, stop in sides:
            if start >= stop:
                continue
            side = opened.records("members" if dataset == "members" else "controls")
            kept = [one for one in side.sample(asked.records, part.seed, start, stop) if one.cluster not in apart]
            records += kept
            member += [dataset == "members"] * len(kept)
        lead = 0 if model.begin is None else 1
        before = _context(model, shown, model.context - lead - asked.max_tokens)
        texts = [ids[: asked.max_tokens] for ids in model.encode([record.text for record in records])]
        begin = 1 - lead  # the tokens that are scored without a context, too
        scores = model.score([np.concatenate([before, ids]) for ids in texts], ScoreRequest(first=len(before) + begin))
        public = pa.table(
            {
                "id": pa.array([record.id for record in records], type=pa.string()),
                "member": pa.array(member, type=pa.bool_()),
                "begin": pa.array([begin] * len(records), type=pa.int32()),
                "logprob": Ragged.of([score.logprob for score in scores], np.float32).to_arrow(),
            }
        )
        return Shard(public, None, calls=len(records), tokens=sum(len(before) + len(ids) for ids in texts))


def _sizes(need: Need, facts: Facts) -> tuple[int, int]:
    asked = Parameters.from_plain(need.parameters).records
    sides = (facts.subject.members, facts.subject.controls)
    first, second = (
        0 if side is None else side.records if asked is None else min(asked, side.records) for side in sides
    )
    return first, second


def _context(model: OpenModel, shown: Sequence[DataRecord], room: int) -> NDArray[np.int32]:
    """Return the token ids of the context, begin-of-sequence token included; every control has an equal share of the room.

    Raises:
        UnsupportedError: The model's context has no room for it.
    """
    between = model.encode([SEPARATOR])[0]
    share = room // max(len(shown), 1) - len(between)
    if share < FEWEST:
        msg = f"the model's context of {model.context} tokens has no room for {len(shown)} controls before a record"
        raise UnsupportedError(msg, hint="Ask for fewer shots or a smaller max_tokens.")
    parts = [np.array([] if model.begin is None else [model.begin], dtype=np.int32)]
    for ids in model.encode([record.text for record in shown]):
        parts += [ids[:share], between]
    return np.concatenate(parts).astype(np.int32)


OBSERVER = ContextScoresObserver()
