"""The trend test against every permutation and against the formula of Cochran and Armitage; the slope against scipy."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import linregress, norm, t

from auditor.statistics.trend import slope, trend_greater

RNG = np.random.default_rng


def cochran_armitage(doses, responses):
    """The z of the published trend test for responses of 0 and 1, with the hypergeometric variance and a correction for whole doses."""
    n, p = len(doses), responses.mean()
    centred = doses - doses.mean()
    return (centred @ responses - 0.5) / np.sqrt(p * (1 - p) * n / (n - 1) * (centred @ centred))


def test_it_is_the_share_of_all_permutations():
    dose, response = np.array([0, 0, 1, 1, 2, 3.0]), np.array([0, 1, 0, 2, 1, 3.0])
    every = [sum(dose[list(order)] * response) for order in permutations(range(6))]
    exact = np.mean(np.array(every) >= dose @ response - 1e-12)
    assert trend_greater(dose, response, RNG(0), permutations=40_000) == pytest.approx(exact, abs=0.005)


def test_many_records_give_the_published_normal_limit():
    rng = RNG(1)
    dose = np.log2(rng.choice([1, 2, 4, 8], size=600))
    response = (rng.random(600) < 0.2 + 0.02 * dose).astype(float)
    expected = norm.sf(cochran_armitage(dose, response))
    assert trend_greater(dose, response, RNG(2), permutations=20_000) == pytest.approx(expected, abs=0.01)


def test_responses_dealt_by_chance_fire_at_the_level():
    rng = RNG(3)
    dose = np.log2(rng.choice([1, 1, 1, 2, 4, 20], size=80))
    found = [trend_greater(dose, rng.poisson(0.1, 80), rng, permutations=199) for _ in range(400)]
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean(np.array(found) <= 0.05) > 0.01


def test_clusters_are_moved_whole():
    """Ten persons with ten records each that come out together: records dealt one by one would swear to ten times as much."""
    rng = RNG(4)
    clusters = np.repeat(np.arange(10), 10)
    fired = {True: 0, False: 0}
    for _ in range(200):
        dose = np.repeat(rng.permutation([0, 0, 0, 0, 0, 1, 1, 1, 2, 2.0]), 10)
        response = np.repeat(rng.random(10) < 0.3, 10).astype(float)
        for whole in fired:
            fired[whole] += trend_greater(dose, response, rng, clusters if whole else None, permutations=199) <= 0.05
    assert fired[True] <= 0.05 * 200 + 2 * np.sqrt(0.05 * 0.95 * 200)
    assert fired[False] > 40


def test_clusters_of_different_sizes_keep_their_places():
    dose = np.array([3.0, 0.0, 0.0, 0.0])
    response = np.array([1.0, 0.0, 0.0, 0.0])
    assert trend_greater(dose, response, RNG(5), [0, 1, 1, 1], permutations=199) == 1.0


def test_it_is_never_zero_and_one_without_a_difference():
    assert trend_greater([0, 0, 0], [1, 0, 2], RNG(6), permutations=99) == 1.0
    assert trend_greater([0, 1, 2], [0, 0, 0], RNG(6), permutations=99) == 1.0
    assert trend_greater(np.arange(30), np.arange(30), RNG(6), permutations=99) == pytest.approx(0.01)
    with pytest.raises(ValueError, match="both for every record"):
        trend_greater([0, 1], [0, 1, 2], RNG(6))
    with pytest.raises(ValueError, match="position 1"):
        trend_greater([0, np.nan], [0, 1], RNG(6))


def test_the_slope_is_that_of_scipy_and_its_interval_covers():
    rng = RNG(7)
    dose = np.log2(rng.choice([1, 2, 4, 8], size=200))
    covered = 0
    for _ in range(400):
        response = 0.3 * dose + rng.normal(size=200) * (1 + dose)
        found = slope(dose, response)
        assert found.value == pytest.approx(linregress(dose, response).slope)
        covered += found.low <= 0.3 <= found.high
    assert 365 <= covered <= 393
    with pytest.raises(ValueError, match="doses that differ"):
        slope(np.ones(5), np.arange(5))


def test_the_jackknife_leaves_out_whole_clusters():
    """Against the same written out: one least-squares fit without each cluster."""
    rng = RNG(9)
    clusters = rng.integers(12, size=80)
    dose, response = rng.normal(size=80), rng.normal(size=80)
    left = np.array([linregress(dose[clusters != one], response[clusters != one]).slope for one in range(12)])
    error = np.sqrt(11 / 12 * ((left - left.mean()) ** 2).sum())
    found = slope(dose, response, clusters, 0.9)
    assert found.high - found.value == pytest.approx(t.ppf(0.95, 11) * error)
    assert found.value - found.low == pytest.approx(found.high - found.value)
