"""What was asked and answered, on disk: the evidence of an endpoint, and what makes that nothing is paid twice."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.core.record import parse_json
from auditor.evidence.shards import RESTRICTED, storage_error, write_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

EXCHANGES = "exchanges.jsonl"
"""In the folder of what can be withheld: one line for each request that was answered, sorted by digest in the end."""
LOG = "log.jsonl"
"""One line for each attempt: status, duration, what the server says of time. It differs from run to run."""
KEY = "names.key"
"""Beside the exchanges: random bytes that keep what is shared of a request from being guessed.

The log names a request by HMAC-SHA256 under them: a plain digest would let anybody try texts against it. The last line of the settled
exchanges holds a salt made of them, so that the file's own digest, which the manifest lists, cannot be tried either (decision 4).
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to ask something, whatever came of it.

    Args:
        request: Digest of the request.
        status: HTTP status, 0 for none.
        fault: Why it failed, empty if it did not.
        seconds: How long it took.
        cost: What it cost, or may have cost, in the currency of the price.
        said: What the answer says of itself: `id`, `created`, `system_fingerprint`, `usage`.
    """

    request: str
    status: int
    fault: str
    seconds: float
    cost: float
    said: Mapping[str, Any]


class Exchanges:
    """Exchanges in memory, and in a folder once one is named; threads may write at once."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._pending: dict[str, bytes] = {}
        self._pending_log: list[dict[str, Any]] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._folder: Path | None = None
        self._key = b""
        self.calls = 0
        """Attempts made, those of earlier runs included."""
        self.cost = 0.0
        """What they cost."""

    def record_in(self, folder: Path) -> None:
        """Take up what a folder holds, and write there from now on.

        Raises:
            StorageError: The folder cannot be read or written.
        """
        with self._lock:
            try:
                (folder / RESTRICTED).mkdir(parents=True, exist_ok=True)
                self._key = _drawn(folder / RESTRICTED / KEY)
                self._places = _places(folder / RESTRICTED / EXCHANGES)
                for row in _lines(folder / LOG):
                    self.calls += 1
                    self.cost += float(row.get("cost", 0.0))
                self._folder = folder
                for row in self._pending_log:
                    _append(folder / LOG, self._logged(row))
                for digest, line in self._pending.items():
                    self._put(digest, line)
            except OSError as error:
                raise storage_error(folder, error) from error
            self._pending, self._pending_log = {}, []

    def take_over(self, earlier: Exchanges) -> None:
        """Count and log what was tried before, too, where that was not written anywhere."""
        with earlier._lock, self._lock:
            if earlier._folder is None:
                self._pending_log[:0] = earlier._pending_log
                self.calls += earlier.calls
                self.cost += earlier.cost

    def answer(self, digest: str) -> Any:  # noqa: ANN401  (any JSON value)
        """Return what was answered to a request, None if it was not asked yet."""
        with self._lock:
            if digest in self._pending:
                line = self._pending[digest]
            elif digest in self._places and self._folder is not None:
                start, length = self._places[digest]
                with (self._folder / RESTRICTED / EXCHANGES).open("rb") as stream:
                    stream.seek(start)
                    line = stream.read(length)
            else:
                return None
        return parse_json(line)["response"]

    def keep(self, digest: str, request: Mapping[str, Any], response: Mapping[str, Any]) -> None:
        """Keep an answer.

        Raises:
            StorageError: The disk is full or the folder cannot be written.
        """
        line = _line({"digest": digest, "request": request, "response": response})
        with self._lock:
            if self._folder is None:
                self._pending[digest] = line
            else:
                self._put(digest, line)

    def log(self, attempt: Attempt) -> None:
        """Keep that something was tried.

        Raises:
            StorageError: The disk is full or the folder cannot be written.
        """
        row = {name: getattr(attempt, name) for name in Attempt.__slots__}
        with self._lock:
            self.calls += 1
            self.cost += attempt.cost
            if self._folder is None:
                self._pending_log.append(row)
            else:
                _append(self._folder / LOG, self._logged(row))

    def _logged(self, row: Mapping[str, Any]) -> bytes:
        """Return the line of an attempt; the request is named so that only who holds the key can tell which one it was."""
        return _line({**row, "request": request_name(self._key, row["request"])})

    def settle(self) -> None:
        """Sort what was answered by digest, so that equal answers give equal bytes whatever their order."""
        with self._lock:
            if self._folder is None or not self._places:
                return
            path = self._folder / RESTRICTED / EXCHANGES
            content = path.read_bytes()
            lines = [content[start : start + length] for _, (start, length) in sorted(self._places.items())]
            salt = hmac.new(self._key, b"salt", hashlib.sha256).hexdigest()
            write_file(path, b"".join([*lines, _line({"salt": salt})]))
            self._places = _places(path)

    def _put(self, digest: str, line: bytes) -> None:
        if self._folder is None or digest in self._places:
            return
        self._places[digest] = (_append(self._folder / RESTRICTED / EXCHANGES, line), len(line))


def request_name(key: bytes, digest: str) -> str:
    """Return the name that a request has in the log."""
    return hmac.new(key, digest.encode(), hashlib.sha256).hexdigest()


def _drawn(path: Path) -> bytes:
    """Return the key in a file, drawing it the first time."""
    if not path.exists():
        write_file(path, secrets.token_bytes(32))
        path.chmod(0o600)
    return path.read_bytes()


def _line(value: Mapping[str, Any]) -> bytes:
    """Return one line of JSON; keys sorted, escapes only: an answer may hold numbers and letters that are not sound."""
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _append(path: Path, line: bytes) -> int:
    """Write a line behind all others and return where it begins."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            start = os.fstat(handle).st_size
            written = 0
            while written < len(line):
                written += os.write(handle, line[written:])
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise storage_error(path, error) from error
    return start


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """Return where each exchange of a file stands; a last line that a killed run left unfinished is cut away."""
    places: dict[str, tuple[int, int]] = {}
    start = 0
    for line in _whole_lines(path):
        row = _row(line)
        if row is not None and isinstance(row.get("digest"), str) and isinstance(row.get("response"), dict):
            places.setdefault(row["digest"], (start, len(line)))
        start += len(line)
    return places


def _lines(path: Path) -> list[dict[str, Any]]:
    return [row for line in _whole_lines(path) if (row := _row(line)) is not None]


def _whole_lines(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        whole = lines[:-1]
        os.truncate(path, sum(map(len, whole)))
        return whole
    return lines


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = parse_json(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
