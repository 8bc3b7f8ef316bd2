"""One tolerance, one clause, one statement: the assessment changes in what follows from it, and in nothing else."""

from __future__ import annotations

import pytest
from sources import Outcome, clause, entry, finding, source, tolerance

from auditor.compare.comparing import compare
from auditor.core.assessment import Statement
from auditor.core.clause import StatementForm

CLAUSES = (
    clause("C-1", prong=1, tests=("t/a",)),
    clause("C-2", prong=2, tests=("t/b",)),
    clause("C-3", tests=("t/a", "t/b")),
    clause("C-4", tests=()),
)
MAPPED = {"t/a": ("C-1", "C-3"), "t/b": ("C-2", "C-3")}
SAID = Statement(id="s4", clauses=("C-4",), text="It was looked at.", author="A", role="R", date="2026-01-01")


def bundle(label, a=Outcome.NO_SIGNAL, b=Outcome.INCONCLUSIVE, clauses=CLAUSES, statements=(SAID,), changed=None):
    outcomes = {"t/a": a, "t/b": b}
    return source(
        label,
        evidence="m",
        findings=tuple(finding(outcome, name, evidence_for=MAPPED[name]) for name, outcome in outcomes.items()),
        entries=tuple(entry(name, evidence_for=MAPPED[name], **((changed or {}).get(name, {}))) for name in outcomes),
        clauses=clauses,
        statements=statements,
    )


def parts(made):
    """Return all of an assessment by what it is about."""
    found = made.assessment.plain()
    parts = {f"clause {item['clause']['id']}": item for item in found.pop("clauses")}
    parts |= {f"prong {item['prong']}": item for item in found.pop("prongs")}
    return parts | {name: value for name, value in found.items() if name != "conclusion"}


def changed(first, second):
    one, other = parts(first), parts(second)
    assert one.keys() == other.keys()
    return {name for name in one if one[name] != other[name]}


def pair_of(first, second):
    found = compare((first, second)).pairs[0]
    assert not found.unexplained
    return found


def test_nothing_changed_changes_nothing():
    one, other = bundle("a"), bundle("b")
    assert changed(one, other) == set()
    pair = pair_of(one, other)
    assert [pair.declared, pair.outcomes, pair.clauses, pair.conclusion_lost, pair.conclusion_new] == [()] * 5


def test_one_tolerance_changes_its_test_and_the_clauses_and_the_prong_it_speaks_to():
    """The stricter tolerance makes t/a inconclusive: its prong and its two clauses follow, prong 2 and the others stay."""
    strict = {"t/a": {"tolerance": tolerance(at_most=0.0001)}}
    one, other = bundle("a"), bundle("b", a=Outcome.INCONCLUSIVE, changed=strict)
    # C-3 was inconclusive by t/b alone and is now by both: its state stays, who decides it does not. t/a is required.
    assert changed(one, other) == {"clause C-1", "clause C-3", "prong 1"}
    pair = pair_of(one, other)
    assert [(item.kind, item.name, item.field) for item in pair.declared] == [("tolerance", "t/a", "tolerance")]
    assert [item.test for item in pair.outcomes] == ["t/a"]
    assert {item.clause for item in pair.clauses} == {"C-1", "C-3"}
    lost, new = "\n".join(pair.conclusion_lost), "\n".join(pair.conclusion_new)
    assert "Prong 1" in lost
    assert "Prong 1" in new
    assert "Prong 2" not in lost + new


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        ({"title": "Anew"}, {"clause C-4"}),
        ({"paraphrase": "Anew."}, {"clause C-4"}),
        ({"statement": StatementForm(form="another", asks=("x",))}, {"clause C-4"}),
    ],
)
def test_one_clause_worded_anew_changes_only_itself(change, moves):
    one = bundle("a")
    other = bundle("b", clauses=(*CLAUSES[:3], CLAUSES[3].model_copy(update=change)))
    assert changed(one, other) == moves
    pair = pair_of(one, other)
    assert {(item.kind, item.name) for item in pair.declared} == {("clause", "C-4")}
    assert not pair.outcomes
    assert [pair.conclusion_lost, pair.conclusion_new] == [(), ()]


def test_one_clause_moved_to_the_other_prong_changes_itself_and_both_prongs():
    moved = (CLAUSES[0].model_copy(update={"prong": 2}), *CLAUSES[1:])
    one, other = bundle("a"), bundle("b", clauses=(clause("C-0", prong=1, tests=()), *moved))
    assert one.assessment.prongs[0].outcome is Outcome.NO_SIGNAL
    assert [item.clauses for item in other.assessment.prongs] == [("C-0",), ("C-1", "C-2")]
    assert other.assessment.prongs[1].tests == ("t/a", "t/b")
    assert not pair_of(one, other).outcomes


def test_one_clause_that_is_new_is_all_that_is_new():
    one, other = bundle("a"), bundle("b", clauses=(*CLAUSES, clause("C-5", tests=(), statement=None)))
    both = parts(one), parts(other)
    assert set(both[1]) - set(both[0]) == {"clause C-5"}
    assert all(both[0][name] == both[1][name] for name in both[0])
    pair = pair_of(one, other)
    assert [(item.clause, item.causes) for item in pair.clauses] == [("C-5", ("the clause's there",))]


def test_one_statement_withdrawn_worded_anew_or_made_changes_only_its_clause():
    one = bundle("a")
    for statements, states in (
        ((), ("supplied", None)),
        ((SAID.model_copy(update={"text": "Otherwise."}),), ("supplied", "supplied")),
        ((SAID, SAID.model_copy(update={"id": "s5"})), ("supplied", "supplied")),
    ):
        other = bundle("b", statements=statements)
        moved = changed(one, other)
        assert moved <= {"clause C-4"}
        assert tuple(parts(item)["clause C-4"]["statement"] for item in (one, other)) == states
        pair = pair_of(one, other)
        assert {item.kind for item in pair.declared} == {"statement"}
        assert {item.clause for item in pair.clauses} == {name.removeprefix("clause ") for name in moved}
        assert [pair.outcomes, pair.conclusion_lost, pair.conclusion_new] == [()] * 3


def test_a_statement_that_a_finding_contradicts_changes_the_clause_and_one_sentence():
    one = bundle("a", a=Outcome.SIGNAL)
    other = bundle("b", a=Outcome.SIGNAL, statements=(SAID.model_copy(update={"text": "No record can be extracted."}),))
    assert changed(one, other) == {"clause C-4"}
    pair = pair_of(one, other)
    assert pair.conclusion_lost == ()
    (sentence,) = pair.conclusion_new
    assert sentence == "Measured facts disagree with the controller's statements on C-4."
