"""Token scores: one teacher-forced forward pass over each record; most of the language battery is measured from it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.evidence.table import Ragged
from auditor.observers.excerpt import masked
from auditor.subjects.capability import ScoreRequest, TokenScores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.data import DataRecord

REGURGITATED = 20
"""Tokens in a row that the model must say by itself before a record gets a masked excerpt."""
TOKENS_PER_RECORD = 150
"""Guess for the plan, before anything is tokenised."""


class Parameters(Record):
    """What of each record is scored, and what is kept."""

    records: PositiveInt | None = None
    """Size of the random sample; null: all records."""
    max_tokens: PositiveInt = 256
    """Longer texts are cut after this many tokens."""
    transform: Literal["none", "lowercase"] = "none"
    """What is done to the text before it is scored."""
    from_token: int = Field(default=0, ge=0)
    """Score only tokens of the text from this index on; what stands before is context."""
    moments: bool = False
    """Keep mean and deviation of log p over the vocabulary."""
    top_k: PositiveInt | None = None
    """Keep log p after temperature and renormalisation over the k likeliest tokens."""
    temperature: float = Field(default=1.0, gt=0.0)
    """Temperature before that renormalisation."""


class TokenScoresObserver:
    """Scores every record of a sample in one pass."""

    name = "token-scores"
    version = 1
    shard_items = 256
    parameters = Parameters

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return one need for all that the same pass can meet: the larger sample, the longer text, every column."""
        joined: list[tuple[Need, Parameters]] = []
        for need in needs:
            asked = Parameters.from_plain(need.parameters)
            for number, (held, have) in enumerate(joined):
                if _same_pass(held, have, need, asked):
                    joined[number] = (held, _union(have, asked))
                    break
            else:
                joined.append((need, _union(asked, asked)))
        return [need.model_copy(update={"parameters": parameters.plain()}) for need, parameters in joined]

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether a pass made for `joined` holds all that `need` asks."""
        have, asked = Parameters.from_plain(joined.parameters), Parameters.from_plain(need.parameters)
        return _same_pass(joined, have, need, asked) and _union(have, asked) == _union(have, have)

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:
        """Return the columns it writes."""
        scores = "list<float>"
        listed = [
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="copies", type="int32", unit="records", meaning="How often it stood in training, as declared."),
            Column(name="source", type="string", unit="none", meaning="Source, as declared."),
            Column(name="tokens", type="int32", unit="tokens", meaning="Tokens of the text that were kept."),
            Column(name="begin", type="int32", unit="tokens", meaning="Index of the first scored token of the text."),
            Column(name="utf8_bytes", type="int32", unit="byte", meaning="Length of the kept text in UTF-8."),
            Column(name="zlib_bytes", type="int32", unit="byte", meaning="Length of the kept text compressed by zlib."),
            Column(name="logprob", type=scores, unit="nat", meaning="log p of each scored token."),
            Column(name="hit", type="list<bool>", unit="none", meaning="The token is the arg-max."),
            Column(name="tie", type="list<bool>", unit="none", meaning="The two best logits are within 0.001."),
            Column(
                name="previous", type="list<int32>", unit="tokens", meaning="Distance back to the same token, or 0."
            ),
            Column(
                name="excerpt", type="string", unit="none", meaning="Masked excerpt, if the model says it by itself."
            ),
            Column(name="text", type="string", unit="none", meaning="The text.", restricted=True),
            Column(name="token_ids", type="list<int32>", unit="none", meaning="Kept tokens.", restricted=True),
        ]
        if parameters.moments:
            listed.insert(11, Column(name="mean", type=scores, unit="nat", meaning="Mean of log p under p."))
            listed.insert(12, Column(name="deviation", type=scores, unit="nat", meaning="Deviation of log p under p."))
        if parameters.top_k is not None:
            meaning = "log p after temperature and top-k, minus infinity outside the top k."
            listed.insert(11, Column(name="top_logprob", type=scores, unit="nat", meaning=meaning))
        return tuple(listed)

    def asks(self, need: Need) -> tuple[str, ...]:
        """Return what the model must be able to do: moments and top-k take the whole distribution."""
        asked = Parameters.from_plain(need.parameters)
        return ("scores-tokens",) if asked.moments or asked.top_k is not None else ("scores-given-tokens",)

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records it scores."""
        return sampled(need, facts)

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return about how many tokens that is."""
        return sampled(need, facts) * min(int(need.parameters.get("max_tokens", 256)), TOKENS_PER_RECORD)

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Score one part of the sample."""
        asked = Parameters.from_plain(need.parameters)
        model = opened.model(need.model or "subject")
        dataset: Any = need.dataset
        records = list(opened.records(dataset).sample(asked.records, part.seed, part.start, part.stop))
        texts = [_transformed(record.text, asked.transform) for record in records]
        limit = min(asked.max_tokens, model.context - (model.begin is not None))
        whole = model.encode(texts)
        kept = [ids[:limit] for ids in whole]
        lead = 0 if model.begin is None else 1
        first = max(1, asked.from_token + lead)
        request = ScoreRequest(moments=asked.moments, top_k=asked.top_k, temperature=asked.temperature, first=first)
        prefix = np.array([] if model.begin is None else [model.begin], dtype=np.int32)
        scores = model.score([np.concatenate([prefix, ids]) for ids in kept], request)
        scored = [
            text if len(ids) == len(all_ids) else model.decode(ids.tolist())
            for text, ids, all_ids in zip(texts, kept, whole, strict=True)
        ]
        public = _public(records, kept, scores, scored, first - lead, asked)
        restricted = pa.table(
            {
                "text": pa.array([record.text for record in records], type=pa.string()),
                "token_ids": Ragged.of(kept, np.int32).to_arrow(),
            }
        )
        return Shard(public, restricted, calls=len(records), tokens=sum(map(len, kept)))


def sampled(need: Need, facts: Facts) -> int:
    """Return the number of records in the sample that a need asks for."""
    identity = facts.subject.members if need.dataset == "members" else facts.subject.controls
    total = identity.records if identity is not None else 0
    asked = need.parameters.get("records")
    return total if asked is None else min(int(asked), total)


def _same_pass(held: Need, have: Parameters, need: Need, asked: Parameters) -> bool:
    same_sampling = (have.top_k, have.temperature) == (asked.top_k, asked.temperature)
    sampling = have.top_k is None or asked.top_k is None or same_sampling
    return (held.dataset, held.model) == (need.dataset, need.model) and have.transform == asked.transform and sampling


def _union(have: Parameters, asked: Parameters) -> Parameters:
    """Return parameters that hold both; a temperature without a top k changes nothing and is left out."""
    records = None if have.records is None or asked.records is None else max(have.records, asked.records)
    sampling = have if have.top_k is not None else asked
    return Parameters(
        records=records,
        max_tokens=max(have.max_tokens, asked.max_tokens),
        transform=have.transform,
        from_token=min(have.from_token, asked.from_token),
        moments=have.moments or asked.moments,
        top_k=sampling.top_k,
        temperature=sampling.temperature if sampling.top_k is not None else 1.0,
    )


def _transformed(text: str, transform: str) -> str:
    return text.lower() if transform == "lowercase" else text


def _public(
    records: Sequence[DataRecord],
    kept: Sequence[NDArray[np.int32]],
    scores: Sequence[TokenScores],
    scored: Sequence[str],
    begin: int,
    asked: Parameters,
) -> pa.Table:
    encoded = [text.encode() for text in scored]
    columns: dict[str, Any] = {
        "id": pa.array([record.id for record in records], type=pa.string()),
        "cluster": pa.array([record.cluster for record in records], type=pa.string()),
        "copies": pa.array([record.copies for record in records], type=pa.int32()),
        "source": pa.array([record.source for record in records], type=pa.string()),
        "tokens": pa.array([len(ids) for ids in kept], type=pa.int32()),
        "begin": pa.array([begin] * len(records), type=pa.int32()),
        "utf8_bytes": pa.array([len(text) for text in encoded], type=pa.int32()),
        "zlib_bytes": pa.array([len(zlib.compress(text)) for text in encoded], type=pa.int32()),
        "logprob": Ragged.of([score.logprob for score in scores], np.float32).to_arrow(),
        "hit": Ragged.of([score.hit for score in scores], np.bool_).to_arrow(),
        "tie": Ragged.of([score.tie for score in scores], np.bool_).to_arrow(),
    }
    if asked.top_k is not None:
        columns["top_logprob"] = Ragged.of([score.top_logprob for score in scores], np.float32).to_arrow()
    if asked.moments:
        columns["mean"] = Ragged.of([score.mean for score in scores], np.float32).to_arrow()
        columns["deviation"] = Ragged.of([score.deviation for score in scores], np.float32).to_arrow()
    columns["previous"] = Ragged.of([_previous(ids)[begin:] for ids in kept], np.int32).to_arrow()
    columns["excerpt"] = pa.array(
        [
            masked(text, len(ids)) if longest_run(score.hit) >= REGURGITATED else ""
            for text, ids, score in zip(scored, kept, scores, strict=True)
        ],
        type=pa.string(),
    )
    return pa.table(columns)


def _previous(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return, for each token, how far back the same id stands, 0 if nowhere; shape [tokens]."""
    order = np.argsort(ids, kind="stable")
    same = ids[order][1:] == ids[order][:-1]
    distance = np.zeros(len(ids), dtype=np.int32)
    distance[order[1:][same]] = (order[1:] - order[:-1])[same]
    return distance


def longest_run(hits: NDArray[np.bool_]) -> int:
    """Return the length of the longest run of hits."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hits.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


OBSERVER = TokenScoresObserver()
