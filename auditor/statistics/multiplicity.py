"""Several tests of one battery, and the chance that any of them errs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditor.statistics._checks import vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.statistics._checks import FloatArray


def _p_values(p: Sequence[float]) -> FloatArray:
    values = vector(p, "p-values", least=0)
    if (values < 0).any() or (values > 1).any():
        where = int(np.flatnonzero((values < 0) | (values > 1))[0])
        msg = f"p-value {where} is {values[where]}: a p-value lies between 0 and 1"
        raise ValueError(msg)
    return values


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Rejecting what is at or below alpha errs anywhere in the family with probability at most alpha.

    Args:
        p: p-values of all tests declared beforehand, each between 0 and 1, of any dependence.

    Returns:
        Adjusted p-values in the order given.

    Raises:
        ValueError: If a p-value is NaN or outside 0 to 1.

    Source:
        Holm (1979), Scand. J. Stat. 6:65.
    """
    values = _p_values(p)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, values[order] * np.arange(values.size, 0, -1)))
    return tuple(float(x) for x in adjusted)


def bonferroni(p: Sequence[float]) -> tuple[float, ...]:
    """Rejecting what is at or below alpha errs anywhere in the family with probability at most alpha; Holm finds more.

    Args:
        p: p-values of all tests declared beforehand, each between 0 and 1.

    Returns:
        Each p-value times their number, at most 1, in the order given.

    Raises:
        ValueError: If a p-value is NaN or outside 0 to 1.

    Source:
        Dunn (1961), J. Am. Stat. Assoc. 56:52.
    """
    values = _p_values(p)
    return tuple(float(min(1.0, x * values.size)) for x in values)
