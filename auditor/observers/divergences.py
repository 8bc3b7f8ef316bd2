"""What a model says after one token many times over: how long it goes on repeating, and what stands in the corpus of the rest.

The tokens are drawn from the model's own vocabulary, whatever its records are. Each output is cut where the repetition ends;
only the rest is matched, at once against the members and against as many controls. Its text is kept apart.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.core.seeds import generator
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
from auditor.observers.equal_needs import EqualNeeds
from auditor.observers.near_copies import numbered
from auditor.subjects.capability import SampleRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.capability import OpenModel

TRIED_AT_ONCE = 256
"""Tokens of the vocabulary that are looked at together."""
NONE = -1
"""Id where the vocabulary has fewer tokens that can be asked than were asked for."""
TYPES = {
    "string": pa.string(),
    "int32": pa.int32(),
    "list<int32>": pa.list_(pa.int32()),
    "list<bool>": pa.list_(pa.bool_()),
}


class Parameters(Record):
    """What is repeated, and what the rest is matched against."""

    prompts: PositiveInt = 64
    """Tokens drawn from the vocabulary; each is repeated in a prompt of its own."""
    samples: PositiveInt = 1
    """Outputs sampled after each."""
    repeats: PositiveInt = 50
    """Times the token stands in the prompt."""
    tokens: PositiveInt = 128
    """Tokens of each output."""
    top_k: PositiveInt = 40
    """Tokens are drawn among the k likeliest."""
    documents: PositiveInt | None = None
    """Most documents of each side that are matched against; null: as many as the smaller side has."""
    least: PositiveInt = 50
    """Fewest tokens of a match that is listed."""


class DivergencesObserver(EqualNeeds):
    """Repeats a token, lets the model go on, and matches what follows the repetition."""

    name = "divergences"
    version = 1
    shard_items = 64
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:
        """Return the columns it writes."""
        return (
            Column(name="number", type="int32", unit="none", meaning="Number of the output."),
            Column(name="token_id", type="int32", unit="none", meaning="Repeated token; -1: none was left to ask."),
            Column(name="token", type="string", unit="none", meaning="What the vocabulary says it stands for."),
            Column(name="tokens", type="int32", unit="tokens", meaning="Tokens of the output."),
            Column(name="repeats", type="int32", unit="tokens", meaning="How many of them go on repeating, at first."),
            Column(name="tail", type="int32", unit="tokens", meaning="Tokens behind the first that is another one."),
            Column(name="distinct", type="int32", unit="tokens", meaning="Different tokens among those."),
            Column(name="again", type="int32", unit="tokens", meaning="How many of those are the repeated token."),
            Column(name="group", type="int32", unit="none", meaning="Number of the first output whose rest says this."),
            *match_columns("member", parameters.least),
            *match_columns("control", parameters.least),
            *match_columns("other", parameters.least),
            Column(
                name="excerpt", type="string", unit="none", meaning="Masked: its longest run from a compared member."
            ),
            Column(name="rest", type="string", unit="none", meaning="What followed the repetition.", restricted=True),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of outputs."""
        asked = Parameters.from_plain(need.parameters)
        compared_documents(facts, asked.documents)
        return asked.prompts * asked.samples

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return about how many tokens are generated."""
        return self.items(need, facts) * Parameters.from_plain(need.parameters).tokens

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Ask for one part of the outputs."""
        asked = Parameters.from_plain(need.parameters)
        model = opened.model("subject")
        repeated = opened.remember(
            f"repeated tokens {asked.prompts} {asked.repeats} {part.seed}",
            lambda: repeatable_tokens(model, asked.prompts, asked.repeats, part.seed),
        )
        numbers = range(part.start, part.stop)
        ids = [repeated[place] if (place := number // asked.samples) < len(repeated) else NONE for number in numbers]
        said = _said(numbers, ids, asked, model, part.seed)
        repeats = [_repeats(token, output) for token, output in zip(ids, said, strict=True)]
        rests = [output[count:] for output, count in zip(said, repeats, strict=True)]
        texts = [model.decode(rest.tolist()) if len(rest) else "" for rest in rests]
        columns: dict[str, list[Any]] = {
            "number": list(numbers),
            "token_id": ids,
            "token": ["" if token == NONE else model.decode([token]) for token in ids],
            "tokens": [len(output) for output in said],
            "repeats": repeats,
            "tail": [len(rest) for rest in rests],
            "distinct": [len(np.unique(rest)) for rest in rests],
            "again": [int((rest == token).sum()) for token, rest in zip(ids, rests, strict=True)],
            "group": numbered(texts, "rest", opened, need, part),
        }
        sides: tuple[Side, ...] = ("member", "control", "other")
        corpora: dict[Side, Corpus | None] = {side: corpus(opened, side, part.seed, asked.documents) for side in sides}
        found: dict[Side, list[Found]] = {
            side: held.match(rests, asked.least) if held is not None else [] for side, held in corpora.items()
        }
        columns |= match_rows(found, corpora, rests, asked.least)
        columns["excerpt"] = [excerpt_of(rest, row, model) for rest, row in zip(rests, found["member"], strict=True)]
        declared = [column for column in self.columns(asked) if not column.restricted]
        public = pa.table({column.name: pa.array(columns[column.name], type=TYPES[column.type]) for column in declared})
        restricted = pa.table({"rest": pa.array(texts, type=pa.string())})
        return Shard(public, restricted, calls=sum(token != NONE for token in ids), tokens=sum(map(len, said)))


def repeatable_tokens(model: OpenModel, count: int, repeats: int, seed: int) -> list[int]:
    """Return tokens of the vocabulary in an order drawn by the seed, those that nobody could type left out.

    A token can be typed if it is letters alone and its repetition, written as text, is read as that repetition: so whoever
    sees only text can ask it, and special tokens and parts of characters are none.

    Args:
        model: Whose vocabulary.
        count: How many; fewer are returned where the vocabulary has no more.
        repeats: Times each is to be repeated.
        seed: Decides the order.
    """
    found: list[int] = []
    order = generator(seed, "divergences", "vocabulary").permutation(model.vocabulary)
    for start in range(0, len(order), TRIED_AT_ONCE):
        some = [int(token) for token in order[start : start + TRIED_AT_ONCE] if _is_word(model.decode([int(token)]))]
        written = model.encode([model.decode([token] * repeats) for token in some])
        found += [
            token
            for token, ids in zip(some, written, strict=True)
            if len(ids) == repeats and token != model.begin and bool((ids == token).all())
        ]
        if len(found) >= count:
            break
    return found[:count]


def _is_word(text: str) -> bool:
    """Return whether a text is letters, with their marks, and no more than white space around them."""
    bare = text.strip()
    return bool(bare) and all(unicodedata.category(letter)[0] in "LM" for letter in bare)


def _said(
    numbers: Sequence[int], ids: Sequence[int], asked: Parameters, model: OpenModel, seed: int
) -> list[NDArray[np.int32]]:
    """Return each output; nothing where there was no token to repeat."""
    said = [np.empty(0, dtype=np.int32)] * len(ids)
    lead = [] if model.begin is None else [model.begin]
    rows = [row for row, token in enumerate(ids) if token != NONE]
    if rows:
        drawn = model.sample(
            [np.array([*lead, *[ids[row]] * asked.repeats], dtype=np.int32) for row in rows],
            [int(generator(seed, "divergences", str(numbers[row])).integers(2**53)) for row in rows],
            SampleRequest(min(asked.tokens, model.context - len(lead) - asked.repeats), asked.top_k),
        )
        for row, output in zip(rows, drawn, strict=True):
            said[row] = output
    return said


def _repeats(token: int, output: NDArray[np.int32]) -> int:
    """Return how many tokens of an output go on repeating before the first that is another one."""
    others = np.flatnonzero(output != token)
    return int(others[0]) if len(others) else len(output)


OBSERVER = DivergencesObserver()
