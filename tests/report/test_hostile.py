"""Text from data, models and strangers is shown and does nothing; however much of it there is, the worst is shown and the rest named."""

from __future__ import annotations

import dataclasses
import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pikepdf
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "assess"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from making import estimate, figures, finding, measurement
from test_report import CREATED, source

from auditor.core.finding import Exhibit, Figure, Gate, Outcome, Series, Stratum
from auditor.report.figures import draw
from auditor.report.finding_page import MOST_ROWS, above_control, groups, thinned
from auditor.report.glyphs import drawable
from auditor.report.html import render_html
from auditor.report.pdf import render_pdf
from auditor.report.writing import LONGEST_TEXT, spelled, visible

BAD = (
    "<script>alert(1)</script><img src=x onerror=alert(1)><svg onload=alert(1)><style>*{background:url(http://evil.example)}</style>",
    '"><iframe src="file:///etc/passwd"></iframe><link rel=attachment href="file:///etc/passwd"><object data="http://evil.example">',
    "</td></table></section></main><meta http-equiv=refresh content='0;url=http://evil.example'><base href=//evil.example>",
    "url(http://evil.example/x.css) expression(alert(1)) @import 'http://evil.example'; </style><script>",
    "javascript:alert(1) data:text/html,<script>alert(1)</script> {{ 7*7 }} {% include '/etc/passwd' %} ${7*7} $x^{$ \\frac",
    "\u202eevil\u202c \u2066x\u2069 \u200b\u200f\u2028\u2029\ufeff \x00\x01\x1b[31m\x7f\x85 \U000e0041 \ud800",
    "e" + "\u0301" * 500 + "\u4f60\u597d \U0001f600 \u05d0\u05d1 \u0627\u0644",
    "_hidden from a legend, 100 % of $",
    "x" * 1_000_000,
    "word " * 200_000,
)
FORBIDDEN_TAGS = {
    "iframe",
    "object",
    "embed",
    "link",
    "base",
    "svg",
    "applet",
    "frame",
    "math",
    "video",
    "audio",
    "source",
}


class Seen(HTMLParser):
    """Collects every tag with its attributes."""

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def inert(html: str, plain: list[str]) -> None:
    """Assert that a page has the tags of a page without hostile text, no address but of its own, and no hidden character."""
    seen = Seen()
    seen.feed(html)
    assert [tag for tag, _ in seen.tags] == plain
    for tag, attributes in seen.tags:
        assert tag not in FORBIDDEN_TAGS
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(
        "[\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", html
    )


def page(text: str) -> str:
    """A page with the text wherever there is room for one; its figures, which are tried by themselves, are left blank."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auditor.report.html.draw", lambda figure, identity: b"<svg/>")
        return render_html(source(text))[0]


@pytest.fixture(scope="module")
def plain_tags() -> list[str]:
    seen = Seen()
    seen.feed(page("plain"))
    return [tag for tag, _ in seen.tags]


@pytest.mark.parametrize("text", BAD[:-2], ids=range(len(BAD) - 2))
def test_hostile_text_changes_no_tag_of_the_page(text, plain_tags):
    text = text.replace("\ud800", "")  # cannot stand in a bundle: it is no text in UTF-8
    inert(page(text), plain_tags)


@given(
    st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=1, max_size=300).filter(
        lambda text: text.strip()
    )
)
@settings(max_examples=4, derandomize=True, deadline=None)
@example("<")
def test_whatever_the_text_the_page_has_the_same_tags(text):
    seen = Seen()
    seen.feed(page("plain"))
    inert(page(text), [tag for tag, _ in seen.tags])


@given(st.text(max_size=400))
@settings(max_examples=300, derandomize=True, deadline=None)
@example(BAD[5])
@example(BAD[6])
def test_no_character_hides_or_turns_and_letters_stay(text):
    shown = spelled(text)
    assert not re.search(
        "[\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", shown
    )
    assert spelled(shown) == shown
    kept = [letter for letter in text if letter.isalnum()]
    assert [letter for letter in shown if letter in kept][: len(kept)] or not kept


@pytest.mark.parametrize("text", [BAD[-2], BAD[-1]])
def test_a_line_of_a_million_letters_is_cut_and_says_so(text):
    assert len(visible(text)) < LONGEST_TEXT + 40
    assert f"{len(text) - LONGEST_TEXT:,} more characters" in visible(text)
    html = page(text)
    assert len(html) < 1_500_000
    assert "x" * (LONGEST_TEXT + 1) not in html


@given(
    st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60).filter(
        lambda text: text.strip()
    )
)
@settings(max_examples=8, derandomize=True, deadline=None)
@example("$x^{$")
@example("_hidden")
@example("a\nb\tc")
@example("\u4f60\u597d")
def test_names_of_series_can_be_any_words(text):
    line = Series(name=text, x=(1.0, 2.0), y=(0.1, 0.2), role="members")
    figure = Figure(kind="intervals", title=text, x_label=text, y_label=text, series=(line,), caption=text)
    drawn = draw(figure, identity="x")
    assert b"<script" not in drawn
    assert b"http://evil" not in drawn
    assert b"<image" not in drawn


def test_the_pdf_of_hostile_text_has_no_action_no_file_and_no_empty_box():
    html = page(" ".join(text[:300] for text in BAD).replace("\ud800", ""))
    pdf = render_pdf(html, {"findings.json": b"[]"}, created=CREATED, identifier=b"0" * 16)
    with pikepdf.open(io.BytesIO(pdf)) as document:
        assert list(document.attachments) == ["findings.json"]
        for thing in document.objects:
            if isinstance(thing, pikepdf.Dictionary):
                assert "/JS" not in thing
                assert "/URI" not in thing
                assert thing.get("/S") not in {"/JavaScript", "/Launch", "/URI", "/GoToR", "/SubmitForm"}


def test_what_no_shipped_font_can_draw_is_spelled_out():
    assert drawable("\u4f60 \u00e9 \u25a0 a") == "\u27e8U+4F60\u27e9 \u00e9 \u25a0 a"
    assert drawable("plain") == "plain"


def rows(count: int, by: str = "record") -> tuple[Stratum, ...]:
    """Strata of which every seventh is worse than the one before."""
    return tuple(
        Stratum(
            by=by,
            label=f"part {i}",
            estimate=estimate(0.5, (i * 7 % count) / (2 * count), 0.9),
            control=estimate(0.0, 0.0, 0.01),
        )
        for i in range(count)
    )


def big(count: int):
    """A report of one finding with so many strata, exhibits, points and gates."""
    measured = measurement(
        "t/0",
        strata=rows(count) + tuple(row.model_copy(update={"by": "other"}) for row in rows(3)),
        exhibits=tuple(Exhibit(record=f"r{i}", excerpt="x", note="n") for i in range(count)),
        gates=tuple(Gate(name=f"g{i}", held=True, on_failure="invalid", detail="d") for i in range(count)),
        figures=(
            *figures(),
            Figure(
                kind="survival",
                title="Long",
                x_label="x",
                y_label="y",
                caption="Many points.",
                series=(Series(name="m", role="members", x=tuple(map(float, range(1, count + 1))), y=(0.5,) * count),),
            ),
        ),
    )
    return dataclasses.replace(source("plain"), findings=(finding(Outcome.SIGNAL, "t/0", measurement=measured),))


def test_of_many_rows_the_worst_are_shown_and_the_rest_is_named():
    html = render_html(big(3000))[0]
    assert "the first 200 of 3,000; all are in findings.json, attached" in html
    assert re.search(r"the worst 100 of 3,000, by how far .* all are in findings.json", html)
    assert "12 of 3,000 points" in html
    assert html.count("<tr") < 1500
    assert len(html) < 1_500_000


@given(st.integers(1, 900), st.integers(1, 60))
@settings(max_examples=30, derandomize=True, deadline=None)
def test_no_row_left_out_is_worse_than_one_that_is_shown(count, kinds):
    strata = tuple(row.model_copy(update={"by": f"kind {i % kinds}"}) for i, row in enumerate(rows(count)))
    tables = groups(strata)
    assert sum(len(table["rows"]) for table in tables) <= MOST_ROWS
    for table in tables:
        own = [row for row in strata if row.by == table["by"]]
        assert table["all"] == len(own)
        shown = {row["label"] for row in table["rows"]}
        left_out = [above_control(row) for row in own if row.label not in shown]
        kept = [above_control(row) for row in own if row.label in shown]
        assert not left_out or max(left_out) <= min(kept)
        assert table["worst"] in shown


@given(st.integers(0, 5000), st.integers(2, 400))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_thinned_points_keep_both_ends(count, most):
    places = thinned(count, most)
    assert places == sorted(set(places))
    assert len(places) == min(count, most)
    assert not count or (places[0] == 0 and places[-1] == count - 1)
