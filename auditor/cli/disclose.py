"""`auditor disclose`: one withheld record of a bundle, with proof."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def disclose(
    bundle: Annotated[Path, typer.Argument(help="The whole bundle, with its restricted part.")],
    observation: Annotated[str, typer.Option("--observation", help="Id of the observation, or its beginning.")],
    row: Annotated[int, typer.Option("--row", min=0, help="Number of the record in the observation, from 0.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (JSON).")],
) -> None:
    """Write one record with its restricted columns, and the proof that it belongs to the sealed bundle.

    Whoever has the bundle without its restricted part checks it with `auditor verify BUNDLE --trust CERTIFICATE --record FILE`, and
    learns nothing of any other record.
    """
    from auditor.errors import UsageError  # noqa: PLC0415
    from auditor.evidence.bundle import Bundle  # noqa: PLC0415  (heavy)
    from auditor.evidence.shards import write_file  # noqa: PLC0415
    from auditor.pipeline.guarding import guarded_disclosure  # noqa: PLC0415

    if out.exists():
        msg = f"{out}: there is a file already"
        raise UsageError(msg, hint="Choose another name with --out.")
    write_file(out, guarded_disclosure(Bundle(bundle), observation, row))
    typer.echo(f"Disclosed: {out} (it holds the record's text: give it only to whom you mean to)")
