"""Makes the observations of a plan, shard by shard; what is finished is never made again."""

from __future__ import annotations

import functools
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from auditor.contract.protocol import Part
from auditor.contract.registry import load
from auditor.core.evidence import Omission
from auditor.core.record import canonical_bytes, parse_json
from auditor.core.seeds import generator
from auditor.errors import AuditorError, BudgetError, InputError, StorageError, UnsupportedError
from auditor.evidence.shards import RESTRICTED, ObservationWriter, write_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auditor.contract.protocol import Observer, OpenedSubject
    from auditor.core.plan import Job, SideLabel

FAULT_FILE = "fault.json"
"""Beside the shards of an observation that could not be finished."""
FAULT_TEXT = "fault.txt"
"""What a plug-in said when it failed, in the folder of what can be withheld."""


class Progress(Protocol):
    """Hears how the work goes on."""

    def begin(self, job: Job, shards: int, done: int) -> None:
        """Say that an observation begins, with some shards already there."""
        ...

    def advance(self, job: Job, tokens: int) -> None:
        """Say that a shard was written."""
        ...

    def end(self, job: Job, omission: Omission | None) -> None:
        """Say that an observation is finished, or why it is not."""
        ...


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where observations are written."""

    folder: Path
    """`observations/` of the bundle."""
    key: bytes
    """Secret of the bundle for commitments."""


def observe(
    jobs: tuple[Job, ...], subjects: Mapping[SideLabel, OpenedSubject], place: Workplace, progress: Progress
) -> dict[str, Omission]:
    """Make every observation that is not there yet and return those that could not be made, by id.

    A subject or plug-in that fails ends its own observation and no other.

    Raises:
        StorageError: The output folder cannot take what has to be written; everything written so far is kept.
        InputError: The subject cannot be opened.
    """
    faults: dict[str, Omission] = {}
    for job in jobs:
        folder = place.folder / job.id
        writer = ObservationWriter(folder, place.key)
        if writer.finished:
            progress.begin(job, 0, 0)
            progress.end(job, None)
            continue
        omission = _observe_one(job, writer, subjects[job.observation.subject], progress)
        if omission is not None:
            faults[job.id] = omission
            write_file(folder / FAULT_FILE, canonical_bytes(omission.plain()))
        else:
            (folder / FAULT_FILE).unlink(missing_ok=True)
            (folder / RESTRICTED / FAULT_TEXT).unlink(missing_ok=True)
        progress.end(job, omission)
    return faults


def _observe_one(job: Job, writer: ObservationWriter, opened: OpenedSubject, progress: Progress) -> Omission | None:
    observer = load("observers", job.observation.observer)
    if isinstance(observer, Omission):
        return observer
    try:
        _make_shards(job, observer, writer, opened, progress)
    except (StorageError, InputError):
        raise  # nothing of the run can go on without a place to write or a subject
    except UnsupportedError as error:
        return Omission(reason="capability", message=error.message, where=error.hint)
    except BudgetError as error:
        return Omission(reason="budget", message=error.message, where=error.hint)
    except AuditorError as error:
        return Omission(reason="fault", message=error.message, where=error.hint)
    except Exception as error:  # noqa: BLE001  (a plug-in may fail in any way; the failure becomes a row of the report)
        # What a plug-in says of its failure can quote the data it failed on: it lies with what can be withheld.
        writer.keep(FAULT_TEXT, "".join(traceback.format_exception(error)).encode())
        return Omission(
            reason="fault",
            message=f"{type(error).__name__} in the observer; its words, which may quote data, lie in {RESTRICTED}/{FAULT_TEXT}",
            where=f"{job.observation.observer}, observation {job.id[:16]}",
        )
    return None


def _make_shards(
    job: Job, observer: Observer, writer: ObservationWriter, opened: OpenedSubject, progress: Progress
) -> None:
    size = observer.shard_items
    shards = max(1, -(-job.items // size))
    done = [number for number in range(shards) if writer.has(number)]
    progress.begin(job, shards, len(done))
    parameters = observer.parameters.from_plain(job.need.parameters)
    for number in range(shards):
        if writer.has(number):
            continue
        part = Part(
            start=number * size,
            stop=min((number + 1) * size, job.items),
            seed=job.observation.seed,
            rng=generator(job.observation.seed, job.id, "shard", str(number)),
            earlier=functools.partial(writer.earlier, number),
        )
        shard = observer.observe(job.need, opened, part)
        writer.write(number, shard.public, shard.restricted, calls=shard.calls, tokens=shard.tokens)
        progress.advance(job, shard.tokens)
    writer.finish(job.observation, observer.columns(parameters), shards)


def faults_in(folder: Path) -> dict[str, Omission]:
    """Return why observations of a bundle could not be made, by id, as written beside their shards."""
    found = {}
    for path in sorted(folder.glob(f"*/{FAULT_FILE}")):
        found[path.parent.name] = Omission.from_plain(parse_json(path.read_bytes()))
    return found
