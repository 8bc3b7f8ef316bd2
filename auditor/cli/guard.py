"""`auditor guard`: whether a file gives away what a bundle holds back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from auditor.cli.console import print_json
from auditor.errors import EXIT_INTEGRITY


def guard(
    bundle: Annotated[Path, typer.Argument(help="The whole bundle, with its restricted part.")],
    files: Annotated[
        Optional[list[Path]],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Argument(
            help="Files or folders that are to be shared: a mail, a model card, an archive. Default: what the bundle itself shares."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was scanned and found as JSON.")] = False,
) -> None:
    """Look for restricted texts and pictures of a bundle in files that are to be shared.

    Runs of at least 24 letters and digits are found whatever stands between them, in any case, and also in base64, escapes, archives,
    PDF, HTML, SVG, JSON and Parquet. Where something is found, the place and the record are named, never the text, and the command exits
    with 4. `auditor run` does the same before it seals.
    """
    from auditor.evidence.bundle import Bundle  # noqa: PLC0415  (heavy)
    from auditor.pipeline.guarding import look_at  # noqa: PLC0415

    seen = look_at(Bundle(bundle), files or [])
    if json:
        found = [
            {
                "artefact": leak.artefact,
                "where": leak.where,
                "letters": leak.length,
                "restricted": {"file": leak.origin.file, "column": leak.origin.column, "row": leak.row},
                "record": leak.record,
            }
            for leak in seen.leaks
        ]
        print_json({"clean": not found, "leaks": found, "scan": seen.redaction.plain()})
        raise typer.Exit(EXIT_INTEGRITY if found else 0)
    for leak in seen.leaks:
        typer.echo(f"LEAK  {leak.described()}")
    unread = [f"{row.path}: {part}" for row in seen.redaction.scanned for part in row.unread]
    for part in unread:
        typer.echo(f"NOT READ  {part}")
    kept = seen.redaction.protected
    typer.echo(
        f"{len(seen.redaction.scanned)} files held against {kept.texts:,} restricted texts ({kept.letters:,} letters), "
        f"{kept.values:,} short values and {kept.pictures:,} pictures: "
        + (f"restricted text or pictures at {len(seen.leaks)} places." if seen.leaks else "nothing of them found.")
    )
    raise typer.Exit(EXIT_INTEGRITY if seen.leaks else 0)
