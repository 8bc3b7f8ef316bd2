"""`auditor archive`: the long-term form of a report, beside the bundle."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from auditor.errors import UsageError


def archive(
    path: Annotated[
        Path, typer.Argument(help="A bundle folder, its report.pdf, or an archive form that is to be renewed.")
    ],
    trust: Annotated[Path, typer.Option("--trust", help="Certificate (PEM) of the signer, from the signer.")],
    timestamp: Annotated[
        str,
        typer.Option(
            "--timestamp", help="Address of a time-stamping authority (RFC 3161); it is sent a digest, nothing else."
        ),
    ],
    trust_timestamp: Annotated[
        Path,
        typer.Option(
            "--trust-timestamp", help="Certificate (PEM) of that authority, or of its issuer, from the authority."
        ),
    ],
    chain: Annotated[
        Optional[list[Path]],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Option(
            "--chain", help="Certificates (PEM) of the authorities above signer and time stamp; may be repeated."
        ),
    ] = None,
    crl: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option("--crl", help="Revocation list (PEM or DER) of one of those authorities; may be repeated."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", help="File to write. Default: <bundle>.archive.pdf beside the bundle."),
    ] = None,
) -> None:
    """Write the report with proofs behind it that outlive its certificates (PAdES B-LTA), beside the bundle.

    The report stays as it is, byte for byte, at the beginning of the file; behind it stand certificates, revocation lists and a time stamp
    over all of it. The bundle is not touched: the report in it has exactly one signature over the entire file. Certificates and lists are
    given as files; only the time stamp is asked of the network. Renew the form, before the time stamp's certificate ends, the same way.
    """
    from auditor.evidence.shards import write_file  # noqa: PLC0415  (heavy)
    from auditor.pipeline.archiving import archive_report  # noqa: PLC0415

    target = out or path.resolve().with_name(f"{path.resolve().name.removesuffix('.pdf')}.archive.pdf")
    if path.is_dir() and target.resolve().is_relative_to(path.resolve()):
        msg = f"{target}: lies in the bundle, which is sealed"
        raise UsageError(msg, hint="Give a file outside of it; one file more, and the bundle no longer holds.")
    if target.exists():
        msg = f"{target}: there is a file already"
        raise UsageError(msg, hint="Choose another name with --out.")
    content, shown = archive_report(path, trust, timestamp, trust_timestamp, chain or [], crl or [])
    write_file(target, content)
    typer.echo(f"Archived: {target}")
    typer.echo(f"          {shown}")
    again = ["auditor", "verify", str(target), "--trust", str(trust), "--trust-timestamp", str(trust_timestamp)]
    typer.echo(f"Verify:   {shlex.join(again)}")
