"""The report says what its signature shows: by whom, with which certificate, and whether a time stamp was asked for."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from pathlib import Path

import pytest
from test_report import HOSTILE, source

from auditor.core.record import canonical_bytes, parse_json
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle
from auditor.pipeline.auditing import Occasion, _name_authority
from auditor.report.html import render_html
from auditor.report.signature import Signature

SELF = Signature("Ada", "lead auditor", "Example Audits", "AB:CD", "", "")
CHAIN = dataclasses.replace(SELF, issuer="CN=Trust Centre", role="", authority="http://tsa.example/tsr")


def section(signature: Signature | None) -> str:
    text = render_html(dataclasses.replace(source("plain"), signature=signature))[0]
    return re.sub(r"\s+", " ", text[text.index('<section id="seal">') : text.index('<div class="hand">')])


def test_a_self_signed_certificate_shows_integrity_alone():
    said = section(SELF)
    assert "Identity: not shown. The certificate is self-signed" in said
    assert "Time: not shown. No time stamp was asked for" in said
    assert all(f"<dd>{word}</dd>" in said for word in ("Ada", "lead auditor", "Example Audits"))
    assert "AB:CD" in said
    assert "issued by" not in said


def test_a_chain_names_who_vouches_and_a_time_stamp_who_is_asked():
    said = section(CHAIN)
    assert "issued by CN=Trust Centre" in said
    assert "time-stamp the signature (RFC 3161), at http://tsa.example/tsr" in said
    assert "<dt>Role</dt><dd>not said</dd>" in said
    assert "self-signed" not in said
    assert "not shown" not in said


def test_a_copy_without_a_key_claims_no_signature():
    said = section(None)
    assert "What the signature shows" not in said
    assert "Certificate (SHA-256)" not in said


@pytest.mark.parametrize("field", ["name", "role", "organisation", "issuer", "authority"])
def test_hostile_names_are_inert(field):
    said = section(dataclasses.replace(CHAIN, **{field: HOSTILE}))
    assert "<script" not in said
    assert "\u202e" not in said


def test_the_authority_is_written_down_before_it_is_asked_and_the_last_one_counts(tmp_path: Path):
    bundle = Bundle(tmp_path)
    bundle.write(layout.ENVIRONMENT, canonical_bytes({"command": "first", "created": "x"}))

    def asked(authority: str | None) -> dict:
        occasion = Occasion("Ada", f"with {authority}", dt.datetime(2026, 5, 4, tzinfo=dt.UTC))
        _name_authority(bundle, occasion, authority)
        return parse_json(bundle.read(layout.ENVIRONMENT))

    assert asked(None) == {"command": "first", "created": "x"}
    assert asked("http://a") == {"command": "with http://a", "created": "x", "time_stamp": "http://a"}
    assert asked("http://b")["time_stamp"] == "http://b"
    assert asked(None) == {"command": "with None", "created": "x"}
