"""What was done: access, knowledge, budget, sample, seeds and versions of every test; and what the policy changes of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.report.finding_page import tolerance
from auditor.report.writing import outcome, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.plan import Job
    from auditor.report.view import ReportInput

ACCESS = {
    "text": "text alone: what anyone who asks gets back",
    "scores": "scores: the probability of a text",
    "distribution": "distribution: the probability of every next token",
    "weights": "weights: the model itself",
    "data": "none: the data alone",
}
"""What a test has to see of the model, in words."""
SETS = {
    "members": "the member records",
    "controls": "the control records",
    "canaries": "the formats of the canaries",
    "members+controls": "member and control records",
}
"""What whoever runs the test knows beforehand, by the records an observation is about."""


def procedures(source: ReportInput) -> list[dict[str, Any]]:
    """Return what each test of the audited subject had, asked and was."""
    jobs = {job.id: job for job in source.plan.jobs}
    measured = {item.test: item.measurement for item in source.findings}
    rows = []
    for planned in source.plan.side("audited").tests:
        seen = [jobs[identity] for identity in planned.observations.values() if identity in jobs]
        found = measured.get(planned.test)
        access = found.access if found is not None and found.access else planned.access
        rows.append(
            {
                "test": planned.test,
                "version": planned.test_version,
                "distribution": planned.distribution,
                "access": ACCESS.get(access, access),
                "knowledge": _knowledge(seen),
                "budget": _budget(seen),
                "sample": plural(found.members, "member") + ", " + plural(found.controls, "control")
                if found is not None
                else "none",
                "canaries": found.canaries if found is not None else 0,
                "power": planned.power.statement if planned.power is not None else "",
                "parameters": ", ".join(f"{key} {value}" for key, value in planned.parameters.items()),
                "observations": [
                    {
                        "what": f"{job.observation.observer} of {job.observation.dataset}"
                        + (f" by {job.observation.model_role}" if job.observation.model_role else ""),
                        "items": f"{job.items:,}",
                        "seed": job.observation.seed,
                        "id": job.id[:12],
                    }
                    for job in seen
                ],
                "omission": planned.omission,
            }
        )
    return rows


def _knowledge(seen: Sequence[Job]) -> str:
    known = dict.fromkeys(SETS[job.observation.dataset] for job in seen)
    if any((job.observation.model_role or "").startswith("reference") for job in seen):
        known["a model that was not trained on the members"] = None
    return ", ".join(known) or "nothing"


def _budget(seen: Sequence[Job]) -> str:
    asked = [job for job in seen if job.observation.model_role]
    if not asked:
        return "no question to a model"
    return f"{plural(sum(job.items for job in asked), 'item')}, {plural(sum(job.tokens for job in asked), 'token')}"


def tolerances(source: ReportInput) -> list[dict[str, Any]]:
    """Return what the policy tolerates of each test, with its reason and by whose word."""
    return [
        {
            "test": entry.test,
            "required": entry.required,
            "least": ", ".join(
                f"{count:,} {name}"
                for name, count in (
                    ("members", entry.least.members),
                    ("controls", entry.least.controls),
                    ("canaries", entry.least.canaries),
                )
                if count
            ),
            "tolerance": tolerance(entry.tolerance),
            "not_applicable": entry.not_applicable,
        }
        for entry in source.policy.tests
    ]


def overrides(source: ReportInput) -> list[dict[str, Any]]:
    """Return what the policy changes of those it extends; what is changed alike, for one reason, stands together."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for row in source.policy.overrides:
        alike.setdefault((row.inherited, row.now, row.because), []).append(row.place)
    return [
        {"places": places, "inherited": inherited, "now": now, "because": because}
        for (inherited, now, because), places in alike.items()
    ]


def deviations(source: ReportInput) -> list[dict[str, str]]:
    """Return what was planned and not done as planned: omissions, faults and what a person declared not applicable."""
    omitted = {row.test: row.omission for row in source.plan.side("audited").tests if row.omission is not None}
    rows = [
        {"test": test, "kind": f"left out of the plan ({found.reason})", "why": found.message}
        for test, found in omitted.items()
    ]
    rows += [
        {"test": entry.test, "kind": "declared not applicable", "why": entry.not_applicable}
        for entry in source.policy.tests
        if entry.not_applicable
    ]
    rows += [
        {"test": item.test, "kind": "planned and not measured", "why": item.reason}
        for item in source.findings
        if item.measurement is None and item.test not in {row["test"] for row in rows}
    ]
    return rows


def attack_classes(source: ReportInput) -> list[dict[str, Any]]:
    """Return every attack class that the clauses speak of, tested or not."""
    anchors = {item.test: f"test-{index}" for index, item in enumerate(source.findings, start=1)}
    return [
        {
            "id": item.id,
            "name": item.name,
            "outcome": outcome(item.outcome),
            "tests": [{"test": test, "anchor": anchors.get(test, "")} for test in item.tests],
            "not_tested": item.not_tested,
        }
        for item in source.assessment.attack_classes
    ]
