"""The assessment against an oracle of its own: tables, looked up in another way than the code decides."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from making import catalogue, clause, entry, estimate, finding, measurement, policy, subject, tolerance

from auditor.assess.access import assumed_access
from auditor.assess.by_queries import at_least_once, conversions
from auditor.assess.clauses import assess
from auditor.assess.formal_bound import formal_bounds, most_recognised
from auditor.assess.parts import exposed_parts
from auditor.core.assessment import Statement, StatementState
from auditor.core.clause import AttackClass, ClauseKind
from auditor.core.finding import Exhibit, Outcome, PerQuery, Stratum
from auditor.core.policy import QueryBudget
from auditor.core.subject import ReleaseContext

TODAY = dt.date(2026, 11, 21)
fixed = settings(derandomize=True, deadline=None, max_examples=150)

WORDS = ["signal", "no_signal", "inconclusive", "invalid", "not_run", "not_applicable"]

WORST = {
    frozenset(chosen): next(
        (word for word in ("signal", "invalid", "not_run", "inconclusive", "no_signal") if word in chosen), None
    )
    for size in range(len(WORDS) + 1)
    for chosen in itertools.combinations(WORDS, size)
}
"""The worst outcome of every set of outcomes."""

SAYS = {
    "signal": "shows more about the training records than about its control",
    "invalid": "a control failed, so the numbers mean nothing",
    "not_run": "Asked for and not done: ",
    "inconclusive": "The evidence does not allow a statement either way for ",
    "no_signal": "showed no leakage above the declared tolerances",
    "not_applicable": "Declared not applicable by a person, and not done",
}
"""What stands in the conclusion if, and only if, some finding has the outcome."""

PRONG_SAYS = {
    "signal": ": signal, shown by ",
    "invalid": ": invalid, because a control failed for ",
    "not_run": ": not run, for ",
    "inconclusive": ": inconclusive, by ",
    "no_signal": ": no signal above the declared tolerances, by ",
    None: "This report is no evidence about it.",
}


def prong_clauses():
    return (
        clause("C-1", prong=1, tests=("t/0", "t/1")),
        clause("C-2", prong=2, tests=("t/1", "t/2")),
        clause("C-3", tests=("t/2",)),
        clause("C-4", kind=ClauseKind.DOCUMENTARY, tests=()),
    )


SPEAKS = {"t/0": ("C-1",), "t/1": ("C-1", "C-2"), "t/2": ("C-2", "C-3")}
CLASSES = tuple(
    AttackClass(
        id=name, name=f"class {name}", measures="m", needs="n", access=("text",), tests=tests, brings_out=brings
    )
    for name, tests, brings in (("X", ("t/0", "t/1"), True), ("Y", ("t/2",), False), ("Z", (), False))
)


def battery(outcomes, required=(True, True, True), confirmed=(0, 0, 0), **changes):
    return [
        finding(
            Outcome(word),
            f"t/{place}",
            required=required[place],
            evidence_for=SPEAKS[f"t/{place}"],
            measurement=None
            if word in {"not_run", "not_applicable"}
            else measurement(f"t/{place}", confirmed=confirmed[place], **changes),
        )
        for place, word in enumerate(outcomes)
    ]


def assessed(findings, statements=(), asked=(), clauses=None, **changes):
    return assess(
        policy(statements=asked),
        [catalogue(*(clauses or prong_clauses()))],
        findings,
        statements,
        subject(**changes),
        created=TODAY,
        classes=CLASSES,
    )


@pytest.mark.parametrize("outcomes", list(itertools.product(WORDS, repeat=3)), ids="-".join)
def test_every_combination_of_outcomes_against_tables(outcomes):
    found = assessed(battery(outcomes))
    of = {name: WORST[frozenset(word for word, test in zip(outcomes, SPEAKS, strict=True) if name in SPEAKS[test])]
          for name in ("C-1", "C-2", "C-3", "C-4")}  # fmt: skip
    assert {state.clause.id: state.outcome and state.outcome.value for state in found.clauses} == of
    for prong, name in ((1, "C-1"), (2, "C-2")):
        state = next(item for item in found.prongs if item.prong == prong)
        assert (state.outcome and state.outcome.value, state.clauses) == (of[name], (name,))
        assert PRONG_SAYS[of[name]] in state.sentence
        assert f"({name})" in state.sentence
        assert found.conclusion.count(state.sentence) == 1
        decided = [
            test for word, test in zip(outcomes, SPEAKS, strict=True) if name in SPEAKS[test] and word == of[name]
        ]
        assert list(state.decided_by) == decided
    text = "\n".join(found.conclusion)
    for word, sentence in SAYS.items():
        assert (sentence in text) == (word in outcomes), word
    assert found.exit_code == (
        1 if "signal" in outcomes else 3 if {"inconclusive", "invalid", "not_run"} & {*outcomes} else 0
    )


@pytest.mark.parametrize("outcomes", list(itertools.product(WORDS, repeat=2)), ids="-".join)
@pytest.mark.parametrize("required", list(itertools.product([True, False], repeat=2)))
def test_the_exit_code_is_that_of_the_table(outcomes, required):
    needed = {word for word, must in zip(outcomes, required, strict=True) if must}
    expected = 1 if "signal" in outcomes else 3 if needed & {"inconclusive", "invalid", "not_run"} else 0
    assert assessed(battery((*outcomes, "no_signal"), (*required, True))).exit_code == expected


def states_of_attack_classes(outcomes):
    """Return what the table expects of each class spoken of: the worst outcome, and whether it was not tested."""
    measured = {"signal", "no_signal", "inconclusive", "invalid"}
    of = {"X": outcomes[:2], "Y": outcomes[2:], "Z": ()}
    return {name: (WORST[frozenset(words)], not measured & {*words}) for name, words in of.items()}


@pytest.mark.parametrize("outcomes", list(itertools.product(WORDS, repeat=3)), ids="-".join)
def test_attack_classes_in_every_combination(outcomes):
    spoken = clause("C-9", tests=(), classes=("X", "Y", "Z"))
    found = assessed(battery(outcomes), clauses=(*prong_clauses(), spoken))
    said = {item.id: (item.outcome and item.outcome.value, bool(item.not_tested)) for item in found.attack_classes}
    assert said == states_of_attack_classes(outcomes)
    listed = " ".join(found.attack_classes_not_tested)
    assert {name for name in "XYZ" if f"class {name} (" in listed} == {name for name, item in said.items() if item[1]}


KEPT = Statement(id="s", clauses=("C-4",), text="It was looked at.", author="A", role="R", date="2026-01-01")
BROKEN = KEPT.model_copy(update={"text": "No record can be extracted."})


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("given_", [None, KEPT, BROKEN], ids=["none", "kept", "broken"])
@pytest.mark.parametrize("outcome", WORDS)
@pytest.mark.parametrize("form", [True, False])
def test_statements_in_every_combination(asked, given_, outcome, form):
    """Supplied, missing or contradicted; only a signal contradicts that nothing can be extracted."""
    about = clause("C-4", kind=ClauseKind.DOCUMENTARY, tests=(), **({} if form else {"statement": None}))
    found = assessed(
        battery((outcome, "no_signal", "no_signal")),
        statements=[given_] if given_ else [],
        asked=("C-4",) if asked else (),
        clauses=(*prong_clauses()[:3], about),
    )
    disagrees = given_ is BROKEN and outcome == "signal"
    table = {
        (True, True): StatementState.SUPPLIED,
        (True, False): StatementState.MISSING if asked else None,
        (False, True): None,
        (False, False): None,
    }
    expected = StatementState.CONTRADICTED if disagrees else table[form, given_ is not None]
    assert found.clauses[3].statement is expected
    text = "\n".join(found.conclusion)
    assert ("disagree with the controller's statements on C-4" in text) == (expected is StatementState.CONTRADICTED)
    assert ("missing for C-4" in text) == (expected is StatementState.MISSING)


@fixed
@given(
    some.lists(some.tuples(some.sampled_from(WORDS), some.booleans(), some.integers(0, 2)), min_size=3, max_size=3),
    some.lists(some.sets(some.sampled_from(["C-1", "C-2", "C-3"])), min_size=3, max_size=3),
    some.booleans(),
)
def test_whatever_is_mapped_to_whatever(tests, mapped, by_person):
    """One confirmed person counts for every prong that names the test, whatever the policy maps the test to (R5)."""
    outcomes, required, confirmed = zip(*tests, strict=True)
    found = [
        item.model_copy(update={"evidence_for": tuple(sorted(names))})
        for item, names in zip(battery(outcomes, required, confirmed), mapped, strict=True)
    ]
    result = assessed(found)
    for state in result.clauses[:3]:
        own = {word for word, names in zip(outcomes, mapped, strict=True) if state.clause.id in names}
        if state.clause.prong:
            named = zip(tests, SPEAKS, strict=True)
            own |= {t[0] for t, name in named if t[0] == "signal" and t[2] and name in state.clause.tests}
        assert (state.outcome and state.outcome.value) == WORST[frozenset(own)]
    for state in result.prongs:
        of_it = [t for t, name in zip(tests, SPEAKS, strict=True) if name in state.tests and t[0] == "signal"]
        assert state.confirmed == max((count for _, _, count in of_it), default=0)
        assert ("one is enough, whatever the average" in state.sentence) == bool(state.confirmed)
    flagged = any("Art. 33" in sentence for sentence in result.conclusion)
    way = any(word in {"signal", "inconclusive", "no_signal", "invalid"} and count for word, _, count in tests)
    assert flagged == (way or any(word == "signal" for word in outcomes[:2]))


def person_subject():
    identity = subject().members.model_copy(update={"clustered_by": "person"})
    return {"members": identity}


@pytest.mark.parametrize("by_person", [True, False])
@pytest.mark.parametrize("confirmed", [0, 3])
@pytest.mark.parametrize("exhibits", [True, False])
@pytest.mark.parametrize("access", ["text", "data"])
@pytest.mark.parametrize("outcome", WORDS[:4])
@pytest.mark.parametrize("brings", [True, False])
def test_the_question_of_a_breach_for_every_way_a_record_can_come_out(
    by_person, confirmed, exhibits, access, outcome, brings
):
    shown = (Exhibit(record="r", excerpt="x"),) if exhibits else ()
    found = finding(
        Outcome(outcome), "t/0" if brings else "t/2",
        measurement=measurement("t/0", confirmed=confirmed, exhibits=shown, access=access),
    )  # fmt: skip
    said = [
        line for line in assessed([found], **(person_subject() if by_person else {})).conclusion if "Art. 33" in line
    ]
    came_out = access != "data" and (exhibits or brings)
    table = {
        "signal": "at least 3 real persons came out" if confirmed
        else ("the records are of persons" if by_person else "does not say which persons") if came_out else "",
        "invalid": "a control failed, and records came out" if confirmed or (by_person and came_out) else "",
    }  # fmt: skip
    expected = table.get(outcome, "no signal is called, and records came out" if confirmed else "")
    assert len(said) == bool(expected)
    assert not said or expected in said[0]


def test_a_planted_secret_is_nobodys():
    """What comes out of canaries alone asks nothing of Art. 33."""
    found = finding(measurement=measurement("t/0", members=0, controls=0, canaries=20), name="t/0")
    assert not [line for line in assessed([found]).conclusion if "Art. 33" in line]


ASSUMED = {
    "internal": ("text", "scores"),
    "public-api": ("scores", "distribution"),
    "open-weights": ("weights", "weights"),
}
WITHIN = {
    "scores": {"text", "scores", "data"},
    "distribution": {"text", "scores", "distribution", "data"},
    "weights": {"text", "scores", "distribution", "weights", "data"},
}


@pytest.mark.parametrize("context", list(ASSUMED))
@pytest.mark.parametrize("access", ["text", "scores", "distribution", "weights", "data", None])
def test_the_access_assumed_is_one_level_above_the_declared(context, access):
    found = finding(Outcome.NO_SIGNAL, "t/1", measurement=measurement("t/1", access=access), evidence_for=SPEAKS["t/1"])
    said = assumed_access(ReleaseContext(context), [found])
    assert (said.declared, said.assumed) == ASSUMED[context]
    inside = None if access is None else access in WITHIN[said.assumed]
    assert said.tests[0].within is inside
    result = assessed([found], release_context=ReleaseContext(context))
    # Nothing of it lowers or raises an outcome.
    assert {item.outcome for item in result.prongs} == {Outcome.NO_SIGNAL}
    for prong in result.prongs:
        assert prong.beyond == (("t/1",) if inside is False else ())
        assert ("evidence about the parameters" in prong.sentence) == (inside is False)
        wanted = said.assumed if prong.prong == 1 or said.assumed != "weights" else "distribution"
        order = ["data", "text", "scores", "distribution", "weights"]
        reached = access is not None and order.index(access) >= order.index(wanted)
        assert prong.reached is reached
        assert ("None of its tests measured under the access assumed" in prong.sentence) == (
            access is not None and not reached
        )
    assert any(said.assumed in line and "Lack of motive" in line for line in result.limits)


@fixed
@given(some.integers(0, 2**20), some.integers(1, 60))
def test_queries_against_rational_arithmetic(part, queries):
    p = Fraction(part, 2**20)
    assert at_least_once(float(p), queries) == pytest.approx(float(1 - (1 - p) ** queries), rel=1e-12, abs=1e-300)


def test_tiny_probabilities_keep_their_digits():
    assert at_least_once(1e-20, 10**6) == pytest.approx(1e-14, rel=1e-12)
    assert (at_least_once(0.0, 10), at_least_once(1.0, 1)) == (0.0, 1.0)


def per_query(value=0.001, low=0.0005, high=0.002):
    number = estimate(value, low, high).model_copy(update={"upper": high})
    return PerQuery(what="a record", asked="by asking", estimate=number, control=estimate(0.0, 0.0, 0.0001))


@pytest.mark.parametrize("outcome", WORDS)
def test_only_what_is_per_query_is_converted(outcome):
    budget = QueryBudget(per_subject=10, lifetime=1000, reason="r")
    alone = finding(Outcome(outcome), measurement=measurement())
    both = finding(Outcome(outcome), measurement=measurement(per_query=(per_query(),)))
    assert conversions([alone], budget) == ()
    found = conversions([both], budget)
    if outcome in {"invalid", "not_run", "not_applicable"}:
        assert found == ()
        return
    (one,) = found
    assert one.per_subject.value == pytest.approx(1 - 0.999**10)
    assert (one.lifetime.low, one.lifetime.high) == pytest.approx((1 - 0.9995**1000, 1 - 0.998**1000))
    assert one.lifetime.value <= one.lifetime.bound <= one.lifetime.high
    assert one.control_lifetime.high == pytest.approx(1 - 0.9999**1000)
    (said,) = [line for line in assessed([both]).conclusion if "measured single queries" in line]
    assert "10 independent queries" in said  # the policy's budget
    assert "100 declared over the lifetime" in said


def stratum(by="copies", label="64+", value=0.4, low=0.2, high=0.6, n=40, unit="ratio"):
    return Stratum(
        by=by, label=label, estimate=estimate(value, low, high, n=n, unit=unit), control=estimate(0.0, 0.0, 0.1)
    )


def test_the_most_exposed_part_is_named():
    parts = (
        stratum(label="1", value=0.01, low=0.0, high=0.02), stratum(), stratum("source", "web", 0.3),
        stratum("queries", "1,000", 0.9, 0.8, 1.0), stratum(label="2", value=0.9, low=0.8, high=1.0, n=0),
        stratum("type", "in bits", 5.0, 4.0, 6.0, unit="bit"),
    )  # fmt: skip
    found = finding(measurement=measurement(strata=parts))
    (part,) = exposed_parts([found])
    assert (part.by, part.label) == ("copies", "64+")
    assert any(
        "t/a found most for copies 64+: 40.0 % (95 % interval 20.0 % to 60.0 %)" in line
        for line in assessed([found]).conclusion
    )
    for outcome in ("invalid", "not_run", "not_applicable"):
        assert exposed_parts([finding(Outcome(outcome), measurement=found.measurement)]) == ()


def test_a_bound_over_all_that_does_not_hold_in_a_part_is_said():
    wide, narrow = stratum(value=0.0, low=0.0, high=0.1), stratum(value=0.0, low=0.0, high=0.0005)
    for row, said in ((wide, True), (narrow, False)):
        found = finding(Outcome.NO_SIGNAL, measurement=measurement(strata=(row,)))
        assert any("not each part of it" in line for line in assessed([found]).conclusion) == said
    (part,) = exposed_parts(
        [finding(tolerance=tolerance(statistic="another"), measurement=measurement(strata=(wide,)))]
    )
    assert part.within is None


def declared(**answers):
    said = {"epsilon": 1.0, "delta": 1e-5, "unit": "person"} | answers
    return Statement(
        id="dp",
        clauses=("C-4",),
        form="training_method_statement",
        answers=said,
        author="A",
        role="R",
        date="2026-01-01",
    )


@pytest.mark.parametrize(
    ("epsilon", "delta", "most"),
    [
        (0.0, 0.0, 0.01),
        (0.0, 0.05, 0.06),
        (1.0, 0.0, math.e / 100),
        (10.0, 0.0, 1 - 0.99 * math.exp(-10)),
        (1e6, 0.0, 1.0),
        (0.0, 1.0, 1.0),
    ],
)
def test_the_most_that_can_be_recognised_under_epsilon_and_delta(epsilon, delta, most):
    assert most_recognised(epsilon, delta, 0.01) == pytest.approx(most, rel=1e-6)


@fixed
@given(some.floats(0, 20), some.floats(0, 0.5), some.floats(0.001, 0.999))
def test_the_bound_is_that_of_the_worst_mechanism(epsilon, delta, rate):
    """Randomised response that tells the truth outright with probability delta reaches every point of the bound."""
    most = most_recognised(epsilon, delta, rate)
    assert rate - 1e-12 <= most <= 1.0
    # One mechanism per corner: outputs (sure in, maybe in, maybe out, sure out) under in and out.
    a = (1 - delta) * math.exp(epsilon) / (1 + math.exp(epsilon))
    b = (1 - delta) / (1 + math.exp(epsilon))
    rows = [(delta, 0.0), (a, b), (b, a), (0.0, delta)]
    best, left = 0.0, rate
    for inside, outside in rows:
        take = 1.0 if outside <= left else left / outside
        best, left = best + inside * take, left - outside * take
    assert most == pytest.approx(best, abs=1e-9)


def test_a_declared_epsilon_is_shown_as_a_bound_with_its_conditions():
    low = measurement("t/e", statistic="epsilon_lower", estimate=estimate(0.5, 0.4, 9.0, unit="nat"))
    (alone,) = formal_bounds([declared()], [])
    assert "not tested" in alone.sentence
    assert "No test bounded" in alone.sentence
    assert (alone.contradicted, alone.test, alone.unit) == (False, None, "person")
    (beside,) = formal_bounds([declared()], [finding(Outcome.INCONCLUSIVE, "t/e", measurement=low)])
    assert "at least 0.4, which is not above it; a lower bound confirms nothing" in beside.sentence
    (against,) = formal_bounds(
        [declared(epsilon=0.1)], [finding(Outcome.SIGNAL, "t/e", measurement=low)], frozenset({"dp"})
    )
    assert "the declaration is contradicted and bounds nothing" in against.sentence
    (apart,) = formal_bounds([declared(epsilon=0.1)], [finding(Outcome.SIGNAL, "t/e", measurement=low)])
    assert "not above" not in apart.sentence, "0.4 is above 0.1"
    assert "neither refutes nor confirms" in apart.sentence
    (failed,) = formal_bounds([declared()], [finding(Outcome.INVALID, "t/e", measurement=low)])
    assert failed.lower is None
    assert formal_bounds([declared(unit="record or so")], []) == ()
    assert any("holds for every person" in line for line in assessed(battery(WORDS[:3]), [declared()]).conclusion)


class Walked(tuple):
    """A tuple that counts how often somebody walks through it to see whether something is in it."""

    asked = 0
    __slots__ = ()

    def __contains__(self, item):
        Walked.asked += 1
        return super().__contains__(item)


def test_clauses_are_looked_up_and_lists_are_not_walked_for_each():
    """Every finding speaks to every clause: walking lists of ten thousand for each of ten thousand would take minutes."""
    names = tuple(f"C-{number}" for number in range(400))
    clauses = [clause(name, prong=(1, 2, None)[place % 3]) for place, name in enumerate(names)]
    findings = [
        finding(Outcome.NO_SIGNAL, f"t/{number}").model_copy(update={"evidence_for": Walked(names)})
        for number in range(25)
    ]
    declared_policy = policy(*(entry(f"t/{number}") for number in range(25)))
    declared_policy = declared_policy.model_copy(update={"statements": Walked(names)})
    Walked.asked = 0
    found = assess(declared_policy, [catalogue(*clauses)], findings, (), subject(), created=TODAY)
    assert Walked.asked <= len(findings)
    assert {len(state.tests) for state in found.clauses} == {25}
    assert {state.statement for state in found.clauses} == {StatementState.MISSING}
