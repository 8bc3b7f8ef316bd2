"""What the page of one finding shows: question, answer, numbers beside their control, the worst strata, exhibits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from auditor.report.scale import Scale
from auditor.report.writing import estimate, number, outcome, p_value, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditor.core.finding import Estimate, Figure, Finding, Measurement, Series, Stratum
    from auditor.core.policy import Tolerance

MOST_ROWS = 200
"""Rows of a table in the report; the rest is in the attached findings."""
MOST_GROUPS = 40
"""Tables of strata of one finding."""
MOST_PICTURES = 48
"""Exhibits of one finding that are shown as pictures."""
MOST_POINTS = 12
"""Points of a series that stand in the table of its figure."""
MOST_BESIDE = 20
"""Rows of numbers, heads included, that are as high as a figure in print."""
MOST_COLUMNS_BESIDE = 2
ATTACHED = "findings.json"


def finding_page(item: Finding, index: int) -> dict[str, Any]:
    """Return what the page of a finding prints.

    Args:
        item: The finding.
        index: Its number in the report, from 1.
    """
    measured = item.measurement
    return {
        "anchor": f"test-{index}",
        "number": index,
        "test": item.test,
        "title": measured.title if measured else item.test,
        "outcome": outcome(item.outcome),
        "reason": _reason(item),
        "required": item.required,
        "p_adjusted": p_value(item.p_adjusted),
        "battery": item.battery,
        "tolerance": tolerance(item.tolerance),
        "evidence_for": item.evidence_for,
        "measured": _measured(measured, item.tolerance) if measured else None,
        "figures": [_drawn_figure(figure, f"{index}-{place}") for place, figure in enumerate(measured.figures, start=1)]
        if measured
        else [],
    }


def _reason(item: Finding) -> str:
    """Return the reason of an outcome without the answer, which stands right above it."""
    answer = item.measurement.answer if item.measurement is not None else ""
    return item.reason.removeprefix(answer).strip() or item.reason


def tolerance(found: Tolerance | None) -> dict[str, str] | None:
    """Return what is tolerated, formatted."""
    if found is None:
        return None
    absolute = found.absolute_at_most if found.absolute_at_most is not None else found.at_most
    return {
        "statistic": found.statistic.replace("_", " "),
        "at_most": number(found.at_most, found.unit),
        "absolute": number(absolute, found.unit),
        "population": found.population,
        "reason": found.reason,
        "set_by": found.set_by,
    }


def above_control(row: Stratum) -> float:
    """Return how far the lower end of a stratum lies above its control: what is surely worst stands first."""
    return row.estimate.low - (row.control.value if row.control is not None else 0.0)


def position(row: Stratum) -> dict[str, str]:
    """Return in word and shape where the interval of a stratum lies: apart from its control's, or not."""
    if row.control is None:
        return {"class": "alone", "word": "no control", "shape": "\u25cc"}
    if row.estimate.low > row.control.high:
        return {"class": "above", "word": "above control", "shape": "\u25b2"}
    if row.estimate.high < row.control.low:
        return {"class": "below", "word": "below control", "shape": "\u25bc"}
    return {"class": "among", "word": "overlaps control", "shape": "\u25c7"}


def _measured(item: Measurement, held: Tolerance | None) -> dict[str, Any]:
    unit = item.estimate.unit if item.estimate is not None else ""
    applies = held is not None and held.statistic == item.statistic and held.unit == unit
    limit = held.at_most if held is not None and applies else None
    absolute = held.absolute_at_most if held is not None and applies and held.absolute_at_most is not None else limit
    numbers = [
        ("Estimate (members)", item.estimate, absolute),
        ("Control", item.control, None),
        ("Excess", item.excess, limit),
    ]
    scale = Scale(
        _ends([found for _, found, _ in numbers if found is not None and found.unit == unit], limit, absolute)
    )
    exhibits = item.exhibits[:MOST_ROWS]
    divided = groups(item.strata)
    return {
        "statistic": item.statistic.replace("_", " "),
        "question": item.question,
        "answer": item.answer,
        "estimate": estimate(item.estimate),
        "control": estimate(item.control),
        "control_reason": item.control_reason,
        "excess": estimate(item.excess),
        "numbers": [
            {
                "label": label,
                "found": estimate(found),
                "picture": _drawn(scale, label, found, end) if found is not None and found.unit == unit else "",
            }
            for label, found, end in numbers
        ],
        "p_value": p_value(item.p_value),
        "access": item.access,
        "sample": ", ".join(
            [
                plural(item.members, "member"),
                plural(item.controls, "control"),
                *([plural(item.canaries, "planted canary", "planted canaries")] if item.canaries else []),
            ]
        ),
        "gates": item.gates[:MOST_ROWS],
        "gates_held": all(gate.held for gate in item.gates),
        "power": item.power,
        "smallest": number(item.power.smallest_effect, item.power.unit),
        "groups": divided,
        "controlled": any(group["controlled"] for group in divided),
        "columns": 6 if any(group["controlled"] for group in divided) else 4,
        "exhibits": [
            {
                "record": row.record,
                "excerpt": row.excerpt,
                "note": row.note,
                "picture": _picture(row.picture) if place < MOST_PICTURES else "",
            }
            for place, row in enumerate(exhibits)
        ],
        "all_exhibits": len(item.exhibits),
        "pictured": any(row.picture for row in exhibits),
        "caveats": item.caveats[:MOST_ROWS],
        "method": item.method,
        "advice": item.advice,
        "source": item.source,
        "observations": item.observations,
    }


def _drawn(scale: Scale, label: str, found: Estimate, limit: float | None) -> str:
    row = scale.row(None, found) if label == "Control" else scale.row(found, None, limit)
    return Markup(row)  # noqa: S704  (made of numbers)


def _picture(content: str) -> str:
    """Return a picture as an address within the page; its record holds the content to be base64."""
    return Markup(f"data:image/png;base64,{content}") if content else ""  # noqa: S704


def _ends(found: Iterable[Estimate], *more: float | None) -> list[float]:
    ends = [end for item in found for end in (item.low, item.high)]
    return [*ends, *(value for value in more if value is not None)]


def groups(strata: Sequence[Stratum]) -> list[dict[str, Any]]:
    """Return the strata, table by table: in their own order where all fit, else the worst of each table."""
    kinds: dict[str, list[Stratum]] = {}
    for row in strata:
        kinds.setdefault(row.by, []).append(row)
    shown = sorted(kinds, key=lambda by: -max(map(above_control, kinds[by])))[:MOST_GROUPS]
    most = MOST_ROWS // max(len(shown), 1)
    return [_group(by, kinds[by], most, left_out=len(kinds) - len(shown)) for by in sorted(shown)]


def _group(by: str, rows: list[Stratum], most: int, *, left_out: int) -> dict[str, Any]:
    worst = max(rows, key=above_control)
    kept = rows if len(rows) <= most else sorted(rows, key=above_control, reverse=True)[:most]
    units = {row.estimate.unit for row in kept}
    scale = Scale(
        _ends([found for row in kept for found in (row.estimate, row.control) if found is not None]),
    )
    return {
        "by": by,
        "all": len(rows),
        "cut": len(rows) > most,
        "other_tables": left_out,
        "worst": worst.label,
        "worst_row": _row(worst, None),
        "controlled": any(row.control is not None for row in kept),
        "rows": [
            {**_row(row, scale if len(units) == 1 else None), "worst": row is worst and len(rows) > 1} for row in kept
        ],
    }


def _row(row: Stratum, scale: Scale | None) -> dict[str, Any]:
    return {
        "label": row.label,
        "estimate": estimate(row.estimate),
        "control": estimate(row.control),
        "note": row.note,
        "position": position(row),
        "picture": Markup(scale.row(row.estimate, row.control)) if scale is not None else "",  # noqa: S704  (made of numbers)
    }


def _drawn_figure(figure: Figure, key: str) -> dict[str, Any]:
    """Return a figure with its numbers, and whether these are few enough to stand beside it on paper."""
    tables = figure_tables(figure)
    rows = sum(len(table["rows"]) + 2 for table in tables)
    beside = rows <= MOST_BESIDE and all(len(table["columns"]) <= MOST_COLUMNS_BESIDE for table in tables)
    return {"key": key, "figure": figure, "tables": tables, "beside": beside}


def figure_tables(figure: Figure) -> list[dict[str, Any]]:
    """Return the numbers of a figure as tables: series over the same points share one."""
    alike: dict[tuple[float, ...], list[Series]] = {}
    for series in figure.series:
        alike.setdefault(series.x, []).append(series)
    return [
        {
            "columns": [series.name for series in together],
            "points": len(x),
            "shown": len(thinned(len(x), MOST_POINTS)),
            "rows": [
                {"x": f"{x[place]:.4g}", "cells": [_cell(series, place) for series in together]}
                for place in thinned(len(x), MOST_POINTS)
            ],
        }
        for x, together in alike.items()
        if x
    ]


def _cell(series: Series, place: int) -> str:
    value = f"{series.y[place]:.4g}"
    if series.low is None or series.high is None:
        return value
    return f"{value} [{series.low[place]:.4g}, {series.high[place]:.4g}]"


def thinned(count: int, most: int) -> list[int]:
    """Return places spread evenly over a series, its first and last among them, at most so many."""
    if count <= most:
        return list(range(count))
    return sorted({round(step * (count - 1) / (most - 1)) for step in range(most)})
