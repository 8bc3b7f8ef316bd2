"""Works beside control works: estimates with the work as the unit, rows and exhibits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.battery.confirmed import Confirmed, beyond_chance
from auditor.battery.copies import copies_bins
from auditor.battery.estimates import estimate, one_sided, percent
from auditor.battery.language.work_windows import Rule, Work
from auditor.core.finding import Estimate, Exhibit, Stratum
from auditor.statistics.interval import clustered_difference, clustered_rate
from auditor.statistics.rates import cluster_permutation_greater, fisher_greater

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from auditor.core.policy import QueryBudget

MOST_WORKS = 25
"""Rows of works, those of which most comes out."""
MOST_CONTROLS = 5
MOST_EXHIBITS = 5
BLOCKS = 20
"""Blocks of consecutive windows that a work's own interval rests on, at most."""
LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Side:
    """The works of one side that have a window; every array has shape [works]."""

    works: list[Work]
    rule: Rule
    windows: NDArray[np.int64]
    out: NDArray[np.int64]
    """Windows that come out under the rule."""
    covered: NDArray[np.int64]
    """Tokens in their suffixes."""
    longest: NDArray[np.int64]
    """Tokens in a row in their suffixes."""
    nearly: NDArray[np.int64]
    """Tokens in passages said nearly word for word."""
    without: int
    """Works without a window."""
    cut: int
    """Works that are longer than what was read."""

    @classmethod
    def of(cls, works: Sequence[Work], rule: Rule) -> Side:
        """Return the works that have a window, counted under a rule."""
        kept = [work for work in works if work.windows]
        flags = [work.extractable(rule) for work in kept]
        cells = [work.covered(flagged) for work, flagged in zip(kept, flags, strict=True)]
        return cls(
            works=kept,
            rule=rule,
            windows=np.array([work.windows for work in kept], dtype=np.int64),
            out=np.array([flagged.sum() for flagged in flags], dtype=np.int64),
            covered=np.array(
                [some.sum() * work.stride for work, some in zip(kept, cells, strict=True)], dtype=np.int64
            ),
            longest=np.array([work.longest(some) for work, some in zip(kept, cells, strict=True)], dtype=np.int64),
            nearly=np.array([work.nearly() for work in kept], dtype=np.int64),
            without=len(works) - len(kept),
            cut=sum(work.cut for work in kept),
        )

    def shares(self) -> NDArray[np.float64]:
        """Return the share of each work's windows that come out."""
        return self.out / self.windows

    def order(self) -> list[int]:
        """Return the works from the one of which most comes out to the one of which least does."""
        best = np.array([work.log_p.max() for work in self.works])
        found: list[int] = np.lexsort((-best, -self.longest, -self.shares())).tolist()
        return found

    def reach(self) -> NDArray[np.int64]:
        """Return the tokens of each work that some window could cover."""
        return np.array([work.reach for work in self.works], dtype=np.int64)


def share(counted: NDArray[np.int64], of: NDArray[np.int64], level: float) -> Estimate:
    """Return the share that is counted of a work, on average over works: each is one trial, however long.

    A share from 0 to 1 varies at most as much as a coin of the same mean, so intervals for coins are wide enough.
    """
    shares, ones = counted / of, np.ones(len(of))
    narrower = clustered_rate(shares, ones, one_sided(level))
    return estimate(clustered_rate(shares, ones, level), "ratio", len(of), narrower)


def difference(members: Side, controls: Side, level: float) -> Estimate:
    """Return the average share of members' works minus that of control works (Newcombe)."""
    sides = (members.shares(), np.ones(len(members.works)), controls.shares(), np.ones(len(controls.works)))
    narrower = clustered_difference(*sides, one_sided(level))
    units = min(len(members.works), len(controls.works))
    return estimate(clustered_difference(*sides, level), "ratio", units, narrower)


def difference_p(members: Side, controls: Side, rng: np.random.Generator) -> float:
    """Return the one-sided p-value of no excess, by a permutation of whole works; Fisher's where each has one window."""
    if (members.windows == 1).all() and (controls.windows == 1).all():
        return fisher_greater(int(members.out.sum()), len(members.out), int(controls.out.sum()), len(controls.out))
    first, second = members.shares(), controls.shares()
    return cluster_permutation_greater(first, np.ones(len(first)), second, np.ones(len(second)), rng)


def above_controls(members: Side, controls: Side | None) -> list[int]:
    """Return the members' works of which more comes out than of any control work, most first."""
    if controls is None:
        return []
    most = float(controls.shares().max())
    return [place for place in members.order() if members.out[place] and members.shares()[place] > most]


def confirmed_persons(members: Side, controls: Side | None) -> Confirmed:
    """Return the persons with a passage that came out without an ambiguous token, if none of a control did and it is not chance."""
    if controls is None or controls.out.any():
        return Confirmed()
    sure = [work.cluster for work in members.works if (work.extractable(members.rule) & (work.tied == 0)).any()]
    tried = ([work.cluster for work in side.works for _ in range(work.windows)] for side in (members, controls))
    return beyond_chance(len(set(sure)), *tried)


def named(work: Work, *, persons: bool) -> str:
    """Return what a work is called: its document, or its first record where a person stands behind it."""
    name = work.id if persons else work.cluster
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]} \u2026"


def strata(
    thresholds: Sequence[float],
    budget: QueryBudget,
    members: Side,
    controls: Side | None,
    level: float,
    *,
    persons: bool,
) -> list[Stratum]:
    """Return the average share by probability, by kind of coverage, by queries, by copies and source, then work by work."""
    found = []

    def both(by: str, label: str, count: Callable[[Side], NDArray[np.int64]], *, tokens: bool, note: str = "") -> None:
        def one(side: Side) -> Estimate:
            return share(count(side), side.reach() if tokens else side.windows, level)

        found.append(
            Stratum(by=by, label=label, estimate=one(members), control=one(controls) if controls else None, note=note)
        )

    for threshold in sorted({*thresholds, members.rule.probability}):
        both(
            "probability",
            f"{threshold:.3g} or more",
            at_least(threshold),
            tokens=False,
            note="of a work's passages, on average",
        )
    both("works", "with a passage that comes out", lambda side: _whole(side, 0.0), tokens=False, note="share of works")
    both("works", "of which half comes out", lambda side: _whole(side, 0.5), tokens=False, note="share of works")
    both(
        "passages",
        "trivial ones as well",
        _with_trivial,
        tokens=False,
        note="few different tokens, or copied from the prefix",
    )
    both("passages", "most likely word by word", _greedy, tokens=False, note="what greedy decoding says")
    pooled = [
        estimate(clustered_rate(side.out, side.windows, level), "ratio", len(side.works))
        for side in (members, controls)
        if side
    ]
    label, note = "all alike, so that long works count more", "intervals on effective trials"
    found.append(
        Stratum(by="passages", label=label, estimate=pooled[0], control=pooled[1] if controls else None, note=note)
    )
    note = "of a work's tokens that a window can reach, on average"
    both("coverage", "tokens in passages that come out", lambda side: side.covered, tokens=True, note=note)
    both("coverage", "tokens said nearly word for word", lambda side: side.nearly, tokens=True, note=note)
    meant = {budget.per_subject: "declared per work", budget.lifetime: "declared over the lifetime"}
    spent = [(side, _costs(side, budget.lifetime)) for side in (members, controls) if side is not None]
    for queries in sorted({1, 10, 100, budget.per_subject, budget.lifetime}):
        affordable = {id(side): _within(side, costs, queries) for side, costs in spent}
        both("queries for a work", f"{queries:,}", _looked_up(affordable), tokens=True, note=meant.get(queries, ""))
    control = share(controls.out, controls.windows, level) if controls else None
    copies, sources = (np.array([getattr(work, name) for work in members.works]) for name in ("copies", "source"))
    parts = [("copies", label, chosen) for label, chosen, _ in copies_bins(copies)]
    parts += [("source", name, sources == name) for name in sorted(set(sources.tolist()) - {""})]
    for by, label, chosen in parts:
        found.append(
            Stratum(
                by=by, label=label, estimate=share(members.out[chosen], members.windows[chosen], level), control=control
            )
        )
    found += _by_work("work", members, controls, control, budget, level, persons=persons)
    if controls is not None:
        found += _by_work("control work", controls, None, None, budget, level, persons=persons)
    return found


def at_least(threshold: float) -> Callable[[Side], NDArray[np.int64]]:
    """Return what counts the windows of each work that come out with a probability, trivial ones left out."""

    def count(side: Side) -> NDArray[np.int64]:
        rule = Rule(threshold, side.rule.distinct, side.rule.echo)
        return np.array([work.extractable(rule).sum() for work in side.works], dtype=np.int64)

    return count


def _whole(side: Side, least: float) -> NDArray[np.int64]:
    """Return all windows of a work of which something, and at least such a share, comes out, and none of any other."""
    return np.where((side.out > 0) & (side.shares() >= least), side.windows, 0)


def _with_trivial(side: Side) -> NDArray[np.int64]:
    rule = Rule(side.rule.probability, 0, 1 << 30)
    return np.array([work.extractable(rule).sum() for work in side.works], dtype=np.int64)


def _greedy(side: Side) -> NDArray[np.int64]:
    whole = [work.plain(side.rule) & (work.agree == work.width * work.stride) for work in side.works]
    return np.array([flags.sum() for flags in whole], dtype=np.int64)


def _costs(side: Side, lifetime: int) -> list[NDArray[np.float64]]:
    """Return, for each work, the queries that its likeliest passages take, as far as a lifetime's could pay for one."""
    rule = Rule(1.0 / lifetime, side.rule.distinct, side.rule.echo)
    return [work.cheapest(work.extractable(rule)) for work in side.works]


def _looked_up(counts: dict[int, NDArray[np.int64]]) -> Callable[[Side], NDArray[np.int64]]:
    return lambda side: counts[id(side)]


def _within(side: Side, costs: Sequence[NDArray[np.float64]], queries: int) -> NDArray[np.int64]:
    return np.array([work.within(cost, queries) for work, cost in zip(side.works, costs, strict=True)], dtype=np.int64)


def _by_work(
    by: str,
    side: Side,
    controls: Side | None,
    control: Estimate | None,
    budget: QueryBudget,
    level: float,
    *,
    persons: bool,
) -> list[Stratum]:
    """Return a row for each of the works of which most comes out."""
    above = set(above_controls(side, controls))
    rows = []
    for place in side.order()[: MOST_WORKS if by == "work" else MOST_CONTROLS]:
        work = side.works[place]
        note = _note(side, place, budget)
        if place in above and controls is not None:
            rank = 1.0 / (1.0 + len(controls.works))
            note += f"; above every one of {len(controls.works):,} control works (p = {rank:.2g} for this work alone)"
        found = _of_work(side, place, level)
        rows.append(Stratum(by=by, label=named(work, persons=persons), estimate=found, control=control, note=note))
    return rows


def _note(side: Side, place: int, budget: QueryBudget) -> str:
    """Return what there is to say of one work, in numbers."""
    work, flags = side.works[place], side.works[place].extractable(side.rule)
    likeliest = f"likeliest passage {float(np.exp(min(work.log_p.max(), 0.0))):.2g}"
    nearly = f"nearly word for word {side.nearly[place]:,} tokens; {likeliest}"
    if not flags.any():
        return f"{work.windows:,} windows over {work.reach:,} tokens, none comes out; {nearly}"
    shares = ", ".join(
        f"{threshold:g}: {percent(float(work.extractable(Rule(threshold, side.rule.distinct, side.rule.echo)).mean()))}"
        for threshold in (0.1, 0.5, 0.9)
    )
    letters = f"{int(work.characters[work.covered(flags)].sum()):,} of {int(work.characters.sum()):,} characters"
    costs = work.cheapest(flags)
    return (
        f"{work.windows:,} windows, by probability {shares}; longest run {side.longest[place]:,} tokens; "
        f"covered {side.covered[place]:,} of {work.reach:,} tokens ({letters}); {nearly}; about {costs.sum():,.0f} queries for all that is "
        f"covered, {work.within(costs, budget.per_subject):,} tokens within {budget.per_subject:,}"
    )


def _of_work(side: Side, place: int, level: float) -> Estimate:
    """Return a work's share with an interval over its consecutive blocks, or over its passages where it has many."""
    work = side.works[place]
    flags = work.extractable(side.rule)
    if len(work.cells) >= BLOCKS:
        ends = np.cumsum(work.cells - work.width + 1)[:-1]
    else:
        # A block shorter than a window would share its text with both neighbours.
        size = max(-(-work.windows // BLOCKS), 2 * work.width)
        ends = np.arange(size, work.windows, size)
    parts = np.split(flags, ends)
    successes, trials = (np.array([count(part) for part in parts]) for count in (np.sum, len))
    return estimate(clustered_rate(successes, trials, level), "ratio", len(parts))


def exhibits(members: Side, *, persons: bool) -> tuple[Exhibit, ...]:
    """Return the likeliest passage of the works of which most comes out, masked."""
    shown = [place for place in members.order() if members.out[place] and members.works[place].excerpt]
    return tuple(
        Exhibit(
            record=named(members.works[place], persons=persons),
            excerpt=members.works[place].excerpt,
            note=f"the likeliest passage; {percent(float(members.shares()[place]))} of the work's passages come out",
        )
        for place in shown[:MOST_EXHIBITS]
    )
