"""Draws a comparison as SVG; the same numbers always give the same bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from auditor.core.resources import resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.comparison import Curve, Difference, TrainingRun

INK, QUIET, GRID = "#1b2733", "#5f6b76", "#d9dee3"
DIRECTIONS = {"worse": ("#9b1c31", "o"), "better": ("#1f4e8c", "s"), "not shown": (QUIET, "D")}
"""Colour and mark; the mark tells them apart without the colour."""
LINES = (("#1f4e8c", "o-"), ("#a05a00", "s--"), ("#9b1c31", "D-."), ("#5b3a8c", "^:"), ("#2f6b3a", "v-"))
LOSSES = (("training loss (members)", "training"), ("held-out loss (controls)", "held_out"))
"""What the losses of a look are called, and their fields."""
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
            axes.set_yticks(range(len(mine)), [_plain(row.test) for row in mine])
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
                _with_intervals(axes, curve, LINES[number % len(LINES)])
            axes.set_ylabel(label, color=INK)
            _legend(axes)
        panels[-1].set_xlabel("step", color=INK)
        return _saved(canvas, identity)


def training(run: TrainingRun, identity: str) -> bytes | None:
    """Return the losses of a training run above what its looks measured, over the same steps; None if there is neither."""
    losses = [(name, [(look.step, getattr(look, key)) for look in run.losses]) for name, key in LOSSES]
    shown = [(name, [(step, value) for step, value in points if value is not None]) for name, points in losses]
    shown = [(name, points) for name, points in shown if points]
    units = list(dict.fromkeys(curve.unit for curve in run.curves))
    if not shown and not units:
        return None
    with _settings():
        canvas, panels = _canvas(bool(shown) + len(units), [2.1] * (bool(shown) + len(units)), sharex=True)
        if shown:
            for number, (name, points) in enumerate(shown):
                colour, line = LINES[number]
                panels[0].plot(*zip(*points, strict=True), line, color=colour, linewidth=1.2, markersize=4, label=name)
            panels[0].set_ylabel("loss, nat per token", color=INK)
        for unit, axes in zip(units, panels[bool(shown) :], strict=True):
            for number, curve in enumerate(curve for curve in run.curves if curve.unit == unit):
                _with_intervals(axes, curve, LINES[number + 2 if number + 2 < len(LINES) else number % len(LINES)])
            axes.axhline(0.0, color=INK, linewidth=0.8)
            axes.set_ylabel(f"excess, {unit}", color=INK)
        for number, axes in enumerate(panels):
            for label, step in run.ends.items():
                axes.axvline(step, color=QUIET, linewidth=1.0, linestyle=":")
                if number == 0:
                    place = {"xycoords": ("data", "axes fraction"), "ha": "right", "va": "top"}
                    axes.annotate(f"{_plain(label, 28)} ", (step, 1.0), fontsize=7, color=QUIET, **place)
            _legend(axes)
        panels[-1].set_xlabel("optimizer step", color=INK)
        return _saved(canvas, identity)


def _plain(text: str, longest: int = 60) -> str:
    """Return a text that is drawn as it is: no formula, no name that a legend hides, no letter that the font lacks, not too long."""
    known = "".join(letter if letter.isprintable() and ord(letter) < _LATIN else "?" for letter in text)
    cut = known if len(known) <= longest else f"\u2026{known[1 - longest :]}"
    return f"{' ' if cut.startswith('_') else ''}{cut}".replace("$", r"\$")


_LATIN = 0x250
"""Code points below it have a glyph in the shipped font."""


def _with_intervals(axes: Any, curve: Curve, style: tuple[str, str]) -> None:  # noqa: ANN401  (matplotlib has no types)
    values = [found.value for found in curve.estimates]
    below = [found.value - found.low for found in curve.estimates]
    above = [found.high - found.value for found in curve.estimates]
    axes.errorbar(
        curve.steps, values, yerr=[below, above], fmt=style[1], color=style[0], capsize=3, linewidth=1.2, markersize=4,
        label=_plain(curve.name),
    )  # fmt: skip


def _legend(axes: Any) -> None:  # noqa: ANN401  (matplotlib has no types)
    """Name the curves above the panel, where no curve runs."""
    axes.legend(
        fontsize=7,
        frameon=False,
        labelcolor=INK,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.2,
        ncols=2,
    )


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
