"""`auditor verify`: numbered steps, one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from auditor.cli.console import print_json
from auditor.errors import EXIT_INTEGRITY


def verify(
    path: Annotated[Path, typer.Argument(help="A bundle folder, or a report.pdf alone.")],
    trust: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Option(
            "--trust", help="Certificate of the signer (PEM) that you got from the signer, not from the bundle."
        ),
    ] = None,
    trust_timestamp: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--trust-timestamp",
            help="Certificate (PEM) of the authority that time-stamped the plan committed beforehand, or of its issuer.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the steps as JSON.")] = False,
) -> None:
    """Check that nothing was changed or left out, by whose key it was sealed, and that all that is pure repeats.

    Exits with 4 if any step does not hold.
    """
    from auditor.pipeline import verify_path  # noqa: PLC0415  (heavy)

    steps = verify_path(path, trust, trust_timestamp)
    held = all(step.held for step in steps)
    if json:
        print_json({"held": held, "steps": [step._asdict() for step in steps]})
    else:
        for step in steps:
            typer.echo(f"({step.number}) {'holds ' if step.held else 'FAILS '} {step.name}: {step.detail}")
        typer.echo("The bundle holds." if held else "The bundle does NOT hold.")
    raise typer.Exit(0 if held else EXIT_INTEGRITY)
