"""How a ratio is said in a sentence: one form, so that two numbers of one sentence can be compared."""

from __future__ import annotations

__all__ = ["percent"]


def percent(value: float) -> str:
    """Return a ratio as a percentage with three to four digits, for example `12.5 %`, `1.34 %`, `0.012 %`."""
    if value != 0.0 and abs(value) < 0.0005:
        return f"{100 * value:.3f} %"
    return f"{100 * value:.2f} %" if abs(value) < 0.1 else f"{100 * value:.1f} %"
