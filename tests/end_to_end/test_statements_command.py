"""`auditor statements`, from the command line: write, fill in, add to, look at, and everything that is refused."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from sample_audit import SAMPLE, auditor, quickly

POLICY = """\
id: own
version: 1
title: Own
extends: baseline
because: a test has to be quick
catalogues: [edpb-28-2024, gdpr]
statements: [E28-46, E28-52-i, E28-52-ii, E28-58-a]
tests: []
"""
RECORDS = [{"id": f"r{number}", "text": f"record {number}", "copies": 1 + 3 * (number == 2)} for number in range(4)]
SUBJECT = """\
name: s
model: {adapter: causal-lm, path: ./model}
release_context: public-api
data:
  members: {path: train.jsonl, text: text, id: id, copies: copies}
statements: statements.yaml
policy: policy.yaml
"""


@pytest.fixture
def subject(tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in RECORDS))
    (tmp_path / "subject.yaml").write_text(SUBJECT)
    return tmp_path / "subject.yaml"


def states(subject, *more, code=3):
    done = quickly("statements", "check", subject, "--json", *more)
    assert done.returncode == code, done.stderr
    said = json.loads(done.stdout)
    return {row["clause"]: row for row in said["clauses"]}, said["notes"]


def fill(path, **answers):
    text = path.read_text()
    for key, value in answers.items():
        text, count = re.subn(
            rf"^(\s*{key}:).*$", lambda found, value=value: f"{found[1]} {value}", text, flags=re.MULTILINE
        )
        assert count, key
    path.write_text(text)


SIGNED = {"author": "Ann", "role": "DPO", "date": "2026-01-31"}


def test_from_an_empty_form_to_an_answered_one(subject):
    """No model is needed: the forms are filled in while it is trained."""
    path = subject.parent / "statements.yaml"
    done = quickly("statements", "new", subject)
    assert (done.returncode, path.exists()) == (0, True), done.stderr
    assert "3 forms for 4 clauses" in done.stdout
    again = quickly("statements", "new", subject)
    assert again.returncode == 2
    assert "--update" in again.stderr
    found, notes = states(subject)
    assert {row["state"] for row in found.values()} == {"missing"}
    assert not notes

    fill(path, **SIGNED, context="internal", dedup="true", done_or_not="false", reason_if_not="none")
    found, _ = states(subject)
    assert {name: row["state"] for name, row in found.items()} == {
        "E28-46": "contradicted",
        "E28-52-i": "contradicted",
        "E28-52-ii": "incomplete",
        "E28-58-a": "incomplete",
    }
    assert "the release context is internal; the subject file declares public-api" in found["E28-46"]["contradiction"]
    assert "stood in training 4 times" in found["E28-52-i"]["contradiction"]
    assert found["E28-58-a"]["unanswered"] == ["version", "residual_risk", "hash"]

    fill(path, context="public-api", dedup="false")
    every = {
        "users": "u",
        "access_controls": "a",
        "planned_changes": "none",
        "regularisers": "r",
        "epochs": 1,
        "early_stopping": "false",
    }
    every |= dict.fromkeys(("mechanism", "epsilon", "delta", "unit", "sampling", "accountant", "code_hash"), "none")
    fill(path, **every, version="none", residual_risk="none", hash="none")
    found, _ = states(subject, code=0)
    assert {row["state"] for row in found.values()} == {"supplied"}


def test_a_policy_that_asks_more_adds_forms_and_keeps_the_rest(subject):
    path = subject.parent / "statements.yaml"
    quickly("statements", "new", subject)
    fill(path, **SIGNED, context="public-api")
    before = path.read_text()
    done = quickly("statements", "new", subject, "--policy", "edpb-28-2024", "--update", "--author", "Ben")
    assert done.returncode == 0, done.stderr
    assert "added the form dpo_statement" in done.stdout
    rows = iter(path.read_text().splitlines())
    assert all(row in rows for row in before.splitlines())
    found, _ = states(subject, "--policy", "edpb-28-2024")
    assert found["E28-46"]["state"] == "incomplete"
    assert len(found) == 56
    once_more = quickly("statements", "new", subject, "--policy", "edpb-28-2024", "--update")
    assert "is there" in once_more.stdout


def test_what_a_person_should_look_at_is_named_with_its_line(subject):
    path = subject.parent / "statements.yaml"
    (subject.parent / "a.txt").write_text("a")
    signed = "  author: A\n  role: B\n  date: 2026-01-01\n"
    path.write_text(
        f"- id: a\n  clauses: [E28-46]\n  text: It is.\n{signed}  evidence: [{{path: a.txt}}]\n"
        f"- id: b\n  form: copyright_policy_statement\n  answers: {{policy: none}}\n{signed}"
    )
    found, notes = states(subject)
    assert found["E28-46"]["free"] is True
    assert "statements.yaml:7: 'a.txt' has no sha256" in notes[0]
    assert "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb" in notes[0]
    assert "statements.yaml:9: 'b' answers AIA-53-CD" in notes[1]


def test_a_declared_epsilon_that_the_policy_does_not_test_is_named(subject):
    path = subject.parent / "statements.yaml"
    path.write_text(
        "- id: a\n  form: training_method_statement\n  answers: {epsilon: 2.5, delta: 1e-6, unit: person}\n"
        "  author: A\n  role: B\n  date: 2026-01-01\n"
    )
    _, notes = states(subject, "--policy", "edpb-28-2024")
    assert (
        "language/epsilon is not asked to refute that: write {declared: 2.5, delta: 1e-06, unit: person}" in notes[-1]
    )
    own = subject.parent / "asking.yaml"
    own.write_text(
        "id: asking\nversion: 1\ntitle: A\nextends: edpb-28-2024\nbecause: epsilon is declared\ntests:\n"
        "  - {test: language/epsilon, because: declared, parameters: {declared: 2.5, delta: 1e-5, unit: person}}\n"
    )
    assert not states(subject, "--policy", own)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["new"], ["--policy"]),
        (["check"], ["--policy"]),
        (["check", "--policy", "baseline"], ["statements new"]),
        (["new", "--policy", "basline"], ["Did you mean 'baseline'?"]),
        (["new", "--policy", "model-card", "--out", "x.yaml"], ["asks no statement"]),
        (["check", "--policy", "baseline", "--file", "gone.yaml"], ["gone.yaml", "cannot be read"]),
    ],
)
def test_a_command_line_that_does_not_go_together(tmp_path, arguments, words):
    done = auditor("statements", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_wrong_is_refused_with_its_line(subject):
    path = subject.parent / "statements.yaml"
    quickly("statements", "new", subject, "--author", "Ann", "--role", "DPO", "--date", "2999-01-01")
    assert states(subject)[0]["E28-46"]["state"] == "missing", "a form that is empty is not refused"
    fill(path, context="public-api")
    line = path.read_text().splitlines().index('  date: "2999-01-01"') + 1
    done = quickly("statements", "check", subject)
    assert done.returncode == 2
    assert f"statements.yaml:{line}: the statement is dated 2999-01-01, in the future" in done.stderr
    fill(path, date="2026-01-01", dedup="partly")
    done = quickly("statements", "check", subject)
    assert done.returncode == 2
    assert "dedup: 'partly' is not true or false" in done.stderr


@pytest.mark.parametrize("more", [[], ["--images"], ["--policy", "copyright"], ["--policy", "model-card"]])
def test_init_writes_the_forms_of_its_policy(tmp_path, more):
    assert quickly("init", tmp_path / "new", *more).returncode == 0
    done = quickly("statements", "check", tmp_path / "new" / "subject.yaml")
    if "model-card" in more:
        assert not (tmp_path / "new" / "statements.yaml").exists()
        assert done.returncode == 2
        return
    assert done.returncode == 3, done.stderr
    assert re.search(r"^\d+ missing\.$", done.stdout, re.MULTILINE)


def test_the_sample_lacks_one_and_is_wrong_in_one(tmp_path):
    for name in ("subject.yaml", "statements.yaml", "train.jsonl", "training.json"):
        shutil.copy(SAMPLE / name, tmp_path / name)
    found, notes = states(tmp_path / "subject.yaml")
    assert {name: row["state"] for name, row in found.items() if row["state"] != "supplied"} == {
        "E28-52-i": "contradicted",
        "E28-58-b": "missing",
    }
    assert not notes
    (tmp_path / "training.json").write_text("{}")
    done = quickly("statements", "check", tmp_path / "subject.yaml")
    assert done.returncode == 2
    assert re.search(r"statements\.yaml:\d+: 'training\.json' was changed since", done.stderr)
