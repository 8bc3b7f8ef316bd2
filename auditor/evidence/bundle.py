"""The layout of a bundle: what lies where, and how it is read and written."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

from auditor.core.record import Record, canonical_bytes, parse_json
from auditor.errors import IntegrityError
from auditor.evidence.shards import RESTRICTED, storage_error, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

POLICY = "policy.yaml"
SUBJECT = "subject.json"
PLAN = "plan.json"
STATEMENTS = "statements.json"
ENVIRONMENT = "environment.json"
CANARIES = "canaries.json"
FINDINGS = "findings.json"
INSTRUMENT = "instrument.json"
ASSESSMENT = "assessment.json"
HTML = "report.html"
PDF = "report.pdf"
FIGURES = "figures"
CLAUSES = "clauses"
POLICIES = "policies"
OBSERVATIONS = "observations"
EXCHANGES = "exchanges"
EXTERNAL = "external.json"
PREREGISTRATION = "preregistration.dsse.json"
PREREGISTRATION_TIME = "preregistration.tst"
PREREGISTRATION_SIGNER = "preregistration.crt.pem"
DEVIATIONS = "deviations.json"
SIGNER = "signer.crt.pem"
TIME_STAMP = "time_stamp"
"""Field of `environment.json`: address of the authority that was asked to time-stamp the signature; not there: none was."""
REDACTION = "redaction.json"
ANNEX = "annex"
ANNEXES = "annexes.json"
MANIFEST = "manifest.json"
SEAL = "seal.dsse.json"

_KEY = f"{RESTRICTED}/commitment.key"

R = TypeVar("R", bound=Record)


class Bundle:
    """A bundle on disk.

    Args:
        root: Its folder.
    """

    def __init__(self, root: Path) -> None:
        """Remember the folder; nothing is read or written yet."""
        self.root = root

    @property
    def observations(self) -> Path:
        """Folder of the observations."""
        return self.root / OBSERVATIONS

    def has(self, name: str) -> bool:
        """Return whether a file is there."""
        return (self.root / name).exists()

    def write(self, name: str, content: bytes) -> None:
        """Write a file so that it is there whole or not at all.

        Raises:
            StorageError: The disk is full or the folder cannot be written.
        """
        write_file(self.root / name, content)

    def write_record(self, name: str, record: Record) -> bytes:
        """Write a value in its canonical encoding and return the bytes."""
        content = record.canonical()
        self.write(name, content)
        return content

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            IntegrityError: The file is not there.
        """
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            msg = f"{self.root / name}: missing from the bundle ({error.strerror or error})"
            hint = "Is this the folder that `auditor run` wrote, and did the run finish?"
            raise IntegrityError(msg, hint=hint) from error

    def read_plain(self, name: str) -> Any:  # noqa: ANN401  (any JSON value)
        """Return the JSON value of a file.

        Raises:
            IntegrityError: The file is missing or is not JSON.
        """
        try:
            return parse_json(self.read(name))
        except ValueError as error:
            msg = f"{self.root / name}: not JSON ({error})"
            raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.") from error

    def read_record(self, name: str, kind: type[R]) -> R:
        """Return the value that a file holds.

        Raises:
            IntegrityError: The file is missing or does not hold such a value.
        """
        try:
            return kind.from_plain(self.read_plain(name))
        except (ValueError, TypeError) as error:
            raise self._misfit(name, error) from error

    def read_list(self, name: str, kind: type[R]) -> tuple[R, ...]:
        """Return the values that a file lists.

        Raises:
            IntegrityError: The file is missing or does not hold such values.
        """
        try:
            return TypeAdapter(tuple[kind, ...]).validate_json(self._unambiguous(name))  # type: ignore[valid-type]
        except (ValueError, TypeError) as error:
            raise self._misfit(name, error) from error

    def _unambiguous(self, name: str) -> bytes:
        """Return the bytes of a JSON file that all readers read alike; its values are let go, as a list of findings is large."""
        self.read_plain(name)
        return self.read(name)

    def _misfit(self, name: str, error: Exception) -> IntegrityError:
        return IntegrityError(
            f"{self.root / name}: does not fit its schema ({error})",
            hint="The bundle is damaged or was written by another version; see docs/schemas.",
        )

    def commitment_key(self) -> bytes:
        """Return the secret that commitments to restricted records are made with, drawing it the first time.

        It is the one random thing in a bundle: guessable keys would let anyone try texts against the commitments.
        """
        path = self.root / _KEY
        if not path.exists():
            self.write(_KEY, secrets.token_bytes(32))
            path.chmod(0o600)
        return path.read_bytes()

    def prepare(self) -> None:
        """Make the folder, or say at once that nothing could be written there.

        Raises:
            StorageError: The folder cannot be made or written.
        """
        probe = self.root / ".writable.draft"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise storage_error(self.root, error) from error


def list_bytes(records: Sequence[Record]) -> bytes:
    """Return the canonical encoding of a list of values."""
    return canonical_bytes([record.plain() for record in records])
