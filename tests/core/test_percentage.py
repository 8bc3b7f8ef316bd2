"""A ratio is said in one form, with three to four digits and the same blank."""

from __future__ import annotations

import pytest

from auditor.core.percentage import percent


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0.00 %"),
        (0.00012, "0.012 %"),
        (0.0005, "0.05 %"),
        (0.0134, "1.34 %"),
        (0.0999, "9.99 %"),
        (0.1, "10.0 %"),
        (0.403, "40.3 %"),
        (1.0, "100.0 %"),
        (-0.0123, "-1.23 %"),
    ],
)
def test_a_ratio_is_said_with_its_digits(value, said):
    assert percent(value) == said
