"""The commands of `docs/preregistration.md`, run as they stand, on a commitment that holds and on ones that do not."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from authority import make_authority
from commitments import MADE, preregistration
from cryptography.hazmat.primitives import serialization

from auditor.seal.keys import load_signer
from auditor.seal.new_key import generate_key
from auditor.seal.preregistration import sign_preregistration

PAGE = Path(__file__).parents[2] / "docs" / "preregistration.md"
NOW = dt.datetime(2026, 3, 1, 9, 0, tzinfo=dt.UTC)
PLAN = b'{"a":"plan"}'

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture
def folder(tmp_path):
    files = generate_key(tmp_path / "key", "Test auditor", now=NOW)
    signer = load_signer(files.key, files.certificate, None, now=NOW)
    authority = make_authority()
    made = preregistration(MADE.model_copy(update={"plan": hashlib.sha256(PLAN).hexdigest()}))
    envelope = sign_preregistration(made, signer)
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "preregistration.dsse.json").write_bytes(envelope)
    (bundle / "preregistration.tst").write_bytes(authority.stamp(envelope, NOW))
    (bundle / "preregistration.crt.pem").write_bytes(signer.certificate_pem)
    (bundle / "plan.json").write_bytes(PLAN)
    (bundle / "deviations.json").write_bytes(b"[]")
    (bundle / "environment.json").write_bytes(b'{"created":"2026-03-01T10:00:00+00:00"}')
    (tmp_path / "authority.crt.pem").write_bytes(authority.root.public_bytes(serialization.Encoding.PEM))
    return tmp_path


def followed(folder) -> subprocess.CompletedProcess:
    (commands,) = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return subprocess.run(["sh", "-c", commands], cwd=folder, capture_output=True, text=True, check=False)


def test_a_stranger_sees_that_it_holds(folder):
    done = followed(folder)
    assert done.returncode == 0, done.stderr
    assert "Verified OK" in done.stdout
    assert "Verification: OK" in done.stdout
    assert "Time stamp: Mar  1 09:00:00 2026 GMT" in done.stdout
    assert '"created":"2026-03-01T10:00:00+00:00"' in done.stdout


@pytest.mark.parametrize("name", ["preregistration.dsse.json", "preregistration.tst", "plan.json"])
def test_a_stranger_sees_that_something_was_changed(folder, name):
    path = folder / "bundle" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert followed(folder).returncode != 0


def test_a_changed_plan_that_is_listed_is_no_lie(folder):
    (folder / "bundle" / "plan.json").write_bytes(b"{}")
    assert followed(folder).returncode != 0
    (folder / "bundle" / "deviations.json").write_bytes(b'[{"what":"plan (every observation, ...)"}]')
    assert followed(folder).returncode == 0
