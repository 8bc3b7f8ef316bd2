"""Writes the table of all clauses, with what answers each: `python -m auditor.policy.table FILE`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.policy.catalogue import load_attack_classes
from auditor.policy.load import load_all_catalogues

if TYPE_CHECKING:
    from auditor.core.clause import Clause

_HEAD = """# Clauses, and what answers them

Written by `make schemas` from `policies/clauses/`; not by hand. `auditor clauses ID` shows a clause whole.

A clause is *testable* (tests can be evidence), *hybrid* (tests and a statement), *documentary* (a statement alone; what is measured
can contradict it) or *interpretive* (it frames the report and is not scored). Where the wording was not seen in a source the clause says
so; a paragraph number that no source confirms is marked with a star. Paraphrases are ours. Not legal advice.

## Attack classes

| class | what has to be estimated | access | least sample | tests |
|---|---|---|---|---|
"""


def clause_table() -> str:
    """Return the table of attack classes and of all shipped clauses, as Markdown."""
    lines = [_HEAD.rstrip("\n")]
    for item in load_attack_classes().classes.values():
        least = ", ".join(f"{count:,} {what}" for what, count in item.least.plain().items() if count)
        tests = "every test" if item.every_test else _code(item.tests) or "none here"
        lines.append(f"| {item.name} (`{item.id}`) | {item.measures} | {', '.join(item.access)} | {least} | {tests} |")
    for loaded in load_all_catalogues(today=None):
        owner = loaded.catalogue
        lines += [
            "",
            f"## {owner.instrument}",
            "",
            f"`{owner.id}`, {owner.status}; {owner.force}. Issued {owner.issued}; to be read again by {owner.review_by}.",
            "",
            "| clause | reference | kind | wording seen | tests | not tested | statement |",
            "|---|---|---|---|---|---|---|",
            *(_row(clause) for clause in owner.clauses),
        ]
    return "\n".join(lines) + "\n"


def _row(clause: Clause) -> str:
    star = "" if clause.verification.paragraph_confirmed else "*"
    seen = "yes" if clause.verification.verified else f"no ({clause.verification.level})"
    tests = "every test" if clause.every_test and not clause.tests else _code(clause.tests)
    cells = [
        f"`{clause.id}`",
        f"{clause.reference}{star}: {clause.title}",
        clause.kind.value,
        seen.replace("_", " "),
        tests,
        ", ".join(clause.attack_classes),
        f"`{clause.statement.form}`" if clause.statement else "",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "docs/clauses.md").write_text(clause_table(), encoding="utf-8")
