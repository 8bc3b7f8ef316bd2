"""The record of attempts: every audit that is begun leaves a line, whatever becomes of it; nothing turns that off.

One line per event, canonical JSON. Each line names the SHA-256 of the one before it, so that a line that was changed, dropped
or put in between shows. Lines cut off at the end, and a record that was removed whole, do not show: nobody can know of
attempts that left nothing here. Every sealed report names the digest of its own first line, by which it can be found missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auditor.core.preregistration import Attempts
from auditor.core.record import Digest, Record, Text, digest_of, parse_json
from auditor.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from auditor.core.subject import Subject

FILE = ".auditor-attempts.jsonl"
"""Name of the record, in the folder of the subject file."""
LARGEST = 64 * 1024 * 1024
"""A larger record is not read, byte."""
_NONE = "0" * 64
_FAULTS_SHOWN = 3


class Entry(Record):
    """One event of one attempt."""

    event: Literal["begun", "resumed", "finished"]
    attempt: Digest | None
    """SHA-256 of the line the attempt was begun with; null in that line itself."""
    previous: Digest
    """SHA-256 of the line before; zeros in the first."""
    time: Text
    """ISO date and time, UTC, by the local clock."""
    model: Digest
    data: Digest
    """Digest over members, controls and canaries."""
    policy: Digest
    plan: Digest
    preregistration: Digest | None
    """SHA-256 of the signed commitment; null: none was given."""
    exit_code: int | None = None
    """How the audit ended; only where it is finished."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A record of attempts as it was read."""

    entries: dict[str, Entry]
    """Readable lines by their SHA-256, in order."""
    last: str
    """SHA-256 of the last line, readable or not; zeros where there is none."""
    torn: bool
    """Whether the last line has no end: its writer was stopped."""
    faults: tuple[str, ...]


def data_of(subject: Subject) -> str:
    """Return the digest of the data that a model is audited with."""
    return digest_of(
        {
            "members": subject.members.digest,
            "controls": subject.controls.digest if subject.controls else None,
            "canaries": subject.canaries.sha256 if subject.canaries else None,
        }
    )


def parse(content: bytes) -> Ledger:
    """Return what a record of attempts says, and every line that does not hold."""
    lines = content.split(b"\n")
    torn = lines.pop() != b""
    if torn:
        lines = content.split(b"\n")
    entries: dict[str, Entry] = {}
    faults: list[str] = []
    last = _NONE
    for number, line in enumerate(lines, start=1):
        identity = hashlib.sha256(line).hexdigest()
        try:
            entry = Entry.from_plain(parse_json(line))
            if entry.canonical() != line:
                msg = "not in canonical form"
                raise ValueError(msg)  # noqa: TRY301
        except (ValueError, TypeError):
            faults.append(f"line {number} cannot be read")
        else:
            if entry.previous != last:
                faults.append(f"line {number} does not follow the line before it: lines were changed or are missing")
            entries[identity] = entry
        last = identity
    if len(faults) > _FAULTS_SHOWN:
        faults = [*faults[:_FAULTS_SHOWN], f"and {len(faults) - _FAULTS_SHOWN} more"]
    return Ledger(entries, last, torn, tuple(faults))


def read(folder: Path) -> Ledger:
    """Return the record of attempts of a folder; an empty one where there is none. One that cannot be read is a fault."""
    try:
        with _opened(folder / FILE, os.O_RDONLY) as number:
            return parse(_content(number))
    except FileNotFoundError:
        return Ledger({}, _NONE, torn=False, faults=())
    except OSError as error:
        return Ledger({}, _NONE, torn=False, faults=(f"it cannot be read ({error.strerror or error})",))


def append(folder: Path, entry: Entry) -> str:
    """Write one more line, chained to the last, and return its SHA-256.

    Args:
        folder: Folder of the record.
        entry: What to write; `previous` is set here.

    Raises:
        StorageError: It cannot be written there.
    """
    try:
        with _opened(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND) as number:
            with contextlib.suppress(OSError):  # some network file systems know no locks
                fcntl.flock(number, fcntl.LOCK_EX)
            known = parse(_content(number))
            line = entry.model_copy(update={"previous": known.last}).canonical()
            content = (b"\n" if known.torn else b"") + line + b"\n"
            if os.write(number, content) != len(content):
                msg = f"{folder / FILE}: could not be written whole"
                raise StorageError(msg, hint="Free some space and run the same command again.")
            os.fsync(number)
            return hashlib.sha256(line).hexdigest()
    except OSError as error:
        msg = f"{folder / FILE}: the record of attempts cannot be written ({error.strerror or error})"
        raise StorageError(msg, hint="Let this user write into the folder of the subject file.") from error


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """Open a regular file, never through a link."""
    number = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            msg = "not a regular file"
            raise OSError(msg)
        yield number
    finally:
        os.close(number)


def _content(number: int) -> bytes:
    size = os.fstat(number).st_size
    if size > LARGEST:
        msg = f"{size} bytes are more than a record of attempts can have"
        raise OSError(msg)
    return os.pread(number, size, 0)


def known_before(
    ledgers: Iterable[Ledger], begun: Entry, *, committed: str | None = None
) -> tuple[dict[str, int | None], tuple[str, ...]]:
    """Return the counts of `Attempts`, from the records known when an attempt begins, and what is wrong with them.

    Args:
        ledgers: The records, without this attempt.
        begun: This attempt.
        committed: When its plan was committed, ISO; None: no plan was.
    """
    entries: dict[str, Entry] = {}
    faults: list[str] = []
    for ledger in ledgers:
        entries |= ledger.entries
        faults += ledger.faults
    attempts = {name: entry for name, entry in entries.items() if entry.event == "begun" and entry.model == begun.model}
    same = {name: entry for name, entry in attempts.items() if entry.data == begun.data}
    ended = {entry.attempt for entry in entries.values() if entry.event == "finished"}
    counts: dict[str, int | None] = {
        "earlier": len(same),
        "finished": len(same.keys() & ended),
        "same_plan": sum(entry.plan == begun.plan for entry in same.values()),
        "before_commitment": None if committed is None else sum(entry.time <= committed for entry in same.values()),
        "other_data": len(attempts) - len(same),
    }
    return counts, tuple(faults)


def begin(places: Iterable[tuple[Path, str]], begun: Entry, *, committed: str | None) -> Attempts:
    """Return what is known of earlier attempts, with this one written down.

    Args:
        places: Folders to keep the record in, with what each is called; the first that can be written is taken.
        begun: This attempt.
        committed: When its plan was committed, ISO; None: no plan was.
    """
    offered = list(places)
    counts, faults = known_before([read(folder) for folder, _ in offered], begun, committed=committed)
    refusals = []
    for folder, name in offered:
        try:
            attempt = append(folder, begun)
        except StorageError as error:
            refusals.append(error.message.rsplit(": ", 1)[-1])
            continue
        return Attempts.from_plain({"attempt": attempt, **counts, "kept": name, "faults": list(faults)})
    own = begun.model_copy(update={"previous": _NONE}).identity()
    faults = (*faults, *(f"it could not be written: {reason}" for reason in dict.fromkeys(refusals)))
    return Attempts.from_plain({"attempt": own, **counts, "kept": "nowhere", "faults": list(faults)})
