"""Draws one row of a table: a number with its interval beside its control, on a scale that the rows share."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditor.core.finding import Estimate

WIDTH, HEIGHT = 180, 18
"""Of one row, in px of the picture."""
MARGIN = 7
INK, CONTROL, LIMIT, QUIET = "#1f4e8c", "#a05a00", "#9b1c31", "#5f6b76"


class Scale:
    """A linear scale over everything that the rows of one table show."""

    def __init__(self, values: Iterable[float]) -> None:
        """Take the values that have to fit; zero always does."""
        known = [value for value in values if math.isfinite(value)]
        self.low, self.high = min([0.0, *known]), max([0.0, *known])
        if self.high == self.low:
            self.high = self.low + 1.0

    def at(self, value: float) -> float:
        """Return where a value lies, px from the left; what is off the scale lies at its end."""
        share = (value - self.low) / (self.high - self.low) if math.isfinite(value) else 1.0
        return round(MARGIN + min(max(share, 0.0), 1.0) * (WIDTH - 2 * MARGIN), 1)

    def row(self, found: Estimate | None, control: Estimate | None = None, limit: float | None = None) -> str:
        """Return a row as an address of a picture within the page: a filled dot, a hollow square for the control, a bar for the limit."""
        both = found is not None and control is not None
        above, below = (6, 13) if both else (9, 9)
        parts = [_line(self.at(0.0), 1, self.at(0.0), HEIGHT - 1, QUIET, "1 2", 1.0)]
        if limit is not None:
            parts.append(_line(self.at(limit), 0, self.at(limit), HEIGHT, LIMIT, "5 2 1 2", 1.4))
        if control is not None:
            at = self.at(control.value)
            parts.append(_line(self.at(control.low), below, self.at(control.high), below, CONTROL, "3 2", 1.6))
            parts.append(
                f'<rect x="{at - 2.6:g}" y="{below - 2.6:g}" width="5.2" height="5.2" fill="#fff" stroke="{CONTROL}" stroke-width="1.4"/>'
            )
        if found is not None:
            parts.append(_line(self.at(found.low), above, self.at(found.high), above, INK, "", 2.0))
            parts.append(f'<circle cx="{self.at(found.value):g}" cy="{above}" r="3.6" fill="{INK}"/>')
        drawing = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
            f"{''.join(parts)}</svg>"
        )
        return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str, width: float) -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" stroke-width="{width:g}"{dashed}/>'
