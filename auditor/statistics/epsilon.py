"""Lower bounds on epsilon from one training run: guesses of fair coin flips, and how many were right.

Each of m canaries was put into training or left out by a coin of its own. Whoever sees only an (epsilon, delta)
differentially private model guesses a coin right with odds of at most e^epsilon, but for failures that delta allows.
More right guesses than that refute the epsilon. Epsilon is in nat.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import betainc, betaincinv, ndtr, ndtri

from auditor.statistics._checks import checked_level, checked_whole, vector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from auditor.statistics._checks import FloatArray

LARGEST = 53.0 * math.log(2.0)
"""Log odds of the largest share below one, nat: stands for `no upper end` where a number must be finite."""


class Guesses(NamedTuple):
    """How many coins were guessed by one rule, and how many of the guesses were right."""

    made: int
    right: int


def _checked(canaries: int, guesses: Guesses, epsilon: float, delta: float) -> None:
    checked_whole(canaries, "canaries", 1)
    checked_whole(guesses.made, "guesses")
    checked_whole(guesses.right, "right guesses")
    if guesses.made > canaries or guesses.right > guesses.made:
        msg = f"{guesses.right} right of {guesses.made} guesses about {canaries} canaries: right <= guesses <= canaries"
        raise ValueError(msg)
    if not (math.isfinite(epsilon) and epsilon >= 0.0 and 0.0 <= delta <= 1.0):
        msg = f"epsilon is {epsilon} and delta {delta}: epsilon is at least 0, delta from 0 to 1"
        raise ValueError(msg)


def _tail(right: int | FloatArray, made: int, share: float) -> FloatArray:
    """Return P[Bin(made, share) >= right], shape of `right`."""
    count = np.asarray(right, dtype=np.float64)
    inner = betainc(np.maximum(count, 1.0), np.maximum(made - count + 1.0, 1e-300), share)
    return np.asarray(np.where(count <= 0.0, 1.0, np.where(count > made, 0.0, inner)), dtype=np.float64)


def one_run_p_value(canaries: int, guesses: Guesses, epsilon: float, delta: float = 0.0) -> float:
    """The p-value is valid for "training is (epsilon, delta) differentially private", whatever the guesses rest on.

    Args:
        canaries: Canaries whose coins were flipped, each fair and independent; those not guessed count, too.
        guesses: Guesses made, their number fixed beforehand, and how many were right.
        epsilon: Claimed epsilon, nat, at least 0.
        delta: Claimed delta, 0 to 1.

    Returns:
        P[B >= right] + 2 m delta max_i P[right > B >= right - i] / i, at most 1, for binomial B with odds e^epsilon.

    Raises:
        ValueError: If counts are not whole or not ordered, or a parameter is out of range.

    Source:
        Steinke, Nasr & Jagielski (2023), Privacy Auditing with One (1) Training Run, arXiv 2305.08846, theorem 5.2.
    """
    _checked(canaries, guesses, epsilon, delta)
    made, right = guesses
    share = 1.0 / (1.0 + math.exp(-epsilon))
    beta = float(_tail(right, made, share))
    if delta == 0.0 or right == 0:
        return beta
    steps = np.arange(1.0, right + 1.0)
    failures = float(((_tail(right - steps, made, share) - beta) / steps).max())
    return min(1.0, beta + 2.0 * canaries * delta * max(0.0, failures))


def one_run_epsilon(canaries: int, guesses: Guesses, *, delta: float = 0.0, level: float = 0.95) -> float:
    """If training is (epsilon, delta) private, the result exceeds epsilon with probability of at most 1 - level.

    Args:
        canaries: Canaries whose coins were flipped.
        guesses: Guesses made, their number fixed beforehand, and how many were right.
        delta: Claimed delta, 0 to 1.
        level: One-sided confidence level.

    Returns:
        The smallest epsilon that is not refuted, nat, at least 0.

    Raises:
        ValueError: If counts are not whole or not ordered, or a parameter is out of range.

    Source:
        Steinke, Nasr & Jagielski (2023), arXiv 2305.08846, theorem 5.2, inverted.
    """
    _checked(canaries, guesses, 0.0, delta)
    alpha = 1.0 - checked_level(level)
    return _smallest_kept(lambda epsilon: one_run_p_value(canaries, guesses, epsilon, delta) <= alpha, 0.0)


def one_run_ceiling(canaries: int, made: int, *, delta: float = 0.0, level: float = 0.95) -> float:
    """No lower bound from so many guesses can exceed the result, however much the model remembers.

    Args:
        canaries: Canaries whose coins were flipped.
        made: Guesses made.
        delta: Claimed delta, 0 to 1.
        level: One-sided confidence level.

    Returns:
        The lower bound if every guess is right, nat; without delta the log odds of (1 - level)^(1 / guesses).

    Raises:
        ValueError: If a count is not whole, or a parameter is out of range.
    """
    return one_run_epsilon(canaries, Guesses(made, made), delta=delta, level=level)


def strongest_epsilon(
    canaries: int, rules: Sequence[Guesses], *, delta: float = 0.0, level: float = 0.95, gaussian: bool = False
) -> tuple[float, int]:
    """The largest lower bound over several rules of guessing holds at the level, corrected for their number.

    Args:
        canaries: Canaries whose coins were flipped.
        rules: Guesses by each rule; the rules, and how many there are, were fixed beforehand.
        delta: Claimed delta, 0 to 1.
        level: One-sided confidence level of the largest bound (Bonferroni: each rule is held to 1 - (1 - level) / rules).
        gaussian: Assume the trade-off of a Gaussian mechanism (see :func:`gaussian_epsilon`); delta must be above 0.

    Returns:
        The bound, nat, and the number of the rule that gave it; the first where none gives more than 0.

    Raises:
        ValueError: If there is no rule, or an argument is out of range.

    Source:
        Dunn (1961) for the correction; bounds of Steinke, Nasr & Jagielski (2023) or Mahloujifar et al. (2024).
    """
    if not rules:
        msg = "there is no rule of guessing: fix at least one beforehand"
        raise ValueError(msg)
    if gaussian and not 0.0 < delta < 1.0:
        msg = f"delta is {delta}: a Gaussian mechanism has a delta between 0 and 1"
        raise ValueError(msg)
    alpha = (1.0 - checked_level(level)) / len(rules)
    for guesses in rules:
        _checked(canaries, guesses, 0.0, delta)

    def refuted(guesses: Guesses, epsilon: float) -> bool:
        if gaussian:
            return _gaussian_refuted(canaries, guesses, epsilon, delta, alpha)
        # Failures only raise the p-value: the plain one settles most rules at once.
        return one_run_p_value(canaries, guesses, epsilon) <= alpha and (
            delta == 0.0 or one_run_p_value(canaries, guesses, epsilon, delta) <= alpha
        )

    best, which = 0.0, 0
    # The rules that are right most often first, so that the others are ruled out by one look.
    order = sorted(range(len(rules)), key=lambda number: -float(_least_share(rules[number], alpha)))
    for number in order:
        guesses = rules[number]
        if refuted(guesses, best):
            best, which = _smallest_kept(lambda epsilon, own=guesses: refuted(own, epsilon), best), number  # type: ignore[misc]
    return best, which


def _least_share(guesses: Guesses, alpha: float) -> float:
    """Return the Clopper-Pearson lower bound on the share of right guesses."""
    made, right = guesses
    return 0.0 if right == 0 else float(betaincinv(right, made - right + 1.0, alpha))


def _smallest_kept(refuted: Callable[[float], bool], start: float) -> float:
    """Return the smallest epsilon from `start` up that is not refuted, to 1e-10 of itself; the side that is refuted."""
    if not refuted(start):
        return start
    low, high = start, max(1.0, 2.0 * start)
    while refuted(high):
        low, high = high, 2.0 * high
    while high - low > 1e-10 * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def gaussian_scale(epsilon: float, delta: float) -> float:
    """A Gaussian mechanism with the resulting mean shift (over its standard deviation) is exactly (epsilon, delta) private.

    Args:
        epsilon: Epsilon, nat, at least 0.
        delta: Delta, between 0 and 1.

    Returns:
        mu > 0 with Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu) = delta.

    Raises:
        ValueError: If a parameter is out of range.

    Source:
        Balle & Wang (2018), Improving the Gaussian Mechanism, arXiv 1805.06530, theorem 8.
    """
    if not (math.isfinite(epsilon) and epsilon >= 0.0 and 0.0 < delta < 1.0):
        msg = f"epsilon is {epsilon} and delta {delta}: epsilon is at least 0, delta between 0 and 1"
        raise ValueError(msg)

    def spent(mu: float) -> float:
        second = ndtr(-mu / 2.0 - epsilon / mu)
        return float(ndtr(mu / 2.0 - epsilon / mu) - (math.exp(epsilon + math.log(second)) if second > 0.0 else 0.0))

    low, high = 0.0, 1.0
    while spent(high) < delta:
        low, high = high, 2.0 * high
    while high - low > 1e-13 * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if spent(middle) < delta else (low, middle)
    return (low + high) / 2.0


def gaussian_epsilon(canaries: int, guesses: Guesses, *, delta: float, level: float = 0.95) -> float:
    """If training has the trade-off of a Gaussian mechanism that is (epsilon, delta) private, the result exceeds epsilon rarely.

    The assumption makes the bound larger; it does not hold for every private training.

    Args:
        canaries: Canaries whose coins were flipped.
        guesses: Guesses made, their number fixed beforehand, and how many were right.
        delta: Claimed delta, between 0 and 1.
        level: One-sided confidence level.

    Returns:
        The smallest epsilon that is not refuted, nat, at least 0.

    Raises:
        ValueError: If counts are not whole or not ordered, or a parameter is out of range.

    Source:
        Mahloujifar, Melis & Chaudhuri (2024), Auditing f-Differential Privacy in One Run, arXiv 2410.22235, algorithm 3.
    """
    return strongest_epsilon(canaries, [guesses], delta=delta, level=level, gaussian=True)[0]


def _gaussian_refuted(canaries: int, guesses: Guesses, epsilon: float, delta: float, alpha: float) -> bool:
    """Return whether so many right guesses have probability at most alpha under the Gaussian trade-off.

    Walks down from the observed count: `right` and `wrong` are the least mass that right and wrong guesses must have
    at each count if the tail had mass alpha; together they may not exceed the share of guesses that were made.
    """
    scale = gaussian_scale(epsilon, delta)
    made, hits = guesses
    right = alpha * hits / canaries
    wrong = alpha * (made - hits) / canaries
    limit = made / canaries
    for count in range(hits - 1, -1, -1):
        more = max(wrong, float(ndtr(ndtri(min(right, 1.0)) - scale)))
        if more == wrong:
            break
        right = min(1.0, right + count / (made - count) * (more - wrong))
        wrong = more
        if right + wrong > limit:
            return True
    return right + wrong > limit


def log_odds_above(guesses: Guesses, level: float = 0.95) -> float:
    """The log odds of a right guess lie at or below the result, if the guesses are right independently of each other.

    This bounds what guessing by this rule shows of epsilon, not epsilon: no audit of one model bounds that from above.

    Args:
        guesses: Guesses made, and how many were right.
        level: One-sided confidence level.

    Returns:
        Log odds of the Clopper-Pearson upper bound, nat, at least 0; :data:`LARGEST` if every guess was right.

    Raises:
        ValueError: If counts are not whole or not ordered, or the level is out of range.

    Source:
        Clopper & Pearson (1934), Biometrika 26:404.
    """
    _checked(max(guesses.made, 1), guesses, 0.0, 0.0)
    made, right = guesses
    alpha = 1.0 - checked_level(level)
    if right == made:
        return LARGEST
    share = float(betaincinv(right + 1.0, made - right, 1.0 - alpha))
    return min(LARGEST, max(0.0, math.log(share) - math.log1p(-share)))


def guess_coins(scores: ArrayLike, share: float) -> NDArray[np.int8]:
    """Half of the guesses go to the highest scores and half to the lowest; nothing but scores and order enters.

    Args:
        scores: One per canary, higher if more likely trained on, shape [canaries]; equal ones in the order given.
        share: Share of the canaries to guess, above 0 to 1.

    Returns:
        1: guessed trained on, -1: guessed left out, 0: no guess; as many 1 as -1, at least one each, shape [canaries].

    Raises:
        ValueError: If there are fewer than two scores, one is NaN, or the share is out of range.

    Source:
        Steinke, Nasr & Jagielski (2023), arXiv 2305.08846, algorithm 1.
    """
    values = vector(scores, "scores", 2, finite=False)
    if not 0.0 < share <= 1.0:
        msg = f"the share of canaries to guess is {share}: give a number above 0 and at most 1"
        raise ValueError(msg)
    each = max(1, math.floor(share * values.size / 2.0 + 1e-9))
    order = np.argsort(-values, kind="stable")
    guesses = np.zeros(values.size, dtype=np.int8)
    guesses[order[:each]] = 1
    guesses[order[values.size - each :]] = -1
    return guesses


def right_guesses(guesses: ArrayLike, planted: ArrayLike) -> Guesses:
    """The counts are those of a comparison of every guess with its coin.

    Args:
        guesses: 1: trained on, -1: left out, 0: no guess, shape [canaries].
        planted: The coins, shape [canaries].

    Returns:
        Guesses made and guesses right.
    """
    said, coins = np.asarray(guesses), np.asarray(planted, dtype=bool)
    return Guesses(int((said != 0).sum()), int(((said == 1) & coins).sum() + ((said == -1) & ~coins).sum()))


def smallest_detectable_epsilon(
    canaries: int, made: int, declared: float, *, delta: float = 0.0, level: float = 0.95, power: float = 0.8
) -> float:
    """If guesses are right with odds e^result, the declared epsilon is refuted with the stated probability.

    Args:
        canaries: Canaries whose coins were flipped.
        made: Guesses made.
        declared: Declared epsilon, nat, at least 0.
        delta: Declared delta, 0 to 1.
        level: One-sided confidence level.
        power: Probability to reach.

    Returns:
        Log odds of a right guess, nat. Infinite if even guesses that are all right could not refute it.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Exact power of the test of Steinke, Nasr & Jagielski (2023).
    """
    alpha = 1.0 - checked_level(level)
    if one_run_p_value(canaries, Guesses(made, made), declared, delta) > alpha:
        return math.inf
    low, high = 0, made
    while high - low > 1:
        middle = (low + high) // 2
        refuted = one_run_p_value(canaries, Guesses(made, middle), declared, delta) <= alpha
        low, high = (low, middle) if refuted else (middle, high)
    share = float(betaincinv(high, made - high + 1.0, checked_level(power, "power")))
    return math.log(share) - math.log1p(-share)
