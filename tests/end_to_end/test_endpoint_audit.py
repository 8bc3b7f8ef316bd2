"""An audit of a model behind a server, through the command line: not enough money, then enough, and nothing is asked twice."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from sample_audit import SAMPLE, auditor

from auditor.core.subject import ModelSpec
from auditor.subjects.adapters.causal_lm import ADAPTER
from auditor.subjects.endpoint.exchanges import request_name

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "subjects"))
from serving import NAME, Failing, Served, serving

KEY = "sk-loopback-0123456789"
RECORDS = 6
POLICY = {
    "id": "behind-a-server",
    "version": 1,
    "title": "Behind a server",
    "catalogues": ["edpb-28-2024"],
    "seed": 7,
    "queries": {"per_subject": 10, "lifetime": 100, "reason": "test"},
    "tests": [
        {
            "test": "language/discoverable-extraction",
            "parameters": {"prefix": 32, "suffix": 8, "records": RECORDS, "generate": 2},
            "evidence_for": ["E28-43-P2"],
        },
        {"test": "language/probabilistic-extraction", "evidence_for": ["E28-43-P2"]},
        {
            "test": "language/membership",
            "parameters": {"records": RECORDS, "max_tokens": 40, "permutations": 99},
            "evidence_for": ["E28-43-P1"],
        },
    ],
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    made = auditor("keygen", "--name", "Test auditor", "--out", tmp_path / "key")
    assert made.returncode == 0, made.stderr
    shutil.copytree(SAMPLE, tmp_path / "subject", ignore=shutil.ignore_patterns("make.py", "README.md"))
    (tmp_path / "policy.yaml").write_text(json.dumps(POLICY))
    return tmp_path


def write_subject(place, address, **endpoint):
    plain = {
        "name": "behind a server",
        "model": {
            "adapter": "completion-endpoint",
            "path": address,
            "endpoint": {
                "model": NAME,
                "tokenizer": "./model",
                "key_env": "LOOPBACK_KEY",
                "retries": 1,
                "concurrency": 1,
                **endpoint,
            },
        },
        "release_context": "public-api",
        "data": {"members": {"path": "train.jsonl", "id": "id"}, "controls": {"path": "heldout.jsonl", "id": "id"}},
        "policy": "../policy.yaml",
    }
    (place / "subject" / "subject.yaml").write_text(json.dumps(plain))


def run(place):
    key = place / "key"
    return auditor(
        "run", place / "subject" / "subject.yaml", "--out", place / "bundle", "--json", "-q",
        "--key", key / "auditor.key.pem", "--cert", key / "auditor.crt.pem",
    )  # fmt: skip


def outcomes(done):
    assert done.stdout, done.stderr
    return json.loads(done.stdout)["outcomes"]


def test_what_was_paid_is_kept_and_gone_on_with(place):
    model = ADAPTER.open(ModelSpec(adapter="causal-lm", path="model", device="cpu"), SAMPLE)
    with serving(Served(model)) as served:
        write_subject(place, served.address, budget={"calls": 7})
        first = run(place)
        assert first.returncode == 3, first.stderr
        assert outcomes(first)["language/discoverable-extraction"] == "not_run"
        findings = json.loads((place / "bundle" / "findings.json").read_text())
        reasons = {finding["test"]: finding["reason"] for finding in findings}
        assert "budget" in reasons["language/discoverable-extraction"]
        assert "does not say how likely every token is" in reasons["language/probabilistic-extraction"]

        # The server fails, too: what it answered before is kept, what it did not is a row of the report.
        served.failing = lambda number: Failing(500) if number > 12 else None
        write_subject(place, served.address)
        second = run(place)
        assert second.returncode == 3, second.stderr
        assert "the server failed 2 times" in (place / "bundle" / "findings.json").read_text()

        served.failing = lambda _number: None
        third = run(place)
        assert outcomes(third)["language/discoverable-extraction"] == "inconclusive", third.stderr
        assert outcomes(third)["language/probabilistic-extraction"] == "not_run"
        measured = json.loads((place / "bundle" / "findings.json").read_text())[2]["measurement"]
        assert (measured["test"], measured["access"]) == ("language/membership", "scores")
        exchanges = place / "bundle" / "exchanges" / "subject"
        *lines, salt = (exchanges / "restricted" / "exchanges.jsonl").read_text().splitlines()
        assert len(json.loads(salt)["salt"]) == 64
        key = (exchanges / "restricted" / "names.key").read_bytes()
        recorded = {request_name(key, json.loads(line)["digest"]) for line in lines}
        # Two trial questions; members and controls scored as they are and in lower case, two members continued.
        assert len(recorded) == len(lines) == 2 + 4 * RECORDS + 2
        logged = [json.loads(line) for line in (exchanges / "log.jsonl").read_text().splitlines()]
        answered = [row["request"] for row in logged if row["status"] == 200]
        # The trial questions were asked of every run, and its list of models; all others once.
        assert sum(answered.count(digest) == 1 for digest in recorded) == len(recorded) - 2
        assert {row["status"] for row in logged} == {200, 500}
        assert sum(row["status"] == 500 for row in logged) == 2
        assert len([row for row in logged if row["said"]]) + 2 == len(served.asked)
    assert set(served.keys) == {f"Bearer {KEY}"}
    assert not [path for path in (place / "bundle").rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    identity = json.loads((place / "bundle" / "subject.json").read_text())["model"]
    assert identity["seen"] == "answers"
    assert {file["path"] for file in identity["files"]} >= {"endpoint/declared.json", "endpoint/models.json"}
    # Without the server, and without what can be withheld, the bundle still holds.
    for folder in (place / "bundle").rglob("restricted"):
        shutil.rmtree(folder)
    cert = place / "key" / "auditor.crt.pem"
    checked = auditor("verify", place / "bundle", "--trust", cert)
    assert checked.returncode == 0, checked.stdout


def test_a_server_that_is_not_there_ends_the_command(place):
    with serving(Served(None)) as served:
        pass
    write_subject(place, served.address)
    done = run(place)
    assert done.returncode == 2
    assert "no connection" in done.stderr
    assert not (place / "bundle").exists()
