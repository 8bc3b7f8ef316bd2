"""The report on paper: its size is the policy's word, its figures lose nothing that is seen, and its style means the same as written."""

from __future__ import annotations

import dataclasses
import gc
import io
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pikepdf
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "assess"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from making import figures
from test_report import CREATED, source

from auditor.core.policy import Override
from auditor.report import pdf as paper
from auditor.report.figures import draw
from auditor.report.html import render_html
from auditor.report.pdf import render_pdf
from auditor.report.procedures import overrides
from auditor.report.slender import slender

SVG = "{http://www.w3.org/2000/svg}"
SIZES = {"a4": (595.3, 841.9), "letter": (612.0, 792.0)}


def on(page):
    made = source("plain")
    return dataclasses.replace(made, policy=made.policy.model_copy(update={"page": page}))


@pytest.mark.parametrize("page", ["a4", "letter"])
def test_the_policy_names_the_paper(page):
    pdf = render_pdf(render_html(on(page))[0], {}, created=CREATED, identifier=b"0" * 16)
    with pikepdf.open(io.BytesIO(pdf)) as file:
        assert {tuple(round(float(end), 1) for end in sheet.mediabox[2:]) for sheet in file.pages} == {SIZES[page]}


def test_a_copy_may_have_other_paper_and_nothing_else_differs():
    assert render_html(on("a4"), page="letter")[0] == render_html(on("letter"))[0]
    plain, other = render_html(on("a4"))[0], render_html(on("letter"))[0]
    body = slice(plain.index("<body>"), None)
    assert plain != other
    assert plain[body] == other[other.index("<body>") :]


def drawn(svg):
    """What a drawing draws: its paths, words, rectangles and marks, without what only wraps them."""
    return [
        (item.tag.removeprefix(SVG), item.get("d"), item.get("x"), item.get("y"), (item.text or "").strip())
        for item in ET.fromstring(svg).iter()  # noqa: S314  (our own)
        if item.tag.removeprefix(SVG) in {"path", "text", "use", "rect", "circle", "line"}
    ]


@pytest.mark.parametrize("figure", figures(), ids=lambda figure: figure.kind)
def test_a_slender_drawing_draws_the_same(figure, monkeypatch):
    thin = draw(figure, identity="f").decode()
    monkeypatch.setattr("auditor.report.figures.slender", lambda svg: svg)
    full = draw(figure, identity="f").decode()
    assert drawn(thin) == drawn(full)
    assert len(thin) < 0.75 * len(full)
    assert "style=" not in thin
    colours = r"#[0-9a-f]{6}"
    assert sorted(re.findall(colours, thin)) == sorted(re.findall(colours, full))


def test_a_group_that_changes_what_it_holds_stays():
    kept = (
        '<svg xmlns="http://www.w3.org/2000/svg"><g id="a">\n<g transform="scale(2)"><g><path d="M0 0"/></g></g></g>'
        '<g id="b" clip-path="url(#c)"><text>g</text></g></svg>'
    )
    thin = slender(kept)
    assert thin.count("<g") == thin.count("</g>") == 2
    assert 'transform="scale(2)"' in thin
    assert "clip-path" in thin
    ET.fromstring(thin)  # noqa: S314


def test_pictures_are_set_aside_once_and_come_back():
    address = "data:image/png;base64,iVBORw0KGgo="
    page, pictures = paper._set_aside(f'<img src="{address}"><img src="{address}"><p>src=&#34;{address}&#34;</p>')
    assert pictures == [address]
    assert page.count(f'src="{paper.PICTURES}0"') == 2
    assert f"src=&#34;{address}&#34;" in page


def test_a_style_keeps_its_values():
    page = paper._valued(
        "<style>:root { --ink: #123456; --thin: 1px solid red; } p { color: var(--ink); border: var(--thin) }</style>var(--ink)"
    )
    assert "color: #123456; border: 1px solid red }" in page
    assert page.endswith("var(--ink)")
    whole = paper._valued(render_html(on("a4"))[0])
    assert "var(--" not in whole[: whole.index("</style>")]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_search_for_unused_objects_is_as_it_was_afterwards(enabled):
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(ZeroDivisionError), paper._no_collection():
            assert not gc.isenabled()
            1 / 0  # noqa: B018
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_what_a_policy_changes_alike_stands_together():
    made = source("plain")
    changes = tuple(
        Override(place=place, inherited=inherited, now="asked for", because=because)
        for place, inherited, because in (("a", "not", "x"), ("b", "0.1", "x"), ("c", "not", "x"), ("d", "not", "y"))
    )
    rows = overrides(dataclasses.replace(made, policy=made.policy.model_copy(update={"overrides": changes})))
    assert [row["places"] for row in rows] == [["a", "c"], ["b"], ["d"]]
    assert sum(len(row["places"]) for row in rows) == len(changes)
