"""Clause states, statements, conclusions and exit codes."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from making import catalogue, clause, estimate, finding, measurement, policy, subject

from auditor.assess.attack_classes import attack_class_states, attack_classes_not_tested
from auditor.assess.clauses import assess, exit_code
from auditor.assess.conclusion import FORBIDDEN, conclude, forbidden_words
from auditor.assess.severity import worst
from auditor.assess.statements import load_statements
from auditor.core.assessment import Statement, StatementState
from auditor.core.clause import AttackClass, ClauseKind
from auditor.core.finding import Outcome, Stratum
from auditor.errors import DataError

TODAY = dt.date(2026, 11, 21)


def assessed(*findings, statements=(), clauses=None, asked=("C-1",), what=None):
    return assess(
        policy(statements=asked),
        [catalogue(*(clauses or (clause(),)))],
        findings,
        statements,
        what or subject(),
        created=TODAY,
    )


def statement(text="All is well.", clauses=("C-1",)):
    return Statement(id="s", clauses=clauses, text=text, author="A", role="R", date="2026-01-01")


SEVERITY = {"signal": 5, "invalid": 4, "not_run": 3, "inconclusive": 2, "no_signal": 1}


@pytest.mark.parametrize("outcomes", list(itertools.product(list(Outcome), repeat=3)))
def test_the_worst_outcome_wins_in_every_combination(outcomes):
    known = [item for item in outcomes if item.value in SEVERITY]
    expected = max(known, key=lambda item: SEVERITY[item.value]) if known else None
    assert worst(outcomes) is expected
    findings = [finding(item, name=f"t/{i}") for i, item in enumerate(outcomes)]
    state = assessed(*findings).clauses[0]
    assert state.outcome is expected
    assert set(state.decided_by) == {f"t/{i}" for i, item in enumerate(outcomes) if item is expected and expected}


@pytest.mark.parametrize("outcomes", list(itertools.product(list(Outcome), [True, False], repeat=2)))
def test_exit_codes(outcomes):
    findings = [finding(a, required=b) for a, b in zip(outcomes[::2], outcomes[1::2], strict=True)]
    if Outcome.SIGNAL in outcomes[::2]:
        expected = 1
    elif any(f.required and f.outcome.value in {"inconclusive", "invalid", "not_run"} for f in findings):
        expected = 3
    else:
        expected = 0
    assert exit_code(findings) == expected


def test_a_clause_takes_only_its_own_tests():
    own = finding(Outcome.NO_SIGNAL)
    other = finding(Outcome.SIGNAL, name="t/b", evidence_for=("C-2",))
    states = assessed(own, other, clauses=(clause(), clause("C-2"), clause("C-3"))).clauses
    assert [state.outcome for state in states] == [Outcome.NO_SIGNAL, Outcome.SIGNAL, None]
    assert "Not tested" in states[2].rationale


def test_statements_are_supplied_missing_or_not_asked():
    clauses = (clause(), clause("C-2"), clause("C-3", statement=None), clause("C-4"))
    states = assessed(statements=[statement()], clauses=clauses, asked=("C-1", "C-2")).clauses
    assert [state.statement for state in states] == [StatementState.SUPPLIED, StatementState.MISSING, None, None]


def test_a_measured_fact_contradicts_a_statement():
    repeated = measurement(strata=(Stratum(by="copies", label="64+", estimate=measurement().estimate),))
    found = finding(Outcome.SIGNAL, measurement=repeated)
    said = statement("The data were fully deduplicated before training.")
    state = assessed(found, statements=[said], what=subject(has_copies=True)).clauses[0]
    assert state.statement is StatementState.CONTRADICTED
    assert "64+ times" in state.contradiction
    assert assessed(found, statements=[said]).clauses[0].statement is StatementState.SUPPLIED
    denied = statement("No record can be extracted.")
    assert assessed(found, statements=[denied]).clauses[0].statement is StatementState.CONTRADICTED


def test_duplicates_that_were_counted_contradict_that_there_are_none():
    """Whatever the controls have: the members are said to hold none. A failed instrument counts nothing."""
    said = [statement("The data were fully deduplicated before training.")]

    def state(low, outcome=Outcome.INCONCLUSIVE, statistic="excess_duplicates"):
        exact = Stratum(by="kind", label="word for word", estimate=estimate(0.005, 0.0, 0.03))
        counted = measurement(
            "dataset/duplicates", statistic=statistic, estimate=estimate(0.02, low, 0.03), strata=(exact,)
        )
        return assessed(finding(outcome, measurement=counted), statements=said).clauses[0]

    assert state(0.01).statement is StatementState.CONTRADICTED
    assert "2.00 % of the members" in state(0.01).contradiction
    assert "0.50 % word for word (at least 1.00 %" in state(0.01).contradiction
    assert state(0.0).statement is StatementState.SUPPLIED
    assert state(0.01, Outcome.INVALID).statement is StatementState.SUPPLIED
    assert state(0.01, statistic="excess_rate").statement is StatementState.SUPPLIED


def test_what_contradicts_is_never_left_out_of_the_conclusion():
    """Also where the clause asks no statement and the policy asks for none."""
    denied = statement("No record can be extracted.")
    found = assessed(finding(), statements=[denied], clauses=(clause(statement=None),), asked=())
    assert found.clauses[0].statement is StatementState.CONTRADICTED
    assert any("disagree" in sentence and "C-1" in sentence for sentence in found.conclusion)


@pytest.mark.parametrize("outcome", [item for item in Outcome if item is not Outcome.SIGNAL])
def test_only_a_signal_contradicts_that_nothing_can_be_extracted(outcome):
    """A number after a failed control means nothing, and one below a signal can be chance."""
    denied = statement("No record can be extracted.")
    assert assessed(finding(outcome), statements=[denied]).clauses[0].statement is StatementState.SUPPLIED


REPEATED = measurement(strata=(Stratum(by="copies", label="64+", estimate=measurement().estimate),))


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        ("The training data were deduplicated before training.", True),
        ("Sources are listed. The corpus has been fully de-duplicated; see annex.", True),
        ("We deduplicated all records.", True),
        ("The data was not deduplicated.", False),
        ("It could not be shown that the data was deduplicated.", False),
        ("It is unclear whether the data was deduplicated.", False),
        ("The data was only partly filtered and is deduplicated in part.", False),
        ("The data should be deduplicated, and the next version will be: it wasn't. So be it.", False),
        ("Deduplication is planned.", False),
    ],
)
def test_only_a_plain_claim_is_contradicted(text, claimed):
    found = finding(Outcome.SIGNAL, measurement=REPEATED)
    state = assessed(found, statements=[statement(text)], what=subject(has_copies=True)).clauses[0]
    assert state.statement is (StatementState.CONTRADICTED if claimed else StatementState.SUPPLIED)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_interpretive_clause_is_not_scored_whatever_a_policy_says(outcome):
    framing = clause("C-1", kind=ClauseKind.INTERPRETIVE, tests=(), statement=None)
    state = assessed(finding(outcome), clauses=(framing,), asked=()).clauses[0]
    assert (state.outcome, state.tests, state.decided_by) == (None, (), ())


def test_a_shorter_policy_has_a_longer_list_of_what_was_not_tested():
    clauses = (clause(tests=("t/a", "t/b"), attack_classes=("inversion",)), clause("C-2", tests=("t/b", "t/c", "t/d")))
    found = [finding(Outcome.INCONCLUSIVE, "t/a"), finding(Outcome.NOT_RUN, "t/c")]
    found.append(finding(Outcome.NOT_APPLICABLE, "t/d"))
    assert set(attack_classes_not_tested([catalogue(*clauses)], (), found)) == {
        "inversion",
        "t/b (not asked for by this policy)",
        "t/c (asked for and not run)",
        "t/d (declared not applicable)",
    }
    all_run = [finding(Outcome.SIGNAL, f"t/{letter}") for letter in "abcd"]
    assert attack_classes_not_tested([catalogue(*clauses)], (), all_run) == ("inversion",)


def test_interpretive_clauses_are_printed_and_not_scored():
    state = assessed(
        finding(), clauses=(clause("C-9", kind=ClauseKind.INTERPRETIVE, tests=(), statement=None),)
    ).clauses[0]
    assert state.outcome is None
    assert "not scored" in state.rationale


@pytest.mark.parametrize("outcomes", list(itertools.product(list(Outcome), repeat=2)))
def test_no_forbidden_word_reaches_a_conclusion(outcomes):
    findings = [
        finding(item, name=f"t/{i}", measurement=None if item is Outcome.NOT_RUN else measurement(confirmed=i))
        for i, item in enumerate(outcomes)
    ]
    states = assessed(*findings, clauses=(clause(), clause("C-2")), asked=("C-1", "C-2")).clauses
    for sentence in conclude(findings, states):
        assert not stands_in(sentence)
        assert " pass" not in sentence.lower()


def stands_in(sentence):
    """Return the forbidden words of a sentence, found in another way than the code finds them."""
    padded = f" {''.join(c if c.isalnum() or c == '-' else ' ' for c in sentence.lower())} "
    padded = " ".join(["", *padded.split(), ""])
    return [word for word in FORBIDDEN if f" {word.lower()} " in padded]


def test_the_wording_guard_sees_words_in_every_dress():
    for word in FORBIDDEN:
        for dress in ("The model is {}.", "({})", "{}, it says", "\u201c{}\u201d", "very_{}", "{}!\n"):
            assert forbidden_words(dress.format(word.upper())), (word, dress)
    for plain in ("safeguard", "unsafely", "No leak above the tolerance was shown.", "anonymity", "certificate"):
        assert not forbidden_words(plain), plain


@pytest.mark.parametrize("word", FORBIDDEN)
@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_test_of_a_third_party_cannot_put_a_forbidden_word_into_a_conclusion(word, outcome):
    """Neither through its answer, nor its unit, nor its name; the numbers stay."""
    name = f"acme/{word.lower().replace(' ', '-')}"
    number = estimate(0.25, 0.125, 0.5, unit=word)
    said = measurement(name, answer=f"The model is {word}.", estimate=number, control=number, confirmed=1)
    found = finding(outcome, name=name, measurement=None if outcome is Outcome.NOT_RUN else said)
    sentences = conclude([found], assessed(found).clauses)
    assert not [stands_in(sentence) for sentence in sentences if stands_in(sentence)]
    if outcome is Outcome.SIGNAL:
        assert "0.25 (95 % interval 0.125 to 0.5)" in sentences[0]


def test_a_confirmed_person_raises_the_question_of_a_breach():
    found = finding(Outcome.SIGNAL, measurement=measurement(confirmed=2))
    assert any("Art. 33 GDPR" in sentence for sentence in assessed(found).conclusion)
    assert not any("Art. 33" in sentence for sentence in assessed(finding()).conclusion)


def test_a_record_that_came_out_while_a_control_failed_is_asked_about_and_not_asserted():
    found = assessed(finding(Outcome.INVALID, measurement=measurement(confirmed=2))).conclusion
    asked = [sentence for sentence in found if "Art. 33" in sentence]
    assert len(asked) == 1
    assert "may be of real persons" in asked[0]


def test_validity_ends_after_the_policys_months():
    assert assessed(finding()).triggers[0] == "Test again by 2027-11-21."


STATEMENTS = """
- id: one
  clauses: [C-1]
  text: A text.
  author: Ann
  role: DPO
  date: "2026-01-31"
"""


def load(tmp_path, text, **files):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "statements.yaml").write_text(text)
    return load_statements(tmp_path / "statements.yaml", [catalogue()], today=TODAY)


def test_statements_are_read_with_the_digest_of_what_they_rest_on(tmp_path):
    text = STATEMENTS + "  evidence: [{path: dpia}]\n"
    (found,) = load(tmp_path, text, dpia="x")
    assert found.evidence[0].sha256 == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    wrapped = "statements:\n" + "\n".join("  " + line for line in text.strip().splitlines())
    assert load(tmp_path, wrapped) == (found,)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("[C-1]", "[C-7]", ["statements.yaml:3", "C-7"]),
        ("  author: Ann\n", "", ["statements.yaml:", "author"]),
        ("2026-01-31", "2027-01-31", ["statements.yaml:7", "future"]),
        ("2026-01-31", "31.1.2026", ["not an ISO date"]),
        ("[C-1]", "[]", ["statements.yaml:3", "clauses"]),
        ("author: Ann", "author: '  '", ["statements.yaml:5", "author"]),
        ('date: "2026-01-31"', 'date: "2026-01-31"\n  evidence: [{path: gone}]', ["no file 'gone'"]),
        ('date: "2026-01-31"', 'date: "2026-01-31"\n  evidence: [{path: dpia, sha256: "00"}]', ["changed"]),
    ],
)
def test_statements_that_are_wrong(tmp_path, before, after, words):
    with pytest.raises(DataError) as caught:
        load(tmp_path, STATEMENTS.replace(before, after), dpia="x")
    for word in words:
        assert word in caught.value.message


def test_what_stands_in_the_data_alone_is_not_said_to_have_come_from_the_model():
    of_the_data = finding(name="dataset/a", measurement=measurement("dataset/a", access="data"))
    said = " ".join(conclude([of_the_data], []))
    assert "in the training data" in said
    assert "obtaining training data" not in said
    of_the_model = finding(name="t/b", measurement=measurement("t/b", access="scores"))
    said = " ".join(conclude([of_the_data, of_the_model], []))
    assert said.count("obtaining training data") == 1
    assert "t/b shows more about the training records than about its control" in said


def of_data(outcome, name="dataset/a"):
    return finding(outcome, name, measurement=measurement(name, access="data"))


@pytest.mark.parametrize(
    ("outcome", "of_model", "of_the_data"),
    [
        ("no_signal", "no leakage above the declared tolerances: t/b.", "dataset/a found no more in it, above the control records"),
        ("inconclusive", "either way for t/b. No conclusion of low likelihood", "either way for dataset/a: neither that more stands"),
        ("invalid", "t/b: a control failed, so the numbers mean nothing", "dataset/a: a control failed, so the numbers on the"),
    ],
)  # fmt: skip
def test_of_the_data_alone_each_outcome_has_a_sentence_of_its_own(outcome, of_model, of_the_data):
    data, model = of_data(Outcome(outcome)), finding(Outcome(outcome), "t/b")
    assert of_model in " ".join(conclude([model], []))
    said = " ".join(conclude([data], []))
    assert of_the_data in said
    for word in ("leakage", "likelihood"):  # nothing was asked that could leak
        assert word not in said
    both = conclude([data, model], [])
    assert sum(of_model in sentence for sentence in both) == sum(of_the_data in sentence for sentence in both) == 1


def test_a_test_of_the_data_that_did_not_run_is_named_with_the_others():
    said = conclude([finding(Outcome.NOT_RUN, "dataset/a"), finding(Outcome.NOT_RUN, "t/b")], [])
    assert said == ("Asked for and not done: dataset/a, t/b. This report is no evidence about them.",)


def test_records_that_came_out_are_said_to_have_come_out():
    said = conclude([finding(measurement=measurement(confirmed=2, access="text"))], [])
    assert "brought out training records" in said[0]


def attack_class(name, *tests, **changes):
    values = {"id": name, "name": f"attack {name}", "measures": "m", "needs": "n", "access": ("text",), "tests": tests}
    return AttackClass(**(values | changes))


CLASSES = (
    attack_class("A", "t/a", "t/b"),
    attack_class("B", "t/b"),
    attack_class("C", "t/c"),
    attack_class("D"),
    attack_class("E", "t/e"),
    attack_class("CONTROL", every_test=True),
    attack_class("UNSPOKEN", "t/a"),
)


def test_every_attack_class_that_a_clause_speaks_of_is_named_tested_or_not():
    spoken = clause(tests=(), classes=("A", "B", "C", "D", "E", "CONTROL"))
    found = [finding(Outcome.NO_SIGNAL, "t/a"), finding(Outcome.SIGNAL, "t/b"), finding(Outcome.NOT_RUN, "t/c")]
    states = {state.id: state for state in attack_class_states([catalogue(spoken)], CLASSES, found)}
    assert set(states) == {"A", "B", "C", "D", "E"}
    assert (states["A"].outcome, states["A"].tests) == (Outcome.SIGNAL, ("t/a", "t/b"))
    assert {name for name, state in states.items() if not state.not_tested} == {"A", "B"}
    assert attack_classes_not_tested([catalogue(spoken)], list(states.values()), found) == (
        "attack C (asked for and not run)",
        "attack D (there is no test of it here)",
        "attack E (not asked for by this policy)",
    )
