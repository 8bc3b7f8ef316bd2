"""Shows a declared differential privacy as the bound it would be, with what it rests on (rule R13)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from auditor.assess.claims import Kind, claims
from auditor.assess.wording import Foreign, say, shortened, tests_named
from auditor.core.finding import Outcome
from auditor.core.reading import FormalBound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.assess.claims import Claim
    from auditor.core.assessment import Statement
    from auditor.core.finding import Finding

RATE = 0.01
"""The false-positive rate at which the bound is shown."""
_COUNTED = frozenset({Outcome.SIGNAL, Outcome.NO_SIGNAL, Outcome.INCONCLUSIVE})

BOUND = (
    "Declared by the controller and not tested: differential privacy with epsilon {epsilon:g} and delta {delta:g} for one {unit} "
    "(statement {statement}). If that is so, nobody who is wrong about {false:g} in a hundred of those not in training can recognise more "
    "than {true:.3g} in a hundred of those who were, and this holds for every {unit}. It rests on the accounting, which was not computed "
    "again here, and on the mechanism being the one that ran."
)
NOT_BOUNDED = "No test bounded the epsilon that was spent from below."
BELOW = "{test} shows an epsilon of at least {low:.3g}, which is not above it; a lower bound confirms nothing."
APART = (
    "{test} shows an epsilon of at least {low:.3g} for another unit or delta than those declared, or with a condition unmet: it "
    "neither refutes nor confirms the declaration."
)
ABOVE = "{test} shows an epsilon of at least {low:.3g}: the declaration is contradicted and bounds nothing."
ALREADY = "What was measured disagrees with it: the declaration bounds nothing."


def formal_bounds(
    statements: Sequence[Statement], findings: Sequence[Finding], contradicted: frozenset[str] = frozenset()
) -> tuple[FormalBound, ...]:
    """Return every declared (epsilon, delta) with unit of privacy as a bound.

    Args:
        statements: The controller's statements.
        findings: The findings of the battery.
        contradicted: Ids of the statements whose declared epsilon is contradicted by what was measured.
    """
    lower = next(
        (
            finding
            for finding in findings
            if finding.outcome in _COUNTED
            and finding.measurement is not None
            and finding.measurement.statistic == "epsilon_lower"
            and finding.measurement.estimate is not None
        ),
        None,
    )
    return tuple(
        _bound(statement, claim, lower, contradicted=statement.id in contradicted)
        for statement in statements
        for claim in claims(statement)
        if claim.kind is Kind.EPSILON
    )


def most_recognised(epsilon: float, delta: float, rate: float) -> float:
    """Return the largest true-positive rate that (epsilon, delta) leaves at a false-positive rate.

    Source:
        Kairouz, Oh, Viswanath (2015), The Composition Theorem for Differential Privacy, theorem 2.1: both of its inequalities.
    """
    first = math.inf if epsilon > 700.0 else math.exp(epsilon) * rate + delta
    second = 1.0 - math.exp(-epsilon) * (1.0 - rate - delta)
    return max(0.0, min(1.0, first, second))


def _bound(statement: Statement, claim: Claim, finding: Finding | None, *, contradicted: bool) -> FormalBound:
    lower = finding.measurement.estimate if finding is not None and finding.measurement is not None else None
    most = most_recognised(claim.epsilon, claim.delta, RATE)
    said = [
        say(
            BOUND,
            epsilon=claim.epsilon,
            delta=claim.delta,
            unit=claim.unit,
            statement=Foreign(shortened(statement.id), "named in the list of statements"),
            false=100 * RATE,
            true=100 * most,
        )
    ]
    if finding is None or lower is None:
        said.append(ALREADY if contradicted else NOT_BOUNDED)
    else:
        higher = lower.low > claim.epsilon
        above = contradicted and higher
        template = ABOVE if above else APART if higher else BELOW
        said.append(say(template, test=tests_named([finding.test]), low=max(lower.low, 0.0)))
        if contradicted and not above:
            said.append(ALREADY)
    return FormalBound(
        statement=statement.id,
        epsilon=claim.epsilon,
        delta=claim.delta,
        unit=claim.unit,
        false_positive_rate=RATE,
        true_positive_rate_at_most=most,
        test=finding.test if finding is not None else None,
        lower=lower,
        contradicted=contradicted,
        sentence=" ".join(said),
    )
