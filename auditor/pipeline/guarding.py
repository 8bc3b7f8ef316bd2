"""Before anything is shared: the leak guard over a bundle, over what is made of it, and over any file somebody means to send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.core.redaction import Redaction
from auditor.errors import UsageError
from auditor.evidence import bundle as layout
from auditor.evidence.manifest import contents_of
from auditor.evidence.shards import RESTRICTED
from auditor.pipeline.again import policy_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from auditor.evidence.bundle import Bundle
    from auditor.redact.guard import Artefact, Guard, Look

_MADE_LATER = {layout.MANIFEST, layout.SEAL, layout.REDACTION}
"""Digests, names of files and counts: written when all else was scanned."""


def guard_before_sealing(bundle: Bundle, made: Mapping[str, bytes]) -> Redaction:
    """Scan everything in a bundle that is not restricted, with what is about to be written into it, and write down what was scanned.

    Args:
        bundle: The bundle, not sealed.
        made: What is about to be written, by name.

    Raises:
        LeakError: Something restricted was found; nothing was written.
    """
    redaction = _guard(bundle).check(_shareable(bundle, made))
    bundle.write_record(layout.REDACTION, redaction)
    return redaction


def guard_made(bundle: Bundle, made: Mapping[str, bytes], known: Iterable[str] = ()) -> bool:
    """Return whether what was made of a bundle could be scanned: without the restricted part there is nothing to compare with.

    Args:
        bundle: The bundle.
        made: What is about to be written elsewhere, by name.
        known: Texts that whoever receives it has anyway.

    Raises:
        LeakError: Something restricted was found.
    """
    from auditor.redact.guard import Artefact  # noqa: PLC0415  (heavy)

    if not holds_restricted(bundle):
        return False
    _guard(bundle, known).check(Artefact(name, content) for name, content in made.items())
    return True


def guarded_disclosure(bundle: Bundle, observation: str, row: int) -> bytes:
    """Return the disclosure of one record, after it was found to show nothing of any other one.

    Args:
        bundle: The whole bundle, with its restricted part.
        observation: Id of the observation, or the beginning of it.
        row: Number of the record in it, from 0.

    Raises:
        UsageError: There is no such observation or record, or more than one observation begins so.
        IntegrityError: The restricted part was withheld or is damaged.
        LeakError: The disclosure would show another record.
    """
    from auditor.seal.disclosure import check_disclosure, disclose  # noqa: PLC0415  (heavy)

    content = disclose(bundle.root, observation, row)
    shown = check_disclosure(bundle.root, content).restricted.values()
    texts = [value for value in shown if isinstance(value, str)]
    numbers = ["".join(map(str, value)) for value in shown if isinstance(value, list)]
    guard_made(bundle, {"disclosure": content}, known=[*texts, *numbers])
    return content


def look_at(bundle: Bundle, files: Sequence[Path]) -> Look:
    """Return what the guard finds in files, or in the bundle's own shareable files where none are given.

    Args:
        bundle: The whole bundle, with its restricted part.
        files: Files and folders.

    Raises:
        UsageError: The restricted part is not there, or a file is not.
    """
    from auditor.redact.guard import Artefact  # noqa: PLC0415  (heavy)

    if not holds_restricted(bundle):
        msg = f"{bundle.root}: the restricted part is not here, so there is nothing to compare with"
        raise UsageError(msg, hint="Whoever ran the audit holds the whole bundle; the guard runs there.")
    if not files:
        return _guard(bundle).look(_shareable(bundle, {}))
    found: list[Artefact] = []
    for path in files:
        if not path.exists():
            msg = f"{path}: there is no such file"
            raise UsageError(msg, hint="Give files or folders that exist.")
        inside = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
        found += [Artefact(str(item), item) for item in inside]
    return _guard(bundle).look(found)


def holds_restricted(bundle: Bundle) -> bool:
    """Return whether a bundle has its restricted part: at least one file of it besides the key."""
    from auditor.redact.protected import restricted_files  # noqa: PLC0415  (heavy)

    return any(path.suffix != ".key" for path in restricted_files(bundle.root))


def _guard(bundle: Bundle, known: Iterable[str] = ()) -> Guard:
    from auditor.redact.guard import Guard  # noqa: PLC0415  (heavy)

    return Guard(bundle.root, pictures=policy_of(bundle).exhibits != "full", known=known)


def _shareable(bundle: Bundle, made: Mapping[str, bytes]) -> Iterable[Artefact]:
    """Yield every file that is not restricted, and the names of all files: those of restricted ones stand in the manifest."""
    from auditor.redact.guard import Artefact  # noqa: PLC0415  (heavy)

    files = contents_of(bundle.root).files
    yield Artefact("(names of files)", "\n".join(sorted(files)).encode())
    for name, path in files.items():
        # An annex is encrypted: what was written is the cipher's, and nothing else ever lies there.
        shared = RESTRICTED not in name.split("/")[:-1] and not name.startswith(f"{layout.ANNEX}/")
        if shared and name not in made and name not in _MADE_LATER:
            yield Artefact(name, path)
    for name, content in made.items():
        yield Artefact(name, content)
