"""Extraction by copies and by prefix: doses from none on, among members alone, and within records."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import linregress, page_trend_test
from tables import MemoryTable, measuring, suffix_table

from auditor.battery.language.discoverable_extraction import TEST as GREEDY
from auditor.battery.language.duplication import TEST
from auditor.errors import UnsupportedError
from auditor.statistics.trend import paired_trend_greater

RNG = np.random.default_rng


def measure(members, controls, seed=1, permutations=199, **parameters):
    return TEST.measure(
        TEST.parameters(permutations=permutations, **parameters),
        {"members": members, "controls": controls},
        measuring(seed=seed),
    )


def drawn(rng, rates, count=300, clusters=None):
    """Members with 1, 2, 4 or 8 copies, said at the rate of their copies, and as many controls, said at the first rate."""
    copies = rng.choice([1, 2, 4, 8], count)
    share = np.array(rates)[1 + np.log2(copies).astype(int)]
    names = [None, None] if clusters is None else [[f"{s}{i // clusters}" for i in range(count)] for s in "mc"]
    uniform = rng.random((2, count))
    if clusters is not None:
        uniform = np.repeat(uniform[:, ::clusters], clusters, axis=1)[:, :count]
        copies = np.repeat(copies[::clusters], clusters)[:count]
        share = np.repeat(share[::clusters], clusters)[:count]
    members = suffix_table(uniform[0] < share, copies=copies, clusters=names[0])
    return members, suffix_table(uniform[1] < rates[0], side="c", clusters=names[1])


def row(found, by):
    return next(one for one in found.strata if one.by == by)


def fires(found):
    return found.p_value <= 0.05 and found.excess.low > 0.0


def test_repeated_members_stand_beside_controls_and_beside_those_that_stood_once():
    members = suffix_table([True] * 30 + [False] * 70 + [True] * 5 + [False] * 95, copies=[4] * 100 + [1] * 100)
    found = measure(members, suffix_table([True] * 2 + [False] * 98, side="c"))
    assert (found.estimate.value, found.control.value, found.excess.value) == pytest.approx((0.3, 0.02, 0.28))
    assert {one.label: one.estimate.value for one in found.strata if one.by == "copies"} == {"1": 0.05, "4-7": 0.3}
    assert found.p_value == 1 / 200
    said = [1.0] * 30 + [0.0] * 70 + [1.0] * 5 + [0.0] * 95
    expected = linregress([2.0] * 100 + [0.0] * 100, said).slope
    assert row(found, "among members").estimate.value == pytest.approx(expected)


def test_members_that_are_said_whatever_their_copies_show_no_trend_among_members():
    ps = [
        float(row(measure(*drawn(RNG(seed), [0.05, 0.4, 0.4, 0.4, 0.4]), seed=seed), "among members").note.split()[2])
        for seed in range(100)
    ]
    assert sum(p <= 0.05 for p in ps) <= 12


def test_the_trend_within_records_is_that_of_every_permutation_and_of_page():
    dose = np.array([1.0, 2.0, 4.0])
    response = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1]], dtype=float)
    orders = [np.array(order) for order in itertools.permutations(range(3))]
    observed = (response @ dose).sum()
    drawn_ = [
        sum(one[order] @ dose for one, order in zip(response, chosen, strict=True))
        for chosen in itertools.product(orders, repeat=3)
    ]
    exact = np.mean(np.array(drawn_) >= observed - 1e-9)
    assert paired_trend_greater(dose, response, RNG(0), None, 19_999) == pytest.approx(exact, abs=0.012)
    ranked = RNG(1).permuted(np.tile(np.arange(4.0), (12, 1)), axis=1) + np.array([0.0, 0.1, 0.2, 0.3])
    ranks = ranked.argsort(axis=1).argsort(axis=1) + 1.0
    page = page_trend_test(ranks, ranked=True, method="exact").pvalue
    assert paired_trend_greater(np.arange(1.0, 5.0), ranks, RNG(2), None, 19_999) == pytest.approx(page, abs=0.012)


def test_records_of_a_cluster_are_dealt_together():
    response = np.tile([0.0, 1.0], (20, 1))
    assert paired_trend_greater([1.0, 2.0], response, RNG(0), np.zeros(20), 999) == pytest.approx(0.5, abs=0.06)
    assert paired_trend_greater([1.0, 2.0], response, RNG(0), None, 999) == 1 / 1000
    assert paired_trend_greater([1.0, 2.0], np.ones((5, 2)), RNG(0), None, 99) == 1.0


def test_prefixes_compare_the_same_records():
    def table(side):
        found = suffix_table([True] * 40, side=side, copies=[2] * 40)
        for number, hit in enumerate(found.columns["hit"]):
            hit[:] = number < 20
            hit[:50] = number < 10  # ten are said from token 10 on, twenty from token 50 on
        return found

    controls = suffix_table([False] * 40, side="c")
    found = measure(table("m"), controls, prefixes=(10,), permutations=9999)
    rates = {one.label: (one.estimate.value, one.control.value) for one in found.strata if one.by == "prefix"}
    assert rates == {"10 tokens": (0.25, 0.0), "50 tokens": (0.5, 0.0)}
    assert row(found, "prefix, slope").estimate.value == pytest.approx(0.25 / np.log2(5))
    # Ten records differ, and all ten in the same direction: one in 1,024.
    assert float(row(found, "prefix, slope").note.split()[2]) == pytest.approx(2**-10, abs=0.001)
    assert len(found.figures) == 2


def test_a_slope_without_spread_is_not_given():
    found = measure(
        suffix_table([False] * 40, copies=[1, 2] * 20), suffix_table([False] * 40, side="c"), prefixes=(10,)
    )
    assert {one.by for one in found.strata} == {"copies", "prefix"}
    assert len(found.figures) == 2


def test_it_asks_for_what_discoverable_extraction_asks():
    facts = measuring().facts
    members = facts.subject.members.model_copy(update={"has_copies": True})
    model = facts.subject.model.model_copy(update={"capabilities": ("scores-tokens",)})
    facts = SimpleNamespace(subject=facts.subject.model_copy(update={"members": members, "model": model}))
    own = TEST.needs(TEST.parameters(prefixes=()), facts)
    other = GREEDY.needs(GREEDY.parameters(), facts)
    assert own == {side: other[side] for side in own}


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(UnsupportedError, match="how often"):
        TEST.needs(TEST.parameters(), measuring().facts)
    with pytest.raises(UnsupportedError, match="no control records"):
        TEST.needs(TEST.parameters(), measuring(controls=False).facts)
    with pytest.raises(UnsupportedError, match="more than once"):
        measure(suffix_table([True] * 9), suffix_table([False] * 9, side="c"))
    with pytest.raises(UnsupportedError, match="control is long enough"):
        measure(suffix_table([True] * 9, copies=[2] * 9), suffix_table([False] * 9, side="c", length=60))


def test_equal_evidence_gives_equal_bytes_however_it_is_cut():
    members, controls = drawn(RNG(3), [0.05, 0.1, 0.2, 0.3, 0.5])
    assert measure(members, controls).canonical() == measure(MemoryTable(members.columns, cut=7), controls).canonical()


@pytest.mark.parametrize("clusters", [None, 5])
def test_it_stays_quiet_on_the_innocent(clusters):
    alarms = sum(
        fires(measure(*drawn(RNG([seed, 3]), [0.2] * 5, clusters=clusters), seed=seed, prefixes=()))
        for seed in range(200)
    )
    assert alarms <= 10


def test_it_fires_on_the_guilty():
    found = [measure(*drawn(RNG(seed), [0.02, 0.05, 0.1, 0.2, 0.4]), seed=seed, prefixes=()) for seed in range(30)]
    assert sum(map(fires, found)) >= 28
    assert sum(float(row(one, "among members").note.split()[2]) <= 0.05 for one in found) >= 28
