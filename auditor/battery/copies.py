"""How often a record stood in training, in bins, and the figure of a rate over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditor.battery.estimates import between, percent, rate
from auditor.core.finding import Figure, Series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.core.finding import Estimate

COPIES = ((1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63), (64, 1 << 30))
"""Bins of how often a record stood in training, first and last count."""


def copies_label(first: int, last: int) -> str:
    """Return how a bin of copies is called."""
    if first == last:
        return str(first)
    return f"{first}+" if last >= 1 << 30 else f"{first}-{last}"


def copies_bins(copies: NDArray[np.integer]) -> Sequence[tuple[str, NDArray[np.bool_], float]]:
    """Return label, selection and middle of every bin of copies that has a record."""
    found = []
    for first, last in COPIES:
        chosen = (copies >= first) & (copies <= last)
        if chosen.any():
            found.append((copies_label(first, last), chosen, float(np.median(copies[chosen]))))
    return found


def copies_figure(
    copies: NDArray[np.integer],
    flagged: NDArray[np.bool_],
    clusters: NDArray[np.object_],
    control: Estimate | None,
    level: float,
    *,
    title: str,
    of: str = "records",
    x_label: str = "copies in training",
) -> Figure:
    """Return the share of members that is flagged, by their copies, beside that of all controls.

    Args:
        copies: How often each member stood in training, shape [members].
        flagged: What is counted, shape [members].
        clusters: Person or document of each member, shape [members].
        control: The rate of the controls; None: there are none.
        level: Confidence level of the intervals.
        title: Title of the figure.
        of: What is counted, in words: `records`, `images`, `captions`.
        x_label: What was copied.
    """
    bins = copies_bins(copies)
    rates = [rate(flagged[chosen], clusters[chosen], level) for _, chosen, _ in bins]
    middles = tuple(middle for _, _, middle in bins)
    series = [
        Series(
            name=f"members' {of}",
            x=middles,
            y=tuple(found.value for found in rates),
            low=tuple(found.low for found in rates),
            high=tuple(found.high for found in rates),
            role="members",
        )
    ]
    if control is not None:
        ends = (min(middles), max(middles)) if len(middles) > 1 else (middles[0] / 1.5, middles[0] * 1.5)
        series.append(
            Series(
                name=f"controls' {of}",
                x=ends,
                y=(control.value,) * 2,
                low=(control.low,) * 2,
                high=(control.high,) * 2,
                role="controls",
            )
        )
    parts = ", ".join(
        f"{label} copies {percent(found.value)}" for (label, _, _), found in zip(bins, rates, strict=True)
    )
    beside = f"; controls {between(control)}" if control else ""
    return Figure(
        kind="intervals",
        title=title,
        x_label=x_label,
        y_label=f"share of {of}",
        series=tuple(series),
        x_scale="log2" if len(bins) > 1 else "linear",
        caption=f"Share of members' {of} by how often they stood in training, with intervals: {parts}{beside}.",
    )
