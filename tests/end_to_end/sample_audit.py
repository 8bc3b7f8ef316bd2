"""One real audit of the shipped sample, small enough for a test, shared by the tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "notes-lm"


def auditor(*arguments, threads=2, **kwargs):
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "auditor", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        **kwargs,
    )


@dataclass(frozen=True)
class Place:
    """Where the subject, the policy and the key of the small audit lie."""

    subject: Path
    policy: Path
    key: Path
    cert: Path
    threads: int = 2
    """One is faster for networks of a few thousand weights."""

    def run(self, out, *more, **kwargs):
        return auditor(
            "run", self.subject, "--policy", self.policy, "--out", out, "--key", self.key, "--cert", self.cert, "-q", *more,
            threads=self.threads, **kwargs,
        )  # fmt: skip


POLICY = """\
id: sample-audit
version: 1
title: The baseline on fewer records, against two catalogues
extends: baseline
because: a test has to be quick
catalogues: [edpb-28-2024, gdpr]
confidence: 0.95
seed: 20241217
statements: null
tests:
  - test: language/discoverable-extraction
    because: fewer records
    parameters: {prefixes: [25, 50], records: 300, generate: 8}
  - test: language/probabilistic-extraction
    because: fewer records
    parameters: {records: 300}
  - test: language/membership
    because: fewer records
    parameters: {records: 300, fpr: 0.05, permutations: 199}
  - test: language/exposure
    because: fewer candidates
    parameters: {candidates: 300}
"""


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("audit")
    made = auditor("keygen", "--name", "Test auditor", "--out", folder / "key")
    assert made.returncode == 0, made.stderr
    (folder / "policy.yaml").write_text(POLICY)
    shutil.copytree(SAMPLE, folder / "subject", ignore=shutil.ignore_patterns("make.py", "README.md"))
    return Place(
        folder / "subject" / "subject.yaml",
        folder / "policy.yaml",
        folder / "key" / "auditor.key.pem",
        folder / "key" / "auditor.crt.pem",
    )


@pytest.fixture(scope="session")
def bundle(place, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    done = place.run(out)
    assert done.returncode == 1, done.stderr + done.stdout
    return out
