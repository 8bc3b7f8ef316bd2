"""Which persons' identifiers come out: innocent tables raise no alarm, what came out does, and what does not count does not."""

from __future__ import annotations

import numpy as np
import pytest
from tables import LISTS, MemoryTable, fewest_persons, measuring

from auditor.assess.instrument import fires
from auditor.battery.language.identified import NAMES, read_identifiers
from auditor.battery.language.person_outcome import TYPES, rank_p_values
from auditor.battery.language.personal_data import TEST, Parameters
from auditor.errors import IntegrityError, UnsupportedError
from auditor.observers.recognizers import KINDS
from auditor.statistics.exposure import fisher_combination

LISTS.update(
    dict.fromkeys(
        (
            "kind", "number", "characters", "place", "sampled", "samples", "rank", "candidates", "identifiers", "identifier_kinds",
            "identifier_other",
        ),
        np.int32,
    )
    | dict.fromkeys(("unique", "played", "given", "equal", "identifier_given", "identifier_known"), np.bool_)
    | {"logprob": np.float64}
)  # fmt: skip
EMAIL, PHONE, IBAN, CARD = (TYPES.index(name) for name in ("email", "phone", "iban", "payment_card"))


def listing(rows, cut=1 << 30, copies=None):
    """Records with identifiers.

    Args:
        rows: For each record: side, cluster and the identifiers as dictionaries of what is not usual.
    """
    usual = {
        "kind": CARD,
        "characters": 16,
        "place": 100,
        "unique": True,
        "played": True,
        "given": False,
        "logprob": -40.0,
        "equal": False,
        "sampled": 0,
        "samples": 8,
        "rank": 50,
        "candidates": 100,
    }
    count, number = len(rows), 0
    columns = {
        "id": np.array([f"r{i}" for i in range(count)], dtype=object),
        "cluster": np.array([row[1] for row in rows], dtype=object),
        "source": np.array([""] * count, dtype=object),
        "copies": np.array(copies or [1] * count),
        "member": np.array([row[0] == "m" for row in rows]),
    }
    lists = {name: [] for name in (*usual, "number")}
    for row in rows:
        filled = []
        for one in row[2]:
            filled.append(usual | {"number": number} | one)
            number += 1
        for name, values in lists.items():
            values.append(np.array([one[name] for one in filled], dtype=LISTS[name]))
    return MemoryTable(columns | lists, cut)


def generations(mentions, count=200, groups=None, cut=1 << 30):
    """Open generations; mentions are row, number, type, given, other and known."""
    lists = {
        name: [[] for _ in range(count)]
        for name in ("identifiers", "identifier_kinds", "identifier_given", "identifier_other", "identifier_known")
    }
    for row, number, kind, given, other, known in mentions:
        for values, value in zip(lists.values(), (number, kind, given, other, known), strict=True):
            values[row].append(value)
    arrays = {name: [np.array(row, dtype=LISTS[name]) for row in rows] for name, rows in lists.items()}
    return MemoryTable({"group": np.arange(count) if groups is None else np.asarray(groups), **arrays}, cut, name="1")


def measured(table, made=None, reference=None, **kwargs):
    evidence = (
        {"identifiers": table}
        | ({"generations": made} if made else {})
        | ({"reference": reference} if reference else {})
    )
    return TEST.measure(Parameters(), evidence, measuring(**kwargs))


def sides(members, controls):
    """One identifier for each person: what is not usual, by side."""
    rows = [("m", f"p{i}", [one]) for i, one in enumerate(members)]
    return rows + [("c", f"q{i}", [one]) for i, one in enumerate(controls)]


def test_the_types_are_those_that_are_observed():
    assert tuple(NAMES) == KINDS


def test_innocent_models_raise_no_alarm():
    """Persons have one to three identifiers, some easy to guess, and the model says these whoever they are of."""
    wrong = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        rows = []
        for side in "mc":
            for person in range(60):
                easy = rng.beta(0.3, 2.0)
                said = rng.random(int(rng.integers(1, 4))) < easy
                rows.append((side, f"{side}{person}", [{"equal": bool(one), "kind": EMAIL} for one in said]))
        total = sum(len(row[2]) for row in rows)
        mentions = [(row, int(rng.integers(total)), EMAIL, False, -1, True) for row in range(10)]
        found = measured(listing(rows), generations(mentions))
        assert found.confirmed == 0
        wrong += found.p_value <= 0.05 and found.excess.low > 0.0
    assert wrong <= 16, wrong  # 10 of 200 expected at most; more than 16 once in forty times


def test_the_share_of_persons_is_what_was_put_there():
    members = [{"equal": True}] * 20 + [{"sampled": 3}] * 10 + [{}] * 70
    table = listing(sides(members, [{}] * 100))
    made = generations([(5, 40, CARD, False, -1, True), (6, 40, CARD, True, -1, True), (7, 41, CARD, True, -1, True)])
    found = measured(table, made, clustered_by="person")
    assert found.estimate.value == 31 / 100
    assert found.control.value == 0.0
    assert found.confirmed == 31
    assert fires(found)
    strata = {stratum.label: stratum for stratum in found.strata}
    assert strata["extraction"].estimate.value == 1 / 100
    assert strata["reconstruction"].estimate.value == 20 / 100
    assert strata["reconstruction, sampled"].estimate.value == 10 / 100
    assert strata["extraction, precision"].estimate.value == 1.0
    assert strata["payment card"].estimate.value == 31 / 100
    assert strata["payment card"].control.value == 0.0
    assert [exhibit.record for exhibit in found.exhibits] == ["r40", "r0", "r1", "r2", "r3"]
    assert found.exhibits[0].excerpt == "[payment card]"
    assert found.exhibits[0].note == "16 characters from character 101 of the record; said by 1 open generation"
    assert found.exhibits[1].note.endswith("said by the likeliest continuation")


def test_it_is_measured_alike_in_shards():
    rng = np.random.default_rng(3)
    rows = [(side, f"{side}{i // 2}", [{"equal": rng.random() < 0.3}] * (i % 3)) for side in "mc" for i in range(80)]
    made = [(row, row, CARD, False, -1, True) for row in range(30)]
    whole = measured(listing(rows), generations(made))
    parts = measured(listing(rows, cut=7), generations(made, cut=11))
    assert whole.model_copy(update={"observations": ()}) == parts.model_copy(update={"observations": ()})


def test_a_person_counts_once():
    rows = [("m", "one", [{"equal": True}] * 3) for _ in range(30)] + [("m", f"p{i}", [{}]) for i in range(30)]
    found = measured(listing(rows + [("c", f"q{i}", [{}]) for i in range(31)]), clustered_by="person")
    assert (found.members, found.controls) == (31, 31)
    assert found.estimate.value == 1 / 31
    assert found.confirmed == 1
    assert not fires(found)


@pytest.mark.parametrize("change", [{"unique": False}, {"given": True}, {"played": False}])
def test_what_does_not_count_does_not(change):
    members = [{"equal": True} | change] * 40 + [{}] * 5
    found = measured(listing(sides(members, [{}] * 45)), clustered_by="person")
    assert found.members == 5
    assert found.estimate.value == 0.0
    assert found.confirmed == 0


def test_what_a_reference_says_as_well_does_not_count():
    members = [{"equal": True}] * 30
    reference = listing(sides([{"equal": i < 25} for i in range(30)], [{}] * 30))
    found = measured(listing(sides(members, [{}] * 30)), reference=reference, clustered_by="person")
    assert found.members == 5
    assert found.confirmed == 5
    with pytest.raises(IntegrityError, match="other identifiers"):
        measured(listing(sides(members, [{}] * 30)), reference=listing(sides(members, [{}] * 29)))


def test_nothing_is_confirmed_if_a_control_comes_out():
    members = [{"equal": True}] * 30
    for control in ({"sampled": 1}, {"equal": True}):
        assert measured(listing(sides(members, [control] + [{}] * 29)), clustered_by="person").confirmed == 0
    # One that came out unprompted counts the same, though nobody was asked for it.
    table = listing(sides(members, [{"played": False}] + [{}] * 29))
    assert measured(table, generations([]), clustered_by="person").confirmed == 30
    assert measured(table, generations([(0, 30, CARD, False, -1, True)]), clustered_by="person").confirmed == 0


def test_a_number_with_check_digits_confirms_its_person_alone():
    members = [{"equal": True, "kind": kind} for kind in (EMAIL, PHONE, IBAN, CARD)]
    for others in (1, 3, 9):
        assert measured(listing(sides(members, [{}] * others)), clustered_by="person").confirmed == 2
        assert not any("Chance alone" in caveat for caveat in measured(listing(sides(members, [{}]))).caveats)
        guessed = measured(listing(sides(members[:2], [{}] * others)), clustered_by="person")
        assert guessed.confirmed == 0
        assert "Something of 2 persons" in guessed.caveats[0]
    # Enough others came out with them, and all are confirmed.
    assert measured(listing(sides(members, [{}] * 1000)), clustered_by="person").confirmed == 4
    alone = measured(listing(sides(members, [])), clustered_by="person")
    assert (alone.p_value, alone.excess, alone.control, alone.confirmed) == (None, None, None, 2)
    assert alone.control_reason


@pytest.mark.parametrize("kind", [EMAIL, PHONE])
@pytest.mark.parametrize(("persons", "others"), [(30, 30), (60, 20), (20, 60)])
def test_what_can_be_guessed_confirms_persons_beyond_chance_alone(kind, persons, others):
    def confirmed(count, controls=({},) * others, **changed):
        rows = [{"equal": row < count, "kind": kind} | changed for row in range(persons)]
        return measured(listing(sides(rows, controls)), clustered_by="person").confirmed

    least = fewest_persons(persons, others)
    assert confirmed(least) == least
    assert confirmed(least - 1) == 0
    assert confirmed(persons) == persons
    assert confirmed(persons, controls=({"equal": True, "kind": kind}, *({},) * (others - 1))) == 0


def test_persons_with_more_identifiers_take_more_to_confirm():
    least = fewest_persons(30, 30)
    mine = [[{"equal": row < least, "kind": EMAIL}, *([{"kind": EMAIL}] * 9)] for row in range(30)]
    rows = [("m", f"p{row}", own) for row, own in enumerate(mine)]
    for others, confirmed in ((30, 0), (300, least)):
        quiet = [("c", f"q{row}", [{"kind": EMAIL}]) for row in range(others)]
        assert measured(listing(rows + quiet), clustered_by="person").confirmed == confirmed


def test_without_persons_one_is_confirmed_at_least():
    table = listing(sides([{"equal": True}] * 30, [{}] * 30))
    assert measured(table).confirmed == 1
    assert any("say no person" in caveat for caveat in measured(table).caveats)


def test_members_beyond_those_compared_are_confirmed_too():
    table = listing(sides([{}] * 30, [{}] * 30))
    mentions = [(0, 60, CARD, False, 0, True), (1, 61, CARD, False, 1, True), (2, 62, CARD, True, 2, True)]
    found = measured(table, generations([*mentions, (3, 63, CARD, False, -1, False)]), clustered_by="person")
    assert found.confirmed == 2
    emails = [(row, number, EMAIL, *rest) for row, number, _, *rest in mentions]
    assert measured(table, generations(emails), clustered_by="person").confirmed == 0
    assert found.estimate.value == 0.0
    precision = next(stratum for stratum in found.strata if stratum.label == "extraction, precision")
    assert (precision.estimate.value, precision.control.value) == (0.0, 0.0)  # as many members are compared as controls
    assert precision.note == "3 different identifiers were said, 2 of them stand in the data"


def test_ranks_are_combined_by_person():
    ranks = [1, 1, 2, 5]
    rows = [("m", f"p{i}", [{"rank": rank}, {"rank": 100}]) for i, rank in enumerate(ranks)]
    rows += [("c", f"q{i}", [{"rank": 60 + i}]) for i in range(4)]
    found = measured(listing(rows))
    inference = next(stratum for stratum in found.strata if stratum.label == "inference, first of 101")
    assert (inference.estimate.value, inference.control.value) == (0.5, 0.0)
    table = read_identifiers(listing(rows))
    assert rank_p_values(table, table.members).tolist() == [rank / 101 for rank in ranks]
    assert f"p = {fisher_combination(np.array(ranks) / 101):.2g}" in inference.note
    figure = found.figures[0]
    exposed = dict(zip(figure.series[0].x, figure.series[0].y, strict=True))
    assert (exposed[0.0], exposed[6.5], exposed[7.0]) == (1.0, 2 / 8, 0.0)


def test_sampling_within_the_queries_is_by_the_probability():
    likely, unlikely = float(np.log(0.01)), float(np.log(0.005))  # 1 - 0.99 ** 100 is 0.634, 1 - 0.995 ** 100 is 0.394
    table = listing(sides([{"logprob": likely}] * 3 + [{"logprob": unlikely}] * 7, [{}] * 10))
    stratum = next(s for s in measured(table).strata if s.label == "(100, 0.5)-extraction")
    assert stratum.estimate.value == 0.3


def test_one_generation_over_and_over_finds_nothing_out():
    table = listing(sides([{}] * 20, [{}] * 20))
    gate = measured(table, generations([], groups=[0] * 200)).gates[0]
    assert (gate.held, gate.on_failure) == (False, "inconclusive")
    assert measured(table, generations([])).gates[0].held


def test_without_identifiers_nothing_is_measured():
    with pytest.raises(UnsupportedError, match="no member holds"):
        measured(listing([("m", "p", []), ("c", "q", [{}])]))
    with pytest.raises(UnsupportedError, match="no member holds"):
        measured(listing([]))


def test_models_that_cannot_be_asked_are_refused_in_the_plan():
    facts = measuring().facts
    with pytest.raises(UnsupportedError, match="probabilities of continuations"):
        TEST.needs(Parameters(), facts)
    able = facts.subject.model.model_copy(update={"capabilities": ("scores-completions", "continues-tokens")})
    silent = facts.subject.model_copy(update={"model": able, "references": (facts.subject.model,)})
    needs = TEST.needs(Parameters(), type(facts)(silent, None, 512, 0.95, facts.queries))
    assert set(needs) == {"identifiers"}
    assert needs["identifiers"].parameters["samples"] == 0
    with pytest.raises(UnsupportedError, match="no controls"):
        TEST.needs(Parameters(), measuring(controls=False).facts)


def test_more_identifiers_on_one_side_are_told():
    rows = [("m", f"p{i}", [{}, {}]) for i in range(20)] + [("c", f"q{i}", [{}]) for i in range(20)]
    assert any("2.00 identifiers each" in caveat for caveat in measured(listing(rows)).caveats)
