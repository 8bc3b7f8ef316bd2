"""`auditor report`: renders again from the evidence alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer


def report(
    bundle: Annotated[Path, typer.Argument(help="The bundle folder.")],
    out: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Option("--out", "-o", help="Folder for report.html and report.pdf. Default: ./report"),
    ] = None,
) -> None:
    """Measure, assess and render again from a bundle's evidence alone; the bundle itself is not touched.

    The PDF it writes is not signed.
    """
    from auditor.pipeline import render_again  # noqa: PLC0415  (heavy)

    folder = out or Path("report")
    for path in render_again(bundle, folder):
        typer.echo(str(path))
