"""A subject made of a model and records that lie in memory; meets `OpenedSubject`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from auditor.contract.protocol import Facts, Part, T
from auditor.core.policy import QueryBudget
from auditor.testing.control_subject import ListedRecords, control_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from auditor.contract.protocol import Observer, Shard
    from auditor.core.canary import CanarySet
    from auditor.core.evidence import Need
    from auditor.subjects.capability import OpenModel
    from auditor.subjects.data import DataRecord
    from auditor.subjects.denoiser import Denoiser

SEED = 5


@dataclass
class OpenedInMemory:
    facts: Facts
    models: dict[str, OpenModel | Denoiser]
    sides: dict[str, ListedRecords]
    memory: dict[str, Any] = field(default_factory=dict)

    def model(self, role: str) -> OpenModel:
        return self.models[role]

    def denoiser(self, role: str) -> Denoiser:
        return self.models[role]

    def records(self, dataset: str) -> ListedRecords:
        return self.sides[dataset]

    def contents(self, dataset: str) -> ListedRecords:
        return self.sides[dataset]

    def remember(self, key: str, make: Callable[[], T]) -> T:
        if key not in self.memory:
            self.memory[key] = make()
        return self.memory[key]


def opened(
    model: OpenModel,
    members: Sequence[DataRecord] = (),
    controls: Sequence[DataRecord] = (),
    canaries: CanarySet | None = None,
    reference: OpenModel | None = None,
) -> OpenedInMemory:
    queries = QueryBudget(per_subject=1, lifetime=1, reason="test")
    subject = control_subject("innocent", references=0, confidence=0.95, queries=queries).facts.subject
    update = {}
    for side, records in (("members", members), ("controls", controls)):
        update[side] = getattr(subject, side).model_copy(update={"records": len(records)})
    facts = Facts(subject.model_copy(update=update), canaries, model.context, 0.95, queries)
    sides = {"members": ListedRecords(tuple(members)), "controls": ListedRecords(tuple(controls))}
    return OpenedInMemory(facts, {"subject": model, "reference-0": reference or model}, sides)


def shards(observer: Observer, need: Need, subject: OpenedInMemory, size: int | None = None) -> Iterator[Shard]:
    """Yield the shards of an observation as a run makes them; the generator of each is its own."""
    total = observer.items(need, subject.facts)
    size = size or observer.shard_items
    made: list[Shard] = []

    def earlier(column: str) -> pa.ChunkedArray:
        tables = [next(t for t in (s.public, s.restricted) if t is not None and column in t.column_names) for s in made]
        return pa.chunked_array([chunk for table in tables for chunk in table.column(column).chunks] or [pa.array([])])

    for number, start in enumerate(range(0, max(total, 1), size)):
        part = Part(start, min(start + size, total), SEED, np.random.default_rng([SEED, number]), earlier)
        made.append(observer.observe(need, subject, part))
        yield made[-1]


def rows(observer: Observer, need: Need, subject: OpenedInMemory, size: int | None = None) -> list[dict]:
    """Return every row of an observation, public and restricted columns together."""
    found = []
    for shard in shards(observer, need, subject, size):
        public = shard.public.to_pylist()
        restricted = shard.restricted.to_pylist() if shard.restricted is not None else [{}] * len(public)
        assert len(restricted) == len(public)
        found += [one | other for one, other in zip(public, restricted, strict=True)]
    return found


def check_columns(observer: Observer, need: Need, subject: OpenedInMemory) -> None:
    """What is written is what was declared: names, order, Arrow types, and which are restricted."""
    declared = observer.columns(observer.parameters.from_plain(need.parameters))
    shard = next(shards(observer, need, subject))
    tables = [(shard.public, [column for column in declared if not column.restricted])]
    if shard.restricted is not None:
        tables.append((shard.restricted, [column for column in declared if column.restricted]))
    for table, columns in tables:
        assert table.column_names == [column.name for column in columns]
        for column in columns:
            written = str(table.schema.field(column.name).type).replace("element: ", "").replace("item: ", "")
            assert written == column.type, column.name
    assert all(column.meaning and column.unit for column in declared)
