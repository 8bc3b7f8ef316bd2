"""Countersignatures by Sigstore: signed and checked by its own library against a Fulcio and a Rekor on loopback.

Needs the extra `[sigstore]`; signing also node and `npm install @sigstore/mock` (in `node_modules/`, or where NODE_PATH says). What these
tests cannot show is that the public services answer as the mocks do: nothing here reaches them.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from test_commands import auditor

from auditor.errors import (
    EXIT_CLEAR,
    EXIT_INPUT,
    EXIT_INTEGRITY,
    IntegrityError,
    KeyMaterialError,
    StorageError,
    UnsupportedError,
    UsageError,
)
from auditor.seal.keyless import check_countersignature, countersign

PACKAGES = Path(os.environ.get("NODE_PATH", "node_modules"))
NODE = shutil.which("node")
MADE = Path(__file__).parent / "countersigned"
WHO, ISSUER = "https://id.example/ada", "https://id.example"

needs_library = pytest.mark.skipif(importlib.util.find_spec("sigstore") is None, reason="sigstore is not installed")
needs_services = pytest.mark.skipif(
    NODE is None or not (PACKAGES / "@sigstore" / "mock").exists(), reason="node or @sigstore/mock is not installed"
)


def token(**claims) -> str:
    """Return an identity token; who issued it is for Fulcio to check, and not for who asks."""
    now = int(time.time())
    plain = {"iss": ISSUER, "sub": WHO, "aud": "sigstore", "iat": now, "exp": now + 600} | claims
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, plain)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, b"signature"))


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Path:
    """The client trust configuration of a Sigstore on loopback."""
    script = str(Path(__file__).with_name("sigstore_services.js"))
    environment = {**os.environ, "NODE_PATH": str(PACKAGES.resolve())}
    with subprocess.Popen([NODE, script], stdout=subprocess.PIPE, env=environment) as running:
        config = tmp_path_factory.mktemp("sigstore") / "config.json"
        config.write_bytes(running.stdout.readline())
        yield config
        running.terminate()


def statement() -> bytes:
    return (MADE / "statement.json").read_bytes()


@needs_library
def test_what_was_countersigned_is_checked_without_the_network():
    """Source: made once by this test's services, whose keys are gone; the configuration is theirs."""
    content, config = (MADE / "countersigned.json").read_bytes(), MADE / "config.json"
    assert check_countersignature(content, statement(), WHO, ISSUER, config).startswith(f"countersigned by {WHO}")
    for who, issuer in (("https://id.example/eve", ISSUER), (WHO, "https://other.example"), ("", "")):
        with pytest.raises(IntegrityError, match="does not hold"):
            check_countersignature(content, statement(), who, issuer, config)
    with pytest.raises(IntegrityError, match="for another seal"):
        check_countersignature(content, statement() + b" ", WHO, ISSUER, config)
    for noise in (b"", b"{}", b"[" * 9999):
        with pytest.raises(IntegrityError, match="does not hold"):
            check_countersignature(noise, statement(), WHO, ISSUER, config)


@needs_library
def test_changed_parts_are_refused():
    plain, config = json.loads((MADE / "countersigned.json").read_bytes()), MADE / "config.json"
    entry = plain["verificationMaterial"]["tlogEntries"][0]
    places = [
        (plain["dsseEnvelope"], "payload"),
        (plain["dsseEnvelope"]["signatures"][0], "sig"),
        (plain["verificationMaterial"]["certificate"], "rawBytes"),
        (entry, "canonicalizedBody"),
        (entry["inclusionPromise"], "signedEntryTimestamp"),
        (entry["inclusionProof"], "rootHash"),
    ]
    for holder, key in places:
        whole = holder[key]
        changed = bytearray(base64.b64decode(whole))
        changed[len(changed) // 2] ^= 1
        holder[key] = base64.b64encode(bytes(changed)).decode()
        with pytest.raises(IntegrityError):
            check_countersignature(json.dumps(plain).encode(), statement(), WHO, ISSUER, config)
        holder[key] = whole
    assert check_countersignature(json.dumps(plain).encode(), statement(), WHO, ISSUER, config)


@needs_library
@needs_services
def test_the_whole_way_on_loopback(services):
    content = countersign(statement(), token(), services)
    assert check_countersignature(content, statement(), WHO, ISSUER, services)
    with pytest.raises(IntegrityError):
        check_countersignature(content, statement(), WHO, ISSUER, MADE / "config.json")


@needs_library
@needs_services
def test_the_commands(sealed, services, tmp_path):
    trusting = ["--trust", sealed.keys.certificate, "--trust-config", services]
    done = auditor("countersign", sealed.bundle, *trusting, SIGSTORE_ID_TOKEN=token())
    assert done.returncode == EXIT_CLEAR, done.stderr
    written = tmp_path / "bundle.countersigned.json"
    asked = ["countersign", sealed.bundle, *trusting, "--check", written, "--issuer", ISSUER]
    done = auditor(*asked, "--identity", WHO)
    assert done.returncode == EXIT_CLEAR, done.stderr
    assert f"Holds: countersigned by {WHO}" in done.stdout
    assert auditor(*asked, "--identity", "https://id.example/eve").returncode == EXIT_INTEGRITY
    assert auditor("countersign", sealed.bundle, *trusting, SIGSTORE_ID_TOKEN=token()).returncode == EXIT_INPUT
    shown = auditor("verify", sealed.bundle, "--trust", sealed.keys.certificate).stdout
    assert "(4) holds" in shown


@needs_library
def test_who_signs_has_to_be_said(monkeypatch):
    for name in [
        name for name in os.environ if name.startswith(("GITHUB_", "ACTIONS_", "CIRCLECI", "GITLAB_", "BUILDKITE"))
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda: None)
    with pytest.raises(KeyMaterialError, match="nobody says who signs"):
        countersign(statement(), None, MADE / "config.json")
    for bad in ("noise", token(aud="other"), token(exp=1), token(sub=None)):
        with pytest.raises(KeyMaterialError, match="cannot be used"):
            countersign(statement(), bad, MADE / "config.json")


@needs_library
def test_services_that_do_not_answer_leave_nothing_behind(tmp_path):
    plain = json.loads((MADE / "config.json").read_bytes())
    for name in ("caUrls", "rekorTlogUrls"):
        plain["signingConfig"][name][0]["url"] = "http://127.0.0.1:1"  # a port where nobody listens
    (tmp_path / "config.json").write_text(json.dumps(plain))
    with pytest.raises(StorageError, match="gave no countersignature"):
        countersign(statement(), token(), tmp_path / "config.json")


@needs_library
def test_a_configuration_that_is_none_is_named(tmp_path):
    (tmp_path / "c.json").write_text("{}")
    for path in (tmp_path / "c.json", tmp_path / "none.json"):
        with pytest.raises(UsageError, match="not the trust configuration"):
            countersign(statement(), token(), path)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for ask in (lambda: countersign(b"{}", "t", None), lambda: check_countersignature(b"", b"", "a", "b", None)):
        with pytest.raises(UnsupportedError, match=r"extra \[sigstore\]"):
            ask()


def test_wrong_use_is_said(sealed, tmp_path):
    trust = ["--trust", sealed.keys.certificate]
    done = auditor("countersign", sealed.bundle, *trust, "--check", tmp_path / "x.json")
    assert done.returncode == EXIT_INPUT
    assert "--identity" in done.stderr
    done = auditor("countersign", sealed.bundle, *trust, "--out", sealed.bundle / "x.json")
    assert done.returncode == EXIT_INPUT
    assert "sealed" in done.stderr
    (sealed.bundle / "report.html").write_bytes(b"x")
    assert auditor("countersign", sealed.bundle, *trust).returncode == EXIT_INTEGRITY
