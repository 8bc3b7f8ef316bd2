"""A zip file is unpacked into a folder of its own, or not at all."""

from __future__ import annotations

import stat
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import IntegrityError
from auditor.evidence.archive import Limits, unpacked

FILES = {"manifest.json": b"{}", "observations/a/shard-00000.parquet": b"PAR1" * 50, "report.html": b"<p>x</p>" * 99}


def packed(path, files=FILES, prefix="", method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name if isinstance(name, zipfile.ZipInfo) else prefix + name, content)
    return path


def read(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("prefix", ["", "audit-of-a-model/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_was_packed_comes_out_and_is_removed(tmp_path, prefix, method):
    with unpacked(packed(tmp_path / "b.zip", prefix=prefix, method=method)) as folder:
        assert read(folder) == FILES
        assert stat.S_IMODE((folder if not prefix else folder.parent).stat().st_mode) == 0o700
    assert not folder.exists()


def entry(name, mode=0, **fields):
    info = zipfile.ZipInfo("x")
    info.filename = info.orig_filename = name
    info.external_attr = mode << 16
    for field, value in fields.items():
        setattr(info, field, value)
    return info


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../outside", "not a path inside the bundle"),
        ("a/../../outside", "not a path inside the bundle"),
        ("/etc/outside", "not a path inside the bundle"),
        ("a//b", "not a path inside the bundle"),
        ("./a", "not a path inside the bundle"),
        ("..\\outside", "not a name that every system can hold"),
        ("C:outside", "not a name that every system can hold"),
        ("a\nb", "not a name that every system can hold"),
        ("e\u0301", "not a name that every system can hold"),
    ],
)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, name, said):
    with pytest.raises(IntegrityError, match=said), unpacked(packed(tmp_path / "b.zip", {entry(name): b"x"})):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_pipes_and_devices_are_refused(tmp_path, kind):
    path = packed(tmp_path / "b.zip", {entry("link", kind | 0o777): b"/etc/passwd"})
    with pytest.raises(IntegrityError, match="a link, a pipe or a device"), unpacked(path):
        pass


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("one", "other"), [("a.json", "a.json"), ("a.json", "A.JSON"), ("a", "a/b"), ("a/b", "a")])
def test_names_that_come_twice_are_refused(tmp_path, one, other):
    path = packed(tmp_path / "b.zip", {entry(one): b"1", entry(other): b"2"})
    with pytest.raises(IntegrityError, match=r"comes twice|at once"), unpacked(path):
        pass


def test_bombs_are_refused_before_anything_is_unpacked(tmp_path):
    zeros = packed(tmp_path / "zeros.zip", {"report.html": bytes(30_000_000)})
    with pytest.raises(IntegrityError, match="a bomb"), unpacked(zeros):
        pass
    with pytest.raises(IntegrityError, match="more than the 2"), unpacked(packed(tmp_path / "b.zip"), Limits(files=2)):
        pass
    with pytest.raises(IntegrityError, match="there is room for 100"), unpacked(tmp_path / "b.zip", Limits(total=100)):
        pass


def directory(content: bytes) -> int:
    return struct.unpack("<I", content[-6:-2])[0]


def test_files_that_share_their_bytes_are_refused(tmp_path):
    """Every entry points to the same packed bytes: a small file could unpack to anything (Fifield 2019)."""
    path = packed(tmp_path / "b.zip", {"a": b"1" * 100, "b": b"1" * 100})
    content = bytearray(path.read_bytes())
    second = content.index(b"PK\x01\x02", directory(content) + 4)
    content[second + 42 : second + 46] = struct.pack("<I", 0)
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="shares bytes"), unpacked(path):
        pass


def test_a_file_that_unpacks_to_more_or_less_than_it_says_is_refused(tmp_path):
    for size in (10, 1000):
        path = packed(tmp_path / "b.zip", {"a": b"12345" * 100})
        content = bytearray(path.read_bytes())
        start = directory(content)
        content[start + 24 : start + 28] = struct.pack("<I", size)
        path.write_bytes(content)
        with pytest.raises(IntegrityError), unpacked(path):
            pass


def test_encrypted_and_strangely_packed_files_are_refused(tmp_path):
    path = packed(tmp_path / "b.zip")
    content = bytearray(path.read_bytes())
    content[directory(content) + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="encrypted"), unpacked(path):
        pass
    with (
        pytest.raises(IntegrityError, match="not supported"),
        unpacked(packed(tmp_path / "c.zip", method=zipfile.ZIP_LZMA)),
    ):
        pass


ORIGINAL: list[bytes] = []


@settings(derandomize=True, deadline=None, max_examples=300)
@given(data=st.data())
def test_whatever_becomes_of_an_archive_it_is_refused_or_gives_regular_files(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("zip", numbered=True)
    if not ORIGINAL:
        ORIGINAL.append(packed(folder / "first.zip").read_bytes())
    content = ORIGINAL[0]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 8)))
    path = folder / "b.zip"
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=8)) + content[end:])
    try:
        with unpacked(path) as unzipped:
            assert all(not item.is_symlink() for item in unzipped.rglob("*"))
    except IntegrityError:
        pass
    assert sorted(item.name for item in folder.iterdir() if item.name != "first.zip") == ["b.zip"]
