"""Renders a comparison as one HTML file: no script, no request, figures inside."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from typing import TYPE_CHECKING

from auditor.compare.drawing import course, forest
from auditor.core.resources import resource

if TYPE_CHECKING:
    from auditor.core.comparison import Comparison, Pair
    from auditor.core.finding import Estimate

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}


def render(comparison: Comparison) -> tuple[str, dict[str, bytes]]:
    """Return the comparison as HTML and its figures by file name; the same comparison always gives the same bytes."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415  (heavy)

    figures: dict[str, bytes] = {}
    for number, pair in enumerate(comparison.pairs, start=1):
        drawn = forest(pair.differences, f"forest-{number}")
        if drawn is not None:
            figures[f"forest-{number}.svg"] = drawn
    lines = course(comparison.curves, "course")
    if lines is not None:
        figures["course.svg"] = lines
    style = resource("templates/report.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(resource("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        # Whatever the template prints: no character may hide or turn what stands beside it.
        finalize=lambda value: spelled(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("compare.html.j2").render(
        comparison=comparison,
        titles=[title_of(pair) for pair in comparison.pairs],
        shown=shown,
        p_shown=p_shown,
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        picture={
            name.removesuffix(".svg"): f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
            for name, content in figures.items()
        },
    )
    return html, figures


def title_of(pair: Pair) -> str:
    """Return which bundle is held against which."""
    return f"{pair.second} against {pair.first}"


def spelled(text: str) -> str:
    """Return a text with every character that could mislead a reader spelled out."""
    return "".join(
        f"\u27e8U+{ord(letter):04X}\u27e9"
        if unicodedata.category(letter) in _HIDDEN and letter not in "\n\t"
        else letter
        for letter in text
    )


def shown(found: Estimate | None, *, signed: bool = False) -> str:
    """Return an estimate as a reader would write it: value, interval, unit."""
    if found is None:
        return "\u2013"
    sign = "+" if signed else ""
    if found.unit == "ratio":
        value, low, high = (f"{100 * part:{sign}.2f}" for part in (found.value, found.low, found.high))
        return f"{value} % ({low} to {high})" if not signed else f"{value} points ({low} to {high})"
    value, low, high = (f"{part:{sign}.3g}" for part in (found.value, found.low, found.high))
    return f"{value} {found.unit} ({low} to {high})"


def p_shown(value: float | None) -> str:
    """Return a p-value with two digits that count."""
    return "\u2013" if value is None else f"{value:.2g}"
