"""What will run, what cannot and why, at what cost and with what power."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import NonNegativeInt

from auditor.core.evidence import Need, Observation, Omission
from auditor.core.finding import Power
from auditor.core.record import Digest, Name, Record, Text
from auditor.core.subject import Subject

SideLabel = Literal["audited", "memorizer", "innocent"]
"""The audited subject, or one of the two controls of the instrument."""


class Side(Record):
    """One of the subjects the battery runs on."""

    label: SideLabel
    subject: Subject
    context_length: NonNegativeInt
    """Longest sequence its model takes, tokens."""


class Job(Record):
    """One observation to make."""

    id: Digest
    """Digest of the observation."""
    observation: Observation
    need: Need
    items: NonNegativeInt
    tokens: NonNegativeInt
    """Tokens it is expected to score or generate."""


class PlannedTest(Record):
    """One test of the battery, with the observations it will be measured from."""

    test: Name
    test_version: NonNegativeInt
    distribution: Text
    """Distribution and version the test comes from."""
    access: Text
    """What the test needs to see of the model."""
    parameters: dict[str, Any]
    """All parameters, defaults filled in."""
    observations: dict[str, Digest]
    """The test's name for each need, and the observation that meets it."""
    power: Power | None
    omission: Omission | None = None
    """Why it cannot run."""


class PlannedSide(Record):
    """The battery on one subject."""

    side: Side
    tests: tuple[PlannedTest, ...]


class Plan(Record):
    """The plan: written before any score exists, and the same for the same policy, subject and versions."""

    policy: Digest
    """SHA-256 of the policy file."""
    subject: Digest
    """Digest of the audited subject."""
    catalogues: dict[str, Digest]
    """SHA-256 of each clause catalogue."""
    statements: Digest | None
    seed: int
    confidence: float
    auditor_version: Text
    jobs: tuple[Job, ...]
    sides: tuple[PlannedSide, ...]
    """The audited subject first, then the control subjects of the instrument."""

    def side(self, label: SideLabel) -> PlannedSide:
        """Return the battery on one subject.

        Raises:
            KeyError: The plan has no such side.
        """
        for planned in self.sides:
            if planned.side.label == label:
                return planned
        raise KeyError(label)
