"""`auditor keygen`: a signing key and its self-signed certificate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

FOLDER = Path.home() / ".config" / "auditor"
DEFAULT_KEY = FOLDER / "auditor.key.pem"
DEFAULT_CERTIFICATE = FOLDER / "auditor.crt.pem"


def passphrase() -> bytes | None:
    """Return the passphrase of the key from the environment variable AUDITOR_PASSPHRASE, None if it is not set."""
    value = os.environ.get("AUDITOR_PASSPHRASE")
    return value.encode() if value else None


def keygen(
    name: Annotated[str, typer.Option("--name", help="Who signs, as printed in the report and the certificate.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the key and the certificate.")] = FOLDER,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How long the certificate is valid.")] = 825,
) -> None:
    """Write an EC P-256 signing key and a self-signed certificate.

    The key is encrypted if AUDITOR_PASSPHRASE is set. Keep the key; give the certificate to whoever has to verify, by
    a way of its own: a self-signed certificate proves integrity, not who you are.
    """
    from auditor.pipeline import now  # noqa: PLC0415
    from auditor.seal.keys import fingerprint, generate_key, read_certificate  # noqa: PLC0415

    files = generate_key(out, name, now=now(), days=days, passphrase=passphrase())
    typer.echo(f"Key:          {files.key} (keep it to yourself)")
    typer.echo(f"Certificate:  {files.certificate} (give it to whoever verifies)")
    typer.echo(f"Fingerprint:  {fingerprint(read_certificate(files.certificate))}")
