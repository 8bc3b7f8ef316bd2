"""`auditor statements`: the controller's statements, on forms made from the clauses that a policy needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from auditor.cli.console import print_json, print_table

app = typer.Typer(
    help="Write the forms for what no test can answer, and see what they leave open.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_WORDS = ("supplied", "incomplete", "missing", "contradicted")
_Subject = Annotated[
    Optional[Path],  # noqa: UP045  (typer reads the annotation at run time)
    typer.Argument(metavar="[SUBJECT]", help="The subject file (YAML), whose policy says what is asked."),
]
_Policy = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--policy", "-p", help="A shipped policy or a path, instead of the one the subject names."),
]


@app.command("new")
def new(
    subject: _Subject = None,
    policy: _Policy = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", help="File to write; else the one that the subject names, or statements.yaml."),
    ] = None,
    *,
    update: Annotated[
        bool,
        typer.Option("--update", help="Keep what the file says, and add the forms and keys that it does not have."),
    ] = False,
    author: Annotated[str, typer.Option("--author", help="Who makes the statements, written on every new form.")] = "",
    role: Annotated[str, typer.Option("--role", help="In which role.")] = "",
    organisation: Annotated[str, typer.Option("--organisation", help="For whom.")] = "",
    date: Annotated[str, typer.Option("--date", help="ISO date, for example 2026-01-31.")] = "",
) -> None:
    """Write one form, empty and commented, for everything the policy asks of the controller; nothing is overwritten."""
    from auditor.assess.forms import Signer  # noqa: PLC0415
    from auditor.errors import UsageError  # noqa: PLC0415
    from auditor.evidence.shards import write_file  # noqa: PLC0415
    from auditor.pipeline.stating import asked, new_statements, updated_statements  # noqa: PLC0415

    what = asked(subject, policy)
    path = out or what.path or (what.spec.base if what.spec else Path()) / "statements.yaml"
    signer = Signer(author, role, organisation, date)
    if path.exists() and not update:
        msg = f"{path}: there is already such a file"
        raise UsageError(msg, hint="Add to it with --update, or choose another file with --out.")
    if not path.exists():
        write_file(path, new_statements(what, signer=signer).encode())
        typer.echo(f"{path}: {len(what.forms)} forms for {sum(len(form.ids) for form in what.forms)} clauses")
        return
    added = updated_statements(what, path, signer=signer)
    if not added.forms and not added.keys:
        typer.echo(f"{path}: everything that the policy asks is there")
        return
    write_file(path, added.text.encode())
    for name in added.forms:
        typer.echo(f"added the form {name}")
    for key in added.keys:
        typer.echo(f"added the key {key}")


@app.command("check")
def check(
    subject: _Subject = None,
    policy: _Policy = None,
    file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--file", "-f", help="File of statements, instead of the one that the subject names."),
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say which clauses are answered, incomplete, missing, or contradicted by the subject file itself.

    What only an audit can find to be otherwise is not known yet. Exit codes: 0 everything is answered; 2 the file does not hold; 3
    something is missing, incomplete or contradicted.
    """
    from auditor.errors import EXIT_UNRESOLVED, UsageError  # noqa: PLC0415
    from auditor.pipeline.stating import asked, check_statements  # noqa: PLC0415

    what = asked(subject, policy)
    path = file or what.path
    if path is None:
        msg = f"{subject or policy}: no file of statements is named"
        raise UsageError(
            msg, hint="Write one with `auditor statements new`, and name it under `statements` or with --file."
        )
    found = check_statements(what, path)
    if json:
        rows = [row.plain() for row in found.rows]
        print_json({"policy": what.policy.id, "file": str(path), "clauses": rows, "notes": list(found.notes)})
    else:
        cells = [(row.clause, row.word, row.form, row.remark) for row in found.rows]
        print_table(("clause", "state", "form", "what is open, or disagrees"), cells, widths=(16, 13, 34))
        counts = {word: sum(row.word == word for row in found.rows) for word in _WORDS}
        typer.echo("\n" + ", ".join(f"{count} {word}" for word, count in counts.items() if count) + ".")
        for note in found.notes:
            typer.echo(f"Note: {note}", err=True)
    if not found.complete:
        raise typer.Exit(EXIT_UNRESOLVED)
