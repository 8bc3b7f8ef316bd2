"""Every p-value on innocent data: at most 5 % at 5 %, whatever ties, clusters and sizes. On guilty data: alarms."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.statistics.exposure import fisher_combination, sampled_exposure
from auditor.statistics.multiplicity import bonferroni, holm
from auditor.statistics.rates import cluster_permutation_greater, fisher_greater, mcnemar_greater
from auditor.statistics.roc import permutation_max_auc

SEEDS = 400
MOST = 33
"""99.9th percentile of Bin(400, 0.05)."""


def correlated(rng: np.random.Generator, clusters: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    sizes = rng.geometric(0.2, clusters)
    return rng.binomial(sizes, rng.beta(rate * 0.5, (1 - rate) * 0.5, clusters)), sizes


def fisher(rng: np.random.Generator, n: int, harm: float) -> float:
    return fisher_greater(int(rng.binomial(n, 0.1 + harm)), n, int(rng.binomial(2 * n, 0.1)), 2 * n)


def cluster_permutation(rng: np.random.Generator, n: int, harm: float) -> float:
    return cluster_permutation_greater(*correlated(rng, n, 0.1 + harm), *correlated(rng, n, 0.1), rng, 199)


def mcnemar(rng: np.random.Generator, n: int, harm: float) -> float:
    b, c, _ = rng.multinomial(n, [0.1 + harm / 2, 0.1, 0.8 - harm / 2])
    return mcnemar_greater(int(b), int(c))


def exposure(rng: np.random.Generator, n: int, harm: float) -> float:
    """Canaries with ties, their references drawn apart for each."""
    p = [
        sampled_exposure(round(rng.normal(-4 * harm), 1), np.round(rng.normal(size=50), 1)).p_value
        for _ in range(max(1, n // 10))
    ]
    return fisher_combination(p)


def best_score(rng: np.random.Generator, n: int, harm: float) -> float:
    members, controls = np.round(rng.normal(2 * harm, 1, (4, n))), np.round(rng.normal(0, 1, (4, n)))
    return permutation_max_auc(members, controls, rng, 99)[0]


P_VALUES = {f.__name__: f for f in (fisher, cluster_permutation, mcnemar, exposure, best_score)}


@pytest.mark.parametrize("n", [4, 60])
@pytest.mark.parametrize("name", P_VALUES)
def test_innocent_data_are_seldom_accused(name: str, n: int) -> None:
    alarms = sum(P_VALUES[name](np.random.default_rng([seed, n]), n, 0.0) <= 0.05 for seed in range(SEEDS))
    assert alarms <= MOST


@pytest.mark.parametrize("name", P_VALUES)
def test_guilty_data_are_accused(name: str) -> None:
    alarms = sum(P_VALUES[name](np.random.default_rng([seed, 7]), 100, 0.5) <= 0.05 for seed in range(40))
    assert alarms >= 39


def test_a_battery_is_seldom_accused() -> None:
    """Four tests on innocent data: unadjusted, one in seven runs holds an alarm; adjusted, one in twenty or fewer."""
    raw = adjusted = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng([seed, 11])
        p = [P_VALUES[name](rng, 60, 0.0) for name in ("fisher", "cluster_permutation", "exposure", "best_score")]
        raw += min(p) <= 0.05
        adjusted += min(holm(p)) <= 0.05
        assert min(holm(p)) == min(bonferroni(p))
    assert raw > MOST
    assert adjusted <= MOST
