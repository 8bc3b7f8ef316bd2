"""A real third-party package is built, installed, passes the conformance kit and is audited with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "acme_audit"

CONFORMANCE = """
from auditor.testing.conformance import parametrize_with_checks
from acme_audit.follows_record import TEST

@parametrize_with_checks(TEST)
def test_conformance(check):
    check()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, str]:
    """The environment of a process that has the package installed beside ours."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--target",
            target,
            PACKAGE,
        ],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1"},
    )
    return {**os.environ, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}


def auditor(environment, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "auditor", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_it_is_listed_without_being_imported(installed):
    rows = json.loads(auditor(installed, "tests", "--json").stdout)
    assert {
        "test": "acme/follows-record",
        "from": "acme-audit 1.0.0",
        "target": "acme_audit.follows_record:TEST",
    } in rows
    assert any(row["test"] == "acme/broken" for row in rows)  # would fail if it were imported


def test_it_conforms(installed, tmp_path):
    (tmp_path / "test_acme.py").write_text(CONFORMANCE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "test_acme.py"],
        env=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "7 passed" in done.stdout, done.stdout


def test_the_kit_catches_a_blind_test(installed, tmp_path):
    """A test that never fires, and one that fires on noise, do not conform."""
    code = CONFORMANCE.replace(
        "from acme_audit.follows_record import TEST",
        "from acme_audit import follows_record\n"
        "follows_record._longest_runs = lambda table: follows_record.np.ones(200)\n"
        "TEST = follows_record.TEST",
    )
    (tmp_path / "test_acme.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "test_acme.py"],
        env=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "check_fires_on_the_memorizer" in done.stdout
    assert "1 failed" in done.stdout
