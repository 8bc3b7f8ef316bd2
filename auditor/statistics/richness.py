"""How much has not been seen yet: unseen mass and number of kinds, from how often each kind was seen.

A kind is what is counted once however often it comes out, such as a source document; a draw is one time that some kind
came out. Overlapping windows of one passage are no draws: they come out together or not at all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln, ndtri

from auditor.statistics._checks import checked_level, checked_whole
from auditor.statistics.rate_interval import Interval, clopper_pearson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray, IntArray


def _seen(counts: ArrayLike) -> IntArray:
    """Return the counts of kinds that were seen, whole and above 0."""
    array = np.asarray(counts)
    if array.ndim != 1:
        msg = f"counts has {array.ndim} dimensions: give how often each kind was seen"
        raise ValueError(msg)
    if array.size and not np.isfinite(array.astype(np.float64)).all():
        msg = "counts holds a number that is not finite: give how often each kind was seen"
        raise ValueError(msg)
    whole = array.astype(np.int64)
    if (whole != array).any() or (whole < 0).any():
        msg = "counts holds a number that is negative or not whole: give how often each kind was seen"
        raise ValueError(msg)
    return whole[whole > 0]


def unseen_mass(counts: ArrayLike, level: float = 0.95) -> Interval:
    """The value estimates the probability that the next draw is of a kind not seen yet.

    Args:
        counts: How often each kind was seen, whole, shape [kinds]; zeros are ignored.
        level: Two-sided confidence level.

    Returns:
        Kinds seen once over draws, 0 to 1, with Esty's normal interval, made at least as wide as the exact interval of a
        rate so that it is not degenerate where no kind was seen once. Without a draw: 1, from 0 to 1.

    Raises:
        ValueError: If a count is negative or not whole, or the level is out of range.

    Source:
        Good (1953), Biometrika 40:237, due to Turing; interval Esty (1983), Ann. Stat. 11:905.
    """
    z = float(ndtri((1.0 + checked_level(level)) / 2.0))
    seen = _seen(counts)
    draws, once, twice = int(seen.sum()), int((seen == 1).sum()), int((seen == 2).sum())
    if not draws:
        return Interval(1.0, 0.0, 1.0, level, "Good-Turing, no draw")
    value = once / draws
    half = z * math.sqrt(max(0.0, once * (1.0 - value) + 2.0 * twice)) / draws
    exact = clopper_pearson(once, draws, level)
    return Interval(
        value,
        max(0.0, min(value - half, exact.low)),
        min(1.0, max(value + half, exact.high)),
        level,
        "Good-Turing, Esty",
    )


def chao1(counts: ArrayLike, level: float = 0.95, *, corrected: bool = True) -> Interval:
    """The value is a lower bound, on average, of the number of kinds there are; never an estimate of all of them.

    Args:
        counts: How often each kind was seen, whole, shape [kinds]; zeros are ignored.
        level: Two-sided confidence level.
        corrected: The bias-corrected form f1 (f1 - 1) / (2 (f2 + 1)), which exists where no kind was seen twice; else
            f1^2 / (2 f2), where some was.

    Returns:
        Kinds seen plus that term, with a log-normal interval around the unseen part: its low end is never below the
        kinds seen. Without a kind seen once the interval ends there, as nothing points to more.

    Raises:
        ValueError: If a count is negative or not whole, or the level is out of range.

    Source:
        Chao (1984), Scand. J. Stat. 11:265; interval Chao (1987), Biometrics 43:783.
    """
    z = float(ndtri((1.0 + checked_level(level)) / 2.0))
    seen = _seen(counts)
    kinds, f1, f2 = len(seen), float((seen == 1).sum()), float((seen == 2).sum())
    plain = f2 > 0 and not corrected
    if plain:
        unseen, ratio = f1 * f1 / (2.0 * f2), f1 / f2
        variance = f2 * (ratio**2 / 2.0 + ratio**3 + ratio**4 / 4.0)
    else:
        unseen = f1 * (f1 - 1.0) / (2.0 * (f2 + 1.0))
        total = kinds + unseen
        if f2 > 0:
            variance = (
                unseen
                + f1 * (2.0 * f1 - 1.0) ** 2 / (4.0 * (f2 + 1.0) ** 2)
                + f1**2 * f2 * (f1 - 1.0) ** 2 / (4.0 * (f2 + 1.0) ** 4)
            )
        else:
            variance = unseen + f1 * (2.0 * f1 - 1.0) ** 2 / 4.0 - f1**4 / (4.0 * total) if f1 else 0.0
    method = "Chao1, log-normal" if plain else "Chao1 bias-corrected, log-normal"
    if unseen <= 0.0:
        return Interval(float(kinds), float(kinds), float(kinds), level, f"{method} (nothing points to more)")
    spread = math.exp(z * math.sqrt(math.log1p(max(0.0, variance) / unseen**2)))
    return Interval(kinds + unseen, kinds + unseen / spread, kinds + unseen * spread, level, method)


def rarefied(counts: ArrayLike, draws: ArrayLike) -> FloatArray:
    """The result is how many kinds a random part of the draws would have shown, on average.

    Args:
        counts: How often each kind was seen, whole, shape [kinds]; zeros are ignored.
        draws: Sizes of the part, 0 to all draws, shape [sizes].

    Returns:
        Expected number of kinds in so many draws without replacement, shape [sizes].

    Raises:
        ValueError: If a count is negative or not whole, or a size is larger than the sample.

    Source:
        Hurlbert (1971), Ecology 52:577.
    """
    seen = _seen(counts)
    total = int(seen.sum())
    sizes = np.array([checked_whole(size, "draws") for size in np.atleast_1d(np.asarray(draws)).tolist()])
    if sizes.size and int(sizes.max()) > total:
        msg = f"draws holds {int(sizes.max())}, and there were {total}: a larger sample than the one seen is no part of it"
        raise ValueError(msg)
    # Kinds seen equally often count alike, so the work does not grow with the number of kinds.
    values, kinds = np.unique(seen, return_counts=True)
    left = total - values[:, None] - sizes[None, :]
    logs = np.where(
        left >= 0,
        gammaln(total - values[:, None] + 1.0)
        + gammaln(total - sizes[None, :] + 1.0)
        - gammaln(np.maximum(left, 0) + 1.0)
        - gammaln(total + 1.0),
        -np.inf,
    )
    return np.asarray(-(kinds[:, None] * np.expm1(logs)).sum(axis=0), dtype=np.float64)
