"""Open generations: what a model says by itself or after a few words, and how much of it stands in the training corpus.

Each generation is matched at once against the members and against as many controls, and scored by what the membership
scores of Carlini et al. (2021) need. Its text is kept apart; what is public says lengths, counts and scores.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, NonNegativeInt, PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.observers.beginnings import Beginning, beginnings
from auditor.observers.corpora import (
    Corpus,
    Found,
    Side,
    compared_documents,
    corpus,
    excerpt_of,
    match_columns,
    match_rows,
)
from auditor.observers.generated_identifiers import identifier_columns, identifier_rows
from auditor.observers.near_copies import numbered
from auditor.subjects.capability import SampleRequest, ScoreRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.capability import OpenModel

WINDOW = 50
"""Tokens of the sliding window of the fifth score."""
TYPES = {
    "string": pa.string(),
    "int32": pa.int32(),
    "double": pa.float64(),
    "list<int32>": pa.list_(pa.int32()),
    "list<bool>": pa.list_(pa.bool_()),
}


class Parameters(Record):
    """What is generated, and what it is matched against."""

    unprompted: NonNegativeInt = 100
    """Generations from the beginning, sampled among the top k."""
    decaying: NonNegativeInt = 100
    """Generations from the beginning whose temperature decays to 1: more varied."""
    prompted: NonNegativeInt = 200
    """Generations after some tokens of a record, half members and half controls."""
    prompt: PositiveInt = 10
    """Tokens of the record that such a generation begins with."""
    tokens: PositiveInt = 128
    """Tokens of each generation."""
    top_k: PositiveInt = 40
    """Tokens are drawn among the k likeliest."""
    temperature: float = Field(default=10.0, gt=0.0)
    """First temperature of those that decay."""
    decay: PositiveInt = 20
    """Tokens over which it decays to 1, in equal steps."""
    documents: PositiveInt | None = None
    """Most documents of each side that are matched against; null: as many as the smaller side has."""
    least: PositiveInt = 50
    """Fewest tokens of a match that is listed."""
    references: tuple[str, ...] = ()
    """Digests of the reference models that score what was said, too."""
    scored: bool = True
    """Whether the audited model says how likely it finds what it said; a server may draw and give no scores."""
    identifiers: Literal["", "patterns", "presidio"] = ""
    """What finds persons' identifiers in what was said; empty: none are looked for."""


class OpenGenerationsObserver:
    """Generates, matches and scores."""

    name = "open-generations"
    version = 1
    shard_items = 64
    parameters = Parameters

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return one need for all that differ in their references alone, or in whether identifiers are looked for."""
        joined: dict[str, Need] = {}
        for need in sorted(needs, key=lambda one: -len(Parameters.from_plain(one.parameters).identifiers)):
            bare, asked = _bare(need), Parameters.from_plain(need.parameters)
            key = next((name for name, held in joined.items() if _bare(held) == bare and _looks(held, asked)), "")
            key = key or need.identity()
            have = Parameters.from_plain(joined.get(key, bare).parameters)
            new = tuple(dict.fromkeys((*have.references, *asked.references)))
            whole = asked.model_copy(update={"references": new, "identifiers": have.identifiers or asked.identifiers})
            joined[key] = bare.model_copy(update={"parameters": whole.plain()})
        return list(joined.values())

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether they generate the same, and what is asked of it is asked."""
        have, asked = (Parameters.from_plain(one.parameters) for one in (joined, need))
        return _bare(joined) == _bare(need) and set(asked.references) <= set(have.references) and _looks(joined, asked)

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:
        """Return the columns it writes."""
        mean = "Mean log-probability of the generated tokens"
        references = tuple(
            Column(name=reference_column(digest), type="double", unit="nat", meaning=f"{mean} under a reference model.")
            for digest in parameters.references
        )
        return (
            Column(name="number", type="int32", unit="none", meaning="Number of the generation."),
            Column(name="kind", type="string", unit="none", meaning="How it was generated."),
            Column(name="side", type="string", unit="none", meaning="Side of the record that it begins with, if any."),
            Column(name="prompt_id", type="string", unit="none", meaning="Id of that record."),
            Column(name="prompt_cluster", type="string", unit="none", meaning="Person or document of that record."),
            Column(name="tokens", type="int32", unit="tokens", meaning="Tokens generated."),
            Column(name="group", type="int32", unit="none", meaning="Number of the first generation that it repeats."),
            *(
                (
                    Column(name="logprob", type="double", unit="nat", meaning=f"{mean}."),
                    Column(
                        name="window", type="double", unit="nat", meaning=f"The same in the likeliest {WINDOW} tokens."
                    ),
                    Column(name="lowercase", type="double", unit="nat", meaning=f"{mean} if written in lower case."),
                )
                if parameters.scored
                else ()
            ),
            Column(name="zlib_bytes", type="int32", unit="byte", meaning="Size of the text, compressed by zlib."),
            *references,
            *match_columns("member", parameters.least),
            *match_columns("control", parameters.least),
            *match_columns("other", parameters.least),
            *(identifier_columns() if parameters.identifiers else ()),
            Column(
                name="excerpt", type="string", unit="none", meaning="Masked: its longest run from a compared member."
            ),
            Column(name="generated", type="string", unit="none", meaning="What the model said.", restricted=True),
        )

    def asks(self, need: Need) -> tuple[str, ...]:
        """Return what the model must be able to do: what it said may be scored, too."""
        scores = ("scores-given-tokens",) if Parameters.from_plain(need.parameters).scored else ()
        return ("samples-tokens", *scores)

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of generations."""
        asked = Parameters.from_plain(need.parameters)
        compared_documents(facts, asked.documents)
        return asked.unprompted + asked.decaying + 2 * (asked.prompted // 2)

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return about how many tokens are generated and scored."""
        asked = Parameters.from_plain(need.parameters)
        return self.items(need, facts) * asked.tokens * _passes(asked)

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Generate one part."""
        asked = Parameters.from_plain(need.parameters)
        model = opened.model("subject")
        rows = beginnings(range(part.start, part.stop), asked, opened, part.seed)
        said = _said(rows, asked, model)
        texts = [model.decode(ids.tolist()) for ids in said]
        columns: dict[str, list[Any]] = {
            "number": list(range(part.start, part.stop)),
            "kind": [row.kind for row in rows],
            "side": [row.side for row in rows],
            "prompt_id": [row.record.id if row.record else "" for row in rows],
            "prompt_cluster": [row.record.cluster if row.record else "" for row in rows],
            "tokens": [len(ids) for ids in said],
            "group": numbered(texts, "generated", opened, need, part),
        }
        columns["zlib_bytes"] = [len(zlib.compress(text.encode())) for text in texts]
        if asked.scored:
            columns |= _scored(rows, said, texts, model)
        for digest in asked.references:
            reference = opened.model(_role_of(digest, opened.facts))
            columns[reference_column(digest)] = _alone(texts, reference)
        sides: tuple[Side, ...] = ("member", "control", "other")
        corpora: dict[Side, Corpus | None] = {side: corpus(opened, side, part.seed, asked.documents) for side in sides}
        found: dict[Side, list[Found]] = {
            side: held.match(said, asked.least) if held is not None else [] for side, held in corpora.items()
        }
        columns |= match_rows(found, corpora, said, asked.least)
        if asked.identifiers:
            columns |= identifier_rows(rows, texts, opened, asked, part, need.identity())
        columns["excerpt"] = [excerpt_of(ids, row, model) for ids, row in zip(said, found["member"], strict=True)]
        declared = [column for column in self.columns(asked) if not column.restricted]
        public = pa.table({column.name: pa.array(columns[column.name], type=TYPES[column.type]) for column in declared})
        restricted = pa.table({"generated": pa.array(texts, type=pa.string())})
        passes = _passes(asked)
        return Shard(public, restricted, calls=passes * len(rows), tokens=passes * sum(map(len, said)))


def reference_column(digest: str) -> str:
    """Return the name of the column with what a reference model says of the texts."""
    return f"reference_{digest[:12]}"


def _passes(asked: Parameters) -> int:
    """Return how often a text passes a model: said, scored as it is and in lower case, and by every reference."""
    return (3 if asked.scored else 1) + len(asked.references)


def _bare(need: Need) -> Need:
    """Return what is generated and matched, without what is asked of it besides."""
    bare = Parameters.from_plain(need.parameters).model_copy(update={"references": (), "identifiers": ""})
    return need.model_copy(update={"parameters": bare.plain()})


def _looks(joined: Need, asked: Parameters) -> bool:
    """Return whether identifiers are looked for as is asked."""
    return asked.identifiers in {"", Parameters.from_plain(joined.parameters).identifiers}


def _role_of(digest: str, facts: Facts) -> str:
    return f"reference-{[reference.digest for reference in facts.subject.references].index(digest)}"


def _said(rows: Sequence[Beginning], asked: Parameters, model: OpenModel) -> list[NDArray[np.int32]]:
    """Return what the model says after each beginning."""
    steps = np.linspace(asked.temperature, 1.0, asked.decay + 1).tolist()
    longest = max(len(row.prefix) for row in rows)
    tokens = min(asked.tokens, model.context - longest)
    said: list[NDArray[np.int32]] = [np.empty(0, dtype=np.int32)] * len(rows)
    for decaying, temperatures in ((False, (1.0,)), (True, tuple(steps))):
        some = [number for number, row in enumerate(rows) if (row.kind == "decaying") is decaying]
        if some:
            drawn = model.sample(
                [rows[number].prefix for number in some],
                [rows[number].seed for number in some],
                SampleRequest(tokens, asked.top_k, temperatures),
            )
            for number, ids in zip(some, drawn, strict=True):
                said[number] = ids
    return said


def _scored(
    rows: Sequence[Beginning], said: Sequence[NDArray[np.int32]], texts: Sequence[str], model: OpenModel
) -> dict[str, list[Any]]:
    """Return what the scores need of the audited model: the text after its beginning, as it is and in lower case."""
    prefixes = [row.prefix for row in rows]
    plain = _after(prefixes, said, model)
    lower = list(plain)
    # A text without a capital letter is its own lower case.
    changed = [number for number, text in enumerate(texts) if text != text.lower()]
    lowered = model.encode([texts[number].lower() for number in changed])
    cut = [ids[: model.context - len(prefixes[number])] for number, ids in zip(changed, lowered, strict=True)]
    for number, scores in zip(changed, _after([prefixes[number] for number in changed], cut, model), strict=True):
        lower[number] = scores
    return {
        "logprob": [_mean(scores) for scores in plain],
        "window": [_best_window(scores) for scores in plain],
        "lowercase": [_mean(scores) for scores in lower],
    }


def _after(
    prefixes: Sequence[NDArray[np.int32]], said: Sequence[NDArray[np.int32]], model: OpenModel
) -> list[NDArray[np.float64]]:
    """Return the log-probability of each token after its beginning; beginnings of one length are scored together."""
    scores: list[NDArray[np.float64]] = [np.empty(0)] * len(said)
    for length in sorted({len(prefix) for prefix in prefixes}):
        some = [number for number, prefix in enumerate(prefixes) if len(prefix) == length]
        whole = [np.concatenate([prefixes[number], said[number]]).astype(np.int32) for number in some]
        for number, found in zip(some, model.score(whole, ScoreRequest(first=length)), strict=True):
            scores[number] = found.logprob.astype(np.float64)
    return scores


def _alone(texts: Sequence[str], reference: OpenModel) -> list[float]:
    """Return the mean log-probability of each text under a reference, by itself and in the reference's own tokens."""
    lead = np.array([] if reference.begin is None else [reference.begin], dtype=np.int32)
    whole = [np.concatenate([lead, ids])[: reference.context].astype(np.int32) for ids in reference.encode(texts)]
    return [_mean(found.logprob.astype(np.float64)) for found in reference.score(whole, ScoreRequest())]


def _mean(scores: NDArray[np.float64]) -> float:
    return float(scores.mean()) if len(scores) else 0.0


def _best_window(scores: NDArray[np.float64]) -> float:
    """Return the largest mean over `WINDOW` tokens one behind the other, over all where there are fewer."""
    if len(scores) <= WINDOW:
        return _mean(scores)
    sums = np.concatenate([[0.0], np.cumsum(scores)])
    return float((sums[WINDOW:] - sums[:-WINDOW]).max() / WINDOW)


OBSERVER = OpenGenerationsObserver()
