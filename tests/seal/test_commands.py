"""The commands a user types: exit codes, one line a step, and no key on any screen."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from auditor.errors import EXIT_CLEAR, EXIT_INPUT, EXIT_INTEGRITY
from auditor.evidence import bundle as layout


def auditor(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "auditor", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )


def test_keygen_shows_the_fingerprint_and_never_the_key(tmp_path):
    done = auditor("keygen", "--name", "Test Auditor", "--out", tmp_path, AUDITOR_PASSPHRASE="open sesame")
    assert done.returncode == EXIT_CLEAR, done.stderr
    key = (tmp_path / "auditor.key.pem").read_text()
    assert "ENCRYPTED" in key
    shown = done.stdout + done.stderr
    assert "Fingerprint" in shown
    assert not [line for line in key.splitlines() if line in shown]
    assert "open sesame" not in shown
    assert auditor("keygen", "--name", "Test Auditor", "--out", tmp_path).returncode == EXIT_INPUT


def test_the_pdf_alone_verifies_with_the_signers_certificate(origin):
    done = auditor("verify", origin.bundle / layout.PDF, "--trust", origin.keys.certificate)
    assert done.returncode == EXIT_CLEAR, done.stdout + done.stderr
    assert [line[:12] for line in done.stdout.splitlines()[:2]] == ["(1) holds  s", "(2) holds  a"]


@pytest.mark.parametrize("trust", [True, False])
def test_a_changed_bundle_ends_with_4_and_names_the_step(sealed, trust):
    (sealed.bundle / layout.STATEMENTS).write_bytes(b"[ ]")
    options = ["--trust", sealed.keys.certificate] if trust else []
    done = auditor("verify", sealed.bundle, "--json", *options)
    assert done.returncode == EXIT_INTEGRITY, done.stderr
    told = json.loads(done.stdout)
    assert told["held"] is False
    steps = {step["number"]: step for step in told["steps"]}
    assert sorted(steps) == list(range(1, 10))
    assert steps[4]["detail"] == "statements.json: changed"
    assert steps[1]["held"] is trust


def test_a_repetition_that_fails_alone_is_told_from_a_change(sealed):
    """The evidence here is no real one, so that it cannot be measured again; nothing was changed since it was sealed."""
    whole = auditor("verify", sealed.bundle, "--trust", sealed.keys.certificate)
    assert whole.returncode == EXIT_INTEGRITY, whole.stderr
    assert "the repetition alone" in whole.stdout
    (sealed.bundle / layout.STATEMENTS).write_bytes(b"[ ]")
    changed = auditor("verify", sealed.bundle, "--trust", sealed.keys.certificate)
    assert "the repetition alone" not in changed.stdout
    assert "the repetition alone" not in auditor("verify", sealed.bundle).stdout


def test_a_certificate_that_cannot_be_read_ends_with_2(origin, tmp_path):
    done = auditor("verify", origin.bundle, "--trust", tmp_path / "none.pem")
    assert done.returncode == EXIT_INPUT
    assert "none.pem" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refused_key_ends_the_run_before_anything_else(origin, tmp_path):
    """The subject does not even exist: the key is looked at first."""
    done = auditor("run", tmp_path / "none.yaml", "--key", tmp_path / "none", "--cert", origin.keys.certificate)
    assert done.returncode == EXIT_INPUT
    assert "signing key" in done.stderr
