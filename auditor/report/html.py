"""Renders the report as one HTML file: no request, figures inside, and all there without its script."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from auditor.core.resources import resource
from auditor.language.page import speak
from auditor.language.reader import reader as reader_of
from auditor.report.drawn_words import plainly, spoken, with_numbers
from auditor.report.figures import draw, forest
from auditor.report.view import build_view
from auditor.report.writing import visible

if TYPE_CHECKING:
    from jinja2 import Environment

    from auditor.language.reader import Reader
    from auditor.report.view import ReportInput


PAGES = {"a4": "A4", "letter": "letter"}
"""Names of paper in a style sheet."""


def render_html(
    source: ReportInput, language: str | None = None, page: str | None = None
) -> tuple[str, dict[str, bytes]]:
    """Return the report and its figures, by file name; the same input always gives the same bytes.

    Args:
        source: All that the report is made of.
        language: Of the reader, `en`, `de` or `fr`; None: the one that the policy names.
        page: Paper, `a4` or `letter`; None: the one that the policy names.
    """
    reader = reader_of(language or source.policy.language)
    figures: dict[str, bytes] = {}
    for index, finding in enumerate(source.findings, start=1):
        if finding.measurement is not None:
            for number, figure in enumerate(finding.measurement.figures, start=1):
                figures[f"{index}-{number}.svg"] = with_numbers(
                    draw(spoken(figure, reader), identity=f"figure-{index}-{number}"), reader
                )
    overview = forest(source.findings, lambda text: plainly(text, reader))
    if overview is not None:
        figures["forest.svg"] = with_numbers(overview, reader)
    style = resource("templates/report.css").read_text(encoding="utf-8")
    style += f"@page {{ size: {PAGES[page or source.policy.page]} }}\n"
    script = resource("templates/report.js").read_text(encoding="utf-8")
    environment = page_environment(reader)
    view: dict[str, Any] = build_view(source)
    html = environment.get_template("report.html.j2").render(
        **view,
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        picture={name.removesuffix(".svg"): _embedded(content) for name, content in figures.items()},
    )
    return html, figures


def page_environment(reader: Reader) -> Environment:
    """Return the environment in which the templates of the report speak to a reader."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415  (heavy)

    environment = Environment(
        loader=FileSystemLoader(resource("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        # Whatever a template prints: no character may hide or turn what stands beside it, and no text may bury the page.
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    speak(environment, reader, visible)
    return environment


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embedded(svg: bytes) -> Any:  # noqa: ANN401  (markupsafe comes with jinja2, which is heavy)
    from markupsafe import Markup  # noqa: PLC0415

    return Markup(f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}")  # noqa: S704  (base64 of our own drawing)
