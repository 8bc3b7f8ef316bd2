"""Observations that fail: what is said, where it lies, and that the next attempt goes on."""

from __future__ import annotations

import pyarrow as pa
import pytest

from auditor.contract.protocol import Shard
from auditor.core.evidence import Column, Need, Observation
from auditor.core.plan import Job
from auditor.core.record import Record
from auditor.run import observe as observing
from auditor.run.observe import FAULT_TEXT, Workplace, faults_in, observe


class _Nothing(Record):
    """No parameters."""


class Counter:
    """Numbers its items, two to a shard, and sees the shards before its own; fails on the item it is told to."""

    name = "counter"
    version = 1
    shard_items = 2
    parameters = _Nothing
    fails_at: int | None = None

    def columns(self, parameters):
        return (
            Column(name="number", type="int64", unit="none", meaning="Number of the item."),
            Column(name="secret", type="string", unit="none", meaning="A secret.", restricted=True),
        )

    def observe(self, need, opened, part):
        if self.fails_at is not None and part.start <= self.fails_at < part.stop:
            raise ValueError("Jane Doe's record is broken")
        assert part.earlier("number").to_pylist() == list(range(part.start))
        assert part.earlier("secret").to_pylist() == [f"secret {number}" for number in range(part.start)]
        numbers = list(range(part.start, part.stop))
        secrets = pa.table({"secret": [f"secret {number}" for number in numbers]})
        return Shard(pa.table({"number": pa.array(numbers, pa.int64())}), secrets, calls=1, tokens=1)


class Heard:
    def __init__(self):
        self.shards = 0

    def begin(self, job, shards, done): ...

    def advance(self, job, tokens):
        self.shards += 1

    def end(self, job, omission): ...


@pytest.fixture
def job() -> Job:
    observation = Observation(
        observer="counter", observer_version=1, dataset="members", model_role=None, model=None,
        data=("0" * 64,), parameters={}, seed=1,
    )  # fmt: skip
    need = Need(observer="counter", dataset="members", model=None)
    return Job(id=observation.identity(), observation=observation, need=need, items=7, tokens=7)


def test_what_a_plug_in_says_when_it_fails_can_be_withheld_and_the_next_attempt_goes_on(job, tmp_path, monkeypatch):
    counter = Counter()
    monkeypatch.setattr(observing, "load", lambda kind, name: counter)
    place, first, second = Workplace(tmp_path, b"key"), Heard(), Heard()
    counter.fails_at = 5
    faults = observe((job,), {"audited": None}, place, first)
    assert faults == faults_in(tmp_path)
    assert first.shards == 2
    assert "ValueError" in faults[job.id].message
    assert "Jane" not in faults[job.id].message + faults[job.id].where
    said = tmp_path / job.id / "restricted" / FAULT_TEXT
    assert "Jane Doe's record is broken" in said.read_text()
    counter.fails_at = None
    assert observe((job,), {"audited": None}, place, second) == {}
    assert second.shards == 2
    assert not said.exists()
    assert faults_in(tmp_path) == {}
