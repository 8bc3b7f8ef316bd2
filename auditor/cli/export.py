"""`auditor export`: a bundle in forms that other tools read."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer

from auditor.errors import UsageError


class Format(StrEnum):
    """What a bundle can be handed out as."""

    OSCAL = "oscal"
    CYCLONEDX = "cyclonedx"
    IN_TOTO = "in-toto"
    CSV = "csv"
    PARQUET = "parquet"
    JUNIT = "junit"
    SIGSTORE = "sigstore"


class SpecVersion(StrEnum):
    """Which version of CycloneDX is written."""

    V1_7 = "1.7"
    V1_6 = "1.6"


class About(StrEnum):
    """What an in-toto statement is about."""

    TEST_RESULT = "test-result"
    MEMORIZATION_AUDIT = "memorization-audit"


def export(
    bundle: Annotated[Path, typer.Argument(help="The bundle folder.")],
    form: Annotated[Format, typer.Option("--format", "-f", help="The form to write.")],
    out: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Option("--out", "-o", help="File to write. Default: standard output (not for parquet)."),
    ] = None,
    predicate: Annotated[
        About,
        typer.Option("--predicate", help="For in-toto: the summary, or the full statement that the seal signs."),
    ] = About.TEST_RESULT,
    spec_version: Annotated[
        Optional[SpecVersion],  # noqa: UP045
        typer.Option("--spec-version", help="For cyclonedx: version of the specification. Default: 1.7."),
    ] = None,
    trust: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--trust", help="Certificate (PEM) of the signer, from the signer."),
    ] = None,
) -> None:
    """Write a bundle as OSCAL assessment results, CycloneDX, in-toto, CSV, Parquet or JUnit, or its seal as a Sigstore bundle.

    The bundle has to hold (exit 4 if not) and is not touched. The same bundle always gives the same bytes. Nothing that a model gave
    back goes into any form, not even masked; docs/exchange.md says how each outcome is written. Exits with 0 whatever was found.
    """
    from auditor.evidence.bundle import Bundle  # noqa: PLC0415  (heavy)
    from auditor.pipeline.exchanging import export_bundle  # noqa: PLC0415

    if predicate is not About.TEST_RESULT and form is not Format.IN_TOTO:
        msg = f"--predicate goes with --format in-toto, not with {form.value}"
        raise UsageError(msg, hint="Leave --predicate out.")
    if spec_version is not None and form is not Format.CYCLONEDX:
        msg = f"--spec-version goes with --format cyclonedx, not with {form.value}"
        raise UsageError(msg, hint="Leave --spec-version out.")
    if out is None and form is Format.PARQUET:
        msg = "Parquet is not for a terminal"
        raise UsageError(msg, hint="Give a file: --out findings.parquet")
    if out is not None and out.resolve().is_relative_to(bundle.resolve()):
        msg = f"{out}: lies in the bundle, which is sealed"
        raise UsageError(msg, hint="Give a file outside of it; one file more, and the bundle no longer holds.")
    content = export_bundle(
        bundle,
        form.value,
        trust=trust,
        predicate=predicate.value,
        spec_version=(spec_version or SpecVersion.V1_7).value,
    )
    if out is None:
        sys.stdout.buffer.write(content)
        return
    Bundle(out.parent).write(out.name, content)
    typer.echo(str(out))
