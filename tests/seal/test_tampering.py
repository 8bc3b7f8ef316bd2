"""Thousands of changes to a sealed bundle, each undone again: steps 1 to 4 find every one."""

from __future__ import annotations

import itertools
import random
import shutil

import pytest
from small_audit import NOW, audited, printed, seal

from auditor.evidence import bundle as layout
from auditor.seal.pades import sign_pdf
from auditor.seal.verify import verify_seal

MUTATIONS = 2000


def holds(sealed) -> bool:
    return all(step.held for step in verify_seal(sealed.bundle, sealed.signer.certificate))


def files_of(bundle):
    return sorted(path for path in bundle.rglob("*") if path.is_file())


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return the content with one byte changed to any other, dropped, doubled or put in."""
    place = rng.randrange(len(content))
    kind = rng.choice(["change", "drop", "double", "insert", "cut"])
    if kind == "change":
        return content[:place] + bytes([(content[place] + rng.randrange(1, 256)) % 256]) + content[place + 1 :]
    if kind == "drop":
        return content[:place] + content[place + 1 :]
    if kind == "double":
        return content[:place] + content[place : place + 1] * 2 + content[place + 1 :]
    if kind == "insert":
        return content[:place] + rng.randbytes(1) + content[place:]
    return content[:place]


def test_thousands_of_small_changes(sealed):
    rng = random.Random(20260504)
    contents = {path: path.read_bytes() for path in files_of(sealed.bundle)}
    paths, survived = list(contents), []
    for _ in range(MUTATIONS):
        path = rng.choice(paths)
        changed = mutated(contents[path], rng)
        if changed == contents[path]:
            continue
        path.write_bytes(changed)
        if holds(sealed):
            survived.append((path.name, len(changed)))
        path.write_bytes(contents[path])
    assert survived == []
    assert holds(sealed)


def test_every_two_files_swapped(sealed):
    contents = {path: path.read_bytes() for path in files_of(sealed.bundle)}
    survived = []
    for one, other in itertools.combinations(contents, 2):
        one.write_bytes(contents[other])
        other.write_bytes(contents[one])
        if holds(sealed):
            survived.append((one.name, other.name))
        one.write_bytes(contents[one])
        other.write_bytes(contents[other])
    assert survived == []
    assert holds(sealed)


@pytest.mark.parametrize("name", ["new.json", ".hidden", "report.html.draft", "FINDINGS.JSON", "restricted/more.key"])
def test_a_file_added_in_any_folder(sealed, name):
    folders = [sealed.bundle, *(path for path in sealed.bundle.rglob("*") if path.is_dir())]
    for folder in folders:
        path = folder / name
        made = not path.parent.exists()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        assert not holds(sealed), path
        path.unlink()
        if made:
            path.parent.rmdir()
    assert holds(sealed)


def test_a_report_signed_again_or_taken_from_another_audit(sealed, tmp_path):
    """By the same key, so that the PDF alone holds: the seal is over the first one."""
    import datetime as dt

    again = sign_pdf(
        printed(sealed.bundle), sealed.signer, signing_time=NOW + dt.timedelta(hours=1), reason="r", name="n"
    )
    (sealed.bundle / layout.PDF).write_bytes(again)
    assert not holds(sealed)
    other = tmp_path / "other"
    audited(other)
    (other / layout.ENVIRONMENT).write_bytes(b'{"created":"2026-05-04T12:00:00+00:00","other":true}')
    seal(other, sealed.signer)
    names = [layout.PDF, layout.SEAL, layout.MANIFEST]
    for count in range(1, len(names) + 1):
        for chosen in itertools.combinations(names, count):
            copy = tmp_path / "copy"
            shutil.copytree(other, copy)
            for name in chosen:
                shutil.copy(sealed.bundle / name, copy / name)
            assert not all(step.held for step in verify_seal(copy, sealed.signer.certificate)), chosen
            shutil.rmtree(copy)
