"""One withheld record is shown to belong to the sealed bundle, and nothing else is shown."""

from __future__ import annotations

import shutil

import pytest
from small_audit import OBSERVATION
from test_commands import auditor

from auditor.core.record import canonical_bytes, parse_json
from auditor.errors import EXIT_INPUT, EXIT_INTEGRITY, IntegrityError, UsageError
from auditor.evidence import bundle as layout
from auditor.seal.disclosure import check_disclosure, disclose


@pytest.fixture
def withheld(sealed):
    """The bundle as it is handed on: without its restricted part."""
    shutil.rmtree(sealed.bundle / "restricted")
    shutil.rmtree(sealed.bundle / layout.OBSERVATIONS / OBSERVATION.identity() / "restricted")
    return sealed.bundle


@pytest.mark.parametrize("row", range(5))
def test_every_record_can_be_shown_alone(origin, withheld, row):
    content = disclose(origin.bundle, OBSERVATION.identity()[:8], row)
    found = check_disclosure(withheld, content)
    assert (found.observation, found.row, found.records) == (OBSERVATION.identity(), row, 5)
    assert found.public == {"id": f"r{row}", "loss": 1.5 + row}
    assert found.restricted == {"text": f"the secret of record {row}"}
    others = [f"the secret of record {other}".encode() for other in range(5) if other != row]
    assert not any(other in content for other in others)
    assert (origin.bundle / "restricted/commitment.key").read_bytes().hex().encode() not in content


def test_every_changed_byte_is_caught(origin, withheld):
    content = disclose(origin.bundle, OBSERVATION.identity(), 3)
    survived = []
    for place in range(len(content)):
        changed = content[:place] + bytes([content[place] ^ 1 << place % 7]) + content[place + 1 :]
        try:
            check_disclosure(withheld, changed)
        except IntegrityError:
            continue
        survived.append(place)
    assert survived == []


def test_another_text_number_or_bundle_is_not_believed(origin, withheld):
    plain = parse_json(disclose(origin.bundle, OBSERVATION.identity(), 3))
    other = parse_json(disclose(origin.bundle, OBSERVATION.identity(), 2))
    for change, said in (
        ({"restricted": other["restricted"]}, "not those that the record was bound to"),
        ({"key": other["key"]}, "not those that the record was bound to"),
        ({"public": other["public"]}, "does not lead to the root"),
        ({"row": 2}, "does not lead to the root"),
        ({"count": 6}, "does not lead to the root"),
        ({"proof": other["proof"]}, "does not lead to the root"),
        ({"observation": "0" * 64}, "has no observation"),
        ({"public": "AAAA"}, "not a disclosure"),
        ({"proof": [1]}, "not a disclosure"),
        ({"schema_version": 2}, "not a disclosure"),
    ):
        with pytest.raises(IntegrityError, match=said):
            check_disclosure(withheld, canonical_bytes(plain | change))
    for content in (b"", b"[]", b"{}", b"[" * 10_000):
        with pytest.raises(IntegrityError, match="not a disclosure"):
            check_disclosure(withheld, content)


def test_what_cannot_be_disclosed_is_named(origin, withheld):
    with pytest.raises(UsageError, match="has no record 5"):
        disclose(origin.bundle, OBSERVATION.identity(), 5)
    with pytest.raises(UsageError, match="0 observations"):
        disclose(origin.bundle, "nothing", 0)
    with pytest.raises(IntegrityError, match="withheld"):
        disclose(withheld, OBSERVATION.identity(), 0)


def test_the_commands(origin, withheld, tmp_path):
    record = tmp_path / "record.json"  # `auditor disclose` itself needs a whole audit: see end_to_end/test_redaction.py
    record.write_bytes(disclose(origin.bundle, OBSERVATION.identity()[:8], 1))
    shown = auditor("verify", withheld, "--trust", origin.keys.certificate, "--record", record)
    assert "(10) holds  disclosed record: record 1 of the 5" in shown.stdout
    record.write_bytes(record.read_bytes().replace(b'"row":1', b'"row":2'))
    shown = auditor("verify", withheld, "--trust", origin.keys.certificate, "--record", record)
    assert shown.returncode == EXIT_INTEGRITY
    assert "(10) FAILS  disclosed record: the record does not lead" in shown.stdout
    alone = auditor("verify", origin.bundle / layout.PDF, "--record", record)
    assert alone.returncode == EXIT_INPUT
