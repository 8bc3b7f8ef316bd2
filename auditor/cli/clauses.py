"""`auditor clauses`: lists, shows, filters and checks the clause catalogues."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from auditor.cli.console import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.core.clause import AttackClass, Catalogue, Clause
    from auditor.policy.catalogue import LoadedCatalogue

_UNVERIFIED = "not verified: {level}, no source saw the wording"


def list_clauses(
    name: Annotated[
        Optional[str],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Argument(metavar="[CATALOGUE|CLAUSE]", help="Only this catalogue; or one clause, shown whole."),
    ] = None,
    kind: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--kind", help="Only testable, hybrid, documentary or interpretive clauses."),
    ] = None,
    status: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--status", help="Only catalogues that are `in force`, `in use`, `draft` or `contested`."),
    ] = None,
    test: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--test", help="Only clauses for which this test is evidence."),
    ] = None,
    attack_class: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--class", help="Only clauses that speak of this attack class."),
    ] = None,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Only clauses whose wording no source confirmed.")
    ] = False,
    catalogues: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--catalogues", help="Folder of catalogues instead of the shipped ones."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Read every catalogue and say what is wrong with it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the clauses, with what answers them; show one whole; or check the catalogues."""
    from auditor.contract.registry import listed  # noqa: PLC0415
    from auditor.errors import UsageError, did_you_mean  # noqa: PLC0415
    from auditor.pipeline import now  # noqa: PLC0415
    from auditor.policy.catalogue import load_attack_classes, load_forms  # noqa: PLC0415
    from auditor.policy.load import check_catalogues, load_all_catalogues  # noqa: PLC0415

    found = load_all_catalogues(today=now().date(), folder=catalogues)
    for item in found:
        for warning in item.warnings:
            typer.echo(f"Warning: {warning}", err=True)
    if check:
        check_catalogues(found, {item.name for item in listed("tests")}, load_forms(catalogues))
        _summary(found)
        return
    filters: dict[str, tuple[str | None, set[str]]] = {
        "kind": (kind, {clause.kind.value for _, clause in _pairs(found)}),
        "status": (status, {str(owner.status) for owner, _ in _pairs(found)}),
        "test": (test, {item.name for item in listed("tests")}),
        "class": (attack_class, {name for _, clause in _pairs(found) for name in clause.classes}),
    }
    for option, (value, known) in filters.items():
        if value is not None and value not in known:
            msg = f"--{option}: no clause has '{value}'"
            raise UsageError(msg, hint=did_you_mean(value, known))
    chosen = [
        (owner, clause)
        for owner, clause in _pairs(found)
        if name in {None, owner.id, clause.id}
        and kind in {None, clause.kind.value}
        and status in {None, owner.status}
        and (test is None or test in clause.tests or clause.every_test)
        and (attack_class is None or attack_class in clause.classes)
        and not (unverified and clause.verification.verified)
    ]
    names = {known for owner, clause in _pairs(found) for known in (owner.id, clause.id)}
    if name is not None and name not in names:
        msg = f"no catalogue or clause is called '{name}'"
        raise UsageError(msg, hint=did_you_mean(name, names))
    if json:
        print_json([{"catalogue": owner.id, "status": owner.status, **clause.plain()} for owner, clause in chosen])
        return
    if len(chosen) == 1 and chosen[0][1].id == name:
        needed = bool(chosen[0][1].classes)
        _show(*chosen[0], load_attack_classes(catalogues).classes if needed else {})
        return
    rows = [
        (
            clause.id,
            owner.status,
            clause.kind.value,
            "yes" if clause.verification.verified else "no",
            f"{clause.reference}: {clause.title}",
        )
        for owner, clause in chosen
    ]
    print_table(("clause", "status", "kind", "verified", "reference and title"), rows, widths=(20, 10, 14, 9))


def _pairs(found: Sequence[LoadedCatalogue]) -> list[tuple[Catalogue, Clause]]:
    return [(item.catalogue, clause) for item in found for clause in item.catalogue.clauses]


def _summary(found: Sequence[LoadedCatalogue]) -> None:
    clauses = [clause for _, clause in _pairs(found)]
    verified = sum(clause.verification.verified for clause in clauses)
    typer.echo(
        f"{len(found)} catalogues with {len(clauses)} clauses hold; the wording of {verified} was seen in a source, of "
        f"{len(clauses) - verified} it was not."
    )


def _show(owner: Catalogue, clause: Clause, classes: Mapping[str, AttackClass]) -> None:
    confirmed = "" if clause.verification.paragraph_confirmed else " (number not confirmed)"
    sources = {item.id: item for item in owner.sources}
    seen = "; ".join(f"{sources[name].what} ({sources[name].at})" for name in clause.verification.sources)
    verified = clause.verification.level if clause.verification.verified else ""
    lines = [
        ("clause", f"{clause.id}: {clause.title}"),
        ("instrument", f"{owner.instrument} ({owner.status}; {owner.force})"),
        ("reference", f"{clause.reference}{confirmed}"),
        ("says", clause.paraphrase),
        ("quotation", f"\u201c{clause.quote}\u201d" if clause.quote else ""),
        ("kind", clause.kind.value),
        ("tests show", clause.shows),
        ("cannot show", clause.cannot_show),
        ("statement", clause.statement.form if clause.statement else ""),
        ("asks", ", ".join(clause.statement.asks) if clause.statement else ""),
        ("verified", verified or _UNVERIFIED.format(level=clause.verification.level)),
        ("seen in", seen),
        ("note", clause.verification.note),
    ]
    for head, text in lines:
        if text:
            typer.echo(f"{head:<12} {text}")
    if not clause.classes:
        return
    typer.echo()
    rows = []
    for name in clause.classes:
        item = classes[name]
        least = ", ".join(f"{count:,} {what}" for what, count in item.least.plain().items() if count)
        tests = "every test" if item.every_test else ", ".join(item.tests) or "no test here tries it"
        rows.append((item.name, " or ".join(item.access), least or "-", tests))
    print_table(("attack class", "access", "least sample", "tests"), rows, widths=(38, 18, 24))
