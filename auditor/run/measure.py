"""Measures the tests of a plan from the evidence; pure, and never asks a subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.contract.protocol import Facts, Measuring
from auditor.contract.registry import load
from auditor.core.evidence import Omission
from auditor.errors import IntegrityError, UnsupportedError
from auditor.evidence.table import ObservedTable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auditor.contract.protocol import MemorizationTest
    from auditor.core.canary import CanarySet
    from auditor.core.finding import Measurement
    from auditor.core.plan import Plan, PlannedSide, PlannedTest
    from auditor.core.policy import QueryBudget


def measure(
    plan: Plan,
    planned: PlannedSide,
    observations: Path,
    faults: Mapping[str, Omission],
    *,
    canaries: CanarySet | None,
    queries: QueryBudget,
) -> dict[str, Measurement | Omission]:
    """Return what each test of one side measured, or why it could not.

    Args:
        plan: The plan.
        planned: The side of the plan to measure.
        observations: `observations/` of the bundle.
        faults: Observations that could not be made, by id.
        canaries: Canaries of that side, secrets withheld.
        queries: The policy's query budget.

    Raises:
        IntegrityError: The evidence is damaged.
    """
    facts = Facts(
        subject=planned.side.subject,
        canaries=canaries,
        context_length=planned.side.context_length,
        confidence=plan.confidence,
        queries=queries,
        instrument=planned.side.label != "audited",
    )
    return {row.test: _measure_one(row, Measuring(facts, plan.seed), observations, faults) for row in planned.tests}


def _measure_one(
    row: PlannedTest, measuring: Measuring, observations: Path, faults: Mapping[str, Omission]
) -> Measurement | Omission:
    if row.omission is not None:
        return row.omission
    for identity in row.observations.values():
        if identity in faults:
            return faults[identity]
    loaded = load("tests", row.test)
    if isinstance(loaded, Omission):
        return loaded
    test: MemorizationTest = loaded
    try:
        evidence = {key: ObservedTable(observations / identity) for key, identity in row.observations.items()}
        found = test.measure(test.parameters.from_plain(row.parameters), evidence, measuring)
        return found.model_copy(update={"access": found.access or test.access})
    except IntegrityError:
        raise
    except UnsupportedError as error:
        return Omission(reason="data", message=error.message, where=error.hint)
    except Exception as error:  # noqa: BLE001  (a plug-in may fail in any way; the failure becomes a row of the report)
        return Omission(reason="fault", message=f"{type(error).__name__}: {error}", where=row.distribution)
