"""One-run epsilon on tables: the guesses, the unit of privacy, what is declared, the gates, and false alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from tables import MemoryTable, canary_table, measuring

from auditor.assess.outcome import judge
from auditor.battery.language.coins import Guessing, read_coins
from auditor.battery.language.epsilon import TEST
from auditor.core.finding import Outcome
from auditor.core.policy import TestEntry, Tolerance
from auditor.errors import UnsupportedError
from auditor.statistics.epsilon import LARGEST, Guesses, one_run_ceiling, one_run_epsilon, one_run_p_value

RNG = np.random.default_rng


def drawn(rng, gain=0.0, count=60, repetitions=(1,), candidates=200, formats=2):
    """A table whose coins are flipped one by one, as a training run flips them."""
    planted = int(rng.binomial(count, 0.5))
    return canary_table(
        rng,
        planted=planted,
        left_out=count - planted,
        gain=gain,
        repetitions=repetitions,
        candidates=candidates,
        formats=formats,
    )


def measure(made, seed=1, **parameters):
    table, canaries = made
    asked = TEST.parameters(permutations=99, **parameters)
    return TEST.measure(asked, {"canaries": table}, measuring(canaries=canaries, seed=seed))


def test_scores_are_held_against_candidates_of_the_same_format_and_length():
    table, _ = canary_table(RNG(0), planted=20, left_out=20, gain=2.0)
    columns = dict(table.columns)
    plain = read_coins(table)
    far = columns["format"] == "f1"
    columns["score"] = np.where(far, 1000.0 + 7.0 * columns["score"], columns["score"])  # a format of other units
    np.testing.assert_allclose(read_coins(MemoryTable(columns)).scores, plain.scores, atol=1e-9)
    own = table.columns["canary"] == "c0"
    others = (table.columns["canary"] == "") & (table.columns["format"] == "f0")
    among = table.columns["score"][others]
    expected = (among.mean() - table.columns["score"][own][0]) / among.std()
    assert plain.scores[0] == pytest.approx(expected)


def test_a_canary_without_candidates_of_its_length_stands_in_the_middle():
    table, _ = canary_table(RNG(0), planted=4, left_out=4)
    columns = dict(table.columns)
    columns["tokens"] = np.where(columns["canary"] == "c1", 9, columns["tokens"])
    assert read_coins(MemoryTable(columns)).scores[1] == 0.0


def test_the_bound_is_that_of_the_guesses():
    made = drawn(RNG(2), gain=6.0)
    found = measure(made, delta=1e-5)
    coins = read_coins(made[0])
    order = np.argsort(-coins.scores, kind="stable")
    right = int(coins.planted[order[:18]].sum() + (~coins.planted[order[42:]]).sum())
    assert found.estimate.low == found.estimate.value
    assert found.estimate.low == pytest.approx(one_run_epsilon(60, Guesses(36, right), delta=1e-5))
    assert found.p_value == pytest.approx(one_run_p_value(60, Guesses(36, right), 0.0, 1e-5))
    assert found.estimate.n == 36
    assert found.excess == found.estimate
    assert f"{right} were right" in found.answer
    assert f"{one_run_ceiling(60, 36, delta=1e-5):.2f}" in found.power.statement
    assert found.control.low <= found.control.value <= found.control.high < found.estimate.low
    assert found.canaries == int(coins.planted.sum())
    assert found.estimate.high >= one_run_ceiling(60, 36, delta=1e-5)


def test_the_unit_of_privacy_decides_which_canaries_count():
    made = drawn(RNG(4), gain=3.0, count=90, repetitions=(1, 4, 16))
    record, person = measure(made, unit="record"), measure(made, unit="person")
    assert record.estimate.n == 18  # three fifths of the thirty that are planted once
    assert person.estimate.n == 54
    assert [row.label for row in record.strata if row.by == "repetitions"] == [
        "one copy",
        "4 copies together",
        "16 copies together",
    ]
    assert [row.estimate for row in record.strata if row.by == "repetitions"] == [
        row.estimate for row in person.strata if row.by == "repetitions"
    ]
    assert "one person" in person.answer
    with pytest.raises(UnsupportedError, match="0 canaries"):
        measure(drawn(RNG(1), repetitions=(4,)))
    _, canaries = drawn(RNG(1), repetitions=(4,))
    with pytest.raises(UnsupportedError, match="0 canaries audit the privacy of one record"):
        TEST.needs(TEST.parameters(), measuring(canaries=canaries).facts)
    with pytest.raises(UnsupportedError, match="no canaries"):
        TEST.needs(TEST.parameters(), measuring().facts)


def test_a_declared_epsilon_is_what_the_bound_is_held_against():
    made = drawn(RNG(3), gain=8.0, count=200)
    none, low, high = measure(made), measure(made, declared=1.0), measure(made, declared=20.0)
    assert low.excess.low == pytest.approx(none.estimate.low - 1.0)
    assert low.excess.low > 0.0
    assert low.p_value == pytest.approx(
        one_run_p_value(200, Guesses(120, int(low.answer.split(" were right")[0].split()[-1])), 1.0, 1e-5)
    )
    assert none.p_value < low.p_value < high.p_value
    assert high.p_value == pytest.approx(1.0)
    reach = {gate.name: gate.held for gate in high.gates}["reach"]
    assert not reach
    assert "nothing could refute 20" in high.power.statement
    assert {gate.name: gate.held for gate in low.gates}["reach"]


def test_what_is_declared_of_the_audited_subject_does_not_hold_of_the_controls():
    table, canaries = drawn(RNG(3), gain=8.0)
    parameters = TEST.parameters(permutations=99, declared=5.0)
    audited = measuring(canaries=canaries)
    control = replace(audited, facts=replace(audited.facts, instrument=True))
    assert TEST.measure(parameters, {"canaries": table}, audited).excess.low < 0.0
    assert TEST.measure(parameters, {"canaries": table}, control).excess.low > 0.0


def entry(**tolerance):
    held = Tolerance(
        statistic="epsilon_lower", unit="nat", population="canaries", reason="test", set_by="controller", **tolerance
    )
    return TestEntry(test=TEST.name, tolerance=held)


def outcome(found, at_most):
    (finding,) = judge([entry(at_most=at_most)], {TEST.name: found}, (), confidence=0.95)
    return finding.outcome


def test_a_weak_audit_is_never_quiet():
    """Few canaries have a low ceiling: that they could not show more must not read as that there is no more."""
    assert outcome(measure(drawn(RNG(0), count=8)), 1.0) is Outcome.INCONCLUSIVE
    weak = measure(drawn(RNG(0), count=40), declared=3.0)
    assert outcome(weak, 1.0) is Outcome.INCONCLUSIVE
    assert "reach" in next(gate.name for gate in weak.gates if not gate.held)
    strong = measure(drawn(RNG(0), count=2000, candidates=400))
    assert outcome(strong, 0.5) is Outcome.NO_SIGNAL
    assert outcome(strong, 0.01) is Outcome.INCONCLUSIVE
    assert outcome(measure(drawn(RNG(0), gain=9.0)), 0.5) is Outcome.SIGNAL


def test_guesses_that_are_all_right_leave_no_upper_end():
    table, canaries = canary_table(RNG(0), planted=30, left_out=30, gain=100.0, repetitions=(1,))
    found = measure((table, canaries))
    assert found.estimate.low == pytest.approx(one_run_ceiling(60, 36, delta=1e-5))
    assert found.estimate.upper == LARGEST
    assert any("no upper end" in caveat for caveat in found.caveats)


def test_several_shares_are_corrected_for():
    made = drawn(RNG(6), gain=4.0)
    alone, both = measure(made, shares=(0.6,)), measure(made, shares=(0.6, 0.3))
    assert both.estimate.low <= alone.estimate.low or both.estimate.n != alone.estimate.n
    assert [row.label for row in both.strata if row.by == "rule"] == [
        "60% of the canaries guessed",
        "30% of the canaries guessed",
    ]
    guessing = Guessing((0.6, 0.3), 1e-5, 0.95)
    assert guessing.corrected == pytest.approx(0.975)
    assert any("corrected for their number" in caveat for caveat in both.caveats)
    rows = [row.estimate.low for row in both.strata if row.by == "rule"]
    assert max(rows) == pytest.approx(both.estimate.low, abs=1e-8)


def test_the_gaussian_assumption_buys_a_larger_bound_and_is_left_out_without_delta():
    made = drawn(RNG(5), gain=5.0)
    found = next(row for row in measure(made).strata if row.by == "assumption")
    assert found.estimate.low > measure(made).estimate.low
    assert not [row for row in measure(made, delta=0.0).strata if row.by == "assumption"]


def test_coins_that_are_not_fair_are_noticed():
    table, canaries = canary_table(RNG(0), planted=55, left_out=5, repetitions=(1,))
    assert not {gate.name: gate.held for gate in measure((table, canaries)).gates}["fair coins"]
    table, canaries = canary_table(RNG(0), planted=36, left_out=24, repetitions=(1,))
    assert {gate.name: gate.held for gate in measure((table, canaries)).gates}["fair coins"]


def test_parameters_that_cannot_be():
    for wrong in ({"shares": ()}, {"shares": (0.0,)}, {"shares": (1.2,)}, {"delta": 1.0}, {"declared": -1.0}):
        with pytest.raises(ValidationError):
            TEST.parameters(**wrong)


def test_equal_scores_say_nothing():
    """A model that likes all secrets alike: ties are broken by the order in the manifest, which knows no coin."""
    alarms = 0
    for seed in range(60):
        table, canaries = drawn(RNG([seed, 9]), candidates=20)
        columns = dict(table.columns)
        flat = MemoryTable(columns | {"score": np.full(len(columns["score"]), 5.0)})
        rng = RNG([seed, 10])
        shuffled = columns["planted"].copy()
        shuffled[: len(canaries.canaries)] = rng.permutation(shuffled[: len(canaries.canaries)])
        found = measure((MemoryTable(flat.columns | {"planted": shuffled}), canaries))
        alarms += found.estimate.low > 0.0
    assert alarms <= 8


def fires(found):
    return found.p_value <= 0.05 and found.excess.low > 0.0


def test_it_stays_quiet_on_the_innocent():
    found = [measure(drawn(RNG([seed, 3]), candidates=60), seed=seed) for seed in range(200)]
    assert sum(fires(item) for item in found) <= 10
    assert sum(not gate.held for item in found for gate in item.gates) <= 2


def test_it_fires_on_the_guilty():
    assert sum(fires(measure(drawn(RNG(seed), gain=4.0, candidates=100))) for seed in range(40)) >= 38
