"""What both tests of open generations make of their evidence: by hand, over innocent audits, and with power."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from generation_tables import floor_table, generation_table, innocent_runs
from scipy.stats import fisher_exact
from tables import fewest_persons, measuring

from auditor.assess.instrument import fires
from auditor.battery.language.corpus_match import TEST as MATCH
from auditor.battery.language.extracted import read_generations
from auditor.battery.language.open_generation import TEST as OPEN
from auditor.battery.language.open_generation import membership_scores, top_ranked
from auditor.errors import IntegrityError, UnsupportedError
from auditor.statistics.richness import chao1, unseen_mass

BOTH = pytest.mark.parametrize("test", [MATCH, OPEN], ids=lambda test: test.name)


def measured(test, table, floor=None, **facts):
    parameters = {name: facts.pop(name) for name in list(facts) if name in test.parameters.model_fields}
    if floor is None:
        sizes = [int(table.columns[f"{side}_records"][0]) for side in ("member", "control")]
        floor = floor_table(*sizes)
    evidence = {"generations": table, "floor" if test is MATCH else "listing": floor}
    return test.measure(test.parameters(**parameters), evidence, measuring(**facts))


def stratum(found, label):
    return next(part for part in found.strata if label in part.label)


def copying(units=30, generations=120):
    """Generations of which every fourth copies a member, the others nothing; what is copied is likelier."""
    runs = [[("member", (row // 4) % units, 60 + row % 30)] if row % 4 == 0 else [] for row in range(generations)]
    scores = {"logprob": np.array([-0.5 if row else -3.0 for row in map(bool, runs)])}
    return generation_table(runs, scores=scores)


@BOTH
def test_documents_are_counted_and_compared_by_fishers_test(test):
    found = measured(test, copying())
    assert found.statistic == "excess_rate"
    assert found.estimate.value == pytest.approx(30 / 200)
    assert found.control.value == 0.0
    assert found.p_value == pytest.approx(fisher_exact([[30, 170], [0, 200]], alternative="greater")[1])
    assert found.excess.low > 0.0
    assert fires(found)
    assert "30 of 200 members" in found.answer


@BOTH
def test_one_document_that_comes_out_a_hundred_times_is_one(test):
    runs = [[("member", 7, 80)] for _ in range(100)]
    found = measured(test, generation_table(runs))
    assert found.estimate.value == 1 / 200
    assert found.p_value == pytest.approx(0.5)
    assert not fires(found)


@BOTH
def test_what_stands_on_both_sides_counts_on_both(test):
    runs = [[("member", row, 60, 40, True), ("control", row, 60, 40, True)] for row in range(40)]
    found = measured(test, generation_table(runs), top=100) if test is OPEN else measured(test, generation_table(runs))
    assert found.excess.value == 0.0
    assert found.p_value > 0.4
    if test is MATCH:
        assert any("stand in controls, too" in caveat for caveat in found.caveats)


@BOTH
@pytest.mark.parametrize(("length", "distinct", "count"), [(49, 40, 0), (50, 40, 1), (50, 9, 0), (50, 10, 1)])
def test_the_criterion_is_fifty_tokens_ten_of_them_different(test, length, distinct, count):
    runs = [[("member", 3, length, distinct)], *([[]] * 39)]
    found = measured(test, generation_table(runs))
    assert found.estimate.value == count / 200


@BOTH
def test_false_alarms_over_innocent_audits(test):
    alarms = []
    for seed in range(200):
        rng = np.random.default_rng([3, seed])
        runs = innocent_runs(rng)
        scores = {name: rng.normal(-2, 0.4, len(runs)).clip(max=-0.1) for name in ("logprob", "window", "lowercase")}
        found = (
            measured(test, generation_table(runs, scores=scores), top=60)
            if test is OPEN
            else measured(test, generation_table(runs))
        )
        alarms.append(found.p_value <= 0.05 and found.excess.low > 0.0)
        assert found.excess.low <= found.excess.value <= found.excess.high
    assert np.mean(alarms) <= 0.05


def test_a_small_excess_is_found_with_enough_documents():
    fired = 0
    for seed in range(20):
        rng = np.random.default_rng([4, seed])
        runs = [[("member", int(rng.integers(2000)), 60)] if rng.random() < 0.3 else [] for _ in range(200)]
        fired += fires(measured(MATCH, generation_table(runs, units=(2000, 2000, 0))))
    assert fired >= 19


def test_what_generations_begin_with_is_told_apart():
    runs = [[("member", 1, 60)], [("member", 2, 60)], [("control", 0, 120)], [("member", 1, 110)]] * 10
    kinds = ["top-k", "decaying", "prompted", "prompted"] * 10
    sides = ["", "", "controls", "members"] * 10
    found = measured(MATCH, generation_table(runs, kinds=kinds, sides=sides, clusters=["", "", "c1", "m1"] * 10))
    assert stratum(found, "nothing").estimate.value == 1 / 200
    assert stratum(found, "decaying").estimate.value == 1 / 200
    assert stratum(found, "of a member").estimate.value == 1 / 200
    assert stratum(found, "of a control").control.value == 1 / 200
    assert stratum(found, "100 tokens").estimate.value == 1 / 200
    assert not any("150 tokens" in part.label for part in found.strata)


def test_the_share_of_tokens_is_clustered_by_what_generations_begin_with():
    runs = [[("member", 0, 64)]] * 30 + [[]] * 30
    table = generation_table(runs, clusters=["one"] * 30 + [f"c{n}" for n in range(30)])
    share = stratum(measured(MATCH, table), "generated tokens")
    assert share.estimate.value == pytest.approx(0.25)
    assert share.estimate.n == 31
    assert share.estimate.high > 0.6
    assert share.control.value == 0.0


def test_what_is_left_is_counted_in_documents():
    runs = (
        [[("member", unit, 60)] for unit in (0, 0, 0, 1, 1, 2, 3, 4)]
        + [[("member", 5, 50), ("member", 5, 60)]]
        + [[]] * 20
    )
    found = measured(MATCH, generation_table(runs))
    counts = [3, 2, 1, 1, 1, 1]  # two runs of one generation from one document are one draw
    left = stratum(found, "Good-Turing")
    assert left.estimate.value == pytest.approx(unseen_mass(counts).value)
    assert stratum(found, "Chao1").estimate.value == pytest.approx(chao1(counts).value)
    none = measured(MATCH, generation_table([[]] * 30))
    assert not any(part.by == "left" for part in none.strata)


def test_more_cannot_come_out_than_there_is():
    found = measured(
        MATCH, generation_table([[("member", unit, 60)] for unit in range(20)] + [[]] * 9, units=(25, 25, 0))
    )
    assert stratum(found, "Chao1").estimate.value <= 25
    assert stratum(found, "Chao1").estimate.high <= 25


def test_members_beyond_the_compared_are_reported_apart():
    runs = [[("other", unit, 70)] for unit in range(30)]
    found = measured(MATCH, generation_table(runs, units=(50, 50, 300)))
    assert found.estimate.value == 0.0
    assert found.p_value == 1.0
    assert stratum(found, "not compared").estimate.value == pytest.approx(0.1)


def test_the_floor_stands_beside_it():
    found = measured(MATCH, generation_table([[]] * 30), floor_table(longest=[60, 5, 5, 5], held_out=[70, 55, 5, 5]))
    floor = stratum(found, "held-out texts")
    assert (floor.estimate.value, floor.control.value) == (0.5, 0.25)
    assert [series.role for series in found.figures[0].series] == ["members", "controls", "reference"]


def test_the_figure_is_the_share_at_least_as_long():
    runs = [[("member", 0, length)] for length in (10, 20, 40, 80)] * 10
    (figure,) = measured(MATCH, generation_table(runs)).figures
    members = figure.series[0]
    for length, share, low, high in zip(members.x, members.y, members.low, members.high, strict=True):
        assert share == np.mean([own >= length for own in (10, 20, 40, 80)])
        assert low <= share <= high
    assert all(later <= earlier for earlier, later in zip(members.y, members.y[1:], strict=False))


@BOTH
def test_persons_are_confirmed_only_beyond_doubt(test):
    least, asked = fewest_persons(50, 50), {"top": 100} if test is OPEN else {}

    def confirmed(runs, **facts):
        rows = [*runs, *([[]] * (200 - len(runs)))]  # of these a quarter is picked
        return measured(test, generation_table(rows, units=(50, 50, 50)), **asked, **facts).confirmed

    def members(count, *more, common=False):
        return [[("member", unit, 60, 40, common)] for unit in (*range(count), *more)]

    person = {"clustered_by": "person"}
    assert confirmed(members(least, 0, 1), **person) == least
    assert confirmed(members(least - 1, 0, 1), **person) == 0
    assert confirmed(members(20)) == 0
    assert confirmed([*members(20), [("control", 1, 60)]], **person) == 0
    assert confirmed([*members(20), [("control", 1, 60, 5)]], **person) == 20  # it is trivial
    assert confirmed(members(20, common=True), **person) == 0
    # Members beyond those compared count once members are beyond chance, and never by themselves.
    beyond = [[("other", unit, 60)] for unit in range(20)]
    assert confirmed(beyond, **person) == 0
    assert confirmed([*beyond, *members(least)], **person) == 20


@BOTH
def test_a_model_that_says_one_thing_was_not_asked(test):
    table = generation_table([[]] * 100, groups=[row % 8 for row in range(100)])
    (gate,) = measured(test, table).gates
    assert not gate.held
    assert gate.on_failure == "inconclusive"
    assert measured(test, copying()).gates[0].held


@BOTH
def test_shards_make_no_difference(test):
    rng = np.random.default_rng(8)
    runs = innocent_runs(rng, generations=50)
    whole, cut = (measured(test, generation_table(runs, cut=size)) for size in (1 << 30, 7))
    assert whole.canonical() == cut.canonical()


@BOTH
def test_exhibits_are_masked_and_of_different_documents(test):
    found = measured(test, copying())
    assert 0 < len(found.exhibits) <= 5
    assert len({exhibit.record for exhibit in found.exhibits}) == len(found.exhibits)
    assert all("\u2588" in exhibit.excerpt for exhibit in found.exhibits)


def test_scores_are_those_of_the_paper():
    scores = {
        "logprob": np.array([-2.0, -1.0]),
        "lowercase": np.array([-3.0, -1.0]),
        "window": np.array([-0.5, -0.7]),
        "zlib_bytes": np.array([300, 100]),
        "reference_ab": np.array([-4.0, -1.5]),
    }
    found = membership_scores(generation_table([[], []], scores=scores))
    assert {name: score.tolist() for name, score in found.items()} == {
        "perplexity": [-2.0, -1.0],
        "reference ratio": [2.0, 1.5],
        "zlib ratio": [150.0, 100.0],
        "lowercase ratio": [1.5, 1.0],
        "window": [-0.5, -0.7],
    }
    two = membership_scores(
        generation_table([[]], scores={"reference_a": np.array([-1.0]), "reference_b": np.array([-2.0])})
    )
    assert len(two) == 6
    certain = membership_scores(generation_table([[]], scores={"logprob": np.array([0.0])}))
    assert all(np.isfinite(score).all() for score in certain.values())


def test_a_text_that_repeats_another_is_not_picked():
    first = np.array([True, False, True, True, True, True, True, True, True])
    score = np.array([0.1, 9.0, 0.5, 0.5, 0.9, 0.0, 0.0, 0.0, 0.0])
    assert top_ranked(score, first, 100).tolist() == [4, 2]
    assert top_ranked(score, first, 1).tolist() == [4]
    with pytest.raises(UnsupportedError, match="too few"):
        top_ranked(score, first & (np.arange(9) < 3), 100)


def test_only_what_scores_pick_counts():
    runs = [[("member", row, 60)] if row < 20 else [] for row in range(80)]
    unlikely = {name: np.array([-4.0] * 20 + [-1.0] * 60) for name in ("logprob", "window")}
    unlikely |= {"lowercase": np.array([-1.0] * 20 + [-3.0] * 60)}
    table = generation_table(runs, scores=unlikely | {"zlib_bytes": np.array([1] * 20 + [300] * 60)})
    found = measured(OPEN, table)
    assert found.estimate.value == 0.0
    assert stratum(found, "none: all").estimate.value == pytest.approx(20 / 80)
    likely = {"logprob": np.array([-0.1] * 20 + [-2.0] * 60)}
    assert stratum(measured(OPEN, generation_table(runs, scores=likely)), "perplexity").estimate.value == 1.0


def test_nothing_generated_is_no_measurement():
    with pytest.raises(UnsupportedError, match="no generation"):
        read_generations(generation_table([]))


@BOTH
def test_who_cannot_be_asked_is_told_why(test):
    facts = measuring().facts
    with pytest.raises(UnsupportedError, match="sampling"):
        test.needs(test.parameters(), facts)
    able = facts.subject.model_copy(
        update={"model": facts.subject.model.model_copy(update={"capabilities": ("samples-tokens",)}), "controls": None}
    )
    object.__setattr__(facts, "subject", able)
    with pytest.raises(UnsupportedError, match="no controls"):
        test.needs(test.parameters(), facts)


@BOTH
def test_records_of_one_person_are_not_independent(test):
    runs = [[("member", number, 60)] for number in range(12)] + [[]] * 28
    single = (
        measured(test, generation_table(runs, units=(40, 40, 0)), top=100)
        if test is OPEN
        else measured(test, generation_table(runs, units=(40, 40, 0)))
    )
    clusters = [f"m{number // 12}" for number in range(40)] + [f"c{number // 12}" for number in range(40)]
    found = measured(test, generation_table(runs, units=(40, 40, 0)), floor_table(40, 40, clusters=clusters))
    assert found.estimate.value == single.estimate.value
    assert found.estimate.n == 4
    assert found.excess.low < single.excess.low
    assert found.p_value > 0.2 or test is OPEN


def test_a_sampled_side_with_smaller_clusters_raises_no_alarm():
    """Controls of which every second record is left out: clusters came out less often, records as often."""
    alarms = []
    for seed in range(200):
        rng = np.random.default_rng([6, seed])
        out = np.repeat(rng.random(150) < 0.15, 4)  # whole documents come out or none of it
        members, controls = out[:200], out[200:][::2]
        clusters = [f"m{number // 4}" for number in range(200)] + [f"c{number // 2}" for number in range(200)]
        runs = [
            [(side, int(number), 60)]
            for side, flags in (("member", members), ("control", controls))
            for number in np.flatnonzero(flags)
        ]
        found = measured(MATCH, generation_table(runs + [[]] * 20), floor_table(clusters=clusters))
        alarms.append(found.p_value <= 0.05 and found.excess.low > 0.0)
    assert np.mean(alarms) <= 0.06


def test_a_listing_of_other_records_is_refused():
    with pytest.raises(IntegrityError, match="listed"):
        measured(MATCH, copying(), floor_table(199, 200))


def test_a_server_that_draws_without_scores_is_asked_for_a_corpus_match():
    facts = measuring().facts
    for capabilities, asked in ((("samples-tokens",), {"scored": False}), (("samples-tokens", "scores-tokens"), {})):
        model = facts.subject.model.model_copy(update={"capabilities": capabilities})
        able = replace(facts, subject=facts.subject.model_copy(update={"model": model}))
        plain = MATCH.needs(MATCH.parameters(), able)["generations"].parameters
        assert {name: value for name, value in plain.items() if name == "scored"} == asked
        assert "scored" not in OPEN.needs(OPEN.parameters(), able)["generations"].parameters
