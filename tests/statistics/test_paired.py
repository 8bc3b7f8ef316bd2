"""Paired differences: published values, other programs, brute force, coverage and false alarms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats as st
from hypothesis import given, settings
from hypothesis import strategies as some

from auditor.statistics.interval import Interval, newcombe
from auditor.statistics.paired import (
    mean_interval,
    mover_paired,
    p_of_interval,
    paired_areas,
    paired_means,
    paired_rates,
    sign_flip,
    swapped_areas,
)
from auditor.statistics.rates import mcnemar_greater
from auditor.statistics.roc import auc


def table(both, first, second, neither):
    """Pairs of a two by two table."""
    return (
        np.repeat([1, 1, 0, 0], [both, first, second, neither]),
        np.repeat([1, 0, 1, 0], [both, first, second, neither]),
    )


def test_newcombe_paired_as_the_r_package_contingencytables_has_it():
    """Cavo et al. (2012), as in the tests of contingencytables 3 (Fagerland, Lydersen, Laake 2017, chapter 8)."""
    found = paired_rates(*table(59, 6, 16, 80))
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (-0.0621, -0.1186, -0.0046)


def newcombe_by_hand(a, b, c, d, level=0.95):
    """The published formulas, on their own."""
    n, z = a + b + c + d, st.norm.ppf((1 + level) / 2)
    ends = []
    for k in (a + b, a + c):
        root = z * np.sqrt(z**2 + 4 * k * (n - k) / n)
        ends.append(((2 * k + z**2 - root) / (2 * (n + z**2)), (2 * k + z**2 + root) / (2 * (n + z**2))))
    p, q = (a + b) / n, (a + c) / n
    product = (a + b) * (c + d) * (a + c) * (b + d)
    top = a * d - b * c
    top = max(top - n / 2, 0) if top > 0 else top
    phi = top / np.sqrt(product) if product else 0.0
    dl1, du1, dl2, du2 = p - ends[0][0], ends[0][1] - p, q - ends[1][0], ends[1][1] - q
    low = p - q - np.sqrt(dl1**2 - 2 * phi * dl1 * du2 + du2**2)
    high = p - q + np.sqrt(du1**2 - 2 * phi * du1 * dl2 + dl2**2)
    return low, high


@given(some.tuples(*[some.integers(0, 40)] * 4).filter(lambda cells: sum(cells) > 0))
@settings(derandomize=True, deadline=None, max_examples=150)
def test_newcombe_paired_is_the_published_formula(cells):
    found = paired_rates(*table(*cells))
    low, high = newcombe_by_hand(*cells)
    assert found.low == pytest.approx(max(-1.0, low), abs=1e-9)
    assert found.high == pytest.approx(min(1.0, high), abs=1e-9)
    assert found.low <= found.value <= found.high


@given(some.lists(some.tuples(some.booleans(), some.booleans(), some.integers(0, 5)), min_size=2, max_size=40))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_exchanging_the_conditions_turns_the_sign(rows):
    first, second, clusters = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    for make in (paired_rates, paired_means):
        if make is paired_means and len(set(clusters)) < 2:
            continue
        one, other = make(first, second, clusters), make(second, first, clusters)
        assert one.value == pytest.approx(-other.value)
        assert one.low == pytest.approx(-other.high, abs=1e-9)
        assert one.high == pytest.approx(-other.low, abs=1e-9)


def test_pairs_say_more_than_two_samples():
    a, b = table(200, 12, 3, 200)
    paired, apart = paired_rates(a, b), newcombe(int(a.sum()), len(a), int(b.sum()), len(b))
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)
    assert paired.low > 0.0 > apart.low


def test_without_correlation_it_is_the_interval_of_independent_estimates():
    a, b = Interval(0.3, 0.2, 0.45, 0.95, "x"), Interval(0.1, 0.05, 0.2, 0.95, "x")
    found = mover_paired(a, b, 0.0)
    assert found.low == pytest.approx(0.2 - np.hypot(0.1, 0.1))
    assert found.high == pytest.approx(0.2 + np.hypot(0.15, 0.05))
    with pytest.raises(ValueError, match="correlation"):
        mover_paired(a, b, 1.5)


def test_means_are_the_paired_t_interval_without_clusters():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.4, 1.0, 25), rng.normal(0.0, 1.0, 25)
    found = paired_means(a, b)
    expected = st.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_equal_clusters_of_means_are_a_t_interval_of_their_means():
    rng = np.random.default_rng(2)
    d, clusters = rng.normal(0.2, 1.0, 60), np.repeat(np.arange(12), 5)
    found = mean_interval(d, clusters)
    expected = st.ttest_1samp(d.reshape(12, 5).mean(axis=1), 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    with pytest.raises(ValueError, match="at least two"):
        mean_interval(d, np.zeros(60))


def delong_by_hand(ma, mb, ca, cb):
    """Variance of the difference of two areas from all pairs, as DeLong, DeLong and Clarke-Pearson (1988) define it."""
    kernel = [(m[:, None] > c[None]) + 0.5 * (m[:, None] == c[None]) for m, c in ((ma, ca), (mb, cb))]
    v10, v01 = [k.mean(axis=1) for k in kernel], [k.mean(axis=0) for k in kernel]
    s10, s01 = np.cov(v10), np.cov(v01)
    return s10 / len(ma) + s01 / len(ca)


def test_correlation_of_areas_is_delongs():
    rng = np.random.default_rng(3)
    m, c = rng.normal(0.7, 1, 80), rng.normal(0, 1, 80)
    ma, mb, ca, cb = m + rng.normal(0, 0.4, 80), m + rng.normal(0, 0.4, 80), c + rng.normal(0, 0.4, 80), c
    found = paired_areas((ma, mb), (ca, cb))
    covariance = delong_by_hand(ma, mb, ca, cb)
    half = 1.96 * np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert found.value == pytest.approx(auc(ma, ca) - auc(mb, cb))
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)  # MOVER bends the ends, not the width


def test_areas_without_a_fault_still_have_width():
    scores = np.arange(30.0)
    found = paired_areas((scores + 100, scores + 200), (scores, scores))
    assert found.value == 0.0
    assert found.low < -0.02
    assert found.high > 0.02


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 0), (4, 3), (9, 2), (3, 8)])
def test_sign_flips_of_single_records_are_mcnemars_exact_test(b, c):
    first, second = table(5, b, c, 7)
    expected = min(1.0, 2 * mcnemar_greater(max(b, c), min(b, c))) if b != c else 1.0
    found = sign_flip((first - second) / len(first), np.random.default_rng(0))
    assert found == pytest.approx(expected)
    if b + c:
        assert found == pytest.approx(st.binomtest(b, b + c).pvalue)


def test_drawn_sign_flips_agree_with_counted_ones_and_with_scipy():
    rng = np.random.default_rng(4)
    d = rng.normal(0.35, 1.0, 40)
    found = sign_flip(d, np.random.default_rng(5), permutations=20000)
    other = st.permutation_test((d,), lambda x: x.sum(), permutation_type="samples", n_resamples=20000, rng=6)
    assert found == pytest.approx(other.pvalue, abs=0.01)
    counted = d[:10]
    brute = np.mean(
        [abs(np.dot(s, counted)) >= abs(counted.sum()) - 1e-9 for s in itertools.product((-1, 1), repeat=10)]
    )
    assert sign_flip(counted, np.random.default_rng(0)) == pytest.approx(brute)


def test_clusters_turn_whole():
    d = np.ones(40)
    assert sign_flip(d, np.random.default_rng(0), np.repeat([0, 1], 20)) == 0.5
    assert sign_flip(d, np.random.default_rng(0)) < 0.001
    assert sign_flip(np.zeros(5), np.random.default_rng(0)) == 1.0


@given(some.lists(some.floats(-5, 5), min_size=1, max_size=30), some.integers(0, 9))
@settings(derandomize=True, deadline=None, max_examples=80)
def test_sign_flips_do_not_depend_on_scale_or_sign(values, seed):
    d = np.round(np.array(values), 3)
    p = [sign_flip(x, np.random.default_rng(seed), permutations=199) for x in (d, 8 * d, -d)]
    assert p[0] == p[1] == p[2]
    assert 0.0 < p[0] <= 1.0


def test_p_of_interval_agrees_with_the_interval():
    z = st.norm.ppf(0.975)
    assert p_of_interval(Interval(1.0, 1.0 - z * 0.4, 1.0 + z * 0.4, 0.95, "")) == pytest.approx(2 * st.norm.sf(2.5))
    assert p_of_interval(Interval(0.1, 0.0, 0.4, 0.95, "")) == pytest.approx(0.05)
    assert p_of_interval(Interval(-0.1, -0.4, 0.02, 0.95, "")) > 0.05
    assert p_of_interval(Interval(0.0, 0.0, 0.0, 0.95, "")) == 1.0
    for value in (1.0, -1.0):
        assert p_of_interval(Interval(value, value, value, 0.95, "")) == 1.0, "no width is no proof"
        assert 0.0 < p_of_interval(Interval(value, value - 1e-9, value + 1e-9, 0.95, "")) < 1e-300


def paired_records(rng, clusters, size, base, gain, alike):
    """0 and 1 of records in clusters under two conditions that agree on a share `alike` of them."""
    sizes = rng.integers(1, size + 1, clusters)
    labels = np.repeat(np.arange(clusters), sizes)
    own = np.clip(rng.normal(0.0, 0.15, clusters), -base, 1 - base - gain)[labels] if size > 1 else 0.0
    draw, again = rng.random(len(labels)), rng.random(len(labels))
    second = draw < base + own
    first = np.where(rng.random(len(labels)) < alike, draw, again) < base + gain + own
    return first.astype(float), second.astype(float), labels


@pytest.mark.parametrize(
    ("clusters", "size", "base", "gain", "alike"),
    [
        (60, 1, 0.2, 0.1, 0.8),
        (200, 1, 0.02, 0.03, 0.9),
        (40, 6, 0.3, 0.1, 0.7),
        (30, 8, 0.2, 0.0, 0.9),
        (150, 1, 0.01, 0.0, 0.5),
    ],
)
def test_paired_rates_cover(clusters, size, base, gain, alike):
    rng = np.random.default_rng([7, clusters, size])
    held = 0
    for _ in range(400):
        first, second, labels = paired_records(rng, clusters, size, base, gain, alike)
        found = paired_rates(first, second, labels)
        held += found.low <= gain <= found.high
    assert held / 400 >= 0.93


def test_paired_means_cover_with_clusters_and_a_heavy_tail():
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(500):
        labels = np.repeat(np.arange(40), rng.integers(1, 6, 40))
        d = rng.standard_exponential(len(labels)) + rng.normal(0, 0.7, 40)[labels]
        held += (found := paired_means(d, np.zeros(len(d)), labels)).low <= 1.0 <= found.high
    assert held / 500 >= 0.93


@pytest.mark.parametrize(("gain", "size"), [(0.0, 1), (0.5, 1), (0.5, 4)])
def test_paired_areas_cover(gain, size):
    rng = np.random.default_rng(9)
    truth = st.norm.cdf((0.6 + gain) / np.sqrt(2 * 1.36)) - st.norm.cdf(0.6 / np.sqrt(2 * 1.36))
    held = 0
    for _ in range(400):
        labels = np.repeat(np.arange(60), size)
        sides = []
        for shift in (0.6, 0.0):
            common = rng.normal(0, np.sqrt(0.5), 60)[labels] + rng.normal(0, np.sqrt(0.5), len(labels))
            sides.append(
                [common + rng.normal(0, 0.6, len(labels)) + (shift + extra if shift else 0.0) for extra in (gain, 0.0)]
            )
        names = [np.char.add(side, labels.astype(str)) for side in ("m", "c")]
        found = paired_areas(tuple(sides[0]), tuple(sides[1]), *names)
        held += found.low <= truth <= found.high
    assert held / 400 >= 0.93


def test_nothing_changed_is_rarely_called():
    """Both conditions alike: at most 5 % at 0.05, over rates with clusters and over scores."""
    rng = np.random.default_rng(10)
    rates, areas = 0, 0
    for _ in range(400):
        first, second, labels = paired_records(rng, 30, 6, 0.2, 0.0, 0.7)
        rates += sign_flip((first - second) / len(first), rng, labels, permutations=199) <= 0.05
    for _ in range(200):
        m, c = rng.normal(0.5, 1, 40), rng.normal(0, 1, 40)
        noise = [rng.normal(0, 0.5, 40) for _ in range(4)]
        # The second condition is on another scale, for both sides: areas do not see it.
        scored = (m + noise[0], 3 * (m + noise[1])), (c + noise[2], 3 * (c + noise[3]))
        areas += swapped_areas(*scored, rng, permutations=99) <= 0.05
    assert rates <= 400 * 0.05 + 2 * np.sqrt(400 * 0.05 * 0.95)
    assert areas <= 200 * 0.05 + 2 * np.sqrt(200 * 0.05 * 0.95)


def test_a_better_condition_is_called():
    rng = np.random.default_rng(11)
    m, c = rng.normal(0, 1, 80), rng.normal(0, 1, 80)
    assert swapped_areas((m + 1.5, m), (c, c), rng) <= 0.01
    assert paired_areas((m + 1.5, m), (c, c)).low > 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: paired_rates([1, 0], [1]),
        lambda: paired_rates([1, 2], [1, 0]),
        lambda: paired_means([1.0, np.nan], [0.0, 0.0]),
        lambda: paired_areas(([1.0], [1.0, 2.0]), ([0.0], [0.0])),
        lambda: sign_flip([np.inf], np.random.default_rng(0)),
        lambda: sign_flip([1.0], np.random.default_rng(0), permutations=5),
    ],
)
def test_what_is_not_paired_is_refused(call):
    with pytest.raises(ValueError):
        call()
