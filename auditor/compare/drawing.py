"""Draws a comparison as SVG; the same numbers always give the same bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from auditor.core.resources import resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.comparison import Curve, Difference

INK, QUIET, GRID = "#1b2733", "#5f6b76", "#d9dee3"
DIRECTIONS = {"worse": ("#9b1c31", "o"), "better": ("#1f4e8c", "s"), "not shown": (QUIET, "D")}
"""Colour and mark; the mark tells them apart without the colour."""
LINES = (("#1f4e8c", "o-"), ("#a05a00", "s--"), ("#9b1c31", "D-."), ("#5b3a8c", "^:"), ("#2f6b3a", "v-"))
WIDTH = 6.6
"""Inches."""


def forest(rows: Sequence[Difference], identity: str) -> bytes | None:
    """Return the deciding differences with their intervals, one panel for each unit; None if there is none."""
    shown = [row for row in rows if row.decides and row.difference is not None]
    if not shown:
        return None
    units = list(dict.fromkeys(row.difference.unit for row in shown if row.difference))
    counts = [sum(row.difference is not None and row.difference.unit == unit for row in shown) for unit in units]
    with _settings():
        canvas, panels = _canvas(len(units), [0.55 + 0.34 * count for count in counts])
        for unit, axes in zip(units, panels, strict=True):
            mine = [row for row in shown if row.difference is not None and row.difference.unit == unit]
            for place, row in enumerate(mine):
                found = row.difference
                if found is None:
                    continue
                colour, mark = DIRECTIONS[row.direction]
                axes.plot([found.low, found.high], [place, place], "-", color=colour, linewidth=2.0)
                axes.plot(found.value, place, mark, color=colour, markersize=6)
            axes.axvline(0.0, color=INK, linewidth=1.0, linestyle=":")
            axes.set_yticks(range(len(mine)), [row.test for row in mine])
            axes.set_ylim(len(mine) - 0.4, -0.6)
            axes.set_xlabel(f"difference, {unit} (right of zero: more of the records than before)", color=INK)
        return _saved(canvas, identity)


def course(curves: Sequence[Curve], identity: str) -> bytes | None:
    """Return losses above and findings below, over the same steps, one panel for each unit; None if there is no curve."""
    if not curves:
        return None
    losses = [curve for curve in curves if curve.role != "finding"]
    units = list(dict.fromkeys(curve.unit for curve in curves if curve.role == "finding"))
    panels_of = [("loss, " + losses[0].unit, losses)] if losses else []
    panels_of += [(f"excess, {unit}", [c for c in curves if c.role == "finding" and c.unit == unit]) for unit in units]
    with _settings():
        canvas, panels = _canvas(len(panels_of), [2.1] * len(panels_of), sharex=True)
        for (label, some), axes in zip(panels_of, panels, strict=True):
            for number, curve in enumerate(some):
                colour, line = LINES[number % len(LINES)]
                values = [found.value for found in curve.estimates]
                below = [found.value - found.low for found in curve.estimates]
                above = [found.high - found.value for found in curve.estimates]
                axes.errorbar(
                    curve.steps, values, yerr=[below, above], fmt=line, color=colour, capsize=3, linewidth=1.2,
                    markersize=4, label=curve.name,
                )  # fmt: skip
            axes.set_ylabel(label, color=INK)
            axes.legend(fontsize=7, frameon=False, loc="best", labelcolor=INK)
        panels[-1].set_xlabel("step", color=INK)
        return _saved(canvas, identity)


def _settings() -> Any:  # noqa: ANN401  (matplotlib has no types)
    from matplotlib import rc_context

    return rc_context({"font.family": "DejaVu Sans", "font.size": 9, "svg.fonttype": "path"})


def _canvas(rows: int, heights: Sequence[float], *, sharex: bool = False) -> tuple[Any, list[Any]]:
    from matplotlib import font_manager
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"):
        path = str(resource(f"templates/fonts/{name}"))
        if path not in known:
            font_manager.fontManager.addfont(path)
    canvas = Figure(figsize=(WIDTH, sum(heights) + 0.3), layout="constrained")
    FigureCanvasSVG(canvas)
    made = canvas.subplots(rows, 1, squeeze=False, sharex=sharex, height_ratios=list(heights))[:, 0]
    for axes in made:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.tick_params(colors=INK, labelsize=8)
        axes.grid(visible=True, color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
    return canvas, list(made)


def _saved(canvas: Any, identity: str) -> bytes:  # noqa: ANN401
    from matplotlib import rc_context

    out = io.BytesIO()
    with rc_context({"svg.hashsalt": identity, "svg.fonttype": "path", "svg.id": None}):
        canvas.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()
