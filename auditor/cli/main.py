"""The command `auditor`: turns every error into a message, a hint and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from auditor import __version__
from auditor.cli import (
    annex,
    archive,
    attach,
    canary,
    catalogue,
    clauses,
    compare,
    countersign,
    disclose,
    export,
    guard,
    imports,
    init,
    keygen,
    plan,
    report,
    run,
    statements,
    verify,
)
from auditor.cli.console import complain
from auditor.errors import EXIT_INTERNAL, AuditorError

app = typer.Typer(
    name="auditor",
    help="Audit what a trained model remembers of its training data, and write a signed report.",
    epilog=(
        "Exit codes: 0 every required outcome is no_signal; 1 a signal; 2 usage, policy or subject; "
        "3 a required outcome is inconclusive, invalid or not_run; 4 a seal or bundle does not hold; 5 internal."
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"auditor {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Audit what a trained model remembers of its training data, and write a signed report."""


app.command("init")(init.init)
app.command("plan")(plan.plan)
app.command("run")(run.run)
app.command("report")(report.report)
app.command("verify")(verify.verify)
app.command("compare")(compare.compare)
app.command("attach")(attach.attach)
app.command("export")(export.export)
app.command("import")(imports.import_)
app.command("guard")(guard.guard)
app.command("annex")(annex.annex)
app.command("countersign")(countersign.countersign)
app.command("archive")(archive.archive)
app.command("disclose")(disclose.disclose)
app.command("keygen")(keygen.keygen)
app.command("tests")(catalogue.list_tests)
app.command("policies")(catalogue.list_policies)
app.command("clauses")(clauses.list_clauses)
app.add_typer(canary.app, name="canary")
app.add_typer(statements.app, name="statements")


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        app(standalone_mode=True)
    except AuditorError as error:
        complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("Interrupted. Run the same command again: what is finished is kept.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        typer.echo(f"Internal error: {type(error).__name__}: {error}", err=True)
        typer.echo("This is a fault of the tool. Set AUDITOR_TRACEBACK=1 to see where, and report it.", err=True)
        import os  # noqa: PLC0415

        if os.environ.get("AUDITOR_TRACEBACK"):
            raise
        sys.exit(EXIT_INTERNAL)


if __name__ == "__main__":
    main()
