"""The course of memorization over a training run, in plain files: one line a look, one row a canary and look."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.core.record import Record, parse_json
from auditor.core.training import Look, Loss, Measured
from auditor.errors import DataError
from auditor.evidence.shards import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.integrations.loss_proof import LossProof

__all__ = ["LOOKS", "CanaryRow", "History", "Look", "Loss", "Measured"]

LOOKS = "history.jsonl"
CANARIES = "canaries.parquet"
PROOF = "proof.json"


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
