"""The manifest: every file of a bundle by digest, and the Merkle root of every observation."""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field, NonNegativeInt

from auditor.core.evidence import ObservationRecord
from auditor.core.record import Digest, Record, Text, parse_json
from auditor.errors import IntegrityError
from auditor.evidence.bundle import MANIFEST, OBSERVATIONS, SEAL
from auditor.evidence.shards import RESTRICTED, write_file
from auditor.evidence.table import RECORD_FILE

if TYPE_CHECKING:
    from pathlib import Path

MEDIA_TYPES = {
    ".cms": "application/cms",
    ".html": "text/html",
    ".json": "application/json",
    ".key": "application/octet-stream",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".pem": "application/x-pem-file",
    ".svg": "image/svg+xml",
    ".yaml": "application/yaml",
}
_OUTSIDE = {MANIFEST, SEAL}


class ManifestEntry(Record):
    """One file of a bundle."""

    path: Text
    """Path in the bundle, with forward slashes."""
    bytes: NonNegativeInt
    sha256: Digest
    media_type: Text
    restricted: bool
    """The file may be withheld from the shareable bundle."""


class Manifest(Record):
    """Every file of a bundle."""

    schema_version: int = Field(default=1, ge=1, le=1)
    entries: tuple[ManifestEntry, ...]
    """Sorted by path."""
    merkle_roots: dict[Digest, Digest]
    """Root over the records of each finished observation, by its id."""


class Contents(NamedTuple):
    """What lies in a bundle's folder; names are relative to it, with forward slashes."""

    files: dict[str, Path]
    """Regular files, by name, sorted."""
    folders: frozenset[str]
    others: tuple[str, ...]
    """Symbolic links, pipes, sockets and devices: nothing that belongs into a bundle, and never followed or opened."""


def contents_of(bundle: Path) -> Contents:
    """Return what lies in a bundle's folder, without opening anything and without following a link."""
    files: dict[str, Path] = {}
    folders: list[str] = []
    others: list[str] = []
    for path in bundle.rglob("*"):
        name = path.relative_to(bundle).as_posix()
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            files[name] = path
        elif stat.S_ISDIR(mode):
            folders.append(name)
        else:
            others.append(name)
    return Contents(dict(sorted(files.items())), frozenset(folders), tuple(sorted(others)))


def read_regular(path: Path) -> bytes:
    """Return the bytes of a regular file of a bundle; a link is not followed, a pipe or device never opened.

    Raises:
        IntegrityError: The file is missing, unreadable or not a regular file.
    """
    hint = "The bundle is damaged; take it again from its origin."
    try:
        if stat.S_ISREG(path.lstat().st_mode):
            return path.read_bytes()
    except OSError as error:
        msg = f"{path.name}: missing or unreadable ({error.strerror or error})"
        raise IntegrityError(msg, hint=hint) from error
    msg = f"{path.name}: not a regular file"
    raise IntegrityError(msg, hint=hint)


def write_manifest(bundle: Path) -> Manifest:
    """List every file of a bundle but the manifest and the seal, write the list and return it.

    Drafts that a killed run left behind are removed first, and folders that hold nothing.

    Raises:
        IntegrityError: Something lies in the folder that cannot be listed.
        StorageError: The manifest cannot be written.
    """
    found = contents_of(bundle)
    for name, path in found.files.items():
        if name.endswith(".draft"):
            path.unlink()
    for folder in sorted(found.folders, reverse=True):  # what lies in a folder comes before it
        if not any((bundle / folder).iterdir()):
            (bundle / folder).rmdir()
    listed = [name for name in found.files if not name.endswith(".draft") and name not in _OUTSIDE]
    wrong = [f"{name}: {fault}" for name in listed if (fault := misnamed(name))] + list(found.others)
    if wrong:
        msg = f"{bundle}: holds what cannot be part of a bundle: {', '.join(wrong[:5])}"
        raise IntegrityError(msg, hint="Only regular files with plain names can be sealed; remove the rest.")
    roots = {
        record.parent.name: ObservationRecord.from_plain(parse_json(record.read_bytes())).merkle_root
        for record in sorted((bundle / OBSERVATIONS).glob(f"*/{RECORD_FILE}"))
    }
    manifest = Manifest(entries=tuple(_entry(name, found.files[name]) for name in listed), merkle_roots=roots)
    write_file(bundle / MANIFEST, manifest.canonical())
    return manifest


def _entry(name: str, path: Path) -> ManifestEntry:
    digest, size = _digest(path)
    return ManifestEntry(
        path=name,
        bytes=size,
        sha256=digest,
        media_type=MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        restricted=_may_be_withheld(name),
    )


def _may_be_withheld(name: str) -> bool:
    return RESTRICTED in PurePosixPath(name).parts[:-1]


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), stream.tell()


def read_manifest(bundle: Path) -> Manifest:
    """Return the manifest of a bundle.

    Raises:
        IntegrityError: It is missing, or is not the one encoding of a manifest.
    """
    content = read_regular(bundle / MANIFEST)
    try:
        manifest = Manifest.from_plain(parse_json(content))
        canonical = manifest.canonical()
    except (ValueError, TypeError) as error:
        msg = f"{MANIFEST}: not a manifest ({str(error).splitlines()[0]})"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.") from error
    if canonical != content:
        msg = f"{MANIFEST}: not in canonical form (RFC 8785)"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")
    return manifest


class Completeness(NamedTuple):
    """How a bundle's files compare with its manifest."""

    problems: list[str]
    """What is missing, added, changed or misplaced; each begins with the name."""
    withheld: list[str]
    """Restricted files that are listed and not there."""


def check_manifest(bundle: Path, manifest: Manifest) -> Completeness:
    """Return what is wrong with the files of a bundle, and which restricted files are withheld.

    A file may be withheld only if it lies in a folder for restricted files. Nothing outside the bundle is ever read:
    names that leave it and symbolic links are wrong whatever they point to.
    """
    found = contents_of(bundle)
    problems = [f"{name}: not a regular file (a link, a pipe or a device)" for name in found.others]
    withheld: list[str] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # hashing leaves the interpreter to the other threads
        faults = list(pool.map(lambda entry: _fault(found.files.get(entry.path), entry), manifest.entries))
    for entry, fault in zip(manifest.entries, faults, strict=True):
        if not fault and entry.path not in found.files:
            withheld.append(entry.path)
        elif fault and entry.path not in found.others:
            problems.append(f"{entry.path}: {fault}")
    names = [entry.path for entry in manifest.entries]
    problems.extend(_order(names))
    listed = {*names, *_OUTSIDE}
    problems.extend(f"{name}: not listed" for name in found.files if name not in listed)
    needed = {parent.as_posix() for name in names for parent in PurePosixPath(name).parents}
    problems.extend(f"{name}/: not listed" for name in sorted(found.folders - needed))
    return Completeness(problems, withheld)


def _fault(path: Path | None, entry: ManifestEntry) -> str:
    return misnamed(entry.path) or _mislabelled(entry) or _differs(path, entry)


def misnamed(name: str) -> str:
    """Return why a name cannot be that of a file in a bundle on every system; nothing where it can."""
    parts = name.split("/")
    if not all(parts) or {".", ".."} & set(parts):
        return "not a path inside the bundle"
    if not name.isprintable() or set('\\:*?"<>|') & set(name) or unicodedata.normalize("NFC", name) != name:
        return "not a name that every system can hold"
    return ""


def _mislabelled(entry: ManifestEntry) -> str:
    if entry.path in _OUTSIDE:
        return "lists itself or the seal"
    if entry.restricted != _may_be_withheld(entry.path):
        return "restricted, or not, against its folder"
    return ""


def _differs(path: Path | None, entry: ManifestEntry) -> str:
    if path is None:
        return "" if entry.restricted else "missing"
    try:
        return "" if _digest(path) == (entry.sha256, entry.bytes) else "changed"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _order(names: list[str]) -> list[str]:
    problems = [] if names == sorted(names) else [f"{MANIFEST}: the entries are not sorted by path"]
    folded: set[str] = set()
    for name in names:
        if name.casefold() in folded:
            problems.append(f"{name}: listed twice, or differs from another in case alone")
        folded.add(name.casefold())
    return problems
