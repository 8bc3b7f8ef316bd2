"""`auditor import`: what other tools found, as a signed addendum beside a bundle."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from auditor.cli.console import print_json
from auditor.cli.keygen import DEFAULT_KEY, certificate_for, passphrase_for
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.core.external import ExternalFindings


class Origin(StrEnum):
    """What wrote a file."""

    MINIMAL = "minimal"
    MEMAUDIT = "memaudit"
    GARAK = "garak"


def import_(
    bundle: Annotated[Path, typer.Argument(help="The bundle folder.")],
    file: Annotated[Path, typer.Argument(help="What the other tool wrote; with --check, the addendum.")],
    origin: Annotated[
        Optional[Origin],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Option("--from", help="What wrote the file. Default: what its content shows."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out", "-o", help="File of the addendum. Default: <bundle>.external-<tool>.dsse.json beside the bundle."
        ),
    ] = None,
    key: Annotated[
        Path, typer.Option("--key", help="Signing key: PEM, PKCS#12 (.p12, .pfx) or a PKCS#11 address, as for `run`.")
    ] = DEFAULT_KEY,
    cert: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--cert", help="Certificate of the key (PEM). Default: the one that lies with the key, as for `run`."
        ),
    ] = None,
    trust: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--trust", help="Certificate (PEM) of the bundle's signer; with --check, of the addendum's."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check an addendum and print it; needs --trust.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the external findings as JSON.")] = False,
) -> None:
    """Read what another tool found and sign it as an addendum beside a bundle.

    External findings are marked as such. The bundle stays as it is: nothing of them enters its findings, the correction over the
    battery or the state of a clause, and no number is made comparable that is not. docs/exchange.md describes the minimal format.
    """
    if check:
        from auditor.pipeline.exchanging import read_addendum  # noqa: PLC0415  (heavy)

        if trust is None:
            msg = "--check needs to know whose signature is trusted"
            raise UsageError(msg, hint="Give the certificate of whoever signed the addendum with --trust.")
        _print(read_addendum(bundle, file, trust), json=json)
        return
    if out is not None and out.resolve().is_relative_to(bundle.resolve()):
        msg = f"{out}: lies in the bundle, which is sealed"
        raise UsageError(msg, hint="Give a file outside of it; one file more, and the bundle no longer holds.")
    from auditor.evidence.bundle import Bundle  # noqa: PLC0415  (heavy)
    from auditor.pipeline import now  # noqa: PLC0415
    from auditor.pipeline.exchanging import import_external  # noqa: PLC0415
    from auditor.seal.keys import load_signer  # noqa: PLC0415

    certificate = certificate_for(key, cert)
    signer = load_signer(key, certificate, passphrase_for(key), now=now())
    found, envelope = import_external(bundle, file, origin.value if origin else None, signer, trust=trust)
    target = out or bundle.resolve().with_name(f"{bundle.resolve().name}.external-{found.form}.dsse.json")
    Bundle(target.parent).write(target.name, envelope)
    _print(found, json=json)
    again = ["auditor", "import", str(bundle), str(target), "--check", "--trust", str(certificate or "CERTIFICATE")]
    typer.echo(f"Addendum: {target}", err=json)
    typer.echo(f"Check:    {shlex.join(again)}", err=json)


def _print(found: ExternalFindings, *, json: bool) -> None:
    from auditor.exchange.external import estimate_worded  # noqa: PLC0415  (heavy)

    if json:
        print_json(found.plain())
        return
    typer.echo(found.notice)
    typer.echo(f"{found.tool.name} {found.tool.version}, {found.file.path} ({found.file.sha256})")
    if found.about_this_model == "not shown":
        typer.echo(f"Warning: nothing shows that '{found.model_named.name}' is the model of the bundle.", err=True)
    for row in found.findings:
        typer.echo(f"external  {row.name}: {row.statistic}: {estimate_worded(row.estimate, row.unit)}")
        if row.control is not None:
            typer.echo(f"          control {estimate_worded(row.control, row.unit)}")
        for text in (row.verdict, *row.notes):
            if text:
                typer.echo(f"          {text}")
    for text in found.left_out:
        typer.echo(f"Left out: {text}")
