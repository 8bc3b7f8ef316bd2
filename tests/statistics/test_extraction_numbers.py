from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.statistics.extraction import at_least_once, is_extractable, queries_needed, survival

fixed = settings(derandomize=True, deadline=None, max_examples=100)


def test_queries_of_the_method_notes() -> None:
    assert float(queries_needed(math.log(0.162), 0.5)) == pytest.approx(3.92, abs=5e-3)
    assert float(queries_needed(50 * math.log(0.95), 0.9)) == pytest.approx(28.8, abs=0.05)
    assert math.exp(50 * math.log(0.95)) == pytest.approx(0.0769, abs=5e-5)
    assert float(at_least_once(math.log(0.8), 2)) == pytest.approx(0.96, rel=1e-14)


def test_tiny_probabilities_keep_their_digits() -> None:
    assert float(at_least_once(math.log(1e-20), 1000)) == pytest.approx(1e-17, rel=1e-12)
    assert 1 - (1 - 1e-20) ** 1000 == 0.0  # the defect this replaces
    assert float(at_least_once(-800.0, 1e308)) == pytest.approx(math.exp(-800 + math.log(1e308)), rel=1e-9)
    assert float(queries_needed(math.log(1e-20), 0.5)) == pytest.approx(math.log(2) * 1e20, rel=1e-12)


def test_edges() -> None:
    log_p = [-math.inf, 0.0, -1e6]
    assert at_least_once(log_p, 10).tolist() == [0.0, 1.0, 0.0]
    assert at_least_once(log_p, 0).tolist() == [0.0, 0.0, 0.0]
    assert queries_needed(log_p, 0.5).tolist() == [math.inf, 0.0, math.inf]
    assert is_extractable(log_p, 1, 0.999).tolist() == [False, True, False]
    # Sums of single-precision logarithms may end a hair above 0.
    assert float(at_least_once(3e-6, 1)) == 1.0


@fixed
@given(st.integers(1, 40), st.integers(1, 2**20 - 1))
def test_agrees_with_rational_arithmetic(n: int, part: int) -> None:
    p = Fraction(part, 2**20)
    exact = float(1 - (1 - p) ** n)
    assert float(at_least_once(math.log(p), n)) == pytest.approx(exact, rel=1e-9)


@fixed
@given(st.floats(-200, -1e-6), st.floats(0.001, 0.999), st.integers(1, 10**6))
def test_queries_and_probability_are_inverse_and_monotone(log_p: float, probability: float, n: int) -> None:
    needed = float(queries_needed(log_p, probability))
    assert float(at_least_once(log_p, needed)) == pytest.approx(probability, rel=1e-6)
    assert float(at_least_once(log_p, n)) <= float(at_least_once(log_p, n + 1))
    assert float(at_least_once(log_p, n)) <= float(at_least_once(log_p / 2, n))
    if abs(needed - n) > 1e-6 * n:
        assert bool(is_extractable(log_p, n, probability)) == (n >= needed)


def test_one_query_at_one_half_is_the_share_at_one_half_or_above() -> None:
    log_p = np.log([0.1, 0.5, 0.5, 0.49999, 0.9])
    assert is_extractable(log_p, 1, 0.5).tolist() == [False, True, True, False, True]
    assert survival(log_p, [math.log(0.5)]).tolist() == [0.6]


def test_sampling_meets_the_formula() -> None:
    rng = np.random.default_rng(0)
    found = (rng.random((20_000, 12)) < 0.05).any(axis=1).mean()
    assert found == pytest.approx(float(at_least_once(math.log(0.05), 12)), abs=0.012)


@fixed
@given(st.lists(st.floats(-50, 0), min_size=1, max_size=30), st.lists(st.floats(-60, 0), min_size=1, max_size=10))
def test_survival_counts(items: list[float], grid: list[float]) -> None:
    shares = survival(items, grid)
    assert shares == pytest.approx([np.mean([x >= point for x in items]) for point in grid])
    assert survival(items, [-math.inf]).tolist() == [1.0]
    assert (np.diff(survival(items, sorted(grid))) <= 0).all()


def test_what_is_no_log_probability_is_refused() -> None:
    for bad in (0.5, math.nan):
        for call in (
            lambda x: at_least_once(x, 1),
            lambda x: queries_needed(x, 0.5),
            lambda x: is_extractable(x, 1, 0.5),
        ):
            with pytest.raises(ValueError, match="log_p"):
                call(bad)
        with pytest.raises(ValueError, match="log_p"):
            survival([bad], [0.0])
    for bad in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="queries"):
            at_least_once(-1.0, bad)
    for bad in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="probability"):
            queries_needed(-1.0, bad)
