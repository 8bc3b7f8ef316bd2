"""One real audit of the shipped sample, small enough for a test, shared by the tests of this folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "notes-lm"


def auditor(*arguments, **kwargs):
    """Run the command line in a process of its own, with one thread: two workers run side by side."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "auditor", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        **kwargs,
    )


def quickly(*arguments) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process: what is refused early is refused before most of the time goes into imports."""
    from checkpoints import command

    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "200"
    try:
        code, said, complaint = command(*arguments)
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    return subprocess.CompletedProcess(["auditor", *map(str, arguments)], code, said, complaint)


@dataclass(frozen=True)
class Place:
    """Where the subject, the policy and the key of the small audit lie."""

    subject: Path
    policy: Path
    key: Path
    cert: Path

    def run(self, out, *more, **kwargs):
        return auditor(
            "run", self.subject, "--policy", self.policy, "--out", out, "--key", self.key, "--cert", self.cert, "-q", *more,
            **kwargs,
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
    parameters: {prefixes: [25, 50], records: 300, generate: 8, max_tokens: 112}
  - test: language/probabilistic-extraction
    because: fewer records
    parameters: {records: 300, max_tokens: 112}
  - test: language/membership
    because: fewer records
    parameters: {records: 300, max_tokens: 112, fpr: 0.05, permutations: 199}
  - test: language/exposure
    because: fewer candidates
    parameters: {candidates: 300}
"""


def made_once(tmp_path_factory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that whichever worker needs it first makes, and all of them read: an audit takes a minute."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / f"shared-{name}", base / f"shared-{name}.done"
    with (base / f"shared-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Place:
    return _place(made_once(tmp_path_factory, "audit", _write))


def _write(folder: Path) -> None:
    made = auditor("keygen", "--name", "Test auditor", "--out", folder / "key")
    assert made.returncode == 0, made.stderr
    (folder / "policy.yaml").write_text(POLICY)
    shutil.copytree(SAMPLE, folder / "subject", ignore=shutil.ignore_patterns("make.py", "README.md"))


def _place(folder: Path) -> Place:
    return Place(
        folder / "subject" / "subject.yaml",
        folder / "policy.yaml",
        folder / "key" / "auditor.key.pem",
        folder / "key" / "auditor.crt.pem",
    )


@pytest.fixture(scope="session")
def bundle(place, tmp_path_factory) -> Path:
    def audit(folder: Path) -> None:
        done = place.run(folder / "bundle")
        assert done.returncode == 1, done.stderr + done.stdout

    return made_once(tmp_path_factory, "bundle", audit) / "bundle"
