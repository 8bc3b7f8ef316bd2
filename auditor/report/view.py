"""Turns findings and assessment into what the template prints: every number formatted, with unit and interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.core.assessment import StatementState
from auditor.report import glance
from auditor.report.clause_table import clause_groups
from auditor.report.committed import CommittedPlan, preregistration
from auditor.report.external import external_pages
from auditor.report.finding_page import MOST_ROWS, finding_page
from auditor.report.procedures import attack_classes, deviations, overrides, procedures, tolerances
from auditor.report.withheld import NOTHING, Withheld, withheld
from auditor.report.writing import OUTCOMES, STATEMENTS, number, outcome, p_value, spelled, statement_state, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.core.assessment import Assessment, ClauseState, Statement
    from auditor.core.clause import Catalogue
    from auditor.core.external import ExternalFile
    from auditor.core.finding import Finding, InstrumentCheck
    from auditor.core.plan import Plan
    from auditor.core.policy import Policy
    from auditor.core.subject import Subject
    from auditor.report.signature import Signature

__all__ = ["OUTCOMES", "ReportInput", "build_view", "number", "spelled", "visible"]

EXHIBITS = {
    "none": "none shown",
    "masked": "texts masked, pictures pixelated",
    "full": "texts masked, pictures as they are",
}
"""What a policy lets a report show, in words."""


@dataclass(frozen=True, slots=True)
class ReportInput:
    """All that a report is made of."""

    policy: Policy
    subject: Subject
    plan: Plan
    findings: tuple[Finding, ...]
    assessment: Assessment
    statements: tuple[Statement, ...]
    instrument: tuple[InstrumentCheck, ...]
    catalogues: tuple[Catalogue, ...]
    environment: Mapping[str, Any]
    evidence_digest: str
    signer: str | None
    committed: CommittedPlan | None = None
    """The plan as it was committed beforehand; None: none was."""
    external: tuple[ExternalFile, ...] = ()
    """What other tools found; none of it is a finding."""
    signature: Signature | None = None
    """Who signs and what that shows; None: nobody signs."""
    withheld: Withheld = NOTHING
    """What is withheld, and for whom it is encrypted."""


def build_view(source: ReportInput) -> dict[str, Any]:
    """Return all that the template prints, formatted."""
    pages = [finding_page(item, index) for index, item in enumerate(source.findings, start=1)]
    return {
        "title": f"Memorization audit of {visible(source.subject.name)}",
        "subject": source.subject,
        "policy": source.policy,
        "plan": source.plan,
        "environment": source.environment,
        "evidence_digest": source.evidence_digest,
        "signer": source.signer,
        "signature": source.signature,
        "withheld": withheld(source.withheld),
        "exhibits": EXHIBITS[source.policy.exhibits],
        "findings": pages,
        "counts": glance.counts(source.findings),
        "headline": glance.headline(source.findings),
        "summary": glance.summary(source),
        "tiles": glance.tiles(source),
        "strata": glance.strata_matrix(pages),
        "prongs": glance.prong_matrix(source.catalogues, source.assessment.clauses),
        "identification": glance.identification(source),
        "responsibilities": glance.responsibilities(source, source.assessment),
        "limits": source.assessment.limits,
        "triggers": source.assessment.triggers,
        "not_tested": source.assessment.attack_classes_not_tested,
        "attack_classes": attack_classes(source),
        "catalogues": clause_groups(source),
        **_asked(source.assessment.clauses),
        "statements": source.statements[:MOST_ROWS],
        "all_statements": len(source.statements),
        "instrument": source.instrument[:MOST_ROWS],
        "procedures": procedures(source),
        "tolerances": tolerances(source),
        "deviations": deviations(source),
        "overrides": overrides(source),
        "conversions": glance.conversions(source),
        "access": source.assessment.access,
        "preregistration": preregistration(source.committed, source.environment),
        "external": external_pages(source.external),
        "outcomes": [outcome(value) for value in OUTCOMES],
        "created": str(source.environment["created"]),
        "p_value": p_value,
        "statement_state": statement_state,
        "most_rows": MOST_ROWS,
    }


def _asked(clauses: Sequence[ClauseState]) -> dict[str, list[ClauseState]]:
    """Return the clauses that ask for a statement: what is contradicted, missing or left open in part, and what is answered."""
    graver = list(STATEMENTS)
    asked = [item for item in clauses if item.statement is not None]
    still_open = [item for item in asked if item.statement is not StatementState.SUPPLIED or item.unanswered]
    still_open.sort(key=lambda item: graver.index(item.statement or StatementState.SUPPLIED))
    answered = [item for item in asked if item.statement is StatementState.SUPPLIED and not item.unanswered]
    return {"clauses_open": still_open[:MOST_ROWS], "clauses_answered": answered[:MOST_ROWS]}
