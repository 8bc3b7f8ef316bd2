"""Conformal p-values against counting and their law; Benjamini-Hochberg against scipy, and the share of false calls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from auditor.statistics.conformal import benjamini_hochberg, conformal_p


def test_it_counts_the_controls_at_or_above():
    assert conformal_p([0.0, 2.0, 2.5, 9.0], [1.0, 2.0, 3.0]).tolist() == [1.0, 0.75, 0.5, 0.25]


def test_an_exchangeable_record_is_called_no_more_often_than_alpha():
    rng = np.random.default_rng(0)
    p = np.array([conformal_p(draw[:1], draw[1:])[0] for draw in rng.normal(size=(20_000, 20))])
    for alpha in (0.05, 0.1, 0.35):
        assert (p <= alpha).mean() <= alpha + 0.005
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.005)  # 20 divides: exact


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_it_is_scipys(p):
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), atol=1e-12)


def test_the_share_of_false_calls_is_kept():
    shares, found = [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        truth = np.arange(100) < 20
        called = benjamini_hochberg(conformal_p(rng.normal(size=100) + 4.0 * truth, rng.normal(size=200))) <= 0.1
        shares.append((called & ~truth).sum() / max(1, called.sum()))
        found.append((called & truth).mean() * 5)
    assert np.mean(shares) <= 0.1 + 0.01
    assert np.mean(found) > 0.6


def test_what_is_no_p_value_is_refused():
    with pytest.raises(ValueError, match="0 to 1"):
        benjamini_hochberg([0.2, 1.2])
    with pytest.raises(ValueError, match="at least 1"):
        conformal_p([], [1.0])
