from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from auditor.statistics.interval import (
    Interval,
    clopper_pearson,
    clopper_pearson_lower,
    clopper_pearson_upper,
    mover_difference,
    newcombe,
    wilson,
)

fixed = settings(derandomize=True, deadline=None, max_examples=60)


@st.composite
def counts(draw: st.DrawFn, most: int = 400) -> tuple[int, int]:
    n = draw(st.integers(1, most))
    return draw(st.integers(0, n)), n


# Values printed in the method notes, recomputed there with a second program.
@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 100, 0.0, 0.0362),
        (0, 1000, 0.0, 0.00368),
        (0, 3000, 0.0, 0.00123),
        (10, 1000, 0.0048, 0.0183),
        (150, 1000, 0.1284, 0.1737),
    ],
)
def test_clopper_pearson_agrees_with_published_table(k: int, n: int, low: float, high: float) -> None:
    interval = clopper_pearson(k, n)
    assert interval.value == k / n
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


@pytest.mark.parametrize(("n", "high"), [(100, 0.0295), (1000, 0.00299), (3000, 0.00100)])
def test_one_sided_bound_at_zero_is_the_rule_of_three(n: int, high: float) -> None:
    assert clopper_pearson_upper(0, n).high == pytest.approx(high, abs=5e-5)
    assert clopper_pearson_upper(0, n).high == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-9)


@fixed
@given(counts(), st.sampled_from([0.8, 0.95, 0.99]))
def test_agrees_with_scipy(kn: tuple[int, int], level: float) -> None:
    k, n = kn
    for ours, name in ((clopper_pearson, "exact"), (wilson, "wilson")):
        theirs = binomtest(k, n).proportion_ci(level, method=name)
        assert ours(k, n, level)[1:3] == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    less = binomtest(k, n, alternative="less").proportion_ci(level, method="exact")
    greater = binomtest(k, n, alternative="greater").proportion_ci(level, method="exact")
    assert clopper_pearson_upper(k, n, level).high == pytest.approx(less.high, abs=1e-9)
    assert clopper_pearson_lower(k, n, level).low == pytest.approx(greater.low, abs=1e-9)


@fixed
@given(st.floats(0, 1), st.floats(0.5, 1e6), st.floats(0.01, 0.999))
def test_bounds_enclose_the_rate_for_effective_counts(share: float, n: float, level: float) -> None:
    k = min(n, share * n)
    for method in (clopper_pearson, clopper_pearson_upper, clopper_pearson_lower, wilson):
        interval = method(k, n, level)
        assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0


@fixed
@given(counts(150))
def test_bounds_grow_with_successes(kn: tuple[int, int]) -> None:
    k, n = kn
    if k < n:
        for method in (clopper_pearson, wilson):
            assert method(k, n).low <= method(k + 1, n).low
            assert method(k, n).high <= method(k + 1, n).high
    assert clopper_pearson(k, n).low == pytest.approx(1 - clopper_pearson(n - k, n).high, abs=1e-12)


@pytest.mark.parametrize("p", [0.001, 0.03, 0.5, 0.77])
@pytest.mark.parametrize("n", [1, 7, 60])
def test_clopper_pearson_covers_at_least_its_level_by_enumeration(n: int, p: float) -> None:
    covered = sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k)
        for k in range(n + 1)
        if clopper_pearson(k, n).low <= p <= clopper_pearson(k, n).high
    )
    assert covered >= 0.95 - 1e-12


@pytest.mark.parametrize(
    ("data", "value", "low", "high", "digits"),
    [
        ((400, 1000, 60, 1000), 0.340, 0.306, 0.373, 5e-4),
        ((8, 1000, 0, 1000), 0.008, 0.0025, 0.0157, 1e-4),
        ((3, 1000, 0, 1000), 0.003, -0.0013, 0.0088, 5e-5),
        # Newcombe (1998), table II: the example 56/70 - 48/80, method 10.
        ((56, 70, 48, 80), 0.2, 0.0524, 0.3339, 5e-5),
    ],
)
def test_newcombe_agrees_with_published_values(
    data: tuple[int, int, int, int], value: float, low: float, high: float, digits: float
) -> None:
    interval = newcombe(*data)
    assert interval.value == pytest.approx(value, abs=1e-12)
    assert interval.low == pytest.approx(low, abs=digits)
    assert interval.high == pytest.approx(high, abs=digits)


@fixed
@given(counts(), counts())
def test_newcombe_is_antisymmetric_and_inside_its_range(first: tuple[int, int], second: tuple[int, int]) -> None:
    there, back = newcombe(*first, *second), newcombe(*second, *first)
    assert there.value == -back.value
    assert there.low == pytest.approx(-back.high)
    assert -1.0 - 1e-12 <= there.low <= there.value <= there.high <= 1.0 + 1e-12
    assert there.high > there.low


@fixed
@given(counts(), counts())
def test_mover_never_lies_outside_the_difference_of_ends(first: tuple[int, int], second: tuple[int, int]) -> None:
    a, b = clopper_pearson(*first), clopper_pearson(*second)
    difference = mover_difference(a, b)
    assert a.low - b.high <= difference.low + 1e-12
    assert difference.high <= a.high - b.low + 1e-12
    assert mover_difference(a, Interval(0.0, 0.0, 0.0, 0.95, "known"))[:3] == pytest.approx(a[:3])


@pytest.mark.parametrize("method", [clopper_pearson, clopper_pearson_upper, clopper_pearson_lower, wilson])
@pytest.mark.parametrize(
    ("k", "n", "level"),
    [
        (1, 0, 0.95),
        (-1, 3, 0.95),
        (4, 3, 0.95),
        (math.nan, 3, 0.95),
        (1, math.inf, 0.95),
        (1, 3, 1.0),
        (1, 3, math.nan),
    ],
)
def test_impossible_counts_are_refused(method: object, k: float, n: float, level: float) -> None:
    with pytest.raises(ValueError, match=r"trials|level"):
        method(k, n, level)  # type: ignore[operator]


def test_mover_refuses_intervals_it_cannot_subtract() -> None:
    with pytest.raises(ValueError, match="same level"):
        mover_difference(clopper_pearson(1, 3, 0.9), clopper_pearson(1, 3, 0.95))
    with pytest.raises(ValueError, match="finite"):
        mover_difference(Interval(1, 0, math.inf, 0.95, ""), clopper_pearson(1, 3))
