"""A changed statement, release context or parameter changes what it should in the clauses, and the comparison says why."""

from __future__ import annotations

import dataclasses
import datetime as dt

from sources import catalogue, clause, estimate, finding, measurement, source

from auditor.assess.clauses import assess
from auditor.compare.comparing import compare
from auditor.core.assessment import Statement
from auditor.core.clause import StatementForm
from auditor.core.finding import Outcome
from auditor.core.subject import ReleaseContext

ASKING = (
    clause("C-1", tests=(), statement=StatementForm(form="release_context_statement", asks=("context", "users"))),
    clause(
        "C-2", tests=(), statement=StatementForm(form="training_method_statement", asks=("epsilon", "delta", "unit"))
    ),
    clause("C-3", tests=(), statement=StatementForm(form="other", asks=("what",))),
)


def said(form, name, **answers):
    return Statement(id=form, clauses=(name,), form=form, answers=answers, author="A", role="R", date="2026-01-05")


BOUND = finding(
    Outcome.SIGNAL,
    name="language/epsilon",
    measurement=measurement(
        "language/epsilon", statistic="epsilon_lower", estimate=estimate(3.0, 2.6, 30.0, "nat", 42)
    ),
)
CONTEXT = said("release_context_statement", "C-1", context="public-api")
PRIVACY = said("training_method_statement", "C-2", epsilon=1.0, delta=1e-6, unit="person")


def made(label, *statements, context=ReleaseContext.PUBLIC_API, parameters=None):
    """One bundle, assessed again with everything that a statement can be contradicted by."""
    settings = parameters or {"unit": "person", "delta": 1e-5}
    found = source(label, evidence="m", findings=(BOUND,), statements=statements, clauses=ASKING, parameters=settings)
    subject = found.subject.model_copy(update={"release_context": context})
    anew = assess(
        found.policy, [catalogue(*ASKING)], found.findings, statements, subject, created=dt.date(2026, 1, 5),
        parameters={"language/epsilon": settings},
    )  # fmt: skip
    return dataclasses.replace(found, subject=subject, assessment=anew)


def changed(first, second):
    pair = compare((first, second)).pairs[0]
    return {item.clause: (item.fields, item.causes) for item in pair.clauses}, pair.unexplained


def test_an_answer_that_is_added_is_the_only_thing_that_changes():
    more = CONTEXT.model_copy(update={"answers": {**CONTEXT.answers, "users": "everyone"}})
    found, unexplained = changed(made("a", CONTEXT, PRIVACY), made("b", more, PRIVACY))
    assert found == {"C-1": (("unanswered",), ("the statement release_context_statement",))}
    assert not unexplained


def test_another_release_context_contradicts_what_was_said_of_it():
    found, unexplained = changed(
        made("a", CONTEXT, PRIVACY), made("b", CONTEXT, PRIVACY, context=ReleaseContext.OPEN_WEIGHTS)
    )
    assert list(found) == ["C-1"]
    fields, causes = found["C-1"]
    assert set(fields) == {"statement", "contradiction"}
    assert causes == ("the declared release context",)
    assert not unexplained


def test_a_larger_epsilon_is_no_longer_refuted():
    larger = PRIVACY.model_copy(update={"answers": {**PRIVACY.answers, "epsilon": 4.0}})
    found, unexplained = changed(made("a", PRIVACY), made("b", larger))
    assert list(found) == ["C-2"]
    assert set(found["C-2"][0]) == {"statement", "contradiction"}
    assert "the statement training_method_statement" in found["C-2"][1]
    assert not unexplained


def test_nothing_else_than_its_own_clause_follows_from_a_statement():
    found, _ = changed(made("a", PRIVACY), made("b", PRIVACY, said("other", "C-3", what="this")))
    assert list(found) == ["C-3"]
