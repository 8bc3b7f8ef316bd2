"""Comparisons within strata against the plain area, scikit-learn, enumeration and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from auditor.statistics.roc import auc_interval, permutation_max_auc
from auditor.statistics.stratified import permutation_max_stratified, strata_of, stratified_auc, usable

RNG = np.random.default_rng


def zeros(count: int) -> np.ndarray:
    return np.zeros(count, dtype=int)


def test_one_stratum_is_the_area_and_its_interval():
    rng = RNG(0)
    x, y = rng.normal(0.4, 1, 150), rng.normal(size=130)
    found, plain = stratified_auc(x, y, zeros(150), zeros(130)), auc_interval(x, y)
    assert found.value == pytest.approx(plain.value, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=1e-9)
    labels = RNG(1).integers(40, size=150), RNG(2).integers(40, size=130)
    clustered = stratified_auc(x, y, zeros(150), zeros(130), 0.9, *labels)
    separate = auc_interval(x, y, 0.9, [f"m{i}" for i in labels[0]], [f"c{i}" for i in labels[1]])
    assert (clustered.low, clustered.high) == pytest.approx((separate.low, separate.high), abs=1e-9)


def test_strata_are_those_of_scikit_learn_with_van_elterens_weights():
    rng = RNG(3)
    s1, s0 = rng.integers(4, size=200), rng.integers(4, size=160)
    x, y = rng.normal(size=200) + s1, rng.normal(size=160) + s0
    areas, weights = [], []
    for stratum in range(4):
        a, b = x[s1 == stratum], y[s0 == stratum]
        areas.append(roc_auc_score([1] * len(a) + [0] * len(b), np.concatenate([a, b])))
        weights.append(len(a) * len(b) / (len(a) + len(b) + 1))
    assert stratified_auc(x, y, s1, s0).value == pytest.approx(np.average(areas, weights=weights), abs=1e-12)


def test_every_relabelling_within_strata_is_reached():
    """Three records a side in two strata of 3 and 3 units would have too few: two of each in both, 36 relabellings."""
    x, y = np.array([5.0, 4.0, 9.0, 7.0]), np.array([3.0, 4.5, 8.0, 6.0])
    strata = np.array([0, 0, 1, 1])

    def area(members: tuple, controls: tuple) -> float:
        return float(np.mean([(m > c) + 0.5 * (m == c) for m in members for c in controls]))

    observed = area((5.0, 4.0), (3.0, 4.5)) + area((9.0, 7.0), (8.0, 6.0))
    count = total = 0
    for first in itertools.combinations((5.0, 4.0, 3.0, 4.5), 2):
        for second in itertools.combinations((9.0, 7.0, 8.0, 6.0), 2):
            rest = [
                tuple(v for v in pool if v not in chosen)
                for pool, chosen in (((5.0, 4.0, 3.0, 4.5), first), ((9.0, 7.0, 8.0, 6.0), second))
            ]
            total += 1
            count += area(first, rest[0]) + area(second, rest[1]) >= observed - 1e-12
    p, _ = permutation_max_stratified(x, y, strata, strata, RNG(0), 20_000)
    assert total == 36
    assert p == pytest.approx(count / total, abs=0.012)


def test_one_stratum_of_several_scores_gives_the_p_values_of_the_plain_maximum():
    rng = RNG(5)
    x, y = rng.normal(size=(3, 60)) + np.array([[0.0], [0.3], [0.6]]), rng.normal(size=(3, 50))
    ours = permutation_max_stratified(x, y, zeros(60), zeros(50), RNG(1), 4999)[1]
    plain = permutation_max_auc(x, y, RNG(2), 4999)[1]
    np.testing.assert_allclose(ours, plain, atol=0.03)


def test_length_alone_tells_nothing_within_strata():
    """Members are longer and the score is length: the plain area is far from 0.5, the stratified one is not."""
    rng = RNG(6)
    long, short = rng.integers(5, 12, size=300), rng.integers(2, 9, size=300)
    strata = strata_of(long, short, 50)
    assert roc_auc_score([1] * 300 + [0] * 300, np.concatenate([long, short])) > 0.75
    kept = usable(*strata, np.arange(300), np.arange(300))
    assert stratified_auc(long.astype(float), short.astype(float), *strata).value == pytest.approx(0.5, abs=1e-12)
    assert len(kept) == 4  # lengths 5 to 8 stand on both sides
    noisy = long + rng.normal(size=300), short + rng.normal(size=300)
    assert permutation_max_stratified(*noisy, *strata, RNG(0), 499)[0] > 0.01


@pytest.mark.parametrize("clustered", [False, True])
def test_false_alarms_and_coverage(clustered: bool):
    """Scores grow with length, members are longer, nothing is memorized: 5 in 100 alarms at 0.05, and 95 of 100 intervals hold 0.5."""
    alarms = covered = 0
    runs = 300
    for seed in range(runs):
        rng = RNG([7, seed])
        groups = (
            (np.repeat(np.arange(40), 2), np.repeat(np.arange(40), 2)) if clustered else (np.arange(60), np.arange(60))
        )
        lengths = [rng.integers(low, low + 6, size=int(g.max()) + 1)[g] for g, low in zip(groups, (4, 3), strict=True)]
        scores = []
        for group, length in zip(groups, lengths, strict=True):
            own = rng.normal(size=int(group.max()) + 1)[group]
            scores.append(np.stack([0.8 * length + own + rng.normal(size=len(group)) for _ in range(2)]))
        strata = strata_of(*lengths, 20, *groups)
        p, _ = permutation_max_stratified(*scores, *strata, rng, 199, *groups)
        interval = stratified_auc(scores[0][0], scores[1][0], *strata, 0.95, *groups)
        alarms += p <= 0.05
        covered += interval.low <= 0.5 <= interval.high
    assert alarms <= 0.05 * runs + 2.4 * np.sqrt(0.0475 * runs)
    assert covered >= 0.95 * runs - 2.4 * np.sqrt(0.0475 * runs)


def test_power_is_that_of_a_shift_within_strata():
    rng = RNG(8)
    s1, s0 = rng.integers(3, size=150), rng.integers(3, size=150)
    x, y = rng.normal(size=150) + 10 * s1 + 0.5, rng.normal(size=150) + 10 * s0
    assert permutation_max_stratified(x, y, s1, s0, RNG(0), 999)[0] <= 0.002
    assert stratified_auc(x, y, s1, s0).low > 0.5
    assert not auc_interval(x, y).low > 0.5


def test_perfect_and_tied_scores_have_honest_intervals():
    strata = np.repeat([0, 1], 10)
    perfect = stratified_auc(np.full(20, 2.0), np.full(20, 1.0), strata, strata)
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert 0.6 < perfect.low < 0.95
    tied = stratified_auc(np.ones(20), np.ones(20), strata, strata)
    assert tied.value == 0.5
    assert tied.low < 0.5 < tied.high


def test_clusters_are_never_divided():
    lengths, clusters = [1.0, 9.0, 5.0, 5.0], ["a", "a", "b", "b"]
    first, _ = strata_of(lengths, [1.0, 5.0, 9.0], 3, clusters)
    assert first[0] == first[1]
    with pytest.raises(ValueError, match="lies in two strata"):
        stratified_auc([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0, 1, 1], [0, 0, 1], 0.95, ["a", "a", "b"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [1.0, 2.0], [0, 0], [1, 1]), "no stratum has two clusters on each side"),
        (([1.0, np.nan], [1.0, 2.0], [0, 0], [0, 0]), "NaN"),
        (([1.0, 2.0], [1.0, 2.0], [0], [0, 0]), "one of each a record"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        stratified_auc(*arguments)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(0, 2**16), st.integers(1, 6))
def test_exchanging_the_sides_mirrors_the_area_and_order_does_not_matter(seed: int, bins: int):
    rng = RNG(seed)
    x, y, lx, ly = rng.normal(size=30), rng.normal(size=25), rng.integers(9, size=30), rng.integers(9, size=25)
    strata = strata_of(lx, ly, bins)
    assert len(np.unique(np.concatenate(strata))) <= bins
    for length in range(9):
        joined = np.concatenate([strata[0][lx == length], strata[1][ly == length]])
        assert len(np.unique(joined)) <= 1
    found = stratified_auc(x, y, *strata)
    mirrored = stratified_auc(y, x, strata[1], strata[0])
    assert mirrored.value == pytest.approx(1.0 - found.value, abs=1e-12)
    assert (mirrored.low, mirrored.high) == pytest.approx((1.0 - found.high, 1.0 - found.low), abs=1e-9)
    order = rng.permutation(30)
    again = stratified_auc(x[order], y, strata[0][order], strata[1])
    assert again.value == pytest.approx(found.value, abs=1e-12)
    stretched = stratified_auc(np.exp(x), np.exp(y), *strata)
    assert stretched.value == pytest.approx(found.value, abs=1e-12)
