"""`auditor attach`: the outcomes of an audit in a model card."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Optional

import typer

from auditor.errors import UsageError


def attach(
    bundle: Annotated[Path, typer.Argument(help="The bundle folder.")],
    card: Annotated[Path, typer.Argument(help="The model card, usually README.md of the model's repository.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change, and write nothing.")] = False,
    url: Annotated[
        str, typer.Option("--url", help="Address (https) where readers of the card can get the report.")
    ] = "",
    trust: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Option("--trust", help="Certificate (PEM) of the signer, from the signer."),
    ] = None,
) -> None:
    """Write the outcomes into a model card: evaluation results, a section under Evaluation, a line under Risks.

    What stands between our markers is replaced, so attaching twice is the same as once; everything else in the file stays as it is.
    The bundle has to hold (exit 4 if not). Nothing that the model gave back is written, not even masked.
    """
    from auditor.evidence.bundle import Bundle  # noqa: PLC0415  (heavy)
    from auditor.pipeline.exchanging import attach_bundle  # noqa: PLC0415

    if url and not re.fullmatch(r"https://[A-Za-z0-9._~/?#@!$&+,;=%:-]+", url):
        msg = f"--url {url}: not an https address"
        raise UsageError(msg, hint="Give it whole: --url https://example.org/audits/report.pdf")
    if card.resolve().is_relative_to(bundle.resolve()):
        msg = f"{card}: lies in the bundle, which is sealed"
        raise UsageError(msg, hint="Give the model card in the model's own repository.")
    before, after = attach_bundle(bundle, card, trust=trust, url=url)
    if dry_run:
        old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
        for text in difflib.unified_diff(old, new, fromfile=str(card), tofile=f"{card} (attached)"):
            typer.echo(text if text.endswith("\n") else f"{text}\n", nl=False)
        return
    if before == after:
        typer.echo(f"{card}: nothing to change")
        return
    Bundle(card.parent).write(card.name, after.encode())
    typer.echo(str(card))
