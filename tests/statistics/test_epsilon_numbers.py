"""One-run epsilon: published vectors, the naive sums, the linear programme behind the p-value, and privacy that is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import linprog
from scipy.stats import binom, norm

from auditor.statistics.epsilon import (
    LARGEST,
    Guesses,
    gaussian_epsilon,
    gaussian_scale,
    guess_coins,
    log_odds_above,
    one_run_ceiling,
    one_run_epsilon,
    one_run_p_value,
    right_guesses,
    smallest_detectable_epsilon,
    strongest_epsilon,
)


def quantiles(shift, count):
    return norm.ppf(np.linspace(0, 1, count, endpoint=False) + 1 / (2 * count)) + shift


def hull(planted, left_out):
    """Guesses at the corners of the ROC curve's hull: chosen by looking at the coins, as jax_privacy does and no audit here."""
    thresholds = np.concatenate([np.union1d(planted, left_out), [np.inf]])
    missed = np.searchsorted(np.sort(planted), thresholds)
    refused = np.searchsorted(np.sort(left_out), thresholds)
    kept: list[tuple[int, int]] = []
    for x, y in zip(missed.tolist(), refused.tolist(), strict=True):
        while len(kept) >= 2:
            (x0, y0), (x1, y1) = kept[-2:]
            if (y1 - y0) * (x - x1) - (y - y1) * (x1 - x0) > 0:
                break
            kept.pop()
        kept.append((x, y))
    return [Guesses(len(planted) + len(left_out) - x - y, len(planted) - x) for x, y in kept]


@pytest.mark.parametrize(
    ("shift", "expected", "gaussian"),
    [(0, 0.0, 0.0), (1, 1.13346, 2.164749), (2, 2.311945, 4.7218075), (4, 4.395568, 9.133752)],
)
def test_the_vectors_of_jax_privacy(shift, expected, gaussian):
    """Its own test: 10,000 normal quantiles a side, delta 1e-6, level 0.95, corrected for all corners of the hull."""
    rules = hull(quantiles(shift, 10_000), quantiles(0, 10_000))
    found, _ = strongest_epsilon(20_000, rules, delta=1e-6)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)
    found, _ = strongest_epsilon(20_000, rules, delta=1e-6, gaussian=True)
    assert found == pytest.approx(gaussian, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("canaries", "made", "right", "delta", "expected"),
    [
        (1000, 100, 100, 0.0, 3.4930),
        (1000, 100, 100, 1e-5, 3.4654),
        (1000, 100, 95, 0.0, 2.1724),
        (1000, 100, 95, 1e-5, 2.1652),
        (1000, 100, 60, 0.0, 0.0519),
        (1000, 100, 55, 0.0, 0.0),
        (100, 20, 20, 0.0, 1.8227),
        (100, 20, 18, 0.0, 0.9315),
        (1000, 1000, 600, 0.0, 0.2975),
        (1000, 1000, 600, 1e-5, 0.2972),
        (10, 10, 10, 0.0, 1.0519),
    ],
)
def test_worked_bounds(canaries, made, right, delta, expected):
    assert one_run_epsilon(canaries, Guesses(made, right), delta=delta) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("made", "expected"), [(5, 0.198), (10, 1.052), (20, 1.823), (50, 2.785), (100, 3.493), (1000, 5.809)]
)
def test_worked_ceilings(made, expected):
    found = one_run_ceiling(1000, made)
    assert found == pytest.approx(expected, abs=5e-4)
    share = 0.05 ** (1 / made)
    assert found == pytest.approx(math.log(share / (1 - share)), abs=1e-8)
    assert one_run_ceiling(1000, made, delta=1e-5) < found


counts = st.integers(1, 40).flatmap(lambda made: st.tuples(st.integers(made, 60), st.just(made), st.integers(0, made)))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(counts, st.sampled_from([0.0, 0.4, 1.0, 3.0]), st.sampled_from([0.0, 1e-6, 1e-3, 0.1, 1.0]))
def test_the_p_value_is_the_sum_written_out(drawn, epsilon, delta):
    canaries, made, right = drawn
    share = 1 / (1 + math.exp(-epsilon))
    beta, failures, worst = binom.sf(right - 1, made, share), 0.0, 0.0
    for step in range(1, right + 1):
        failures += binom.pmf(right - step, made, share)
        worst = max(worst, failures / step)
    expected = min(beta + 2 * canaries * delta * worst, 1.0)
    found = one_run_p_value(canaries, Guesses(made, right), epsilon, delta)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-14)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(counts, st.sampled_from([0.0, 0.7, 2.0]), st.sampled_from([1e-4, 2e-3, 8e-3]))
def test_the_p_value_is_the_worst_that_failures_can_do(drawn, epsilon, delta):
    """Failures add right guesses, 2 m delta of them on average: the worst law of their number is a linear programme."""
    canaries, made, right = drawn
    share = 1 / (1 + math.exp(-epsilon))
    added = np.arange(right + 1)
    gain = binom.sf(right - added - 1, made, share)
    budget = 2 * canaries * delta
    worst = linprog(-gain, A_ub=[added], b_ub=[budget], A_eq=[np.ones(right + 1)], b_eq=[1.0], bounds=(0, 1))
    found = one_run_p_value(canaries, Guesses(made, right), epsilon, delta)
    if budget <= 1.0:
        assert found == pytest.approx(-worst.fun, abs=1e-8)
    assert found >= -worst.fun - 1e-8


@settings(derandomize=True, deadline=None, max_examples=100)
@given(counts, st.sampled_from([0.0, 1e-5, 1e-3]))
def test_more_right_guesses_refute_more_and_the_bound_is_where_the_p_value_meets_the_level(drawn, delta):
    canaries, made, right = drawn
    bound = one_run_epsilon(canaries, Guesses(made, right), delta=delta)
    assert 0.0 <= bound <= one_run_ceiling(canaries, made, delta=delta) + 1e-9
    assert bound <= one_run_epsilon(canaries, Guesses(made, right)) + 1e-9
    values = [one_run_p_value(canaries, Guesses(made, right), epsilon, delta) for epsilon in np.linspace(0, 6, 25)]
    assert all(one <= two + 1e-12 for one, two in itertools.pairwise(values))
    if bound > 0.0:
        assert one_run_p_value(canaries, Guesses(made, right), bound, delta) == pytest.approx(0.05, rel=1e-6)
    if right:
        assert one_run_epsilon(canaries, Guesses(made, right - 1), delta=delta) <= bound + 1e-9


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("delta", [0.0, 1e-4])
def test_a_known_epsilon_is_exceeded_in_at_most_one_run_in_twenty(epsilon, delta):
    """Randomised response says every coin rightly with odds e^epsilon: the least private mechanism there is."""
    rng = np.random.default_rng([7, int(10 * epsilon)])
    canaries, runs, share = 120, 2000, 1 / (1 + math.exp(-epsilon))
    right = rng.binomial(canaries, share, size=runs)
    bounds = {count: one_run_epsilon(canaries, Guesses(canaries, int(count)), delta=delta) for count in set(right)}
    exceeded = sum(bounds[count] > epsilon for count in right)
    assert exceeded <= 0.05 * runs + 3 * math.sqrt(0.05 * 0.95 * runs)
    if not delta:  # and it is not much too careful
        critical = next(count for count in range(canaries + 1) if binom.sf(count - 1, canaries, share) <= 0.05)
        assert exceeded / runs == pytest.approx(binom.sf(critical - 1, canaries, share), abs=0.02)


def test_several_rules_are_corrected_for_where_the_best_of_them_is_shown():
    rng = np.random.default_rng(3)
    alarms, careless = 0, 0
    for _ in range(400):
        scores, planted = rng.normal(size=80), rng.integers(2, size=80).astype(bool)
        rules = [right_guesses(guess_coins(scores, share), planted) for share in np.linspace(0.1, 1.0, 12)]
        alarms += strongest_epsilon(80, rules)[0] > 0.0
        careless += max(one_run_epsilon(80, guesses) for guesses in rules) > 0.0
    assert alarms <= 0.05 * 400
    assert careless > 0.08 * 400  # what the correction is for


def test_the_strongest_rule_is_that_of_all_bounds():
    rng = np.random.default_rng(0)
    for _ in range(30):
        rules = [Guesses(made, int(rng.integers(made // 2, made + 1))) for made in rng.integers(1, 60, size=4).tolist()]
        each = [one_run_epsilon(100, guesses, delta=1e-5, level=1 - 0.05 / 4) for guesses in rules]
        found, which = strongest_epsilon(100, rules, delta=1e-5)
        assert found == pytest.approx(max(each), abs=1e-8)
        assert each[which] == pytest.approx(found, abs=1e-8)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.1), (0.5, 1e-3), (2.0, 1e-5), (8.0, 1e-6)])
def test_a_gaussian_mechanism_spends_exactly_its_delta(epsilon, delta):
    shift = gaussian_scale(epsilon, delta)
    edge = epsilon / shift + shift / 2  # where the densities are e^epsilon apart

    def excess(x):
        return norm.pdf(x - shift) - math.exp(epsilon) * norm.pdf(x)

    spent = quad(excess, edge, edge + 12, epsabs=1e-14, limit=200)[0]
    assert spent == pytest.approx(delta, rel=1e-6)


def test_a_gaussian_mechanism_of_known_epsilon_is_seldom_exceeded():
    rng = np.random.default_rng(5)
    epsilon, delta, canaries = 1.5, 1e-2, 150
    shift, exceeded = gaussian_scale(epsilon, delta), 0
    stronger = []
    for _ in range(200):
        planted = rng.integers(2, size=canaries).astype(bool)
        guesses = right_guesses(guess_coins(rng.normal(size=canaries) + shift * planted, 0.4), planted)
        found = gaussian_epsilon(canaries, guesses, delta=delta)
        exceeded += found > epsilon
        stronger.append(found - one_run_epsilon(canaries, guesses, delta=delta))
    assert exceeded <= 10
    assert np.mean(stronger) > 0.1  # the assumption buys a larger bound


def test_odds_of_right_guesses():
    assert log_odds_above(Guesses(10, 10)) == LARGEST
    assert log_odds_above(Guesses(0, 0)) == LARGEST
    assert log_odds_above(Guesses(100, 20)) == 0.0
    found = log_odds_above(Guesses(100, 60))
    assert binom.cdf(60, 100, 1 / (1 + math.exp(-found))) == pytest.approx(0.05, abs=1e-9)


def test_power_is_that_of_the_test():
    rng = np.random.default_rng(1)
    for declared in (0.0, 1.0):
        found = smallest_detectable_epsilon(200, 120, declared, delta=1e-5)
        right = rng.binomial(120, 1 / (1 + math.exp(-found)), size=4000)
        refuted = {
            int(count): one_run_p_value(200, Guesses(120, int(count)), declared, 1e-5) <= 0.05 for count in right
        }
        assert np.mean([refuted[int(count)] for count in right]) == pytest.approx(0.8, abs=0.03)
    assert smallest_detectable_epsilon(20, 12, 3.0) == math.inf


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.5, -math.inf]), min_size=2, max_size=30), st.floats(0.01, 1.0))
def test_guesses_go_to_the_ends_half_and_half(scores, share):
    found = guess_coins(scores, share)
    values = np.array(scores)
    each = max(1, math.floor(share * len(scores) / 2 + 1e-9))
    assert (found == 1).sum() == (found == -1).sum() == each
    assert values[found == 1].min() >= values[found == 0].max(initial=-math.inf)
    assert values[found == -1].max() <= values[found == 0].min(initial=math.inf)
    counted = right_guesses(found, found == 1)
    assert counted == Guesses(2 * each, 2 * each)


def test_what_cannot_be_is_refused():
    for wrong in (Guesses(11, 3), Guesses(5, 6), Guesses(5, -1)):
        with pytest.raises(ValueError, match="right"):
            one_run_p_value(10, wrong, 1.0)
    for epsilon, delta in ((-1.0, 0.0), (math.inf, 0.0), (1.0, -0.1), (1.0, 1.5), (math.nan, 0.0)):
        with pytest.raises(ValueError, match="epsilon is"):
            one_run_p_value(10, Guesses(5, 3), epsilon, delta)
    with pytest.raises(ValueError, match="no rule"):
        strongest_epsilon(10, [])
    with pytest.raises(ValueError, match="delta between"):
        gaussian_scale(1.0, 0.0)
    with pytest.raises(ValueError, match="Gaussian"):
        strongest_epsilon(10, [Guesses(5, 3)], gaussian=True)
    with pytest.raises(ValueError, match="share of canaries"):
        guess_coins([1.0, 2.0], 0.0)
    with pytest.raises(ValueError, match="nan at position 1"):
        guess_coins([1.0, math.nan], 0.5)
