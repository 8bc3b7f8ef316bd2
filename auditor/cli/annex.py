"""`auditor annex`: the restricted part of a bundle, encrypted to one recipient."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def annex(
    bundle: Annotated[Path, typer.Argument(help="The whole bundle, with its restricted part.")],
    recipient: Annotated[
        Path, typer.Option("--for", help="Certificate (PEM) of the recipient: RSA, or EC on P-256, P-384 or P-521.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (CMS, DER).")],
) -> None:
    """Encrypt all that a sealed bundle withholds to a certificate, so that only its holder can open it.

    The recipient opens it with `openssl cms -decrypt`, lays it over the shared bundle and verifies: the signed manifest lists every file of
    it. An annex that the report is to name is made with `auditor run --annex-for`.
    """
    from auditor.errors import UsageError  # noqa: PLC0415
    from auditor.evidence import bundle as layout  # noqa: PLC0415
    from auditor.evidence.bundle import Bundle  # noqa: PLC0415  (heavy)
    from auditor.pipeline import now  # noqa: PLC0415
    from auditor.seal.annex import read_recipient, write_annex  # noqa: PLC0415

    found = Bundle(bundle)
    if not found.has(layout.SEAL):
        msg = f"{bundle}: no sealed bundle"
        raise UsageError(msg, hint="Give the folder that `auditor run` wrote.")
    if out.resolve().is_relative_to(bundle.resolve()):
        msg = f"{out}: lies in the bundle, which is sealed"
        raise UsageError(msg, hint="Give a file outside of it; one file more, and the bundle no longer holds.")
    if out.exists():
        msg = f"{out}: there is a file already"
        raise UsageError(msg, hint="Choose another name with --out.")
    made = write_annex(found, read_recipient(recipient, now=now()), out, out.name)
    typer.echo(f"Annex:      {out} ({made.bytes:,} bytes, {made.files} files, {made.exhibits} exhibits)")
    typer.echo(f"Recipient:  {made.recipient}, certificate SHA-256 {made.certificate}")
    typer.echo(f"SHA-256:    {made.sha256}")
    typer.echo(f"Cipher:     {made.cipher}")
