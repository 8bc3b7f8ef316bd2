"""Compares bundles that were read, in pairs and in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from auditor.compare.changes import clause_changes, declared, mismatches, outcome_changes
from auditor.compare.course import course, curves
from auditor.compare.differences import corrected, differences, invalid_tests
from auditor.compare.training import joined
from auditor.core.comparison import Comparison, Difference, Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.compare.source import Source
    from auditor.core.comparison import TrainingRun

Against = Literal["first", "previous"]
_COURSE = 3
"""From so many bundles on their order is looked at as a course."""


def compare(
    sources: Sequence[Source],
    *,
    against: Against = "first",
    ordered: bool = False,
    training: Sequence[TrainingRun] = (),
    notes: Sequence[str] = (),
) -> Comparison:
    """Return the comparison of some bundles.

    Args:
        sources: The bundles, two at least, in the order given.
        against: Every bundle against the first, or against the one before it.
        ordered: Look at their order even if there are only two: steps were given.
        training: Training runs whose history lies beside a bundle.
        notes: What else a reader must know before the numbers.
    """
    level = sources[0].policy.confidence
    places = [(place - 1 if against == "previous" else 0, place) for place in range(1, len(sources))]
    pairs = [(sources[one], sources[other]) for one, other in places]
    rows = [differences(*pair, level) for pair in pairs]
    invalid = [invalid_tests(*pair) for pair in pairs]
    rows_of_all = [row for some in rows for row in some]
    marked = [
        row.model_copy(update={"decides": False}) if row.test in bad else row
        for some, bad in zip(rows, invalid, strict=True)
        for row in some
    ]
    shown = list(corrected(marked, level))
    made = []
    for pair, some in zip(pairs, rows, strict=True):
        own, shown = shown[: len(some)], shown[len(some) :]
        made.append(_pair(*pair, tuple(own)))
    is_course = ordered or len(sources) >= _COURSE
    return Comparison(
        bundles=tuple(source.identity for source in sources),
        against=against,
        level=level,
        family=sum(row.decides and row.p_value is not None for row in marked),
        pairs=tuple(made),
        curves=curves(sources, level) if is_course else (),
        course=course(sources, level) if is_course else (),
        warnings=(*_warnings(sources, rows_of_all), *notes),
        training=joined(training),
    )


def _pair(first: Source, second: Source, rows: tuple[Difference, ...]) -> Pair:
    made = declared(first, second)
    outcomes = outcome_changes(first, second, made)
    clauses = clause_changes(first, second, made, outcomes)
    names = f"{second.identity.label} than in {first.identity.label}"
    said = [source.assessment.conclusion for source in (first, second)]
    ids = [{frozenset(row.observations.items()) for row in source.tests.values()} for source in (first, second)]
    return Pair(
        first=first.identity.label,
        second=second.identity.label,
        same_evidence=ids[0] == ids[1],
        mismatches=mismatches(first, second),
        differences=rows,
        declared=made,
        outcomes=outcomes,
        clauses=clauses,
        conclusion_lost=tuple(sentence for sentence in said[0] if sentence not in said[1]),
        conclusion_new=tuple(sentence for sentence in said[1] if sentence not in said[0]),
        exit_codes=(first.assessment.exit_code, second.assessment.exit_code),
        unexplained=(
            *(f"outcome of {change.test}" for change in outcomes if not change.causes),
            *(f"clause {change.clause}" for change in clauses if not change.causes),
        ),
        regressions=(
            *(f"{row.test}, {row.title}: shown to be higher in {names}" for row in rows if row.direction == "worse"),
            *(
                f"{change.test}: became a signal in {second.identity.label}"
                for change in outcomes
                if change.became_signal
            ),
        ),
    )


def _warnings(sources: Sequence[Source], rows: Sequence[Difference]) -> tuple[str, ...]:
    """Return what a reader must know before the numbers."""
    words = [
        f"{source.identity.label}: the seal agrees with the certificate in the bundle, but nobody vouches for that certificate; "
        "give the signer's with --trust."
        for source in sources
        if not source.identity.trusted
    ]
    if len({source.subject.model.digest for source in sources}) < len(sources):
        words.append(
            "Some of the bundles are audits of the same model: what differs between those is how they were audited."
        )
    if any(row.basis == "unpaired" for row in rows):
        words.append(
            "Where a difference is not paired, both numbers are taken as independent; they come from the same kind of records, so the "
            "interval is likely to be too wide."
        )
    return tuple(words)
