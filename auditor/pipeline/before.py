"""Before the first question: read and check what the user wrote, take the digests, make the plan."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from auditor.assess.statements import load_statements
from auditor.contract.protocol import Adapter, Facts
from auditor.contract.registry import load, statistics_of_tests
from auditor.core.assessment import Statement
from auditor.core.evidence import Omission
from auditor.core.plan import Plan
from auditor.errors import SubjectError
from auditor.plan.resolve import Sources, resolve
from auditor.policy.catalogue import ATTACK_CLASSES, load_attack_classes, load_forms
from auditor.policy.load import LoadedPolicy, load_all_catalogues, load_catalogues, load_policy
from auditor.run.speed import denoising_speed, scoring_speed
from auditor.subjects.loading import LoadedSpec, OpenedFiles, open_subject, read_subject
from auditor.testing.control_subject import control_subject

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auditor.contract.protocol import OpenedSubject
    from auditor.core.plan import SideLabel
    from auditor.policy.catalogue import LoadedCatalogue, LoadedClasses

_CONTROL_SIDES: tuple[SideLabel, ...] = ("memorizer", "innocent")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is known before the subject is asked anything."""

    spec: LoadedSpec
    policy: LoadedPolicy
    catalogues: tuple[LoadedCatalogue, ...]
    classes: LoadedClasses | None
    """The attack classes that the clauses speak of; None: they name none."""
    statements: tuple[Statement, ...]
    opened: OpenedFiles
    subjects: Mapping[SideLabel, OpenedSubject]
    plan: Plan
    warnings: tuple[str, ...]


def now() -> dt.datetime:
    """Return the time, UTC, whole seconds. The one place that asks the clock."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0)  # noqa: TID251


def prepare(subject: Path, policy: str | None = None) -> Prepared:
    """Read and check all that the user wrote, take the digests, and make the plan.

    Args:
        subject: The subject file.
        policy: Name or path of a policy instead of the one the subject names.

    Raises:
        InputError: Something the user wrote cannot be used.
    """
    spec = read_subject(subject)
    loaded = load_policy(
        policy or spec.spec.policy, base=None if policy else spec.base, known_tests=statistics_of_tests()
    )
    catalogues = load_catalogues(loaded, today=now().date())
    named = any(clause.classes for item in catalogues for clause in item.catalogue.clauses)
    classes = load_attack_classes() if named else None
    opened = open_subject(spec, _adapter)
    statements: tuple[Statement, ...] = ()
    if spec.spec.statements:
        path = spec.base / spec.spec.statements
        statements = load_statements(
            path,
            [item.catalogue for item in catalogues],
            others=lambda: [item.catalogue for item in load_all_catalogues(today=None)],
            forms=load_forms(),
            today=now().date(),
        )
    opened.facts = Facts(
        subject=opened.subject,
        canaries=opened.canaries,
        context_length=opened.context_length,
        confidence=loaded.policy.confidence,
        queries=loaded.policy.queries,
    )
    subjects: dict[SideLabel, OpenedSubject] = {"audited": opened}
    for label in _CONTROL_SIDES:
        subjects[label] = control_subject(
            cast("Any", label),
            references=len(opened.subject.references),
            confidence=loaded.policy.confidence,
            queries=loaded.policy.queries,
            modality=opened.subject.members.modality,
        )
        if opened.subject.model.seen == "answers":
            subjects[label].facts = _limited(subjects[label].facts, opened.subject.model.capabilities)
    plan = resolve(
        loaded.policy,
        {label: side.facts for label, side in subjects.items()},
        Sources(
            policy=loaded.digest,
            catalogues={item.catalogue.id: item.digest for item in catalogues}
            | ({ATTACK_CLASSES: classes.digest} if classes else {}),
            statements=opened.subject.statements.sha256 if opened.subject.statements else None,
        ),
    )
    warnings = tuple(warning for item in catalogues for warning in item.warnings)
    return Prepared(spec, loaded, tuple(catalogues), classes, statements, opened, subjects, plan, warnings)


def _limited(facts: Facts, capabilities: tuple[str, ...]) -> Facts:
    """Return facts of a control subject that gives no more than the audited model: tests must go the same way on both."""
    model = facts.subject.model.model_copy(update={"capabilities": capabilities})
    return dataclasses.replace(facts, subject=facts.subject.model_copy(update={"model": model}))


def _adapter(name: str) -> Adapter:
    adapter = load("adapters", name)
    if isinstance(adapter, Omission):
        raise SubjectError(adapter.message, hint="Install memorization-auditor[models].")
    return cast("Adapter", adapter)


def speed(prepared: Prepared) -> float:
    """Return how many tokens a second the audited model scores here, or how many images a second pass its network.

    Zero for a model behind a server, which is not timed: questions can cost money.
    """
    if prepared.opened.subject.model.seen == "answers":
        return 0.0
    if prepared.opened.subject.members.modality == "image":
        return denoising_speed(prepared.opened.denoiser("subject"), prepared.plan.seed)
    return scoring_speed(prepared.opened.model("subject"), prepared.plan.seed)
