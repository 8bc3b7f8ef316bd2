"""The report in another language: the same numbers, nothing lost, nothing unmarked, and the same bytes every time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_report import HOSTILE, source

from auditor.language.catalogue import LANGUAGES
from auditor.language.numbers import numbers_in
from auditor.report.html import render_html

SENTENCE = "Of 1,874 member records 33 were said word for word: 1.76 % (95 % interval 1.14 % to 2.59 %), against 0.00 % of 1,042 controls."


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {language: render_html(source(), language)[0] for language in ("en", *LANGUAGES)}


def findings(page: str) -> str:
    return re.sub(
        r"<style.*?</style>|<img[^>]*>",
        "",
        page[page.index('<section id="findings">') : page.index('<section id="clauses">')],
    )


def text(page: str) -> str:
    return re.sub(r"<[^>]+>", " ", page)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_says_its_language_and_that_english_holds(pages, language):
    assert f'<html lang="{language}">' in pages[language]
    assert 'class="translated"' in pages[language]
    assert "This report is a translation" not in pages[language]
    assert 'class="translated"' not in pages["en"]


def test_english_passes_unchanged(pages):
    assert pages["en"] == render_html(source())[0]
    assert '<span lang="en">' not in pages["en"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_number_of_the_findings_is_carried(pages, language):
    stayed = re.findall(r'<span lang="en">(.*?)</span>', findings(pages[language]), re.DOTALL)
    said = re.sub(r'<span lang="en">.*?</span>', " ", findings(pages[language]), flags=re.DOTALL)
    carried = numbers_in(text(said), language)
    for each in stayed:
        carried += numbers_in(text(each), "en")
    assert carried == numbers_in(text(findings(pages["en"])), "en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_hostile_text_stays_inert_and_is_no_language(pages, language):
    assert "<script>alert(1)" not in pages[language]
    assert "\u202e" not in pages[language]
    assert "{{ 7*7 }}" in pages[language]
    assert "onerror=" not in re.sub(r"&#34;|&quot;", "", pages[language]).replace("onerror=x", "")
    assert HOSTILE not in pages[language]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_no_catalogue_knows_is_marked_english(language):
    page = render_html(source("A sentence that somebody wrote for this audit alone, with 1,234.5 in it."), language)[0]
    assert '<span lang="en">A sentence that somebody wrote for this audit alone, with 1,234.5 in it.</span>' in page


@pytest.mark.parametrize(("language", "words"), [("de", "1,76\u00a0%"), ("fr", "1,76\u00a0%")])
def test_a_sentence_of_a_test_is_said_with_its_numbers(language, words):
    page = render_html(source(SENTENCE), language)[0]
    assert words in page
    assert {"de": "1.874", "fr": "1\u202f874"}[language] in page
    answers = re.findall(r'<p class="answer">(.*?)</p>', page)
    assert answers
    assert not [answer for answer in answers if "records" in answer]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_report_has_the_same_bytes_whatever_was_said_before(pages, language):
    render_html(source(SENTENCE), language)
    assert render_html(source(), language)[0] == pages[language]


def test_english_needs_no_babel():
    here = str(Path(__file__).resolve().parent)
    code = (
        f"import sys; sys.path[:0] = [{here!r}]; from test_report import source; from auditor.report.html import render_html; "
        "render_html(source(), 'en'); sys.exit('babel' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
