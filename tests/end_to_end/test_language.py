"""A policy that names German: the report is sealed in German, verified again, and a copy can be had in another language."""

from __future__ import annotations

import json

import pikepdf
import pytest
from checkpoints import command, declared_again


@pytest.fixture(scope="module")
def german(checkpoints, tmp_path_factory):
    out = tmp_path_factory.mktemp("german") / "bundle"
    return declared_again(
        checkpoints, checkpoints.bundles[1], out, "confidence: 0.95", "confidence: 0.95\nlanguage: de"
    )


def test_the_report_is_german_and_what_is_signed_english(german, checkpoints):
    page = (german / "report.html").read_text()
    assert '<html lang="de">' in page
    assert "Zusammenfassung" in page
    with pikepdf.open(german / "report.pdf") as pdf:
        assert pdf.Root.Lang == "de"
    english = json.loads((checkpoints.bundles[1] / "findings.json").read_text())
    found = json.loads((german / "findings.json").read_text())
    assert [item["reason"] for item in found] == [item["reason"] for item in english]


def test_verification_renders_it_again(german, checkpoints):
    code, said, complaint = command("verify", german, "--trust", checkpoints.cert)
    assert code == 0, said + complaint


def test_a_copy_can_be_had_in_another_language(german, checkpoints, tmp_path):
    code, said, complaint = command("report", german, "--language", "en", "--out", tmp_path / "en")
    assert code == 0, said + complaint
    page = (tmp_path / "en" / "report.html").read_text()
    assert '<html lang="en">' in page
    assert 'class="translated"' not in page
    code, _, complaint = command("report", german, "--language", "it", "--out", tmp_path / "it")
    assert code == 2
    assert "it" in complaint
