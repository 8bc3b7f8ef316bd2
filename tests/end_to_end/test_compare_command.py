"""Comparing real audits through the command line: two checkpoints, one changed tolerance, broken bundles, bad input."""

from __future__ import annotations

import json
import shutil

import pytest
from checkpoints import command, declared_again

from auditor.core.comparison import Comparison


def test_what_a_checkpoint_remembers_more_is_shown_record_by_record(checkpoints, tmp_path):
    early, late = checkpoints.bundles
    code, said, complaint = command(
        "compare", early, late, "--trust", checkpoints.cert, "--steps", "4,240", "--json", "--fail-on-regression",
        "--out", tmp_path / "comparison",
    )  # fmt: skip
    assert code == 1, complaint
    found = Comparison.from_plain(json.loads(said))
    (pair,) = found.pairs
    rows = {row.test: row for row in pair.differences if row.decides}
    assert {row.basis for row in rows.values()} == {"paired"}
    exposure = rows["language/exposure"]
    assert exposure.matched == 32
    assert exposure.unmatched == 0
    assert exposure.direction == "worse"
    assert rows["language/discoverable-extraction"].matched > 60
    assert all(item.trusted for item in found.bundles)
    assert not pair.declared
    assert not pair.unexplained
    losses = {curve.role: [found.value for found in curve.estimates] for curve in found.curves}
    assert losses["training loss"][1] < losses["training loss"][0]
    assert len(losses["held-out loss"]) == 2
    page = (tmp_path / "comparison" / "compare.html").read_text()
    assert "Shown to be worse" in page
    assert page.count("data:image/svg+xml") == 2
    assert Comparison.from_plain(json.loads((tmp_path / "comparison" / "comparison.json").read_text())) == found


def test_each_rate_and_exposure_is_that_of_its_bundle(checkpoints):
    """What is said record by record adds up to what the findings of the bundle say."""
    early, late = checkpoints.bundles
    found = Comparison.from_plain(json.loads(command("compare", early, late, "--json")[1]))
    for bundle, pick in ((early, "first"), (late, "second")):
        findings = {item["test"]: item["measurement"] for item in json.loads((bundle / "findings.json").read_text())}
        rows = {(row.test, row.of): getattr(row, pick) for row in found.pairs[0].differences}
        greedy = findings["language/discoverable-extraction"]
        assert rows["language/discoverable-extraction", "members"].value == pytest.approx(greedy["estimate"]["value"])
        assert rows["language/discoverable-extraction", "excess"].value == pytest.approx(greedy["excess"]["value"])
    assert not any(item.trusted for item in found.bundles)
    assert all("nobody vouches" in warning for warning in found.warnings)


def test_one_tolerance_changes_only_what_follows_from_it(checkpoints, tmp_path):
    late = checkpoints.bundles[1]
    other = declared_again(checkpoints, late, tmp_path / "loose", "at_most: 0.001", "at_most: 0.999")
    found = Comparison.from_plain(json.loads(command("compare", late, other, "--json")[1]))
    (pair,) = found.pairs
    assert pair.same_evidence
    assert [(item.kind, item.name) for item in pair.declared] == [("tolerance", "language/discoverable-extraction")]
    assert {row.basis for row in pair.differences} == {"same evidence"}
    assert all(row.difference.low == row.difference.high == 0.0 for row in pair.differences)
    assert {item.test for item in pair.outcomes} <= {"language/discoverable-extraction"}
    assert all(item.causes for item in (*pair.outcomes, *pair.clauses))
    assert not pair.unexplained
    assert not pair.regressions


def test_a_bundle_that_does_not_hold_is_compared_with_nothing(checkpoints, tmp_path):
    early, late = checkpoints.bundles
    broken = tmp_path / "broken"
    shutil.copytree(late, broken)
    findings = (broken / "findings.json").read_text()
    (broken / "findings.json").write_text(findings.replace('"signal"', '"no_signal"', 1))
    assert findings != (broken / "findings.json").read_text()
    code, said, complaint = command("compare", early, broken)
    assert code == 4
    assert "does not hold" in complaint
    assert not said
    shutil.rmtree(broken)
    shutil.copytree(late, broken)
    (broken / "seal.dsse.json").unlink()
    assert command("compare", early, broken)[0] == 4
    command("keygen", "--name", "Somebody else", "--out", tmp_path / "key")
    assert command("compare", early, late, "--trust", tmp_path / "key" / "auditor.crt.pem")[0] == 4


def test_the_table_and_the_page_alone(checkpoints, tmp_path):
    early, late = checkpoints.bundles
    code, said, complaint = command("compare", late, early, "--html", tmp_path / "page.html", "--fail-on-regression")
    assert code == 0
    assert "step-4 against step-240" in said
    assert "Nothing is shown to be worse" in said
    assert "nobody vouches" in complaint
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_bad_input_says_what_to_do(checkpoints, tmp_path):
    early, late = checkpoints.bundles
    for words, what in (
        ((early,), "1 bundle"),
        ((early, tmp_path / "none"), "no bundle folder"),
        ((early, late, "--steps", "1"), "1 steps for 2 bundles"),
        ((early, late, "--steps", "2,1"), "do not rise"),
        ((early, late, "--steps", "a,b"), "not numbers"),
        ((early, late, "--trust", tmp_path / "none.pem"), "none.pem"),
    ):
        code, _, complaint = command("compare", *words)
        assert code == 2, words
        assert what in complaint
    (tmp_path / "empty").mkdir()
    assert command("compare", early, tmp_path / "empty")[0] == 4


def test_the_history_of_a_trainer_beside_a_bundle_is_read_and_one_that_is_none_is_a_warning(checkpoints, tmp_path):
    from auditor.core.training import Look, Loss

    early, late = checkpoints.bundles
    for bundle, name in ((early, "early"), (late, "late")):
        shutil.copytree(bundle, tmp_path / name / "bundle")
    looks = [
        Look(
            step=step, epoch=None, occasion="step", trainer={}, tests=(),
            losses={name: Loss(value=value, tokens=9, records=2) for name in ("members", "controls")},
        )
        for step, value in ((0, 5.0), (4, 4.0), (240, 3.0))
    ]  # fmt: skip
    (tmp_path / "late" / "history.jsonl").write_bytes(b"".join(look.canonical() + b"\n" for look in looks))
    (tmp_path / "early" / "history.jsonl").write_text("{}\n")
    bundles = tmp_path / "early" / "bundle", tmp_path / "late" / "bundle"
    code, said, complaint = command("compare", *bundles, "--json")
    assert code == 0, complaint
    found = Comparison.from_plain(json.loads(said))
    assert [item.label for item in found.bundles] == ["early", "late"]
    (run,) = found.training
    assert run.ends == {"late": 240.0}
    assert [look.held_out for look in run.losses] == [5.0, 4.0, 3.0]
    assert any(
        "early: the history beside it was not read" in warning and "history.jsonl:1" in warning
        for warning in found.warnings
    )
    plain = Comparison.from_plain(json.loads(command("compare", early, late, "--json")[1]))
    assert found.pairs[0].differences == plain.pairs[0].differences  # it decides nothing
    assert "Held-out loss falls to the last look" in command("compare", *bundles)[1]
