"""Duplicates in the data: innocent data sets raise no alarm, repeats do, and what was left out does not flatter."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from auditor.assess.instrument import fires
from auditor.battery.dataset.duplicates import TEST, Parameters, read_grouped
from tests.battery.tables import MemoryTable, measuring


def table(groups, exact=None, clusters=None, copies=None, sources=None, name="0"):
    groups = np.asarray(groups)
    exact = groups if exact is None else np.asarray(exact)
    return MemoryTable(
        {
            "id": np.array([f"{name}{i}" for i in range(len(groups))], dtype=object),
            "cluster": np.array(clusters or [f"{name}{i}" for i in range(len(groups))], dtype=object),
            "source": np.array(sources or [""] * len(groups), dtype=object),
            "copies": np.array(copies or [1] * len(groups)),
            "exact_group": exact,
            "exact_size": np.bincount(exact)[exact],
            "near_group": groups,
            "near_size": np.bincount(groups)[groups],
        },
        name=name,
    )


def measured(members, controls=None, facts=None, more=None):
    evidence = {"members": members} | ({"controls": controls} if controls else {}) | ({"more": more} if more else {})
    return TEST.measure(Parameters(), evidence, facts or measuring(controls=controls is not None))


def overlapping(count, controls):
    plain = measuring()
    side = plain.facts.subject.controls.model_copy(update={"records": controls})
    subject = plain.facts.subject.model_copy(update={"overlap": tuple(f"x{i}" for i in range(count)), "controls": side})
    return dataclasses.replace(plain, facts=dataclasses.replace(plain.facts, subject=subject))


def pool(rng, count, share=0.1):
    """Numbers of the texts of some records: most stand once, the others in groups of two to twenty."""
    found, text = [], 0
    while len(found) < count:
        found.extend([text] * (int(rng.integers(2, 21)) if rng.random() < share / 10 else 1))
        text += 1
    return np.array(found[:count])


def relabelled(groups):
    return np.unique(groups, return_inverse=True)[1]


def alarms(found):
    return found.p_value <= 0.05 and found.excess.low > 0.0


def test_innocent_data_raise_no_alarm():
    wrong = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        wrong += alarms(measured(table(relabelled(pool(rng, 300))), table(relabelled(pool(rng, 300)), name="1")))
    assert wrong <= 16, wrong  # 10 of 200 expected at most; more than 16 once in forty times


def test_controls_that_were_left_out_are_counted_as_duplicated():
    """A pool with repeats is divided by chance and controls that stand among the members are left out, as in an audit."""
    wrong = naive = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        texts = rng.permutation(np.repeat(np.arange(500), rng.choice([1, 3, 6], p=[0.9, 0.05, 0.05], size=500)))
        members, drawn = texts[: len(texts) // 2], texts[len(texts) // 2 :]
        kept = drawn[~np.isin(drawn, members)]
        sides = [table(relabelled(side), name=str(n)) for n, side in enumerate((members[: len(kept)], kept))]
        wrong += alarms(measured(*sides, overlapping(len(drawn) - len(kept), len(kept))))
        naive += alarms(measured(*sides))
    assert wrong <= 10, wrong
    assert naive > 100, naive  # without the count nearly every such audit would accuse


def test_repeats_are_found_and_counted_by_kind():
    groups = relabelled([*range(380), *(number % 10 for number in range(20))])
    exact = [*range(390), *range(10)]
    clusters = [f"p{i}" for i in range(380)] + [f"p{i % 10}" for i in range(10)] + [f"q{i}" for i in range(10)]
    found = measured(
        table(groups, exact, clusters, copies=[1] * 300 + [4] * 100),
        table(np.arange(400), name="1"),
        more=table(groups),
    )
    assert fires(found)
    assert found.estimate.value == 30 / 400
    assert found.estimate.n == 380
    kinds = {stratum.label: stratum.estimate.value for stratum in found.strata}
    assert kinds["word for word"] == 20 / 400
    assert kinds["of another person, document or record"] == 30 / 400
    assert kinds["declared to have stood in training more than once"] == 100 / 400
    assert kinds["more members"] == 30 / 400
    assert kinds["4-7"] == 20 / 100
    assert "30 have a duplicate among them, 20 of these word for word" in found.answer


def test_records_of_one_group_or_person_are_one_unit():
    grouped = read_grouped(table([0, 0, 1, 2, 2], clusters=["a", "b", "b", "c", "c"]))
    assert len({str(unit) for unit in grouped.units[:3]}) == 1
    assert len({str(unit) for unit in grouped.units}) == 2
    assert grouped.across.tolist() == [True, True, False, False, False]
    one = measured(table([0] * 50 + list(range(1, 351))), table(np.arange(400), name="1"))
    assert one.estimate.value == 50 / 400
    assert not fires(one)  # one text that stands fifty times is one text


def test_without_controls_the_share_stands_alone():
    found = measured(table([0, 0, *range(1, 200)]))
    assert found.p_value is None
    assert found.excess is None
    assert found.control_reason
    assert found.estimate.low > 0.0


@pytest.mark.parametrize(
    ("members", "controls", "asked", "sizes"),
    [
        (900, 300, None, {"members": 300, "controls": 300, "more": None}),
        (900, 300, 500, {"members": 300, "controls": 300, "more": 500}),
        (900, 700, 500, {"members": 500, "controls": 500}),
        (300, 900, 20_000, {"members": 300, "controls": 300}),
        (900, None, 500, {"members": 500}),
    ],
)
def test_both_sides_are_read_at_equal_size(members, controls, asked, sizes):
    facts = measuring(controls=controls is not None).facts
    sides = {"members": members} | ({"controls": controls} if controls else {})
    update = {side: facts.subject.members.model_copy(update={"records": count}) for side, count in sides.items()}
    facts = dataclasses.replace(facts, subject=facts.subject.model_copy(update=update))
    needs = TEST.needs(Parameters(records=asked), facts)
    assert {key: need.parameters["records"] for key, need in needs.items()} == sizes
    assert all(need.model is None for need in needs.values())
