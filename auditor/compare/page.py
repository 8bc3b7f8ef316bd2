"""Renders a comparison as one HTML file: no script, no request, figures inside."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from typing import TYPE_CHECKING

from auditor.compare.drawing import course, forest, training
from auditor.core.finding import Outcome
from auditor.core.resources import resource

if TYPE_CHECKING:
    from auditor.core.comparison import Comparison, Curve, Pair, TrainingRun
    from auditor.core.finding import Estimate

OUTCOMES = {
    Outcome.SIGNAL: ("signal", "\u25a0", "signal"),
    Outcome.INVALID: ("invalid", "\u2715", "invalid"),
    Outcome.NOT_RUN: ("not-run", "\u2013", "not run"),
    Outcome.INCONCLUSIVE: ("inconclusive", "\u25d0", "inconclusive"),
    Outcome.NO_SIGNAL: ("no-signal", "\u25cb", "no signal"),
    Outcome.NOT_APPLICABLE: ("not-applicable", "\u2298", "not applicable"),
}
"""Class, shape and word of every outcome, as the report has them: never a colour alone."""
DIRECTIONS = {
    "worse": {"class": "signal", "shape": "\u25cf", "word": "worse"},
    "better": {"class": "no-signal", "shape": "\u25a0", "word": "better"},
    "not shown": {"class": "not-run", "shape": "\u25c6", "word": "not shown"},
}
"""What a difference is shown to be, with the mark it has in the figure."""
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
    for number, run in enumerate(comparison.training, start=1):
        drawn = training(run, f"training-{number}")
        if drawn is not None:
            figures[f"training-{number}.svg"] = drawn
    style = "".join(resource(f"templates/{name}").read_text(encoding="utf-8") for name in ("report.css", "compare.css"))
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
        tiles=_tiles(comparison),
        alt=_alternatives(comparison),
        outcome=_outcome,
        directions=DIRECTIONS,
        shown=shown,
        value=value,
        interval=interval,
        at_step=_at_step,
        p_shown=p_shown,
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        picture={
            name.removesuffix(".svg"): f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
            for name, content in figures.items()
        },
    )
    return html, figures


def _tiles(comparison: Comparison) -> list[dict[str, str]]:
    rows = [row for pair in comparison.pairs for row in pair.differences if row.decides]
    counts = [sum(row.direction == direction for row in rows) for direction in ("worse", "better")]
    changed = sum(len(pair.outcomes) for pair in comparison.pairs)
    clauses = sum(len(pair.clauses) for pair in comparison.pairs)
    return [
        {"value": f"{counts[0]} of {len(rows)}", "label": "deciding differences shown to be worse"},
        {"value": f"{counts[1]} of {len(rows)}", "label": "shown to be better"},
        {"value": str(changed), "label": "outcomes changed"},
        {"value": str(clauses), "label": "clauses changed"},
    ]


def _alternatives(comparison: Comparison) -> dict[str, str]:
    """Return what each figure shows, in words; its numbers stand in the table beside it."""
    said = {"course": _curves_said(comparison.curves)}
    for number, pair in enumerate(comparison.pairs, start=1):
        rows = [row for row in pair.differences if row.decides and row.difference is not None]
        words = [
            f"{row.test} {shown(row.difference, signed=True)}, {DIRECTIONS[row.direction]['word']}" for row in rows
        ]
        said[f"forest-{number}"] = "Deciding differences with their intervals: " + "; ".join(words) + "."
    for number, run in enumerate(comparison.training, start=1):
        said[f"training-{number}"] = _training_said(run)
    return said


def _curves_said(curves: tuple[Curve, ...]) -> str:
    ends = [f"{curve.name} from {shown(curve.estimates[0])} to {shown(curve.estimates[-1])}" for curve in curves]
    return "Over the steps: " + "; ".join(ends) + "."


def _training_said(run: TrainingRun) -> str:
    words = []
    for name, key in (("training loss", "training"), ("held-out loss", "held_out")):
        values = [found for look in run.losses if (found := getattr(look, key)) is not None]
        words += [f"{name} from {values[0]:.3f} to {values[-1]:.3f} nat per token"] if values else []
    first, last = run.losses[0].step, run.losses[-1].step
    return (
        f"From step {first:g} to {last:g}: " + "; ".join(words) + f". {_curves_said(run.curves) if run.curves else ''}"
    )


def _outcome(found: Outcome) -> dict[str, str]:
    name, shape, word = OUTCOMES[found]
    return {"class": name, "shape": shape, "word": word}


def _at_step(curve: Curve, step: float) -> Estimate | None:
    return next((found for at, found in zip(curve.steps, curve.estimates, strict=True) if at == step), None)


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
    """Return an estimate as a reader would write it: value, unit, interval."""
    return "\u2013" if found is None else f"{value(found, signed=signed)} {interval(found, signed=signed)}"


def value(found: Estimate | None, *, signed: bool = False) -> str:
    """Return the value of an estimate with its unit; a difference of shares is in points."""
    if found is None:
        return "\u2013"
    unit = ("points" if signed else "%") if found.unit == "ratio" else found.unit
    return f"{_number(found, found.value, signed=signed)} {unit}"


def interval(found: Estimate | None, *, signed: bool = False) -> str:
    """Return the interval of an estimate in brackets; nothing where there is none."""
    if found is None:
        return ""
    return f"({_number(found, found.low, signed=signed)} to {_number(found, found.high, signed=signed)})"


def _number(found: Estimate, part: float, *, signed: bool) -> str:
    sign = "+" if signed else ""
    return f"{100 * part:{sign}.2f}" if found.unit == "ratio" else f"{part:{sign}.3g}"


def p_shown(value: float | None) -> str:
    """Return a p-value with two digits that count."""
    return "\u2013" if value is None else f"{value:.2g}"
