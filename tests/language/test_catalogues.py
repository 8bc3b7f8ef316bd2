"""The catalogues: nothing that templates and report say is untranslated, no value is lost, and no verdict slips in."""

from __future__ import annotations

import re

import pytest

from auditor.assess import conclusion, prongs
from auditor.language import catalogue, work
from auditor.language.extraction import messages
from auditor.language.faults import faults, forbidden

FRAME = ("templates/", "auditor/report/", "auditor/assess/")
"""Where a text without a translation fails the test; what tests and policies say may follow."""


@pytest.fixture(scope="module")
def extracted():
    return messages()


def test_the_template_is_what_is_extracted_today(extracted):
    with catalogue.template().open("rb") as file:
        from babel.messages.pofile import read_po

        kept = {
            (catalogue.singular(item), item.id[1] if item.pluralizable else "") for item in read_po(file) if item.id
        }
    found = {(item.id, item.plural) for item in extracted}
    assert found == kept, "run `make languages`"


@pytest.mark.parametrize("language", catalogue.LANGUAGES)
def test_the_frame_of_the_report_is_translated(language):
    missing = [
        catalogue.singular(item)
        for item in catalogue.read(language)
        if item.id
        and not (all(item.string) if item.pluralizable else item.string)
        and any(name.startswith(FRAME) for name, _ in item.locations)
    ]
    assert not missing, f"{len(missing)} messages"


@pytest.mark.parametrize("language", catalogue.LANGUAGES)
def test_no_translation_loses_a_value_a_number_or_markup(language):
    assert not work.state(language).faulty


@pytest.mark.parametrize("language", catalogue.LANGUAGES)
def test_no_conclusion_says_what_no_test_can_show(language):
    said = catalogue.translations(language).texts
    rooms = [item for item in messages_of(conclusion) | messages_of(prongs) if item in said]
    assert len(rooms) > 20
    for message in rooms:
        assert not forbidden(said[message], language), said[message]


def messages_of(module) -> set[str]:
    name = f"auditor/assess/{module.__name__.rpartition('.')[2]}.py"
    return {item.id for item in messages() if any(where.startswith(name) for where in item.where)}


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("de", "Das Modell ist anonym."),
        ("de", "Das Modell ist DSGVO-konform."),
        ("de", "Alle Tests wurden bestanden."),
        ("de", "Die Daten sind sicher."),
        ("de", "Dies ist GARANTIERT."),
        ("fr", "Le modèle est anonyme."),
        ("fr", "Le modèle est conforme au RGPD."),
        ("fr", "Le modèle est certifié."),
        ("fr", "Les données sont anonymisées."),
        ("fr", "Il n'y a aucun risque : risque zéro."),
    ],
)
def test_words_of_a_verdict_are_found_in_each_language(language, said):
    assert forbidden(said, language)


@pytest.mark.parametrize(
    ("message", "said", "fault"),
    [
        ("{0} of {1}", "{0} von {0}", "placeholders"),
        ("{0} of {1}", "{0}", "placeholders"),
        ("%(n)s more", "%(m)s mehr", "placeholders"),
        ("<strong>%(n)s</strong>", "<b>%(n)s</b>", "markup"),
        ("at most 0.55", "höchstens 0,54", "numbers"),
        ("1,000 controls", "1,000 Kontrollen", "numbers"),
        ("a word", 'ein "Wort"', "quotation"),
        ("a word", " ein Wort", "white space"),
        ("95 % interval", "Intervall 95", "%"),
    ],
)
def test_what_is_wrong_with_a_translation_is_said(message, said, fault):
    assert any(fault in found for found in faults(message, said, "de"))


def test_a_translation_may_order_its_values_and_write_its_numbers():
    assert faults("{0} of {1} at 0.55, {2}", "von {1} sind es {0} bei 0,55, {2}", "de") == []
    assert faults("1,000 of {0}", "{0} sur 1\u202f000", "fr") == []
    assert faults("1,000 of {0}", "{0} sur 1\u00a0000", "fr") == []


@pytest.mark.parametrize("language", catalogue.LANGUAGES)
def test_every_plural_has_two_forms(language):
    for item in catalogue.read(language):
        if item.id and item.pluralizable and any(item.string):
            assert len(item.string) == 2
            assert all(item.string)
            assert set(re.findall(r"%\(\w+\)s", item.string[1])) == set(re.findall(r"%\(\w+\)s", item.id[1]))
