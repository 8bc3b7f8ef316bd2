"""Declarations of a CycloneDX document: attestations that map requirements to claims, and claims to evidence.

Two kinds of standard are mapped. One is the policy's battery, a requirement for each test. The others are the catalogues of the policy, a
requirement for each clause, with the claims of the tests that are evidence for it. A claim is about its test and nothing else; **no
conformance score is given**, neither of a test nor of a clause, because no test can say that a clause is met.

| outcome | attestation of the test's requirement, and of the clauses it is evidence for |
|---|---|
| `no_signal` | a claim |
| `signal` | a counter-claim |
| all others | neither; the rationale says why nothing is claimed |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.core.finding import Outcome
from auditor.exchange.source import line, meaning, tolerated, worded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.core.assessment import ClauseState
    from auditor.core.finding import Finding, Measurement
    from auditor.exchange.source import Source

NOT_ATTESTED = (
    "No conformance is stated: the claims are about tests, and whether the clause is met is for the controller and the supervisory "
    "authority to assess."
)
"""Stands in the rationale of every clause."""


def standards(source: Source) -> list[dict[str, Any]]:
    """Return what is attested to: the battery, and the catalogues with their clauses."""
    return [_standard(source), *(_catalogue(name, states) for name, states in _by_catalogue(source).items())]


def _by_catalogue(source: Source) -> Mapping[str, list[ClauseState]]:
    found: dict[str, list[ClauseState]] = {}
    for state in source.assessment.clauses:
        found.setdefault(state.catalogue, []).append(state)
    return found


def _catalogue(name: str, states: list[ClauseState]) -> dict[str, Any]:
    return {
        "bom-ref": f"catalogue:{name}",
        "name": line(name),
        "description": "Clauses as the policy's catalogue words them, which is not the official text.",
        "requirements": [
            {
                "bom-ref": _clause(state),
                "identifier": line(state.clause.id),
                "title": line(state.clause.title),
                "text": line(f"{state.clause.reference}: {state.clause.paraphrase}"),
            }
            for state in states
        ],
    }


def _clause(state: ClauseState) -> str:
    return f"clause:{state.catalogue}:{state.clause.id}"


def _standard(source: Source) -> dict[str, Any]:
    return {
        "bom-ref": "battery",
        "name": f"Battery of policy {line(source.policy.id)}",
        "version": str(source.policy.version),
        "description": line(source.policy.title),
        "owner": source.policy.id,
        "requirements": [
            {
                "bom-ref": f"objective:{finding.test}",
                "identifier": finding.test,
                "title": line(finding.measurement.question) if finding.measurement else finding.test,
                "text": f"Tolerance: {tolerated(finding)}.",
            }
            for finding in source.findings
        ],
    }


def declarations(source: Source) -> dict[str, Any]:
    """Return attestations, claims and evidence."""
    spoken = [finding for finding in source.findings if finding.outcome in {Outcome.SIGNAL, Outcome.NO_SIGNAL}]
    declared: dict[str, Any] = {
        "assessors": [{"bom-ref": "assessor", "organization": {"name": line(source.operator) or "not named"}}],
        "attestations": [
            {
                "summary": "Outcomes of the tests. Nothing is attested of any legal clause.",
                "assessor": "assessor",
                "map": [_mapped(finding) for finding in source.findings],
            },
            *(
                {
                    "summary": f"Which claims are evidence for clauses of {line(name)}. {NOT_ATTESTED}",
                    "assessor": "assessor",
                    "map": [_mapped_clause(source, state) for state in states],
                }
                for name, states in _by_catalogue(source).items()
            ),
        ],
        "evidence": [
            _evidence(source, finding, finding.measurement)
            for finding in source.findings
            if finding.measurement is not None
        ],
    }
    if spoken:
        declared["claims"] = [_claim(finding) for finding in spoken]
    return declared


def _mapped(finding: Finding) -> dict[str, Any]:
    row: dict[str, Any] = {"requirement": f"objective:{finding.test}"}
    if finding.outcome is Outcome.NO_SIGNAL:
        row["claims"] = [f"claim:{finding.test}"]
    elif finding.outcome is Outcome.SIGNAL:
        row["counterClaims"] = [f"claim:{finding.test}"]
    said = f"{finding.outcome.value}: {meaning(finding)}. {line(finding.reason)}"
    return row | {"conformance": {"rationale": said}}


def _mapped_clause(source: Source, state: ClauseState) -> dict[str, Any]:
    """Return the claims and counter-claims of the tests that are evidence for a clause, and what became of it, in words."""
    named = set(state.tests)
    row: dict[str, Any] = {"requirement": _clause(state)}
    for key, outcome in (("claims", Outcome.NO_SIGNAL), ("counterClaims", Outcome.SIGNAL)):
        refs = [f"claim:{item.test}" for item in source.findings if item.test in named and item.outcome is outcome]
        if refs:
            row[key] = refs
    said = [
        f"worst outcome of its tests: {state.outcome.value}" if state.outcome else "no test of this policy speaks to it"
    ]
    if state.statement is not None:
        said.append(f"statement of the controller: {state.statement.value}")
    return row | {"conformance": {"rationale": f"{'; '.join(said)}. {NOT_ATTESTED}"}}


def _claim(finding: Finding) -> dict[str, Any]:
    side = "evidence" if finding.outcome is Outcome.NO_SIGNAL else "counterEvidence"
    claim: dict[str, Any] = {
        "bom-ref": f"claim:{finding.test}",
        "target": "model",
        "predicate": f"{finding.test}: {tolerated(finding)}",
        "reasoning": line(finding.reason),
    }
    return claim | ({side: [f"evidence:{finding.test}"]} if finding.measurement is not None else {})


def _evidence(source: Source, finding: Finding, measured: Measurement) -> dict[str, Any]:
    numbers = (
        f"members {worded(measured.estimate)}; controls {worded(measured.control)}; excess {worded(measured.excess)}"
    )
    return {
        "bom-ref": f"evidence:{finding.test}",
        "propertyName": finding.test,
        "description": line(measured.answer),
        "data": [
            {"name": "numbers", "contents": {"attachment": {"contentType": "text/plain", "content": numbers}}},
            {"name": "findings.json in the bundle", "contents": {"url": "findings.json"}},
        ],
        "created": source.moment.isoformat(),
        "expires": source.expires.isoformat(),
    }
