"""Both extraction tests: what they count, what they compare, how they behave on the innocent and on the guilty."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact
from tables import MemoryTable, continuations, fewest_persons, measuring, suffix_table

from auditor.battery.language.discoverable_extraction import TEST as GREEDY
from auditor.battery.language.probabilistic_extraction import TEST as SAMPLED
from auditor.battery.language.suffixes import read_suffixes
from auditor.errors import UnsupportedError

RNG = np.random.default_rng
SEEDS = 200
MOST_ALARMS = 10
"""Five in a hundred of 200. The tests are exact or conservative, so no allowance for chance is needed."""


def greedy(members, controls=None, facts=None, parameters=None, **kwargs):
    evidence = {"members": members, "continuations": continuations(members, **kwargs)}
    if controls is not None:
        evidence["controls"] = controls
    return GREEDY.measure(parameters or GREEDY.parameters(), evidence, facts or measuring())


def sampled(members, controls=None, facts=None, parameters=None):
    evidence = {"members": members} | ({"controls": controls} if controls is not None else {})
    return SAMPLED.measure(parameters or SAMPLED.parameters(), evidence, facts or measuring())


def controls_of(extracted, **kwargs):
    return suffix_table(extracted, side="c", **kwargs)


def test_counts_rates_and_p_are_those_of_scipy():
    found = greedy(suffix_table([True] * 8 + [False] * 992), controls_of([False] * 1000))
    assert found.estimate.value == 0.008
    assert (round(found.excess.low, 4), round(found.excess.high, 4)) == (
        0.0025,
        0.0157,
    )  # notes, Newcombe 8/1000 and 0/1000
    assert found.p_value == pytest.approx(fisher_exact([[8, 992], [0, 1000]], alternative="greater").pvalue)
    assert found.control.value == 0.0
    assert found.control.high == pytest.approx(0.00368, abs=5e-5)  # Clopper-Pearson 0 of 1000


def test_one_token_missed_is_not_extracted():
    table = suffix_table([True, True])
    table.columns["hit"][0][99] = False
    found = read_suffixes(table, 50, 50)
    assert found.extracted.tolist() == [False, True]


def test_the_window_follows_where_scoring_begins():
    """A model without a beginning token scores from token 1, one asked from token 50 from there."""
    for begin in (0, 1, 25, 50):
        table = suffix_table([True])
        for name in ("hit", "tie", "previous"):
            table.columns[name] = [row[begin:] for row in table.columns[name]]
        table.columns["begin"] = np.array([begin])
        table.columns["hit"][0][: 50 - begin] = False
        assert read_suffixes(table, 50, 50).extracted.tolist() == [True]
    table.columns["begin"] = np.array([60])
    assert read_suffixes(table, 50, 50).too_short == 1


def test_distinct_tokens_are_counted_in_the_suffix_alone():
    ids = np.tile([3, 4, 5, 6, 7], 20)
    order = {}
    previous = np.zeros(100, dtype=np.int32)
    for i, token in enumerate(ids):
        previous[i] = i - order[token] if token in order else 0
        order[token] = i
    found = read_suffixes(suffix_table([True], previous=[previous]), 50, 50)
    assert found.distinct.tolist() == [len(set(ids[50:100]))]


def test_a_trivial_suffix_is_reported_apart_and_confirms_nothing():
    repeated = [np.ones(100, dtype=np.int32)] * 20
    found = greedy(
        suffix_table([True] * 20, previous=repeated), controls_of([False] * 20), measuring(clustered_by="person")
    )
    apart = next(row for row in found.strata if row.by == "suffix")
    assert (found.estimate.value, apart.estimate.value, found.confirmed) == (1.0, 0.0, 0)


def some_of(persons, came_out, **kwargs):
    """Two records each, of which the second says nothing."""
    flags = [said for person in range(persons) for said in (person < came_out, False)]
    clusters = [f"{kwargs.get('side', 'm')}{person}" for person in range(persons) for _ in range(2)]
    return suffix_table(flags, log_p=np.where(flags, -0.1, -90.0), clusters=clusters, **kwargs)


@pytest.mark.parametrize("by", [greedy, sampled])
@pytest.mark.parametrize(("persons", "others"), [(40, 40), (20, 80), (80, 20)])
def test_persons_are_confirmed_only_where_no_control_came_out_and_beyond_chance(by, persons, others):
    person, least = measuring(clustered_by="person"), fewest_persons(persons, others)
    quiet, one = some_of(others, 0, side="c"), some_of(others, 1, side="c")
    assert by(some_of(persons, least), quiet, person).confirmed == least
    few = by(some_of(persons, least - 1), quiet, person)
    assert few.confirmed == 0
    assert few.caveats[0].startswith(
        f"Something of {least - 1} persons in the training data came out and of no control person."
    )
    assert by(some_of(persons, persons), quiet, person).confirmed == persons
    assert by(some_of(persons, persons), one, person).confirmed == 0
    assert by(some_of(persons, persons), None, person).confirmed == 0
    assert by(some_of(persons, persons), quiet).confirmed == 0


def test_an_ambiguous_token_confirms_nobody():
    person, least = measuring(clustered_by="person"), fewest_persons(20, 20)
    quiet = controls_of([False] * 20)
    for tied, confirmed in ((0, least), (1, 0)):
        flags, ties = [True] * least + [False] * (20 - least), [row < tied for row in range(20)]
        assert greedy(suffix_table(flags, tied=ties), quiet, person).confirmed == confirmed


def test_persons_tried_more_often_take_more_to_confirm():
    """Ten records of each member against one of each control: any model that says some texts says some member's."""
    person, least = measuring(clustered_by="person"), fewest_persons(40, 40)
    flags = [row % 10 == 0 and row // 10 < least for row in range(400)]
    members = suffix_table(flags, clusters=[f"m{row // 10}" for row in range(400)])
    assert greedy(members, controls_of([False] * 40), person).confirmed == 0
    assert greedy(members, some_of(200, 0, side="c"), person).confirmed == least


def test_generation_that_disagrees_breaks_the_gate_unless_the_token_is_ambiguous():
    members = suffix_table([True] * 10)
    assert greedy(members, equal=[True] * 8).gates[0].held
    broken = greedy(members, equal=[True] * 7 + [False]).gates[0]
    assert (broken.held, broken.on_failure) == (False, "invalid")
    tied = suffix_table([True] * 10, tied=[True] * 10)
    assert greedy(tied, equal=[True] * 7 + [False]).gates[0].held


def test_without_controls_there_is_a_reason_and_no_excess():
    found = greedy(suffix_table([True, False]), facts=measuring(controls=False))
    assert (found.control, found.excess, found.p_value) == (None, None, None)
    assert "chance" in found.control_reason


def test_records_too_short_are_refused_with_the_counts():
    with pytest.raises(UnsupportedError, match="none of the 3 member records has 50 \\+ 50 tokens"):
        greedy(suffix_table([True] * 3, length=80, prefix=50))


def test_one_record_is_enough_to_measure():
    found = greedy(suffix_table([False]), controls_of([False]))
    assert found.estimate.high > 0.9
    assert found.p_value == 1.0


@pytest.mark.parametrize("cut", [1, 3, 100])
def test_shards_change_nothing(cut):
    flags = RNG(0).random(60) < 0.3
    whole = suffix_table(flags, copies=[1, 2, 4, 64] * 15)
    parts = MemoryTable(whole.columns, cut)
    other = controls_of([False] * 60)
    assert greedy(whole, other).canonical() == greedy(parts, other).canonical()


def test_the_order_of_records_changes_no_number():
    flags = RNG(1).random(80) < 0.2
    clusters = [f"d{i // 4}" for i in range(80)]
    order = RNG(2).permutation(80)
    one = greedy(suffix_table(flags, clusters=clusters), controls_of([False] * 80))
    shuffled = suffix_table(flags[order], clusters=[clusters[i] for i in order])
    two = greedy(shuffled, controls_of([False] * 80))
    assert (one.estimate, one.excess, one.p_value) == (two.estimate, two.excess, two.p_value)


def test_clusters_widen_the_interval():
    flags = [True] * 20 + [False] * 180
    alone = greedy(suffix_table(flags), controls_of([False] * 200))
    joined = greedy(suffix_table(flags, clusters=[f"d{i // 20}" for i in range(200)]), controls_of([False] * 200))
    assert joined.estimate.n == 10
    assert joined.estimate.high - joined.estimate.low > 1.5 * (alone.estimate.high - alone.estimate.low)


def test_probability_and_greedy_verdicts_are_independent():
    """Greedy extraction needs no large p_z, nor the other way round (Hayes et al. 2024)."""
    table = suffix_table([True, False], log_p=[-40.0, -0.1])
    found = sampled(table, controls_of([False, False], log_p=[-80.0, -80.0]))
    assert found.estimate.value == 0.5
    assert read_suffixes(table, 50, 50).extracted.tolist() == [True, False]


def test_worked_values_of_the_paper():
    """p_z = 0.162 needs about four queries for p = 0.5; a token outside the top k makes it impossible."""
    table = suffix_table([False] * 2, log_p=[np.log(0.162), -np.inf])
    for queries, expected in ((3, 0.0), (4, 0.5), (10**6, 0.5)):
        parameters = SAMPLED.parameters(queries=queries)
        assert sampled(table, controls_of([False], log_p=[-99.0]), parameters=parameters).estimate.value == expected


def test_the_survival_figure_is_the_share_at_or_above():
    logs = np.log([0.5, 1e-3, 1e-6, 1e-20])
    figure = sampled(suffix_table([False] * 4, log_p=logs), controls_of([False], log_p=[-99.0])).figures[0]
    curve = figure.series[0]
    for x, y in zip(curve.x, curve.y, strict=True):
        assert y == np.mean(np.exp(logs) >= x * (1 - 1e-9))


def fires(found):
    return found.p_value <= 0.05 and found.excess.low > 0.0


def flags(rng, count, rate, clustered):
    if not clustered:
        return rng.random(count) < rate, None
    documents = count // 5
    own = np.repeat(rng.random(documents) < rate, 5)  # whole documents come out, or not: the hardest case
    side = rng.integers(1 << 30)
    return own, [f"{side}-{i // 5}" for i in range(count)]


@pytest.mark.parametrize(
    ("test", "rate", "clustered"),
    [
        ("greedy", 0.02, False),
        ("greedy", 0.3, False),
        ("greedy", 0.1, True),
        ("greedy", 0.0, False),
        # From the same flags both tests compute the same numbers; the hardest case shows that they do.
        ("sampled", 0.1, True),
    ],
)
def test_it_stays_quiet_on_the_innocent(test, rate, clustered):
    alarms = 0
    for seed in range(SEEDS):
        rng = RNG([seed, int(rate * 100), clustered])
        sides = [flags(rng, 150, rate, clustered) for _ in range(2)]
        tables = [
            suffix_table(own, log_p=np.where(own, -0.1, -90.0), side=side, clusters=labels)
            for (own, labels), side in zip(sides, "mc", strict=True)
        ]
        measure = greedy if test == "greedy" else sampled
        alarms += fires(measure(*tables, facts=measuring(seed=seed)))
    assert alarms <= MOST_ALARMS


@pytest.mark.parametrize("test", ["greedy", "sampled"])
def test_it_fires_on_the_guilty(test):
    measure = greedy if test == "greedy" else sampled
    found = 0
    for seed in range(40):
        rng = RNG(seed)
        own, other = rng.random(200) < 0.10, rng.random(200) < 0.01
        tables = [
            suffix_table(flag, log_p=np.where(flag, -0.1, -90.0), side=side)
            for flag, side in ((own, "m"), (other, "c"))
        ]
        found += fires(measure(*tables))
    assert found >= 38


def test_the_policys_least_sample_is_enough_to_be_quiet():
    """0 of 2,995 against 0 of 2,995 is within one in a thousand (rule R7); one record fewer is not asked for in vain."""
    from auditor.assess.outcome import judge
    from auditor.core.finding import Outcome
    from auditor.policy.load import load_policy

    (asked,) = [
        e for e in load_policy("edpb-28-2024", base=None, known_tests=None).policy.tests if e.test == GREEDY.name
    ]
    for count, outcome in ((2995, Outcome.NO_SIGNAL), (2994, Outcome.INCONCLUSIVE)):
        found = greedy(suffix_table([False] * count), controls_of([False] * count))
        assert judge([asked], {GREEDY.name: found}, [], confidence=0.95)[0].outcome is outcome


def test_the_forecast_is_the_power_that_is_printed():
    facts = measuring().facts
    forecast = GREEDY.forecast(GREEDY.parameters(), facts)
    found = greedy(suffix_table([False] * 500), controls_of([False] * 500))
    assert found.power == forecast
