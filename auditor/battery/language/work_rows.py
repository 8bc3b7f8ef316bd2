"""Works beside control works: estimates with the work as the unit, rows, figures and exhibits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.battery.copies import copies_bins
from auditor.battery.estimates import estimate, one_sided, percent
from auditor.battery.language.work_windows import Rule, Work
from auditor.core.finding import Estimate, Exhibit, Figure, Series, Stratum
from auditor.statistics.interval import clopper_pearson, clustered_difference, clustered_rate
from auditor.statistics.rates import cluster_permutation_greater, fisher_greater

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from auditor.core.policy import QueryBudget

MOST_WORKS = 50
"""Rows of works."""
MOST_CONTROLS = 5
MOST_EXHIBITS = 5
BLOCKS = 20
"""Blocks of consecutive windows that a work's own interval rests on, at most."""
LONGEST_NAME = 80
SMALLEST = 1e-12
"""Left end of the survival figure."""
POINTS = 60
"""Steps along a work."""


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


def share(successes: NDArray[np.int64], trials: NDArray[np.int64], level: float) -> Estimate:
    """Return the share over all works, its interval with the work as the unit."""
    narrower = clustered_rate(successes, trials, one_sided(level))
    return estimate(clustered_rate(successes, trials, level), "ratio", len(trials), narrower)


def difference(members: Side, controls: Side, level: float) -> Estimate:
    """Return the share among members' windows minus that among controls' (Newcombe), the work as the unit."""
    sides = (members.out, members.windows, controls.out, controls.windows)
    narrower = clustered_difference(*sides, one_sided(level))
    units = min(len(members.works), len(controls.works))
    return estimate(clustered_difference(*sides, level), "ratio", units, narrower)


def difference_p(members: Side, controls: Side, rng: np.random.Generator) -> float:
    """Return the one-sided p-value of no excess, by a permutation of whole works; Fisher's where each has one window."""
    if (members.windows == 1).all() and (controls.windows == 1).all():
        return fisher_greater(int(members.out.sum()), len(members.out), int(controls.out.sum()), len(controls.out))
    return cluster_permutation_greater(members.out, members.windows, controls.out, controls.windows, rng)


def above_controls(members: Side, controls: Side | None) -> list[int]:
    """Return the members' works of which more comes out than of any control work, most first."""
    if controls is None:
        return []
    most = float(controls.shares().max())
    return [place for place in members.order() if members.out[place] and members.shares()[place] > most]


def confirmed_persons(members: Side, controls: Side | None) -> int:
    """Return the persons with a passage that came out without an ambiguous token, if none of a control did."""
    if controls is None or controls.out.any():
        return 0
    sure = [work.cluster for work in members.works if (work.extractable(members.rule) & (work.tied == 0)).any()]
    return len(set(sure))


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
    """Return the share by probability, by kind of coverage, by queries, by copies and source, then work by work."""
    found = []

    def both(by: str, label: str, count: Callable[[Side], NDArray[np.int64]], *, tokens: bool, note: str = "") -> None:
        def one(side: Side) -> Estimate:
            return share(count(side), side.reach() if tokens else side.windows, level)

        found.append(
            Stratum(by=by, label=label, estimate=one(members), control=one(controls) if controls else None, note=note)
        )

    for threshold in sorted({*thresholds, members.rule.probability}):
        both("probability", f"{threshold:.3g} or more", _counter(threshold), tokens=False, note="share of passages")
    both(
        "passages",
        "trivial ones as well",
        _with_trivial,
        tokens=False,
        note="few different tokens, or copied from the prefix",
    )
    both("passages", "most likely word by word", _greedy, tokens=False, note="what greedy decoding says")
    note = "share of the tokens that a window can reach"
    both("coverage", "tokens in passages that come out", lambda side: side.covered, tokens=True, note=note)
    both("coverage", "tokens said nearly word for word", lambda side: side.nearly, tokens=True, note=note)
    meant = {budget.per_subject: "declared per work", budget.lifetime: "declared over the lifetime"}
    spent = [(side, _costs(side, budget.lifetime)) for side in (members, controls) if side is not None]
    for queries in sorted({1, 10, 100, budget.per_subject, budget.lifetime}):
        affordable = {id(side): _within(side, costs, queries) for side, costs in spent}
        both(
            "queries for a work",
            f"{queries:,}",
            lambda side, some=affordable: some[id(side)],
            tokens=True,
            note=meant.get(queries, ""),
        )  # type: ignore[misc]
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


def _counter(threshold: float) -> Callable[[Side], NDArray[np.int64]]:
    def count(side: Side) -> NDArray[np.int64]:
        rule = Rule(threshold, side.rule.distinct, side.rule.echo)
        return np.array([work.extractable(rule).sum() for work in side.works], dtype=np.int64)

    return count


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


def figures(members: Side, controls: Side | None, level: float, *, persons: bool) -> list[Figure]:
    """Return how likely passages are, how much of each work is covered, and where in the worst work."""
    sides = [("members' works", members, "members")] + ([("control works", controls, "controls")] if controls else [])
    grid = np.logspace(np.log10(SMALLEST), 0.0, 37)
    likely, coverage = [], []
    steps = np.linspace(0.0, 1.0, 21)
    for name, side, role in sides:
        rates = [share(_counter(min(float(point), 1.0))(side), side.windows, level) for point in grid]
        likely.append(_series(name, grid, rates, role))
        covered = side.covered / side.reach()
        at_least = [int((covered >= step - 1e-9).sum()) for step in steps]
        ends = [estimate(clopper_pearson(count, len(covered), level), "ratio", len(covered)) for count in at_least]
        coverage.append(_series(name, steps, ends, role))
    limit = members.rule.probability
    likely.append(Series(name="counts from here", x=(limit, limit), y=(0.0, 1.0), role="limit"))
    worst = members.order()[0]
    most = percent(float(members.covered[worst] / members.works[worst].reach))
    found = [
        Figure(
            kind="survival",
            title="How likely one query says a passage",
            x_label="probability of the passage in one query",
            y_label="share of passages at or above",
            series=tuple(likely),
            x_scale="log",
            caption=(
                "Share of passages that one query says with at least a probability, with pointwise intervals that treat the work as the "
                f"unit. {percent(float(members.out.sum() / members.windows.sum()))} of the members' passages are at {limit:.3g} or above"
                + (
                    f", {percent(float(controls.out.sum() / controls.windows.sum()))} of the controls'."
                    if controls
                    else "."
                )
            ),
        ),
        Figure(
            kind="survival",
            title="How much of each work is covered",
            x_label="share of the work's tokens in passages that come out",
            y_label="share of works with at least so much",
            series=tuple(coverage),
            caption=(
                "Share of works of which at least so much is covered by passages that come out, with exact intervals. The most "
                f"is {most} of one work."
            ),
        ),
    ]
    if members.out[worst]:
        found.append(_along(members.works[worst], members.rule, persons=persons))
    return found


def _series(name: str, x: NDArray[np.float64], rates: Sequence[Estimate], role: str) -> Series:
    return Series(
        name=name,
        x=tuple(float(value) for value in x),
        y=tuple(rate.value for rate in rates),
        low=tuple(rate.low for rate in rates),
        high=tuple(rate.high for rate in rates),
        role="members" if role == "members" else "controls",
    )


def _along(work: Work, rule: Rule, *, persons: bool) -> Figure:
    """Return where in a work passages come out."""
    cells = work.covered(work.extractable(rule))
    parts = [part for part in np.array_split(cells, min(POINTS, len(cells))) if len(part)]
    ends = np.cumsum([len(part) for part in parts]) / len(cells)
    return Figure(
        kind="intervals",
        title="Where in the work of which most comes out",
        x_label="place in the work, as a share of its tokens",
        y_label="share of tokens that come out",
        series=(
            Series(
                name=named(work, persons=persons),
                x=tuple(float(end) for end in ends),
                y=tuple(float(part.mean()) for part in parts),
                role="members",
            ),
        ),
        caption=(
            f"Share of the tokens in passages that come out, along the work in {len(parts)} steps, each shown at its end; "
            f"{percent(float(cells.mean()))} over the whole."
        ),
    )
