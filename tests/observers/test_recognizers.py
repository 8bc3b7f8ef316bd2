"""Presidio beside the package's own patterns: more types, no language model, nothing from the network."""

from __future__ import annotations

import socket

import pytest
from opened import SEED, opened

from auditor.errors import UnsupportedError
from auditor.observers import recognizers
from auditor.observers.identifier_register import register
from auditor.observers.recognizers import KINDS, PRESIDIO, Patterns, Presidio, _parts, finder_of
from auditor.subjects.data import DataRecord
from auditor.testing.control_model import ControlModel


@pytest.fixture(scope="module")
def presidio():
    pytest.importorskip("presidio_analyzer")
    return Presidio()


def found(finder, text):
    return [(one.type, one.value) for one in finder.find(text)]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("my ssn is 536-22-8726, yes", "us_ssn", "536-22-8726"),
        ("NHS 943 476 5919", "uk_nhs", "943 476 5919"),
        ("nino AB123456C", "uk_nino", "AB123456C"),
        ("pesel 44051401359", "pl_pesel", "44051401359"),
        ("pay to 16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ now", "crypto_wallet", "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ"),
        ("call 020 7946 0958 in London", "phone", "020 7946 0958"),
    ],
)
def test_it_finds_what_the_patterns_do_not(presidio, text, kind, value):
    assert found(Patterns(), text) == []
    assert found(presidio, text) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "card 4532015112830366 and IBAN DE89370400440532013000 and ann@acme.de from 8.8.8.8",
        "call +49 30 901820 or (212) 555-2368",
        "DNI 54362315K",
    ],
)
def test_what_the_patterns_find_stays_as_it_is(presidio, text):
    assert found(presidio, text) == found(Patterns(), text) != []


@pytest.mark.parametrize(
    "text",
    [
        "a bare number 281265017",
        "version v1.2.3.4 of 12.3.2020 at 10:30",
        "10.1.2.3 and 192.168.0.1 and ann@example.com",
        "4111111111111112",
        "plain words and nothing else, not even a number of five digits 1234",
        "",
    ],
)
def test_it_passes_over_what_is_nobodys(presidio, text):
    assert found(presidio, text) == []


def test_it_reads_parts_alone_and_cuts_no_word():
    far = "word " * 400
    text = f"{far}call +49 30 901820 now {far}ann@acme.de {far}"
    parts = list(_parts(text))
    assert len(parts) == 2
    for (start, stop), value in zip(parts, ("+49 30 901820", "ann@acme.de"), strict=True):
        assert value in text[start:stop]
        assert stop - start < 250
        assert start == 0 or text[start - 1].isspace()
        assert stop == len(text) or text[stop].isspace()
    assert list(_parts(far)) == []
    assert list(_parts("8 8 8 8 8")) == [(0, 9)]


def test_a_long_text_is_found_in_as_a_short_one(presidio):
    far = "nothing is said of it here and there, " * 50
    text = f"{far}my ssn is 536-22-8726 {far}pesel 44051401359 {far}ann@acme.de"
    assert [one.type for one in presidio.find(text)] == ["us_ssn", "pl_pesel", "email"]
    assert all(text[one.start : one.stop] == one.value for one in presidio.find(text))


def test_nothing_is_asked_of_the_network(presidio, monkeypatch):
    def closed(*arguments, **named):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", closed)
    monkeypatch.setattr(socket.socket, "connect", closed)
    recognizers._analyzer.cache_clear()
    assert found(Presidio(), "mail zoë.ann@acme.co.uk or ssn 536-22-8726")[-1] == ("us_ssn", "536-22-8726")


def test_every_recognizer_has_a_type(presidio):
    assert set(recognizers._KIND_OF.values()) == set(PRESIDIO.values()) <= set(KINDS)


def test_a_register_by_presidio_is_another(presidio):
    records = [DataRecord(id=str(n), text=f"my ssn is 536-22-872{n}", cluster=str(n)) for n in range(3)]
    one = opened(ControlModel(()), records, records[:0] + [DataRecord(id="c", text="nothing", cluster="c")] * 3)
    assert [known.kind for known in register(one, SEED, None, "presidio").known] == ["us_ssn"] * 3
    assert register(one, SEED, None, "patterns").known == []


def test_without_presidio_the_extra_is_named(monkeypatch):
    recognizers._analyzer.cache_clear()

    def absent(name):
        raise ImportError(name, name=name)

    monkeypatch.setattr(recognizers.importlib, "import_module", absent)
    with pytest.raises(UnsupportedError, match="presidio_analyzer") as raised:
        finder_of("presidio")
    assert "memorization-auditor[personal-data]" in raised.value.hint
    assert isinstance(finder_of("patterns"), Patterns)
    recognizers._analyzer.cache_clear()
