"""`auditor clauses` as a user would ask it, and the table of clauses in the docs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from auditor.cli.main import app
from auditor.core.resources import resource
from auditor.errors import PolicyError, UsageError
from auditor.policy.table import clause_table

ROOT = Path(__file__).resolve().parents[2]


def asked(*arguments):
    return CliRunner().invoke(app, ["clauses", *arguments], catch_exceptions=False, standalone_mode=False)


def test_the_table_in_the_docs_is_that_of_the_catalogues():
    assert (ROOT / "docs" / "clauses.md").read_text() == clause_table(), "run `make schemas`"


def test_one_clause_is_shown_whole():
    said = asked("E28-43-P2").output
    for words in ("para 43(ii)", "language/open-generation", "no test here tries it", "2,995 members", "in use"):
        assert words in said


def test_an_unverified_number_is_said_to_be_unverified():
    assert "number not confirmed" in asked("E28-58-a").output
    assert "not verified" in asked("E28-58-a").output


@pytest.mark.parametrize(
    ("arguments", "holds"),
    [
        (("--kind", "documentary"), lambda row: row["kind"] == "documentary"),
        (("--status", "draft"), lambda row: row["status"] == "draft"),
        (("--test", "language/epsilon"), lambda row: "language/epsilon" in row["tests"] or row["every_test"]),
        (("--class", "INVERSION"), lambda row: "INVERSION" in row["classes"]),
        (("--unverified",), lambda row: not row["verification"]["verified"]),
        (("gdpr",), lambda row: row["catalogue"] == "gdpr"),
    ],
)
def test_filters_keep_what_fits_and_all_of_it(arguments, holds):
    everything = json.loads(asked("--json").output)
    kept = json.loads(asked(*arguments, "--json").output)
    assert kept == [row for row in everything if holds(row)]
    assert 0 < len(kept) < len(everything)


@pytest.mark.parametrize("arguments", [("E28-43-P3",), ("--test", "language/epsilom"), ("--kind", "legal")])
def test_what_does_not_exist_is_refused_with_the_nearest(arguments):
    with pytest.raises(UsageError) as caught:
        asked(*arguments)
    assert arguments[-1] in caught.value.message


def test_the_shipped_catalogues_hold():
    assert "25 catalogues with 141 clauses hold" in asked("--check").output


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("id: GDPR-9\n", "id: GDPR-17\n", "stands already"),
        ("id: GDPR-9\n", "id: E28-31\n", "stands in"),
        ("    classes: [DATA-SCAN, PII-QUERY, ATTR-INF]\n", "    tests: [language/other]\n", "not installed"),
    ],
)
def test_catalogues_that_do_not_hold_are_refused(tmp_path, before, after, words):
    for path in resource("policies/clauses").glob("*.yaml"):
        text = path.read_text()
        assert path.stem != "gdpr" or before in text
        (tmp_path / path.name).write_text(text.replace(before, after, 1) if path.stem == "gdpr" else text)
    with pytest.raises(PolicyError, match=words):
        asked("--check", "--catalogues", str(tmp_path))
