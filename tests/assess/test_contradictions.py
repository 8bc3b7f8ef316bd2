"""What contradicts a statement, against a table that was written without the code, over all outcomes and claims."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import catalogue, clause, estimate, finding, measurement, policy, subject

from auditor.assess.claims import claims
from auditor.assess.clauses import assess
from auditor.core.assessment import Statement, StatementState
from auditor.core.clause import StatementForm
from auditor.core.finding import Gate, Outcome, Stratum
from auditor.core.subject import ReleaseContext

TODAY = dt.date(2026, 11, 21)
METHOD, DATA, RELEASE = "training_method_statement", "training_data_statement", "release_context_statement"
ASKS = {
    "C-DEDUP": (METHOD, ("epochs", "dedup")),
    "C-DP": (METHOD, ("epsilon", "delta", "unit")),
    "C-DATA": (DATA, ("personal_data_in_training",)),
    "C-CONTEXT": (RELEASE, ("context",)),
    "C-FREE": ("other", ("anything",)),
}
CLAUSES = tuple(clause(name, statement=StatementForm(form=form, asks=asks)) for name, (form, asks) in ASKS.items())


def said(form="", text="", clauses=None, **answers):
    own = tuple(name for name, (asked, _) in ASKS.items() if asked == form) or ("C-FREE",)
    return Statement(
        id="s", clauses=clauses or own, form=form, answers=answers, text=text, author="A", role="R", date="2026-01-01"
    )


def states(statement, *findings, what=None, parameters=None):
    found = assess(
        policy(statements=tuple(ASKS)),
        [catalogue(*CLAUSES)],
        findings,
        [statement],
        what or subject(),
        created=TODAY,
        parameters=parameters,
    )
    return {state.clause.id: state for state in found.clauses}


def contradicted(statement, *findings, **kwargs):
    return {name for name, state in states(statement, *findings, **kwargs).items() if state.contradictions}


@dataclass(frozen=True)
class Case:
    """A claim, a finding that can disagree with it, and the clause that asks it."""

    claim: Statement
    denial: Statement
    test: str
    statistic: str
    clause: str
    unit: str
    above: float
    """The finding disagrees if its lower end (or its value, `by` value) is above this."""
    by: str
    outcomes: frozenset


ANY = frozenset({"signal", "no_signal", "inconclusive"})
SIGNAL = frozenset({"signal"})
TABLE = {
    "dedup-duplicates": Case(
        said(METHOD, dedup=True), said(METHOD, dedup=False), "dataset/duplicates", "excess_duplicates", "C-DEDUP", "ratio", 0.0, "low", ANY
    ),
    "dedup-words": Case(
        said(text="The data were deduplicated."), said(text="The data were not deduplicated."), "dataset/duplicates",
        "excess_duplicates", "C-FREE", "ratio", 0.0, "low", ANY,
    ),
    "personal-data": Case(
        said(DATA, personal_data_in_training=False), said(DATA, personal_data_in_training=True), "dataset/personal-data",
        "excess_identifiers", "C-DATA", "ratio", 0.0, "low", ANY,
    ),
    "personal-data-words": Case(
        said(text="The training data contain no personal data."), said(text="No personal data is in the logs."), "dataset/personal-data",
        "excess_identifiers", "C-FREE", "ratio", 0.0, "low", ANY,
    ),
    "persons": Case(
        said(DATA, personal_data_in_training=False), said(DATA, personal_data_in_training=True), "language/personal-data",
        "excess_persons", "C-DATA", "ratio", 0.0, "value", SIGNAL,
    ),
    "extraction": Case(
        said(text="No record can be extracted."), said(text="No record should be extracted."), "language/discoverable-extraction",
        "excess_rate", "C-FREE", "ratio", 0.0, "value", SIGNAL,
    ),
    "works": Case(
        said(text="The model gives out no copies of protected works."), said(text="No copies of works were bought."), "language/works",
        "excess_rate", "C-FREE", "ratio", 0.0, "value", SIGNAL,
    ),
    "epsilon": Case(
        said(METHOD, epsilon=2.0, delta=1e-6, unit="person"), said(METHOD, epsilon=2.0, unit="person"), "language/epsilon",
        "epsilon_lower", "C-DP", "nat", 2.0, "low", ANY,
    ),
}  # fmt: skip
SETTINGS = {"language/epsilon": {"unit": "person", "delta": 1e-5}}


def expected(case, outcome, low, value, *, claimed):
    """Return whether it is contradicted: the table alone, without the code."""
    if not claimed or outcome.value not in case.outcomes:
        return False
    return (low if case.by == "low" else value) > case.above


def made(case, outcome, low, value, high):
    measured = measurement(case.test, statistic=case.statistic, estimate=estimate(value, low, high, case.unit, 400))
    bare = outcome in {Outcome.NOT_RUN, Outcome.NOT_APPLICABLE}
    return finding(outcome, name=case.test, measurement=None if bare else measured)


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("claimed", [True, False])
@pytest.mark.parametrize(("low", "value", "high"), [(0.0, 0.0, 0.4), (0.0, 0.2, 0.4), (0.1, 0.2, 0.4), (2.5, 3.0, 4.0)])
def test_every_claim_against_every_outcome(name, outcome, claimed, low, value, high):
    case = TABLE[name]
    statement = case.claim if claimed else case.denial
    found = states(statement, made(case, outcome, low, value, high), parameters=SETTINGS)
    wanted = {case.clause} if expected(case, outcome, low, value, claimed=claimed) else set()
    assert {key for key, state in found.items() if state.statement is StatementState.CONTRADICTED} == wanted
    for key in wanted:
        (one,) = found[key].contradictions
        assert (one.statement, one.test) == ("s", case.test)
        assert (one.estimate.low, one.estimate.value) == (low, value)
        assert case.test in one.words
        assert "95 % interval" in one.words
        assert found[key].contradiction == one.words


numbers = st.lists(st.floats(0.0, 8.0, allow_nan=False), min_size=3, max_size=3).map(sorted)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(TABLE)), st.sampled_from(list(Outcome)), numbers), min_size=1, max_size=5
    ),
    st.sampled_from(sorted(TABLE)),
    st.booleans(),
)
def test_a_battery_contradicts_exactly_what_the_table_says(drawn, name, claimed):
    """Whatever else the battery holds: each claim is held against the findings that speak to it and against no other."""
    case = TABLE[name]
    findings, wanted = [], []
    for other, outcome, (low, value, high) in {TABLE[item[0]].test: item for item in drawn}.values():
        findings.append(made(TABLE[other], outcome, low, value, high))
        rows = [row for row in TABLE.values() if row.claim == case.claim and row.test == TABLE[other].test]
        # What was extracted of works is extracted of records.
        if name == "extraction" and other == "works":
            rows = [case]
        wanted += [TABLE[other].test for row in rows if expected(row, outcome, low, value, claimed=claimed)]
    found = states(case.claim if claimed else case.denial, *findings, parameters=SETTINGS)
    named = [item.test for state in found.values() for item in state.contradictions]
    assert sorted(named) == sorted(wanted[:1] if name == "extraction" else wanted)
    for item in findings:
        if item.outcome.value not in ANY:
            assert item.test not in named


@pytest.mark.parametrize("outcome", list(Outcome))
def test_copies_that_are_declared_are_no_fact_of_a_finding_that_means_nothing(outcome):
    rows = tuple(
        Stratum(by="copies", label=label, estimate=estimate(0.5, 0.3, 0.6, n=8)) for label in ("1", "2-4", "64+")
    )
    repeated = finding(outcome, measurement=measurement(strata=rows))
    found = states(said(METHOD, dedup=True), repeated, what=subject(has_copies=True))["C-DEDUP"]
    assert bool(found.contradictions) == (outcome.value in ANY)
    if found.contradictions:
        assert (
            "64+ times: t/a read 8 of them apart, and its number for these is 50.0 % (95 % interval 30.0 % to 60.0 %)"
            in found.contradiction
        )
    alone = finding(outcome, measurement=measurement(strata=rows[:1]))
    assert not contradicted(said(METHOD, dedup=True), alone, what=subject(has_copies=True))


@pytest.mark.parametrize(
    ("test_unit", "test_delta", "unit", "delta", "wanted"),
    [
        ("person", 1e-5, "person", 1e-5, True),
        ("person", 1e-5, "person", 1e-6, True),
        ("person", 1e-5, "person", "not applicable (pure)", True),
        ("person", 1e-5, "person", 1e-4, False),  # the bound speaks of a smaller delta than is claimed
        ("person", 1e-5, "record", 1e-5, False),  # all copies of a canary are one person's, not one record
        ("record", 1e-5, "record", 1e-5, True),
        ("record", 1e-5, "person", 1e-5, True),  # who protects persons protects each of their records
        (None, 1e-5, "record", 1e-5, False),
        ("record", None, "record", 1e-5, False),
        ("record", 1e-5, None, 1e-5, False),
        ("record", 1e-5, "record", None, False),
    ],
)
def test_a_bound_refutes_only_the_privacy_it_speaks_of(test_unit, test_delta, unit, delta, wanted):
    answers = {key: value for key, value in {"unit": unit, "delta": delta}.items() if value is not None}
    bound = finding(
        name="language/epsilon",
        measurement=measurement(
            "language/epsilon", statistic="epsilon_lower", estimate=estimate(3.0, 2.6, 30.0, "nat", 42)
        ),
    )
    parameters = {"language/epsilon": {"unit": test_unit, "delta": test_delta}}
    statement = said(METHOD, epsilon=1.0, **answers)
    assert contradicted(statement, bound, parameters=parameters) == ({"C-DP"} if wanted else set())
    assert not contradicted(statement, bound), "without the test's settings nothing is refuted"
    assert not contradicted(said(METHOD, epsilon=2.6, **answers), bound, parameters=parameters), "not above it"


def test_a_bound_whose_gate_did_not_hold_refutes_nothing():
    gate = Gate(name="reach", held=False, on_failure="inconclusive", detail="d")
    bound = finding(
        Outcome.INCONCLUSIVE,
        name="language/epsilon",
        measurement=measurement(statistic="epsilon_lower", estimate=estimate(3.0, 2.6, 30.0, "nat"), gates=(gate,)),
    )
    assert not contradicted(TABLE["epsilon"].claim, bound, parameters=SETTINGS)


@pytest.mark.parametrize(
    ("label", "wanted"), [("e-mail address", True), ("payment card", False), ("IP address", False)]
)
def test_numbers_that_follow_a_rule_by_chance_are_no_personal_data(label, wanted):
    """A Luhn digit fits one number in ten: what could be chance contradicts nobody."""
    rows = (Stratum(by="type", label=label, estimate=estimate(0.02, 0.01, 0.03)),)
    counted = measurement(statistic="excess_identifiers", estimate=estimate(0.02, 0.01, 0.03), strata=rows)
    found = states(TABLE["personal-data"].claim, finding(Outcome.INCONCLUSIVE, measurement=counted))["C-DATA"]
    assert bool(found.contradictions) == wanted
    if wanted:
        assert "e-mail address: 2.00 % (95 % interval 1.00 % to 3.00 %)" in found.contradiction


@pytest.mark.parametrize("declared", list(ReleaseContext))
@pytest.mark.parametrize("claimed", [*(item.value for item in ReleaseContext), "not applicable (a sample)"])
def test_a_release_context_that_is_claimed_is_the_one_that_is_declared(declared, claimed):
    found = states(said(RELEASE, context=claimed), what=subject(release_context=declared))["C-CONTEXT"]
    differs = claimed != declared.value and not claimed.startswith("not applicable")
    assert (found.statement is StatementState.CONTRADICTED) == differs
    if differs:
        assert found.contradictions[0].test is None
        assert f"the subject file declares {declared.value}" in found.contradiction


def test_an_answer_contradicts_the_clause_that_asks_it_and_not_its_neighbours():
    counted = finding(measurement=measurement(statistic="excess_duplicates", estimate=estimate(0.2, 0.1, 0.3)))
    assert contradicted(said(METHOD, dedup=True, epochs=3), counted) == {"C-DEDUP"}
    in_words = said(METHOD, text="The data were deduplicated.", epochs=3)
    assert contradicted(in_words, counted) == {"C-DEDUP", "C-DP"}, "free words are the whole statement's"


def test_an_answer_comes_before_the_words():
    counted = finding(measurement=measurement(statistic="excess_duplicates", estimate=estimate(0.2, 0.1, 0.3)))
    assert not contradicted(said(METHOD, dedup=False, text="The data were deduplicated."), counted)
    both = states(said(METHOD, dedup=True, text="The data were deduplicated."), counted)["C-DEDUP"]
    assert len(both.contradictions) == 1


def test_what_a_form_leaves_open_is_named_and_the_clause_stays_supplied():
    found = states(said(METHOD, epochs=3, epsilon=1.0))
    assert found["C-DEDUP"].unanswered == ("dedup",)
    assert found["C-DP"].unanswered == ("delta", "unit")
    assert found["C-DP"].statement is StatementState.SUPPLIED
    assert found["C-DATA"].statement is StatementState.MISSING
    assert found["C-DATA"].unanswered == ()
    assert states(said(text="In free words.", clauses=("C-DP",)))["C-DP"].unanswered == ()


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("other", TABLE)
def test_a_finding_speaks_to_its_own_claim_and_to_no_other(name, other):
    measured = made(TABLE[other], Outcome.SIGNAL, 3.0, 4.0, 5.0)
    speaks = TABLE[name].clause if TABLE[other].statistic == TABLE[name].statistic else None
    if name in {"personal-data", "persons"} and other in {"personal-data", "personal-data-words", "persons"}:
        speaks = "C-DATA"
    if name == "personal-data-words" and other == "persons":
        speaks = "C-FREE"
    if (name, other) == ("works", "extraction"):  # what comes out of records is not said to be of works
        speaks = None
    assert contradicted(TABLE[name].claim, measured, parameters=SETTINGS) == ({speaks} if speaks else set())


@pytest.mark.parametrize(
    "text",
    [
        "The training data contain no personal data except business e-mail addresses.",
        "The training data contain no personal data other than names of authors.",
        "Apart from a few forms, the data was deduplicated.",
        "The data was deduplicated? No.",
        "The data was deduplicated: no.",
        "It is false that the data was deduplicated.",
        "The validation data was deduplicated.",
        "No record can be extracted without the weights.",
        "There is no evidence that no record can be extracted.",
    ],
)
def test_a_claim_with_an_exception_or_a_denial_is_no_plain_claim(text):
    assert claims(said(text=text)) == ()


@pytest.mark.parametrize(
    "text",
    [
        "The data was deduplicated. No copies of it are kept elsewhere.",
        "The data was deduplicated: exact and near copies are gone.",
        "The training data contain no personal data. Nobody is named.",
    ],
)
def test_a_plain_claim_stays_one_whatever_follows(text):
    assert len(claims(said(text=text))) == 1


def test_a_prompt_searched_for_by_who_knows_the_text_extracts_no_record():
    made = measurement("language/compression", statistic="excess_rate", estimate=estimate(0.3, 0.2, 0.4))
    searched = finding(Outcome.SIGNAL, name="language/compression", measurement=made)
    assert not contradicted(said(text="No record can be extracted."), searched)
