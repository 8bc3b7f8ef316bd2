"""Which records of the members, or of the controls, stand in their own file more than once, exactly or nearly.

Exact: equal after Unicode (NFC) and white space are made alike, as where controls are held against members. Near: a
Jaccard index of runs of words; candidates come from MinHash and every one is verified. No model is asked.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.observers.equal_needs import EqualNeeds
from auditor.statistics.minhash import shingles, similar_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WORD = re.compile(r"\w+|[^\w\s]+")


class Parameters(Record):
    """Which records are compared, and when two are near."""

    records: PositiveInt | None = None
    """Size of the random sample; null: all records."""
    words: PositiveInt = 5
    """Words in a run."""
    jaccard: float = Field(default=0.8, gt=0.0, le=1.0)
    """Least share of runs that near duplicates have in common, of all that either has."""


class TextDuplicatesObserver(EqualNeeds):
    """Groups the records of one side by what they have in common."""

    name = "text-duplicates"
    version = 1
    shard_items = 1 << 30  # one shard: every record is held against every other
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:
        """Return the columns it writes."""
        near = f"Jaccard index of {parameters.words}-word runs of {parameters.jaccard:g} or more"
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="source", type="string", unit="none", meaning="Source label."),
            Column(name="copies", type="int32", unit="records", meaning="How often it stood in training, as declared."),
            Column(name="exact_group", type="int32", unit="none", meaning="Equal for equal texts (NFC, white space)."),
            Column(name="exact_size", type="int32", unit="records", meaning="Records of that group, itself included."),
            Column(name="near_group", type="int32", unit="none", meaning=f"Equal where a chain leads over: {near}."),
            Column(name="near_size", type="int32", unit="records", meaning="Records of that group, itself included."),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records."""
        side = facts.subject.members if need.dataset == "members" else facts.subject.controls
        asked = Parameters.from_plain(need.parameters).records
        total = side.records if side else 0
        return total if asked is None else min(asked, total)

    def tokens(self, need: Need, facts: Facts) -> int:  # noqa: ARG002  (the protocol's argument)
        """Return 0: no model is asked."""
        return 0

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Group the records of the sample."""
        asked = Parameters.from_plain(need.parameters)
        side = opened.contents("members" if need.dataset == "members" else "controls")
        records = list(side.sample(asked.records, part.seed, part.start, part.stop))
        texts = [record.text for record in records]
        exact, near = duplicate_groups(texts, asked.words, asked.jaccard, part.rng)
        groups = {"exact": exact, "near": near}
        public = pa.table(
            {
                "id": pa.array([record.id for record in records], type=pa.string()),
                "cluster": pa.array([record.cluster for record in records], type=pa.string()),
                "source": pa.array([record.source for record in records], type=pa.string()),
                "copies": pa.array([record.copies for record in records], type=pa.int32()),
                **{
                    f"{name}_{what}": pa.array(values, type=pa.int32())
                    for name, group in groups.items()
                    for what, values in (("group", group), ("size", np.bincount(group)[group] if len(group) else group))
                },
            }
        )
        return Shard(public, None, calls=0, tokens=0)


def duplicate_groups(
    texts: Sequence[str], words: int, least: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of the group of equal and of near texts of each text, from 0; equal texts are near.

    Args:
        texts: The texts.
        words: Words in a run; runs ignore case.
        least: Least Jaccard index of the runs of near texts.
        rng: Decides the hash functions of the search.

    Returns:
        Groups of equal texts and groups of near texts, each of shape [texts].
    """
    numbers: dict[str, int] = {}
    plain = [" ".join(unicodedata.normalize("NFC", text).split()) for text in texts]
    exact = np.array([numbers.setdefault(text, len(numbers)) for text in plain], dtype=np.int64)
    known: dict[str, int] = {}
    sets = []
    for text in numbers:
        hashes = [_hash_of(word, known) for word in _WORD.findall(text.casefold())]
        sets.append(shingles(np.array(hashes, dtype=np.uint64), words))
    of_text = similar_groups(sets, least, rng)
    return exact, of_text[exact]


def _hash_of(word: str, known: dict[str, int]) -> int:
    if word not in known:
        known[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
    return known[word]


OBSERVER = TextDuplicatesObserver()
