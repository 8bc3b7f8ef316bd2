"""What the test of whole works makes of its evidence: by hand, by brute force, over innocent audits, and with power."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tables import MemoryTable, fewest_persons, measuring

from auditor.assess.instrument import fires
from auditor.battery.language.work_rows import Side, difference, difference_p, share
from auditor.battery.language.work_windows import LISTS, Rule, Work
from auditor.battery.language.works import TEST, power_of_works
from auditor.errors import UnsupportedError
from auditor.evidence.table import Ragged
from auditor.statistics.text_similarity import near_verbatim_blocks

WIDTH, STRIDE = 5, 10
RULE = Rule(0.1, 10, 25)
KINDS = {name: np.bool_ if name == "hit" else np.float32 if name == "log_p" else np.int32 for name in LISTS}


class WorksTable(MemoryTable):
    """Meets what the test uses of `ObservedTable`."""

    def shards(self, *names):
        for start in range(0, max(self.rows, 1), self.cut):
            part = slice(start, start + self.cut)
            yield {
                name: Ragged.of(self.columns[name][part], KINDS[name]) if name in KINDS else self.columns[name][part]
                for name in names
            }


def work(likely, name="w", *, cells=None, distinct=30, echo=3, tied=0, hit=None, copies=1, source="", cut=False):
    """A work by the probability of each of its windows; without `cells` it is one passage."""
    with np.errstate(divide="ignore"):
        log_p = np.log(np.asarray(likely, dtype=float))
    cells = np.array([len(log_p) + WIDTH - 1] if cells is None and len(log_p) else cells or [], dtype=int)
    total = int(cells.sum())
    return {
        "id": f"{name}-0",
        "cluster": name,
        "copies": copies,
        "source": source,
        "records": 1,
        "short": 0,
        "tokens": 50 + STRIDE * total,
        "cut": cut,
        "excerpt": "T\u2588 (50 tokens)",
        "cells": cells,
        "log_p": log_p,
        "agree": np.where(np.exp(log_p) >= 0.5, 50, 3),
        "tied": np.full(len(log_p), tied),
        "distinct": np.broadcast_to(distinct, len(log_p)),
        "echo": np.broadcast_to(echo, len(log_p)),
        "hit": np.zeros(STRIDE * total, bool) if hit is None else np.asarray(hit, bool),
        "characters": np.full(total, 40),
    }


def table(works, side="m", cut=1 << 30):
    columns = {name: [one[name] for one in works] for name in works[0]}
    return WorksTable(
        {name: values if name in KINDS else np.array(values, dtype=object if isinstance(values[0], str) else None)
         for name, values in columns.items()},
        cut=cut,
        name="0" if side == "m" else "1",
    )  # fmt: skip


def as_work(one):
    return Work(**{**one, "stride": STRIDE, "width": WIDTH})


def side(works):
    return Side.of([as_work(one) for one in works], RULE)


def measured(members, controls=None, parameters=None, **facts):
    evidence = {"members": table(members)} | ({} if controls is None else {"controls": table(controls, "c")})
    return TEST.measure(TEST.parameters.from_plain(parameters or {}), evidence, measuring(**facts))


def many(shares, windows=40, name="m"):
    """Works of which some of the windows come out."""
    return [
        work([0.9] * round(windows * share) + [1e-9] * (windows - round(windows * share)), f"{name}{number}")
        for number, share in enumerate(shares)
    ]


def row(found, by, label):
    (one,) = [part for part in found.strata if part.by == by and part.label == label]
    return one


# What windows say about a work


@st.composite
def passages(draw):
    cells = draw(st.lists(st.integers(WIDTH, 14), min_size=1, max_size=4))
    flags = draw(st.lists(st.booleans(), min_size=sum(cells) - 4 * len(cells), max_size=sum(cells) - 4 * len(cells)))
    return cells, np.array(flags)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(passages())
def test_coverage_and_runs_are_those_of_counting_by_hand(drawn):
    cells, flags = drawn
    one = as_work(work(np.where(flags, 0.5, 0.0), cells=cells))
    expected, places, longest, at = [], iter(flags), 0, 0
    for count in cells:
        inside = [False] * count
        for first in range(count - WIDTH + 1):
            if next(places):
                inside[first : first + WIDTH] = [True] * WIDTH
        longest = max([longest, *(len(list(run)) for value, run in itertools.groupby(inside) if value)])
        expected += inside
        at += count
    assert one.reach == STRIDE * at
    assert one.covered(flags).tolist() == expected
    assert one.longest(one.covered(flags)) == STRIDE * longest


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=24))
def test_the_queries_are_those_of_disjoint_passages_likeliest_first(likely):
    one = as_work(work(likely))
    costs = one.cheapest(one.extractable(RULE))
    taken = []
    for place in sorted(range(len(likely)), key=lambda place: (-as_float32(likely)[place], place)):
        if likely[place] >= RULE.probability and all(abs(place - other) >= WIDTH for other in taken):
            taken.append(place)
    assert costs == pytest.approx([1.0 / likely[place] for place in taken], rel=1e-4)
    assert (np.diff(costs) >= -1e-9).all()
    assert one.within(costs, 10**9) == 50 * len(taken)
    assert one.within(costs, 0) == 0


def as_float32(likely):
    return np.log(np.asarray(likely, dtype=float)).tolist()


def test_expected_queries_are_those_of_the_geometric_law():
    rng = np.random.default_rng(3)
    one = as_work(work([0.2]))
    assert one.cheapest(np.array([True]))[0] == pytest.approx(rng.geometric(0.2, 200_000).mean(), rel=0.02)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 12)), min_size=1, max_size=8))
def test_nearly_word_for_word_is_what_a_comparison_of_the_texts_finds(runs):
    hit = [flag for good, bad in runs for flag in [True] * good + [False] * bad]
    hit += [False] * (-len(hit) % STRIDE + 50)
    said = [place if flag else -1 - place for place, flag in enumerate(hit)]
    expected = sum(block.matched for block in near_verbatim_blocks(range(len(hit)), said))
    cells = len(hit) // STRIDE
    assert as_work(work([0.5] * (cells - 4), hit=hit)).nearly() == expected


def test_nearly_word_for_word_reads_through_single_mistakes():
    """150 words with a slip after 60 and after 120: one passage; with fewer than 100 words in all there is none."""
    hit = np.ones(160, bool)
    hit[[60, 121]] = False
    hit[152:] = False
    assert as_work(work([0.5] * 12, hit=hit)).nearly() == 150
    hit[90:] = False
    assert as_work(work([0.5] * 12, hit=hit)).nearly() == 0


def test_the_probability_of_a_passage_is_the_product_of_its_tokens():
    """PrivacyGuard's own example: log p of -0.35 in sum is a probability of 0.705."""
    one = as_work(work([math.exp(-0.35)]))
    assert one.extractable(Rule(0.7046, 10, 25)).all()
    assert not one.extractable(Rule(0.7048, 10, 25)).any()
    assert as_work(work([0.5])).extractable(Rule(0.5, 10, 25)).all()


# The work is the unit


def test_share_and_difference_over_works():
    found = measured(many([0.5, 0.0, 0.25, 0.25]), many([0.0] * 4, name="c"))
    assert found.estimate.value == 0.25
    assert found.control.value == 0.0
    assert found.excess.value == 0.25
    assert (found.estimate.n, found.members, found.controls) == (4, 4, 4)


def test_more_windows_of_the_same_works_are_no_more_witnesses():
    few = [many([0.3, 0.0, 0.1, 0.0, 0.6], 10), many([0.1, 0.0, 0.0, 0.0, 0.2], 10, "c")]
    lots = [many([0.3, 0.0, 0.1, 0.0, 0.6], 1000), many([0.1, 0.0, 0.0, 0.0, 0.2], 1000, "c")]
    first, second = measured(*few), measured(*lots)
    assert first.p_value == pytest.approx(second.p_value, abs=1e-9)
    for name in ("low", "high"):
        assert getattr(first.excess, name) == pytest.approx(getattr(second.excess, name), abs=1e-12)
    one_work = measured(many([1.0], 5000), many([0.0], 5000, "c"))
    assert one_work.p_value >= 0.4
    assert one_work.excess.low < 0.0


def test_each_work_counts_once_however_long():
    found = measured([work([0.9] * 10, "short"), work([1e-9] * 990, "long")], many([0.0] * 2, name="c"))
    assert found.estimate.value == 0.5
    assert row(found, "passages", "all alike, so that long works count more").estimate.value == 0.01
    assert row(found, "works", "with a passage that comes out").estimate.value == 0.5
    assert row(found, "works", "of which half comes out").control.value == 0.0


@pytest.mark.parametrize(
    ("known", "spread"), [(0.0, (0.1, 3.0)), (0.05, (0.3, 8.0)), (0.2, (2.0, 2.0)), (0.4, (0.02, 0.4))]
)
def test_the_interval_of_an_average_share_holds(known, spread):
    """Works known whole beside works of which a little comes out: 95 % intervals cover the true average 95 times of 100."""
    truth = known + (1.0 - known) * spread[0] / sum(spread)
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng([13, seed])
        shares = np.where(rng.random(40) < known, 1.0, rng.beta(*spread, 40))
        found = share(np.round(shares * 1000).astype(int), np.full(40, 1000), 0.95)
        covered += found.low <= truth <= found.high
    assert covered >= 0.95 * 200 - 3 * math.sqrt(200 * 0.95 * 0.05)


def test_the_p_value_is_that_of_every_relabelling():
    """All 252 ways to call five of ten works members, by a statistic written down anew."""
    members, controls = many([0.5, 0.2, 0.0, 0.1, 0.4], 20), many([0.05, 0.0, 0.1, 0.0, 0.15], 40, "c")
    shares = [float(np.mean(np.exp(one["log_p"]) > 0.1)) for one in members + controls]

    def studentised(chosen):
        parts = [[shares[i] for i in chosen], [shares[i] for i in range(10) if i not in chosen]]
        return (np.mean(parts[0]) - np.mean(parts[1])) / math.sqrt(sum(np.var(part) / len(part) for part in parts))

    observed = studentised(tuple(range(5)))
    every = [studentised(chosen) for chosen in itertools.combinations(range(10), 5)]
    exact = np.mean([value >= observed - 0.02 for value in every])
    found = difference_p(side(members), side(controls), np.random.default_rng(0))
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 9999) + 2e-4)


def test_works_of_one_window_are_compared_by_fishers_test():
    from scipy.stats import fisher_exact

    members = [work([0.9 if number < 6 else 1e-9], f"m{number}") for number in range(20)]
    controls = [work([1e-9], f"c{number}") for number in range(20)]
    expected = fisher_exact([[6, 14], [0, 20]], alternative="greater")[1]
    assert difference_p(side(members), side(controls), np.random.default_rng(0)) == pytest.approx(expected)


def innocent(rng, works, name):
    """Works with quotations: most have none, some a few, one in twelve is known whole, trained on or not."""
    found = []
    for number in range(works):
        windows = int(rng.integers(5, 120))
        known = 1.0 if rng.random() < 1 / 12 else rng.beta(0.1, 3.0)
        out = np.zeros(windows, bool)
        for start in np.flatnonzero(rng.random(windows) < known / 6):
            out[start : start + 6] = True
        out |= known == 1.0
        found.append(work(np.where(out, 0.6, 1e-8), f"{name}{number}"))
    return found


def test_false_alarms_over_innocent_audits():
    alarms = []
    for seed in range(200):
        rng = np.random.default_rng([11, seed])
        works = innocent(rng, 36, "w")
        rng.shuffle(works)
        members, controls = side(works[:18]), side(works[18:])
        p = difference_p(members, controls, np.random.default_rng(seed))
        alarms.append(p <= 0.05 and difference(members, controls, 0.95).low > 0.0)
    assert np.mean(alarms) <= 0.05


def test_a_fifth_of_the_works_is_found():
    fired = 0
    for seed in range(20):
        rng = np.random.default_rng([12, seed])
        known = np.where(rng.permutation(50) < 12, rng.uniform(0.4, 1.0, 50), 0.0)
        fired += fires(measured(many(known), many([0.0] * 50, name="c")))
    assert fired >= 19


def test_the_power_is_that_of_whole_works():
    from auditor.statistics.power import smallest_detectable_excess

    found = power_of_works(50, 50, 0.95)
    assert found.smallest_effect == pytest.approx(smallest_detectable_excess(50, 50, 0.95, 0.8))
    assert power_of_works(100, 100, 0.95).smallest_effect < found.smallest_effect
    assert power_of_works(50, 0, 0.95).smallest_effect == 1.0
    rng = np.random.default_rng(4)
    called = 0
    for seed in range(60):
        known = (rng.random(50) < found.smallest_effect).astype(float)
        members, controls = side(many(known)), side(many([0.0] * 50, name="c"))
        called += difference_p(members, controls, np.random.default_rng(seed)) <= 0.05
    assert called / 60 >= 0.7


# What the report says


def test_the_worst_work_and_those_above_the_controls_are_named():
    found = measured(many([0.5, 0.1, 1.0, 0.0]), many([0.1, 0.2], name="c"))
    assert "Most comes out of 'm2': 100.0 % of its passages, 440 tokens in a row." in found.answer
    assert found.answer.endswith("Above every one of the control works (at most 20.0 %): 'm2', 'm0'.")
    labels = [part.label for part in found.strata if part.by == "work"]
    assert labels == ["m2", "m0", "m1", "m3"]
    note = row(found, "work", "m0").note
    assert "40 windows, by probability 0.1: 50.0 %, 0.5: 50.0 %, 0.9: 50.0 %" in note
    assert "longest run 240 tokens; covered 240 of 440 tokens (960 of 1,760 characters)" in note
    assert "above every one of 2 control works (p = 0.33" in note
    assert "above" not in row(found, "work", "m1").note
    assert "none comes out" in row(found, "work", "m3").note
    assert [part.label for part in found.strata if part.by == "control work"] == ["c1", "c0"]


def test_a_works_own_interval_is_over_blocks():
    found = measured(many([0.5, 0.0], 400), many([0.0], name="c"))
    own = row(found, "work", "m0").estimate
    assert (own.value, own.n) == (0.5, 20)
    assert own.low < 0.35
    assert own.high > 0.65
    single = measured([work([0.9] * 3)], many([0.0], name="c"))
    assert row(single, "work", "w").estimate.low < 0.1


def test_shares_by_probability_fall_and_coverage_is_of_tokens():
    found = measured([work([0.95, 0.6, 0.2, 0.05, 0.005, 1e-5] + [1e-9] * 4)], many([0.0], name="c"))
    by = {part.label: part.estimate.value for part in found.strata if part.by == "probability"}
    assert by == {
        "0.001 or more": 0.5,
        "0.01 or more": 0.4,
        "0.1 or more": pytest.approx(0.3),
        "0.5 or more": 0.2,
        "0.9 or more": 0.1,
    }
    assert row(found, "coverage", "tokens in passages that come out").estimate.value == 0.5
    assert row(found, "passages", "most likely word by word").estimate.value == 0.2
    curve = found.figures[0].series[0]
    assert dict(zip(curve.x, curve.y, strict=True))[1.0] == 0.0
    assert list(curve.y) == sorted(curve.y, reverse=True)
    assert curve.y[0] == 1.0


def test_the_figures_show_what_the_rows_say():
    found = measured(many([1.0, 0.5, 0.0, 0.0]), many([0.0] * 4, name="c"))
    likely, coverage, along = found.figures
    assert "37.5 % of a members' work is at 0.1 or above, 0.00 % of a control work" in likely.caption
    assert dict(zip(likely.series[0].x, likely.series[0].y, strict=True))[0.1] == pytest.approx(0.375)
    works = dict(zip(np.round(coverage.series[0].x, 2).tolist(), coverage.series[0].y, strict=True))
    assert (works[0.05], works[0.5], works[0.6], works[1.0]) == (0.5, 0.5, 0.25, 0.25)
    assert set(along.series[0].y) == {1.0}
    assert len(measured(many([0.0]), many([0.0], name="c")).figures) == 2


def test_queries_bring_what_they_pay_for():
    likely = [1e-9] * 20
    likely[0], likely[5], likely[10] = 0.5, 0.02, 1e-3  # 2, 50 and 1000 queries
    found = measured([work(likely)], many([0.0], name="c"))
    by = {part.label: part.estimate.value for part in found.strata if part.by == "queries for a work"}
    reach = 240
    assert by == {"1": 0.0, "10": 50 / reach, "100": 100 / reach, "10,000": 150 / reach}


def test_trivial_passages_do_not_count():
    members = [work([0.9] * 4, "few", distinct=9), work([0.9] * 4, "echo", echo=26), work([0.9] * 4, "good", echo=25)]
    found = measured(members, many([0.0], name="c"))
    assert found.estimate.value == pytest.approx(1 / 3)
    assert row(found, "passages", "trivial ones as well").estimate.value == 1.0
    assert row(found, "passages", "most likely word by word").estimate.value == pytest.approx(1 / 3)


def test_persons_are_never_named():
    members = [work([0.9], "ann"), work([0.9], "bob", tied=1), work([1e-9], "eve"), work([0.9], "dan", distinct=3)]
    found = measured(members, many([0.0] * 3, name="c"), clustered_by="person")
    assert "'ann'" not in found.answer
    assert "'ann-0'" in found.answer
    assert {part.label for part in found.strata if part.by == "work"} == {"ann-0", "bob-0", "eve-0", "dan-0"}


@pytest.mark.parametrize("windows", [1, 4])
def test_persons_are_confirmed_only_beyond_doubt(windows):
    def confirmed(count, controls=0.0, clustered_by="person", others=30, **kwargs):
        members = [work([0.9] * windows, f"p{row}", **kwargs) for row in range(count)]
        members += [work([1e-9] * windows, f"p{row}") for row in range(count, 30)]
        quiet = [work([controls if row == 0 else 1e-9] * windows, f"c{row}") for row in range(others)]
        return measured(members, quiet, clustered_by=clustered_by).confirmed

    least = fewest_persons(30, 30)
    assert confirmed(least) == least
    assert confirmed(least - 1) == 0
    assert confirmed(30) == 30
    assert confirmed(30, tied=1) == confirmed(30, distinct=3) == 0
    assert confirmed(30, clustered_by="document") == 0
    assert confirmed(30, controls=0.9) == 0
    assert measured([work([0.9], f"p{row}") for row in range(30)], None, clustered_by="person").confirmed == 0


def test_a_longer_work_is_tried_more_often():
    least = fewest_persons(30, 30)
    quiet = [work([1e-9], f"c{row}") for row in range(30)]
    members = [work([0.9 if row < least else 1e-9] + [1e-9] * 9, f"p{row}") for row in range(30)]
    assert measured(members, quiet, clustered_by="person").confirmed == 0
    assert measured(members, many([0.0] * 400, name="c"), clustered_by="person").confirmed == least


def test_control_subjects_are_held_to_what_they_can_recall():
    from dataclasses import replace

    asked = TEST.parameters(probability=0.9)
    evidence = {
        "members": table([work([0.2] * 4, f"m{number}") for number in range(20)]),
        "controls": table(many([0.0] * 20, name="c")),
    }
    seen = measuring()
    assert TEST.measure(asked, evidence, seen).estimate.value == 0.0
    instrument = replace(seen, facts=replace(seen.facts, instrument=True))
    assert TEST.measure(asked, evidence, instrument).estimate.value == 1.0


def test_what_is_asked_of_control_subjects_is_bounded():
    from dataclasses import replace

    facts = replace(measuring().facts, instrument=True)
    for asked, read in ((None, 100), (5000, 100), (60, 60)):
        needs = TEST.needs(TEST.parameters(works=asked), facts)
        assert needs["members"].parameters["works"] == needs["controls"].parameters["works"] == read
    assert TEST.needs(TEST.parameters(works=None), measuring().facts)["members"].parameters["works"] is None


def test_copies_and_sources_have_rows_of_their_own():
    members = [
        work([0.9] * 4, "a", copies=8, source="x"),
        work([1e-9] * 4, "b", source="y"),
        work([0.9, 1e-9], "d", source="y"),
    ]
    found = measured(members, many([0.0], name="c"))
    assert row(found, "copies", "8-15").estimate.value == 1.0
    assert row(found, "source", "y").estimate.value == 0.25


def test_what_is_left_out_is_said():
    members = [work([0.9] * 4), work([], "tiny"), work([0.9] * 4, "long", cut=True)]
    found = measured(members, many([0.0], name="c"), drawn="afterwards")
    text = " ".join(found.caveats)
    assert found.members == 2
    assert "1 members' works without a passage of 100 tokens are left out" in text
    assert "1 members' works were cut after 200,000 tokens" in text
    assert "not declared as drawn at random" in text
    assert "every record is taken as a work" in text
    assert "every record is taken" not in " ".join(measured(members, clustered_by="document").caveats)


def test_without_controls_there_is_no_excess():
    found = measured(many([0.5, 0.0]))
    assert (found.control, found.excess, found.p_value) == (None, None, None)
    assert found.control_reason
    assert "Above every" not in found.answer
    assert measured(many([0.5, 0.0]), [work([], "tiny")]).control is None


def test_nothing_to_read_is_refused():
    with pytest.raises(UnsupportedError, match="none of the 2 works has a passage of 50 \\+ 50 tokens"):
        measured([work([], "a"), work([], "b")])
    with pytest.raises(UnsupportedError, match="does not fit the model's context of 512"):
        TEST.needs(TEST.parameters(prefix=500), measuring().facts)


@pytest.mark.parametrize("wrong", [{"stride": 7}, {"distinct": 51}, {"thresholds": [0.1, 1.5]}, {"probability": 0.0}])
def test_parameters_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValidationError):
        TEST.parameters.from_plain(wrong)


def test_shards_change_nothing():
    members, controls = many([0.5, 0.1, 0.0]), many([0.0, 0.05], name="c")
    whole = measured(members, controls)
    evidence = {"members": table(members, cut=2), "controls": table(controls, "c", cut=1)}
    assert TEST.measure(TEST.parameters(), evidence, measuring()).canonical() == whole.canonical()


def test_the_same_pass_serves_every_threshold():
    facts = measuring().facts
    first, second = (TEST.needs(TEST.parameters(probability=value), facts) for value in (0.1, 0.9))
    assert first == second
    assert set(first) == {"members", "controls"}
