"""`auditor compare`: what changed between audits."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from auditor.cli.console import print_json
from auditor.errors import EXIT_CLEAR, EXIT_SIGNAL, UsageError

if TYPE_CHECKING:
    from auditor.core.comparison import Comparison, Pair

_STYLES = {"worse": "bold red", "better": "green", "not shown": ""}


class Against(StrEnum):
    """What every bundle is held against."""

    FIRST = "first"
    PREVIOUS = "previous"


def compare(
    bundles: Annotated[list[Path], typer.Argument(help="Two bundle folders or more, the earlier first.")],
    against: Annotated[
        Against, typer.Option("--against", help="Hold each against the first, or the one before.")
    ] = Against.FIRST,
    steps: Annotated[
        Optional[str],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Option("--steps", help="Training steps of the bundles, for example 100,200,400."),
    ] = None,
    trust: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option("--trust", help="Certificate (PEM) of a signer, from the signer; may be given several times."),
    ] = None,
    fail_on_regression: Annotated[
        bool,
        typer.Option(
            "--fail-on-regression",
            help="Exit with 1 if a difference is shown to be worse or a finding became a signal.",
        ),
    ] = False,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", help="Folder for compare.html, comparison.json and figures."),
    ] = None,
    html: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--html", help="File for the page alone."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare bundles: base, fine-tuned and guarded models, or the checkpoints of a training run.

    Reads the bundles alone, after checking that they hold (exit 4 if not). Exits with 0 whatever changed, unless
    --fail-on-regression is given.
    """
    from auditor.evidence.bundle import Bundle  # noqa: PLC0415  (heavy)
    from auditor.pipeline.comparing import compare_bundles, render_comparison, write_comparison  # noqa: PLC0415

    found = compare_bundles(bundles, trust=trust or (), against=against.value, steps=_steps(steps))
    if json:
        print_json(found.plain())
    else:
        _print(found)
    if html is not None:
        target = Bundle(html.parent)
        target.prepare()
        target.write(html.name, render_comparison(found)[0].encode())
        typer.echo(str(html), err=json)
    if out is not None:
        for path in write_comparison(found, out):
            typer.echo(str(path), err=json)
    raise typer.Exit(EXIT_SIGNAL if fail_on_regression and found.regressions else EXIT_CLEAR)


def _steps(given: str | None) -> list[float]:
    try:
        return [float(step) for step in given.split(",")] if given else []
    except ValueError as error:
        msg = f"--steps {given}: not numbers"
        raise UsageError(msg, hint="Give numbers with commas between them: --steps 100,200,400.") from error


def _print(found: Comparison) -> None:
    for warning in found.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    for pair in found.pairs:
        _print_pair(pair)
    for sentence in (*found.course, *(said for run in found.training for said in run.said)):
        typer.echo(sentence)
    if found.regressions:
        typer.echo("Shown to be worse: " + "; ".join(found.regressions) + ".")
    else:
        typer.echo("Nothing is shown to be worse; the intervals say how much worse it may be.")


def _print_pair(pair: Pair) -> None:
    from rich.console import Console  # noqa: PLC0415  (heavy)
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from auditor.compare.page import p_shown, shown, spelled, title_of  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, 160))
    table = Table(title=Text(spelled(title_of(pair))), title_justify="left")
    for head in ("Test", "Of", pair.first, pair.second, "Difference", "p adjusted", "Shown", "How"):
        table.add_column(Text(spelled(head)), overflow="fold")
    for row in pair.differences:
        how = f"{row.basis}: {row.reason}" if row.reason else row.basis
        cells = [
            f"{row.test}\n{row.title}",
            row.of,
            shown(row.first),
            shown(row.second),
            shown(row.difference, signed=True),
            p_shown(row.p_adjusted),
            row.direction if row.decides else "",
            how,
        ]
        table.add_row(*(Text(spelled(cell)) for cell in cells), style=_STYLES[row.direction])
    console.print(table)
    lines = [
        f"{item.what}{'' if item.first == item.second else ' differs'}: {item.consequence}." for item in pair.mismatches
    ]
    lines += [
        f"{item.kind} {item.name}, {item.field}: {item.first or 'none'} -> {item.second or 'none'}"
        for item in pair.declared
    ]
    lines += [
        f"outcome of {item.test}: {item.first or 'not there'} -> {item.second or 'not there'} ({', '.join(item.causes) or 'UNEXPLAINED'})"
        for item in pair.outcomes
    ]
    lines += [
        f"clause {item.clause}: {item.first} -> {item.second} [{', '.join(item.fields)}] ({', '.join(item.causes) or 'UNEXPLAINED'})"
        for item in pair.clauses
    ]
    if pair.same_evidence:
        lines.insert(0, "Both rest on the same evidence.")
    for line in lines:
        typer.echo(f"  {spelled(line)}")
