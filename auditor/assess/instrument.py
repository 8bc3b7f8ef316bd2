"""Decides how the tests behaved on the control subjects: the calibration of the instrument."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.core.evidence import Omission
from auditor.core.finding import InstrumentCheck, Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTROL_ALPHA = 0.01
"""Level at which a test fires on a control subject; not the policy's, so that no policy can tune the instrument."""

Measured = Measurement | Omission


def fires(measurement: Measurement) -> bool:
    """Return whether a measurement would be called a signal on its own, at the level of the controls."""
    return (
        measurement.p_value is not None
        and measurement.p_value <= CONTROL_ALPHA
        and measurement.excess is not None
        and measurement.excess.low > 0.0
    )


def check_instrument(
    tests: Sequence[str], memorizer: Mapping[str, Measured], innocent: Mapping[str, Measured]
) -> tuple[InstrumentCheck, ...]:
    """Return two checks for each test: it must fire on the memorizer and stay quiet on the innocent.

    A test that could not be measured on a control subject has not shown that it works: its check does not hold.

    Args:
        tests: Names of the tests that were asked for.
        memorizer: What each measured on the memorizer.
        innocent: What each measured on the innocent.
    """
    checks = []
    for test in tests:
        for label, measured in (("memorizer", memorizer.get(test)), ("innocent", innocent.get(test))):
            should_fire = label == "memorizer"
            if isinstance(measured, Measurement):
                broken = [gate.name for gate in measured.gates if not gate.held and gate.on_failure == "invalid"]
                held = fires(measured) == should_fire and not broken
                answer = measured.answer + (f" Did not hold: {', '.join(broken)}." if broken else "")
                p_value = measured.p_value
            else:
                held, p_value = False, None
                answer = f"Could not be measured: {measured.message}" if measured else "Not part of the plan."
            checks.append(
                InstrumentCheck(
                    test=test,
                    control_subject="memorizer" if should_fire else "innocent",
                    expected="fires" if should_fire else "stays quiet",
                    held=held,
                    p_value=p_value,
                    answer=answer,
                )
            )
    return tuple(checks)
