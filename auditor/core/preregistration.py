"""What was committed before any score existed, what differed in the end, and how often the subject was audited before."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt

from auditor.core.policy import Least, QueryBudget, Tolerance
from auditor.core.record import Digest, Name, Record, Text
from auditor.core.subject import ReleaseContext


class CommittedTest(Record):
    """One test of the battery, as it was planned."""

    version: NonNegativeInt | None
    """Version of the test; null: it is declared not applicable and was not planned."""
    distribution: Text | None
    required: bool
    parameters: dict[str, Any]
    """All parameters, defaults filled in."""
    least: Least
    tolerance: Tolerance | None
    """The tolerance in the declared release context."""
    evidence_for: tuple[Text, ...]
    not_applicable: Text | None
    cannot_run: Text | None
    """Why it cannot run, as the plan says."""


class CommittedPolicy(Record):
    """The policy, by digest, and what in it decides how outcomes are judged."""

    id: Text
    version: PositiveInt
    files: tuple[Digest, ...]
    """SHA-256 of the policy file and of those it extends, the nearest first."""
    clauses: dict[Text, Digest]
    """SHA-256 of each clause catalogue, and of the attack classes."""
    seed: NonNegativeInt
    confidence: float
    correction: Text
    queries: QueryBudget
    exhibits: Text
    valid_months: PositiveInt
    statements: tuple[Text, ...]
    """Clauses whose statement is asked."""


class CommittedSubject(Record):
    """The subject, by digest."""

    digest: Digest
    """Digest of `subject.json`."""
    name: Text
    controller: Text
    release_context: ReleaseContext
    model: Digest
    dtype: Text
    references: tuple[Digest, ...]
    members: Digest
    controls: Digest | None
    controls_drawn: Text
    canaries: Digest | None
    statements: Digest | None


class Commitment(Record):
    """All that is fixed before the first question, spelled out so far that a difference can be named."""

    plan: Digest
    """SHA-256 of the plan (`plan.json`): every observation with parameters and seed, on the subject and on the control subjects."""
    policy: CommittedPolicy
    subject: CommittedSubject
    tests: dict[Name, CommittedTest]
    versions: dict[Text, str]
    """Versions of the auditor, of Python and of the packages that can change a number or a page."""


class Preregistration(Record):
    """What is signed: a commitment, by whom and when."""

    by: Text
    """Who committed, as the certificate says."""
    created: Text
    """ISO date and time, UTC."""
    clock: Literal["local"] = "local"
    """Whose clock `created` is: the committing machine's own, which proves nothing. A time stamp stands in a file of its own."""
    time_stamp_authority: Text | None = None
    """Address of the authority that was asked for a time stamp over the signed commitment; null: none was asked."""
    commitment: Commitment


class Deviation(Record):
    """One thing that is not as it was committed."""

    place: str
    """Where it stands in the commitment (JSON pointer, RFC 6901)."""
    what: Text
    """The same in words."""
    committed: str | None
    """What was committed; null: nothing."""
    now: str | None
    """What it was in this audit; null: nothing."""


class Attempts(Record):
    """What is known of earlier attempts on the same subject when an audit begins."""

    attempt: Digest
    """This attempt: SHA-256 of its first entry in the record of attempts."""
    earlier: NonNegativeInt
    """Attempts begun before on the same model and data."""
    finished: NonNegativeInt
    """Of these, how many came to their end."""
    same_plan: NonNegativeInt
    """Of these, how many had this very plan."""
    before_commitment: NonNegativeInt | None
    """Of these, how many were begun before the plan was committed; null: no plan was committed."""
    other_data: NonNegativeInt
    """Attempts on the same model with other data, not counted above."""
    kept: Literal["beside the subject file", "beside the bundle", "nowhere"]
    """Where the record of attempts is kept."""
    faults: tuple[Text, ...] = ()
    """Why the record cannot be relied on; empty: its chain of digests holds."""
