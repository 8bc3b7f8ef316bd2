"""The manifest names every file, and every way in which files can differ from it is found."""

from __future__ import annotations

import hashlib
import os

import pytest

from auditor.core.record import canonical_bytes, parse_json
from auditor.errors import IntegrityError
from auditor.evidence.bundle import MANIFEST
from auditor.evidence.manifest import Manifest, check_manifest, read_manifest, read_regular, write_manifest

FILES = {
    "a-b.json": b"{}",
    "a/b.json": b"[]",
    "findings.json": b"[1]",
    "figures/one.svg": b"<svg/>",
    "restricted/commitment.key": b"k" * 32,
    "observations/0/restricted/shard-00000.parquet": b"PAR1",
}


@pytest.fixture
def bundle(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "bundle"


def problems(bundle) -> list[str]:
    return check_manifest(bundle, read_manifest(bundle)).problems


def test_every_file_is_listed_with_its_size_and_digest(bundle):
    (bundle / "seal.dsse.json").write_bytes(b"seal")
    (bundle / "half.json.draft").write_bytes(b"of a killed run")
    (bundle / "observations/1/restricted").mkdir(parents=True)
    (bundle / "observations/1/restricted/shard-00000.parquet.draft").write_bytes(b"of a killed run")
    manifest = write_manifest(bundle)
    listed = {entry.path: entry for entry in manifest.entries}
    assert list(listed) == sorted(FILES)
    for name, content in FILES.items():
        assert (listed[name].bytes, listed[name].sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert listed[name].restricted == ("restricted" in name)
    assert listed["figures/one.svg"].media_type == "image/svg+xml"
    assert not (bundle / "half.json.draft").exists()
    assert not (bundle / "observations/1").exists()
    assert read_manifest(bundle) == manifest
    assert check_manifest(bundle, manifest) == ([], [])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda b: (b / "findings.json").unlink(), "findings.json: missing"),
        (lambda b: (b / "findings.json").write_bytes(b"[2]"), "findings.json: changed"),
        (lambda b: (b / "findings.json").write_bytes(b"[1] "), "findings.json: changed"),
        (lambda b: (b / "new.json").write_bytes(b""), "new.json: not listed"),
        (lambda b: (b / ".hidden").write_bytes(b""), ".hidden: not listed"),
        (lambda b: (b / "empty").mkdir(), "empty/: not listed"),
        (lambda b: (b / "findings.json").rename(b / "Findings.json"), "Findings.json: not listed"),
        (lambda b: (b / "restricted/commitment.key").write_bytes(b"q" * 32), "restricted/commitment.key: changed"),
    ],
)
def test_whatever_differs_is_named(bundle, harm, said):
    write_manifest(bundle)
    harm(bundle)
    assert said in problems(bundle)


def test_swapped_files_are_both_named(bundle):
    write_manifest(bundle)
    (bundle / "a-b.json").write_bytes(FILES["a/b.json"])
    (bundle / "a/b.json").write_bytes(FILES["a-b.json"])
    assert problems(bundle) == ["a-b.json: changed", "a/b.json: changed"]


def test_restricted_files_may_be_withheld_and_are_named(bundle):
    manifest = write_manifest(bundle)
    (bundle / "restricted/commitment.key").unlink()
    (bundle / "restricted").rmdir()
    assert check_manifest(bundle, manifest) == ([], ["restricted/commitment.key"])


def test_a_link_is_never_followed(bundle, tmp_path):
    outside = tmp_path / "outside.json"
    outside.write_bytes(FILES["findings.json"])
    write_manifest(bundle)
    (bundle / "findings.json").unlink()
    (bundle / "findings.json").symlink_to(outside)
    assert problems(bundle) == ["findings.json: not a regular file (a link, a pipe or a device)"]
    with pytest.raises(IntegrityError, match="not a regular file"):
        read_regular(bundle / "findings.json")


def test_a_linked_folder_is_never_followed(bundle, tmp_path):
    write_manifest(bundle)
    (bundle / "figures").rename(tmp_path / "figures")
    (bundle / "figures").symlink_to(tmp_path / "figures")
    assert "figures: not a regular file (a link, a pipe or a device)" in problems(bundle)
    assert "figures/one.svg: missing" in problems(bundle)


def test_a_pipe_is_not_waited_for(bundle):
    write_manifest(bundle)
    (bundle / "findings.json").unlink()
    os.mkfifo(bundle / "findings.json")
    assert problems(bundle) == ["findings.json: not a regular file (a link, a pipe or a device)"]


@pytest.mark.parametrize("name", ["con:", "tab\t.json", "cafe\u0301.json", "back\\slash.json"])
def test_a_name_that_not_every_system_holds_is_not_sealed(bundle, name):
    (bundle / name).write_bytes(b"")
    with pytest.raises(IntegrityError, match="cannot be part"):
        write_manifest(bundle)


def test_a_link_is_not_sealed(bundle):
    (bundle / "link").symlink_to("findings.json")
    with pytest.raises(IntegrityError, match="link"):
        write_manifest(bundle)


def forge(bundle, change):
    """Rewrite the manifest as someone would who does not fear the seal."""
    plain = parse_json((bundle / MANIFEST).read_bytes())
    change(plain["entries"])
    (bundle / MANIFEST).write_bytes(canonical_bytes(plain))


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "a/../a/b.json", "./a-b.json", "a//b.json", "a/"])
def test_a_path_that_leaves_the_bundle_is_refused(bundle, tmp_path, name):
    (tmp_path / "outside.json").write_bytes(b"{}")
    write_manifest(bundle)
    forge(bundle, lambda entries: entries[0].update(path=name))
    assert f"{name}: not a path inside the bundle" in problems(bundle)


def test_an_entry_that_stands_twice_is_named(bundle):
    write_manifest(bundle)
    forge(bundle, lambda entries: entries.insert(0, entries[0]))
    assert any("listed twice" in problem for problem in problems(bundle))


def test_names_that_differ_in_case_alone_are_named(bundle):
    write_manifest(bundle)
    forge(bundle, lambda entries: entries.insert(0, {**entries[0], "path": entries[0]["path"].upper()}))
    assert any("case alone" in problem for problem in problems(bundle))


def test_entries_out_of_order_are_named(bundle):
    write_manifest(bundle)
    forge(bundle, lambda entries: entries.reverse())
    assert "manifest.json: the entries are not sorted by path" in problems(bundle)


def test_a_file_cannot_be_called_restricted_to_hide_it(bundle):
    write_manifest(bundle)
    (bundle / "findings.json").unlink()
    forge(bundle, lambda entries: [entry.update(restricted=True) for entry in entries])
    assert "findings.json: restricted, or not, against its folder" in problems(bundle)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"not json",
        b'{"entries":[],"entries":[],"merkle_roots":{},"schema_version":1}',
        b'{"entries":[],"merkle_roots":{},"schema_version":1} ',
        b'{"entries":[],"merkle_roots":{"../x":"' + b"0" * 64 + b'"},"schema_version":1}',
        b"[" * 200_000,
        b"\xff\xfe",
    ],
)
def test_a_manifest_has_one_encoding(bundle, content):
    (bundle / MANIFEST).write_bytes(content)
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        read_manifest(bundle)


def test_an_empty_manifest_is_one_encoding_too(bundle):
    (bundle / MANIFEST).write_bytes(Manifest(entries=(), merkle_roots={}).canonical())
    assert len(problems(bundle)) >= len(FILES)
