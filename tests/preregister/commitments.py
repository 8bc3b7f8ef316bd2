"""A commitment to change one thing of, for tests."""

from __future__ import annotations

from auditor.core.policy import Least, QueryBudget, Tolerance
from auditor.core.preregistration import Commitment, CommittedPolicy, CommittedSubject, CommittedTest, Preregistration
from auditor.core.subject import ReleaseContext

CREATED = "2026-03-01T09:00:00+00:00"


def digest(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()


TOLERANCE = Tolerance(
    statistic="excess_rate", at_most=0.001, population="member records", reason="a test", set_by="controller"
)
MADE = Commitment(
    plan=digest("plan"),
    policy=CommittedPolicy(
        id="small",
        version=1,
        files=(digest("policy"), digest("parent")),
        clauses={"gdpr": digest("gdpr"), "attack-classes": digest("classes")},
        seed=5,
        confidence=0.95,
        correction="holm",
        queries=QueryBudget(per_subject=10, lifetime=100, reason="a test"),
        exhibits="masked",
        valid_months=12,
        statements=("E28-58-a",),
    ),
    subject=CommittedSubject(
        digest=digest("subject"),
        name="small",
        controller="somebody",
        release_context=ReleaseContext.INTERNAL,
        model=digest("model"),
        dtype="float32",
        references=(),
        members=digest("members"),
        controls=digest("controls"),
        controls_drawn="not-declared",
        canaries=None,
        statements=None,
    ),
    tests={
        "language/exposure": CommittedTest(
            version=3,
            distribution="memorization-auditor 0.1.0",
            required=True,
            parameters={"candidates": 4096, "only": None, "a~b": [1, 2]},
            least=Least(),
            tolerance=TOLERANCE,
            evidence_for=("E28-55-iii",),
            not_applicable=None,
            cannot_run=None,
        )
    },
    versions={"auditor": "0.1.0", "python": "3.11.7", "numpy": "2.4.6"},
)


def preregistration(made: Commitment = MADE, authority: str | None = None, created: str = CREATED) -> Preregistration:
    return Preregistration(by="Test auditor", created=created, time_stamp_authority=authority, commitment=made)
