"""`auditor verify`: numbered steps, one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from auditor.cli.console import print_json
from auditor.errors import EXIT_INTEGRITY

_REPEATED = {7, 8, 9}
"""Steps that repeat what the sealing version did; the others hold whatever the version."""


def verify(
    path: Annotated[Path, typer.Argument(help="A bundle: its folder or a zip file of it; or a report.pdf alone.")],
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
            help="Certificate (PEM) of the authority that made the time stamps in it, or of its issuer.",
        ),
    ] = None,
    record: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--record",
            help="One withheld record, as `auditor disclose` wrote it: a tenth step holds it against the bundle.",
        ),
    ] = None,
    model_signature: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--model-signature",
            help="What the model's publisher signed (`model.sig` of OpenSSF model-signing): an eleventh step holds the model against it.",
        ),
    ] = None,
    model_key: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--model-key", help="Public key or certificate (PEM) that you got from the model's publisher."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the steps as JSON.")] = False,
) -> None:
    """Check that nothing was changed or left out, by whose key it was sealed, and that all that is pure repeats.

    Of a report.pdf alone the signature and the attached evidence are checked, and what needs the bundle is named. Nothing is
    asked of the network. Exits with 4 if any step does not hold.
    """
    from auditor.pipeline import kind_of, verify_path  # noqa: PLC0415  (heavy)
    from auditor.pipeline.verifying import Beside  # noqa: PLC0415
    from auditor.seal.report_alone import NEEDS_BUNDLE  # noqa: PLC0415

    steps = verify_path(path, trust, trust_timestamp, Beside(record, model_signature, model_key))
    held = all(step.held for step in steps)
    kind = kind_of(path)
    left_out = NEEDS_BUNDLE if kind == "report" else ()
    if json:
        print_json(
            {
                "held": held,
                "kind": kind,
                "steps": [step._asdict() for step in steps],
                "not_checked": [{"name": name, "needs": needs} for name, needs in left_out],
            }
        )
    else:
        for step in steps:
            typer.echo(f"({step.number}) {'holds ' if step.held else 'FAILS '} {step.name}: {step.detail}")
            if not step.held and step.needs != "nothing":
                typer.echo(f"    (needs {step.needs})")
        for name, needs in left_out:
            typer.echo(f"( ) not checked: {name}; needs {needs}")
        what = "report" if left_out else "bundle"
        typer.echo(f"The {what} holds." if held else f"The {what} does NOT hold.")
        if kind != "report" and {step.number for step in steps if not step.held} <= _REPEATED and not held:
            typer.echo(
                "Nothing was changed since it was sealed by the trusted key: what failed is the repetition alone. Repeat it with "
                "the version that sealed it, on packages as environment.json lists them; if it fails there, too, the sealed "
                "report does not follow from the sealed evidence."
            )
    raise typer.Exit(0 if held else EXIT_INTEGRITY)
