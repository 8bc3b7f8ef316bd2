"""What is read of one bundle before it is compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from auditor.contract.paired import RecordValues
from auditor.evidence.table import Ragged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.contract.paired import PerRecord
    from auditor.core.assessment import Assessment, Statement
    from auditor.core.clause import Catalogue
    from auditor.core.comparison import BundleIdentity
    from auditor.core.finding import Finding, InstrumentCheck
    from auditor.core.plan import Job, Plan, PlannedTest
    from auditor.core.policy import Policy
    from auditor.core.subject import Subject
    from auditor.evidence.table import ObservedTable


@dataclass(frozen=True, slots=True)
class Losses:
    """The loss of each record under the audited model; here more is less of a trace."""

    members: RecordValues
    controls: RecordValues | None
    unit: str


@dataclass(frozen=True, slots=True)
class Source:
    """One bundle, read."""

    identity: BundleIdentity
    policy: Policy
    plan: Plan
    subject: Subject
    findings: Sequence[Finding]
    instrument: Sequence[InstrumentCheck]
    assessment: Assessment
    statements: Sequence[Statement]
    catalogues: Sequence[Catalogue]
    per_record: Mapping[str, Sequence[PerRecord] | str]
    """By test: its statistics record by record, or why there are none."""
    losses: Losses | None = None
    tests: Mapping[str, PlannedTest] = field(init=False)
    """The planned tests of the audited side, by name."""

    def __post_init__(self) -> None:
        """Look the planned tests up once."""
        object.__setattr__(self, "tests", {row.test: row for row in self.plan.side("audited").tests})

    def finding(self, test: str) -> Finding | None:
        """Return the finding of a test, None where it is not in the battery."""
        return next((finding for finding in self.findings if finding.test == test), None)


def loss_jobs(plan: Plan) -> tuple[Job | None, Job | None]:
    """Return the observations that hold the loss of members and of controls under the audited model: the longest there are."""
    found: list[Job | None] = []
    for dataset in ("members", "controls"):
        jobs = [job for job in plan.jobs if _holds_loss(job, dataset)]
        jobs.sort(key=lambda job: (int(job.need.parameters.get("from_token", 0)), -job.tokens, job.id))
        found.append(jobs[0] if jobs else None)
    return found[0], found[1]


def _holds_loss(job: Job, dataset: str) -> bool:
    seen = job.observation
    return (
        seen.observer in {"token-scores", "denoising-scores"}
        and seen.subject == "audited"
        and seen.dataset == dataset
        and seen.model_role == "subject"
        and seen.parameters.get("transform", "none") == "none"
    )


def read_losses(table: ObservedTable) -> tuple[RecordValues, str]:
    """Return the mean loss of each record that has one, and its unit: nat a token, or the mean squared error of the noise."""
    texts = table.record.observation.observer == "token-scores"
    column = "logprob" if texts else "loss"
    ids: list[object] = []
    clusters: list[object] = []
    values: list[float] = []
    for shard in table.shards("id", "cluster", column):
        rows = cast("Ragged", shard[column])
        for row in range(len(rows)):
            own = rows[row].astype(np.float64)
            if len(own):
                ids.append(cast("np.ndarray", shard["id"])[row])
                clusters.append(cast("np.ndarray", shard["cluster"])[row])
                values.append(float(-own.mean() if texts else own.mean()))
    found = RecordValues(np.array(ids, dtype=object), np.array(clusters, dtype=object), np.array(values))
    return found, "nat per token" if texts else "squared error"
