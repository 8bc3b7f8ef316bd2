"""What two bundles declare differently, which outcomes and clauses changed, and what of the first explains the second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.compare.differences import parameters_apart
from auditor.core.comparison import Change, ClauseChange, Mismatch, OutcomeChange
from auditor.core.finding import Outcome
from auditor.core.record import canonical_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from auditor.compare.source import Source
    from auditor.core.assessment import ClauseState
    from auditor.core.record import Record
    from auditor.core.subject import DatasetIdentity

_STATE = ("outcome", "statement", "tests", "decided_by", "statement_ids", "unanswered", "contradiction", "rationale")
_OF_TESTS = frozenset({"tolerance", "test"})
_CONSEQUENCES = {
    "policy": "what differs in it is listed under what is declared differently",
    "confidence": "paired intervals are made at the first's; others cannot be compared",
    "seed": "samples and draws differ: the records in both are compared",
    "members": "ids may not name the same records: nothing of them is paired",
    "controls": "ids may not name the same records: nothing of them is paired",
    "canaries": "canaries are other secrets: exposure is not paired",
    "references": "scores against reference models have another yardstick",
    "precision": "small differences may be those of the arithmetic",
    "auditor": "versions of tests are compared test by test",
}


def mismatches(first: Source, second: Source) -> tuple[Mismatch, ...]:
    """Return what is not the same in both bundles and bears on whether they can be compared; the model is expected to differ."""
    facts = [_facts(source) for source in (first, second)]
    rows = [(what, facts[0][what], facts[1][what], _CONSEQUENCES[what]) for what in _CONSEQUENCES]
    one, other = first, second
    rows += [
        (
            f"parameter `records` of {name}",
            _records(one, name),
            _records(other, name),
            "the records in both are compared",
        )
        for name in one.tests.keys() & other.tests.keys()
        if "records" in parameters_apart(one.tests[name], other.tests[name])
    ]
    found = [Mismatch(what=what, first=a, second=b, consequence=why) for what, a, b, why in rows if a != b]
    if one.subject.model.digest == other.subject.model.digest:
        digest = one.subject.model.digest
        found.append(
            Mismatch(what="model", first=digest, second=digest, consequence="both are audits of the same model")
        )
    return tuple(found)


def _facts(source: Source) -> dict[str, str]:
    """Return what is declared in a bundle and bears on whether it can be compared."""
    subject = source.subject
    return {
        "policy": source.identity.policy_digest,
        "confidence": f"{source.policy.confidence:g}",
        "seed": str(source.policy.seed),
        "members": _data(subject.members),
        "controls": _data(subject.controls),
        "canaries": subject.canaries.sha256 if subject.canaries else "none",
        "references": ", ".join(model.digest for model in subject.references) or "none",
        "precision": subject.model.dtype,
        "auditor": source.identity.auditor,
    }


def _data(identity: DatasetIdentity | None) -> str:
    return "none" if identity is None else identity.digest


def _records(source: Source, name: str) -> str:
    return _word(source.tests[name].parameters.get("records"))


def _word(value: object) -> str:
    """Return a declared value as it would stand in a file; nothing for nothing."""
    if value is None or value in ([], {}):
        return ""
    return value if isinstance(value, str) else canonical_bytes(value).decode()


def declared(first: Source, second: Source) -> tuple[Change, ...]:
    """Return every tolerance, entry of the battery, clause, statement and setting of the policy that is declared differently."""
    one, other = (_plain(source.policy, "tests") for source in (first, second))
    found = [
        _change("policy", first.policy.id, name, one[name], other[name]) for name in one if one[name] != other[name]
    ]
    entries = [{entry.test: entry for entry in source.policy.tests} for source in (first, second)]
    for name in _names(*entries):
        one, other = (_plain(side.get(name), "test") for side in entries)
        if not one or not other:
            found.append(_change("test", name, "in the battery", bool(one), bool(other)))
            continue
        kinds = [(field, "tolerance" if field == "tolerance" else "test") for field in one]
        found += [
            _change(kind, name, field, one[field], other[field]) for field, kind in kinds if one[field] != other[field]
        ]
    clauses = [
        {clause.id: clause for item in source.catalogues for clause in item.clauses} for source in (first, second)
    ]
    found += _records_apart("clause", *clauses)
    statements = [{item.id: item for item in source.statements} for source in (first, second)]
    found += _records_apart("statement", *statements)
    return tuple(found)


def _plain(record: Record | None, without: str) -> dict[str, object]:
    return {} if record is None else {name: value for name, value in record.plain().items() if name != without}


def _names(one: Iterable[str], other: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*one, *other]))


def _records_apart(kind: str, one: Mapping[str, Record], other: Mapping[str, Record]) -> list[Change]:
    found = []
    for name in _names(one, other):
        before, after = _plain(one.get(name), "id"), _plain(other.get(name), "id")
        if not before or not after:
            found.append(_change(kind, name, "there", bool(before), bool(after)))
            continue
        found += [_change(kind, name, key, before[key], after[key]) for key in before if before[key] != after[key]]
    return found


def _change(kind: str, name: str, field: str, first: object, second: object) -> Change:
    if isinstance(first, dict) and isinstance(second, dict):  # of two mappings what differs in them
        apart = [key for key in {**first, **second} if first.get(key) != second.get(key)]
        first, second = ({key: side[key] for key in apart if key in side} for side in (first, second))
    return Change.model_validate(
        {"kind": kind, "name": name, "field": field, "first": _word(first), "second": _word(second)}
    )


def outcome_changes(first: Source, second: Source, made: Sequence[Change]) -> tuple[OutcomeChange, ...]:
    """Return the findings whose outcome is not the same, each with what differs that it follows from."""
    outcomes = [{finding.test: finding.outcome for finding in source.findings} for source in (first, second)]
    found = []
    for name in _names(*outcomes):
        before, after = outcomes[0].get(name), outcomes[1].get(name)
        if before is not after:
            became = after is Outcome.SIGNAL and before is not None
            causes = tuple(dict.fromkeys(_why(name, first, second, made)))
            found.append(OutcomeChange(test=name, first=before, second=after, became_signal=became, causes=causes))
    return tuple(found)


def _why(name: str, first: Source, second: Source, made: Sequence[Change]) -> list[str]:
    """Return what an outcome follows from and is not the same in both bundles."""
    causes = [f"{change.field} of the test" for change in made if change.kind in _OF_TESTS and change.name == name]
    one, other = first.tests.get(name), second.tests.get(name)
    if one and other:
        causes += ["the evidence"] if one.observations != other.observations else []
        causes += ["the version of the test"] if one.test_version != other.test_version else []
        causes += ["what could be done of it"] if one.omission != other.omission else []
    checks = [[check for check in source.instrument if check.test == name] for source in (first, second)]
    causes += ["the control of the instrument"] if checks[0] != checks[1] else []
    if first.policy.confidence != second.policy.confidence:
        causes.append("the confidence of the policy")
    pair = first.finding(name), second.finding(name)
    if pair[0] and pair[1] and pair[0].p_adjusted != pair[1].p_adjusted and pair[0].measurement == pair[1].measurement:
        causes.append("the correction over the battery")
    if first.policy.queries != second.policy.queries:
        causes.append("the query budget")
    return causes


def clause_changes(
    first: Source, second: Source, made: Sequence[Change], outcomes: Sequence[OutcomeChange]
) -> tuple[ClauseChange, ...]:
    """Return the clauses whose state is not the same, each with what differs that it follows from."""
    states = [{state.clause.id: state for state in source.assessment.clauses} for source in (first, second)]
    found = []
    for name in _names(*states):
        before, after = states[0].get(name), states[1].get(name)
        shown = after or before
        fields = _fields(before, after)
        if not fields or shown is None:
            continue
        named = {test for state in (before, after) if state for test in state.tests}
        if "contradiction" in fields:
            named |= _contradicting(before, after)
        causes = [f"the outcome of {change.test}" for change in outcomes if change.test in named]
        causes += [
            f"the {change.field} of {change.name}"
            for change in made
            if change.kind in _OF_TESTS and change.name in named
        ]
        causes += [f"the clause's {change.field}" for change in made if change.kind == "clause" and change.name == name]
        causes += _of_statements(name, first, second, made)
        if "contradiction" in fields and first.subject.release_context is not second.subject.release_context:
            causes.append("the declared release context")
        causes += [
            f"the evidence_for of {change.name}"
            for change in made
            if change.kind == "test" and name in change.first + change.second
        ]
        causes += [
            f"the policy's {change.field}"
            for change in made
            if change.kind == "policy" and change.field in {"statements", "catalogues"}
        ]
        if any(
            _evidence_apart(first, second, test)
            for test in (*named, *(first.tests if "contradiction" in fields else ()))
        ):
            causes.append("the evidence")
        found.append(
            ClauseChange(
                clause=name,
                catalogue=shown.catalogue,
                fields=fields,
                first=_state(before),
                second=_state(after),
                causes=tuple(dict.fromkeys(causes)),
            )
        )
    return tuple(found)


def _contradicting(*states: ClauseState | None) -> set[str]:
    """Return the tests that contradict a statement of a clause, whether they are evidence for it or not."""
    return {item.test for state in states if state for item in state.contradictions if item.test}


def _evidence_apart(first: Source, second: Source, test: str) -> bool:
    one, other = first.tests.get(test), second.tests.get(test)
    return one is not None and other is not None and one.observations != other.observations


def _of_statements(name: str, first: Source, second: Source, made: Sequence[Change]) -> list[str]:
    """Return the statements for a clause that were made, withdrawn or worded anew."""
    answering = {item.id for source in (first, second) for item in source.statements if name in item.clauses}
    return [
        f"the statement {change.name}" for change in made if change.kind == "statement" and change.name in answering
    ]


def _fields(before: ClauseState | None, after: ClauseState | None) -> tuple[str, ...]:
    if before is None or after is None:
        return ("there",)
    return tuple(name for name in _STATE if getattr(before, name) != getattr(after, name))


def _state(state: ClauseState | None) -> str:
    if state is None:
        return "not in the catalogues"
    parts = [
        state.outcome.value if state.outcome else "",
        f"statement {state.statement.value}" if state.statement else "",
    ]
    return ", ".join(part for part in parts if part) or "nothing speaks to it"
