"""Bundles as they are after reading, made in memory."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "assess"))

from making import DIGEST, catalogue, clause, entry, estimate, finding, measurement, policy, subject, tolerance

from auditor.assess.clauses import assess
from auditor.compare.source import Losses, Source
from auditor.contract.paired import PerRecord, RecordValues
from auditor.core.comparison import BundleIdentity
from auditor.core.evidence import Need, Observation
from auditor.core.finding import Outcome
from auditor.core.plan import Job, Plan, PlannedSide, PlannedTest, Side

__all__ = [
    "Losses",
    "Outcome",
    "catalogue",
    "clause",
    "entry",
    "estimate",
    "finding",
    "measurement",
    "policy",
    "rate",
    "replace",
    "source",
    "tolerance",
    "values",
]


def digest(word) -> str:
    import hashlib

    return hashlib.sha256(str(word).encode()).hexdigest()


def values(numbers, side="m", clusters=None) -> RecordValues:
    names = np.array([f"{side}{place}" for place in range(len(numbers))], dtype=object)
    return RecordValues(
        names, names if clusters is None else np.array(clusters, dtype=object), np.asarray(numbers, dtype=float)
    )


def rate(members, controls=None, kind="rate", **more) -> PerRecord:
    beside = None if controls is None else values(controls, "c")
    return PerRecord("extracted", "said", kind, "ratio", values(members, **more), beside)


def source(
    label="a",
    step=1.0,
    *,
    findings=None,
    per_record=None,
    entries=(),
    statements=(),
    clauses=(),
    evidence=None,
    data=DIGEST,
    version=1,
    parameters=None,
    losses=None,
    trusted=True,
    **policy_changes,
) -> Source:
    """A bundle; `evidence` names what the model was when it was asked."""
    found = tuple(findings if findings is not None else (finding(Outcome.INCONCLUSIVE),))
    declared = policy(*entries).model_copy(update=policy_changes)
    about = subject()
    about = about.model_copy(update={"model": about.model.model_copy(update={"digest": digest(evidence or label)})})
    rows, jobs = [], []
    for item in found:
        seen = Observation(
            observer="token-scores", observer_version=1, dataset="members", model_role="subject", model=about.model.digest,
            data=(data,), parameters={}, seed=1,
        )  # fmt: skip
        key = digest((item.test, about.model.digest, data))
        need = Need(observer="token-scores", dataset="members")
        jobs.append(Job(id=key, observation=seen, need=need, items=10, tokens=10))
        rows.append(
            PlannedTest(
                test=item.test,
                test_version=version,
                distribution="d 1",
                access="scores",
                parameters=parameters or {},
                observations={"members": key},
                power=None,
            )
        )
    plan = Plan(
        policy=digest(declared), subject=about.identity(), catalogues={}, statements=None, seed=declared.seed,
        confidence=declared.confidence, auditor_version="0.1", jobs=tuple(jobs),
        sides=(PlannedSide(side=Side(label="audited", subject=about, context_length=10), tests=tuple(rows)),),
    )  # fmt: skip
    shelves = (catalogue(*clauses),)
    import datetime as dt

    assessment = assess(declared, shelves, found, statements, about, created=dt.date(2026, 1, 5))
    identity = BundleIdentity(
        label=label, step=step, subject="s", model=about.model.digest, policy="p, version 1", policy_digest=plan.policy,
        plan_digest=plan.identity(), created="2026-01-05", auditor="0.1", signer="A. Tester", trusted=trusted,
    )  # fmt: skip
    return Source(identity, declared, plan, about, found, (), assessment, statements, shelves, per_record or {}, losses)
