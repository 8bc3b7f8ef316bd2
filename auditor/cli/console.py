"""What the commands print, and where: data to standard output, all else to standard error."""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.errors import AuditorError


def complain(error: AuditorError) -> None:
    """Print an error and what to do about it, to standard error."""
    typer.echo(f"Error: {error.message}", err=True)
    if error.hint:
        typer.echo(f"  {error.hint}", err=True)


def print_json(value: Any) -> None:  # noqa: ANN401  (any JSON value)
    """Print one JSON document to standard output."""
    typer.echo(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, widths: Sequence[int]) -> None:
    """Print rows under heads, folded to the terminal's width.

    Args:
        heads: Column heads.
        rows: Cells, as many in each row as there are heads.
        widths: Width of every column but the last, which takes what is left.
    """
    total = max(80, min(shutil.get_terminal_size((110, 40)).columns, 160))
    sizes = [*widths, max(24, total - sum(widths) - 2 * len(widths))]
    typer.echo("  ".join(head.ljust(size) for head, size in zip(heads, sizes, strict=True)).rstrip())
    typer.echo("  ".join("-" * min(size, 48) for size in sizes))
    for row in rows:
        folded = [
            textwrap.wrap(cell, size, break_on_hyphens=False) or [""] for cell, size in zip(row, sizes, strict=True)
        ]
        for line in range(max(len(cell) for cell in folded)):
            cells = [cell[line] if line < len(cell) else "" for cell in folded]
            typer.echo("  ".join(cell.ljust(size) for cell, size in zip(cells, sizes, strict=True)).rstrip())


def duration(seconds: float) -> str:
    """Return a duration in the unit a person would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
