"""`auditor keygen`: a signing key and its self-signed certificate."""

from __future__ import annotations

import os
import sys
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


def passphrase_for(key: Path) -> bytes | None:
    """Return the passphrase or PIN of a key: from AUDITOR_PASSPHRASE, else asked for where one is needed and someone is there."""
    from auditor.seal.keys import needs_passphrase  # noqa: PLC0415  (heavy)

    given = passphrase()
    if given is None and sys.stdin.isatty() and needs_passphrase(key):
        return str(typer.prompt(f"Passphrase or PIN of {key}", hide_input=True, err=True)).encode()
    return given


def certificate_for(key: Path, cert: Path | None) -> Path | None:
    """Return where the certificate of a key lies; None: with the key, in its PKCS#12 file or token."""
    from auditor.seal.keys import brings_certificate  # noqa: PLC0415  (heavy)

    return cert or (None if brings_certificate(key) else DEFAULT_CERTIFICATE)


def keygen(
    name: Annotated[str, typer.Option("--name", help="Who signs, as printed in the report and the certificate.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the key and the certificate.")] = FOLDER,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How long the certificate is valid.")] = 825,
    role: Annotated[
        str, typer.Option("--role", help="As what you sign, for example 'lead auditor'; printed in the report.")
    ] = "",
    organisation: Annotated[str, typer.Option("--organisation", help="For whom you sign; printed in the report.")] = "",
    rsa: Annotated[bool, typer.Option("--rsa", help="Make an RSA key of 3072 bits instead of EC P-256.")] = False,
) -> None:
    """Write a signing key, EC P-256 unless --rsa is given, and a self-signed certificate.

    The key is encrypted if AUDITOR_PASSPHRASE is set. Keep the key; give the certificate to whoever has to verify, by
    a way of its own: a self-signed certificate proves integrity, not who you are.
    """
    from auditor.pipeline import now  # noqa: PLC0415
    from auditor.seal.keys import fingerprint, read_certificate  # noqa: PLC0415
    from auditor.seal.new_key import generate_key  # noqa: PLC0415

    files = generate_key(
        out,
        name,
        now=now(),
        days=days,
        passphrase=passphrase(),
        kind="rsa" if rsa else "ec",
        role=role,
        organisation=organisation,
    )
    typer.echo(f"Key:          {files.key} (keep it to yourself)")
    typer.echo(f"Certificate:  {files.certificate} (give it to whoever verifies)")
    typer.echo(f"Fingerprint:  {fingerprint(read_certificate(files.certificate))}")
