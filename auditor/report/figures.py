"""Draws figures as SVG, one function for each kind; the same data always gives the same bytes."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from auditor.core.resources import resource
from auditor.report.view import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.finding import Figure, Finding, Series

INK = "#1b2733"
QUIET = "#5f6b76"
GRID = "#d9dee3"
COLOURS = {"members": "#1f4e8c", "controls": "#a05a00", "reference": "#5f6b76", "limit": "#9b1c31"}
"""By role; the marks and lines differ too."""
MARKS = {"members": "o", "controls": "s", "reference": None, "limit": None}
LINES = {"members": "-", "controls": "--", "reference": ":", "limit": "-."}
SHADES = {
    "signal": "#9b1c31",
    "no-signal": "#1f4e8c",
    "inconclusive": "#7a5c00",
    "invalid": "#5b3a8c",
    "not-run": "#5f6b76",
    "not-applicable": "#5f6b76",
}
WIDTH, HEIGHT = 6.6, 3.1
"""Inches."""


def _canvas(height: float = HEIGHT) -> tuple[Any, Any]:
    from matplotlib import font_manager
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"):
        path = str(resource(f"templates/fonts/{name}"))
        if path not in known:
            font_manager.fontManager.addfont(path)
    canvas = Canvas(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasSVG(canvas)
    axes = canvas.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    return canvas, axes


def _saved(canvas: Any, identity: str) -> bytes:  # noqa: ANN401  (matplotlib has no types)
    from matplotlib import rc_context

    settings = {"svg.hashsalt": identity, "svg.fonttype": "path", "svg.id": None, "font.family": "DejaVu Sans"}
    out = io.BytesIO()
    with rc_context(settings):
        canvas.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def draw(figure: Figure, *, identity: str) -> bytes:
    """Return a figure as SVG.

    Args:
        figure: What to draw.
        identity: Words that make the ids in the file its own.
    """
    from matplotlib import rc_context

    with rc_context({"font.family": "DejaVu Sans", "font.size": 9}):
        canvas, axes = _canvas()
        if figure.x_scale == "log":
            axes.set_xscale("log", nonpositive="mask")
        if figure.y_scale == "log":
            axes.set_yscale("log", nonpositive="mask")
        for series in figure.series:
            if figure.kind in {"roc", "survival"}:
                _line(axes, series, steps=figure.kind == "survival")
            else:
                _points(axes, series)
        _scale(axes, figure)
        axes.set_xlabel(figure.x_label, color=INK)
        axes.set_ylabel(figure.y_label, color=INK)
        legend = axes.legend(fontsize=8, frameon=False, loc="best")
        for text in legend.get_texts():
            text.set_color(INK)
        return _saved(canvas, identity)


def _line(axes: Any, series: Series, *, steps: bool) -> None:  # noqa: ANN401
    colour = COLOURS[series.role]
    style = "steps-pre" if steps and series.role in {"members", "controls"} else "default"
    axes.plot(series.x, series.y, LINES[series.role], color=colour, linewidth=1.6, label=series.name, drawstyle=style)
    if series.low is not None and series.high is not None:
        step = "pre" if style == "steps-pre" else None
        axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.14, linewidth=0, step=step)


def _points(axes: Any, series: Series) -> None:  # noqa: ANN401
    colour = COLOURS[series.role]
    if series.role == "members" and series.low is not None and series.high is not None:
        below = [value - low for value, low in zip(series.y, series.low, strict=True)]
        above = [high - value for value, high in zip(series.y, series.high, strict=True)]
        axes.errorbar(
            series.x,
            series.y,
            yerr=[below, above],
            fmt="o-",
            color=colour,
            capsize=3,
            linewidth=1.2,
            markersize=5,
            label=series.name,
        )
        return
    axes.plot(series.x, series.y, LINES[series.role], color=colour, linewidth=1.4, label=series.name)
    if series.low is not None and series.high is not None:
        axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.16, linewidth=0)


def _scale(axes: Any, figure: Figure) -> None:  # noqa: ANN401
    from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, ScalarFormatter

    if figure.x_scale == "log2":
        axes.set_xscale("log", base=2)
        ticks = sorted({round(x) for series in figure.series if series.role == "members" for x in series.x})
        axes.xaxis.set_major_locator(FixedLocator([float(tick) for tick in ticks]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
    if figure.y_scale != "log" and figure.kind in {"intervals", "survival"}:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylim(bottom=-0.02)
    elif figure.y_scale != "log":
        axes.set_ylim(bottom=min(0.0, *(value for series in figure.series for value in series.y)))
    if figure.kind == "roc":
        low = min((x for series in figure.series for x in series.x if 0 < x < 1), default=1e-3)
        axes.set_xlim(max(low, 1e-4), 1.0)
        axes.set_ylim(max(low, 1e-4), 1.05)


def forest(findings: Sequence[Finding]) -> bytes | None:
    """Return the excess of every measured test with its interval, each as a multiple of its tolerance; None if there is none.

    Tests have different units; what they share is how far they lie from what is tolerated (1) and from nothing (0).
    """
    from matplotlib import rc_context

    rows = [
        (finding, finding.measurement.excess, finding.tolerance)
        for finding in findings
        if finding.measurement is not None
        and finding.measurement.excess is not None
        and finding.tolerance is not None
        and finding.tolerance.statistic == finding.measurement.statistic
        and finding.tolerance.at_most > 0
    ]
    if not rows:
        return None
    with rc_context({"font.family": "DejaVu Sans", "font.size": 9}):
        canvas, axes = _canvas(0.9 + 0.42 * len(rows))
        for position, (finding, excess, tolerance) in enumerate(rows):
            scaled = [_signed_root(value / tolerance.at_most) for value in (excess.low, excess.value, excess.high)]
            name, word, _, _ = OUTCOMES[finding.outcome]
            axes.plot([scaled[0], scaled[2]], [position, position], "-", color=SHADES[name], linewidth=2.2)
            axes.plot(scaled[1], position, "o", color=SHADES[name], markersize=6)
            axes.annotate(
                word, (scaled[2], position), textcoords="offset points", xytext=(8, -3), fontsize=8, color=SHADES[name]
            )
        axes.axvline(_signed_root(0.0), color=QUIET, linewidth=1.0, linestyle=":")
        axes.axvline(_signed_root(1.0), color=COLOURS["limit"], linewidth=1.2, linestyle="-.")
        axes.set_yticks(range(len(rows)), [finding.test for finding, _, _ in rows])
        axes.invert_yaxis()
        axes.margins(y=0.18, x=0.16)
        ticks = [
            value for value in (-100, -10, -1, 0, 1, 10, 100, 1000) if _within(axes.get_xlim(), _signed_root(value))
        ]
        axes.set_xticks([_signed_root(value) for value in ticks], [f"{value:g}" for value in ticks])
        axes.set_xlabel("excess over the control, as a multiple of the tolerance (compressed scale)", color=INK)
        return _saved(canvas, "forest")


def _signed_root(value: float) -> float:
    """Return the value on a scale that shows 0, 1 and 1000 in one picture: sign(x) log(1 + |x|)."""
    return math.copysign(math.log1p(abs(value)), value)


def _within(limits: tuple[float, float], value: float) -> bool:
    return limits[0] <= value <= limits[1]
