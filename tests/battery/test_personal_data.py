"""Personal data: innocent data sets raise no alarm, identifiers do, and one person's many records count as one."""

from __future__ import annotations

import numpy as np

from auditor.assess.instrument import fires
from auditor.battery.dataset.personal_data import TEST, TYPES, Parameters
from auditor.observers.identifiers import TYPES as OBSERVED
from tests.battery.tables import MemoryTable, measuring


def table(name="0", clusters=None, characters=None, sources=None, **counts):
    size = len(next(iter(counts.values())))
    return MemoryTable(
        {
            "id": np.array([f"{name}{i}" for i in range(size)], dtype=object),
            "cluster": np.array(clusters or [f"{name}{i}" for i in range(size)], dtype=object),
            "source": np.array(sources or [""] * size, dtype=object),
            "characters": np.array(characters or [500] * size),
            **{kind: np.asarray(counts.get(kind, np.zeros(size, dtype=int))) for kind in TYPES},
        },
        name=name,
    )


def measured(members, controls=None):
    evidence = {"members": members} | ({"controls": controls} if controls else {})
    return TEST.measure(Parameters(), evidence, measuring(controls=controls is not None))


def test_the_types_are_those_that_are_observed():
    assert tuple(TYPES) == OBSERVED


def test_innocent_data_raise_no_alarm():
    wrong = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        people = [int(size) for size in rng.integers(1, 5, size=80)]
        sides = []
        for name in ("0", "1"):
            share = np.repeat(rng.beta(0.2, 1.8, size=80), people)  # some persons' records hold more than others'
            clusters = [f"{name}-{person}" for person, size in enumerate(people) for _ in range(size)]
            sides.append(table(name, clusters, email=rng.binomial(2, share), phone=rng.binomial(1, share / 2)))
        found = measured(*sides)
        wrong += found.p_value <= 0.05 and found.excess.low > 0.0
    assert wrong <= 16, wrong  # 10 of 200 expected at most; more than 16 once in forty times


def test_identifiers_are_found_and_counted_by_type():
    email, iban = np.zeros(300, dtype=int), np.zeros(300, dtype=int)
    email[:30], iban[20:50] = 2, 1
    found = measured(
        table(email=email, iban=iban, sources=["a"] * 50 + ["b"] * 250), table("1", email=np.zeros(300, int))
    )
    assert fires(found)
    assert found.estimate.value == 50 / 300
    assert "50 hold a structured identifier, 90 in all" in found.answer
    strata = {stratum.label: stratum for stratum in found.strata}
    assert strata[TYPES["email"]].estimate.value == 30 / 300
    assert strata[TYPES["email"]].control.value == 0.0
    assert strata[TYPES["iban"]].estimate.value == 30 / 300
    assert strata[TYPES["phone"]].estimate.value == 0.0
    assert (strata["a"].estimate.value, strata["b"].estimate.value) == (1.0, 0.0)
    assert found.figures[0].series[0].y[:3] == (50 / 300, 30 / 300, 10 / 300)


def test_the_records_of_one_person_are_one_unit():
    email = np.array([1] * 40 + [0] * 260)
    clusters = ["one"] * 40 + [f"p{i}" for i in range(260)]
    assert not fires(measured(table(clusters=clusters, email=email), table("1", email=np.zeros(300, int))))


def test_longer_members_are_told():
    email = np.zeros(100, int)
    longer = measured(table(email=email, characters=[900] * 100), table("1", email=email))
    assert any("900 characters" in caveat for caveat in longer.caveats)
    assert not any("median" in caveat for caveat in measured(table(email=email), table("1", email=email)).caveats)


def test_without_controls_the_share_stands_alone():
    found = measured(table(email=np.array([1] * 5 + [0] * 95)))
    assert (found.p_value, found.excess, found.control) == (None, None, None)
    assert found.control_reason
    assert found.estimate.value == 0.05
