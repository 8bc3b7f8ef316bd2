"""Prompt search: the shortest prompt found that makes the model say a piece of a record, for some records of both sides."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.observers.equal_needs import EqualNeeds
from auditor.statistics.shortest_prompt import STRIDE, Budget, ShortestPrompt, shortest_prompt
from auditor.subjects.capability import OpenModel, PromptSearchModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.data import DataRecord

MOST = 100
"""Records on each side, at most: one costs thousands of passes."""
DICTIONARY = 32 * 1024
"""Bytes of text that the static compressor may know: as far as deflate looks back."""
GRADIENT = 3
"""Passes that a gradient costs, about."""
_COLUMNS = (
    ("id", pa.string(), "none", "Id of the record."),
    ("cluster", pa.string(), "none", "Person, document or the record itself."),
    ("member", pa.bool_(), "none", "The record is a member."),
    ("copies", pa.int32(), "records", "How often the record stood in training."),
    ("eligible", pa.bool_(), "none", "The record has a target: prefix + suffix tokens at least."),
    ("target", pa.int32(), "tokens", "Tokens that the prompt must make the model say."),
    ("prompt", pa.int32(), "tokens", "Shortest prompt found, the begin token not counted; 0: none below the target."),
    ("confirmed", pa.bool_(), "none", "Greedy generation from that prompt says the target, word for word."),
    ("own", pa.bool_(), "none", "The prompt is what stands before the target in the record."),
    ("spelled", pa.bool_(), "none", "The prompt survives being written as text and tokenised again."),
    ("failed", pa.int32(), "tokens", "Longest length below it at which the search failed; 0: none was tried."),
    ("steps", pa.int32(), "steps", "Swaps of the search, all lengths together."),
    ("asked", pa.int64(), "prompts", "Prompts whose loss was asked."),
    ("spent", pa.bool_(), "none", "The last search that failed would have gone on with more steps."),
    ("vocabulary", pa.int32(), "tokens", "Token ids a prompt is made of."),
    ("utf8_bytes", pa.int32(), "bytes", "Bytes of the target's text."),
    ("static_bytes", pa.int32(), "bytes", "The same after a compressor that knows other controls and not the model."),
)
_RESTRICTED = (
    ("target_text", pa.string(), "The target."),
    ("prompt_text", pa.string(), "The prompt."),
    ("prompt_ids", pa.list_(pa.int32()), "Its token ids."),
)


class Parameters(Record):
    """Which records are searched for, and how long."""

    records: int = Field(default=20, ge=1, le=MOST)
    """Size of the random sample on each side."""
    names: tuple[str, ...] = Field(default=(), max_length=MOST)
    """Ids of members that are taken instead of a sample, with as many controls."""
    prefix: int = Field(default=50, ge=0)
    """Tokens of a record before the target."""
    suffix: int = Field(default=20, ge=2)
    """Tokens of the target."""
    steps: PositiveInt = 50
    """Swaps at each length of the prompt."""
    candidates: PositiveInt = 64
    """Prompts tried for each swap."""
    top: PositiveInt = 64
    """Most promising tokens at each place among which swaps are drawn."""
    patience: PositiveInt = 20
    """Swaps in a row that find nothing better, after which a length is given up."""


class _Target(NamedTuple):
    """What the model is to say."""

    record: DataRecord
    member: bool
    before: NDArray[np.int32]
    target: NDArray[np.int32]


class PromptSearchObserver(EqualNeeds):
    """Searches, for each record, a prompt shorter than a piece of it that makes the model say that piece."""

    name = "prompt-search"
    version = 1
    shard_items = 1
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""
        shown = [
            Column(name=name, type=_named(kind), unit=unit, meaning=meaning) for name, kind, unit, meaning in _COLUMNS
        ]
        kept = [
            Column(name=name, type=_named(kind), unit="none", meaning=meaning, restricted=True)
            for name, kind, meaning in _RESTRICTED
        ]
        return (*shown, *kept)

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records on both sides."""
        return sum(_sizes(need, facts))

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return about how many tokens pass the model if nothing is found and no length is given up early."""
        asked = Parameters.from_plain(need.parameters)
        lengths = -(-(asked.suffix - 1) // STRIDE)  # 5, 10, 15, ... up to one token below the target
        each = lengths * asked.steps * (asked.candidates + GRADIENT)
        return self.items(need, facts) * each * (asked.suffix + asked.suffix // 2)

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Search for some of the members, then of the controls.

        Raises:
            UnsupportedError: The model cannot be searched, a named record is not there, or a target does not fit.
        """
        asked = Parameters.from_plain(need.parameters)
        model = opened.model(need.model or "subject")
        if not isinstance(model, PromptSearchModel):
            msg = "the model does not say which tokens of a prompt to swap"
            raise UnsupportedError(msg, hint="Audit the weights through the adapter causal-lm.")
        if 2 * asked.suffix > model.context:
            msg = f"a target of {asked.suffix} tokens and a prompt do not fit the context of {model.context}"
            raise UnsupportedError(msg, hint="Ask for a smaller suffix.")
        chosen = opened.remember(f"{self.name} {need.identity()} {part.seed}", lambda: _chosen(need, opened, part.seed))
        dictionary = opened.remember(
            f"{self.name} dictionary {need.identity()} {part.seed}", lambda: _dictionary(opened, chosen, part.seed)
        )
        rows: list[dict[str, object]] = []
        calls = tokens = 0
        for record, member in chosen[part.start : part.stop]:
            ids = model.encode([record.text])[0]
            before, target = ids[: asked.prefix], ids[asked.prefix :][: asked.suffix]
            one = _Target(record, member, before, target)
            row = _row(one, eligible=len(target) == asked.suffix, vocabulary=model.vocabulary)
            if row["eligible"]:
                found = _search(model, model, one, asked, part.seed)
                calls += found.asked + found.ranked
                tokens += (found.asked + GRADIENT * found.ranked) * (asked.suffix + asked.suffix // 2)
                row |= _seen(model, one, found, dictionary)
            rows.append(row)
        public = {name: pa.array([row[name] for row in rows], type=kind) for name, kind, _, _ in _COLUMNS}
        held = {name: pa.array([row[name] for row in rows], type=kind) for name, kind, _ in _RESTRICTED}
        return Shard(pa.table(public), pa.table(held), calls=calls, tokens=tokens)


def _named(kind: pa.DataType) -> str:
    return str(kind).replace("element: ", "").replace("item: ", "")


def _sizes(need: Need, facts: Facts) -> tuple[int, int]:
    asked = Parameters.from_plain(need.parameters)
    members = len(asked.names) or min(asked.records, facts.subject.members.records)
    return members, 0 if facts.subject.controls is None else min(members, facts.subject.controls.records)


def _chosen(need: Need, opened: OpenedSubject, seed: int) -> list[tuple[DataRecord, bool]]:
    """Return the members, named or sampled, then as many sampled controls."""
    names = Parameters.from_plain(need.parameters).names
    members, controls = _sizes(need, opened.facts)
    source = opened.records("members")
    if names:
        wanted = set(names)
        held = {record.id: record for record in source.sample(None, seed, 0, len(source)) if record.id in wanted}
        if missing := [name for name in names if name not in held]:
            msg = f"no member has the id '{missing[0][:80]}'" + (
                f", nor have {len(missing) - 1} more that are named" if missing[1:] else ""
            )
            raise UnsupportedError(msg, hint="Name ids of data.members as they stand in its id column.")
        first = [held[name] for name in names]
    else:
        first = list(source.sample(members, seed, 0, members))
    second = opened.records("controls").sample(controls, seed, 0, controls) if controls else ()
    return [*((record, True) for record in first), *((record, False) for record in second)]


def _dictionary(opened: OpenedSubject, chosen: Sequence[tuple[DataRecord, bool]], seed: int) -> bytes:
    """Return text of controls that are not searched for, nor of their persons or documents."""
    apart = {record.cluster for record, _ in chosen}
    source = opened.records("controls")
    count = min(len(source), len(chosen) + DICTIONARY // 64)
    text = bytearray()
    for record in source.sample(count, seed, 0, count):
        if record.cluster not in apart:
            text += record.text.encode() + b"\n"
        if len(text) >= DICTIONARY:
            break
    return bytes(text[:DICTIONARY])


def _search(
    model: OpenModel, searched: PromptSearchModel, one: _Target, asked: Parameters, seed: int
) -> ShortestPrompt:
    """Return what a search comes upon; `model` and `searched` are the same, as two protocols see it."""
    lead = _lead(model)

    def rank(prompt: NDArray[np.int32]) -> NDArray[np.float32]:
        return searched.rank_swaps(np.concatenate([lead, prompt]), one.target)[len(lead) :]

    def score(prompts: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        whole = np.concatenate([np.tile(lead, (len(prompts), 1)), prompts], axis=1).astype(np.int32)
        return searched.score_targets(whole, one.target)

    budget = Budget(asked.steps, asked.candidates, asked.top, asked.patience)
    rng = generator(seed, PromptSearchObserver.name, one.record.id)
    return shortest_prompt(rank, score, one.before, len(one.target) - 1, model.vocabulary, budget, rng)


def _lead(model: OpenModel) -> NDArray[np.int32]:
    return np.array([] if model.begin is None else [model.begin], dtype=np.int32)


def _row(one: _Target, *, eligible: bool, vocabulary: int) -> dict[str, object]:
    """Return the row of a record for which nothing was found."""
    numbers = dict.fromkeys(("prompt", "failed", "steps", "asked", "utf8_bytes", "static_bytes"), 0)
    flags = dict.fromkeys(("confirmed", "own", "spelled", "spent"), False)
    texts = {"target_text": "", "prompt_text": "", "prompt_ids": []}
    return {
        "id": one.record.id,
        "cluster": one.record.cluster,
        "member": one.member,
        "copies": one.record.copies,
        "eligible": eligible,
        "target": len(one.target) if eligible else 0,
        "vocabulary": vocabulary,
        **numbers,
        **flags,
        **texts,
    }


def _seen(model: OpenModel, one: _Target, found: ShortestPrompt, dictionary: bytes) -> dict[str, object]:
    """Return what is kept of a search."""
    text = model.decode(one.target.tolist())
    kept: dict[str, object] = {
        "failed": found.failed,
        "steps": found.steps,
        "asked": found.asked,
        "spent": found.spent,
        "utf8_bytes": len(text.encode()),
        "static_bytes": len(static_compression(text.encode(), dictionary)),
        "target_text": text,
    }
    if found.prompt is None:
        return kept
    prompt = found.prompt
    said = model.continue_greedily([np.concatenate([_lead(model), prompt]).astype(np.int32)], len(one.target))[0]
    spelled = model.decode(prompt.tolist())
    return kept | {
        "prompt": len(prompt),
        "confirmed": bool(np.array_equal(said, one.target)),
        "own": bool(np.array_equal(prompt, one.before[len(one.before) - len(prompt) :])),
        "spelled": bool(np.array_equal(model.encode([spelled])[0], prompt)),
        "prompt_text": spelled,
        "prompt_ids": prompt.tolist(),
    }


def static_compression(text: bytes, dictionary: bytes) -> bytes:
    """Return the text as raw deflate makes it that may refer to the dictionary: what a short text needs without the model."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return packer.compress(text) + packer.flush()


OBSERVER = PromptSearchObserver()
