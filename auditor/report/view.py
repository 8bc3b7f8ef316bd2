"""Turns findings and assessment into what the template prints: every number formatted, with unit and interval."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.core.assessment import StatementState
from auditor.core.finding import Estimate, Finding, Outcome
from auditor.report.committed import CommittedPlan, preregistration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.core.assessment import Assessment, ClauseState, Statement
    from auditor.core.clause import Catalogue
    from auditor.core.finding import InstrumentCheck, Measurement
    from auditor.core.plan import Plan
    from auditor.core.policy import Policy
    from auditor.core.subject import Subject

MOST_ROWS = 200
"""Rows of a table in the report; the rest is in the attached findings."""
LONGEST_TEXT = 2000
"""Characters of a text from data or model that are printed."""

OUTCOMES = {
    Outcome.SIGNAL: ("signal", "Signal", "\u25a0", "More than in the control was shown, or a record of a real person came out."),
    Outcome.INVALID: ("invalid", "Invalid", "\u2715", "A control failed: the number means nothing."),
    Outcome.NOT_RUN: ("not-run", "Not run", "\u2013", "Asked for and not done."),
    Outcome.INCONCLUSIVE: ("inconclusive", "Inconclusive", "\u25d0", "Neither shown nor excluded."),
    Outcome.NO_SIGNAL: (
        "no-signal",
        "No signal",
        "\u25cb",
        "Within the tolerance, and the sample could have shown more.",
    ),
    Outcome.NOT_APPLICABLE: ("not-applicable", "Not applicable", "\u2298", "Declared by a person, with a reason."),
}
"""Class, word, shape and meaning of every outcome: never a colour alone."""

STATEMENTS = {
    StatementState.SUPPLIED: ("supplied", "Supplied", "\u25cf"),
    StatementState.MISSING: ("missing", "Missing", "\u25cb"),
    StatementState.CONTRADICTED: ("contradicted", "Contradicted", "\u2715"),
}


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


def number(value: float, unit: str) -> str:
    """Return a number as a reader compares it: ratios as percentages, the rest with its unit."""
    if not math.isfinite(value):
        return "\u2013"
    if unit == "ratio":
        share = 100 * value
        digits = 1 if abs(share) >= 10 else 2 if abs(share) >= 0.1 or share == 0 else 3
        return f"{share:.{digits}f}\u00a0%".replace("-", "\u2212")
    short = {"bit": "bit", "tokens": "tokens"}.get(unit, unit)
    return f"{value:.2f}\u00a0{short}".replace("-", "\u2212")


def interval(found: Estimate) -> str:
    """Return an interval in brackets."""
    low, high = number(found.low, found.unit), number(found.high, found.unit)
    unit = "\u00a0%" if found.unit == "ratio" else f"\u00a0{found.unit}"
    low = low.removesuffix(unit)
    return f"[{low}, {high}]"


def estimate(found: Estimate | None) -> dict[str, str] | None:
    """Return a number with its interval, both formatted."""
    if found is None:
        return None
    return {
        "value": number(found.value, found.unit),
        "interval": interval(found),
        "level": f"{100 * found.level:g}\u00a0%",
        "method": found.method,
        "n": f"{found.n:,}",
        "bound": "" if found.upper is None else number(found.upper, found.unit),
    }


def p_value(value: float | None) -> str:
    """Return a p-value, bounded where it is too small to matter."""
    if value is None:
        return "\u2013"
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"


def visible(text: str) -> str:
    """Return a text from data or model with every character that could mislead a reader spelled out, and not too long."""
    return spelled(text[:LONGEST_TEXT]) + (" \u2026" if len(text) > LONGEST_TEXT else "")


def spelled(text: str) -> str:
    """Return a text with every character that could mislead a reader spelled out."""
    shown = []
    for letter in text:
        hidden = unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Co", "Cn"} and letter not in "\n\t"
        shown.append(f"\u27e8U+{ord(letter):04X}\u27e9" if hidden else letter)
    return "".join(shown)


def outcome(value: Outcome | None) -> dict[str, str] | None:
    """Return class, word, shape and meaning of an outcome."""
    if value is None:
        return None
    name, word, shape, meaning = OUTCOMES[value]
    return {"class": name, "word": word, "shape": shape, "meaning": meaning}


def build_view(source: ReportInput) -> dict[str, Any]:
    """Return all that the template prints, formatted."""
    findings = [_finding(item, index) for index, item in enumerate(source.findings, start=1)]
    return {
        "title": f"Memorization audit of {visible(source.subject.name)}",
        "source": source,
        "subject": source.subject,
        "policy": source.policy,
        "plan": source.plan,
        "environment": source.environment,
        "evidence_digest": source.evidence_digest,
        "signer": source.signer,
        "findings": findings,
        "counts": _counts(source.findings),
        "headline": _headline(source.findings),
        "conclusion": [visible(sentence) for sentence in source.assessment.conclusion],
        "limits": source.assessment.limits,
        "triggers": source.assessment.triggers,
        "not_tested": source.assessment.attack_classes_not_tested,
        "catalogues": [_catalogue(item, source) for item in source.catalogues],
        "statements": source.statements,
        "instrument": source.instrument,
        "procedures": _procedures(source),
        "preregistration": preregistration(source.committed, source.environment),
        "outcomes": [outcome(value) for value in OUTCOMES],
        "created": str(source.environment["created"]),
        "p_value": p_value,
        "visible": visible,
        "data": _data(source.subject),
    }


def _counts(findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
    found = []
    for value in OUTCOMES:
        count = sum(item.outcome is value for item in findings)
        if count:
            found.append({**(outcome(value) or {}), "count": count})
    return found


def _headline(findings: tuple[Finding, ...]) -> dict[str, str]:
    """Return the worst outcome of the battery, for the cover."""
    for value in OUTCOMES:
        if any(item.outcome is value for item in findings):
            return outcome(value) or {}
    return {}


def _finding(item: Finding, index: int) -> dict[str, Any]:
    measured = item.measurement
    return {
        "anchor": f"test-{index}",
        "test": item.test,
        "title": measured.title if measured else item.test,
        "outcome": outcome(item.outcome),
        "reason": visible(item.reason),
        "required": item.required,
        "p_adjusted": p_value(item.p_adjusted),
        "battery": item.battery,
        "tolerance": _tolerance(item),
        "evidence_for": item.evidence_for,
        "measured": _measured(measured) if measured else None,
        "figures": [f"{index}-{number}" for number in range(1, len(measured.figures) + 1)] if measured else [],
        "raw": item,
    }


def _tolerance(item: Finding) -> dict[str, str] | None:
    found = item.tolerance
    if found is None:
        return None
    absolute = found.absolute_at_most if found.absolute_at_most is not None else found.at_most
    return {
        "statistic": found.statistic.replace("_", " "),
        "at_most": number(found.at_most, found.unit),
        "absolute": number(absolute, found.unit),
        "population": found.population,
        "reason": found.reason,
        "set_by": found.set_by,
    }


def _measured(item: Measurement) -> dict[str, Any]:
    strata = sorted(item.strata, key=lambda row: (row.by, 0))
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in strata:
        groups.setdefault(row.by, []).append(
            {
                "label": visible(row.label),
                "estimate": estimate(row.estimate),
                "control": estimate(row.control),
                "note": row.note,
            }
        )
    return {
        "statistic": item.statistic.replace("_", " "),
        "question": item.question,
        "answer": visible(item.answer),
        "estimate": estimate(item.estimate),
        "control": estimate(item.control),
        "control_reason": item.control_reason,
        "excess": estimate(item.excess),
        "p_value": p_value(item.p_value),
        "members": f"{item.members:,}",
        "controls": f"{item.controls:,}",
        "canaries": f"{item.canaries:,}" if item.canaries else "",
        "gates": item.gates,
        "power": item.power,
        "smallest": number(item.power.smallest_effect, item.power.unit),
        "groups": {by: rows[:MOST_ROWS] for by, rows in groups.items()},
        "exhibits": [
            {
                "record": visible(row.record),
                "excerpt": visible(row.excerpt),
                "note": row.note,
                "picture": f"data:image/png;base64,{row.picture}" if row.picture else "",
            }
            for row in item.exhibits
        ],
        "pictured": any(row.picture for row in item.exhibits),
        "caveats": item.caveats,
        "method": item.method,
        "advice": item.advice,
        "source": item.source,
        "observations": item.observations,
        "figures": item.figures,
    }


def _catalogue(catalogue: Catalogue, source: ReportInput) -> dict[str, Any]:
    states = [state for state in source.assessment.clauses if state.catalogue == catalogue.id]
    return {"catalogue": catalogue, "rows": [_clause(state) for state in states]}


def _clause(state: ClauseState) -> dict[str, Any]:
    statement = None
    if state.statement is not None:
        name, word, shape = STATEMENTS[state.statement]
        statement = {"class": name, "word": word, "shape": shape, "ids": ", ".join(state.statement_ids)}
    checked = state.clause.verification
    notes = []
    if not checked.paragraph_confirmed:
        notes.append("paragraph number not verified")
    if not checked.verified:
        notes.append("wording not verified against the source")
    return {
        "clause": state.clause,
        "outcome": outcome(state.outcome),
        "statement": statement,
        "contradiction": visible(state.contradiction),
        "rationale": state.rationale,
        "verification": "; ".join(notes),
        "kind": state.clause.kind.value,
    }


def _data(subject: Subject) -> list[dict[str, str]]:
    rows = []
    for label, identity in (("Members", subject.members), ("Controls", subject.controls)):
        if identity is None:
            rows.append({"label": label, "records": "none", "clusters": "", "digest": ""})
            continue
        rows.append(
            {
                "label": label,
                "records": f"{identity.records:,}",
                "clusters": f"{identity.clusters:,} ({identity.clustered_by})",
                "digest": identity.digest,
            }
        )
    return rows


def _procedures(source: ReportInput) -> list[dict[str, str]]:
    jobs = {job.id: job for job in source.plan.jobs}
    rows = []
    for planned in source.plan.side("audited").tests:
        seen = [jobs[identity] for identity in planned.observations.values() if identity in jobs]
        rows.append(
            {
                "test": planned.test,
                "version": f"{planned.test_version} ({planned.distribution})",
                "access": planned.access,
                "parameters": ", ".join(f"{key} {value}" for key, value in planned.parameters.items()),
                "observations": "; ".join(
                    f"{job.observation.observer} of {job.observation.dataset}"
                    + (f" by {job.observation.model_role}" if job.observation.model_role else "")
                    + f" ({job.items:,})"
                    for job in seen
                ),
            }
        )
    return rows
