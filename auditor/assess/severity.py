"""Which outcome outweighs which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.core.finding import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

WORST_FIRST = (Outcome.SIGNAL, Outcome.INVALID, Outcome.NOT_RUN, Outcome.INCONCLUSIVE, Outcome.NO_SIGNAL)
"""`not_applicable` drops out: a person declared it."""


def worst(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the worst of some outcomes; None where none of them says anything."""
    return next((outcome for outcome in WORST_FIRST if outcome in outcomes), None)
