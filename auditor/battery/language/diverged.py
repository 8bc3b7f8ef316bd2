"""What followed a token that was repeated many times: what of it counts, and shares of it with the token as unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.battery.estimates import estimate, one_sided, percent, rate
from auditor.battery.language.extracted import SIDES, Generations, Side, read_runs
from auditor.core.finding import Estimate, Power
from auditor.errors import UnsupportedError
from auditor.statistics.paired import paired_rates
from auditor.statistics.power import smallest_detectable_discordance, upper_bound_if_none
from auditor.statistics.rates import mcnemar_greater

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auditor.evidence.table import ObservedTable

PROBABILITY = 0.8


@dataclass(frozen=True, slots=True)
class Outputs:
    """What followed the repetitions; arrays have shape [outputs], clusters are the repeated tokens."""

    found: Generations
    """Runs and counts of what follows the repetition."""
    ids: NDArray[np.int64]
    names: NDArray[np.object_]
    """What each repeated token stands for."""
    left: NDArray[np.bool_]
    """Another token was said."""
    diverged: NDArray[np.bool_]
    """What followed was long and varied enough to hold a run that counts."""
    repeats: NDArray[np.int64]
    """Tokens that went on repeating."""
    flags: dict[Side, NDArray[np.bool_]]
    """A run that counts stands in this side."""

    @property
    def asked(self) -> int:
        """Number of different tokens that were repeated."""
        return len(np.unique(self.ids))

    @property
    def tokens(self) -> int:
        """Number of them after which the model diverged."""
        return len(np.unique(self.ids[self.diverged]))


def read_outputs(table: ObservedTable, match: int, distinct: int) -> Outputs:
    """Return what the observation says; outputs for which no token was left are dropped.

    Args:
        table: The observation.
        match: Fewest tokens of a run that counts.
        distinct: Fewest different tokens of it.

    Raises:
        UnsupportedError: The vocabulary has no token that can be repeated.
    """
    ids = table.column("token_id").astype(np.int64)
    asked = ids >= 0
    if not asked.any():
        msg = "the vocabulary has no token of letters whose repetition is read as that repetition"
        raise UnsupportedError(msg, hint="This tokenizer cannot be asked to repeat a token by text.")
    runs = read_runs(table)
    # Those without a token stand behind all others, so rows keep their numbers.
    count = int(asked.sum())
    tail = table.column("tail").astype(np.int64)[:count]
    varied = table.column("distinct").astype(np.int64)[:count] >= distinct
    found = Generations(
        kinds=np.full(count, "repeated", dtype=object),
        sides=np.full(count, "", dtype=object),
        clusters=np.char.add("token ", ids[:count].astype(str)).astype(object),
        groups=table.column("group").astype(np.int64)[:count],
        tokens=tail,
        excerpts=table.column("excerpt")[:count],
        nearest=table.column("member_id")[:count],
        longest={side: table.column(f"{side}_longest").astype(np.int64)[:count] for side in SIDES},
        covered={side: table.column(f"{side}_covered").astype(np.int64)[:count] for side in SIDES},
        records={side: int(table.column(f"{side}_records")[0]) for side in SIDES},
        runs=runs,
    )
    flags: dict[Side, NDArray[np.bool_]] = {}
    for side in SIDES:
        counts = (runs[side].length >= match) & (runs[side].distinct >= distinct)
        flags[side] = np.zeros(count, dtype=np.bool_)
        flags[side][runs[side].row[counts]] = True
    return Outputs(
        found=found,
        ids=ids[:count],
        names=table.column("token")[:count],
        left=tail > 0,
        diverged=(tail >= match) & varied,
        repeats=table.column("repeats").astype(np.int64)[:count],
        flags=flags,
    )


def share_of_outputs(out: Outputs, side: Side, level: float) -> Estimate | None:
    """Return the share of diverged outputs with a run of a side; None if there are none."""
    if not out.tokens:
        return None
    return rate(out.flags[side][out.diverged], out.found.clusters[out.diverged], level)


def excess_share(out: Outputs, level: float) -> Estimate | None:
    """Return the share of diverged outputs with a run of a member minus that with one of a control, paired by output."""
    if not out.tokens:
        return None
    sides = (out.flags["member"][out.diverged], out.flags["control"][out.diverged], out.ids[out.diverged])
    narrower = paired_rates(*sides, one_sided(level))
    return estimate(paired_rates(*sides, level), "ratio", out.tokens, narrower)


def p_of_tokens(out: Outputs) -> float:
    """Return McNemar's p-value over tokens: for how many members came out in more outputs than controls."""
    difference = out.flags["member"].astype(np.int64) - out.flags["control"]
    sums = np.bincount(np.unique(out.ids, return_inverse=True)[1], weights=difference)
    return mcnemar_greater(int((sums > 0).sum()), int((sums < 0).sum()))


def brought(out: Outputs, side: Side) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the repeated tokens and how many tokens in runs of a side the outputs after each hold, most first."""
    ids, codes = np.unique(out.ids, return_inverse=True)
    counted = np.where(out.flags[side], out.found.covered[side], 0)
    sums = np.bincount(codes, weights=counted).astype(np.int64)
    order = np.argsort(-sums, kind="stable")
    return ids[order], sums[order]


def power_of_tokens(tokens: int, level: float) -> Power:
    """Return what a paired comparison over so many tokens after which a model diverged could show."""
    if not tokens:
        said = "The model never diverged: whatever it remembers could not have been shown this way."
        return Power(smallest_effect=1.0, unit="ratio", probability=PROBABILITY, statement=said)
    effect, bound = smallest_detectable_discordance(tokens, level, PROBABILITY), upper_bound_if_none(tokens, level)
    could = (
        f"a member in {percent(effect)} of the outputs would be called a signal four times in five, if it is not "
        "always the same few documents"
        if effect < 1.0
        else "no share of members could be called a signal"
    )
    said = f"With {tokens:,} tokens after which the model diverged {could}; nothing found bounds the share at {percent(bound)}."
    return Power(smallest_effect=effect, unit="ratio", probability=PROBABILITY, statement=said)
