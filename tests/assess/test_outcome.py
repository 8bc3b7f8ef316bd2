"""Outcomes against an independent table over all combinations, and at every edge."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import entry, estimate, measurement, tolerance

from auditor.assess.outcome import judge
from auditor.core.evidence import Omission
from auditor.core.finding import Gate, InstrumentCheck, Outcome

SETTINGS = settings(derandomize=True, deadline=None, max_examples=200)


def judged(found, asked=None, instrument=()):
    asked = asked or entry()
    return judge([asked], {asked.test: found}, instrument, confidence=0.95)[0]


def check(*, held, kind="memorizer"):
    expected = "fires" if kind == "memorizer" else "stays quiet"
    return InstrumentCheck(test="t/a", control_subject=kind, expected=expected, held=held, p_value=0.5, answer="a")


def table(
    *,
    declared,
    missing,
    control,
    invalid_gate,
    confirmed,
    soft_gate,
    significant,
    low_above,
    within,
    sample,
    has_tolerance,
):
    """The design's table, written down a second time and flat."""
    if declared:
        return Outcome.NOT_APPLICABLE
    if missing:
        return Outcome.NOT_RUN
    if not control or invalid_gate:
        return Outcome.INVALID
    if confirmed:
        return Outcome.SIGNAL
    if soft_gate:
        return Outcome.INCONCLUSIVE
    if significant and low_above:
        return Outcome.SIGNAL
    if has_tolerance and within and sample:
        return Outcome.NO_SIGNAL
    return Outcome.INCONCLUSIVE


NAMES = (
    "declared", "missing", "control", "invalid_gate", "confirmed", "soft_gate",
    "significant", "low_above", "within", "sample", "has_tolerance",
)  # fmt: skip


@pytest.mark.parametrize("bits", list(itertools.product([False, True], repeat=len(NAMES))))
def test_every_combination_is_as_the_table_says(bits):
    case = dict(zip(NAMES, bits, strict=True))
    low = 0.0001 if case["low_above"] else -0.001
    high = 0.001 if case["within"] else 0.002
    gates = [Gate(name="hard", held=not case["invalid_gate"], on_failure="invalid", detail="d")]
    gates.append(Gate(name="soft", held=not case["soft_gate"], on_failure="inconclusive", detail="d"))
    found = measurement(
        excess=estimate(low, low, high),
        estimate=estimate(0.0002, 0.0, high),
        p_value=0.01 if case["significant"] else 0.2,
        gates=tuple(gates),
        confirmed=int(case["confirmed"]),
        members=2995 if case["sample"] else 2994,
    )
    asked = entry(
        not_applicable="a person's reason" if case["declared"] else None,
        tolerance=tolerance() if case["has_tolerance"] else None,
    )
    given_ = Omission(reason="data", message="m") if case["missing"] else found
    assert judged(given_, asked, [check(held=case["control"])]).outcome is table(**case)


def test_the_edges_belong_to_the_tolerance_and_zero_is_no_excess():
    exact = measurement(excess=estimate(0.0, 0.0, 0.001), estimate=estimate(0.0, 0.0, 0.001), p_value=0.001)
    assert judged(exact).outcome is Outcome.NO_SIGNAL
    above = measurement(excess=estimate(0.0, 0.0, 0.0010001), estimate=estimate(0.0, 0.0, 0.001))
    assert judged(above).outcome is Outcome.INCONCLUSIVE


def test_the_absolute_value_is_held_to_its_own_bound():
    found = measurement(excess=estimate(0.0, -0.01, 0.001), estimate=estimate(0.01, 0.005, 0.02))
    assert judged(found).outcome is Outcome.INCONCLUSIVE
    assert judged(found, entry(tolerance=tolerance(absolute_at_most=0.02))).outcome is Outcome.NO_SIGNAL


def test_significance_is_corrected_over_the_whole_battery_and_what_did_not_run_counts():
    guilty = measurement(excess=estimate(0.1, 0.05, 0.2), p_value=0.02)
    alone = judge([entry()], {"t/a": guilty}, [], confidence=0.95)[0]
    assert (alone.outcome, alone.p_adjusted) == (Outcome.SIGNAL, 0.02)
    absent = Omission(reason="capability", message="m")
    battery = [entry(), entry("t/b"), entry("t/c")]
    found = judge(battery, {"t/a": guilty, "t/b": absent, "t/c": absent}, [], confidence=0.95)[0]
    assert (found.outcome, found.p_adjusted) == (Outcome.INCONCLUSIVE, pytest.approx(0.06))
    declared = [entry(), entry("t/b", not_applicable="r"), entry("t/c", not_applicable="r")]
    assert judge(declared, {"t/a": guilty}, [], confidence=0.95)[0].outcome is Outcome.SIGNAL


def test_a_statistic_that_the_tolerance_is_not_about_cannot_be_within_it():
    found = measurement(statistic="excess_auc")
    assert judged(found).outcome is Outcome.INCONCLUSIVE
    assert "excess_auc was measured" in judged(found).reason


@pytest.mark.parametrize("which", ["excess", "estimate"])
def test_a_tolerance_in_another_unit_is_never_met(which):
    """0.1 percent held against a ratio would tolerate a hundred times as much."""
    asked = entry(tolerance=tolerance(unit="percent", at_most=0.1))
    found = measurement(excess=estimate(0.04, -0.01, 0.09), estimate=estimate(0.04, 0.01, 0.09))
    assert judged(found, asked).outcome is Outcome.INCONCLUSIVE
    assert "percent" in judged(found, asked).reason
    assert "ratio" in judged(found, asked).reason
    numbers = {name: estimate(0.04, -0.01, 0.09, unit="percent") for name in ("excess", "estimate")}
    assert judged(measurement(**numbers), asked).outcome is Outcome.NO_SIGNAL
    numbers[which] = estimate(0.04, -0.01, 0.09)
    assert judged(measurement(**numbers), asked).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("which", ["excess", "estimate"])
def test_bounds_below_the_policys_level_are_never_within_a_tolerance(which):
    narrow = measurement()
    loose = getattr(narrow, which).model_copy(update={"level": 0.9})
    assert judged(narrow).outcome is Outcome.NO_SIGNAL
    found = judged(narrow.model_copy(update={which: loose}))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "90.0 %" in found.reason


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.99, 0.999])
def test_a_p_value_at_the_level_itself_is_a_signal(confidence):
    """In floating point 1 - 0.9 is below 0.1."""
    alpha = {0.8: 0.2, 0.9: 0.1, 0.95: 0.05, 0.99: 0.01, 0.999: 0.001}[confidence]
    found = measurement(excess=estimate(0.1, 0.05, 0.2), p_value=alpha)
    assert judge([entry()], {"t/a": found}, [], confidence=confidence)[0].outcome is Outcome.SIGNAL
    above = found.model_copy(update={"p_value": alpha * 1.001})
    assert judge([entry()], {"t/a": above}, [], confidence=confidence)[0].outcome is not Outcome.SIGNAL


def test_no_control_is_never_quiet():
    found = judged(measurement(control=None, control_reason="none supplied", excess=None, p_value=None))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "none supplied" in found.reason


def test_a_test_missing_from_the_measurements_did_not_run():
    assert judge([entry()], {}, [], confidence=0.95)[0].outcome is Outcome.NOT_RUN


@SETTINGS
@given(st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1), st.floats(0, 1))
def test_more_leak_never_looks_better(p, more, low, width):
    """Raising the excess and lowering p never turns a signal into anything else, nor anything into no_signal."""
    order = [Outcome.NO_SIGNAL, Outcome.INCONCLUSIVE, Outcome.SIGNAL]

    def outcome(p_value, shift):
        excess = estimate(low + shift, low + shift, low + shift + width)
        return judged(measurement(excess=excess, estimate=estimate(0.0, 0.0, 0.0005), p_value=p_value)).outcome

    assert order.index(outcome(p * 0.5, more)) >= order.index(outcome(p, 0.0))


def test_every_reason_names_a_number_or_a_cause():
    for found in (measurement(), Omission(reason="budget", message="spent", where="here")):
        assert len(judged(found).reason) > 10


@pytest.mark.parametrize("on_failure", ["invalid", "inconclusive"])
def test_a_condition_that_did_not_hold_is_not_told_as_a_fact(on_failure):
    """The name of a gate says what would have to be so: "members and controls are alike"."""
    gate = Gate(name="the sides are alike", held=False, on_failure=on_failure, detail="the bound reaches 0.6")
    assert judged(measurement(gates=(gate,))).reason == "Condition not met (the sides are alike): the bound reaches 0.6"
