"""Unpacks a bundle from a zip file that may be hostile: nothing outside the folder, no links, no bombs, no name twice."""

from __future__ import annotations

import contextlib
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import IntegrityError
from auditor.evidence.bundle import MANIFEST
from auditor.evidence.manifest import misnamed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Limits(NamedTuple):
    """What an archive may hold at most."""

    files: int = 100_000
    total: int = 64 * 1024**3
    """Bytes of all files, unpacked."""
    ratio: int = 200
    """Bytes unpacked for one packed, of files above `free`."""
    free: int = 1024**2
    """Bytes up to which a file may pack as well as it likes."""


_HEADER = 30
"""Least bytes of the header before each file."""
_BLOCK = 1 << 20
_AGAIN = "Take the bundle again from its origin, or unpack it with a tool you trust and give the folder."


@contextlib.contextmanager
def unpacked(path: Path, limits: Limits | None = None) -> Iterator[Path]:
    """Yield the folder of a bundle that lies in a zip file, at its top or in the one folder there; removed afterwards.

    Every name, size and kind is checked before the first byte is unpacked.

    Args:
        path: The zip file.
        limits: What it may hold at most. None: the usual.

    Raises:
        IntegrityError: It is damaged or holds what no bundle holds; nothing was unpacked then, or nothing is left of it.
    """
    with tempfile.TemporaryDirectory(prefix="auditor-") as folder:
        target = Path(folder)
        try:
            with zipfile.ZipFile(path) as archive:
                entries = _checked(archive, path, limits or Limits(), shutil.disk_usage(folder).free)
                for entry in entries:
                    _extract(archive, entry, target / entry.filename.rstrip("/"), path)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise _refused(path, f"cannot be read as a zip file ({error})") from error
        except OSError as error:
            raise _refused(path, f"cannot be unpacked ({error.strerror or error})") from error
        yield _top(target)


def _top(target: Path) -> Path:
    """Return the folder that holds the manifest: the top, or the only folder there."""
    inside = list(target.iterdir())
    if not (target / MANIFEST).exists() and len(inside) == 1 and inside[0].is_dir():
        return inside[0]
    return target


def _refused(path: Path, why: str) -> IntegrityError:
    shown = "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in why)
    return IntegrityError(f"{path}: {shown}", hint=_AGAIN)


def _checked(archive: zipfile.ZipFile, path: Path, limits: Limits, room: int) -> Sequence[zipfile.ZipInfo]:
    entries = archive.infolist()
    if len(entries) > limits.files:
        raise _refused(path, f"holds {len(entries):,} files, more than the {limits.files:,} that a bundle may have")
    total = 0
    for entry in entries:
        if fault := _fault(entry, limits):
            raise _refused(path, f"{entry.filename[:200]!r} {fault}")
        total += entry.file_size
    if total > min(limits.total, room):
        raise _refused(path, f"would unpack to {total:,} bytes; there is room for {min(limits.total, room):,}")
    _check_names(entries, path)
    _check_places(entries, archive.start_dir, path)
    return entries


def _fault(entry: zipfile.ZipInfo, limits: Limits) -> str:
    mode = entry.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or ((kind == stat.S_IFDIR) != entry.is_dir() and kind != 0):
        return "is a link, a pipe or a device"
    if fault := misnamed(entry.orig_filename.rstrip("/") if entry.is_dir() else entry.orig_filename):
        return f"is {fault}"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "is packed in a way that is not supported (stored and deflated are)"
    if entry.file_size > limits.free and entry.file_size > limits.ratio * max(1, entry.compress_size):
        return f"would unpack to {entry.file_size:,} bytes from {entry.compress_size:,}: a bomb"
    return ""


def _check_names(entries: Sequence[zipfile.ZipInfo], path: Path) -> None:
    """Refuse names that come twice, differ in case alone, or are a file and a folder at once."""
    kinds: dict[str, bool] = {}
    for entry in entries:
        name = entry.filename.rstrip("/")
        if name.casefold() in kinds:
            raise _refused(path, f"{name!r} comes twice, or differs from another in case alone")
        kinds[name.casefold()] = entry.is_dir()
    for name in kinds:
        for parent in Path(name).parents:
            if not kinds.get(parent.as_posix(), True):
                raise _refused(path, f"{parent.as_posix()!r} is a file and a folder at once")


def _check_places(entries: Sequence[zipfile.ZipInfo], directory: int, path: Path) -> None:
    """Refuse files that share bytes: a small archive could unpack to anything."""
    before, name = 0, ""
    for entry in sorted(entries, key=lambda item: item.header_offset):
        if entry.header_offset < before:
            raise _refused(path, f"{entry.filename!r} shares bytes with {name!r}: a bomb")
        before, name = entry.header_offset + _HEADER + entry.compress_size, entry.filename
    if before > directory:
        raise _refused(path, f"{name!r} runs into the list of files")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, path: Path) -> None:
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, target.open("xb") as sink:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > entry.file_size:
                raise _refused(path, f"{entry.filename!r} unpacks to more than it says")
            sink.write(block)
    if written != entry.file_size:
        raise _refused(path, f"{entry.filename!r} unpacks to less than it says")
