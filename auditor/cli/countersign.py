"""`auditor countersign`: an identity beside the seal, without a key of one's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from auditor.errors import UsageError

TOKEN = "SIGSTORE_ID_TOKEN"  # noqa: S105  (the name of an environment variable)


def countersign(
    bundle: Annotated[Path, typer.Argument(help="The bundle folder.")],
    trust: Annotated[Path, typer.Option("--trust", help="Certificate (PEM) of the bundle's signer, from the signer.")],
    out: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Option("--out", "-o", help="File to write. Default: <bundle>.countersigned.json beside the bundle."),
    ] = None,
    check: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--check", help="A countersignature to check instead of writing one; needs --identity and --issuer."
        ),
    ] = None,
    identity: Annotated[
        str, typer.Option("--identity", help="Whom you expect: an e-mail address or a workflow's.")
    ] = "",
    issuer: Annotated[str, typer.Option("--issuer", help="Address of the identity provider that says so.")] = "",
    trust_config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--trust-config", help="Another Sigstore than the public one: its client trust configuration."),
    ] = None,
) -> None:
    """Sign a seal's statement with an identity instead of a key (Sigstore), beside the bundle; or check that.

    The token comes from SIGSTORE_ID_TOKEN, or from the CI service it runs on. Your identity and the statement's digest are published
    in a log for good. Needs the extra [sigstore]; checking needs no network. The bundle and its seal are not touched.
    """
    from auditor.evidence.shards import write_file  # noqa: PLC0415  (heavy)
    from auditor.pipeline.exchanging import sealed_statement  # noqa: PLC0415
    from auditor.seal.keyless import check_countersignature  # noqa: PLC0415
    from auditor.seal.keyless import countersign as countersigned  # noqa: PLC0415

    if check is not None:
        if not (identity and issuer):
            msg = "--check needs to know who is expected, and by whose word"
            raise UsageError(msg, hint="Give --identity and --issuer.")
        from auditor.evidence.manifest import read_regular  # noqa: PLC0415

        statement = sealed_statement(bundle, trust)
        typer.echo(f"Holds: {check_countersignature(read_regular(check), statement, identity, issuer, trust_config)}")
        return
    target = out or bundle.resolve().with_name(f"{bundle.resolve().name}.countersigned.json")
    if target.resolve().is_relative_to(bundle.resolve()):
        msg = f"{target}: lies in the bundle, which is sealed"
        raise UsageError(msg, hint="Give a file outside of it; one file more, and the bundle no longer holds.")
    if target.exists():
        msg = f"{target}: there is a file already"
        raise UsageError(msg, hint="Choose another name with --out.")
    write_file(target, countersigned(sealed_statement(bundle, trust), os.environ.get(TOKEN) or None, trust_config))
    typer.echo(f"Countersigned: {target}")
