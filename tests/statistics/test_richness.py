"""Unseen mass and Chao1 against published values, counting by hand, and worlds whose kinds are known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.statistics.richness import chao1, rarefied, unseen_mass

COUNTS = [1] * 500 + [2] * 100 + [3] * 200 + [10] * 170 + [80] * 30
"""f1 = 500, f2 = 100, 1000 kinds."""


def filled(once, twice, kinds, draws):
    """Counts with so many kinds seen once and twice; the rest share what is left of the draws."""
    rest = kinds - once - twice
    left = draws - once - 2 * twice
    counts = np.full(rest, left // rest)
    counts[: left - counts.sum()] += 1
    assert counts.min() > 2
    return [1] * once + [2] * twice + counts.tolist()


def test_the_published_example():
    counts = filled(500, 100, 1000, 5000)
    assert unseen_mass(counts).value == pytest.approx(0.1)
    plain = chao1(counts, corrected=False)
    assert plain.value == pytest.approx(2250)
    assert plain.low == pytest.approx(1957, abs=0.5)
    assert plain.high == pytest.approx(2633, abs=0.5)
    assert chao1(counts).value == pytest.approx(2235.1, abs=0.05)


def test_the_log_normal_interval_is_its_formula_written_out():
    f0, var = 1250.0, 100 * (5**2 / 2 + 5**3 + 5**4 / 4)
    spread = math.exp(1.959964 * math.sqrt(math.log(1 + var / f0**2)))
    found = chao1(filled(500, 100, 1000, 5000), corrected=False)
    assert (found.low, found.high) == (pytest.approx(1000 + f0 / spread), pytest.approx(1000 + f0 * spread))


def test_a_thousand_equal_kinds_are_bounded_from_below():
    rng = np.random.default_rng(4)
    values, coverages, masses = [], 0, 0
    for _ in range(200):
        counts = np.bincount(rng.integers(1000, size=1000), minlength=1000)
        found, mass = chao1(counts), unseen_mass(counts)
        values.append(found.value)
        coverages += found.low <= 1000 <= found.high
        masses += mass.low <= (counts == 0).mean() <= mass.high
    assert 950 < np.mean(values) < 1030
    assert coverages >= 180
    assert masses >= 184


@pytest.mark.parametrize("law", ["few", "zipf", "one"])
def test_the_interval_of_the_unseen_mass_covers_it(law):
    rng = np.random.default_rng(7)
    weights = {"few": np.full(5, 0.2), "zipf": 1.0 / np.arange(1, 401), "one": np.array([0.97, 0.02, 0.01])}[law]
    weights = weights / weights.sum()
    held = 0
    for _ in range(300):
        counts = np.bincount(rng.choice(len(weights), size=60, p=weights), minlength=len(weights))
        found = unseen_mass(counts)
        held += found.low <= weights[counts == 0].sum() <= found.high
    assert held >= 0.93 * 300


def test_nothing_seen_and_everything_seen_often():
    assert unseen_mass([])[:3] == (1.0, 0.0, 1.0)
    assert chao1([])[:3] == (0.0, 0.0, 0.0)
    often = unseen_mass([5, 5, 5, 5])
    assert often.value == 0.0
    assert often.high > 0.1
    assert chao1([5, 5, 5, 5])[:3] == (4.0, 4.0, 4.0)


def test_no_kind_seen_twice_still_bounds():
    found = chao1([1] * 10)
    assert found.value == 10 + 10 * 9 / 2
    assert 10 < found.low < found.value < found.high < math.inf


@given(st.lists(st.integers(0, 9), max_size=40))
@settings(derandomize=True, deadline=None)
def test_bounds_are_ordered_and_never_below_what_was_seen(counts):
    seen = sum(count > 0 for count in counts)
    for corrected in (True, False):
        found = chao1(counts, corrected=corrected)
        assert seen <= found.low <= found.value <= found.high
    mass = unseen_mass(counts)
    assert 0.0 <= mass.low <= mass.value <= mass.high <= 1.0


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.data())
@settings(derandomize=True, deadline=None, max_examples=60)
def test_rarefaction_is_the_mean_over_all_parts(counts, data):
    import itertools

    draws = [kind for kind, count in enumerate(counts) for _ in range(count)]
    draws = draws[:9]
    counts = [draws.count(kind) for kind in set(draws)]
    size = data.draw(st.integers(0, len(draws)))
    parts = list(itertools.combinations(draws, size))
    assert rarefied(counts, [size])[0] == pytest.approx(np.mean([len(set(part)) for part in parts]))


def test_rarefaction_ends_at_the_sample():
    assert rarefied(COUNTS, [0, 1, sum(COUNTS)]) == pytest.approx([0.0, 1.0, 1000.0], abs=1e-6)
    with pytest.raises(ValueError, match="larger sample"):
        rarefied(COUNTS, [sum(COUNTS) + 1])


@pytest.mark.parametrize("counts", [[1.5], [-1], [float("nan")], [[1]]])
def test_what_are_no_counts_is_refused(counts):
    for function in (unseen_mass, chao1):
        with pytest.raises(ValueError, match="counts"):
            function(counts)
