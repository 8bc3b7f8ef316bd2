"""`auditor plan`: what will run, what cannot and why, at what cost, and what it could show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from auditor.cli.console import duration, print_json, print_table


def plan(
    subject: Annotated[Path, typer.Argument(help="The subject file (YAML).")],
    policy: Annotated[
        Optional[str],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Option("--policy", "-p", help="A shipped policy or a path, instead of the one the subject names."),
    ] = None,
    time: Annotated[bool, typer.Option("--time/--no-time", help="Time the model on a small batch.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Say what a run will do, before anything is asked of the model but one small batch to time it."""
    from auditor.pipeline import prepare, speed  # noqa: PLC0415  (heavy)

    prepared = prepare(subject, policy)
    made = prepared.plan
    if json:
        print_json(made.plain())
        return
    for warning in prepared.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    typer.echo(f"Subject  {prepared.opened.subject.name}, model digest {prepared.opened.subject.model.digest[:16]}")
    typer.echo(f"Policy   {prepared.policy.policy.id} version {prepared.policy.policy.version}")
    typer.echo("")
    entries = {entry.test: entry for entry in prepared.policy.policy.tests}
    rows = []
    for row in made.side("audited").tests:
        required = "required" if entries[row.test].required else "optional"
        if row.omission is not None:
            rows.append((row.test, f"cannot run, {required}", f"{row.omission.reason}: {row.omission.message}"))
        else:
            rows.append((row.test, f"will run, {required}", row.power.statement if row.power else ""))
    rows.extend(
        (entry.test, "not applicable", f"declared: {entry.not_applicable}")
        for entry in prepared.policy.policy.tests
        if entry.not_applicable is not None
    )
    print_table(("test", "state", "smallest detectable effect, or why not"), rows, widths=(34, 22))
    typer.echo("")
    jobs = [job for job in made.jobs if job.observation.subject == "audited"]
    seconds = speed(prepared) if time else None
    cells = []
    for job in jobs:
        model = job.observation.model_role or "data alone"
        expected = duration(job.tokens / seconds) if seconds and job.observation.model_role else "-"
        cells.append(
            (
                f"{job.observation.observer} ({job.observation.dataset})",
                model,
                f"{job.items:,}",
                expected,
                f"{job.tokens:,}",
            )
        )
    unit = "passes" if prepared.opened.subject.members.modality == "image" else "tokens"
    print_table(("observation", "of", "items", "expected", unit), cells, widths=(34, 12, 10, 10))
    if seconds:
        total = sum(job.tokens for job in jobs if job.observation.model_role)
        typer.echo(
            f"\nAbout {seconds:,.0f} {unit} a second here: {duration(total / seconds)} for the model's part in all."
        )
    controls = sum(job.observation.subject != "audited" for job in made.jobs)
    typer.echo(f"Controls of the instrument: {controls} observations of the memorizer and the innocent (seconds).")
