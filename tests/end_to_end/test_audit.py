"""The whole way, through the command line: audit, verify, render again, tamper, kill and go on."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sample_audit import auditor, quickly

SHARDS = "observations/*/shard-*.parquet"
"""Public files, renamed last: a shard is there when they are."""
PURE = ("findings.json", "assessment.json", "instrument.json", "plan.json", "subject.json")


def digests(folder: Path, names=PURE) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def test_the_sample_tells_the_truth(bundle):
    """Often repeated passages and secrets come out, single ones do not, controls never."""
    findings = {item["test"]: item for item in json.loads((bundle / "findings.json").read_text())}
    greedy = findings["language/discoverable-extraction"]["measurement"]
    copies = {row["label"]: row["estimate"]["value"] for row in greedy["strata"] if row["by"] == "copies"}
    assert copies["1"] < 0.02
    assert greedy["control"]["value"] == 0.0
    exposure = findings["language/exposure"]
    assert exposure["outcome"] == "signal"
    tiers = [row["estimate"]["value"] for row in exposure["measurement"]["strata"]]
    assert tiers[0] < 6 < max(tiers)
    assert findings["language/membership"]["outcome"] in {"signal", "inconclusive"}


def test_the_instrument_was_calibrated(bundle):
    checks = json.loads((bundle / "instrument.json").read_text())
    assert len(checks) == 8
    assert all(check["held"] for check in checks)


def test_statements_missing_and_contradicted_are_plain(bundle):
    states = {
        row["clause"]["id"]: row["statement"] for row in json.loads((bundle / "assessment.json").read_text())["clauses"]
    }
    assert states["E28-58-a"] == "supplied"
    assert [name for name, state in states.items() if state == "contradicted"] == ["E28-52-i"]
    assert [name for name, state in states.items() if state == "missing"] == ["E28-58-b"]
    html = (bundle / "report.html").read_text()
    assert "says the data was deduplicated" in html


def test_verify_holds_with_the_signers_certificate(bundle, place):
    done = auditor("verify", bundle, "--trust", place.cert)
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"^\(\d\) holds", done.stdout, re.MULTILINE)) == 9


def test_verify_does_not_take_the_bundles_word_for_the_signer(bundle):
    done = auditor("verify", bundle, "--json")
    assert done.returncode == 4
    steps = json.loads(done.stdout)["steps"]
    assert not steps[0]["held"]
    assert all(step["held"] for step in steps if step["number"] in {2, 3, 4, 5, 7, 8, 9})


def test_verify_refuses_another_signer(bundle, tmp_path):
    auditor("keygen", "--name", "Test auditor", "--out", tmp_path)
    done = auditor("verify", bundle, "--trust", tmp_path / "auditor.crt.pem")
    assert done.returncode == 4


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("findings.json", 7),
        ("assessment.json", 8),
        ("report.html", 9),
        ("policy.yaml", 4),
        ("statements.json", 9),
        ("report.pdf", 6),
    ],
)
def test_one_changed_byte_is_caught_at_its_step(bundle, place, tmp_path, name, step):
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    content = bytearray((copy / name).read_bytes())
    place_of_a_digit = next(i for i in range(len(content) // 2, len(content)) if chr(content[i]).isdigit())
    content[place_of_a_digit] = ord("7") if content[place_of_a_digit] != ord("7") else ord("3")
    (copy / name).write_bytes(content)
    steps = json.loads(quickly("verify", copy, "--trust", place.cert, "--json").stdout)["steps"]
    failed = {item["number"] for item in steps if not item["held"]}
    assert {4, step} <= failed


def test_a_shareable_bundle_without_restricted_files_still_holds(bundle, place, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy, ignore=shutil.ignore_patterns("restricted"))
    done = auditor("verify", copy, "--trust", place.cert)
    assert done.returncode == 0, done.stdout
    assert "withheld" in done.stdout


def test_nothing_shareable_holds_a_record_or_a_secret(bundle, place):
    texts = [json.loads(line)["text"] for line in (place.subject.parent / "train.jsonl").read_text().splitlines()]
    secrets = [
        canary["secret"] for canary in json.loads((place.subject.parent / "canaries.json").read_text())["canaries"]
    ]
    needles = [text[40:100].encode() for text in texts[:400]] + [
        secret.encode() for secret in secrets if len(secret) > 10
    ]
    for path in bundle.rglob("*"):
        if path.is_file() and "restricted" not in path.parts:
            content = path.read_bytes()
            assert not any(needle in content for needle in needles), path


def test_the_pdf_alone_can_be_verified(bundle, place):
    done = auditor("verify", bundle / "report.pdf", "--trust", place.cert)
    assert done.returncode == 0, done.stdout
    assert "findings.json" in done.stdout
    seen = subprocess.run(["pdfsig", bundle / "report.pdf"], capture_output=True, text=True, check=False).stdout
    assert "Signature is Valid" in seen
    assert "Total document signed" in seen


def test_the_report_renders_again_without_subject_or_model(bundle, place, tmp_path):
    done = auditor("report", bundle, "--out", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / "report.html").read_bytes() == (bundle / "report.html").read_bytes()


def test_killed_at_any_moment_it_goes_on_and_finds_the_same(bundle, place, tmp_path):
    """`kill -9` again and again, each time a little later; then the same job gives the same bytes."""
    out = tmp_path / "bundle"
    command = [sys.executable, "-m", "auditor", "run", place.subject, "--policy", place.policy, "--out", out, "-q"]
    command += ["--key", place.key, "--cert", place.cert]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    kept: dict[Path, int] = {}
    for more in (0, 1, 4, 9):  # before the first shard, and after some more each time
        process = subprocess.Popen(
            [str(part) for part in command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and (len(list(out.glob(SHARDS))) < len(kept) + more or not out.exists()):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        shards = {path: path.stat().st_mtime_ns for path in out.glob(SHARDS)}
        assert {
            path: stamp for path, stamp in shards.items() if path in kept
        } == kept  # finished shards are not made again
        kept = shards
    assert kept
    assert place.run(out).returncode == 1
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert digests(out) == digests(bundle)
    assert auditor("verify", out, "--trust", place.cert).returncode == 0


def test_another_audit_is_not_mixed_in(bundle, place, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    other = tmp_path / "policy.yaml"
    other.write_text(place.policy.read_text().replace("seed: 20241217", "seed: 1"))
    done = auditor("run", place.subject, "--policy", other, "--out", copy, "--key", place.key, "--cert", place.cert)
    assert done.returncode == 2
    assert "holds another audit" in done.stderr


def test_the_plan_says_what_will_run_and_at_what_cost(place):
    done = auditor("plan", place.subject, "--policy", place.policy)
    assert done.returncode == 0, done.stderr
    assert "language/exposure" in done.stdout
    assert "will run, required" in done.stdout
    assert "tokens a second" in done.stdout
    plan = json.loads(auditor("plan", place.subject, "--policy", place.policy, "--json", "--no-time").stdout)
    scores = [
        job
        for job in plan["jobs"]
        if job["observation"]["observer"] == "token-scores" and job["observation"]["subject"] == "audited"
    ]
    transforms = sorted(
        (job["observation"]["dataset"], job["observation"]["parameters"]["transform"]) for job in scores
    )
    # One pass over each set feeds both extraction tests and four scores of membership; lower case needs its own.
    assert transforms == [
        ("controls", "lowercase"),
        ("controls", "none"),
        ("members", "lowercase"),
        ("members", "none"),
    ]


def test_help_starts_fast():
    began = time.perf_counter()
    assert auditor("--help").returncode == 0
    assert time.perf_counter() - began < 3.0  # a guard against a heavy import; the figure is in benchmarks/README.md
