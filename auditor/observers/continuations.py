"""Continuations: some records of the sample continued for real, and how near each comes to what the record says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.observers.excerpt import masked
from auditor.observers.token_scores import REGURGITATED, sampled
from auditor.statistics.text_similarity import bleu, common_run, edit_distance, rouge_l

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


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
    version = 2
    shard_items = 16
    parameters = Parameters

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return one need for all that continue alike: the most records."""
        joined: list[Need] = []
        for need in needs:
            asked = Parameters.from_plain(need.parameters)
            for number, held in enumerate(joined):
                have = Parameters.from_plain(held.parameters)
                if _alike(held, have, need, asked):
                    joined[number] = held.model_copy(update={"parameters": _union(have, asked).plain()})
                    break
            else:
                joined.append(need)
        return joined

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether an observation made for `joined` holds all that `need` asks."""
        have, asked = Parameters.from_plain(joined.parameters), Parameters.from_plain(need.parameters)
        return _alike(joined, have, need, asked) and _union(have, asked) == have

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes; numbers are 0 and -1 where a record is not eligible."""
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="copies", type="int32", unit="records", meaning="How often it stood in training, as declared."),
            Column(name="source", type="string", unit="none", meaning="Source of the record."),
            Column(name="eligible", type="bool", unit="none", meaning="The record has a prefix and a suffix."),
            Column(name="equal", type="bool", unit="none", meaning="The greedy continuation is the suffix."),
            Column(name="agree", type="int32", unit="tokens", meaning="Tokens that agree from the start."),
            Column(name="distance", type="int32", unit="tokens", meaning="Edit distance to the suffix."),
            Column(
                name="chance", type="int32", unit="tokens", meaning="Edit distance to the suffix of another record."
            ),
            Column(name="bleu", type="double", unit="none", meaning="BLEU-4 against the suffix, tokens."),
            Column(name="rouge", type="double", unit="none", meaning="ROUGE-L against the suffix, tokens."),
            Column(name="run", type="int32", unit="tokens", meaning="Longest run that stands in both."),
            Column(name="distinct", type="int32", unit="tokens", meaning="Different tokens of the suffix."),
            Column(name="excerpt", type="string", unit="none", meaning="Masked suffix where 20 tokens or more agree."),
            Column(name="continuation", type="string", unit="none", meaning="What the model said.", restricted=True),
            Column(name="suffix", type="string", unit="none", meaning="What the record says.", restricted=True),
        )

    def asks(self, need: Need) -> tuple[str, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return what the model must be able to do."""
        return ("continues-tokens",)

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
        suffixes = [ids[asked.prefix : asked.prefix + asked.suffix] for ids in encoded]
        continuations = [next(said) if fits else ids[:0] for ids, fits in zip(suffixes, eligible, strict=True)]
        others = _others([row for row, fits in enumerate(eligible) if fits])
        rows = [
            _compared(continuation, suffix, suffixes[others[row]] if row in others else None, fits)
            for row, (continuation, suffix, fits) in enumerate(zip(continuations, suffixes, eligible, strict=True))
        ]
        spoken, true = ([model.decode(ids.tolist()) for ids in some] for some in (continuations, suffixes))
        columns: dict[str, Any] = {
            "id": pa.array([record.id for record in records], type=pa.string()),
            "cluster": pa.array([record.cluster for record in records], type=pa.string()),
            "copies": pa.array([record.copies for record in records], type=pa.int32()),
            "source": pa.array([record.source for record in records], type=pa.string()),
            "eligible": pa.array(eligible, type=pa.bool_()),
        }
        for name, kind in _COMPARED.items():
            columns[name] = pa.array([row[name] for row in rows], type=kind)
        columns["excerpt"] = pa.array(
            [
                masked(text, asked.suffix) if row["run"] >= REGURGITATED else ""
                for text, row in zip(true, rows, strict=True)
            ],
            type=pa.string(),
        )
        public = pa.table(columns)
        restricted = pa.table(
            {"continuation": pa.array(spoken, type=pa.string()), "suffix": pa.array(true, type=pa.string())}
        )
        return Shard(public, restricted, calls=len(given), tokens=len(given) * (asked.prefix + asked.suffix))


_COMPARED = {
    "equal": pa.bool_(),
    "agree": pa.int32(),
    "distance": pa.int32(),
    "chance": pa.int32(),
    "bleu": pa.float64(),
    "rouge": pa.float64(),
    "run": pa.int32(),
    "distinct": pa.int32(),
}


def _compared(
    continuation: NDArray[np.int32],
    suffix: NDArray[np.int32],
    other: NDArray[np.int32] | None,
    fits: bool,
) -> dict[str, Any]:
    """Return how near the continuation comes to the suffix, and to that of another record."""
    if not fits:
        none = {"equal": False, "agree": 0, "distance": -1, "chance": -1, "bleu": 0.0, "rouge": 0.0, "run": 0}
        return none | {"distinct": 0}
    said, true = continuation.tolist(), suffix.tolist()
    differ = np.flatnonzero(continuation != suffix)
    return {
        "equal": not len(differ),
        "agree": int(differ[0]) if len(differ) else len(true),
        "distance": edit_distance(true, said),
        "chance": -1 if other is None else edit_distance(other.tolist(), said),
        "bleu": bleu(true, said),
        "rouge": rouge_l(true, said).f,
        "run": common_run(true, said),
        "distinct": len(set(true)),
    }


def _others(rows: Sequence[int]) -> dict[int, int]:
    """Return another row for each row, itself excluded; empty for a single one."""
    return dict(zip(rows, [*rows[1:], rows[0]], strict=True)) if len(rows) > 1 else {}


def _alike(held: Need, have: Parameters, need: Need, asked: Parameters) -> bool:
    same = (held.dataset, held.model) == (need.dataset, need.model)
    return same and (have.prefix, have.suffix, have.max_tokens) == (asked.prefix, asked.suffix, asked.max_tokens)


def _union(have: Parameters, asked: Parameters) -> Parameters:
    """Return parameters under which the records of both are continued: samples of one seed are nested."""
    records = None if have.records is None or asked.records is None else max(have.records, asked.records)
    return have.model_copy(update={"records": records, "generate": max(have.generate, asked.generate)})


OBSERVER = ContinuationsObserver()
