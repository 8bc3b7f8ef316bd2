"""How much real text of one side stands word for word on the other: the floor of every match of what a model says.

No model is asked; its tokenizer cuts the texts, as it does where what the model says is matched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.observers.corpora import Corpus, Found, Side, compared_documents, corpus
from auditor.observers.equal_needs import EqualNeeds
from auditor.subjects.corpus_index import covered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Parameters(Record):
    """Which texts are matched, and how much of them."""

    records: PositiveInt | None = 2000
    """Most records of each side that are matched; the others are listed alone. Null: all that are listed."""
    documents: PositiveInt | None = None
    """Most records of each side that are listed and matched against; null: as many as the smaller side has."""
    tokens: PositiveInt = 128
    """Longer records are cut after so many tokens."""
    least: PositiveInt = 50
    """Fewest tokens of a match that covers."""


class CorpusMatchesObserver(EqualNeeds):
    """Lists the compared records of both sides, in the order of their index, and matches some against the other side."""

    name = "corpus-matches"
    version = 1
    shard_items = 512
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:
        """Return the columns it writes."""
        least = parameters.least
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="member", type="bool", unit="none", meaning="The record is a member."),
            Column(name="matched", type="bool", unit="none", meaning="The record was matched; else the rest is 0."),
            Column(name="tokens", type="int32", unit="tokens", meaning="Tokens that were matched."),
            Column(name="longest", type="int32", unit="tokens", meaning="Longest match on the other side."),
            Column(
                name="match", type="string", unit="none", meaning="Id of a document of the other side that holds it."
            ),
            Column(name="covered", type="int32", unit="tokens", meaning=f"Tokens in matches of {least} or more."),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records on both sides."""
        return 2 * compared_documents(facts, Parameters.from_plain(need.parameters).documents)

    def tokens(self, need: Need, facts: Facts) -> int:  # noqa: ARG002  (the protocol's arguments)
        """Return 0: no model is asked."""
        return 0

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Match one part of the records: members first, then controls."""
        asked = Parameters.from_plain(need.parameters)
        count = self.items(need, opened.facts) // 2
        sides: tuple[tuple[Literal["members", "controls"], Side, int], ...]
        sides = (("members", "control", 0), ("controls", "member", count))
        tables: list[pa.Table] = []
        for side, other, start in sides:
            first, last = (min(max(edge - start, 0), count) for edge in (part.start, part.stop))
            records = list(opened.records(side).sample(count, part.seed, first, last)) if first < last else []
            chosen = _matched(opened, side, asked.records, count, part.seed)
            matched = [record.id in chosen for record in records]
            texts = [record.text for record, is_matched in zip(records, matched, strict=True) if is_matched]
            encoded = [ids[: asked.tokens] for ids in opened.model("subject").encode(texts)]
            held = corpus(opened, other, part.seed, asked.documents)
            found = iter(zip(encoded, held.match(encoded, asked.least), strict=True) if held is not None else ())
            rows = [_row(next(found), held, asked.least) if is_matched else _NOT_MATCHED for is_matched in matched]
            columns: dict[str, Any] = {
                "id": pa.array([record.id for record in records], type=pa.string()),
                "cluster": pa.array([record.cluster for record in records], type=pa.string()),
                "member": pa.array([side == "members"] * len(records), type=pa.bool_()),
                "matched": pa.array(matched, type=pa.bool_()),
            }
            for name, kind in _TYPES.items():
                columns[name] = pa.array([row[name] for row in rows], type=kind)
            tables.append(pa.table(columns))
        return Shard(pa.concat_tables(tables), None, calls=0, tokens=0)


_TYPES = {"tokens": pa.int32(), "longest": pa.int32(), "match": pa.string(), "covered": pa.int32()}
_NOT_MATCHED: dict[str, Any] = {"tokens": 0, "longest": 0, "match": "", "covered": 0}


def _matched(
    opened: OpenedSubject, side: Literal["members", "controls"], records: int | None, count: int, seed: int
) -> frozenset[str]:
    """Return the ids of the records that are matched: samples of one seed are nested, so they are among those listed."""
    size = count if records is None else min(records, count)

    def chosen() -> frozenset[str]:
        return frozenset(record.id for record in opened.records(side).sample(size, seed, 0, size))

    return opened.remember(f"corpus-matches {side} {size} {seed}", chosen)


def _row(pair: tuple[NDArray[np.int32], Found], held: Corpus | None, least: int) -> dict[str, Any]:
    ids, found = pair
    return {
        "tokens": len(ids),
        "longest": int(found.length.max(initial=0)),
        "match": "" if found.nearest < 0 or held is None else str(held.ids[found.nearest]),
        "covered": covered(found.length, least),
    }


OBSERVER = CorpusMatchesObserver()
