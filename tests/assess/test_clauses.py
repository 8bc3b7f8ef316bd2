"""Clause states, statements, conclusions and exit codes."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from making import catalogue, clause, finding, measurement, policy, subject

from auditor.assess.clauses import assess, exit_code, worst
from auditor.assess.conclusion import FORBIDDEN, conclude
from auditor.assess.statements import load_statements
from auditor.core.assessment import Statement, StatementState
from auditor.core.clause import ClauseKind
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
        words = sentence.lower()
        assert not [
            word
            for word in FORBIDDEN
            if word.lower() in words.replace("-", "-").split() or f" {word.lower()} " in words
        ]
        assert " pass" not in words


def test_a_confirmed_person_raises_the_question_of_a_breach():
    found = finding(Outcome.SIGNAL, measurement=measurement(confirmed=2))
    assert any("Art. 33 GDPR" in sentence for sentence in assessed(found).conclusion)
    assert not any("Art. 33" in sentence for sentence in assessed(finding()).conclusion)


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
        ('date: "2026-01-31"', 'date: "2026-01-31"\n  evidence: [{path: gone}]', ["no file 'gone'"]),
        ('date: "2026-01-31"', 'date: "2026-01-31"\n  evidence: [{path: dpia, sha256: "00"}]', ["changed"]),
    ],
)
def test_statements_that_are_wrong(tmp_path, before, after, words):
    with pytest.raises(DataError) as caught:
        load(tmp_path, STATEMENTS.replace(before, after), dpia="x")
    for word in words:
        assert word in caught.value.message
