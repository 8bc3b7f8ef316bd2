"""Work scores: how likely sampling says each passage of a whole work after the tokens before it, in overlapping windows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt, model_validator

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.errors import UnsupportedError
from auditor.evidence.table import Ragged
from auditor.observers.excerpt import masked
from auditor.observers.token_scores import REGURGITATED
from auditor.statistics.text_similarity import common_run
from auditor.subjects.capability import ScoreRequest
from auditor.subjects.data import nested_sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from auditor.subjects.capability import OpenModel, TokenScores
    from auditor.subjects.data import DataRecord, RecordSource

BYTES_PER_TOKEN = 4
"""Guess for the plan, before anything is tokenised."""
AT_ONCE = 1024
"""Windows given to the model together."""
LEAD = 8
"""Tokens before a piece that its letters may depend on, such as the first bytes of a character."""


class Parameters(Record):
    """Which works are read, and through which windows."""

    works: PositiveInt | None = 100
    """Works drawn at random; null: all."""
    prefix: PositiveInt = 50
    """Tokens of a window that the model is given."""
    suffix: PositiveInt = 50
    """Tokens of a window that it has to say."""
    stride: PositiveInt = 10
    """Tokens from one window to the next; it divides the suffix."""
    max_tokens: PositiveInt = 200_000
    """Longer works are cut after this many tokens."""
    separator: str | None = None
    """What stands between the records of a work where windows may cross it; null: each record is a passage of its own."""
    top_k: PositiveInt = 40
    """Tokens that sampling chooses among."""
    temperature: float = Field(default=1.0, gt=0.0)
    """Temperature of the sampling."""

    @model_validator(mode="after")
    def _whole_cells(self) -> Self:
        if self.suffix % self.stride:
            msg = f"a stride of {self.stride} does not divide a suffix of {self.suffix} tokens: windows would not tile"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True)
class _Work:
    """The records of a work and what is read of them."""

    records: list[DataRecord]
    passages: list[list[NDArray[np.int32]]]
    """The windows of each passage that is long enough for one."""
    cells: list[list[int]]
    """Characters of every cell of each of these passages; a cell is `stride` tokens, the first begins after a prefix."""
    short: int
    tokens: int
    cut: bool


class WorkScoresObserver:
    """Scores whole works, all records of one person or document in the order of the file."""

    name = "work-scores"
    version = 1
    shard_items = 8
    parameters = Parameters

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return the different needs; of those that differ in the number of works alone, the one with most."""
        joined: list[Need] = []
        for need in sorted(needs, key=lambda need: -_works(need)):
            if not any(self.covers(held, need) for held in joined):
                joined.append(need)
        return joined

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether they ask the same of the same works, or of more."""
        alike = [one.model_copy(update={"parameters": {**one.parameters, "works": None}}) for one in (joined, need)]
        return alike[0] == alike[1] and _works(joined) >= _works(need)

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""

        def listed(name: str, kind: str, unit: str, meaning: str) -> Column:
            return Column(name=name, type=f"list<{kind}>", unit=unit, meaning=meaning)

        return (
            Column(name="id", type="string", unit="none", meaning="Id of the work's first record."),
            Column(name="cluster", type="string", unit="none", meaning="The work: person, document or record."),
            Column(
                name="copies",
                type="int32",
                unit="records",
                meaning="How often it stood in training: the most of its records.",
            ),
            Column(name="source", type="string", unit="none", meaning="Source, if all its records have the same."),
            Column(name="records", type="int32", unit="records", meaning="Records of the work."),
            Column(name="short", type="int32", unit="passages", meaning="Passages without a whole window."),
            Column(name="tokens", type="int32", unit="tokens", meaning="Tokens of the work that were read."),
            Column(name="cut", type="bool", unit="none", meaning="The work is longer than what was read."),
            listed(
                "cells", "int32", "cells", "Cells of `stride` tokens after the prefix, of each passage with a window."
            ),
            listed("log_p", "float", "nat", "log p of each window's suffix after temperature and top-k."),
            listed("agree", "int32", "tokens", "Tokens from each suffix's start on that are the arg-max."),
            listed("tied", "int32", "tokens", "Tokens of each suffix whose arg-max is ambiguous."),
            listed("distinct", "int32", "tokens", "Different tokens in each suffix."),
            listed("echo", "int32", "tokens", "Longest run of each suffix that stands in its own prefix."),
            listed(
                "hit",
                "bool",
                "none",
                "Each token of the cells is the arg-max, in the window that gives it most context.",
            ),
            listed("characters", "int32", "characters", "Characters of each cell."),
            Column(
                name="excerpt",
                type="string",
                unit="none",
                meaning="Masked excerpt, if the model says a passage by itself.",
            ),
            Column(name="likeliest", type="string", unit="none", meaning="The likeliest window.", restricted=True),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of works."""
        identity = facts.subject.members if need.dataset == "members" else facts.subject.controls
        total = identity.clusters if identity is not None else 0
        works = Parameters.from_plain(need.parameters).works
        return total if works is None else min(works, total)

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return about how many tokens its windows have together, from the sizes of the files."""
        identity = facts.subject.members if need.dataset == "members" else facts.subject.controls
        if identity is None or not identity.clusters:
            return 0
        asked = Parameters.from_plain(need.parameters)
        size = sum(file.bytes for file in identity.files) // BYTES_PER_TOKEN // identity.clusters
        windows = max(min(size, asked.max_tokens) - asked.prefix, asked.stride) / asked.stride
        return round(self.items(need, facts) * windows * (asked.prefix + asked.suffix))

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Score one part of the works.

        Raises:
            UnsupportedError: The model's context is shorter than a window.
        """
        asked = Parameters.from_plain(need.parameters)
        model = opened.model(need.model or "subject")
        lead = [] if model.begin is None else [model.begin]
        if len(lead) + asked.prefix + asked.suffix > model.context:
            msg = f"a window of {asked.prefix} + {asked.suffix} tokens does not fit the model's context of {model.context}"
            raise UnsupportedError(msg, hint="Ask for a shorter prefix and suffix.")
        dataset: Any = need.dataset
        source = opened.records(dataset)
        places = opened.remember(f"works of {dataset}", lambda: _places(source))
        names = list(places)
        chosen = nested_sample(len(names), asked.works, part.seed)[part.start : part.stop].tolist()
        works = [_work(model, list(_records(source, places[names[number]])), asked) for number in chosen]
        windows = [window for work in works for passage in work.passages for window in passage]
        scores = _scores(model, windows, asked)
        rows = [_row(model, work, scores, asked) for work in works]
        scored = len(windows) * (len(lead) + asked.prefix + asked.suffix)
        return Shard(_public(rows), _restricted(rows), calls=len(windows), tokens=scored)


def _works(need: Need) -> float:
    works = Parameters.from_plain(need.parameters).works
    return float("inf") if works is None else float(works)


def _places(source: RecordSource) -> dict[str, list[int]]:
    """Return where the records of every work stand, works in the order in which they begin."""
    found: dict[str, list[int]] = {}
    for place, record in enumerate(source.sample(None, 0, 0, len(source))):
        found.setdefault(record.cluster, []).append(place)
    return found


def _records(source: RecordSource, places: Sequence[int]) -> Iterator[DataRecord]:
    """Yield the records at some places, ascending; those that stand together are read together."""
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    for run in np.split(np.asarray(places), cuts):
        yield from source.sample(None, 0, int(run[0]), int(run[-1]) + 1)


def _work(model: OpenModel, records: list[DataRecord], asked: Parameters) -> _Work:
    """Return the windows of a work; at the end of a passage less than one stride of tokens is left out."""
    texts = [record.text for record in records]
    if asked.separator is not None:
        texts = [asked.separator.join(texts)]
    left, cut, short = asked.max_tokens, False, 0
    passages: list[list[NDArray[np.int32]]] = []
    characters: list[list[int]] = []
    for whole in model.encode(texts):
        cut = cut or len(whole) > left
        ids = whole[:left]
        left -= len(ids)
        if len(ids) < asked.prefix + asked.suffix:
            short += len(ids) == len(whole)
            continue
        cells = (len(ids) - asked.prefix) // asked.stride
        starts = [asked.stride * number for number in range(cells - asked.suffix // asked.stride + 1)]
        passages.append([ids[start : start + asked.prefix + asked.suffix] for start in starts])
        pieces = range(asked.prefix, asked.prefix + cells * asked.stride, asked.stride)
        characters.append([_characters(model, ids, piece, piece + asked.stride) for piece in pieces])
    return _Work(records, passages, characters, short, asked.max_tokens - left, cut)


def _scores(model: OpenModel, windows: Sequence[NDArray[np.int32]], asked: Parameters) -> Iterator[TokenScores]:
    """Yield the scores of every window's suffix after its own prefix and nothing else."""
    lead = np.array([] if model.begin is None else [model.begin], dtype=np.int32)
    request = ScoreRequest(top_k=asked.top_k, temperature=asked.temperature, first=len(lead) + asked.prefix)
    for first in range(0, len(windows), AT_ONCE):
        yield from model.score([np.concatenate([lead, ids]) for ids in windows[first : first + AT_ONCE]], request)


def _row(model: OpenModel, work: _Work, scores: Iterator[TokenScores], asked: Parameters) -> dict[str, Any]:
    """Return the row of a work; takes the scores of its windows."""
    windows = [window for passage in work.passages for window in passage]
    log_p: list[float] = []
    agree: list[int] = []
    tied: list[int] = []
    hits: list[NDArray[np.bool_]] = [np.empty(0, dtype=np.bool_)]
    for passage in work.passages:
        for number, score in enumerate(itertools.islice(scores, len(passage))):
            log_p.append(float(score.top_logprob.astype(np.float64).sum()))
            agree.append(asked.suffix if score.hit.all() else int(score.hit.argmin()))
            tied.append(int(score.tie.sum()))
            # All of the first window, then of each only what no window before it reached: the most context there is.
            hits.append(score.hit[-asked.stride :] if number else score.hit)
    excerpt = likeliest = ""
    if windows:
        best = int(np.argmax(log_p))
        likeliest = model.decode(windows[best].tolist())
        if agree[best] >= min(REGURGITATED, asked.suffix):
            excerpt = masked(model.decode(windows[best][asked.prefix :].tolist()), asked.suffix)
    sources = {record.source for record in work.records}
    return {
        "id": work.records[0].id,
        "cluster": work.records[0].cluster,
        "copies": max(record.copies for record in work.records),
        "source": sources.pop() if len(sources) == 1 else "",
        "records": len(work.records),
        "short": work.short,
        "tokens": work.tokens,
        "cut": work.cut,
        "cells": [len(cells) for cells in work.cells],
        "log_p": log_p,
        "agree": agree,
        "tied": tied,
        "distinct": [len(set(ids[asked.prefix :].tolist())) for ids in windows],
        "echo": [common_run(ids[: asked.prefix].tolist(), ids[asked.prefix :].tolist()) for ids in windows],
        "hit": np.concatenate(hits),
        "characters": [count for cells in work.cells for count in cells],
        "excerpt": excerpt,
        "likeliest": likeliest,
    }


def _characters(model: OpenModel, ids: NDArray[np.int32], start: int, stop: int) -> int:
    """Return how many characters the tokens from start to stop add to what stands before them."""
    before = ids[max(0, start - LEAD) : start].tolist()
    return max(0, len(model.decode([*before, *ids[start:stop].tolist()])) - len(model.decode(before)))


_LISTS = {
    "cells": np.int32,
    "log_p": np.float32,
    "agree": np.int32,
    "tied": np.int32,
    "distinct": np.int32,
    "echo": np.int32,
    "hit": np.bool_,
    "characters": np.int32,
}
_FLAT = {"id": pa.string(), "cluster": pa.string(), "copies": pa.int32(), "source": pa.string()} | {
    name: pa.int32() for name in ("records", "short", "tokens")
}


def _public(rows: Sequence[dict[str, Any]]) -> pa.Table:
    columns: dict[str, Any] = {
        name: pa.array([row[name] for row in rows], type=kind) for name, kind in (_FLAT | {"cut": pa.bool_()}).items()
    }
    for name, kind in _LISTS.items():
        columns[name] = Ragged.of([np.asarray(row[name], dtype=kind) for row in rows], kind).to_arrow()
    columns["excerpt"] = pa.array([row["excerpt"] for row in rows], type=pa.string())
    return pa.table(columns)


def _restricted(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.table({"likeliest": pa.array([row["likeliest"] for row in rows], type=pa.string())})


OBSERVER = WorkScoresObserver()
