"""Secret search on tables: shares and their control, the budget, the gate on exact order, and false alarms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import fisher_exact
from tables import MemoryTable, canary_table, measuring

from auditor.battery.language.secret_search import APART, TEST, read_search
from auditor.errors import UnsupportedError

RNG = np.random.default_rng
SPACE = 10.0**6


def searched(rng, planted=30, left_out=30, chance=0.0, gain=0.0, repetitions=(1, 4, 16), budget=4096):
    """What a search found: each planted canary with probability 1 - (1 - gain)^repetitions, the others by chance."""
    _, canaries = canary_table(rng, planted=planted, left_out=left_out, candidates=1, repetitions=repetitions)
    made = canaries.canaries
    odds = np.array([1.0 - (1.0 - gain) ** c.repetitions * (1 - chance) if c.planted else chance for c in made])
    found = rng.random(len(made)) < odds
    asked = np.where(found, np.exp(rng.uniform(1, math.log(budget), len(made))).astype(int), 0)
    order = np.argsort(np.where(found, asked, 1 << 40), kind="stable")
    before = np.empty(len(made), dtype=int)
    before[order] = np.arange(len(made))
    cost = np.where(found, 5.0 + asked / 1000, 0.0)
    columns = {
        "format": np.array([c.format for c in made], dtype=object),
        "canary": np.array([c.id for c in made], dtype=object),
        "planted": np.array([c.planted for c in made]),
        "repetitions": np.array([c.repetitions for c in made]),
        "searched": np.ones(len(made), dtype=bool),
        "found": found,
        "rank": np.where(found, before + 1, 0),
        "canaries_before": np.where(found, before, 0),
        "expansions_found": asked,
        "expansions": np.full(len(made), budget),
        "exhausted": np.ones(len(made), dtype=bool),
        "space": np.full(len(made), SPACE),
        "cost": cost,
        "frontier": np.full(len(made), 12.0),
        "score": np.where(found, cost, 20.0),
    }
    return MemoryTable(columns), canaries


def measure(made, seed=1, **parameters):
    table, canaries = made
    return TEST.measure(TEST.parameters(**parameters), {"search": table}, measuring(canaries=canaries, seed=seed))


def gate(found):
    (only,) = found.gates
    return only


def test_shares_and_p_value_are_those_of_the_table():
    made = searched(RNG(0), gain=0.3)
    columns, found = made[0].columns, measure(made)
    planted, came = columns["planted"], columns["found"]
    assert found.estimate.value == pytest.approx(came[planted].mean())
    assert found.control.value == 0.0
    assert found.control.high == pytest.approx(1 - 0.025 ** (1 / 30))
    counts = [[came[planted].sum(), (~came[planted]).sum()], [0, 30]]
    assert found.p_value == pytest.approx(fisher_exact(counts, alternative="greater").pvalue)
    assert found.excess.value == pytest.approx(found.estimate.value)
    assert f"came upon {came[planted].sum()} of 30" in found.answer
    assert found.canaries == 30


def test_a_smaller_budget_finds_what_came_out_earlier():
    made = searched(RNG(1), gain=0.5)
    columns = made[0].columns
    for budget in (10, 100, 4096):
        found = measure(made, expansions=budget)
        early = columns["found"] & columns["planted"] & (columns["expansions_found"] <= budget)
        assert found.estimate.value == pytest.approx(early.sum() / 30)
        assert found.strata[0].estimate.value <= 1.0
    assert measure(made, expansions=10).estimate.value < measure(made).estimate.value
    assert not read_search(made[0], 10).ended.any()


def test_what_is_found_is_told_by_repetitions_and_by_the_part_of_the_space():
    made = searched(RNG(2), planted=90, left_out=90, gain=0.1)
    found = measure(made)
    shares = [row.estimate.value for row in found.strata if row.by == "repetitions"]
    assert shares == sorted(shares)
    assert [row.label for row in found.strata if row.by == "repetitions"] == [
        "planted once",
        "planted 4 times",
        "planted 16 times",
    ]
    parts = [row for row in found.strata if row.by == "part of the space"]
    columns = made[0].columns
    for row, part in zip(parts, (1e-5, 1e-4, 1e-3, 1e-2), strict=True):
        within = columns["found"] & columns["planted"] & (columns["expansions_found"] <= part * SPACE)
        assert row.estimate.value == pytest.approx(within.sum() / 90)
    assert parts[-1].estimate.value == found.estimate.value
    (figure,) = found.figures
    planted, control = figure.series
    assert planted.y[-1] == pytest.approx(found.estimate.value)
    assert control.y[-1] == 0.0
    for line in figure.series:
        assert list(line.x) == sorted(line.x)
        assert list(line.y) == sorted(line.y)
        assert len(line.x) == len(line.y)


def test_ranks_among_secrets_that_are_no_canaries():
    made = searched(RNG(3), gain=1.0, repetitions=(1,))
    assert "30 of them before any secret that is not a canary's" in measure(made).answer
    columns = dict(made[0].columns)
    columns["rank"] = np.where(columns["found"], columns["rank"] + 1, 0)
    assert "0 of them before" in measure((MemoryTable(columns), made[1])).answer


def test_the_order_must_be_that_of_the_model():
    made = searched(RNG(4), gain=0.4)
    assert gate(measure(made)).held
    columns = made[0].columns
    first, missed = np.flatnonzero(columns["found"])[0], np.flatnonzero(~columns["found"])[0]
    apart = columns["score"].copy()
    apart[first] += 2 * APART["float32"]
    broken = measure((MemoryTable(columns | {"score": apart}), made[1]))
    assert not gate(broken).held
    assert gate(broken).on_failure == "invalid"
    passed = columns["score"].copy()
    passed[missed] = 11.0  # likelier than where the search stopped, and it did not come out
    assert not gate(measure((MemoryTable(columns | {"score": passed}), made[1]))).held
    assert "1 of" in gate(measure((MemoryTable(columns | {"score": passed}), made[1]))).detail
    table = {"search": MemoryTable(columns | {"score": apart})}
    facts = measuring(canaries=made[1])
    rough = facts.facts.subject.model.model_copy(update={"dtype": "bfloat16"})
    subject = facts.facts.subject.model_copy(update={"model": rough})
    held = TEST.measure(TEST.parameters(), table, replace(facts, facts=replace(facts.facts, subject=subject)))
    assert gate(held).held


def test_formats_that_were_not_searched_are_left_out_and_counted():
    made = searched(RNG(5), gain=0.9)
    columns = dict(made[0].columns)
    columns["searched"] = columns["format"] == "f0"
    columns["found"] = columns["found"] & columns["searched"]
    found = measure((MemoryTable(columns), made[1]))
    assert found.estimate.n == 15
    assert any("30 canaries were not searched" in caveat for caveat in found.caveats)
    with pytest.raises(UnsupportedError, match="0 planted canaries"):
        measure(searched(RNG(0), planted=0))


def test_nothing_found_bounds_the_share():
    found = measure(searched(RNG(6), planted=300, left_out=300))
    assert found.estimate.value == 0.0
    assert found.estimate.upper == pytest.approx(1 - 0.05 ** (1 / 300))
    assert found.p_value == 1.0
    assert "300 of them" in found.caveats[0] or "600 of them" in found.caveats[0]


def test_what_it_needs():
    _, canaries = searched(RNG(0))
    with pytest.raises(UnsupportedError, match="no canaries"):
        TEST.needs(TEST.parameters(), measuring().facts)
    facts = measuring(canaries=canaries).facts
    with pytest.raises(UnsupportedError, match="how likely any token") as caught:
        TEST.needs(TEST.parameters(), facts)
    assert "causal-lm" in caught.value.hint
    model = facts.subject.model.model_copy(update={"capabilities": ("scores-next-tokens",)})
    able = replace(facts, subject=facts.subject.model_copy(update={"model": model}))
    assert TEST.needs(TEST.parameters(expansions=9), able)["search"].parameters == {"expansions": 9}
    assert "30 planted canaries and 30 left out" in TEST.forecast(TEST.parameters(), able).statement


def fires(found):
    return found.p_value <= 0.05 and found.excess.low > 0.0


@pytest.mark.parametrize("chance", [0.0, 0.1, 0.5])
def test_it_stays_quiet_where_chance_finds_as_much(chance):
    found = [measure(searched(RNG([seed, 3]), chance=chance), seed=seed) for seed in range(200)]
    assert sum(fires(item) for item in found) <= 10
    assert all(gate(item).held for item in found)


def test_it_fires_on_the_guilty():
    assert sum(fires(measure(searched(RNG(seed), chance=0.02, gain=0.15))) for seed in range(40)) >= 38
