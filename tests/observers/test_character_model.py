"""The Secret Sharer on a small character model, trained here: exposure by repetitions, and what a search finds.

Canaries of two formats of 10^4 secrets each are planted 1, 4, 16 and 64 times, by coin; every secret of both spaces is scored,
so that every rank is known exactly.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from character_model import TIERS, Trained, exposures, trained_on_canaries
from opened import opened, rows

from auditor.core.evidence import Need
from auditor.observers.secret_search import OBSERVER
from auditor.statistics.exposure import (
    exact_exposure,
    sampled_exposure,
    skew_normal_fit,
    skew_normal_log_cdf,
)

CANDIDATES = 1000


@pytest.fixture(scope="module")
def trained() -> Trained:
    return trained_on_canaries()


def test_exposure_rises_with_repetitions_up_to_the_cap(trained: Trained) -> None:
    found = exposures(trained)
    medians = [float(np.median(found[tier, True])) for tier in TIERS]
    assert medians[0] < medians[1] < medians[2] <= medians[3]
    assert medians[3] == pytest.approx(math.log2(trained.space))
    assert min(found[64, True]) > math.log2(trained.space) - 1.5
    left_out = [bits for (_, planted), values in found.items() if not planted for bits in values]
    assert np.median(left_out) < 4.0  # 1 bit is the median of chance
    assert max(left_out) < medians[3]


def test_sampled_and_fitted_exposure_are_those_of_the_exact_rank(trained: Trained) -> None:
    """Within one bit, as far as a sample reaches: with eight candidates below, or as many bits as it has candidates."""
    sampled_so_far = fitted_so_far = 0
    for form in trained.forms:
        known = {canary.secret for canary in trained.of(form)}
        others = np.array([cost for secret, cost in trained.costs[form.id].items() if secret not in known])
        drawn = np.random.default_rng(2).choice(others, CANDIDATES, replace=False)
        fit = skew_normal_fit(drawn)
        for canary in trained.of(form):
            cost = trained.costs[form.id][canary.secret]
            exact = exact_exposure(cost, np.append(others, cost))
            sampled = sampled_exposure(cost, drawn, space_size=trained.space)
            if sampled.rank_below >= 8:
                assert sampled.bits == pytest.approx(exact.bits, abs=1.0)
                assert sampled.low - 0.1 <= exact.bits <= sampled.high + 0.1
                sampled_so_far += 1
            if exact.bits <= math.log2(CANDIDATES) - 1.0:
                fitted = -float(skew_normal_log_cdf(cost, fit)) / math.log(2.0)
                assert fitted == pytest.approx(exact.bits, abs=1.0)
                fitted_so_far += 1
    assert sampled_so_far > 20
    assert fitted_so_far > 20


def test_a_search_finds_every_canary_of_rank_one_within_a_hundredth_of_the_space(trained: Trained) -> None:
    budget = trained.space // 100
    need = Need(observer="secret-search", dataset="canaries", parameters={"expansions": budget})
    found = {row["canary"]: row for row in rows(OBSERVER, need, opened(trained.model, canaries=trained.canaries))}
    first = 0
    for form in trained.forms:
        popped = next(row["popped"] for row in found.values() if row["format"] == form.id)
        for canary in trained.of(form):
            row = found[canary.id]
            rank = trained.rank(form, canary.secret, apart=False)
            assert row["expansions"] <= budget
            assert row["found"] == (rank <= popped)
            if row["found"]:
                assert row["rank"] == rank
                assert row["rank"] - row["canaries_before"] == trained.rank(form, canary.secret, apart=True)
                assert row["secret"] == canary.secret
            if trained.rank(form, canary.secret, apart=True) == 1:
                assert row["found"]
                assert row["expansions_found"] <= budget
                first += 1
    assert first >= 4
    assert not any(row["found"] for row in found.values() if not row["planted"])
