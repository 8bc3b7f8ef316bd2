"""What every test of the battery must do, ours or a third party's, as checks that pytest can run.

A third party's whole test file::

    from auditor.testing.conformance import parametrize_with_checks
    from acme_audit.echo import TEST

    @parametrize_with_checks(TEST)
    def test_conformance(check):
        check()
"""

from __future__ import annotations

import atexit
import functools
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.assess.instrument import CONTROL_ALPHA, fires
from auditor.contract.protocol import MemorizationTest
from auditor.contract.registry import listed, load
from auditor.core.evidence import Omission
from auditor.core.finding import Measurement
from auditor.core.policy import Policy, QueryBudget, TestEntry
from auditor.plan.resolve import Sources, resolve
from auditor.run.measure import measure
from auditor.run.observe import Workplace, observe
from auditor.testing.control_subject import Kind, control_subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.core.plan import Job

QUERIES = QueryBudget(per_subject=100, lifetime=1_000_000, reason="conformance kit")
VARIANTS = 20
"""Innocent subjects a test is tried on."""
CHANCE = 0.003
"""Probability, at most, that a test at the level of the controls has more false alarms among them than are allowed."""
FRAMEWORKS = ("torch", "transformers", "diffusers")


class _Quiet:
    def begin(self, job: Job, shards: int, done: int) -> None:
        """Say nothing."""

    def advance(self, job: Job, tokens: int) -> None:
        """Say nothing."""

    def end(self, job: Job, omission: Omission | None) -> None:
        """Say nothing."""


def measure_on_control(
    test: str, kind: Kind, folder: Path, *, parameters: dict[str, Any] | None = None, seed: int = 0, variant: int = 0
) -> Measurement | Omission:
    """Return what an installed test measures on a control subject.

    Args:
        test: Name of the test.
        kind: Which control subject.
        folder: An empty folder for the evidence.
        parameters: Parameters of the test, where they differ from its defaults.
        seed: Seed of the policy.
        variant: Which records and canaries.
    """
    policy = Policy(
        id="conformance",
        version=1,
        title="Conformance",
        catalogues=("none",),
        seed=seed,
        queries=QUERIES,
        tests=(TestEntry(test=test, parameters=parameters or {}),),
    )
    loaded = load("tests", test)
    if isinstance(loaded, Omission):
        return loaded
    subject = control_subject(
        kind,
        references=0,
        confidence=policy.confidence,
        queries=QUERIES,
        variant=variant,
        modality=loaded.modality,
    )
    plan = resolve(policy, {kind: subject.facts}, Sources("0" * 64, {}, None))
    faults = observe(plan.jobs, {kind: subject}, Workplace(folder, b"conformance"), _Quiet())
    measured = measure(plan, plan.side(kind), folder, faults, canaries=subject.facts.canaries, queries=QUERIES)
    return measured[test]


@functools.cache
def _evidence() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for all evidence of this process: observations are named by digest, so tests that share one make it once."""
    folder = tempfile.TemporaryDirectory(prefix="conformance-")
    atexit.register(folder.cleanup)
    return folder


def _measured(test: MemorizationTest, kind: Kind, *, seed: int = 0, variant: int = 0) -> Measurement:
    measured = measure_on_control(test.name, kind, Path(_evidence().name), seed=seed, variant=variant)
    if isinstance(measured, Omission):
        msg = f"{test.name} could not be measured on the {kind}: {measured.message}"
        raise AssertionError(msg)  # noqa: TRY004  (pytest shows an assertion as a failure, not as an error)
    return measured


def _require(held: bool, message: str) -> None:
    if not held:
        raise AssertionError(message)


def check_declares_itself(test: MemorizationTest) -> None:
    """The test meets the protocol, is installed under its name, and says what it asks and where it comes from."""
    _require(isinstance(test, MemorizationTest), "it does not meet auditor.contract.protocol.MemorizationTest")
    _require(test.name in {item.name for item in listed("tests")}, f"no entry point '{test.name}' is installed")
    _require("/" in test.name, f"the name '{test.name}' has no family before a slash")
    _require(test.version >= 1, "the version is below 1")
    _require(test.question.endswith("?"), "the question is not a question")
    _require(len(test.source) > 10, "the source is not a citation")
    _require(bool(test.statistics), "it names no statistic that a tolerance could be about")


def check_parameters_explain_themselves(test: MemorizationTest) -> None:
    """Every parameter has a default and a description."""
    for name, field in test.parameters.model_fields.items():
        _require(not field.is_required(), f"parameter '{name}' has no default")
        _require(bool(field.description), f"parameter '{name}' has no description")


def check_imports_no_framework(test: MemorizationTest) -> None:
    """A report can be made years later: importing the test imports no machine-learning framework."""
    target = next(item.target for item in listed("tests") if item.name == test.name)
    module = target.partition(":")[0]
    if _imported_with(*sorted({item.target.partition(":")[0] for item in listed("tests")})) == "[]":
        return  # what all of them together do not import, none of them does
    found = _imported_with(module)
    _require(found == "[]", f"importing {module} imports {found}")


@functools.cache
def _imported_with(*modules: str) -> str:
    """Return the frameworks that a fresh interpreter holds after it imported some modules, as a list; why not, if it could not."""
    code = f"import sys, {', '.join(modules)}; print([name for name in {FRAMEWORKS!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip() or found.stderr.strip()[-500:]


def check_measures_the_same_twice(test: MemorizationTest) -> None:
    """Equal evidence gives equal bytes."""
    first, second = _measured(test, "memorizer"), _measured(test, "memorizer")
    _require(first.canonical() == second.canonical(), "two measurements of the same evidence differ")


def check_numbers_can_be_doubted(test: MemorizationTest) -> None:
    """The estimate has an interval, a control or a reason for having none, a power, a method and a source."""
    found = _measured(test, "innocent")
    _require(found.estimate is not None, "there is no estimate")
    _require(found.control is not None or bool(found.control_reason), "there is neither a control nor a reason")
    _require(found.p_value is not None, "there is no p-value")
    _require(found.statistic in test.statistics, f"'{found.statistic}' is not among its statistics {test.statistics}")
    _require(bool(found.observations), "it does not say which observations it rests on")


def check_fires_on_the_memorizer(test: MemorizationTest) -> None:
    """The positive control is found."""
    found = _measured(test, "memorizer")
    _require(fires(found), f"it did not fire on the memorizer: p = {found.p_value}, {found.answer}")


def check_stays_quiet_on_the_innocent(test: MemorizationTest, variants: int = VARIANTS) -> None:
    """The negative control is quiet on many innocent subjects."""
    alarms = [variant for variant in range(variants) if fires(_measured(test, "innocent", variant=variant))]
    _require(
        len(alarms) <= _allowed(variants),
        f"it fired on {len(alarms)} of {variants} innocent subjects at level {CONTROL_ALPHA}",
    )


def _allowed(variants: int) -> int:
    """Return the smallest number of false alarms that is exceeded with a probability of `CHANCE` at most."""
    tail = 1.0
    for alarms in range(variants + 1):
        tail -= math.comb(variants, alarms) * CONTROL_ALPHA**alarms * (1.0 - CONTROL_ALPHA) ** (variants - alarms)
        if tail <= CHANCE:
            return alarms
    return variants


CHECKS = (
    check_declares_itself,
    check_parameters_explain_themselves,
    check_imports_no_framework,
    check_measures_the_same_twice,
    check_numbers_can_be_doubted,
    check_fires_on_the_memorizer,
    check_stays_quiet_on_the_innocent,
)


def parametrize_with_checks(*tests: MemorizationTest, variants: int = VARIANTS) -> Callable[..., Any]:
    """Return a pytest decorator that runs every check on every test; the test function calls `check()`.

    Args:
        tests: The tests.
        variants: Innocent subjects each is tried on.
    """
    import pytest  # noqa: PLC0415  (only a third party's tests need it)

    cases = [
        pytest.param(
            functools.partial(check, test, variants)
            if check is check_stays_quiet_on_the_innocent
            else functools.partial(check, test),
            id=f"{test.name}-{check.__name__}",
        )
        for test in tests
        for check in CHECKS
    ]
    return pytest.mark.parametrize("check", cases)
