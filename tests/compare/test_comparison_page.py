"""The page of a comparison: one file, strict, readable by everybody, whatever stands in it."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sources import rate, source
from test_training_history import NONE, SOME, look, run

from auditor.compare.comparing import compare
from auditor.compare.page import render

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "report"))
from test_accessibility import needs_browser, violations


@pytest.fixture(scope="module")
def page():
    """Everything a comparison can hold: worse, unpaired, a course, a training run, changes."""
    made = [
        source(name, step, per_record={"t/a": (rate([1] * count + [0] * (50 - count), [0] * 50),)})
        for name, step, count in (("base", 1.0, 0), ("tuned", 2.0, 5), ("longer", 3.0, 30))
    ]
    watched = run(look(0, 7.0, NONE, members=7.0), look(30, 6.0, SOME, members=3.0), look(60, 5.5, SOME), label="tuned")
    return render(compare(made, training=[watched], notes=["A note."]))[0]


class Seen(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def seen(html):
    parser = Seen()
    parser.feed(html)
    return parser.tags


def test_the_policy_allows_the_one_style_by_digest_and_nothing_else(page):
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(row["content"] for tag, row in seen(page) if tag == "meta" and row.get("http-equiv"))
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    for tag, row in seen(page):
        assert tag not in {"script", "link", "iframe", "object", "embed", "form", "svg"}
        assert not [name for name in row if name.startswith("on") or name == "style"]
        assert row.get("src", "data:image/svg+xml;base64,").startswith("data:image/svg+xml;base64,")
        assert row.get("href", "#").startswith("#")


def test_every_figure_says_in_words_what_it_shows_and_has_its_numbers(page):
    pictures = [row["alt"] for tag, row in seen(page) if tag == "img"]
    assert len(pictures) == 4  # the course, the training run and two pairs
    assert any("t/a +10.00 points" in text and "better" not in text for text in pictures)
    assert any("held-out loss from 7.000 to 5.500 nat per token" in text for text in pictures)
    assert page.count("<summary>The numbers of this figure</summary>") == 2


def test_every_place_named_is_there_and_tables_have_names_and_heads(page):
    tags = seen(page)
    ids = [row["id"] for _, row in tags if "id" in row]
    assert len(ids) == len(set(ids))
    assert {row["href"][1:] for tag, row in tags if tag == "a"} <= set(ids)
    names = [tag for tag, _ in tags]
    assert names.count("table") == names.count("caption")
    assert all("scope" in row for tag, row in tags if tag == "th")
    assert names.count("h1") == 1
    regions = [row["aria-label"] for _, row in tags if row.get("role") == "region"]
    assert len(regions) == len(set(regions))


def test_what_is_shown_is_said_by_word_and_shape_and_not_by_colour_alone(page):
    rows = re.findall(
        r'<span class="badge ([\w-]+)"><span class="shape" aria-hidden="true">(.)</span> ([\w ]+)</span>', page
    )
    assert {("signal", "\u25cf", "worse"), ("not-run", "\u25c6", "not shown")} <= set(rows)


@needs_browser
@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_axe_finds_nothing(page, tmp_path, scheme):
    assert violations(page, tmp_path, scheme) == []
