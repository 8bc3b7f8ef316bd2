"""Time stamps: asked for on loopback, checked without the network, by us and by openssl."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys

import pytest
from authority import listening, make_authority
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import IntegrityError, StorageError, UsageError
from auditor.preregister.stamping import request_time_stamp
from auditor.seal.timestamp import read_time_stamp

MOMENT = dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)
CONTENT = b"the envelope"


@pytest.fixture(scope="module")
def authority():
    return make_authority()


@pytest.fixture(scope="module")
def token(authority):
    return authority.stamp(CONTENT, MOMENT)


def test_a_stamp_asked_for_over_http_says_when_and_by_whom(authority):
    with listening(authority, MOMENT) as address:
        got = request_time_stamp(CONTENT, address)
    found = read_time_stamp(got, CONTENT, authority.root)
    assert (found.time, found.authority, found.trusted) == (MOMENT, authority.certificate, True)
    assert "2026-03-01 09:30:00 UTC by Loopback time stamps" in found.described()


def test_the_authority_itself_may_be_trusted_instead_of_its_root(authority, token):
    assert read_time_stamp(token, CONTENT, authority.certificate).trusted


def test_without_a_trusted_authority_the_stamp_is_whole_and_nobodys(token):
    found = read_time_stamp(token, CONTENT)
    assert (found.time, found.trusted) == (MOMENT, False)


def test_another_authority_is_not_the_trusted_one(token):
    with pytest.raises(IntegrityError, match="not by the trusted authority"):
        read_time_stamp(token, CONTENT, make_authority("Other").root)


def test_a_stamp_over_other_bytes_is_refused(token):
    with pytest.raises(IntegrityError, match="over other bytes"):
        read_time_stamp(token, CONTENT + b"!")


def test_a_certificate_for_another_purpose_stamps_no_time():
    other = make_authority(purpose=ExtendedKeyUsageOID.CODE_SIGNING)
    for trusted in (other.root, None):
        with pytest.raises(IntegrityError, match="is not by"):
            read_time_stamp(other.stamp(CONTENT, MOMENT), CONTENT, trusted)


@settings(derandomize=True, deadline=None, max_examples=120)
@given(data=st.data())
def test_no_changed_byte_moves_the_time(authority, token, data):
    """A token has parts that no signature covers; whatever is done to them, time and authority stay or it is refused."""
    place = data.draw(st.integers(0, len(token) - 1))
    changed = bytearray(token)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        found = read_time_stamp(bytes(changed), CONTENT, authority.root)
    except IntegrityError:
        return
    assert (found.time, found.authority) == (MOMENT, authority.certificate)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(noise=st.binary(max_size=200))
def test_noise_is_refused(noise):
    with pytest.raises(IntegrityError):
        read_time_stamp(noise, CONTENT)


@pytest.mark.parametrize("broken", ["refused", "noise", "fault", "page"])
def test_an_authority_that_gives_no_stamp_is_named(authority, broken):
    with listening(authority, broken=broken) as address, pytest.raises(StorageError, match=address):
        request_time_stamp(CONTENT, address)


def test_nobody_listens():
    with pytest.raises(StorageError, match="gave no time stamp"):
        request_time_stamp(CONTENT, "http://127.0.0.1:1/")


@pytest.mark.parametrize(
    "address", ["ftp://127.0.0.1/", "file:///etc/passwd", "127.0.0.1", "http://a:b@127.0.0.1/", ""]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match="not the address"):
        request_time_stamp(CONTENT, address)


def test_a_fresh_interpreter_reads_it_too(token, tmp_path):
    """The parser knows a time stamp only once the right part of the library is imported; nobody else may do that for us."""
    (tmp_path / "token").write_bytes(token)
    program = (
        "import pathlib, sys; from auditor.seal.timestamp import read_time_stamp;"
        f"print(read_time_stamp(pathlib.Path(sys.argv[1]).read_bytes(), {CONTENT!r}).time.isoformat())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "token")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == MOMENT.isoformat(), done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_agrees(authority, token, tmp_path):
    (tmp_path / "content").write_bytes(CONTENT)
    (tmp_path / "token").write_bytes(token)
    (tmp_path / "root.pem").write_bytes(authority.root.public_bytes(serialization.Encoding.PEM))
    command = ["openssl", "ts", "-verify", "-data", "content", "-in", "token", "-token_in", "-CAfile", "root.pem"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "Verification: OK" in done.stdout) == (0, True), done.stderr
    (tmp_path / "content").write_bytes(CONTENT + b"!")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0
