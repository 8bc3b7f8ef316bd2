"""What other tools found, in the bundle of an audit: read before the first question, kept with its files, read again by whoever verifies.

No stage that measures, assesses or seals opens it: the report shows it in a section of its own, and that is all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.core.external import ExternalFile
from auditor.core.subject import Subject
from auditor.errors import IntegrityError, UsageError
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle, list_bytes
from auditor.evidence.manifest import read_manifest
from auditor.evidence.shards import RESTRICTED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditor.pipeline.before import Prepared

_FOLDER = f"{RESTRICTED}/external"
"""Files of other tools may quote training data: they lie where files may be withheld."""


@dataclass(frozen=True, slots=True)
class TakenIn:
    """A file of another tool: what was read of it, and its bytes."""

    found: ExternalFile
    content: bytes


def read_external(files: Sequence[Path], prepared: Prepared) -> tuple[TakenIn, ...]:
    """Return what files of other tools say about the audited model.

    Raises:
        DataError: A file cannot be read, fits no known format, or is about another model.
        UsageError: A file is given twice.
    """
    from auditor.exchange.external import external_file  # noqa: PLC0415  (heavy)

    taken: dict[str, TakenIn] = {}
    for path in files:
        found = external_file(path, prepared.opened.subject.model)
        if found.file.sha256 in taken:
            msg = f"{path}: has the same content as {taken[found.file.sha256].found.file.path}, which is given already"
            raise UsageError(msg, hint="Give each file of another tool once.")
        taken[found.file.sha256] = TakenIn(found, path.read_bytes())
    return tuple(taken.values())


def place_external(bundle: Bundle, taken: Sequence[TakenIn]) -> None:
    """Write what other tools found into a bundle that is begun; what one was begun with stays as it is.

    Raises:
        UsageError: The audit was begun with other external findings, or with none.
    """
    if not taken:
        return
    content = list_bytes([item.found for item in taken])
    begun_with = bundle.read(layout.EXTERNAL) if bundle.has(layout.EXTERNAL) else b""
    if begun_with != content and (begun_with or bundle.has(layout.ENVIRONMENT)):
        msg = f"{bundle.root}: the audit was begun with {'other' if begun_with else 'no'} external findings"
        hint = "Give the same files, choose another folder with --out, or put them beside the sealed bundle with `auditor import`."
        raise UsageError(msg, hint=hint)
    for number, item in enumerate(taken, start=1):
        bundle.write(_name(number, item.found), item.content)
    bundle.write(layout.EXTERNAL, content)


def external_in(bundle: Bundle) -> tuple[ExternalFile, ...]:
    """Return what other tools found, as it lies in a bundle; nothing where nothing was given.

    Raises:
        IntegrityError: It is damaged.
    """
    return bundle.read_list(layout.EXTERNAL, ExternalFile) if bundle.has(layout.EXTERNAL) else ()


def external_again(bundle: Bundle) -> dict[str, bytes]:
    """Return `external.json` as it is when the files of the other tools are read again; of a withheld one the digest alone is compared.

    Raises:
        DataError: A file does not fit its format.
        IntegrityError: The files are not those that `external.json` names.
    """
    from auditor.exchange.external import external_file  # noqa: PLC0415  (heavy)

    model = bundle.read_record(layout.SUBJECT, Subject).model
    listed = {entry.path: entry for entry in read_manifest(bundle.root).entries if entry.path.startswith(_FOLDER)}
    named = {_name(number, found): found for number, found in enumerate(external_in(bundle), start=1)}
    if listed.keys() != named.keys():
        apart = ", ".join(sorted(listed.keys() ^ named.keys()))
        msg = f"{layout.EXTERNAL} and the files of other tools in the bundle do not belong together: {apart}"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")
    made = []
    for name, found in named.items():
        if (listed[name].sha256, listed[name].bytes) != (found.file.sha256, found.file.bytes):
            msg = f"{layout.EXTERNAL} says that it was read from another file than {name}"
            raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")
        again = found
        if (bundle.root / name).exists():
            again = external_file(bundle.root / name, model, form=found.form, name=found.file.path)
        made.append(again)
    return {layout.EXTERNAL: list_bytes(made)} if made else {}


def _name(number: int, found: ExternalFile) -> str:
    return f"{_FOLDER}/{number}.{found.form}"
