"""Comparisons of bundles in memory: what is paired, what decides, what explains what, and false alarms over many models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sources import (
    Losses,
    Outcome,
    clause,
    entry,
    estimate,
    finding,
    measurement,
    rate,
    source,
    tolerance,
    values,
)

from auditor.compare.comparing import compare
from auditor.compare.page import render, spelled
from auditor.core.assessment import Statement
from auditor.core.policy import Least

RNG = np.random.default_rng


def deciding(found, pair=0):
    return [row for row in found.pairs[pair].differences if row.decides]


def bundles(before, after, controls=([0] * 50, [0] * 50), **more):
    first = source("a", per_record={"t/a": (rate(before, controls[0]),)}, **more)
    return first, source("b", 2.0, per_record={"t/a": (rate(after, controls[1]),)}, **more)


def test_the_difference_is_the_later_less_the_earlier_record_by_record():
    found = compare(bundles([1] * 5 + [0] * 45, [1] * 20 + [0] * 30))
    (row,) = deciding(found)
    assert (row.basis, row.of, row.matched) == ("paired", "excess", 100)
    assert (row.first.value, row.second.value, row.difference.value) == pytest.approx((0.1, 0.4, 0.3))
    assert row.direction == "worse"
    assert row.p_adjusted == row.p_value < 0.001
    assert found.regressions == ("t/a, said: shown to be higher in b than in a",)
    turned = compare(tuple(reversed(bundles([1] * 5 + [0] * 45, [1] * 20 + [0] * 30))))
    assert deciding(turned)[0].direction == "better"
    assert not turned.regressions


def test_what_controls_gain_too_is_no_memory():
    """Members and controls both come out more often: the model is better at everything, and the excess does not grow."""
    more, less = [1] * 20 + [0] * 30, [1] * 5 + [0] * 45
    found = compare(bundles(less, more, controls=(less, more)))
    (row,) = deciding(found)
    assert row.difference.value == 0.0
    assert row.direction == "not shown"
    sides = {item.of: item.difference.value for item in found.pairs[0].differences}
    assert sides["members"] == sides["controls"] == pytest.approx(0.3)


def test_records_of_one_person_are_one_witness():
    clusters = [f"p{place // 25}" for place in range(50)]
    first = source("a", per_record={"t/a": (rate([0] * 50, [0] * 50, clusters=clusters),)})
    second = source("b", per_record={"t/a": (rate([1] * 25 + [0] * 25, [0] * 50, clusters=clusters),)})
    (row,) = deciding(compare((first, second)))
    assert row.direction == "not shown"
    assert row.difference.n == 2


def test_only_the_records_in_both_are_compared():
    first = source("a", per_record={"t/a": (rate([1] * 10 + [0] * 30),)}, parameters={"records": 40})
    second = source("b", per_record={"t/a": (rate([1] * 10),)}, parameters={"records": 10})
    found = compare((first, second))
    (row,) = [item for item in found.pairs[0].differences if item.of == "members"]
    assert (row.matched, row.unmatched, row.first.value, row.second.value) == (10, 30, 1.0, 1.0)
    assert any(item.what == "parameter `records` of t/a" for item in found.pairs[0].mismatches)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": "ef" * 32}, "the data are not the same files"),
        ({"per_record": {"t/a": "the test says nothing of single records"}}, "nothing of single records"),
        ({"per_record": {}}, "nothing of single records"),
    ],
)
def test_without_pairs_the_intervals_are_held_against_each_other_and_it_says_why(change, said):
    first, _ = bundles([0] * 50, [0] * 50)
    other = measurement(excess=estimate(0.2, 0.15, 0.25), estimate=estimate(0.2, 0.15, 0.25))
    given = {"per_record": {"t/a": (rate([1] * 50, [0] * 50),)}} | change
    second = source("b", findings=(finding(Outcome.SIGNAL, measurement=other),), **given)
    (row,) = deciding(compare((first, second)))
    assert row.basis == "unpaired"
    assert said in row.reason
    assert row.difference.value == pytest.approx(0.2 - 0.0005)
    assert row.difference.low == pytest.approx(0.1995 - np.hypot(0.05, 0.0005))
    assert row.direction == "worse"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 1 and by version 2"),
        ({"parameters": {"prefix": 25}}, "parameters differ: prefix"),
        ({"findings": ()}, "not in the battery"),
        ({"findings": (finding(Outcome.NOT_RUN),)}, "not run"),
    ],
)
def test_what_is_not_alike_is_not_compared(change, said):
    first, _ = bundles([0] * 50, [0] * 50)
    second = source("b", per_record={"t/a": (rate([1] * 50, [0] * 50),)}, **change)
    found = compare((first, second))
    (row,) = found.pairs[0].differences
    assert row.basis == "none"
    assert row.difference is None
    assert said in row.reason
    assert found.family == 0
    assert not [item for item in found.regressions if "shown to be higher" in item]


def test_an_unpaired_number_of_another_statistic_is_not_compared():
    other = finding(Outcome.INCONCLUSIVE, measurement=measurement(statistic="excess_auc"))
    found = compare((source("a"), source("b", findings=(other,))))
    assert "the bundles report" in found.pairs[0].differences[0].reason


def test_numbers_that_mean_nothing_decide_nothing():
    first, second = bundles([0] * 50, [1] * 50)
    invalid = source("b", findings=(finding(Outcome.INVALID),), per_record=second.per_record)
    found = compare((first, invalid))
    assert found.family == 0
    assert {row.direction for row in found.pairs[0].differences} == {"not shown"}


def test_the_same_evidence_differs_by_nothing():
    one, other = source("a", evidence="m"), source("b", evidence="m")
    found = compare((one, other))
    (row,) = found.pairs[0].differences
    assert (row.basis, row.difference.low, row.difference.high, row.p_value) == ("same evidence", 0.0, 0.0, 1.0)
    assert found.pairs[0].same_evidence
    assert any("same model" in warning for warning in found.warnings)


def test_the_correction_is_over_all_pairs():
    sources = [
        source(name, step, per_record={"t/a": (rate([1] * count + [0] * (50 - count), [0] * 50),)})
        for step, (name, count) in enumerate((("a", 0), ("b", 6), ("c", 7), ("d", 8)), start=1)
    ]
    found = compare(sources)
    raw = [deciding(found, pair)[0] for pair in range(3)]
    assert found.family == 3
    assert raw[1].p_adjusted == pytest.approx(2 * raw[1].p_value)
    assert raw[0].p_value == pytest.approx(2 / 2**6)
    assert raw[2].p_adjusted == pytest.approx(min(1.0, 3 * 2 / 2**8))
    steps = compare(sources, against="previous")
    assert [(pair.first, pair.second) for pair in steps.pairs] == [("a", "b"), ("b", "c"), ("c", "d")]


def test_a_tolerance_changes_only_what_follows_from_it():
    quiet = finding(Outcome.NO_SIGNAL)
    loose = source(
        "a",
        evidence="m",
        findings=(quiet, finding(Outcome.NO_SIGNAL, "t/b")),
        entries=(entry(), entry("t/b", evidence_for=())),
    )
    changed = entry(tolerance=tolerance(at_most=0.0001))
    strict = source(
        "b", evidence="m", findings=(finding(Outcome.INCONCLUSIVE), finding(Outcome.NO_SIGNAL, "t/b")),
        entries=(changed, entry("t/b", evidence_for=())),
    )  # fmt: skip
    pair = compare((loose, strict)).pairs[0]
    assert [(item.kind, item.name, item.field) for item in pair.declared] == [("tolerance", "t/a", "tolerance")]
    (outcome,) = pair.outcomes
    assert (outcome.test, outcome.causes) == ("t/a", ("tolerance of the test",))
    assert {item.clause for item in pair.clauses} == {"C-1"}
    assert all(item.causes for item in pair.clauses)
    assert not pair.unexplained
    assert not pair.regressions


def test_an_outcome_that_changed_for_no_reason_is_named():
    pair = compare((source("a", evidence="m"), source("b", evidence="m", findings=(finding(Outcome.SIGNAL),)))).pairs[0]
    assert "outcome of t/a" in pair.unexplained
    assert pair.regressions == ("t/a: became a signal in b",)


def test_statements_and_clauses_are_followed():
    said = Statement(id="s1", clauses=("C-1",), text="It was done.", author="A", role="r", date="2026-01-05")
    pair = compare((source("a", evidence="m"), source("b", evidence="m", statements=(said,)))).pairs[0]
    assert [(item.kind, item.name) for item in pair.declared] == [("statement", "s1")]
    assert pair.clauses[0].causes == ("the statement s1",)
    assert not pair.unexplained
    worded = compare((source("a", evidence="m"), source("b", evidence="m", clauses=(clause(title="Anew"),)))).pairs[0]
    assert [(item.kind, item.field) for item in worded.declared] == [("clause", "title")]
    assert not worded.clauses


def test_the_least_sample_and_the_policy_are_followed():
    pair = compare(
        (source("a", evidence="m"), source("b", evidence="m", entries=(entry(least=Least(members=1)),), valid_months=6))
    ).pairs[0]
    assert {(item.kind, item.field) for item in pair.declared} == {("test", "least"), ("policy", "valid_months")}


def losses(level, rng):
    base = RNG(0).normal(3.0, 0.5, 60)
    return Losses(values(base - level, "m"), values(base - 0.3 * level + rng.normal(0, 0.01, 60), "c"), "nat per token")


def test_memory_that_sets_in_while_held_out_loss_still_falls_is_said():
    rng = RNG(1)
    outcomes = (Outcome.NO_SIGNAL, Outcome.SIGNAL, Outcome.SIGNAL, Outcome.SIGNAL)
    sources = [
        source(f"step-{step}", float(step), findings=(finding(outcome),), losses=losses(step / 100, rng))
        for step, outcome in zip((100, 200, 300, 400), outcomes, strict=True)
    ]
    found = compare(sources)
    assert found.course[0] == "Held-out loss falls from bundle to bundle up to step-400, record by record."
    assert found.course[1].startswith("t/a is a signal from step-200 on: held-out loss still falls")
    assert [curve.role for curve in found.curves] == ["training loss", "held-out loss", "finding"]
    assert found.curves[0].steps == (100.0, 200.0, 300.0, 400.0)
    assert found.curves[1].estimates[0].value > found.curves[1].estimates[3].value
    assert not compare(sources[:2]).curves
    assert compare(sources[:2], ordered=True).curves


def test_the_page_is_one_file_and_spells_out_what_could_mislead():
    rng = RNG(2)
    sources = [
        source(
            f"run \u202e<b>{step}",
            float(step),
            losses=losses(step, rng),
            per_record={"t/a": (rate([1] * 5 * step + [0] * 30, [0] * 20),)},
            trusted=False,
        )
        for step in (1, 2, 3)
    ]
    found = compare(sources)
    html, figures = render(found)
    assert render(compare(sources)) == (html, figures)
    assert set(figures) == {"forest-1.svg", "forest-2.svg", "course.svg"}
    assert "<b>1" not in html
    assert "\u202e" not in html
    assert "\u27e8U+202E\u27e9" in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "<script" not in html
    assert "not trusted" in html
    assert spelled("a\u200bb") == "a\u27e8U+200B\u27e9b"
    assert type(found).from_plain(found.plain()) == found


def test_models_that_do_not_differ_are_rarely_told_apart():
    """Three tests, two alike models that flip some verdicts: a regression in at most 5 % of 200 comparisons."""
    rng, called = RNG(3), 0
    for _ in range(200):
        sides = []
        for label in ("a", "b"):
            rows = {}
            for name in ("t/a", "t/b", "t/c"):
                base = RNG([4, ord(name[-1])]).random(60) < 0.25
                flip = rng.random((2, 60)) < 0.15
                rows[name] = (rate((base ^ flip[0]).astype(int), (base ^ flip[1]).astype(int)),)
            found = [finding(Outcome.INCONCLUSIVE, name) for name in rows]
            sides.append(source(label, findings=found, per_record=rows))
        called += bool(compare(sides).regressions)
    assert called <= 200 * 0.05


@given(some.lists(some.tuples(some.booleans(), some.booleans()), min_size=3, max_size=40), some.permutations(range(40)))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_the_order_of_records_does_not_matter(rows, order):
    before, after = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    mixed = [place for place in order if place < len(rows)]
    one = source("a", per_record={"t/a": (rate(before),)})
    whole = values(after)
    shuffled = type(whole)(whole.ids[mixed], whole.clusters[mixed], whole.values[mixed])
    found = [
        compare(
            (one, source("b", per_record={"t/a": (rate(after).__class__("extracted", "said", "rate", "ratio", side),)}))
        )
        for side in (whole, shuffled)
    ]
    assert found[0] == found[1]
    (row,) = [item for item in found[0].pairs[0].differences if item.of == "members"]
    assert row.difference.low <= row.difference.value <= row.difference.high
