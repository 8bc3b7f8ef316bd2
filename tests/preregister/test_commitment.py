"""The signed commitment: whose it is, that nothing in it was changed, and that it is about what it spells out."""

from __future__ import annotations

import base64
import datetime as dt

import pytest
from authority import make_authority
from commitments import MADE, digest, preregistration
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.core.record import canonical_bytes, parse_json
from auditor.errors import IntegrityError, UsageError
from auditor.evidence.bundle import Bundle
from auditor.pipeline.preregistering import Preregistered, check_before
from auditor.seal.dsse import sign
from auditor.seal.keys import load_signer
from auditor.seal.new_key import generate_key
from auditor.seal.preregistration import PREDICATE_TYPE, open_preregistration, sign_preregistration
from auditor.seal.statement import PAYLOAD_TYPE, STATEMENT_TYPE

NOW = dt.datetime(2026, 3, 1, 9, 0, tzinfo=dt.UTC)
LATER = dt.datetime(2026, 3, 1, 10, 0, tzinfo=dt.UTC)


def signer_in(folder):
    files = generate_key(folder, "Test auditor", now=NOW)
    return load_signer(files.key, files.certificate, None, now=NOW)


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return signer_in(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="module")
def envelope(signer):
    return sign_preregistration(preregistration(), signer)


def test_what_was_signed_is_what_is_read(signer, envelope):
    found = open_preregistration(envelope, signer.certificate)
    assert found.preregistration == preregistration()
    assert (found.created, found.latest, found.stamp) == (NOW, NOW, None)
    assert "no time stamp" in found.described()
    statement = parse_json(base64.b64decode(parse_json(envelope)["payload"]))
    assert statement["predicateType"] == PREDICATE_TYPE
    assert {item["name"]: item["digest"]["sha256"] for item in statement["subject"]} == {
        "plan.json": MADE.plan,
        "policy.yaml": MADE.policy.files[0],
        "model": MADE.subject.model,
    }


@pytest.mark.parametrize("left", ["observations/ab/shard-00000.parquet", "exchanges/subject/log.jsonl"])
def test_evidence_of_unknown_age_is_no_evidence_after_a_commitment(signer, envelope, tmp_path, left):
    """Observations of an audit that was looked at, copied into a new folder, would be taken for new ones: none is made again."""
    given = Preregistered(envelope, None, open_preregistration(envelope, signer.certificate), b"")
    bundle = Bundle(tmp_path / "bundle")
    bundle.prepare()
    check_before(bundle, given, LATER)
    path = bundle.root / left
    path.parent.mkdir(parents=True)
    path.write_bytes(b"seen before")
    with pytest.raises(UsageError, match="older than the commitment"):
        check_before(bundle, given, LATER)
    check_before(bundle, None, LATER)
    bundle.write("environment.json", canonical_bytes({"created": LATER.isoformat()}))
    check_before(bundle, given, LATER)


def test_the_time_stamp_counts_where_it_is_later(signer, envelope):
    authority = make_authority()
    found = open_preregistration(
        envelope, signer.certificate, authority.stamp(envelope, LATER), authority=authority.root
    )
    assert (found.latest, found.stamp.trusted) == (LATER, True)
    early = open_preregistration(envelope, signer.certificate, authority.stamp(envelope, NOW - dt.timedelta(days=1)))
    assert (early.latest, early.stamp.trusted) == (NOW, False)


def test_a_time_stamp_of_another_commitment_is_refused(signer, envelope):
    other = sign_preregistration(preregistration(created="2026-03-01T09:00:01+00:00"), signer)
    with pytest.raises(IntegrityError, match="over other bytes"):
        open_preregistration(envelope, signer.certificate, make_authority().stamp(other, LATER))


def test_another_key_is_refused(signer, envelope, tmp_path):
    with pytest.raises(IntegrityError, match="not signed with the key"):
        open_preregistration(envelope, signer_in(tmp_path).certificate)


def test_a_seal_is_no_commitment(signer):
    statement = {"_type": STATEMENT_TYPE, "subject": [], "predicateType": "urn:other", "predicate": {}}
    with pytest.raises(IntegrityError, match="does not know"):
        open_preregistration(sign(canonical_bytes(statement), PAYLOAD_TYPE, signer), signer.certificate)


def changed(signer, **fields):
    plain = parse_json(base64.b64decode(parse_json(sign_preregistration(preregistration(), signer))["payload"]))
    plain["predicate"] |= fields
    return sign(canonical_bytes(plain), PAYLOAD_TYPE, signer)


def test_a_commitment_about_something_else_than_it_spells_out_is_refused(signer):
    other = MADE.model_copy(update={"plan": digest("another plan")}).plain()
    with pytest.raises(IntegrityError, match="something else"):
        open_preregistration(changed(signer, commitment=other), signer.certificate)


@pytest.mark.parametrize(
    "fields",
    [
        {"created": "yesterday"},
        {"created": "2026-03-01T09:00:00"},
        {"clock": "trusted"},
        {"more": 1},
        {"commitment": {}},
    ],
)
def test_what_does_not_fit_the_schema_is_refused(signer, fields):
    with pytest.raises(IntegrityError, match="does not fit its schema"):
        open_preregistration(changed(signer, **fields), signer.certificate)


def test_a_commitment_outside_the_dates_of_the_certificate_is_refused(signer):
    late = sign_preregistration(preregistration(created="2060-01-01T00:00:00+00:00"), signer)
    with pytest.raises(IntegrityError, match="expired"):
        open_preregistration(late, signer.certificate)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(data=st.data())
def test_no_changed_byte_goes_unseen(signer, envelope, data):
    place = data.draw(st.integers(0, len(envelope) - 1))
    other = bytearray(envelope)
    other[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError):
        open_preregistration(bytes(other), signer.certificate)
