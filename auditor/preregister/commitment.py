"""Spells out what an audit is fixed to, from what is known before the first question, or from a bundle: the same both times."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from auditor.core.preregistration import Commitment, CommittedPolicy, CommittedSubject, CommittedTest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.core.plan import Plan
    from auditor.core.policy import Policy
    from auditor.core.subject import Subject


def commitment(
    policy: Policy,
    subject: Subject,
    plan: Plan,
    *,
    policies: Sequence[bytes],
    clauses: Mapping[str, bytes],
    versions: Mapping[str, str],
) -> Commitment:
    """Return what an audit is fixed to.

    Args:
        policy: The policy in the declared release context, with clauses and statements written out.
        subject: What is audited.
        plan: The plan.
        policies: Content of the policy file and of those it extends, the nearest first.
        clauses: Content of each clause catalogue, and of the attack classes, by id.
        versions: Versions of all that can change a number or a page, by name.
    """
    planned = {row.test: row for row in plan.side("audited").tests}
    tests = {}
    for entry in policy.tests:
        row = planned.get(entry.test)
        tests[entry.test] = CommittedTest(
            version=row.test_version if row else None,
            distribution=row.distribution if row else None,
            required=entry.required,
            parameters=dict(row.parameters if row else entry.parameters),
            least=entry.least,
            tolerance=entry.tolerance,
            evidence_for=entry.evidence_for or (),
            not_applicable=entry.not_applicable,
            cannot_run=f"{row.omission.reason}: {row.omission.message}" if row and row.omission else None,
        )
    return Commitment(
        plan=plan.identity(),
        policy=CommittedPolicy(
            id=policy.id,
            version=policy.version,
            files=tuple(hashlib.sha256(content).hexdigest() for content in policies),
            clauses={name: hashlib.sha256(content).hexdigest() for name, content in clauses.items()},
            seed=policy.seed,
            confidence=policy.confidence,
            correction=policy.correction,
            queries=policy.queries,
            exhibits=policy.exhibits,
            valid_months=policy.valid_months,
            statements=policy.statements or (),
        ),
        subject=_subject(subject),
        tests=tests,
        versions=dict(versions),
    )


def _subject(subject: Subject) -> CommittedSubject:
    return CommittedSubject(
        digest=subject.identity(),
        name=subject.name,
        controller=subject.controller,
        release_context=subject.release_context,
        model=subject.model.digest,
        dtype=subject.model.dtype,
        references=tuple(reference.digest for reference in subject.references),
        members=subject.members.digest,
        controls=subject.controls.digest if subject.controls else None,
        controls_drawn=subject.controls_drawn,
        canaries=subject.canaries.sha256 if subject.canaries else None,
        statements=subject.statements.sha256 if subject.statements else None,
    )
