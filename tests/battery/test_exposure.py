"""Exposure: ranks against brute force, the coin-flip p-value, the controls, and false alarms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tables import MemoryTable, canary_table, measuring

from auditor.battery.language.exposure import TEST, Ranked, coin_flip_p, rank_canaries
from auditor.errors import UnsupportedError
from auditor.statistics.exposure import sampled_exposure

RNG = np.random.default_rng


def measure(rng, facts_seed=1, parameters=None, **kwargs):
    table, canaries = canary_table(rng, **kwargs)
    asked = parameters or TEST.parameters(permutations=499)
    return TEST.measure(asked, {"canaries": table}, measuring(canaries=canaries, seed=facts_seed))


def test_ranks_are_those_of_brute_force():
    table, canaries = canary_table(RNG(0), candidates=50, formats=1)
    for item in rank_canaries(table, canaries, 1, 0.95):
        own = table.columns["score"][table.columns["canary"] == item.name][0]
        below = sum(score <= own for score in table.columns["score"][table.columns["canary"] == ""])
        assert item.p_value == (below + 1) / 51
        if below:
            assert item.exposure.bits == pytest.approx(-np.log2((below + 1) / 51))


def test_other_planted_canaries_do_not_push_a_canary_down():
    """Twenty canaries of one format, all memorised: each is first among secrets that were never planted."""
    table, canaries = canary_table(RNG(0), planted=20, left_out=4, gain=50.0, formats=1)
    planted = [item for item in rank_canaries(table, canaries, 1, 0.95) if item.planted]
    assert {item.p_value for item in planted} == {1 / 1001}


def test_an_exposure_never_exceeds_its_space():
    table, canaries = canary_table(RNG(0), gain=400.0)
    for item in rank_canaries(table, canaries, 1, 0.95):
        assert item.exposure.bits <= item.cap + 1e-9
        assert item.exposure.low <= item.exposure.bits <= item.exposure.high


def test_ranks_are_taken_among_secrets_of_equal_length():
    table, canaries = canary_table(RNG(0), formats=1, candidates=400)
    columns = dict(table.columns)
    longer = np.arange(len(columns["score"])) % 2 == 1
    columns["tokens"] = np.where(longer, 7, 6)
    columns["score"] = columns["score"] + np.where(longer, 100.0, 0.0)
    found = rank_canaries(MemoryTable(columns), canaries, 1, 0.95)
    assert min(item.p_value for item in found) > 0.0
    assert np.mean([item.p_value for item in found]) == pytest.approx(0.5, abs=0.2)


def ranked(values, planted):
    return [Ranked(f"c{i}", planted, 1, sampled_exposure(0.0, [1.0]), value, 20.0) for i, value in enumerate(values)]


def test_the_coin_flip_p_value_is_that_of_all_divisions():
    planted, control = [0.01, 0.3, 0.02], [0.5, 0.9, 0.04]
    logs = -np.log(planted + control)
    observed = logs[:3].sum()
    exact = np.mean([logs[list(chosen)].sum() >= observed - 1e-9 for chosen in itertools.combinations(range(6), 3)])
    found = coin_flip_p(ranked(planted, True), ranked(control, False), RNG(0), 20_000)
    assert found == pytest.approx(exact, abs=0.01)


def test_the_controls_of_the_test():
    table, canaries = canary_table(RNG(0), gain=3.0)
    limited = TEST.parameters(repetitions_at_most=4, permutations=499)
    found = TEST.measure(limited, {"canaries": table}, measuring(canaries=canaries))
    assert {gate.name: gate.held for gate in found.gates} == {"negative control": True, "positive control": True}
    assert found.canaries == sum(c.planted and c.repetitions <= 4 for c in canaries.canaries)
    table, canaries = canary_table(RNG(0), gain=0.0)
    found = TEST.measure(limited, {"canaries": table}, measuring(canaries=canaries))
    assert not next(gate for gate in found.gates if gate.name == "positive control").held
    loud = dict(table.columns)
    loud["score"] = np.where((loud["canary"] != "") & ~loud["planted"], 5.0, loud["score"])
    found = TEST.measure(
        TEST.parameters(permutations=499), {"canaries": MemoryTable(loud)}, measuring(canaries=canaries)
    )
    assert not next(gate for gate in found.gates if gate.name == "negative control").held


def test_tiers_with_few_canaries_have_wide_intervals():
    found = measure(RNG(0), planted=7, left_out=10, gain=1.0, repetitions=(1, 2, 4, 8, 16, 32, 64))
    for row in found.strata:
        assert row.estimate.high > row.estimate.low


def test_exposure_rises_with_repetitions():
    found = measure(RNG(0), planted=60, left_out=30, gain=2.0)
    values = [row.estimate.value for row in found.strata]
    assert values == sorted(values)
    assert found.p_value == pytest.approx(1 / 500)


def test_too_few_canaries_are_refused():
    with pytest.raises(UnsupportedError, match="0 planted canaries"):
        measure(RNG(0), planted=0, left_out=5)
    with pytest.raises(UnsupportedError, match="no canaries"):
        TEST.needs(TEST.parameters(), measuring().facts)


def fires(found):
    return found.p_value <= 0.05 and found.excess.low > 0.0


def test_it_stays_quiet_on_the_innocent():
    """Canaries of one format share their candidates; the permutation of the coin flips does not mind."""
    found = [measure(RNG([seed, 3]), facts_seed=seed, candidates=150, formats=2) for seed in range(200)]
    assert sum(fires(item) for item in found) <= 10
    assert sum(not item.gates[0].held for item in found) <= 6  # the negative control, at level 0.01


def test_it_fires_on_the_guilty():
    assert sum(fires(measure(RNG(seed), gain=1.5, candidates=200)) for seed in range(20)) >= 19
