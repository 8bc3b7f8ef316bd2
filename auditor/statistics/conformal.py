"""p-values of single records, calibrated on controls, and how many of those called would be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditor.statistics._checks import vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray


def conformal_p(scores: ArrayLike, calibration: ArrayLike) -> FloatArray:
    """Each p-value is at or below any alpha with probability at most alpha, if its record is exchangeable with the controls.

    Args:
        scores: Scores of the records, higher for more unusual, shape [n].
        calibration: Scores of controls, shape [n0].

    Returns:
        (1 + number of controls at or above the score) / (n0 + 1), shape [n].

    Raises:
        ValueError: A sample is empty or holds NaN.

    Source:
        Vovk, Gammerman, Shafer (2005); marginal p-values of Bates, Candes, Lei, Romano, Sesia (2023), Ann. Stat. 51:149.
    """
    values, controls = vector(scores, "scores", finite=False), np.sort(vector(calibration, "calibration", finite=False))
    above = controls.size - np.searchsorted(controls, values, "left")
    return np.asarray((1.0 + above) / (controls.size + 1.0), dtype=np.float64)


def benjamini_hochberg(p: Sequence[float] | ArrayLike) -> FloatArray:
    """Calling all that is at or below q keeps the expected share of false calls at q or less.

    Args:
        p: p-values, independent or positively dependent (as conformal p-values that share their controls are), shape [n].

    Returns:
        Adjusted p-values in the order given.

    Raises:
        ValueError: There is none, or one is NaN or outside 0 to 1.

    Source:
        Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57:289; for conformal p-values Bates et al. (2023).
    """
    values = vector(np.asarray(p), "p-values")
    if (values < 0.0).any() or (values > 1.0).any():
        msg = "a p-value lies outside 0 to 1"
        raise ValueError(msg)
    order = np.argsort(values, kind="stable")
    steps = values[order] * values.size / np.arange(1, values.size + 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return adjusted
