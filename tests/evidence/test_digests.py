"""Digests of files against another program's, and the joint digest against its definition."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from auditor.errors import DataError
from auditor.evidence.digests import artifact, artifacts, joint_digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.bin").write_bytes(bytes(range(256)) * 5000)
    (tmp_path / "a.bin").write_bytes(b"")
    (tmp_path / "deep" / "c.bin").write_bytes(b"abc")
    return tmp_path


def test_a_digest_is_that_of_sha256sum(folder: Path) -> None:
    for path in (folder / "a.bin", folder / "b.bin", folder / "deep" / "c.bin"):
        other = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
        found = artifact(path, folder)
        assert (found.sha256, found.bytes) == (other, path.stat().st_size)
    # NIST FIPS 180-2, appendix B.1
    assert found.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_names_are_relative_and_never_tell_where_the_folder_lies(folder: Path, tmp_path: Path) -> None:
    assert artifact(folder / "deep" / "c.bin", folder).path == "deep/c.bin"
    assert artifact(folder / "a.bin", folder / "deep").path == "a.bin"


def test_artifacts_are_sorted_whatever_the_order_of_files(folder: Path) -> None:
    paths = [folder / "deep" / "c.bin", folder / "b.bin", folder / "a.bin"]
    found = artifacts(paths, folder)
    assert [item.path for item in found] == ["a.bin", "b.bin", "deep/c.bin"]
    assert found == artifacts(paths[::-1], folder)


def test_the_joint_digest_is_over_the_raw_digests_in_order_of_path(folder: Path) -> None:
    found = artifacts([folder / "b.bin", folder / "a.bin"], folder)
    raw = b"".join(hashlib.sha256((folder / name).read_bytes()).digest() for name in ("a.bin", "b.bin"))
    assert joint_digest(found) == joint_digest(found[::-1]) == hashlib.sha256(raw).hexdigest()
    assert joint_digest([]) == hashlib.sha256(b"").hexdigest()
    assert joint_digest(found[:1]) != joint_digest(found)


def test_what_cannot_be_read_is_named(folder: Path) -> None:
    for path in (folder / "nothing", folder / "deep"):
        with pytest.raises(DataError, match="cannot be read") as caught:
            artifact(path, folder)
        assert str(path) in caught.value.message
        assert caught.value.hint
