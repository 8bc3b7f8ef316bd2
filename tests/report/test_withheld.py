"""The report says what it withholds: what, of how many records, how it is bound, and to whom it was encrypted."""

from __future__ import annotations

import dataclasses
import re

from test_report import HOSTILE, source

from auditor.core.annex import Annex
from auditor.core.evidence import Column, Observation, ObservationRecord
from auditor.report.html import render_html
from auditor.report.withheld import NOTHING, Withheld, withheld


def record(
    observer: str, *, items: int = 1234, subject: str = "audited", meaning: str = "The text."
) -> ObservationRecord:
    seen = Observation(
        observer=observer, observer_version=1, dataset="members", model_role="subject", model="ab" * 32, data=("1" * 64,),
        parameters={}, seed=1, subject=subject,
    )  # fmt: skip
    columns = (
        Column(name="id", type="string", unit="none", meaning="Id of the record."),
        Column(name="text", type="string", unit="none", meaning=meaning, restricted=True),
    )
    return ObservationRecord(
        observation=seen,
        id=seen.identity(),
        columns=columns,
        items=items,
        shards=1,
        calls=1,
        tokens=1,
        merkle_root="c" * 64,
    )


ANNEX = Annex(
    file="annex/1.cms", bytes=1_168_719, sha256="d" * 64, recipient="O=Land,CN=Authority", certificate="0a" * 32,
    cipher="AES-256-CBC, RSA-OAEP with SHA-256", files=25, exhibits=3,
)  # fmt: skip


def section(kept: Withheld, language: str = "en") -> str:
    text = render_html(dataclasses.replace(source("plain"), withheld=kept), language)[0]
    return re.sub(r"\s+", " ", text[text.index('<section id="seal">') :])


def test_what_is_withheld_is_named_with_its_records_and_how_it_is_bound():
    made = (
        record("token-scores"),
        record("continuations", items=7),
        record("token-scores", items=5, subject="memorizer"),
    )
    said = section(Withheld(made, 4, ()))
    assert "1,241 records in 2 observations" in said
    assert "1 further observations, of 5 records, are of made-up texts" in said
    assert "The secrets of 4 canaries are withheld, too." in said
    for word in ("HMAC-SHA256", "manifest.json", "redaction.json", "auditor disclose", made[0].id[:16]):
        assert word in said
    assert '<span class="mono">text</span>: The text.' in said
    assert made[2].id[:16] not in said
    assert "Id of the record." not in said
    assert "<strong>Annex.</strong>" not in said


def test_an_annex_is_named_with_recipient_certificate_and_digest():
    said = section(Withheld((record("token-scores"),), 0, (ANNEX,)))
    for word in ("annex/1.cms", "1,168,719 bytes", "O=Land,CN=Authority", "d" * 64, ":".join(["0A"] * 32), "RSA-OAEP"):
        assert word in said
    assert "25 files" in said
    assert "3 exhibits" in said
    assert "canaries are withheld" not in said


def test_its_numbers_are_in_the_readers_form():
    made = (record("token-scores", items=29_055), record("token-scores", items=22_752, subject="memorizer"))
    said = section(Withheld(made, 0, (ANNEX,)), "de")
    for number in ("29.055 Datensätze in 1", "von 22.752 Datensätzen", "1.168.719 Byte"):
        assert number in said


def test_where_nothing_is_withheld_nothing_is_said():
    assert 'id="withheld"' not in section(NOTHING)


def test_hostile_words_of_a_certificate_and_of_a_plug_in_are_inert():
    hostile = ANNEX.model_copy(update={"recipient": f"CN={HOSTILE}"})
    said = section(Withheld((record("x", meaning=HOSTILE),), 0, (hostile,)))
    assert "<script>alert" not in said
    assert "<img src=x" not in said


def test_rows_stand_in_one_order_whatever_the_order_of_the_files():
    made = [record("token-scores"), record("continuations"), record("token-scores", items=2)]
    assert withheld(Withheld(made, 0, ()))["rows"] == withheld(Withheld(made[1::-1] + made[2:], 0, ()))["rows"]
