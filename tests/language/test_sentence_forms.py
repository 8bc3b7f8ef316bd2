"""Texts said by their form: every value arrives, nothing is taken for something else, and what is unknown stays English."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.language.catalogue import LANGUAGES, translations
from auditor.language.forms import VERBATIM, Forms, form_of, values_of
from auditor.language.numbers import numbers_in, rewritten
from auditor.language.reader import reader

PLACE = re.compile(r"\{(\d+)\}")
BESIDE = re.compile(r"\} ?\{")
KNOWN = {
    "Of {0} records {1} came out: {2}.": "{1} von {0} Datensätzen kamen heraus: {2}.",
    "{0} ({1} % interval {2} to {3})": "{0} ({1}-%-Intervall {2} bis {3})",
    "{0} shows more: {1}": "{0} zeigt mehr: {1}",
    "control {0}": "Kontrolle {0}",
    "{0} members": "{0} Mitglieder",
    "nothing": "nichts",
    "A control failed.": "Eine Kontrolle hat versagt.",
    "bit": "Bit",
    "and": "und",
    "model inversion": "Modellinversion",
    "effect of limits, of any kind": "Wirkung von Grenzen jeder Art",
    "there is no test of it here": "hier gibt es keinen Test dafür",
}


@pytest.fixture(scope="module")
def known() -> Forms:
    return Forms(KNOWN, "de")


def said(forms, text: str) -> str:
    return "".join(f"<{part.text}>" if part.english else part.text for part in forms.say(text))


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("nothing", "nichts"),
        ("12,345.5 %", "12.345,5\u00a0%"),
        ("[0.35, 1.41\u00a0bit]", "[0,35; 1,41\u00a0Bit]"),
        ("[0.35, 1.41\u00a0%]", "[0,35; 1,41\u00a0%]"),
        ("1,234 members", "1.234 Mitglieder"),
        ("Of 1,000 records 3 came out: 0.30 %.", "3 von 1.000 Datensätzen kamen heraus: 0,30\u00a0%."),
        (
            "Of 10 records 3 came out: 30.0 % (95 % interval 6.67 % to 65.2 %).",
            "3 von 10 Datensätzen kamen heraus: 30,0\u00a0% (95-%-Intervall 6,67\u00a0% bis 65,2\u00a0%).",
        ),
        (
            "language/x shows more: Of 10 records 3 came out: 0.5.",
            "language/x zeigt mehr: 3 von 10 Datensätzen kamen heraus: 0,5.",
        ),
        (
            "A control failed. Of 10 records 3 came out: 0.5.",
            "Eine Kontrolle hat versagt. 3 von 10 Datensätzen kamen heraus: 0,5.",
        ),
        (
            "control 0 % (95 % interval 0 % to 9.25 %); 5.00 %",
            "Kontrolle 0\u00a0% (95-%-Intervall 0\u00a0% bis 9,25\u00a0%); 5,00\u00a0%",
        ),
        ("model inversion (there is no test of it here)", "Modellinversion (hier gibt es keinen Test dafür)"),
        (
            "language/works, effect of limits, of any kind and model inversion",
            "language/works, Wirkung von Grenzen jeder Art und Modellinversion",
        ),
        ("A control failed. Nobody knows these words.", "Eine Kontrolle hat versagt. <Nobody knows these words.>"),
        ("Nobody knows 1,000 of these words.", "<Nobody knows 1,000 of these words.>"),
        ("note-00278", "note-00278"),
        ("version 1.2.3", "version 1.2.3"),
        ("2026-11-21", "2026-11-21"),
        ("sha256:12,345ab", "sha256:12,345ab"),
        ("", ""),
    ],
)
def test_a_text_is_said_by_its_form(known, english, german):
    assert said(known, english) == german


def test_a_value_is_never_cut_within_brackets(known):
    text = "Of 10 records (of 20: all) 3 came out: 0.5."
    assert said(known, text) == "(of 20: all) 3 von 10 Datensätzen kamen heraus: 0,5."


def test_a_translation_that_changes_a_number_is_not_used():
    wrong = Forms({"at most {0} of 5 come out": "höchstens {0} von 6 kommen heraus"}, "de")
    assert said(wrong, "at most 3 of 5 come out") == "<at most 3 of 5 come out>"


def test_a_translation_that_loses_a_value_is_no_form():
    assert form_of("{0} of {1} records", "{0} Datensätze") is None
    assert form_of("{0} of {1} records", "{1} Datensätze, {0} und {0}") is None


def test_what_stands_between_fixed_words_is_found_from_the_left():
    assert values_of(("Of ", " records ", ""), "Of 10 records 3") == ["10", "3"]
    assert values_of(("Of ", " records ", "."), "Of 10 records 3") is None


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["number", "share", "name"])
def test_every_form_of_the_catalogue_carries_its_values(language, kind):
    """Each form, filled, is taken for itself and not for another: the values arrive where the translation puts them."""
    found = translations(language).texts
    forms = Forms(found, language)
    confused = []
    for message, translation in found.items():
        places = len(PLACE.findall(message))
        if not places or (kind == "share" and BESIDE.search(message)):
            continue  # where one value follows another, a space within one cannot be told from that between them
        names = {"number": "{}", "share": "{}.25 %", "name": "language/test-{}"}[kind]
        values = [names.format(17 + 3 * place) for place in range(places)]
        english = filled(message, values)
        wanted = filled(translation, [rewritten(value, language) for value in values])
        got = "".join(part.text for part in forms.say(english))
        if got not in (wanted, english):
            confused.append((message, wanted, got))
    assert not [item for item in confused if item[0] not in VERBATIM]


@pytest.mark.parametrize("language", LANGUAGES)
@given(data=st.data())
@settings(derandomize=True, deadline=None, max_examples=60)
def test_no_number_is_lost_or_made(language, data):
    found = translations(language).texts
    message = data.draw(
        st.sampled_from(sorted(item for item in found if PLACE.search(item) and not BESIDE.search(item)))
    )
    value = st.one_of(
        st.integers(0, 10**7).map("{:,}".format),
        st.floats(0, 100, allow_nan=False).map("{:.2f} %".format),
        st.text("ab ()[];:,.%", max_size=12),
        st.sampled_from(["", "nothing", "language/x", "<b>bold</b>", "}{", "{0}", "a; b, c and d"]),
    )
    values = [data.draw(value) for _ in PLACE.findall(message)]
    english = filled(message, values)
    carried = sum(
        (numbers_in(part.text, "en" if part.english else language) for part in reader(language).say(english)),
        start=numbers_in("", "en"),
    )
    assert (
        carried == numbers_in(english, "en") or "".join(part.text for part in reader(language).say(english)) == english
    )


@given(st.text(max_size=200))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_any_text_comes_out_with_its_letters(text):
    """Nothing of a text that is no message is dropped."""
    forms = Forms(KNOWN, "de")
    kept = "".join(part.text for part in forms.say(text))
    assert [letter for letter in kept if letter.isalpha()] == [letter for letter in text if letter.isalpha()] or any(
        word in kept for word in KNOWN.values()
    )


@pytest.mark.parametrize(
    "text", ["a. " * 2000, ", " * 3000, "(" * 5000, "1,234 " * 1000, "Of 1 records " * 400, "x; " * 2000 + "y"]
)
def test_hostile_texts_cost_little(text):
    begun = time.perf_counter()
    assert reader("de").say(text)
    assert time.perf_counter() - begun < 5.0


def filled(message: str, values: list[str]) -> str:
    text = PLACE.sub(lambda match: f"\x00{match[1]}\x00", message).replace("{{", "{").replace("}}", "}")
    return re.sub("\x00(\\d+)\x00", lambda match: values[int(match[1])], text)
