"""Turns a policy and the facts of the subjects into a plan: what runs, what cannot and why.

Needs of different tests that one observation can meet are joined here: observe once, measure many times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from auditor import __version__
from auditor.contract.access import refuse_beyond
from auditor.contract.registry import distribution_of, load
from auditor.core.evidence import Need, Observation, Omission
from auditor.core.plan import Job, Plan, PlannedSide, PlannedTest, Side
from auditor.core.seeds import generator
from auditor.errors import PolicyError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.contract.protocol import Facts, MemorizationTest, Observer
    from auditor.core.plan import SideLabel
    from auditor.core.policy import Policy, TestEntry
    from auditor.core.record import Record


@dataclass(frozen=True, slots=True)
class Sources:
    """Digests of what the plan was made from."""

    policy: str
    catalogues: Mapping[str, str]
    statements: str | None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A test that can run, with what it needs."""

    entry: TestEntry
    test: MemorizationTest
    parameters: Record
    needs: Mapping[str, Need]


def parameters_of(entry: TestEntry, test: MemorizationTest, exhibits: str) -> Record:
    """Return the parameters of a test, defaults filled in.

    Args:
        entry: The test in the policy.
        test: The test.
        exhibits: How much the policy shows; a test that has pictures shows as much of them, unless its entry says otherwise.

    Raises:
        PolicyError: A parameter does not exist or has a value that does not fit.
    """
    shown = {"pictures": exhibits} if "pictures" in test.parameters.model_fields else {}
    try:
        return test.parameters.from_plain({**shown, **entry.parameters})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"test '{entry.test}', parameter '{where}': {first['msg']}"
        known = ", ".join(sorted(test.parameters.model_fields))
        raise PolicyError(msg, hint=f"Parameters of this test: {known}.") from error


def resolve(policy: Policy, sides: Mapping[SideLabel, Facts], sources: Sources) -> Plan:
    """Return the plan.

    Args:
        policy: The policy.
        sides: Facts of the audited subject and of the control subjects, the audited first.
        sources: Digests of the files the plan was made from.

    Raises:
        PolicyError: A parameter of a test does not fit; a test of that name is not installed.
    """
    jobs: dict[str, Job] = {}
    planned: list[PlannedSide] = []
    for label, facts in sides.items():
        tests, new_jobs = _resolve_side(policy, label, facts)
        jobs.update(new_jobs)
        side = Side(label=label, subject=facts.subject, context_length=facts.context_length)
        planned.append(PlannedSide(side=side, tests=tests))
    audited = next(iter(sides.values()))
    return Plan(
        policy=sources.policy,
        subject=audited.subject.identity(),
        catalogues=dict(sources.catalogues),
        statements=sources.statements,
        seed=policy.seed,
        confidence=policy.confidence,
        auditor_version=__version__,
        jobs=tuple(jobs.values()),
        sides=tuple(planned),
    )


def _resolve_side(policy: Policy, label: SideLabel, facts: Facts) -> tuple[tuple[PlannedTest, ...], dict[str, Job]]:
    rows = [_want(entry, facts, policy.exhibits) for entry in policy.tests if entry.not_applicable is None]
    wanted = [row for row in rows if isinstance(row, _Wanted)]
    joined, broken = _join([need for row in wanted for need in row.needs.values()])
    jobs: dict[str, Job] = {}
    tests: list[PlannedTest] = []
    for row in rows:
        if isinstance(row, PlannedTest):
            tests.append(row)
            continue
        tests.append(_tie(row, facts, label, policy.seed, joined, broken, jobs))
    return tuple(tests), jobs


def _want(entry: TestEntry, facts: Facts, exhibits: str) -> PlannedTest | _Wanted:
    loaded = load("tests", entry.test)
    if isinstance(loaded, Omission):
        return _omitted(entry.test, None, dict(entry.parameters), loaded)
    test: MemorizationTest = loaded
    parameters = parameters_of(entry, test, exhibits)
    try:
        if test.modality != facts.subject.members.modality:
            msg = f"the test is about {test.modality}s, and the subject's records are {facts.subject.members.modality}s"
            raise UnsupportedError(msg, hint="Audit it under a policy for subjects of this kind.")  # noqa: TRY301
        needs = test.needs(parameters, facts)
        refuse_beyond(needs.values(), facts)
    except UnsupportedError as error:
        omission = Omission(reason="capability", message=error.message, where=error.hint)
        return _omitted(entry.test, test, parameters.plain(), omission)
    return _Wanted(entry, test, parameters, needs)


def _omitted(name: str, test: MemorizationTest | None, parameters: dict[str, Any], omission: Omission) -> PlannedTest:
    return PlannedTest(
        test=name,
        test_version=test.version if test else 0,
        distribution=distribution_of("tests", name),
        access=test.access if test else "unknown",
        parameters=parameters,
        observations={},
        power=None,
        omission=omission,
    )


def _join(needs: Sequence[Need]) -> tuple[list[tuple[Observer, Need]], dict[str, Omission]]:
    """Return one need for all that one pass can meet, by observer; and the observers that cannot be had."""
    joined: list[tuple[Observer, Need]] = []
    broken: dict[str, Omission] = {}
    for name in sorted({need.observer for need in needs}):
        try:
            observer = load("observers", name)
        except PolicyError as error:
            broken[name] = Omission(reason="unknown-plug-in", message=error.message, where=error.hint)
            continue
        if isinstance(observer, Omission):
            broken[name] = observer
            continue
        mine = [need for need in needs if need.observer == name]
        joined.extend((observer, need) for need in observer.join(mine))
    return joined, broken


def _tie(
    row: _Wanted,
    facts: Facts,
    label: SideLabel,
    seed: int,
    joined: Sequence[tuple[Observer, Need]],
    broken: Mapping[str, Omission],
    jobs: dict[str, Job],
) -> PlannedTest:
    observations: dict[str, str] = {}
    for key, need in row.needs.items():
        if need.observer in broken:
            return _omitted(row.entry.test, row.test, row.parameters.plain(), broken[need.observer])
        observer, whole = next(
            (observer, whole)
            for observer, whole in joined
            if whole.observer == need.observer
            and whole.dataset == need.dataset
            and whole.model == need.model
            and observer.covers(whole, need)
        )
        job = _job(observer, whole, facts, label, seed)
        jobs[job.id] = job
        observations[key] = job.id
    return PlannedTest(
        test=row.entry.test,
        test_version=row.test.version,
        distribution=distribution_of("tests", row.entry.test),
        access=row.test.access,
        parameters=row.parameters.plain(),
        observations=observations,
        power=row.test.forecast(row.parameters, facts),
    )


def _job(observer: Observer, need: Need, facts: Facts, label: SideLabel, seed: int) -> Job:
    subject = facts.subject
    model = None
    if need.model == "subject":
        model = subject.model
    elif need.model is not None:
        model = subject.references[int(need.model.rsplit("-", 1)[1])]
    data = {
        "members": (subject.members.digest,),
        "controls": (subject.controls.digest,) if subject.controls else (),
        "members+controls": (subject.members.digest, *((subject.controls.digest,) if subject.controls else ())),
        "canaries": (subject.canaries.sha256,) if subject.canaries else (),
    }[need.dataset]
    observation = Observation(
        observer=need.observer,
        observer_version=observer.version,
        dataset=need.dataset,
        model_role=need.model,
        model=model.digest if model else None,
        dtype=model.dtype if model else "float32",
        data=data,
        parameters=dict(need.parameters),
        seed=_seed_of(seed),
        subject=label,
    )
    return Job(
        id=observation.identity(),
        observation=observation,
        need=need,
        items=observer.items(need, facts),
        tokens=observer.tokens(need, facts),
    )


def _seed_of(seed: int) -> int:
    """Return the seed of every sample: one for the audit, so that nested samples of one data set nest."""
    return int(generator(seed, "sample").integers(2**53))
