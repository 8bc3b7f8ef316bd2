"""What is made of outputs after repeated tokens: by hand, against scipy, over innocent audits, and with power."""

from __future__ import annotations

import numpy as np
import pytest
from divergence_tables import output_table
from generation_tables import floor_table
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, fisher_exact
from tables import DIGEST, fewest_persons, measuring

from auditor.assess.instrument import fires
from auditor.assess.outcome import judge
from auditor.battery.language.diverged import brought, power_of_tokens, read_outputs
from auditor.battery.language.divergence import TEST, Parameters
from auditor.contract.protocol import Facts
from auditor.core.finding import Outcome
from auditor.core.policy import TestEntry, Tolerance
from auditor.errors import IntegrityError, UnsupportedError
from auditor.statistics.clustered import clustered_rate
from auditor.statistics.paired import paired_rates


def measured(table, floor=None, persons=False, **parameters):
    if floor is None:
        floor = floor_table(*[int(table.columns[f"{side}_records"][0]) for side in ("member", "control")])
    made = measuring()
    if persons:
        subject = made.facts.subject
        members = subject.members.model_copy(update={"clustered_by": "person"})
        object.__setattr__(made.facts, "subject", subject.model_copy(update={"members": members}))
    return TEST.measure(Parameters(**parameters), {"outputs": table, "floor": floor}, made)


def stratum(found, label):
    return next(part for part in found.strata if label in part.label)


def copying(outputs=64, every=4, **kwargs):
    """Every so many outputs copy a member each."""
    return output_table(
        [[("member", row, 60 + row % 30)] if row % every == 0 else [] for row in range(outputs)], **kwargs
    )


def test_the_share_is_of_outputs_that_diverged_and_exact():
    tail = np.where(np.arange(64) < 40, 118, 0)
    # What goes on repeating until the end holds no run: ten of the first forty copy, none of the others.
    runs = [[("member", row, 60)] if row % 4 == 0 and row < 40 else [] for row in range(64)]
    found = measured(output_table(runs, tail=tail, repeats=128 - tail))
    exact = binomtest(10, 40).proportion_ci(0.95, method="exact")
    assert found.statistic == "excess_share"
    assert found.estimate.value == 0.25
    assert (found.estimate.low, found.estimate.high) == pytest.approx((exact.low, exact.high))
    assert found.estimate.upper == pytest.approx(binomtest(10, 40).proportion_ci(0.9, method="exact").high)
    assert found.control.value == 0.0
    assert found.estimate.n == 40
    divergence = stratum(found, "that diverge")
    rate = binomtest(40, 64).proportion_ci(0.95, method="exact")
    assert (divergence.estimate.value, divergence.estimate.low) == pytest.approx((40 / 64, rate.low))
    assert "62.5 %" in found.answer
    assert "25.0 %" in found.answer


def test_the_p_value_is_the_larger_of_tokens_and_records():
    found = measured(copying())
    tokens = binomtest(16, 16, alternative="greater").pvalue
    records = fisher_exact([[16, 184], [0, 200]], alternative="greater")[1]
    assert found.p_value == pytest.approx(max(tokens, records))
    assert fires(found)
    # Sixteen tokens that all bring one record are one record.
    same = measured(output_table([[("member", 7, 60)] if row % 4 == 0 else [] for row in range(64)]))
    assert same.estimate.value == 0.25
    assert same.p_value == pytest.approx(0.5)
    assert not fires(same)
    # One token that brings sixteen records in one output is one token.
    once = measured(output_table([[("member", record, 50) for record in range(16)], *([[]] * 63)]))
    assert once.p_value == pytest.approx(0.5)


def test_what_stands_on_both_sides_counts_on_both():
    runs = [[("member", row, 60, 40, True), ("control", row, 60, 40, True)] for row in range(40)]
    found = measured(output_table(runs), persons=True)
    assert found.excess.value == 0.0
    assert found.p_value == 1.0
    assert found.confirmed == 0


def test_the_difference_is_newcombes_paired_and_clustered_by_token():
    rng = np.random.default_rng(3)
    tokens = np.repeat(np.arange(20), 4)
    runs = [
        ([("member", row, 60)] if rng.random() < 0.4 else []) + ([("control", row, 60)] if rng.random() < 0.2 else [])
        for row in range(80)
    ]
    found = measured(output_table(runs, tokens=tokens), samples=4, prompts=20)
    flags = [np.array([any(run[0] == side for run in row) for row in runs]) for side in ("member", "control")]
    expected = paired_rates(*flags, tokens)
    assert (found.excess.value, found.excess.low, found.excess.high) == pytest.approx(expected[:3])
    assert found.excess.n == found.estimate.n == 20
    sums = np.bincount(tokens, weights=flags[0])
    assert found.estimate.high == pytest.approx(clustered_rate(sums, np.full(20, 4)).high)


@pytest.mark.parametrize(("length", "distinct", "count"), [(49, 40, 0), (50, 40, 1), (50, 9, 0), (50, 10, 1)])
def test_the_criterion_is_fifty_tokens_ten_of_them_different(length, distinct, count):
    found = measured(output_table([[("member", 3, length, distinct)], *([[]] * 39)]))
    assert found.estimate.value == count / 40


@pytest.mark.parametrize(("tail", "distinct", "diverged"), [(0, 0, 0), (49, 40, 0), (50, 10, 32), (118, 9, 0)])
def test_an_output_diverged_if_a_run_could_stand_in_it(tail, distinct, diverged):
    found = measured(output_table([[]] * 32, repeats=128 - tail, tail=tail, distinct=distinct))
    assert stratum(found, "that diverge").estimate.value == diverged / 32
    assert stratum(found, "leave the repetition").estimate.value == (tail > 0)
    assert (found.estimate is None) == (not diverged)
    assert any("too late" in caveat for caveat in found.caveats) == (tail > 0 and not diverged)


def test_a_model_that_never_diverges_shows_nothing_and_says_so():
    found = measured(output_table([[]] * 64, repeats=128, tail=0, distinct=0))
    assert (found.estimate, found.control, found.excess) == (None, None, None)
    assert found.control_reason
    assert found.p_value == 1.0
    assert not fires(found)
    assert found.power.smallest_effect == 1.0
    assert "could not have been shown" in found.power.statement
    (gate,) = found.gates
    assert not gate.held
    assert gate.on_failure == "inconclusive"
    assert "0 of 64 outputs" in gate.detail
    assert f"at most {100 * (1 - 0.05 ** (1 / 64)):.2f} %" in gate.detail
    tolerance = Tolerance(
        statistic="excess_share", at_most=0.99, population="outputs", reason="test", set_by="controller"
    )
    entry = TestEntry(test=TEST.name, tolerance=tolerance)
    (judged,) = judge([entry], {TEST.name: found}, [], confidence=0.95)
    assert judged.outcome is Outcome.INCONCLUSIVE
    assert "the model diverged" in judged.reason


def test_outputs_that_end_with_the_context_are_said_to():
    short, whole = (measured(output_table([[]] * 8, repeats=repeats, tail=100)) for repeats in (10, 28))
    assert any("110 tokens, where the model's context is full" in caveat for caveat in short.caveats)
    assert not any("context is full" in caveat for caveat in whole.caveats)


def test_a_quiet_model_that_diverges_is_within_the_tolerance_its_sample_can_carry():
    found = measured(output_table([[]] * 64))
    bound = 1 - 0.05 ** (1 / 64)
    assert found.estimate.upper == pytest.approx(bound)
    entries = [
        TestEntry(
            test=TEST.name,
            tolerance=Tolerance(
                statistic="excess_share", at_most=at_most, population="outputs", reason="t", set_by="controller"
            ),
        )
        for at_most in (0.05, 0.01)
    ]
    outcomes = [judge([entry], {TEST.name: found}, [], confidence=0.95)[0].outcome for entry in entries]
    assert outcomes == [Outcome.NO_SIGNAL, Outcome.INCONCLUSIVE]


def test_persons_are_confirmed_if_so_many_came_out_that_it_is_no_chance():
    least = fewest_persons(200, 200)
    for count, confirmed in ((1, 0), (least - 1, 0), (least, least), (least + 5, least + 5)):
        runs = [[("member", unit, 80)] for unit in range(count)] + [[]] * (64 - count)
        assert measured(output_table(runs), persons=True).confirmed == confirmed
        assert measured(output_table(runs)).confirmed == 0
        assert measured(output_table([*runs[:-1], [("control", 1, 80)]]), persons=True).confirmed == 0


def innocent(rng, outputs, tokens, collapse):
    """Outputs of a model that knows some texts, whichever side these are on: popular ones, or always the same few."""
    side = rng.permutation(400) < 200
    number = np.where(side, np.cumsum(side) - 1, np.cumsum(~side) - 1)
    weights = rng.dirichlet(np.full(400, collapse))
    own = [rng.dirichlet(400 * weights + 1e-3) for _ in range(tokens)]  # each token leads to texts of its own
    runs = []
    for row in range(outputs):
        texts = sorted(set(rng.choice(400, size=2, p=own[row % tokens]).tolist())) if rng.random() < 0.6 else []
        lengths = rng.integers(50, 110, size=len(texts)).tolist()
        names = ["member" if side[text] else "control" for text in texts]
        runs.append(list(zip(names, number[texts].tolist(), lengths, strict=True)))
    return runs


@pytest.mark.parametrize(("samples", "collapse"), [(1, 0.05), (3, 0.05), (1, 0.002)])
def test_false_alarms_over_innocent_audits(samples, collapse):
    alarms = []
    for seed in range(200):
        rng = np.random.default_rng([5, samples, seed])
        table = output_table(innocent(rng, 64 * samples, 64, collapse), tokens=np.arange(64 * samples) % 64)
        found = measured(table, samples=samples)
        alarms.append(found.p_value <= 0.05 and found.excess.low > 0.0)
        assert found.excess.low <= found.excess.value <= found.excess.high
    assert np.mean(alarms) <= 0.05


def test_the_smallest_effect_is_found_four_times_in_five():
    effect = measured(output_table([[]] * 64)).power.smallest_effect
    fired = []
    for seed in range(300):
        rng = np.random.default_rng([6, seed])
        out = rng.random(64) < effect
        found = measured(output_table([[("member", row, 60)] if flag else [] for row, flag in enumerate(out)]))
        fired.append(found.p_value <= 0.05 and found.excess.low > 0.0)
    assert 0.73 <= np.mean(fired) <= 0.87


@pytest.mark.parametrize("tokens", [5, 20, 64, 1000])
def test_power_is_the_binomials(tokens):
    effect = power_of_tokens(tokens, 0.95).smallest_effect
    assert binom.sf(4, tokens, effect) == pytest.approx(0.8)  # five heads in a row are the fewest below 0.05
    assert binomtest(5, 5, alternative="greater").pvalue <= 0.05 < binomtest(4, 4, alternative="greater").pvalue


def test_too_few_tokens_could_show_nothing():
    power = power_of_tokens(4, 0.95)
    assert power.smallest_effect == 1.0
    assert "no share" in power.statement
    assert not fires(measured(output_table([[("member", row, 60)] for row in range(4)])))


def test_the_strongest_tokens_are_listed_by_what_they_brought():
    runs = [[("member", 0, 60)], [("member", 1, 100), ("control", 0, 55)], [], [("member", 2, 70)], [], []]
    found = measured(output_table(runs, tokens=[9, 4, 9, 9, 4, 8]), prompts=3, samples=2)
    listed = [part for part in found.strata if part.by == "token"]
    assert [part.label for part in listed] == ["'word9' (token 9)", "'word4' (token 4)"]
    assert "130 tokens" in listed[0].note
    assert (listed[0].estimate.value, listed[1].estimate.value) == pytest.approx((2 / 3, 1 / 2))
    assert listed[1].control.value == 0.5
    exact = binomtest(2, 3).proportion_ci(0.95, method="exact")
    assert (listed[0].estimate.low, listed[0].estimate.high) == pytest.approx((exact.low, exact.high))
    members, controls = found.figures[0].series
    assert members.y == (130.0, 100.0, 0.0)
    assert controls.y == (55.0, 0.0, 0.0)
    assert any("strongest tokens were picked" in caveat for caveat in found.caveats)


def test_many_tokens_are_drawn_with_few_points():
    (figure,) = measured(output_table([[("member", row % 200, 60)] for row in range(700)]), prompts=700).figures
    assert {len(series.x) for series in figure.series} == {100}
    assert (figure.series[0].x[0], figure.series[0].x[-1]) == (1.0, 700.0)


def test_prompts_without_a_token_count_nowhere():
    runs = [[("member", row, 60)] for row in range(10)] + [[]] * 10
    tokens = [*range(10), *([-1] * 10)]
    tail = np.where(np.array(tokens) < 0, 0, 118)
    found = measured(output_table(runs, tokens=tokens, tail=tail), prompts=20)
    assert found.estimate.value == 1.0
    assert stratum(found, "that diverge").estimate.n == 10
    assert any("no more than 10 tokens" in caveat for caveat in found.caveats)
    with pytest.raises(UnsupportedError, match="no token of letters"):
        measured(output_table([[]] * 4, tokens=[-1] * 4))


def test_members_beyond_the_compared_are_reported_apart():
    found = measured(output_table([[("other", row, 70)] for row in range(30)], units=(50, 50, 300)))
    assert found.estimate.value == 0.0
    assert found.p_value == 1.0
    assert stratum(found, "not compared").estimate.value == pytest.approx(0.1)


def test_the_floor_stands_beside_it():
    floor = floor_table(longest=[60, 5, 5, 5], held_out=[70, 55, 5, 5])
    part = stratum(measured(output_table([[]] * 30), floor), "held-out texts")
    assert (part.estimate.value, part.control.value) == (0.5, 0.25)
    with pytest.raises(IntegrityError, match="listed"):
        measured(output_table([[]] * 30), floor_table(199, 200))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1), st.integers(50, 118)), min_size=1, max_size=30))
def test_order_and_shards_make_no_difference(rows):
    runs = [[("member" if side else "control", number, length)] for number, (_, side, length) in enumerate(rows)]
    tokens = sorted(token for token, _, _ in rows)
    whole, cut = (measured(output_table(runs, tokens=tokens, cut=size)) for size in (1 << 30, 3))
    assert whole.canonical() == cut.canonical()
    out = read_outputs(output_table(runs, tokens=tokens), 50, 10)
    for side in ("member", "control"):
        assert not (out.flags[side] & ~out.diverged).any()
        assert sum(brought(out, side)[1]) == sum(run[2] for row in runs for run in row if run[0] == side)


def test_exhibits_are_masked_and_say_what_they_follow():
    found = measured(copying())
    assert 0 < len(found.exhibits) <= 5
    assert all("\u2588" in exhibit.excerpt for exhibit in found.exhibits)
    assert all("begun with one token many times" in exhibit.note for exhibit in found.exhibits)


def able(context=1024, **changes) -> Facts:
    facts = measuring().facts
    model = facts.subject.model.model_copy(update={"capabilities": ("samples-tokens",)})
    object.__setattr__(facts, "subject", facts.subject.model_copy(update={"model": model, **changes}))
    object.__setattr__(facts, "context_length", context)
    return facts


def test_who_cannot_be_asked_is_told_why():
    with pytest.raises(UnsupportedError, match="sampling"):
        TEST.needs(Parameters(), measuring().facts)
    with pytest.raises(UnsupportedError, match="no controls"):
        TEST.needs(Parameters(), able(controls=None))
    with pytest.raises(UnsupportedError, match=r"takes 100 tokens.*need 101"):
        TEST.needs(Parameters(), able(100))
    with pytest.raises(UnsupportedError, match="cannot hold a run"):
        TEST.forecast(Parameters(tokens=40), able())
    assert TEST.needs(Parameters(), able(101))["outputs"].observer == "divergences"


def test_the_listing_is_shared_with_open_generations():
    from auditor.battery.language.corpus_match import TEST as MATCH

    facts = able()
    shared = MATCH.needs(MATCH.parameters(), facts)["floor"]
    assert TEST.needs(Parameters(), facts)["floor"] == shared


def test_the_forecast_says_what_it_rests_on():
    power = TEST.forecast(Parameters(prompts=64), able())
    assert power.smallest_effect == power_of_tokens(64, 0.95).smallest_effect
    assert "If it never does, nothing is shown." in power.statement
    assert len(DIGEST) == 64
