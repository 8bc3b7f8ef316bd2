"""The manifest: every file of a bundle by digest, and the Merkle root of every observation."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeInt

from auditor.core.evidence import ObservationRecord
from auditor.core.record import Digest, Record, Text, parse_json
from auditor.errors import IntegrityError
from auditor.evidence.bundle import MANIFEST, OBSERVATIONS, SEAL
from auditor.evidence.shards import RESTRICTED, write_file
from auditor.evidence.table import RECORD_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEDIA_TYPES = {
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
    merkle_roots: dict[str, Digest]
    """Root over the records of each finished observation, by its id."""


def _files(bundle: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(bundle.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(bundle).as_posix(), path


def write_manifest(bundle: Path) -> Manifest:
    """List every file of a bundle but the manifest and the seal, write the list and return it."""
    for name, path in list(_files(bundle)):
        if name.endswith(".draft"):
            path.unlink()
    entries = tuple(_entry(name, path) for name, path in _files(bundle) if name not in _OUTSIDE)
    roots = {
        record.parent.name: ObservationRecord.from_plain(parse_json(record.read_bytes())).merkle_root
        for record in sorted((bundle / OBSERVATIONS).glob(f"*/{RECORD_FILE}"))
    }
    manifest = Manifest(entries=entries, merkle_roots=roots)
    write_file(bundle / MANIFEST, manifest.canonical())
    return manifest


def _entry(name: str, path: Path) -> ManifestEntry:
    digest, size = _digest(path)
    return ManifestEntry(
        path=name,
        bytes=size,
        sha256=digest,
        media_type=MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        restricted=RESTRICTED in PurePosixPath(name).parts[:-1],
    )


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), stream.tell()


def read_manifest(bundle: Path) -> Manifest:
    """Return the manifest of a bundle.

    Raises:
        IntegrityError: It is missing, or is not the one encoding of a manifest.
    """
    path = bundle / MANIFEST
    try:
        content = path.read_bytes()
        manifest = Manifest.from_plain(parse_json(content))
    except (OSError, ValueError, TypeError) as error:
        msg = f"{path}: not a manifest ({str(error).splitlines()[0]})"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.") from error
    if manifest.canonical() != content:
        msg = f"{path}: not in canonical form (RFC 8785)"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")
    return manifest


def check_manifest(bundle: Path, manifest: Manifest) -> tuple[list[str], list[str]]:
    """Return what is wrong with the files of a bundle, and which restricted files are withheld.

    A file may be withheld only if the manifest calls it restricted. Nothing outside the bundle is ever read: paths that
    leave it and symbolic links are wrong whatever they point to.
    """
    problems: list[str] = []
    withheld: list[str] = []
    listed: set[str] = set()
    for entry in manifest.entries:
        pure = PurePosixPath(entry.path)
        if pure.is_absolute() or ".." in pure.parts or entry.path in listed or pure.as_posix() != entry.path:
            problems.append(f"{entry.path}: not a path of a bundle, or listed twice")
            continue
        listed.add(entry.path)
        path = bundle / entry.path
        if _through_link(bundle, path):
            problems.append(f"{entry.path}: a symbolic link")
        elif not path.is_file():
            (withheld if entry.restricted else problems).append(
                entry.path if entry.restricted else f"{entry.path}: missing"
            )
        elif _digest(path) != (entry.sha256, entry.bytes):
            problems.append(f"{entry.path}: changed")
    if [entry.path for entry in manifest.entries] != sorted(listed):
        problems.append("the entries are not sorted by path")
    problems.extend(f"{name}: not listed" for name, _ in _files(bundle) if name not in listed | _OUTSIDE)
    return problems, withheld


def _through_link(bundle: Path, path: Path) -> bool:
    while path != bundle:
        if path.is_symlink():
            return True
        path = path.parent
    return False
