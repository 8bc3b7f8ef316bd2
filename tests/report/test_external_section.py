"""What other tools found stands apart from every finding, marked, as it was given; and whatever it says, it does nothing."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hostile import BAD, Seen, inert
from test_report import source

from auditor.core.external import ExternalEstimate, ExternalFile, ExternalFinding, GivenModel, GivenTool
from auditor.core.subject import Artifact
from auditor.report.external import external_pages
from auditor.report.finding_page import MOST_ROWS
from auditor.report.html import render_html

MARK = "Made by another tool; not repeated here, not corrected with the battery, no outcome of this audit."


def file_of(text="plain", *, rows=1, **changes):
    """A file whose every text is one."""
    cut = text[:400].strip() or "x"
    finding = {
        "name": cut,
        "question": cut,
        "statistic": cut,
        "unit": cut,
        "estimate": ExternalEstimate(value=0.5, low=0.25, high=0.75, level=0.9, n=1234, method=cut),
        "control": ExternalEstimate(value=0.0),
        "verdict": cut,
        "notes": (cut,),
        "line": 7,
    }
    values = {
        "form": "minimal",
        "tool": GivenTool(name=cut, version=cut, url=cut),
        "created": cut,
        "file": Artifact(path=cut, bytes=3, sha256="ab" * 32),
        "model": "cd" * 32,
        "model_named": GivenModel(name=cut),
        "about_this_model": "not shown",
        "findings": tuple(ExternalFinding(**finding) for _ in range(rows)),
        "left_out": (cut,),
    }
    return ExternalFile(**(values | changes))


def page(*files, text="plain") -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auditor.report.html.draw", lambda figure, identity: b"<svg/>")
        return render_html(dataclasses.replace(source(text), external=files))[0]


@pytest.fixture(scope="module")
def plain_tags():
    seen = Seen()
    seen.feed(page(file_of()))
    return [tag for tag, _ in seen.tags]


def test_a_report_without_external_findings_has_no_such_section():
    html = page()
    assert 'id="external"' not in html
    assert "other tools" not in html


def test_the_section_is_marked_and_stands_in_the_contents():
    html = page(file_of(), file_of("second"))
    section = html[html.index('id="external"') :]
    assert MARK in section
    assert html.count('href="#external"') == 2  # the contents, and a pointer after the findings
    assert section.index("External: plain") < section.index("External: second")
    assert "nothing shows that it is the audited model" in section
    for word in ("0.5", "[0.25, 0.75]", "n = 1,234", "90\u00a0%", "no interval given", "line 7 of the file"):
        assert word in section, word


def test_everything_before_the_section_is_the_page_without_it():
    """Outcomes, clauses, conclusion and figures are the same bytes, but for two links and the script that counts nothing."""
    with_, without = page(file_of("zzz-foreign")), page()
    head = with_[: with_.index('<section id="external"')]
    head = re.sub(r'\s*<li><a href="#external">.*?</li>', "", head)
    head = re.sub(r'\s*<p>[^<]*<a href="#external">.*?</p>', "", head)
    assert re.sub(r"\s+", "", without).startswith(re.sub(r"\s+", "", head))
    assert "zzz-foreign" not in head


def test_of_very_many_the_first_are_shown_and_the_rest_named():
    html = page(file_of(rows=MOST_ROWS + 1800))
    assert f"the first {MOST_ROWS} of 2,000; all are in external.json, attached" in html
    assert html[html.index('id="external"') :].count('scope="row"') == MOST_ROWS


@pytest.mark.parametrize("text", BAD[:-2], ids=range(len(BAD) - 2))
def test_hostile_words_of_another_tool_change_no_tag(text, plain_tags):
    inert(page(file_of(text.replace("\ud800", ""))), plain_tags)


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["ratio", "bit", "x" * 400]))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_numbers_are_given_as_they_were_to_six_digits(value, unit):
    """No percentages are made of them, none fills a page, and they read back as what was given."""
    found = ExternalFinding(name="a", statistic="s", unit=unit, estimate=ExternalEstimate(value=value), line=1)
    made = file_of(findings=(found,))
    said = external_pages((made,))[0]["rows"][0]["estimate"]["value"]
    shown = said.removesuffix(f"\u00a0{unit}").replace("\u2212", "-")
    assert len(shown) < 15
    assert float(shown) == pytest.approx(value, rel=1e-5)
    assert (unit in said) == (unit != "ratio")
