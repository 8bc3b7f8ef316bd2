"""Membership by likelihood ratio: how a record scores under the model, beside models that did and did not hold it.

A higher value means more likely a member. `phi` is any score of a record under a model that is about normal over models: the logit of
the true class's probability for classifiers, minus the logarithm of the mean loss for diffusion models (Carlini et al. 2023, arXiv
2301.13188).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp, ndtr

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from auditor.statistics._checks import FloatArray

FEWEST_FOR_OWN_VARIANCE = 64
"""With fewer models a record's own variance is seen too poorly; one is shared by all records (Carlini et al. 2022)."""


def logit_confidence(logits: ArrayLike, labels: ArrayLike) -> FloatArray:
    """The result is log(p / (1 - p)) of the true class's probability, without rounding where p is near 1.

    Args:
        logits: Unnormalised log-probabilities, shape [n, classes].
        labels: True class of each row, shape [n].

    Returns:
        z_y - logsumexp of the other logits, in double precision, shape [n].

    Source:
        Carlini et al. (2022), arXiv 2112.03570.
    """
    values = np.asarray(logits, dtype=np.float64)
    rows, truth = np.arange(len(values)), np.asarray(labels, dtype=np.int64)
    others = values.copy()
    others[rows, truth] = -np.inf
    return np.asarray(values[rows, truth] - logsumexp(others, axis=1))


def online_ratio(
    phi: ArrayLike, mean_in: ArrayLike, sd_in: ArrayLike, mean_out: ArrayLike, sd_out: ArrayLike
) -> FloatArray:
    """The result is the log-likelihood ratio of two normal laws: of models that held the record and of models that did not.

    Args:
        phi: Score of each record under the audited model, shape [n].
        mean_in: Mean of phi over models that held it.
        sd_in: Their standard deviation, above 0.
        mean_out: Mean of phi over models that did not.
        sd_out: Their standard deviation, above 0.

    Source:
        Carlini et al. (2022), the online form.
    """
    x = np.asarray(phi, dtype=np.float64)
    inside, outside = np.asarray(sd_in, dtype=np.float64), np.asarray(sd_out, dtype=np.float64)
    z_in, z_out = (x - np.asarray(mean_in)) / inside, (x - np.asarray(mean_out)) / outside
    return np.asarray(0.5 * (z_out**2 - z_in**2) + np.log(outside / inside), dtype=np.float64)


def offline_deviation(phi: ArrayLike, mean_out: ArrayLike, sd_out: ArrayLike) -> FloatArray:
    """The result ranks records as :func:`offline_probability` does, without the ties of probabilities that round to 1."""
    return np.asarray((np.asarray(phi, dtype=np.float64) - np.asarray(mean_out)) / np.asarray(sd_out), dtype=np.float64)


def offline_probability(phi: ArrayLike, mean_out: ArrayLike, sd_out: ArrayLike) -> FloatArray:
    """The result is the share of models without the record that score it lower than the audited model does.

    One-sided: a record that scores far *below* is no member. The authors' code takes a two-sided density here.

    Args:
        phi: Score of each record under the audited model, shape [n].
        mean_out: Mean of phi over models that did not hold it.
        sd_out: Their standard deviation, above 0.

    Source:
        Carlini et al. (2022), eq. 4: 1 - Pr[Z > phi].
    """
    return np.asarray(ndtr(offline_deviation(phi, mean_out, sd_out)), dtype=np.float64)


def shadow_scores(
    phi: ArrayLike,
    shadows: ArrayLike,
    held: ArrayLike | None = None,
    *,
    offline: bool = False,
    fixed: bool | None = None,
) -> FloatArray:
    """The result ranks records by LiRA: online where some shadow models held the record, offline where none did.

    Args:
        phi: Score of each record under the audited model, shape [n].
        shadows: The same under the shadow models, shape [models, n].
        held: The shadow model was trained on the record, shape [models, n]; None: none was on any.
        offline: Use only the models without the record, also where there are others.
        fixed: One variance for all records; None: where there are fewer models than `FEWEST_FOR_OWN_VARIANCE`. With a single
            shadow model it is the spread over records.

    Returns:
        Log-likelihood ratio (online) or deviation (offline), shape [n].

    Raises:
        ValueError: Shapes do not fit, or a record has no shadow model without it, or none with it while others have.

    Source:
        Carlini et al. (2022), the online form and eq. 4; the variance of OUT is that of OUT (the authors' plotting code takes IN's).
    """
    x, others = np.asarray(phi, dtype=np.float64), np.asarray(shadows, dtype=np.float64)
    inside = np.zeros(others.shape, dtype=np.bool_) if held is None else np.asarray(held, dtype=np.bool_)
    if others.ndim != 2 or others.shape[1:] != x.shape or inside.shape != others.shape:
        msg = f"scores have shape {x.shape}, shadows {others.shape}, held {inside.shape}: give [n], [models, n], [models, n]"
        raise ValueError(msg)
    one_variance = len(others) < FEWEST_FOR_OWN_VARIANCE if fixed is None else fixed
    online = bool(inside.any()) and not offline
    if not (~inside).any(axis=0).all() or (online and not inside.any(axis=0).all()):
        msg = "a record has no shadow model without it (or, online, none with it): leave it out"
        raise ValueError(msg)
    mean_out, sd_out = _law(others, ~inside, one_variance)
    if not online:
        return offline_deviation(x, mean_out, sd_out)
    mean_in, sd_in = _law(others, inside, one_variance)
    return online_ratio(x, mean_in, sd_in, mean_out, sd_out)


def _law(values: FloatArray, chosen: np.ndarray, one_variance: bool) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation over the chosen models, of each record."""
    count = chosen.sum(axis=0)
    mean = np.where(chosen, values, 0.0).sum(axis=0) / count
    squares = np.where(chosen, (values - mean) ** 2, 0.0).sum(axis=0)
    if not one_variance:
        return mean, np.sqrt(np.maximum(squares / count, 1e-30))
    freedom = float((count - 1).sum())
    pooled = float(squares.sum()) / freedom if freedom > 0.0 else float(np.var(mean))
    return mean, np.full(mean.shape, np.sqrt(max(pooled, 1e-30)))


def relative_ratio(
    probability: ArrayLike,
    reference: ArrayLike,
    population: ArrayLike,
    population_reference: ArrayLike,
    gamma: float = 1.0,
) -> FloatArray:
    """The result is the share of a population that the record dominates by gamma; ties are broken by the record's own ratio.

    Args:
        probability: Probability the audited model gives each record, shape [n], above 0.
        reference: Mean probability over reference models, shape [n], above 0.
        population: The first, of records that are members of no model, shape [z].
        population_reference: The second, of those.
        gamma: How many times larger the record's ratio has to be.

    Returns:
        Share of the population plus less than half a step for the record's own rank, shape [n].

    Source:
        RMIA: Zarifzadeh, Liu, Shokri (2024), arXiv 2312.03262.
    """
    own = np.log(np.asarray(probability, dtype=np.float64)) - np.log(np.asarray(reference, dtype=np.float64))
    pool = np.sort(
        np.log(np.asarray(population, dtype=np.float64)) - np.log(np.asarray(population_reference, dtype=np.float64))
    )
    dominated = np.searchsorted(pool, own - np.log(gamma), "right")
    order = np.searchsorted(np.sort(own), own, "left")  # equal ratios stay tied
    return np.asarray((dominated + 0.5 * order / max(own.size, 1)) / pool.size, dtype=np.float64)


def offline_reference(mean_out: ArrayLike, a: float) -> FloatArray:
    """The result estimates p(x) from models without the record: ((1 + a) p_out + (1 - a)) / 2.

    Args:
        mean_out: Mean probability over reference models that did not hold the record.
        a: How much a model without the record falls behind, 0 to 1.

    Source:
        Zarifzadeh, Liu, Shokri (2024), the offline form.
    """
    return np.asarray(0.5 * ((1.0 + a) * np.asarray(mean_out, dtype=np.float64) + (1.0 - a)), dtype=np.float64)
