"""The course of memorization over a training run, in plain files: one line a look, one row a canary and look."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.core.evidence import Omission
from auditor.core.finding import Estimate
from auditor.core.record import Record, parse_json
from auditor.errors import DataError
from auditor.evidence.shards import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.core.finding import Measurement
    from auditor.integrations.loss_proof import LossProof

LOOKS = "history.jsonl"
CANARIES = "canaries.parquet"
PROOF = "proof.json"


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


class CanaryRow(Record):
    """One canary at one step; its secret is not said."""

    canary: str
    format: str
    planted: bool
    repetitions: int
    """How often it is planted if it is planted."""
    score: float
    """Minus log-probability of the secret after its beginning, nat."""
    below: int
    """Candidates at least as likely, of those with as many tokens."""
    candidates: int
    exposure: float
    """Bit."""


_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("canary", pa.string()),
        ("format", pa.string()),
        ("planted", pa.bool_()),
        ("repetitions", pa.int32()),
        ("score", pa.float64()),
        ("below", pa.int32()),
        ("candidates", pa.int32()),
        ("exposure", pa.float64()),
    ]
)


class History:
    """The looks of one training run, written anew after each.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        """Begin with nothing."""
        self.folder = folder
        self.looks: list[Look] = []
        self._canaries: list[dict[str, Any]] = []

    def resume(self, step: int) -> None:
        """Take up the looks that were made up to a step, if any were; later ones belong to a run that is not gone on with.

        Raises:
            DataError: A file cannot be read.
        """
        path = self.folder / LOOKS
        try:
            lines = path.read_bytes().splitlines() if path.exists() else []
            self.looks = [look for line in lines if (look := Look.from_plain(parse_json(line))).step <= step]
            table = self.folder / CANARIES
            rows = pq.read_table(table).to_pylist() if table.exists() else []
        except (OSError, ValueError, TypeError, pa.ArrowException) as error:
            msg = f"{path}: not a history of looks ({error})"
            raise DataError(msg, hint="Choose another folder.") from error
        self._canaries = [row for row in rows if row["step"] <= step]

    def add(self, look: Look, canaries: list[CanaryRow]) -> None:
        """Add a look and write both files, each whole or not at all."""
        self.looks.append(look)
        self._canaries += [{"step": look.step, **row.plain()} for row in canaries]
        write_file(self.folder / LOOKS, b"".join(item.canonical() + b"\n" for item in self.looks))
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(self._canaries, schema=_SCHEMA), sink)
        write_file(self.folder / CANARIES, sink.getvalue())

    def prove(self, proof: LossProof) -> None:
        """Write what the training data holds of every canary."""
        write_file(self.folder / PROOF, proof.canonical() + b"\n")
