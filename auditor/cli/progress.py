"""Shows how the observations go on, with the time left, on standard error."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import typer

from auditor.cli.console import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.core.evidence import Omission
    from auditor.core.plan import Job, Plan
    from auditor.run.observe import Progress


class _Silent:
    """Hears everything and says nothing."""

    def begin(self, job: Job, shards: int, done: int) -> None:
        """Say nothing."""

    def advance(self, job: Job, tokens: int) -> None:
        """Say nothing."""

    def end(self, job: Job, omission: Omission | None) -> None:
        """Say nothing."""


class _Spoken:
    """Prints one line per observation, and the time left now and then.

    Tokens, or network passes, of the audited subject are the measure of work: those of the control subjects cost next to nothing.
    """

    def __init__(self, plan: Plan) -> None:
        self._left = sum(_work(job, job.tokens) for job in plan.jobs)
        self._done = 0
        self._began = time.perf_counter()
        self._said = self._began
        self._shards = self._written = 0

    def begin(self, job: Job, shards: int, done: int) -> None:
        """Remember what is already there."""
        self._shards, self._written = shards, done
        if done:
            typer.echo(f"  {_name(job)}: {done} of {shards} shards were already there", err=True)

    def advance(self, job: Job, tokens: int) -> None:
        """Count the work, and every few seconds say how long the rest will take."""
        self._written += 1
        self._done += _work(job, tokens)
        now = time.perf_counter()
        if self._done and now - self._said > 5.0:
            self._said = now
            speed = self._done / max(now - self._began, 1e-9)
            rest = max(self._left - self._done, 0) / max(speed, 1e-9)
            shards = f"{self._written} of {self._shards} shards"
            typer.echo(f"  {_name(job)}: {shards}, about {duration(rest)} left in all", err=True)

    def end(self, job: Job, omission: Omission | None) -> None:
        """Say how the observation ended."""
        typer.echo(f"  {_name(job)}: {omission.message if omission else 'done'}", err=True)


def _work(job: Job, tokens: int) -> int:
    return tokens if job.observation.subject == "audited" else 0


def _name(job: Job) -> str:
    seen = job.observation
    model = f" by {seen.model_role}" if seen.model_role else ""
    transform = seen.parameters.get("transform", "none")
    what = f"{seen.observer} of {seen.dataset}{model}" + (f" ({transform})" if transform != "none" else "")
    return what if seen.subject == "audited" else f"instrument, {seen.subject}: {what}"


@contextlib.contextmanager
def shown_progress(plan: Plan, *, quiet: bool) -> Iterator[Progress]:
    """Yield what hears the progress."""
    if quiet:
        yield _Silent()
        return
    typer.echo(f"Observing: {len(plan.jobs)} observations", err=True)
    spoken = _Spoken(plan)
    yield spoken
