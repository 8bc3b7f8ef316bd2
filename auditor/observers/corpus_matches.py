"""How much real text of one side stands word for word on the other: the floor of every match of what a model says.

No model is asked; its tokenizer cuts the texts, as it does where what the model says is matched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.observers.corpora import compared_documents, corpus
from auditor.subjects.corpus_index import covered

if TYPE_CHECKING:
    from collections.abc import Sequence


class Parameters(Record):
    """Which texts are matched, and how much of them."""

    records: PositiveInt | None = 2000
    """Most records of each side that are matched; null: as many as the smaller side has."""
    documents: PositiveInt | None = None
    """Most documents of each side that are matched against; null: as many as the smaller side has."""
    tokens: PositiveInt = 128
    """Longer records are cut after so many tokens."""
    least: PositiveInt = 50
    """Fewest tokens of a match that covers."""


class CorpusMatchesObserver:
    """Matches members against controls and controls against members."""

    name = "corpus-matches"
    version = 1
    shard_items = 512
    parameters = Parameters

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return the different needs."""
        return list({need.identity(): need for need in needs}.values())

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether they are the same."""
        return joined == need

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:
        """Return the columns it writes."""
        least = parameters.least
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="member", type="bool", unit="none", meaning="The record is a member."),
            Column(name="tokens", type="int32", unit="tokens", meaning="Tokens that were matched."),
            Column(name="longest", type="int32", unit="tokens", meaning="Longest match on the other side."),
            Column(
                name="match", type="string", unit="none", meaning="Id of a document of the other side that holds it."
            ),
            Column(name="covered", type="int32", unit="tokens", meaning=f"Tokens in matches of {least} or more."),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records on both sides."""
        asked = Parameters.from_plain(need.parameters)
        count = compared_documents(facts)
        return 2 * (count if asked.records is None else min(asked.records, count))

    def tokens(self, need: Need, facts: Facts) -> int:  # noqa: ARG002  (the protocol's arguments)
        """Return 0: no model is asked."""
        return 0

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Match one part of the records: members first, then controls."""
        asked = Parameters.from_plain(need.parameters)
        count = self.items(need, opened.facts) // 2
        tables: list[pa.Table] = []
        for side, other, start in (("members", "control", 0), ("controls", "member", count)):
            first, last = (min(max(edge - start, 0), count) for edge in (part.start, part.stop))
            records = list(opened.records(side).sample(count, part.seed, first, last)) if first < last else []  # type: ignore[arg-type]
            texts = [ids[: asked.tokens] for ids in opened.model("subject").encode([record.text for record in records])]
            held = corpus(opened, other, part.seed, asked.documents)  # type: ignore[arg-type]
            found = held.match(texts, asked.least) if held is not None else []
            tables.append(
                pa.table(
                    {
                        "id": pa.array([record.id for record in records], type=pa.string()),
                        "cluster": pa.array([record.cluster for record in records], type=pa.string()),
                        "member": pa.array([side == "members"] * len(records), type=pa.bool_()),
                        "tokens": pa.array([len(ids) for ids in texts], type=pa.int32()),
                        "longest": pa.array([int(row.length.max(initial=0)) for row in found], type=pa.int32()),
                        "match": pa.array(
                            ["" if row.nearest < 0 or held is None else str(held.ids[row.nearest]) for row in found],
                            type=pa.string(),
                        ),
                        "covered": pa.array([covered(row.length, asked.least) for row in found], type=pa.int32()),
                    }
                )
            )
        return Shard(pa.concat_tables(tables), None, calls=0, tokens=0)


OBSERVER = CorpusMatchesObserver()
