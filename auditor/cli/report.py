"""`auditor report`: renders again from the evidence alone."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer


class Language(StrEnum):
    """Languages of the report."""

    ENGLISH = "en"
    GERMAN = "de"
    FRENCH = "fr"


class Page(StrEnum):
    """Paper of the report."""

    A4 = "a4"
    LETTER = "letter"


def report(
    bundle: Annotated[Path, typer.Argument(help="The bundle folder.")],
    out: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Option("--out", "-o", help="Folder for report.html and report.pdf. Default: ./report"),
    ] = None,
    language: Annotated[
        Optional[Language],  # noqa: UP045
        typer.Option("--language", "-l", help="Language of this copy. Default: the one that the policy names."),
    ] = None,
    page: Annotated[
        Optional[Page],  # noqa: UP045
        typer.Option(
            "--page", help="Paper of this copy. Default: the one that the policy names, A4 where it names none."
        ),
    ] = None,
) -> None:
    """Measure, assess and render again from a bundle's evidence alone; the bundle itself is not touched.

    The PDF it writes is not signed. A copy in another language says that it is a translation: what was signed is the English of
    findings and assessment.
    """
    from auditor.pipeline import render_again  # noqa: PLC0415  (heavy)

    folder = out or Path("report")
    for path in render_again(bundle, folder, language.value if language else None, page.value if page else None):
        typer.echo(str(path))
