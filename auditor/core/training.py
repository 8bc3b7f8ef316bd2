"""What is seen of a model while it is trained: one look after another, written by the trainer's own process and under no seal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.core.evidence import Omission
from auditor.core.finding import Estimate
from auditor.core.record import Record

if TYPE_CHECKING:
    from auditor.core.finding import Measurement


class Loss(Record):
    """Mean loss over the tokens of a sample of records, the model in evaluation mode."""

    value: float
    """Nat per token."""
    tokens: int
    records: int


class Measured(Record):
    """What one test measured of the model at one step, or why it could not."""

    test: str
    statistic: str | None = None
    estimate: Estimate | None = None
    """Of members, or of canaries that were planted."""
    control: Estimate | None = None
    """Of controls, or of canaries that the coin left out."""
    excess: Estimate | None = None
    p_value: float | None = None
    """One-sided, of this step alone: it is not corrected for the number of steps."""
    omission: str | None = None

    @classmethod
    def of(cls, test: str, found: Measurement | Omission) -> Measured:
        """Return what a test gave."""
        if isinstance(found, Omission):
            return cls(test=test, omission=found.message)
        return cls(
            test=test,
            statistic=found.statistic,
            estimate=found.estimate,
            control=found.control,
            excess=found.excess,
            p_value=found.p_value,
        )


class Look(Record):
    """One look at the model."""

    schema_version: int = 1
    step: int
    """Optimizer steps made."""
    epoch: float | None
    occasion: str
    """`begin`, `step`, `save`, `evaluate` or `end`."""
    trainer: dict[str, float]
    """What the trainer logged last: `loss` of its training batches, `eval_loss`, `learning_rate`."""
    losses: dict[str, Loss]
    """Of `members` and `controls`, taken alike: training loss and held-out loss."""
    tests: tuple[Measured, ...]
    fault: str | None = None
    """Why the look failed; training went on."""
