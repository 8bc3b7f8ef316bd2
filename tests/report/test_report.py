"""The report: nothing missing, nothing loaded, nothing misleading, and the same bytes every time."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import io
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pikepdf
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "assess"))
from making import catalogue, clause, entry, finding, full_measurement, measurement, policy, subject

from auditor.assess.clauses import assess
from auditor.core.assessment import Statement
from auditor.core.finding import InstrumentCheck, Outcome
from auditor.core.plan import Plan, PlannedSide, PlannedTest, Side
from auditor.report.figures import draw
from auditor.report.html import render_html
from auditor.report.pdf import render_pdf
from auditor.report.view import OUTCOMES, ReportInput, number, visible

CREATED = dt.datetime(2026, 11, 21, 4, 0, tzinfo=dt.UTC)
HOSTILE = '<script>alert(1)</script>\u202e evil \u200b {{ 7*7 }} <img src="https://evil.example/x.png" onerror="x">'
DIGEST = "ef" * 32


def source(text=HOSTILE) -> ReportInput:
    findings = tuple(
        finding(
            outcome,
            name=f"t/{i}",
            measurement=full_measurement(f"t/{i}", text)
            if outcome not in {Outcome.NOT_RUN, Outcome.NOT_APPLICABLE}
            else None,
            reason=text,
        )
        for i, outcome in enumerate(Outcome)
    )
    asked = policy(*[entry(f"t/{i}") for i in range(len(Outcome))])
    what = subject(name=text, controller=text)
    books = (catalogue(clause(), clause("C-2")),)
    said = (Statement(id="s", clauses=("C-1",), text=text, author="A", role="R", date="2026-01-01"),)
    planned = PlannedTest(
        test="t/0",
        test_version=1,
        distribution="x 1",
        access="scores",
        parameters={"records": 5},
        observations={},
        power=None,
    )
    plan = Plan(
        policy=DIGEST, subject=DIGEST, catalogues={"c": DIGEST}, statements=None, seed=1, confidence=0.95, auditor_version="0",
        jobs=(), sides=(PlannedSide(side=Side(label="audited", subject=what, context_length=10), tests=(planned,)),),
    )  # fmt: skip
    environment = {
        "auditor": "0", "command": text, "created": CREATED.isoformat(), "device": "cpu", "machine": "m", "operator": text,
        "packages": {"numpy": "2"}, "processors": 2, "python": "3", "system": "s", "threads": "1", "byteorder": "little",
    }  # fmt: skip
    check = InstrumentCheck(
        test="t/0", control_subject="memorizer", expected="fires", held=True, p_value=1e-9, answer=text
    )
    assessment = assess(asked, books, findings, said, what, created=CREATED.date())
    return ReportInput(asked, what, plan, findings, assessment, said, (check,), books, environment, DIGEST, text)


@pytest.fixture(scope="module")
def html() -> str:
    return render_html(source())[0]


@pytest.fixture(scope="module")
def pdf(html) -> bytes:
    return render_pdf(html, {"findings.json": b"[]", "policy.yaml": b"a: 1"}, created=CREATED, identifier=b"0" * 16)


class Reader(HTMLParser):
    """Collects tags and attributes, and complains of what is not closed."""

    def __init__(self):
        super().__init__()
        self.tags, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in {"meta", "img", "br", "link", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"


def read(html) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert not reader.open
    return reader


def test_nothing_is_loaded_and_nothing_runs(html):
    for tag, attributes in read(html).tags:
        assert tag not in {"iframe", "object", "link", "embed"}
        assert "action" not in attributes
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if "src" in attributes:
            assert attributes["src"].startswith(("data:image/svg+xml;base64,", "data:image/png;base64,"))
        if "href" in attributes:
            assert attributes["href"].startswith("#")
    assert "url(" not in html.split("<style>")[1].split("</style>")[0]
    assert [attributes for tag, attributes in read(html).tags if tag == "script"] == [{}]


@pytest.mark.parametrize("tag", ["style", "script"])
def test_the_content_security_policy_fits_the_one_style_and_the_one_script(html, tag):
    inside = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
    assert f"{tag}-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html


def test_hostile_text_is_shown_and_does_nothing(html):
    assert html.count("<script") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "\u202e" not in html
    assert "U+202E" in html
    assert "{{ 7*7 }}" in html
    assert visible("x" * 5000).endswith("\u2026 (3,000 more characters)")


def test_every_outcome_stands_in_words_and_shape(html):
    for _, word, shape, meaning in OUTCOMES.values():
        assert word in html
        assert shape in html
        assert meaning in html


def test_every_number_stands_with_its_interval(html):
    found = measurement()
    assert number(found.estimate.value, "ratio") in html
    assert "[0.00, 0.10\u00a0%]" in html
    assert "none supplied" not in html
    for words in (
        "p-value",
        "Could have shown",
        "set by: controller",
        "paragraph number not verified",
        "statement by the controller".capitalize()[:9],
    ):
        assert words in html


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "ratio", "0.00\u00a0%"),
        (0.0003, "ratio", "0.030\u00a0%"),
        (0.5, "ratio", "50.0\u00a0%"),
        (-0.01, "ratio", "\u22121.00\u00a0%"),
        (3.14159, "bit", "3.14\u00a0bit"),
    ],
)
def test_numbers_read_as_people_write_them(value, unit, text):
    assert number(value, unit) == text


def test_pictures_have_words(html):
    pictures = [attributes for tag, attributes in read(html).tags if tag == "img"]
    assert len(pictures) >= 17  # four figures for each measured outcome, and the overview
    assert all(len(attributes["alt"]) > 20 for attributes in pictures)


def test_figures_are_the_same_bytes_and_the_kinds_differ():
    drawn = [draw(figure, identity="x") for figure in full_measurement().figures]
    assert drawn == [draw(figure, identity="x") for figure in full_measurement().figures]
    assert len(set(drawn)) == len(drawn)
    assert all(b"<svg" in svg and b"<script" not in svg for svg in drawn)


def contrast(one: str, two: str) -> float:
    """WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    first, second = sorted((luminance(one), luminance(two)), reverse=True)
    return (first + 0.05) / (second + 0.05)


def palettes(html) -> dict[str, dict[str, str]]:
    """The colours of both schemes; the dark one is stated after the light one, and in full."""
    style = html.split("<style>")[1].split("</style>")[0]
    blocks = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    return {"light": blocks[0], "dark": blocks[1]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read_on_paper_and_on_grey(html, scheme):
    colours = palettes(html)[scheme]
    assert set(colours) == set(palettes(html)["light"])
    for name, colour in colours.items():
        if name in {"line", "soft", "paper", "band", "on-band", "on-band-quiet"}:
            continue
        assert contrast(colour, colours["paper"]) >= 4.5, name
        assert contrast(colour, colours["soft"]) >= 4.5, name
    for name in ("on-band", "on-band-quiet"):
        assert contrast(colours[name], colours["band"]) >= 4.5, name
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_the_pdf_is_an_archive_that_can_be_read_aloud(pdf):
    with pikepdf.open(io.BytesIO(pdf)) as document:
        root = document.Root
        assert root.MarkInfo.Marked
        assert str(root.Lang) == "en"
        assert "/StructTreeRoot" in root
        assert root.OutputIntents[0].S == "/GTS_PDFA1"
        metadata = bytes(root.Metadata.read_bytes())
        for words in (b"pdfaid:part", b"pdfaid:conformance", b"pdfuaid:part", b"pdfaExtension:schemas"):
            assert words in metadata
        assert "/JavaScript" not in root.get("/Names", {})
        assert "/OpenAction" not in root
        attached = {name: spec.obj for name, spec in document.attachments.items()}
        assert str(attached["policy.yaml"].AFRelationship) == "/Source"
        assert str(attached["findings.json"].AFRelationship) == "/Data"
        assert document.attachments["findings.json"].get_file().read_bytes() == b"[]"
        for page in document.pages:
            for font in page.get("/Resources", {}).get("/Font", {}).values():
                descendants = font.get("/DescendantFonts")
                descriptor = descendants[0].FontDescriptor if descendants else font.FontDescriptor
                assert "/FontFile2" in descriptor or "/FontFile3" in descriptor or "/FontFile" in descriptor


def test_the_pdf_loads_nothing():
    bad = '<html lang="en"><head><title>x</title></head><body><img src="file:///etc/passwd" alt="x"></body></html>'
    from weasyprint.urls import FatalURLFetchingError

    with pytest.raises(FatalURLFetchingError):
        render_pdf(bad, {}, created=CREATED, identifier=b"0" * 16)


def test_the_same_input_gives_the_same_bytes_in_another_process(tmp_path):
    code = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import test_report as t\n"
        "html, figures = t.render_html(t.source('plain'))\n"
        "pdf = t.render_pdf(html, {'a.json': b'1'}, created=t.CREATED, identifier=b'0' * 16)\n"
        "print(hashlib.sha256(html.encode()).hexdigest(), hashlib.sha256(pdf).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(seen) == 1
