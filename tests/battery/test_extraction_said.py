"""Discoverable extraction of a model that gives no scores: what it says is all there is, and it decides alike."""

from __future__ import annotations

import dataclasses

import pytest

from auditor.battery.language.discoverable_extraction import TEST, Parameters
from auditor.core.policy import Policy, QueryBudget, TestEntry
from auditor.plan.resolve import Sources, resolve
from auditor.run.measure import measure
from auditor.run.observe import Workplace, observe
from auditor.testing.conformance import _Quiet
from auditor.testing.control_subject import control_subject

QUERIES = QueryBudget(per_subject=100, lifetime=1000, reason="test")
SPOKEN = ("continues-tokens",)


def measured(kind, folder, capabilities, **parameters):
    """Return what the test measures on a control subject that gives no more than these capabilities."""
    entry = TestEntry(test=TEST.name, parameters={"prefix": 20, "suffix": 20, "records": 120, **parameters})
    policy = Policy(id="p", version=1, title="t", catalogues=("none",), seed=3, queries=QUERIES, tests=(entry,))
    subject = control_subject(kind, references=0, confidence=0.95, queries=QUERIES)
    model = subject.facts.subject.model.model_copy(update={"capabilities": capabilities, "seen": "answers"})
    subject.facts = dataclasses.replace(
        subject.facts, subject=subject.facts.subject.model_copy(update={"model": model})
    )
    plan = resolve(policy, {kind: subject.facts}, Sources("0" * 64, {}, None))
    faults = observe(plan.jobs, {kind: subject}, Workplace(folder, b"key"), _Quiet())
    found = measure(plan, plan.side(kind), folder, faults, canaries=None, queries=QUERIES)[TEST.name]
    return found, {job.observation.observer for job in plan.jobs}


@pytest.mark.parametrize("kind", ["memorizer", "innocent"])
def test_what_is_said_decides_as_what_is_scored(kind, tmp_path):
    scored, asked = measured(kind, tmp_path, ("scores-tokens", *SPOKEN))
    assert asked == {"token-scores", "continuations"}
    said, asked = measured(kind, tmp_path, SPOKEN)
    assert asked == {"continuations"}
    assert (said.members, said.controls) == (scored.members, scored.controls)
    # Where two tokens are equally likely the two may part; the control models have no such places in these records.
    for name in ("estimate", "control", "excess", "p_value"):
        assert getattr(said, name) == getattr(scored, name), name
    assert (said.p_value < 0.01) == (kind == "memorizer")
    assert said.gates == ()
    assert any("weights were not seen" in caveat for caveat in said.caveats)
    assert not any("weights were not seen" in caveat for caveat in scored.caveats)
    assert "generating greedily" in said.method
    assert "most likely token" in scored.method


def test_further_prefixes_are_said_to_be_missing(tmp_path):
    said, _ = measured("memorizer", tmp_path, SPOKEN, prefixes=[10])
    assert [stratum.label for stratum in said.strata if stratum.by == "prefix"] == ["20 tokens"]
    assert any("Further prefix lengths" in caveat for caveat in said.caveats)


def test_a_model_that_says_nothing_cannot_be_tested(tmp_path):
    found, asked = measured("memorizer", tmp_path, ())
    assert asked == set()
    assert found.reason == "capability"
    assert found.message == "the model behind the endpoint does not continue a text greedily"


def test_every_record_of_the_sample_is_continued():
    subject = control_subject("memorizer", references=0, confidence=0.95, queries=QUERIES)
    model = subject.facts.subject.model.model_copy(update={"capabilities": SPOKEN})
    facts = dataclasses.replace(subject.facts, subject=subject.facts.subject.model_copy(update={"model": model}))
    needs = TEST.needs(Parameters(records=70), facts)
    assert {name: need.dataset for name, need in needs.items()} == {"members": "members", "controls": "controls"}
    assert {need.parameters["generate"] for need in needs.values()} == {70}
