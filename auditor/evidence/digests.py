"""Digests of files, taken before any of them is opened for use."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from auditor.core.subject import Artifact
from auditor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def artifact(path: Path, base: Path) -> Artifact:
    """Return a file's name relative to `base`, size and SHA-256, read in blocks.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.tell()
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise DataError(msg, hint="Check the path and the permissions.") from error
    name = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name
    return Artifact(path=name, bytes=size, sha256=digest)


def artifacts(paths: Iterable[Path], base: Path) -> tuple[Artifact, ...]:
    """Return the artifacts of several files, in the order of their joint digest."""
    return tuple(sorted((artifact(path, base) for path in paths), key=_place))


def joint_digest(files: Sequence[Artifact]) -> str:
    """Return the SHA-256 over the raw file digests, in order of path: folder by folder, so that `a/b` comes before `a-b`.

    Source: the subject digest of OpenSSF model-signing 1.x (DSSE statement of a model directory).
    """
    joined = hashlib.sha256()
    for item in sorted(files, key=_place):
        joined.update(bytes.fromhex(item.sha256))
    return joined.hexdigest()


def _place(item: Artifact) -> tuple[str, ...]:
    """Return what files are sorted by: the names on the way to them, and not the path as text, in which `/` is a letter."""
    return PurePosixPath(item.path).parts
