"""Coin flips of canaries: how likely each canary seems planted, and what guessing the flips shows of epsilon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.core.finding import Estimate
from auditor.statistics.epsilon import (
    Guesses,
    guess_coins,
    log_odds_above,
    one_run_ceiling,
    right_guesses,
    strongest_epsilon,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auditor.evidence.table import ObservedTable

METHOD = "one-sided lower bound, Steinke et al. (2023), theorem 5.2; upper end: log odds of right guesses, at least the ceiling"


@dataclass(frozen=True, slots=True)
class Coins:
    """The canaries of one unit of privacy: how likely each seems planted, and its coin."""

    scores: NDArray[np.float64]
    planted: NDArray[np.bool_]
    repetitions: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of canaries."""
        return len(self.planted)

    def of(self, chosen: NDArray[np.bool_]) -> Coins:
        """Return some of them."""
        return Coins(self.scores[chosen], self.planted[chosen], self.repetitions[chosen])

    def tiers(self) -> list[tuple[int, Coins]]:
        """Return the canaries by how often they are planted, where there are two at least."""
        times = sorted(set(self.repetitions.tolist()))
        tiers = [(count, self.of(self.repetitions == count)) for count in times]
        return [(count, tier) for count, tier in tiers if len(tier) >= 2]


def read_coins(table: ObservedTable) -> Coins:
    """Return every canary with its score in standard deviations below the candidates of its format and token count.

    A canary without two different candidates of its kind stands in the middle: nothing says which way its coin fell.
    """
    names = ("format", "canary", "planted", "repetitions", "tokens", "score")
    columns = {name: table.column(name) for name in names}
    is_canary = columns["canary"] != ""
    standing = np.zeros(int(is_canary.sum()))
    form, tokens, score = (columns[name][is_canary] for name in ("format", "tokens", "score"))
    for one, length in sorted(set(zip(form.tolist(), tokens.tolist(), strict=True))):
        among = ~is_canary & (columns["format"] == one) & (columns["tokens"] == length)
        mine = (form == one) & (tokens == length)
        others = columns["score"][among].astype(np.float64)
        if len(others) > 1 and (spread := float(others.std())) > 0.0:
            standing[mine] = (float(others.mean()) - score[mine]) / spread
        elif len(others):
            standing[mine] = np.sign(np.round(float(others.mean()) - score[mine], 6))
    return Coins(
        standing, columns["planted"][is_canary].astype(bool), columns["repetitions"][is_canary].astype(np.int64)
    )


@dataclass(frozen=True, slots=True)
class Guessing:
    """Rules of guessing that were fixed beforehand, and the level that the largest of their bounds has together."""

    shares: tuple[float, ...]
    delta: float
    level: float

    @property
    def corrected(self) -> float:
        """Level of the bound of each rule."""
        return 1.0 - (1.0 - self.level) / len(self.shares)

    def made(self, canaries: int) -> list[int]:
        """Return how many guesses each rule makes about so many canaries, two at least."""
        return [int(np.count_nonzero(guess_coins(np.zeros(canaries), share))) for share in self.shares]

    def guesses(self, coins: Coins) -> list[Guesses]:
        """Return what each rule guessed, and how much of it was right."""
        return [right_guesses(guess_coins(coins.scores, share), coins.planted) for share in self.shares]

    def ceiling(self, canaries: int) -> float:
        """Return the largest bound that so many canaries could give, nat."""
        made = self.made(canaries)
        return max(one_run_ceiling(canaries, count, delta=self.delta, level=self.corrected) for count in made)

    def bound(
        self, canaries: int, rules: tuple[Guesses, ...] | list[Guesses], *, gaussian: bool = False
    ) -> tuple[float, int]:
        """Return the largest lower bound, nat, and the number of its rule."""
        return strongest_epsilon(canaries, rules, delta=self.delta, level=self.level, gaussian=gaussian)

    def estimate(self, coins: Coins) -> tuple[Estimate, Guesses]:
        """Return the bound as lower end beside the log odds of right guesses, and the guesses behind it."""
        rules = self.guesses(coins)
        bound, which = self.bound(len(coins), rules)
        return estimate_of(bound, rules, which, self.ceiling(len(coins)), self.level), rules[which]

    def alone(self, share: float) -> Guessing:
        """Return one of the rules at the level that it has among all."""
        return Guessing((share,), self.delta, self.corrected)

    def shuffled(self, coins: Coins, rng: np.random.Generator, permutations: int) -> tuple[Estimate, int]:
        """Return the bound under shuffled coins, and how many of the shuffles give one above 0."""
        said = [guess_coins(coins.scores, share) for share in self.shares]
        bounds: dict[tuple[Guesses, ...], float] = {}
        found = []
        for _ in range(permutations):
            planted = rng.permutation(coins.planted)
            rules = tuple(right_guesses(guesses, planted) for guesses in said)
            if rules not in bounds:
                bounds[rules] = self.bound(len(coins), rules)[0]
            found.append(bounds[rules])
        tail = (1.0 - self.level) / 2.0
        low, middle, high = (float(value) for value in np.quantile(found, [tail, 0.5, 1.0 - tail]))
        method = f"quantiles over {permutations} permutations of the coin flips"
        control = Estimate(value=middle, low=low, high=high, level=self.level, unit="nat", method=method, n=len(coins))
        return control, sum(bound > 0.0 for bound in found)


def estimate_of(
    bound: float, rules: list[Guesses], which: int, ceiling: float, level: float, method: str = METHOD
) -> Estimate:
    """Return a lower bound on epsilon, and how far the guesses could show epsilon to lie above it.

    Value and lower end are the bound; the one-sided upper bound is that of the log odds of a right guess, the largest of
    all rules: quiet is only what each of them finds quiet. The upper end is the ceiling where that is higher.

    Args:
        bound: The lower bound, nat.
        rules: The guesses of each rule.
        which: The rule that gave the bound.
        ceiling: The largest bound that could have been given, nat.
        level: One-sided level of both ends.
        method: How the bound was made.
    """
    upper = max(bound, *(log_odds_above(guesses, level) for guesses in rules))
    return Estimate(
        value=bound,
        low=bound,
        high=max(upper, ceiling),
        upper=upper,
        level=level,
        unit="nat",
        method=method,
        n=rules[which].made,
    )


def moved(found: Estimate, declared: float) -> Estimate:
    """Return how far an estimate lies above what is declared."""
    return found.model_copy(
        update={name: getattr(found, name) - declared for name in ("value", "low", "high", "upper")}
    )
