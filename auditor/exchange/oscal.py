"""OSCAL assessment results (NIST, model version 1.2).

What is found is said of **test objectives**, one for each test of the policy, and never of a legal control: OSCAL knows only `satisfied`
and `not-satisfied`, and no test can say that a legal clause is satisfied.

| outcome | observation | finding: state, reason |
|---|---|---|
| `no_signal` | yes | `satisfied`, `pass`; the remark says of what |
| `signal` | yes | `not-satisfied`, `fail`; an open risk beside it |
| `inconclusive`, `invalid` | yes | `not-satisfied`, `other`; the remark says which |
| `not_run`, `not_applicable` | none | none; listed in properties and remarks of the whole |
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from auditor.core.finding import Outcome
from auditor.exchange.source import TOOL, VENDOR, line, meaning, number, of_the_data, tolerated, worded

if TYPE_CHECKING:
    from auditor.core.assessment import Statement
    from auditor.core.finding import Estimate, Finding
    from auditor.exchange.source import Source

VERSION = "1.2.1"
STATES: dict[Outcome, tuple[str, str]] = {
    Outcome.NO_SIGNAL: ("satisfied", "pass"),
    Outcome.SIGNAL: ("not-satisfied", "fail"),
    Outcome.INCONCLUSIVE: ("not-satisfied", "other"),
    Outcome.INVALID: ("not-satisfied", "other"),
}
"""State and reason of a test objective; an outcome that is not here has no finding and no observation."""
_SCOPE = "Said of this test objective alone. It says nothing of whether a legal clause is met, which no test can say."
_RESOURCES = (
    "plan.json",
    "policy.yaml",
    "findings.json",
    "assessment.json",
    "report.html",
    "report.pdf",
    "manifest.json",
)


def oscal(source: Source) -> dict[str, Any]:
    """Return a bundle as an OSCAL document of assessment results, plain JSON."""
    moment = source.moment.isoformat()
    return {
        "assessment-results": {
            "uuid": source.identifier("oscal"),
            "metadata": {
                "title": f"Memorization audit of {line(source.subject.name)}",
                "last-modified": moment,
                "version": source.bundle,
                "oscal-version": VERSION,
                "props": [
                    _prop("auditor-version", source.auditor),
                    _prop("bundle-sha256", source.bundle),
                    _prop("signer-certificate-sha256", source.signer),
                ],
                "roles": [{"id": "assessor", "title": "Who ran the audit and sealed it"}],
                "parties": [
                    {
                        "uuid": source.identifier("party", "operator"),
                        "type": "organization",
                        "name": line(source.operator) or "not named",
                        "remarks": "As the certificate of the seal names it; a name alone proves nothing.",
                    }
                ],
                "responsible-parties": [
                    {"role-id": "assessor", "party-uuids": [source.identifier("party", "operator")]}
                ],
            },
            "import-ap": {
                "href": f"#{_resource(source, 'plan.json')}",
                "remarks": "The plan was written before anything was measured; it is a file of the bundle and not an OSCAL document.",
            },
            "results": [_result(source, moment)],
            "back-matter": {"resources": [_file(source, name) for name in _RESOURCES if name in source.digests]},
        }
    }


def objective(test: str) -> str:
    """Return the id of a test's objective, an OSCAL token; no two tests share one."""
    # One dot more wherever there was one, so that the slash, written as one, can still be told.
    return "objective." + test.replace(".", "..").replace("/", ".")


def _result(source: Source, moment: str) -> dict[str, Any]:
    said = [finding for finding in source.findings if finding.outcome in STATES]
    silent = [finding for finding in source.findings if finding.outcome not in STATES]
    observations = [_observation(source, finding, moment) for finding in said]
    observations += [_examined(source, statement) for statement in source.statements]
    result: dict[str, Any] = {
        "uuid": source.identifier("result"),
        "title": f"Battery of policy {line(source.policy.id)}, version {source.policy.version}",
        "description": "Each test of a pre-declared battery, measured on members and controls. " + _SCOPE,
        "start": moment,
        "props": [_prop(f"{item.outcome.value}", item.test) for item in silent]
        or [_prop("asked-and-not-done", "none")],
        "local-definitions": {"components": [_component(source)]},
        "reviewed-controls": _reviewed(source),
        "remarks": _remarks(source, silent),
    }
    if observations:
        result["observations"] = observations
    signals = [finding for finding in said if finding.outcome is Outcome.SIGNAL]
    if signals:
        result["risks"] = [_risk(source, finding) for finding in signals]
    if said:
        result["findings"] = [_finding(source, finding) for finding in said]
    return result


def _component(source: Source) -> dict[str, Any]:
    model = source.subject.model
    return {
        "uuid": source.identifier("component", "model"),
        "type": "software",
        "title": line(source.subject.name),
        "description": f"The audited model, by digest: {model.digest}.",
        "props": [
            _prop("model-digest", model.digest),
            _prop("digest-of", model.seen),
            _prop("members-digest", source.subject.members.digest),
            *([_prop("controls-digest", source.subject.controls.digest)] if source.subject.controls else []),
            _prop("release-context", source.subject.release_context),
        ],
        "status": {"state": "operational" if source.subject.release_context != "internal" else "other"},
    }


def _reviewed(source: Source) -> dict[str, Any]:
    clauses = sorted({name for finding in source.findings for name in finding.evidence_for})
    selection: dict[str, Any] = {
        "description": "Clauses that the tests are evidence for, as context: no state is given to any of them.",
        "props": [_prop("catalogue", name) for name in source.policy.catalogues],
    }
    if clauses:
        selection["include-controls"] = [{"control-id": token} for token in sorted({_token(name) for name in clauses})]
    else:
        selection["include-all"] = {}
    objectives: dict[str, Any] = {"description": "One objective for each test of the policy."}
    if source.findings:
        objectives["include-objectives"] = [{"objective-id": objective(finding.test)} for finding in source.findings]
    else:
        objectives["include-all"] = {}
    return {"control-selections": [selection], "control-objective-selections": [objectives]}


def _remarks(source: Source, silent: list[Finding]) -> str:
    lines = [line(text) for text in source.assessment.limits]
    lines += [f"{item.test} is {item.outcome.value}: {line(item.reason)}" for item in silent]
    lines += [f"No test of this policy tried: {line(name)}." for name in source.assessment.attack_classes_not_tested]
    return "\n".join(lines) or "Every test of the policy was run."


def _observation(source: Source, finding: Finding, moment: str) -> dict[str, Any]:
    measured = finding.measurement
    props = [_prop("test", finding.test), _prop("outcome", finding.outcome.value)]
    props.append(_prop("required", "yes" if finding.required else "no"))
    if measured is not None:
        props += [*_numbers("estimate", measured.estimate), *_numbers("control", measured.control)]
        props += _numbers("excess", measured.excess)
        props += [_prop("statistic", measured.statistic), _prop("members", str(measured.members))]
        props.append(_prop("controls", str(measured.controls)))
    if finding.tolerance is not None:
        props.append(_prop("tolerance", number(finding.tolerance.at_most)))
    if finding.p_adjusted is not None:
        props.append(_prop("p-adjusted", number(finding.p_adjusted)))
    return {
        "uuid": source.identifier("observation", finding.test),
        "title": line(measured.title if measured else finding.test),
        "description": line(measured.answer) if measured else line(finding.reason),
        "props": props,
        "methods": ["TEST"],
        "types": ["control-objective"],
        "subjects": [{"subject-uuid": source.identifier("component", "model"), "type": "component"}],
        "relevant-evidence": [
            {
                "href": f"#{_resource(source, 'findings.json')}",
                "description": "The finding with strata, gates, power and caveats.",
                "props": [_prop("evidence-observation", name) for name in (measured.observations if measured else ())]
                or [_prop("evidence-observation", "none")],
            }
        ],
        "collected": moment,
        "expires": source.expires.isoformat(),
        "remarks": _caveats(finding),
    }


def _caveats(finding: Finding) -> str:
    measured = finding.measurement
    lines = [f"Tolerance: {tolerated(finding)}."]
    if measured is not None:
        lines.append(line(measured.power.statement))
        lines += [line(text) for text in measured.caveats]
        lines += [
            f"Gate `{line(gate.name)}` did not hold: {line(gate.detail)}" for gate in measured.gates if not gate.held
        ]
    return "\n".join(lines)


def _examined(source: Source, statement: Statement) -> dict[str, Any]:
    props = [_prop("clause", name) for name in statement.clauses]
    props += [_prop("evidence-sha256", item.sha256) for item in statement.evidence]
    return {
        "uuid": source.identifier("statement", statement.id),
        "title": f"Statement {line(statement.id)}",
        "description": f"By {line(statement.role)} on {line(statement.date)}: read, and not tested.",
        **({"props": props} if props else {}),
        "methods": ["EXAMINE"],
        "collected": source.moment.isoformat(),
        "expires": source.expires.isoformat(),
    }


def _risk(source: Source, finding: Finding) -> dict[str, Any]:
    measured = finding.measurement
    said = line(measured.answer) if measured else line(finding.reason)
    where = "It stands in the training data" if of_the_data(finding) else "Training data comes out"
    risk: dict[str, Any] = {
        "uuid": source.identifier("risk", finding.test),
        "title": f"{where}: {line(measured.title) if measured else finding.test}",
        "description": said,
        "statement": f"{line(finding.reason)} Tolerance: {tolerated(finding)}.",
        "status": "open",
        "related-observations": [{"observation-uuid": source.identifier("observation", finding.test)}],
    }
    if measured is not None:
        risk["remediations"] = [
            {
                "uuid": source.identifier("remediation", finding.test),
                "lifecycle": "recommendation",
                "title": "What to do about it",
                "description": line(measured.advice),
            }
        ]
    return risk


def _finding(source: Source, finding: Finding) -> dict[str, Any]:
    state, reason = STATES[finding.outcome]
    found: dict[str, Any] = {
        "uuid": source.identifier("finding", finding.test),
        "title": line(finding.measurement.title if finding.measurement else finding.test),
        "description": line(finding.reason),
        "props": [_prop("outcome", finding.outcome.value)],
        "target": {
            "type": "objective-id",
            "target-id": objective(finding.test),
            "title": line(finding.measurement.question) if finding.measurement else finding.test,
            "status": {
                "state": state,
                "reason": reason,
                "remarks": f"{finding.outcome.value}: {meaning(finding)}. {_SCOPE}",
            },
        },
        "related-observations": [{"observation-uuid": source.identifier("observation", finding.test)}],
    }
    if finding.outcome is Outcome.SIGNAL:
        found["related-risks"] = [{"risk-uuid": source.identifier("risk", finding.test)}]
    return found


def _file(source: Source, name: str) -> dict[str, Any]:
    return {
        "uuid": _resource(source, name),
        "title": name,
        "description": f"A file of the bundle that {TOOL} {source.auditor} wrote.",
        "rlinks": [{"href": name, "hashes": [{"algorithm": "SHA-256", "value": source.digests[name]}]}],
    }


def _resource(source: Source, name: str) -> str:
    return source.identifier("file", name)


def _numbers(name: str, estimate: Estimate | None) -> list[dict[str, str]]:
    if estimate is None:
        return []
    return [
        _prop(name, number(estimate.value), remarks=worded(estimate)),
        _prop(f"{name}-low", number(estimate.low)),
        _prop(f"{name}-high", number(estimate.high)),
    ]


def _prop(name: str, value: str, *, remarks: str = "") -> dict[str, str]:
    prop = {"name": _token(name), "ns": VENDOR, "value": line(value) or "none"}
    return prop | ({"remarks": remarks} if remarks else {})


def _token(text: str) -> str:
    """Return a text as an OSCAL token: a letter or `_`, then letters, digits, `.`, `-` and `_`."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", text)
    return plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}"
