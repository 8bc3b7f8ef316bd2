"""What the report shows of the clauses: grouped by catalogue, with status, state and what was verified."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from auditor.core.assessment import StatementState
from auditor.core.clause import ClauseKind
from auditor.core.finding import Outcome
from auditor.report.finding_page import MOST_ROWS
from auditor.report.writing import OUTCOMES, STATEMENTS, STATUSES, outcome, statement_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.assessment import ClauseState
    from auditor.core.clause import Catalogue
    from auditor.report.view import ReportInput

_GRAVITY: dict[Outcome | StatementState | None, int] = {
    value: place for place, value in enumerate([*OUTCOMES, *STATEMENTS, None])
}


def clause_groups(source: ReportInput) -> list[dict[str, Any]]:
    """Return the clauses, catalogue by catalogue, in the order of their instrument."""
    places = {item.test: index for index, item in enumerate(source.findings, start=1)}
    own: dict[str, list[ClauseState]] = {}
    for state in source.assessment.clauses:
        own.setdefault(state.catalogue, []).append(state)
    return [_group(item, own.get(item.id, []), places) for item in source.catalogues]


def _group(catalogue: Catalogue, states: Sequence[ClauseState], places: dict[str, int]) -> dict[str, Any]:
    kept = list(states)
    if len(states) > MOST_ROWS:
        worst = sorted(states, key=lambda item: (_GRAVITY[item.outcome], _GRAVITY[item.statement]))[:MOST_ROWS]
        chosen = {item.clause.id for item in worst}
        kept = [item for item in states if item.clause.id in chosen]
    name, word, shape = STATUSES[catalogue.status]
    outcomes = Counter(item.outcome for item in states)
    said = Counter(item.statement for item in states)
    return {
        "catalogue": catalogue,
        "anchor": f"catalogue-{catalogue.id}",
        "status": {"class": name, "word": word, "shape": shape},
        "all": len(states),
        "unverified": sum(not item.clause.verification.paragraph_confirmed for item in states),
        "counts": [{**(outcome(value) or {}), "count": outcomes[value]} for value in OUTCOMES if outcomes[value]]
        + [{**(statement_state(state) or {}), "count": said[state]} for state in STATEMENTS if said[state]],
        "rows": [_clause(state, places) for state in kept],
    }


def _clause(state: ClauseState, places: dict[str, int]) -> dict[str, Any]:
    checked = state.clause.verification
    statement = statement_state(state.statement)
    if state.clause.kind is ClauseKind.INTERPRETIVE:
        without = "printed, not scored"
    elif state.clause.kind is ClauseKind.DOCUMENTARY:
        without = "no test can answer it"
    else:
        without = "no test"
    return {
        "clause": state.clause,
        "outcome": outcome(state.outcome),
        "without": without,
        "decided": [
            {"test": test, "number": places.get(test, 0), "anchor": f"test-{places[test]}" if test in places else ""}
            for test in state.decided_by
        ],
        "statement": statement,
        "statement_ids": state.statement_ids,
        "unanswered": state.unanswered,
        "asked_elsewhere": state.clause.statement is not None,
        "contradiction": state.contradiction,
        "rationale": state.rationale,
        "paragraph_confirmed": checked.paragraph_confirmed,
        "verified": checked.verified,
        "words": " ".join(
            filter(
                None,
                [
                    OUTCOMES[state.outcome][0] if state.outcome else "none",
                    statement["class"] if statement else "unasked",
                ],
            )
        ),
    }
