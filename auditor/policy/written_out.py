"""Writes out what a policy leaves to its catalogues and to the subject: clauses, statements, tolerances of the release context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.core.clause import ClauseKind
from auditor.core.policy import Override, Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.clause import Catalogue
    from auditor.core.subject import ReleaseContext


def in_context(policy: Policy, context: ReleaseContext) -> Policy:
    """Return the policy with the tolerances of a declared release context; each that differs is one of its overrides."""
    tests, changes = [], []
    for entry in policy.tests:
        tolerance = entry.tolerance
        own = None if tolerance is None else tolerance.by_release_context.get(context.value)
        if tolerance is None or own is None or own == tolerance.at_most:
            tests.append(entry)
            continue
        tests.append(entry.model_copy(update={"tolerance": tolerance.model_copy(update={"at_most": own})}))
        changes.append(
            Override(
                place=f"{entry.test}.tolerance.at_most",
                inherited=f"{tolerance.at_most:g}",
                now=f"{own:g}",
                because=f"The declared release context is {context.value}.",
            )
        )
    return policy.model_copy(update={"tests": tuple(tests), "overrides": (*policy.overrides, *changes)})


def mapped(policy: Policy, catalogues: Sequence[Catalogue]) -> Policy:
    """Return the policy with the clauses that each test is evidence for, and the statements that are asked, written out.

    What a policy names itself stays. Else a test is evidence for every clause that names it and that a test can answer, and every
    statement is asked that a clause asks for.
    """
    clauses = [clause for catalogue in catalogues for clause in catalogue.clauses]
    answerable = [clause for clause in clauses if clause.kind in {ClauseKind.TESTABLE, ClauseKind.HYBRID}]
    tests = tuple(
        entry
        if entry.evidence_for is not None
        else entry.model_copy(
            update={
                "evidence_for": tuple(
                    clause.id for clause in answerable if clause.every_test or entry.test in clause.tests
                )
            }
        )
        for entry in policy.tests
    )
    statements = policy.statements
    if statements is None:
        statements = tuple(clause.id for clause in clauses if clause.statement is not None)
    return policy.model_copy(update={"tests": tests, "statements": statements})
