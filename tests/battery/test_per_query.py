"""Which numbers of a test are of one query: those alone grow with the number of queries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from generation_tables import floor_table, generation_table
from matching_tables import blind, made_table, real_table
from scipy.stats import binomtest
from tables import measuring, suffix_table

from auditor.battery.diffusion.extraction import TEST as IMAGES
from auditor.battery.language.corpus_match import TEST as MATCH
from auditor.battery.language.open_generation import TEST as OPEN
from auditor.battery.language.probabilistic_extraction import TEST as SAMPLED
from auditor.core.finding import Estimate, PerQuery


@pytest.mark.parametrize(
    ("test", "listing"), [(MATCH, "floor"), (OPEN, "listing")], ids=["corpus-match", "open-generation"]
)
def test_a_generation_is_a_query_and_a_record_is_not(test, listing):
    """Ten of a hundred generations say the same one of 200 members: a tenth of queries, a two-hundredth of records."""
    table = generation_table([[("member", 7, 80)] if row < 10 else [] for row in range(100)])
    found = test.measure(test.parameters(), {"generations": table, listing: floor_table(200, 200)}, measuring())
    (one,) = found.per_query
    assert found.estimate.value == 1 / 200
    assert (one.estimate.value, one.control.value) == (10 / 100, 0.0)
    exact = binomtest(10, 100).proportion_ci(0.95)
    assert (one.estimate.low, one.estimate.high) == pytest.approx((exact.low, exact.high))
    assert "100 from the beginning" in one.asked


def test_an_image_made_is_a_query():
    made = made_table(([0, 0, 1, 2], [0, 0, 0, 0]), [0.05, 0.06, 0.3, 0.3], [0.3, 0.3, 0.05, 0.3])
    evidence = {"generations": made, "real": real_table(apart=0.2), "blind": blind(np.random.default_rng(0))}
    found = IMAGES.measure(IMAGES.parameters(count=4, quantile=0.01), evidence, measuring())
    (one,) = found.per_query
    assert (one.estimate.value, one.control.value) == (2 / 4, 1 / 4)
    assert found.estimate.value == 1 / 100


def test_the_probability_of_sampling_the_likeliest_suffix_is_of_one_query_and_has_no_interval():
    table = suffix_table([True] * 3, log_p=[-5.0, -0.7, -90.0])
    controls = suffix_table([False] * 3, log_p=[-700.0, -40.0, -800.0], side="c")
    found = SAMPLED.measure(SAMPLED.parameters(), {"members": table, "controls": controls}, measuring())
    (one,) = found.per_query
    assert one.estimate.low == one.estimate.value == one.estimate.high == pytest.approx(math.exp(-0.7))
    assert one.control.value == pytest.approx(math.exp(-40.0))


@pytest.mark.parametrize(
    ("low", "value", "high", "unit"), [(-0.1, 0.0, 0.1, "ratio"), (0.0, 0.5, 1.5, "ratio"), (0, 0.5, 1, "bit")]
)
def test_what_is_no_probability_is_refused(low, value, high, unit):
    wrong = Estimate(value=value, low=low, high=high, level=0.95, unit=unit, method="m", n=1)
    with pytest.raises(ValueError, match="from 0 to 1"):
        PerQuery(what="w", asked="a", estimate=wrong)
