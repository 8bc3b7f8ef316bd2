from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, fisher_exact

from auditor.statistics.exposure import fisher_combination
from auditor.statistics.interval import clopper_pearson_upper
from auditor.statistics.power import (
    records_needed,
    smallest_detectable_auc,
    smallest_detectable_discordance,
    smallest_detectable_excess,
    smallest_detectable_exposure,
    upper_bound_if_none,
)
from auditor.statistics.rates import mcnemar_greater
from auditor.statistics.roc import auc, minimum_detectable_auc

fixed = settings(derandomize=True, deadline=None, max_examples=60)


@pytest.mark.parametrize(("tolerance", "n"), [(0.05, 59), (0.01, 299), (0.005, 598), (0.001, 2995), (0.0001, 29956)])
def test_records_needed_of_the_method_notes(tolerance: float, n: int) -> None:
    assert records_needed(tolerance, 0.95) == n


@fixed
@given(st.floats(1e-5, 0.9), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_records_needed_is_the_smallest_that_will_do(tolerance: float, level: float) -> None:
    n = records_needed(tolerance, level)
    assert clopper_pearson_upper(0, n, level).high <= tolerance * (1 + 1e-9)
    assert upper_bound_if_none(n, level) == pytest.approx(clopper_pearson_upper(0, n, level).high, rel=1e-9)
    if n > 1:
        assert upper_bound_if_none(n - 1, level) > tolerance


def fisher_power(n1: int, n0: int, p1: float, p0: float, alpha: float) -> float:
    k1, k0 = np.meshgrid(np.arange(n1 + 1), np.arange(n0 + 1), indexing="ij")
    mass = binom.pmf(k1, n1, p1) * binom.pmf(k0, n0, p0)
    rejects = [
        [fisher_exact([[a, n1 - a], [b, n0 - b]], alternative="greater").pvalue <= alpha for b in range(n0 + 1)]
        for a in range(n1 + 1)
    ]
    return float((mass * np.array(rejects)).sum())


@pytest.mark.parametrize(("n1", "n0", "rate"), [(20, 20, 0.0), (18, 25, 0.1), (25, 12, 0.3)])
def test_smallest_excess_by_enumeration_of_both_counts(n1: int, n0: int, rate: float) -> None:
    excess = smallest_detectable_excess(n1, n0, 0.95, 0.8, rate)
    assert fisher_power(n1, n0, rate + excess, rate, 0.05) == pytest.approx(0.8, abs=1e-6)


def test_smallest_excess_without_control_successes_has_a_closed_form() -> None:
    """With no control found, equal samples reject from 5 members on: P(Bin(n, p) >= 5) = 0.8."""
    excess = smallest_detectable_excess(1000, 1000)
    assert fisher_exact([[5, 995], [0, 1000]], alternative="greater").pvalue <= 0.05
    assert fisher_exact([[4, 996], [0, 1000]], alternative="greater").pvalue > 0.05
    assert binom.sf(4, 1000, excess) == pytest.approx(0.8, abs=1e-9)


def test_gathered_columns_err_towards_less_power() -> None:
    started = time.perf_counter()
    excess = smallest_detectable_excess(100_000, 100_000, 0.95, 0.8, 0.1)
    assert time.perf_counter() - started < 8
    z = 1.6449 + 0.8416
    normal = z * math.sqrt(2 * 0.1 * 0.9 / 100_000)
    assert normal < excess < 1.05 * normal
    rng = np.random.default_rng(0)
    k1, k0 = rng.binomial(100_000, 0.1 + excess, 300), rng.binomial(100_000, 0.1, 300)
    fired = (k1 - k0) / np.sqrt(100_000 * 0.18) > 1.645
    assert fired.mean() > 0.73


def test_more_records_show_less_and_too_few_show_nothing() -> None:
    shown = [smallest_detectable_excess(n, n, control_rate=0.02) for n in (50, 200, 1000, 3000)]
    assert shown == sorted(shown, reverse=True)
    assert smallest_detectable_excess(2, 2) == math.inf
    assert smallest_detectable_auc(1, 1) == math.inf
    assert smallest_detectable_excess(300, 300, power=0.9) > smallest_detectable_excess(300, 300, power=0.8)


@pytest.mark.parametrize("n", [60, 400])
def test_smallest_area_is_found_as_often_as_stated(n: int) -> None:
    area = smallest_detectable_auc(n, n)
    assert area > minimum_detectable_auc(n, n)
    rng = np.random.default_rng(n)
    # Exponential scores with rate a / (1 - a) against 1: the model of Hanley and McNeil.
    members = rng.exponential(area / (1 - area), (600, n))
    controls = rng.exponential(1.0, (600, n))
    fired = np.mean([auc(a, b) > minimum_detectable_auc(n, n) for a, b in zip(members, controls, strict=True)])
    assert fired == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize("m", [1, 10, 40])
def test_smallest_exposure_is_found_as_often_as_stated(m: int) -> None:
    mean = smallest_detectable_exposure(m)
    rng = np.random.default_rng(m)
    fired = np.mean([fisher_combination(np.exp2(-row)) <= 0.05 for row in rng.exponential(mean, (3000, m))])
    assert fired == pytest.approx(0.8, abs=0.025)
    assert mean > 1 / math.log(2)
    assert smallest_detectable_exposure(10 * m) < mean


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        records_needed(0.0)
    with pytest.raises(ValueError, match="n is 0"):
        upper_bound_if_none(0)
    with pytest.raises(ValueError, match="control_rate"):
        smallest_detectable_excess(5, 5, control_rate=1.0)
    with pytest.raises(ValueError, match="n1"):
        smallest_detectable_auc(0, 5)
    with pytest.raises(ValueError, match="power"):
        smallest_detectable_exposure(5, power=math.nan)


@pytest.mark.parametrize(("pairs", "level", "least"), [(64, 0.95, 5), (64, 0.99, 7), (7, 0.99, 7), (1000, 0.999, 10)])
def test_smallest_discordance_is_found_as_often_as_stated(pairs: int, level: float, least: int) -> None:
    # McNemar's exact test with no pair the other way: so many heads in as many tosses.
    assert mcnemar_greater(least, 0) <= 1.0 - level + 1e-12 < mcnemar_greater(least - 1, 0)
    share = smallest_detectable_discordance(pairs, level, 0.8)
    assert binom.sf(least - 1, pairs, share) == pytest.approx(0.8)


def test_too_few_pairs_show_no_discordance() -> None:
    assert smallest_detectable_discordance(0) == smallest_detectable_discordance(4) == 1.0
    assert smallest_detectable_discordance(5) < 1.0
    with pytest.raises(ValueError):
        smallest_detectable_discordance(-1)
