"""`auditor plan`: what will run, what cannot and why, at what cost, and what it could show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from auditor.cli.console import duration, print_json, print_table
from auditor.cli.keygen import DEFAULT_KEY, certificate_for, passphrase_for

if TYPE_CHECKING:
    from auditor.pipeline import Prepared
    from auditor.seal.keys import Signer


def plan(
    subject: Annotated[Path, typer.Argument(help="The subject file (YAML).")],
    policy: Annotated[
        Optional[str],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Option("--policy", "-p", help="A shipped policy or a path, instead of the one the subject names."),
    ] = None,
    time: Annotated[bool, typer.Option("--time/--no-time", help="Time the model on a small batch.")] = True,
    commit: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--commit", help="Commit this plan: write a signed commitment to this file, before any score exists."
        ),
    ] = None,
    key: Annotated[
        Path, typer.Option("--key", help="Signing key (PEM, PKCS#12 or PKCS#11), for --commit.")
    ] = DEFAULT_KEY,
    cert: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--cert", help="Certificate of the key (PEM), for --commit; as for `auditor run`."),
    ] = None,
    timestamp: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--timestamp",
            help="Address of a time-stamping authority (RFC 3161): it is sent the commitment's digest, nothing else.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Say what a run will do, before anything is asked of the model but one small batch to time it.

    With --commit, policy, subject, seeds, tests, tolerances and versions are committed first; `auditor run --preregistered FILE` then
    reports every deviation.
    """
    from auditor.errors import UsageError  # noqa: PLC0415
    from auditor.pipeline import prepare, speed  # noqa: PLC0415  (heavy)

    if timestamp is not None and commit is None:
        msg = "--timestamp stamps a commitment, and none is written"
        raise UsageError(msg, hint="Name its file with --commit.")
    signer = _signer(key, cert) if commit is not None else None  # refused before the time is spent that digests take
    prepared = prepare(subject, policy)
    made = prepared.plan
    if commit is not None and signer is not None:
        _commit(prepared, commit, signer, timestamp)
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


def _signer(key: Path, cert: Path | None) -> Signer:
    """Return the key with its certificate, fit to sign now."""
    from auditor.pipeline import now  # noqa: PLC0415
    from auditor.seal.keys import load_signer  # noqa: PLC0415

    return load_signer(key, certificate_for(key, cert), passphrase_for(key), now=now())


def _commit(prepared: Prepared, path: Path, signer: Signer, authority: str | None) -> None:
    from auditor.pipeline import commit_plan, earlier_attempts, now  # noqa: PLC0415

    made = commit_plan(prepared, path, signer, created=now(), authority=authority)
    typer.echo(f"Committed: {path}, plan {made.commitment.plan}, at {made.created} by the local clock", err=True)
    for warning in earlier_attempts(prepared):
        typer.echo(f"Warning:   {warning}", err=True)
    if authority is not None:
        typer.echo(f"Time stamp: {path}.tst, by {authority}; keep it beside the commitment", err=True)
    typer.echo(f"Then:      auditor run ... --preregistered {path}", err=True)
