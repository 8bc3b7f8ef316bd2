"""`auditor run`: the whole way to a sealed bundle."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from auditor.cli.console import print_json
from auditor.cli.keygen import DEFAULT_KEY, certificate_for, passphrase_for


def run(
    subject: Annotated[Path, typer.Argument(help="The subject file (YAML).")],
    policy: Annotated[
        Optional[str],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Option("--policy", "-p", help="A shipped policy or a path, instead of the one the subject names."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", help="Folder of the bundle. Default: audit-<name> in the current folder."),
    ] = None,
    key: Annotated[
        Path,
        typer.Option(
            "--key",
            help="Signing key: PEM, as `auditor keygen` writes it; PKCS#12 (.p12, .pfx); or a PKCS#11 address (pkcs11:...). "
            "The passphrase or PIN comes from AUDITOR_PASSPHRASE or is asked for.",
        ),
    ] = DEFAULT_KEY,
    cert: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--cert",
            help="Certificate of the key (PEM). Default: the one that lies with a PKCS#12 or PKCS#11 key, else that of `auditor keygen`.",
        ),
    ] = None,
    timestamp: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--timestamp",
            help="Address of a time-stamping authority (RFC 3161) that says when the PDF was signed: it is sent a digest, nothing else.",
        ),
    ] = None,
    preregistered: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--preregistered",
            help="The plan as `auditor plan --commit` committed it; every deviation from it is reported.",
        ),
    ] = None,
    committed_by: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--committed-by", help="Certificate (PEM) of whoever committed the plan. Default: --cert."),
    ] = None,
    external: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            "--external",
            help="What another tool found (minimal format, memaudit's JSON or garak's JSONL), shown in a section of its own; it changes no "
            "outcome. Can be given several times.",
        ),
    ] = None,
    annex_for: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            "--annex-for",
            help="Certificate (PEM) of a supervisory authority: an annex with all that is withheld is encrypted to it (CMS). "
            "Can be given several times.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the outcomes as JSON.")] = False,
) -> None:
    """Run the policy's battery against a subject and write a sealed bundle.

    Run again after a crash with the same arguments: it goes on where it stopped. The key is checked first of all. Every run leaves
    an entry in the record of attempts, `.auditor-attempts.jsonl` beside the subject file, and the report says how many came before.
    """
    from auditor.errors import UsageError  # noqa: PLC0415
    from auditor.pipeline import Occasion, audit, now, prepare, read_external, read_preregistered  # noqa: PLC0415  (heavy)
    from auditor.seal.annex import read_recipient  # noqa: PLC0415
    from auditor.seal.keys import load_signer, read_certificate  # noqa: PLC0415

    started = now()
    certificate = certificate_for(key, cert)
    signer = load_signer(key, certificate, passphrase_for(key), now=started)
    recipients = [read_recipient(path, now=started) for path in annex_for or []]
    if timestamp is not None:
        from auditor.preregister.stamping import request_time_stamp  # noqa: PLC0415  (heavy)

        request_time_stamp(b"auditor: does the authority answer?", timestamp)
    if committed_by is not None and preregistered is None:
        msg = "--committed-by says who committed a plan, and no plan is given"
        raise UsageError(msg, hint="Give the committed plan with --preregistered.")
    committed = None
    if preregistered is not None:
        committed = read_preregistered(
            preregistered, read_certificate(committed_by) if committed_by else signer.certificate
        )
    prepared = prepare(subject, policy)
    taken = read_external(external or [], prepared)
    folder = out or Path(f"audit-{prepared.spec.spec.name}")
    for warning in prepared.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    command = ["auditor", "run", str(subject), *(["--policy", policy] if policy else []), "--out", str(folder)]
    command += ["--preregistered", str(preregistered)] if preregistered else []
    command += ["--committed-by", str(committed_by)] if committed_by else []
    command += ["--timestamp", timestamp] if timestamp else []
    command += [part for path in external or [] for part in ("--external", str(path))]
    command += [part for path in annex_for or [] for part in ("--annex-for", str(path))]
    occasion = Occasion(operator=signer.common_name, command=shlex.join(command), started=started)
    from auditor.cli.progress import shown_progress  # noqa: PLC0415  (rich)

    with shown_progress(prepared.plan, quiet=quiet) as progress:
        audited = audit(prepared, folder, signer, occasion, progress, committed, timestamp, taken, recipients)
    for warning in audited.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    if json:
        print_json(
            {
                "bundle": str(folder),
                "exit_code": audited.assessment.exit_code,
                "outcomes": {finding.test: finding.outcome.value for finding in audited.findings},
            }
        )
    else:
        for finding in audited.findings:
            typer.echo(f"{finding.outcome.value:<15} {finding.test}: {finding.reason}")
        typer.echo(f"Bundle:  {folder}")
        typer.echo(f"Report:  {folder / 'report.pdf'} and {folder / 'report.html'}")
        typer.echo(
            f"Verify:  auditor verify {shlex.quote(str(folder))} --trust {shlex.quote(str(certificate or 'CERTIFICATE'))}"
            + (" --trust-timestamp CERTIFICATE-OF-THE-AUTHORITY" if timestamp else "")
        )
    raise typer.Exit(audited.assessment.exit_code)
