from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

from auditor.statistics.roc import auc, permutation_max_auc


def test_agrees_with_all_relabellings() -> None:
    rng = np.random.default_rng(0)
    pooled = rng.integers(0, 6, (2, 8)).astype(float)
    observed = [auc(row[:3], row[3:]) for row in pooled]
    largest, smaller = [], []
    worst, rest = int(np.argmax(observed)), int(np.argmin(observed))
    for chosen in itertools.combinations(range(8), 3):
        inside = np.isin(np.arange(8), chosen)
        areas = [auc(row[inside], row[~inside]) for row in pooled]
        largest.append(max(areas) >= observed[worst] - 1e-12)
        smaller.append(areas[rest] >= observed[rest] - 1e-12)
    p, adjusted = permutation_max_auc(pooled[:, :3], pooled[:, 3:], rng, 20_000)
    assert p == adjusted[worst] == pytest.approx(np.mean(largest), abs=0.015)
    assert adjusted[rest] == pytest.approx(max(np.mean(largest), np.mean(smaller)), abs=0.015)


def test_order_of_scores_and_monotone_transforms_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    members, controls = rng.normal(0.2, 1, (4, 40)), rng.normal(0, 1, (4, 30))
    _, adjusted = permutation_max_auc(members, controls, np.random.default_rng(2), 499)
    _, turned = permutation_max_auc(np.exp(members[::-1]), np.exp(controls[::-1]), np.random.default_rng(2), 499)
    assert adjusted == turned[::-1]
    assert min(adjusted) >= 1 / 500


def test_a_single_score_needs_no_adjustment_and_copies_cost_nothing() -> None:
    rng = np.random.default_rng(3)
    members, controls = rng.normal(0.5, 1, (1, 30)), rng.normal(0, 1, (1, 30))
    p, _ = permutation_max_auc(members, controls, np.random.default_rng(4), 999)
    copied, adjusted = permutation_max_auc(
        np.repeat(members, 5, axis=0), np.repeat(controls, 5, axis=0), np.random.default_rng(4), 999
    )
    assert copied == p
    assert set(adjusted) == {p}


def test_best_of_many_scores_is_not_mistaken_for_memorization() -> None:
    """Six innocent scores of clustered, tied records: the best alone looks good far too often."""
    raw, adjusted = 0, 0
    for seed in range(200):
        rng = np.random.default_rng([5, seed])
        person = rng.normal(size=(6, 50, 1)) + 0.4 * rng.normal(size=(6, 50, 4))
        members, controls = np.round(person[:, :20].reshape(6, -1)), np.round(person[:, 20:].reshape(6, -1))
        labels = np.arange(80) // 4, np.arange(120) // 4
        p, _ = permutation_max_auc(members, controls, rng, 99, *labels)
        best = int(np.argmax([auc(a, b) for a, b in zip(members, controls, strict=True)]))
        alone, _ = permutation_max_auc(members[best], controls[best], rng, 99, *labels)
        raw += alone <= 0.05
        adjusted += p <= 0.05
    assert raw >= 25
    assert adjusted <= 20  # 99.9th percentile of Bin(200, 0.05)


def test_fires_on_memorization_and_names_the_score() -> None:
    rng = np.random.default_rng(6)
    members, controls = rng.normal(size=(5, 100)), rng.normal(size=(5, 100))
    members[3] += 0.8
    p, adjusted = permutation_max_auc(members, controls, rng)
    assert p == adjusted[3] == 1 / 1000
    assert min(a for i, a in enumerate(adjusted) if i != 3) > 0.01


def test_six_scores_of_thousands_of_records_take_seconds() -> None:
    rng = np.random.default_rng(7)
    members, controls = rng.normal(size=(6, 3000)), rng.normal(size=(6, 1500))
    started = time.perf_counter()
    permutation_max_auc(members, controls, rng)
    assert time.perf_counter() - started < 5


def test_bad_scores_are_refused() -> None:
    rng = np.random.default_rng(8)
    with pytest.raises(ValueError, match="same scores"):
        permutation_max_auc(np.zeros((2, 3)), np.zeros((3, 3)), rng)
    with pytest.raises(ValueError, match="NaN"):
        permutation_max_auc([[math.nan]], [[0.0]], rng)
    with pytest.raises(ValueError, match="permutations"):
        permutation_max_auc([[1.0]], [[0.0]], rng, 9)
    with pytest.raises(ValueError, match="control clusters"):
        permutation_max_auc([[1.0]], [[0.0]], rng, 99, None, ["a", "b"])
