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


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("audit")
    made = auditor("keygen", "--name", "Test auditor", "--out", folder / "key")
    assert made.returncode == 0, made.stderr
    policy = (ROOT / "policies" / "edpb-28-2024.yaml").read_text()
    for before, after in (
        ("records: 5000", "records: 300"),
        ("candidates: 4096", "candidates: 300"),
        ("generate: 32", "generate: 8"),
    ):
        assert before in policy
        policy = policy.replace(before, after)
    policy = policy.replace("fpr: 0.01}", "fpr: 0.05, permutations: 199}")
    (folder / "policy.yaml").write_text(policy)
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
