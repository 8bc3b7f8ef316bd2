"""When persons are confirmed: against scipy and every division there is, and by chance at most once in a thousand audits."""

from __future__ import annotations

from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom
from tables import fewest_persons

from auditor.battery.confirmed import CONFIRMED, Confirmed, beyond_chance, chance

RNG = np.random.default_rng
AUDITS = 4000
MOST = int(binom.isf(1e-4, AUDITS, CONFIRMED))
"""More come once in ten thousand runs where each audit confirms somebody with the probability that is promised."""
sizes = st.lists(st.integers(1, 12), min_size=1, max_size=25).map(np.array)


def ones(count):
    return np.ones(count, dtype=np.int64)


@pytest.mark.parametrize("members", [1, 2, 7, 30, 500])
@pytest.mark.parametrize("controls", [1, 3, 30, 2000])
def test_of_persons_with_one_record_each_it_is_the_hypergeometric_probability(members, controls):
    for found in sorted({1, 2, 5, 30, members} & set(range(members + 1))):
        expected = hypergeom.pmf(found, members + controls, members, found)
        assert chance(found, ones(members), ones(controls)) == pytest.approx(expected)
        assert chance(found, 7 * ones(members), 7 * ones(controls)) == pytest.approx(expected)


def test_it_is_the_share_of_all_divisions_in_which_none_is_a_controls():
    persons, found = range(9), {0, 3, 5}
    divisions = [set(members) for members in combinations(persons, 5)]
    assert chance(3, ones(5), ones(4)) == pytest.approx(sum(found <= one for one in divisions) / len(divisions))


def in_order(members, controls, found):
    """The probability, over all orders, that the first are all members', each next one drawn by what is left of the weights."""
    weights, total = [*members, *controls], 0.0
    for order in permutations(range(len(members)), found):
        left, one = float(sum(weights)), 1.0
        for person in order:
            one *= weights[person] / left
            left -= weights[person]
        total += one
    return total


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(1, 4),
    st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(1, 9)), min_size=1, max_size=3),
)
def test_however_the_number_of_records_weighs_it_is_no_smaller_than_the_probability(members, controls, found, parts):
    """Every order of those that come out, for weights that each further record adds no more to: mixtures of min(n, t)."""
    found = min(found, len(members))
    bound = chance(found, np.array(members), np.array(controls)) * (1.0 + 1e-9)

    def weigh(side):
        return [sum(share * min(size, t) for share, t in parts) + 1e-9 for size in side]

    for weight in (weigh, lambda side: [1] * len(side), lambda side: side, lambda side: list(np.sqrt(side))):
        assert in_order(weight(members), weight(controls), found) <= bound


@settings(derandomize=True, deadline=None, max_examples=200)
@given(sizes, sizes, st.integers(-2, 30))
def test_more_persons_are_never_likelier_and_more_controls_never_count_against(members, controls, found):
    here = chance(found, members, controls)
    assert 0.0 <= here <= 1.0
    assert chance(found + 1, members, controls) <= here or found + 1 > len(members)
    assert chance(found, members, np.append(controls, 3)) <= here
    if found <= len(members):
        assert chance(found, np.append(members, 1), controls) >= here
        plain = comb(len(members), max(found, 0)) / comb(len(members) + len(controls), max(found, 0))
        assert here >= plain * (1.0 - 1e-9)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(sizes, sizes, st.integers(-2, 30), st.randoms(use_true_random=False))
def test_all_or_nobody_whatever_the_order_of_the_records(members, controls, found, random):
    sides = [
        [f"{name}{person}" for person, size in enumerate(own) for _ in range(size)]
        for name, own in (("m", members), ("c", controls))
    ]
    expected = found if 0 < found <= len(members) and chance(found, members, controls) <= CONFIRMED else 0
    assert beyond_chance(found, *sides).persons == expected
    for side in sides:
        random.shuffle(side)
    assert beyond_chance(found, *(np.array(side, dtype=object) for side in sides)).persons == expected


def test_without_controls_or_without_anything_found_nobody_is():
    everybody = [f"m{row}" for row in range(1000)]
    for found in (-1, 0, 1, 1000, 1001):
        assert beyond_chance(found, everybody, []) == Confirmed()
        assert beyond_chance(found, [], everybody).persons == 0
    assert beyond_chance(0, everybody, ["c"]) == Confirmed()
    assert beyond_chance(1001, everybody, ["c"]).persons == 0
    assert beyond_chance(1000, everybody, ["c"]).persons == 1000  # 1 of 1001 divisions


@pytest.mark.parametrize(
    ("members", "controls", "least"), [(100, 100, 10), (10, 10, 8), (1000, 1000, 10), (50, 200, 5), (2000, 40, 321)]
)
def test_the_fewest_persons_are_those_of_the_documentation(members, controls, least):
    sides = [f"m{row}" for row in range(members)], [f"c{row}" for row in range(controls)]
    assert fewest_persons(members, controls) == least
    assert beyond_chance(least, *sides).persons == least
    assert beyond_chance(least - 1, *sides).persons == 0


def test_who_came_out_and_is_not_confirmed_is_said_with_the_probability_of_chance():
    members, controls = [f"m{row}" for row in range(100)], [f"c{row}" for row in range(300)]
    for found, whose, likely in ((1, "of one person in", "25.0 %"), (3, "of 3 persons in", "1.53 %")):
        (said,) = beyond_chance(found, members, controls).caveats
        assert whose in said
        assert f"up to {likely}," in said
    for found, likely in ((5, "0.09 %"), (100, "0.001 %")):
        (said,) = beyond_chance(found, members, controls).caveats
        assert said.endswith(f"with a probability of {likely} at most.")


def records_of(rng, count, how):
    """Records of each person of both sides, in all `count` of the members."""
    if how == "one each":
        return ones(count), ones(count)
    if how == "five times as many controls":
        return ones(count), ones(5 * count)
    if how == "a fifth of the controls":
        return ones(count), ones(max(1, count // 5))
    if how == "members have more":
        return rng.geometric(0.1, count), ones(count)
    if how == "controls have more":
        return ones(count), rng.geometric(0.1, count)
    drawn = rng.zipf(1.6, 2 * count).clip(max=200)
    return drawn[:count], drawn[count:]


HOW = (
    *("one each", "five times as many controls", "a fifth of the controls"),
    *("members have more", "controls have more", "few have most"),
)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("alike", [True, False], ids=["a person's records come out together", "each record by itself"])
def test_innocent_models_confirm_somebody_once_in_a_thousand_audits(how, alike):
    """Texts come out whoever they are of, at any rate that there may be; those of a person together or each by itself."""
    for number, count in enumerate((10, 100, 1000)):
        rng = RNG([HOW.index(how), alike, number])
        members, controls = records_of(rng, count, how)
        known = {found: chance(found, members, controls) <= CONFIRMED for found in range(1, 60)}
        for rate in (0.001, 0.01, 0.1, 0.3, 1.0 / count):
            share = [np.full(len(side), rate) if alike else 1.0 - (1.0 - rate) ** side for side in (members, controls)]
            # Where a control came out nobody is confirmed, so only the others are drawn further.
            quiet = rng.binomial(AUDITS, np.prod(1.0 - share[1]))
            found = np.array([int((rng.random(count) < share[0]).sum()) for _ in range(quiet)], dtype=int)
            wrong = sum(one > 0 and known.get(one, True) for one in found)
            assert wrong <= MOST, (count, rate)


def test_the_simulation_sees_a_rule_that_does_not_count_records():
    """Counting persons alone, members with ten records each would be confirmed far more often: so the simulation can fail."""
    rng = RNG(5)
    members, rate, least = 10 * ones(100), 0.01, fewest_persons(100, 100)
    quiet = rng.binomial(AUDITS, (1.0 - rate) ** 100)
    found = [(rng.random(100) < 1.0 - (1.0 - rate) ** members).sum() for _ in range(quiet)]
    assert sum(one >= least for one in found) > 10 * MOST


def test_dependence_between_persons_does_not_matter_where_sides_are_exchangeable():
    """A model that says one text for many persons, and then another: any set that comes out, dealt to the sides at random."""
    rng, wrong = RNG(8), 0
    for _ in range(AUDITS):
        together = int(rng.choice([1, 3, 6, 7, 8, 9, 10, 20, 40]))
        member = rng.permutation(80) < 40
        if member[:together].all():
            wrong += (
                beyond_chance(together, [str(row) for row in range(40)], [f"c{row}" for row in range(40)]).persons > 0
            )
    assert wrong <= MOST
