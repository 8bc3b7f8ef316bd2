"""`auditor tests`, `auditor policies`: what there is, what each item needs and says."""

from __future__ import annotations

from typing import Annotated

import typer

from auditor.cli.console import print_json, print_table


def list_tests(
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    details: Annotated[
        bool, typer.Option("--details", help="Import each test and show what it asks and needs.")
    ] = False,
) -> None:
    """List the installed tests, ours and third parties', without importing them."""
    from auditor.contract.registry import listed, load  # noqa: PLC0415
    from auditor.core.evidence import Omission  # noqa: PLC0415

    rows = []
    for item in listed("tests"):
        row = {"test": item.name, "from": item.distribution, "target": item.target}
        if details:
            test = load("tests", item.name)
            if isinstance(test, Omission):
                row["question"] = test.message
            else:
                row |= {"question": test.question, "access": test.access, "source": test.source}
                row["statistics"] = ", ".join(test.statistics)
                row["parameters"] = ", ".join(test.parameters.model_fields)
        rows.append(row)
    if json:
        print_json(rows)
        return
    if not details:
        print_table(("test", "from"), [(row["test"], row["from"]) for row in rows], widths=(36,))
        return
    for row in rows:
        typer.echo(row["test"])
        for head in ("question", "access", "statistics", "parameters", "source", "from"):
            if head in row:
                typer.echo(f"  {head:<11} {row[head]}")


def list_policies(json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """List the shipped policies."""
    from auditor.policy.load import available, load_policy  # noqa: PLC0415

    found = [load_policy(name, base=None, known_tests=None) for name in available()]
    if json:
        print_json([item.policy.plain() for item in found])
        return
    rows = [
        (item.policy.id, str(item.policy.version), str(len(item.policy.tests)), item.policy.title) for item in found
    ]
    print_table(("policy", "version", "tests", "title"), rows, widths=(20, 8, 6))
