"""Draws figures as SVG, one function for each kind; the same data always gives the same bytes."""

from __future__ import annotations

import io
import math
import re
from typing import TYPE_CHECKING, Any

from auditor.core.resources import resource
from auditor.report.finding_page import thinned
from auditor.report.glyphs import drawable
from auditor.report.slender import slender
from auditor.report.writing import OUTCOMES, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    "no-signal": "#0f5c63",
    "inconclusive": "#7a5c00",
    "invalid": "#5b3a8c",
    "not-run": "#5f6b76",
    "not-applicable": "#5f6b76",
}
SHAPES = {"signal": "s", "no-signal": "o", "inconclusive": "D", "invalid": "X", "not-run": "_", "not-applicable": "_"}
"""Marks of outcomes: told apart without colour."""
WIDTH, HEIGHT = 4.7, 2.35
"""Inches of a figure; beside its numbers it is drawn about as large on paper, so that its letters are those of the page."""
HALF = 0.5
"""A survival curve that stays below this share is drawn on a scale of its own."""
WIDE = 7.1
"""Inches: the width of a page."""
FACES = ("SourceSans3-Regular.ttf", "SourceSans3-SemiBold.ttf", "DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
_FAMILY = re.compile(r"(font(?:-family)?: (?:[^;\"]*px )?)'Source Sans 3'[^;\"]*")
READERS = "'Source Sans 3', system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
"""Fonts that a browser may take: a picture within a page cannot bring its own."""
MOST_POINTS = 1000
"""Points of a series that are drawn."""
LONGEST_LABEL = 60
LONGEST_UPRIGHT = 42
"""Characters that fit beside the height of a figure; longer words are set smaller."""
MOST_FINDINGS = 100
"""Rows of the overview."""
_FONT = {
    "font.family": ["Source Sans 3", "DejaVu Sans"],
    "font.size": 9,
    "text.parse_math": False,  # a name may hold a dollar sign
    "axes.unicode_minus": True,
}


def _label(text: str) -> str:
    """Return words as they can stand in a figure: drawn by the shipped font, on one line, never hidden from a legend."""
    short = " ".join(text[: LONGEST_LABEL + 1].split())
    short = f"{short[:LONGEST_LABEL]}\u2026" if len(text) > LONGEST_LABEL else short
    shown = drawable(spelled(short), faces=FACES)
    return f"\u200a{shown}" if shown.startswith("_") else shown


def _canvas(
    height: float = HEIGHT, *, width: float = WIDTH, left: float = 0.62, right: float = 0.12
) -> tuple[Any, Any]:
    """Return a canvas with axes in fixed margins, inches: measuring every word first would take as long as drawing."""
    from matplotlib import font_manager
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for name in FACES:
        path = str(resource(f"templates/fonts/{name}"))
        if path not in known:
            font_manager.fontManager.addfont(path)
    canvas = Canvas(figsize=(width, height))
    FigureCanvasSVG(canvas)
    low, top = 0.44, 0.08
    axes = canvas.add_axes((left / width, low / height, (width - left - right) / width, (height - low - top) / height))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
    axes.tick_params(colors=INK, labelsize=8, length=0, which="both")
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    return canvas, axes


def _saved(canvas: Any, identity: str) -> bytes:  # noqa: ANN401  (matplotlib has no types)
    from matplotlib import rc_context

    settings = {**_FONT, "svg.hashsalt": identity, "svg.fonttype": "none", "svg.id": None}
    out = io.BytesIO()
    with rc_context(settings):
        canvas.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return slender(_FAMILY.sub(rf"\1{READERS}", out.getvalue().decode())).encode()


def draw(figure: Figure, *, identity: str) -> bytes:
    """Return a figure as SVG.

    Args:
        figure: What to draw.
        identity: Words that make the ids in the file its own.
    """
    from matplotlib import rc_context

    with rc_context(_FONT):
        canvas, axes = _canvas()
        if figure.x_scale == "log":
            axes.set_xscale("log", nonpositive="mask")
        if figure.y_scale == "log":
            axes.set_yscale("log", nonpositive="mask")
        for series in map(_fewer, figure.series):
            if figure.kind in {"roc", "survival"}:
                _line(axes, series, steps=figure.kind == "survival")
            else:
                _points(axes, series)
        _scale(axes, figure)
        axes.set_xlabel(_label(figure.x_label), color=INK)
        label = _label(figure.y_label)
        axes.set_ylabel(label, color=INK, fontsize=min(9.0, LONGEST_UPRIGHT * 9.0 / max(len(label), 1)))
        legend = axes.legend(fontsize=8, frameon=False, loc="best")
        for text in legend.get_texts():
            text.set_color(INK)
        return _saved(canvas, identity)


def _fewer(series: Series) -> Series:
    """Return a series with no more points than can be seen, its ends among them."""
    places = thinned(len(series.x), MOST_POINTS)
    if len(places) == len(series.x):
        return series
    named = ("x", "y", "low", "high")
    values = {name: getattr(series, name) for name in named}
    return series.model_copy(
        update={name: tuple(found[place] for place in places) for name, found in values.items() if found is not None}
    )


def _line(axes: Any, series: Series, *, steps: bool) -> None:  # noqa: ANN401
    colour = COLOURS[series.role]
    style = "steps-pre" if steps and series.role in {"members", "controls"} else "default"
    axes.plot(
        series.x, series.y, LINES[series.role], color=colour, linewidth=1.6, label=_label(series.name), drawstyle=style
    )
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
            label=_label(series.name),
        )
        return
    axes.plot(series.x, series.y, LINES[series.role], color=colour, linewidth=1.4, label=_label(series.name))
    if series.low is not None and series.high is not None:
        axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.16, linewidth=0)


def _scale(axes: Any, figure: Figure) -> None:  # noqa: ANN401
    from matplotlib.ticker import (
        FixedLocator,
        FuncFormatter,
        NullFormatter,
        NullLocator,
        PercentFormatter,
        ScalarFormatter,
    )

    for name, axis in ((figure.x_scale, axes.xaxis), (figure.y_scale, axes.yaxis)):
        if name == "log":  # plain figures: a power would need the parser of formulas
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())

    if figure.x_scale == "log2":
        axes.set_xscale("log", base=2)
        ticks = sorted({round(x) for series in figure.series if series.role == "members" for x in series.x})
        axes.xaxis.set_major_locator(FixedLocator([float(tick) for tick in ticks]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
    if figure.y_scale != "log" and figure.kind in {"intervals", "survival"}:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        seen = [
            end
            for series in figure.series
            if series.role != "limit"
            for end in (*series.y, *(series.high or ()))
            if math.isfinite(end)
        ]
        most = max(seen, default=1.0)
        if figure.kind == "survival" and 0 < most < HALF:  # what is small is seen, a limit is a line that goes on
            axes.set_ylim(bottom=-0.02 * most, top=1.2 * most)
        else:
            axes.set_ylim(bottom=-0.02)
    elif figure.y_scale != "log":
        axes.set_ylim(bottom=min(0.0, *(value for series in figure.series for value in series.y)))
    if figure.kind == "roc":
        low = min((x for series in figure.series for x in series.x if 0 < x < 1), default=1e-3)
        axes.set_xlim(max(low, 1e-4), 1.0)
        axes.set_ylim(max(low, 1e-4), 1.05)


def forest(findings: Sequence[Finding], say: Callable[[str], str] = str) -> bytes | None:
    """Return the excess of every test with its interval, each as a multiple of its tolerance; None where none can be drawn.

    Tests have different units; what they share is how far they lie from what is tolerated (1) and from nothing (0).
    A test without such a number has its row all the same, which says why it is empty.

    Args:
        findings: The battery.
        say: Says a text in the language of whoever reads.
    """
    from matplotlib import rc_context

    shown = findings[:MOST_FINDINGS]
    if not any(_multiples(finding) for finding in shown):
        return None
    with rc_context(_FONT):
        titles = [_label(say(_title(finding))) for finding in shown]
        words = {finding.outcome: say(OUTCOMES[finding.outcome][1]) for finding in shown}
        longest = max(map(len, titles))
        canvas, axes = _canvas(
            0.5 + 0.175 * len(shown),
            width=WIDE,
            left=min(0.2 + 0.062 * longest, 3.0),
            right=max(1.0, 0.2 + 0.062 * max(map(len, words.values()))),
        )
        beside = axes.get_yaxis_transform()
        for place, finding in enumerate(shown):
            name, word = OUTCOMES[finding.outcome][0], words[finding.outcome]
            colour, scaled = SHADES[name], _multiples(finding)
            axes.text(
                1.02,
                place,
                word,
                transform=beside,
                va="center",
                fontsize=8,
                color=colour,
                family="Source Sans 3",
                fontweight="semibold",
            )
            if scaled is None:
                axes.text(
                    0.5,
                    place,
                    say(_without(finding)),
                    transform=beside,
                    ha="center",
                    va="center",
                    fontsize=7,
                    color=QUIET,
                )
                continue
            low, value, high = (_signed_log(end) for end in scaled)
            axes.plot([low, high], [place, place], "-", color=colour, linewidth=2.4, solid_capstyle="butt")
            axes.plot(
                value, place, SHAPES[name], color=colour, markersize=6.5, markeredgecolor="white", markeredgewidth=0.7
            )
        axes.axvline(_signed_log(0.0), color=QUIET, linewidth=1.0, linestyle=":")
        axes.axvline(_signed_log(1.0), color=COLOURS["limit"], linewidth=1.4, linestyle="-.")
        axes.set_yticks(range(len(shown)), titles)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.margins(x=0.05)
        axes.grid(visible=False, axis="y")
        known = (-1000, -100, -10, -1, 0, 1, 10, 100, 1000, 10000)
        ticks = [value for value in known if _within(axes.get_xlim(), _signed_log(value))]
        axes.set_xticks([_signed_log(value) for value in ticks], [f"{value:g}" for value in ticks])
        axes.set_xlabel(say("excess, as a multiple of the tolerance (compressed)"), color=INK)
        return _saved(canvas, "forest")


def _title(finding: Finding) -> str:
    return finding.measurement.title if finding.measurement is not None else finding.test


def _multiples(finding: Finding) -> tuple[float, float, float] | None:
    """Return the excess with its interval as multiples of the tolerance; None where they cannot be compared."""
    measured, held = finding.measurement, finding.tolerance
    if measured is None or measured.excess is None or held is None:
        return None
    if held.statistic != measured.statistic or held.at_most <= 0:
        return None
    return measured.excess.low / held.at_most, measured.excess.value / held.at_most, measured.excess.high / held.at_most


def _without(finding: Finding) -> str:
    if finding.measurement is None:
        return "not measured"
    if finding.measurement.excess is None:
        return "no excess: no control of this kind"
    return "no tolerance above zero is named for this number"


def _signed_log(value: float) -> float:
    """Return the value on a scale that shows 0, 1 and 1000 in one picture: sign(x) log(1 + |x|)."""
    return math.copysign(math.log1p(abs(value)), value)


def _within(limits: tuple[float, float], value: float) -> bool:
    return limits[0] <= value <= limits[1]
