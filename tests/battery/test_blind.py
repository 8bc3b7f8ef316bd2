"""The blind gates: which records count, what the intervals promise, and how many records would do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm
from tables import blind_table

from auditor.battery.blind import blind_areas, blind_curve, blind_gates, records_to_show_alike
from auditor.statistics.roc import null_sd_auc

RNG = np.random.default_rng
NAMES = ("one", "two", "three")


def table(rng, members=200, controls=200, clusters=1, gap=0.0, names=NAMES):
    member = np.arange(members + controls) < members
    cluster = np.array([f"{side}{i // clusters}" for i, side in enumerate(np.where(member, "m", "c"))], dtype=object)
    found = blind_table(rng, member, cluster, names)
    for name in names:
        own = np.repeat(rng.normal(0, 1.0 if clusters > 1 else 0.0, -(-len(member) // clusters)), clusters)
        found.columns[name] = found.columns[name] + gap * member + own[: len(member)]
    return found


def test_the_areas_are_those_of_the_scored_records_alone():
    found = table(RNG(0), gap=0.4)
    member, scored = found.columns["member"], found.columns["scored"]
    for name, area in blind_areas(found, NAMES, 0.95).items():
        values = found.columns[name]
        expected = mannwhitneyu(values[scored & member], values[scored & ~member]).statistic / 100**2
        assert area.value == pytest.approx(expected, abs=1e-12)
        assert area.level == pytest.approx(1 - 0.05 / 3)
        fpr, tpr = blind_curve(found, name)
        assert np.trapezoid(tpr, fpr) == pytest.approx(expected, abs=1e-12)


def test_a_record_that_taught_counts_for_nothing():
    """A classifier knows its own records by heart; that says nothing about the two sets."""
    found = table(RNG(1), members=2400, controls=2400)
    before = blind_gates(found, NAMES, 0.95, 0.05)
    for name in NAMES:
        found.columns[name] = np.where(found.columns["scored"], found.columns[name], 100.0 * found.columns["member"])
    assert blind_gates(found, NAMES, 0.95, 0.05) == before
    assert [gate.held for gate in before] == [True, True]


def test_one_classifier_that_surely_tells_them_apart_is_enough():
    found = table(RNG(2), members=400, controls=400)
    found.columns["two"] = found.columns["two"] + found.columns["member"]
    apart, alike = blind_gates(found, NAMES, 0.95, 0.05)
    assert (apart.held, apart.on_failure) == (False, "invalid")
    assert "(two)" in apart.detail
    assert (alike.held, alike.on_failure) == (False, "inconclusive")


def test_a_gap_below_the_margin_is_allowed_and_one_above_it_is_not():
    low, high = (norm.ppf(area) * np.sqrt(2) for area in (0.53, 0.65))
    assert blind_gates(table(RNG(3), 3000, 3000, gap=low), NAMES, 0.95, 0.05)[0].held
    assert not blind_gates(table(RNG(3), 3000, 3000, gap=high), NAMES, 0.95, 0.05)[0].held


def test_how_many_records_would_do_is_said_where_there_are_too_few():
    alike = blind_gates(table(RNG(4), 60, 60), NAMES, 0.95, 0.05)[1]
    assert not alike.held
    assert f"{records_to_show_alike(0.05, 0.95, 3):,}" in alike.detail
    assert "independent records" not in blind_gates(table(RNG(4), 60, 60), NAMES, 0.95, 0.0)[1].detail


def test_the_number_of_records_that_would_do_is_the_smallest_and_does():
    quantiles = norm.isf(0.05 / 6) + norm.isf(0.2 / 3)
    half = records_to_show_alike(0.05, 0.95, 3) // 2
    assert quantiles * null_sd_auc(half, half) <= 0.05 < quantiles * null_sd_auc(half - 1, half - 1)
    shown = [blind_gates(table(RNG([8, i]), 2 * half, 2 * half), NAMES, 0.95, 0.05)[1].held for i in range(200)]
    assert 0.8 <= np.mean(shown) < 0.92


@pytest.mark.parametrize("clusters", [1, 5])
@pytest.mark.parametrize("size", [20, 200])
def test_the_intervals_hold_together_where_nothing_tells_the_sides_apart(size, clusters):
    audits, low, high = 400, 0, 0
    for seed in range(audits):
        areas = blind_areas(table(RNG([9, seed]), size, size + 10, clusters), NAMES, 0.95).values()
        low += max(area.low for area in areas) > 0.5
        high += min(area.high for area in areas) < 0.5
    # 0.025 each. The smallest case has two clusters of each side to score: the fewest that the observer lets pass.
    assert low <= 0.05 * audits
    assert high <= 0.05 * audits


@pytest.mark.parametrize("gap", [0.5, 1.5])
def test_the_lower_bounds_hold_together_where_something_does(gap):
    audits, low = 400, 0
    true = norm.cdf(gap / np.sqrt(2))
    for seed in range(audits):
        areas = blind_areas(table(RNG([10, seed]), 120, 120, gap=gap), NAMES, 0.95).values()
        low += max(area.low for area in areas) > true
    assert low <= 0.05 * audits
