"""The annex: everything that a bundle withholds, in one file that only its recipient can open.

Inside is a zip file. What lies in its folder `bundle` belongs over the shared bundle, path by path: after that nothing is withheld any
more, and every file is held against the signed manifest by whoever verifies. Beside it stand the exhibits of the report, not masked.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import pyarrow.parquet as pq
from cryptography.hazmat.primitives import hashes

from auditor.core.annex import Annex
from auditor.core.finding import Finding
from auditor.core.record import canonical_bytes
from auditor.errors import IntegrityError, UsageError
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle
from auditor.evidence.shards import RESTRICTED, storage_error
from auditor.evidence.table import shard_name
from auditor.seal.envelope import EnvelopeWriter, check_recipient

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from cryptography import x509

LARGEST = 1 << 30
"""Bytes of restricted files that one annex holds at most: `openssl cms` reads an envelope into memory as a whole."""
INSIDE = "bundle"
"""Folder of the annex whose files belong over the shared bundle."""
_MOMENT = (1980, 1, 1, 0, 0, 0)
_BLOCK = 1 << 20

_READ_ME = """\
This is the restricted part of a memorization audit by memorization-auditor. It holds personal data: texts and images that a model was
trained on or gave back, and the key of the commitments to them. Only the holder of one key can open it; keep what you unpack as safe.

bundle/         the files that the shared bundle withholds. Copy them over it, path by path:
                  cp -r bundle/. SHARED-BUNDLE/
                Then `auditor verify SHARED-BUNDLE --trust SIGNER.crt.pem` says "nothing withheld", and holds each of them against the
                digest in the signed manifest. Without this tool: sha256sum, and manifest.json (docs/annex.md).
exhibits.jsonl  the records that the report shows masked, as they are: one line each, with observation and row
exhibits/       pictures of these records
contents.json   every file of this annex by digest, and the audit that it belongs to
"""


class Recipient(NamedTuple):
    """Whom an annex is for."""

    certificate: x509.Certificate
    cipher: str

    @property
    def subject(self) -> str:
        """Whom the certificate names."""
        return self.certificate.subject.rfc4514_string() or f"serial number {self.certificate.serial_number:x}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hexadecimal."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


def read_recipient(path: Path, *, now: dt.datetime) -> Recipient:
    """Return the recipient that a certificate names.

    Args:
        path: The certificate (PEM).
        now: The time, UTC.

    Raises:
        KeyMaterialError: It cannot be read, or nothing can be encrypted to it.
    """
    from auditor.seal.keys import read_certificate  # noqa: PLC0415

    certificate = read_certificate(path)
    return Recipient(certificate, check_recipient(certificate, str(path), now=now))


def write_annexes(bundle: Bundle, recipients: Sequence[Recipient]) -> tuple[Annex, ...]:
    """Write an annex for each recipient into a bundle that is about to be sealed, and return what is said of them.

    Annexes of an earlier attempt are removed.

    Raises:
        UsageError: There is nothing to put into it, or too much.
        StorageError: It cannot be written.
    """
    folder = bundle.root / layout.ANNEX
    for old in [*folder.glob("*.cms"), *folder.glob("*.draft"), bundle.root / layout.ANNEXES]:
        old.unlink(missing_ok=True)
    made = []
    for number, recipient in enumerate(recipients, start=1):
        name = f"{layout.ANNEX}/{number}.cms"
        made.append(write_annex(bundle, recipient, bundle.root / name, name))
    if made:
        bundle.write(layout.ANNEXES, canonical_bytes([annex.plain() for annex in made]))
    return tuple(made)


def write_annex(bundle: Bundle, recipient: Recipient, out: Path, name: str) -> Annex:
    """Write the annex of a bundle for one recipient, and return what is said of it.

    Args:
        bundle: The whole bundle, with its restricted part.
        recipient: Whom it is for.
        out: The file to write; nothing is ever written in the clear.
        name: Its name in what is said of it.

    Raises:
        UsageError: There is nothing to put into it, or too much.
        StorageError: It cannot be written.
    """
    files = _withheld(bundle.root)
    draft = out.with_name(out.name + ".draft")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as stream:
            envelope = EnvelopeWriter(stream, recipient.certificate)
            exhibits = _fill(bundle, files, envelope)  # type: ignore[arg-type]  # what a zip file needs of a stream, it has
            envelope.close()
        draft.replace(out)
    except OSError as error:
        raise storage_error(out, error) from error
    with out.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Annex(
        file=name,
        bytes=out.stat().st_size,
        sha256=digest,
        recipient=recipient.subject,
        certificate=recipient.fingerprint,
        cipher=recipient.cipher,
        files=len(files),
        exhibits=exhibits,
    )


def _withheld(root: Path) -> list[Path]:
    files = sorted(
        path
        for path in root.rglob("*")
        if RESTRICTED in path.relative_to(root).parts[:-1] and path.is_file() and path.suffix != ".draft"
    )
    size = sum(path.stat().st_size for path in files)
    if not any(path.suffix != ".key" for path in files):
        msg = f"{root}: there is nothing to put into an annex: the restricted part was withheld, or the audit has none"
        raise UsageError(msg, hint="Make the annex where the whole bundle lies.")
    if size > LARGEST:
        msg = f"{root}: the restricted part has {size:,} bytes; an annex holds {LARGEST:,} at most"
        hint = "openssl reads it as a whole. Hand the restricted folders over on an encrypted disk: the manifest lists each file."
        raise UsageError(msg, hint=hint)
    return files


def _fill(bundle: Bundle, files: Sequence[Path], sink: BinaryIO) -> int:
    """Write the zip file, and return how many exhibits are in it."""
    listed: list[dict[str, Any]] = []
    exhibits = 0
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _put(archive, "READ-ME.txt", _READ_ME.encode(), listed)
        for path in files:
            _copy(archive, f"{INSIDE}/{path.relative_to(bundle.root).as_posix()}", path, listed)
        lines = []
        for row, pictures in full_exhibits(bundle):
            exhibits += 1
            for place, content in enumerate(pictures, start=1):
                name = f"exhibits/{exhibits}-{place}.png"
                row.setdefault("pictures", []).append(name)
                _put(archive, name, content, listed)
            lines.append(json.dumps(row, ensure_ascii=False, sort_keys=True))
        _put(archive, "exhibits.jsonl", "".join(f"{line}\n" for line in lines).encode(), listed)
        _put(archive, "contents.json", canonical_bytes(_contents(bundle, listed)), [])
    return exhibits


def _contents(bundle: Bundle, listed: list[dict[str, Any]]) -> dict[str, Any]:
    digests = {
        name: hashlib.sha256(bundle.read(name)).hexdigest()
        for name in (layout.PLAN, layout.FINDINGS, layout.MANIFEST)
        if bundle.has(name) and (name != layout.MANIFEST or bundle.has(layout.SEAL))
    }
    return {"schema_version": 1, "audit": digests, "files": listed}


def _put(archive: zipfile.ZipFile, name: str, content: bytes, listed: list[dict[str, Any]]) -> None:
    archive.writestr(_entry(name), content)
    listed.append({"path": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})


def _copy(archive: zipfile.ZipFile, name: str, path: Path, listed: list[dict[str, Any]]) -> None:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as source, archive.open(_entry(name), "w") as sink:
        while block := source.read(_BLOCK):
            digest.update(block)
            size += len(block)
            sink.write(block)
    listed.append({"path": name, "bytes": size, "sha256": digest.hexdigest()})


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _MOMENT)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o600 << 16
    return entry


def full_exhibits(bundle: Bundle) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    """Yield each exhibit of the findings with the restricted columns of its record, and its pictures apart."""
    if not bundle.has(layout.FINDINGS):
        return
    for finding in bundle.read_list(layout.FINDINGS, Finding):
        if finding.measurement is None:
            continue
        for exhibit in finding.measurement.exhibits:
            for observation, row, kept in _rows_of(bundle, finding.measurement.observations, exhibit.record):
                texts = {name: value for name, value in kept.items() if not isinstance(value, bytes)}
                said = {
                    "test": finding.test,
                    "record": exhibit.record,
                    "excerpt": exhibit.excerpt,
                    "note": exhibit.note,
                }
                pictures = [value for value in kept.values() if isinstance(value, bytes) and value]
                yield {**said, "observation": observation, "row": row, "restricted": texts}, pictures


def _rows_of(bundle: Bundle, observations: Sequence[str], record: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield where a record stands in some observations, and its restricted columns."""
    for identity in observations:
        folder = bundle.observations / identity
        before = 0
        for number in range(len(list(folder.glob("shard-*.parquet")))):
            public, kept = folder / shard_name(number), folder / RESTRICTED / shard_name(number)
            count = pq.read_metadata(public).num_rows
            if kept.exists() and "id" in pq.read_schema(public).names:
                ids = pq.read_table(public, columns=["id"]).column("id").to_pylist()
                for place in (place for place, name in enumerate(ids) if name == record):
                    yield identity, before + place, pq.read_table(kept).slice(place, 1).to_pylist()[0]
            before += count


def annexes_in(bundle: Path) -> tuple[Annex, ...]:
    """Return what a bundle says of its annexes, after each was found to be the file that is named.

    Raises:
        IntegrityError: What is said does not fit the files.
    """
    there = {path.relative_to(bundle).as_posix() for path in (bundle / layout.ANNEX).glob("*")}
    if not there and not (bundle / layout.ANNEXES).exists():
        return ()
    said = Bundle(bundle).read_list(layout.ANNEXES, Annex)
    if {annex.file for annex in said} != there or len(said) != len(there):
        msg = f"{layout.ANNEXES}: names other files than lie in {layout.ANNEX}"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")
    for annex in said:
        with (bundle / annex.file).open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != annex.sha256:
                msg = f"{annex.file}: not the file that {layout.ANNEXES} names"
                raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")
    return said
