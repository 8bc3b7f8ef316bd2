"""Bundles as an export sees them, made in memory."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "assess"))

from making import DIGEST, catalogue, clause, entry, estimate, finding, measurement, policy, subject, tolerance

from auditor.assess.clauses import assess
from auditor.core.assessment import Statement
from auditor.core.finding import Exhibit, Outcome, Stratum
from auditor.core.plan import Plan, PlannedSide, Side
from auditor.core.subject import Artifact
from auditor.exchange.source import Source, shareable

__all__ = [
    "DIGEST",
    "Outcome",
    "entry",
    "estimate",
    "finding",
    "findings_of",
    "measurement",
    "replace",
    "source",
    "tolerance",
]

RESTRICTED = "Erika Mustermann, 12 Long Lane"
FILES = (
    "manifest.json", "seal.dsse.json", "policy.yaml", "plan.json", "subject.json", "findings.json", "assessment.json", "report.html",
    "report.pdf",
)  # fmt: skip


def digest(word) -> str:
    import hashlib

    return hashlib.sha256(str(word).encode()).hexdigest()


def findings_of(*outcomes, required=None):
    """One finding for each outcome, named in order."""
    needed = required or [True] * len(outcomes)
    return tuple(
        finding(outcome, f"t/n{place}", required=need)
        for place, (outcome, need) in enumerate(zip(outcomes, needed, strict=True))
    )


def rich(name="t/a", **changes):
    """A measurement with strata and with an exhibit that no export may show."""
    strata = tuple(
        Stratum(by="copies", label=str(copies), estimate=estimate(0.1 * copies, 0.0, 1.0), control=control)
        for copies, control in ((1, estimate(0.0, 0.0, 0.1)), (2, None))
    )
    exhibits = (Exhibit(record="r-1", excerpt=RESTRICTED),)
    return measurement(name, strata=strata, exhibits=exhibits, **changes)


def source(findings=None, *, words="", files=(), statements=True, bundle="bundle") -> Source:
    """A bundle; `words` stand wherever a policy, subject or statement lets its author write."""
    found = tuple(findings if findings is not None else findings_of(*Outcome))
    declared = policy(*[entry(item.test) for item in found])
    about = subject(name=f"model {words}".strip())
    if files:
        model = about.model.model_copy(
            update={"files": tuple(Artifact(path=name, bytes=1, sha256=digest(name)) for name in files)}
        )
        about = about.model_copy(update={"model": model})
    said = (
        (Statement(id="s-1", clauses=("C-1",), text=f"So it is. {words}", author="A", role="DPO", date="2026-01-02"),)
        if statements
        else ()
    )
    assessment = assess(declared, (catalogue(clause()),), found, said, about, created=dt.date(2026, 1, 5))
    plan = Plan(
        policy=digest(declared), subject=about.identity(), catalogues={}, statements=None, seed=1, confidence=0.95, auditor_version="0.1",
        jobs=(), sides=(PlannedSide(side=Side(label="audited", subject=about, context_length=10), tests=()),),
    )  # fmt: skip
    return Source(
        policy=declared, plan=plan, subject=about, findings=shareable(found), assessment=assessment, statements=said,
        created="2026-01-05T10:00:00+01:00", auditor="0.1", operator=f"A. Tester {words}".strip(), signer="AA:BB",
        digests={name: digest((bundle, name)) for name in FILES}, seal=b'{"_type":"x"}',
    )  # fmt: skip
