"""What will run, what cannot and why, at what cost and with what power."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import NonNegativeInt

from auditor.core.evidence import Observation, Omission
from auditor.core.finding import Power
from auditor.core.record import Digest, Name, Record, Text


class Job(Record):
    """One observation to make."""

    id: Digest
    """Digest of the observation."""
    observation: Observation
    items: NonNegativeInt
    tokens: NonNegativeInt
    """Tokens it is expected to score or generate."""


class PlannedTest(Record):
    """One test of the battery, with the observations it will be measured from."""

    test: Name
    test_version: int
    distribution: Text
    """Distribution and version the test comes from."""
    subject: Literal["audited", "memorizer", "innocent"]
    parameters: dict[str, Any]
    """All parameters, defaults filled in."""
    observations: dict[str, Digest]
    """The test's name for each need, and the observation that meets it."""
    power: Power | None
    omission: Omission | None = None
    """Why it cannot run."""


class Plan(Record):
    """The plan: written before any score exists."""

    policy: Digest
    subject: Digest
    clauses: tuple[Digest, ...]
    seed: int
    confidence: float
    auditor_version: Text
    jobs: tuple[Job, ...]
    tests: tuple[PlannedTest, ...]
    """The battery on the audited subject, in the policy's order."""
    instrument: tuple[PlannedTest, ...]
    """The same tests on the control subjects."""
