"""Adversarial compression on tables and on the controls: shares, criteria, the gate on generation, false alarms, power."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact
from tables import MemoryTable, measuring

from auditor.battery.language.compression import TEST, WITHIN, read_compressed
from auditor.errors import UnsupportedError
from auditor.testing.conformance import measure_on_control

RNG = np.random.default_rng
TARGET = 20


def prompts_found(rng, members=20, controls=20, chance=0.0, gain=0.0, per_cluster=1, confirmed=1.0):
    """What a search found: members with probability chance + gain, controls with chance; whole clusters alike."""
    sides = [("m", members, chance + gain, True), ("c", controls, chance, False)]
    rows = []
    for side, count, odds, member in sides:
        came = np.repeat(rng.random(-(-count // per_cluster)) < odds, per_cluster)[:count]
        for number, found in enumerate(came):
            prompt = int(rng.integers(3, TARGET)) if found else 0
            rows.append(
                {
                    "id": f"{side}{number}",
                    "cluster": f"{side}{number // per_cluster}",
                    "member": member,
                    "copies": int(rng.choice([1, 4, 16])) if member else 1,
                    "eligible": True,
                    "target": TARGET,
                    "prompt": prompt,
                    "confirmed": bool(found and rng.random() < confirmed),
                    "own": bool(found and rng.random() < 0.5),
                    "spelled": bool(found and rng.random() < 0.5),
                    "failed": prompt - 1 if found else TARGET - 1,
                    "steps": 60,
                    "asked": 4000,
                    "spent": not found,
                    "vocabulary": 50_000,
                    "utf8_bytes": 90,
                    "static_bytes": 45,
                }
            )
    kinds = {"id": object, "cluster": object}
    return MemoryTable({name: np.array([row[name] for row in rows], dtype=kinds.get(name)) for name in rows[0]}, cut=1)


def measure(table, seed=1, **parameters):
    return TEST.measure(TEST.parameters(**parameters), {"search": table}, measuring(seed=seed))


def changed(table, **columns):
    return MemoryTable(table.columns | columns, cut=1)


def stratum(found, label):
    (only,) = [row for row in found.strata if row.label == label]
    return only


def test_shares_intervals_and_p_value_are_those_of_the_table():
    table = prompts_found(RNG(0), chance=0.1, gain=0.5)
    found, columns = measure(table), table.columns
    came = columns["prompt"] > 0
    counts = [int(came[columns["member"]].sum()), int(came[~columns["member"]].sum())]
    assert found.estimate.value == pytest.approx(counts[0] / 20)
    assert found.control.value == pytest.approx(counts[1] / 20)
    exact = binomtest(counts[0], 20).proportion_ci(0.95, "exact")
    assert (found.estimate.low, found.estimate.high) == pytest.approx((exact.low, exact.high))
    assert found.excess.value == pytest.approx((counts[0] - counts[1]) / 20)
    pairs = [[counts[0], 20 - counts[0]], [counts[1], 20 - counts[1]]]
    assert found.p_value == pytest.approx(fisher_exact(pairs, alternative="greater").pvalue)
    assert f"For {counts[0]} of 20 members" in found.answer
    largest = (TARGET / columns["prompt"][came & columns["member"]]).max()
    assert f"largest ratio {largest:.3g}" in found.answer
    assert "160,000 prompts were asked" in found.caveats[0]


def test_a_prompt_that_generation_does_not_bear_out_counts_for_nothing():
    table = prompts_found(RNG(1), gain=1.0)
    whole = measure(table)
    assert whole.estimate.value == 1.0
    assert whole.gates[0].held
    confirmed = table.columns["confirmed"].copy()
    confirmed[:2] = False
    some = measure(changed(table, confirmed=confirmed))
    assert some.estimate.value == pytest.approx(0.9)
    assert some.gates[0].held
    confirmed[:3] = False
    less = measure(changed(table, confirmed=confirmed)).gates[0]
    assert (less.held, less.on_failure) == (False, "inconclusive")
    assert "17 of 20" in less.detail


def test_the_stricter_criteria_are_those_of_their_definition():
    table = prompts_found(RNG(2), members=4, controls=2, gain=1.0)
    # 90 bytes pressed to 45 are 360 bits; a token of 50,000 is 15.6 bits, so 23 tokens are fewer and 24 are not.
    table = changed(table, target=np.full(6, 30), prompt=np.array([10, 20, 23, 24, 0, 0]))
    table = changed(table, confirmed=np.array([True] * 4 + [False] * 2))
    members, controls = read_compressed(table)
    assert members.ratio.tolist() == [3.0, 1.5, pytest.approx(30 / 23), 1.25]
    assert members.static.tolist() == [2.0] * 4
    assert members.fewer_bits.tolist() == [True, True, True, False]
    assert not controls.compressed.any()
    found = measure(table)
    assert stratum(found, "ratio above that of static compression").estimate.value == 0.25
    assert stratum(found, "prompt of fewer bits than static compression").estimate.value == 0.75
    assert "to 1/2, in the median" in found.strata[0].note


def test_ratios_are_never_one_where_a_prompt_is_as_long_as_what_it_makes_the_model_say():
    table = prompts_found(RNG(3), gain=1.0)
    longest = changed(table, prompt=np.where(table.columns["prompt"] > 0, TARGET, 0))
    assert measure(longest).estimate.value == 0.0


def test_copies_and_the_figure():
    table = prompts_found(RNG(4), members=60, gain=0.6)
    found = measure(table)
    for row in found.strata:
        if row.by == "copies":
            mine = table.columns["member"] & np.isin(
                table.columns["copies"], {"1": [1], "4-7": [4], "16-31": [16]}[row.label]
            )
            assert row.estimate.value == pytest.approx((table.columns["prompt"][mine] > 0).mean())
    (figure,) = found.figures
    members, controls = figure.series
    assert members.y[0] == pytest.approx(found.estimate.value)
    assert list(members.y) == sorted(members.y, reverse=True)
    assert list(members.x) == sorted(members.x)
    assert set(controls.y) == {0.0}


def test_named_members_are_said_to_be_named():
    table = prompts_found(RNG(5), gain=0.8)
    assert any("named, not drawn" in caveat for caveat in measure(table, names=("m1", "m2")).caveats)
    assert "named members" in measure(table, names=("m1",)).answer
    assert not any("named, not drawn" in caveat for caveat in measure(table).caveats)


def test_short_records_are_counted_and_none_is_not_run():
    table = prompts_found(RNG(6), gain=0.5)
    eligible = np.ones(40, dtype=bool)
    eligible[[0, 1, 25]] = False
    found = measure(changed(table, eligible=eligible))
    assert (found.members, found.controls) == (18, 19)
    assert any("2 members and 1 controls are shorter" in caveat for caveat in found.caveats)
    with pytest.raises(UnsupportedError, match="0 members"):
        measure(changed(table, eligible=np.arange(40) >= 20))


def test_what_it_needs():
    facts = measuring().facts
    with pytest.raises(UnsupportedError, match="weights") as caught:
        TEST.needs(TEST.parameters(), facts)
    assert "causal-lm" in caught.value.hint
    with pytest.raises(UnsupportedError, match="no control"):
        TEST.needs(TEST.parameters(), measuring(controls=False).facts)
    model = facts.subject.model.model_copy(update={"capabilities": ("searches-prompts",)})
    able = replace(facts, subject=facts.subject.model_copy(update={"model": model}))
    asked = TEST.needs(TEST.parameters(names=("a", "b"), prefix=0), able)["search"].parameters
    assert (asked["names"], asked["prefix"], asked["steps"]) == (["a", "b"], 0, 50)
    assert "2 members" in TEST.forecast(TEST.parameters(names=("a", "b")), able).statement
    control = replace(able, instrument=True)
    asked = TEST.needs(TEST.parameters(names=("a", "b"), prefix=0), control)["search"].parameters
    assert (asked["names"], asked["prefix"]) == ([], WITHIN)
    assert "20 members" in TEST.forecast(TEST.parameters(names=("a", "b")), control).statement


@pytest.mark.parametrize(
    "wrong", [{"records": 101}, {"records": 0}, {"suffix": 1}, {"names": ("a",) * 101}, {"steps": 0}]
)
def test_more_than_a_few_dozen_records_are_refused(wrong):
    with pytest.raises(Exception, match=next(iter(wrong))):
        TEST.parameters(**wrong)


def fires(found):
    return found.p_value <= 0.05 and found.excess.low > 0.0


@pytest.mark.parametrize("per_cluster", [1, 4])
@pytest.mark.parametrize("chance", [0.05, 0.3, 0.8])
def test_it_stays_quiet_on_the_innocent(chance, per_cluster):
    alarms = sum(
        fires(measure(prompts_found(RNG([seed, 11]), 40, 40, chance, per_cluster=per_cluster), seed=seed))
        for seed in range(200)
    )
    assert alarms <= 10


def test_it_has_the_power_that_it_prints():
    effect = measure(prompts_found(RNG(0))).power.smallest_effect
    # A signal takes the interval, too, which is wider than Fisher's test: a little more than the effect does.
    alarms = sum(fires(measure(prompts_found(RNG([seed, 12]), gain=effect + 0.05), seed=seed)) for seed in range(200))
    assert alarms >= 150


@pytest.mark.parametrize("parameters", [{}, {"prefix": 0, "suffix": 12}, {"names": ["nobody"], "steps": 10}])
def test_the_memorizer_is_found_and_the_innocent_is_not_whatever_a_policy_asks(tmp_path, parameters):
    asked = {"records": 10, "steps": 20, "patience": 8, **parameters}
    guilty = measure_on_control("language/compression", "memorizer", tmp_path / "memorizer", parameters=asked)
    assert guilty.p_value <= 0.01
    assert guilty.excess.low > 0.0
    assert guilty.gates[0].held
    quiet = measure_on_control("language/compression", "innocent", tmp_path / "innocent", parameters=asked)
    assert quiet.p_value == 1.0
    assert quiet.estimate.value == 0.0
