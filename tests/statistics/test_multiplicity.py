from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.statistics.multiplicity import bonferroni, holm

fixed = settings(derandomize=True, deadline=None, max_examples=100)
p_values = st.lists(st.floats(0, 1), max_size=12)


def test_holms_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert bonferroni([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.04, 0.16, 0.12, 0.02))
    assert holm([]) == ()
    assert bonferroni([]) == ()


@fixed
@given(p_values, st.randoms(use_true_random=False))
def test_order_of_input_is_kept(p: list[float], random: object) -> None:
    adjusted = holm(p)
    order = list(range(len(p)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert holm([p[i] for i in order]) == tuple(adjusted[i] for i in order)
    for raw, one, other in zip(p, adjusted, bonferroni(p), strict=True):
        assert raw <= one <= other <= 1
    ranked = sorted(range(len(p)), key=lambda i: p[i])
    assert [adjusted[i] for i in ranked] == sorted(adjusted)


@fixed
@given(p_values.filter(bool), st.sampled_from([0.01, 0.05, 0.2]))
def test_rejections_are_those_of_the_sequential_rule(p: list[float], alpha: float) -> None:
    rejected, left = set(), len(p)
    for i in sorted(range(len(p)), key=lambda i: p[i]):
        if p[i] * left > alpha:
            break
        rejected.add(i)
        left -= 1
    assert {i for i, x in enumerate(holm(p)) if x <= alpha} == rejected


@pytest.mark.parametrize("bad", [[math.nan], [-0.1], [1.1]])
def test_what_is_no_p_value_is_refused(bad: list[float]) -> None:
    for call in (holm, bonferroni):
        with pytest.raises(ValueError, match="p-value"):
            call(bad)
