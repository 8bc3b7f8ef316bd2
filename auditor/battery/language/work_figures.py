"""Figures of works: how likely their passages are, how much of each comes out, and where in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditor.battery.estimates import estimate, percent
from auditor.battery.language.work_rows import Side, at_least, named, share
from auditor.core.finding import Estimate, Figure, Series
from auditor.statistics.interval import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.battery.language.work_windows import Rule, Work

SMALLEST = 1e-12
"""Left end of the survival figure."""
POINTS = 60
"""Steps along a work."""


def figures(members: Side, controls: Side | None, level: float, *, persons: bool) -> list[Figure]:
    """Return how likely passages are, how much of each work is covered, and where in the worst work."""
    sides = [("members' works", members, "members")] + ([("control works", controls, "controls")] if controls else [])
    grid = np.logspace(np.log10(SMALLEST), 0.0, 37)
    likely, coverage = [], []
    steps = np.linspace(0.05, 1.0, 20)  # all works have at least nothing
    for name, side, role in sides:
        rates = [share(at_least(min(float(point), 1.0))(side), side.windows, level) for point in grid]
        likely.append(_series(name, grid, rates, role))
        covered = side.covered / side.reach()
        counts = [int((covered >= step - 1e-9).sum()) for step in steps]
        ends = [estimate(clopper_pearson(count, len(covered), level), "ratio", len(covered)) for count in counts]
        coverage.append(_series(name, steps, ends, role))
    limit = members.rule.probability
    top = max(high for series in likely for high in series.high or (1.0,))
    likely.append(Series(name="counts from here", x=(limit, limit), y=(0.0, top), role="limit"))
    worst = members.order()[0]
    most = percent(float(members.covered[worst] / members.works[worst].reach))
    found = [
        Figure(
            kind="survival",
            title="How likely one query says a passage",
            x_label="probability of the passage in one query",
            y_label="share of a work's passages at or above",
            series=tuple(likely),
            x_scale="log",
            caption=(
                "Share of a work's passages that one query says with at least a probability, on average over works, with pointwise "
                f"intervals. {percent(float(members.shares().mean()))} of a members' work is at {limit:.3g} or above"
                + (f", {percent(float(controls.shares().mean()))} of a control work." if controls else ".")
            ),
        ),
        Figure(
            kind="survival",
            title="How much of each work is covered",
            x_label="share of the work's tokens in passages that come out",
            y_label="share of works with at least so much",
            series=tuple(coverage),
            caption=(
                "Share of works of which at least so much is covered by passages that come out, with exact intervals. The most "
                f"is {most} of one work."
            ),
        ),
    ]
    if members.out[worst]:
        found.append(_along(members.works[worst], members.rule, persons=persons))
    return found


def _series(name: str, x: NDArray[np.float64], rates: Sequence[Estimate], role: str) -> Series:
    return Series(
        name=name,
        x=tuple(float(value) for value in x),
        y=tuple(rate.value for rate in rates),
        low=tuple(rate.low for rate in rates),
        high=tuple(rate.high for rate in rates),
        role="members" if role == "members" else "controls",
    )


def _along(work: Work, rule: Rule, *, persons: bool) -> Figure:
    """Return where in a work passages come out."""
    cells = work.covered(work.extractable(rule))
    parts = [part for part in np.array_split(cells, min(POINTS, len(cells))) if len(part)]
    ends = np.cumsum([len(part) for part in parts]) / len(cells)
    return Figure(
        kind="intervals",
        title="Where in the work of which most comes out",
        x_label="place in the work, as a share of its tokens",
        y_label="share of tokens that come out",
        series=(
            Series(
                name=named(work, persons=persons),
                x=tuple(float(end) for end in ends),
                y=tuple(float(part.mean()) for part in parts),
                role="members",
            ),
        ),
        caption=(
            f"Share of the tokens in passages that come out, along the work in {len(parts)} steps, each shown at its end; "
            f"{percent(float(cells.mean()))} over the whole."
        ),
    )
