"""CycloneDX 1.6, a bill of materials with a model card: the audited model, what was measured of it, and claims that rest on evidence.

The standard that the attestations map to is the policy's battery, one requirement for each test; no legal clause is a requirement, and
no conformance score is given.

| outcome | attestation of the test's requirement |
|---|---|
| `no_signal` | a claim |
| `signal` | a counter-claim |
| all others | neither; the rationale says why nothing is claimed |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.core.finding import Outcome
from auditor.exchange.source import TOOL, VENDOR, line, meaning, number, tolerated, worded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.core.finding import Estimate, Finding, Measurement
    from auditor.core.subject import DatasetIdentity
    from auditor.exchange.source import Source

SPEC_VERSION = "1.6"
_REFERENCES = {
    "report.pdf": ("dynamic-analysis-report", "The report, signed."),
    "report.html": ("dynamic-analysis-report", "The report."),
    "findings.json": ("quality-metrics", "Every finding with strata, gates, power and caveats."),
    "assessment.json": ("quality-metrics", "Findings and statements, clause by clause."),
    "manifest.json": ("evidence", "Every file of the bundle by digest."),
    "seal.dsse.json": ("attestation", "The seal: a DSSE envelope over an in-toto statement."),
}


def cyclonedx(source: Source) -> dict[str, Any]:
    """Return a bundle as a CycloneDX document with a model card and declarations, plain JSON."""
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{source.identifier('cyclonedx')}",
        "version": 1,
        "metadata": {
            "timestamp": source.moment.isoformat(),
            "tools": {"components": [{"type": "application", "name": TOOL, "version": source.auditor}]},
            "component": _model(source),
        },
        "components": [_data(name, dataset) for name, dataset in _datasets(source)],
        "dependencies": [
            {"ref": "model", "dependsOn": [f"data:{name}" for name, _ in _datasets(source) if name == "members"]},
            *({"ref": f"data:{name}"} for name, _ in _datasets(source)),
        ],
        "definitions": {"standards": [_standard(source)]},
        "declarations": _declarations(source),
    }


def _datasets(source: Source) -> list[tuple[str, DatasetIdentity]]:
    controls = source.subject.controls
    return [("members", source.subject.members), *([("controls", controls)] if controls else [])]


def _model(source: Source) -> dict[str, Any]:
    model = source.subject.model
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": line(source.subject.name),
        "version": model.digest,
        "properties": [
            _property("model-digest", model.digest),
            _property("digest-of", model.seen),
            _property("adapter", model.adapter),
            _property("parameters", str(model.parameters)),
            _property("release-context", source.subject.release_context),
        ],
        "modelCard": _card(source),
        "components": [
            {
                "type": "file",
                "bom-ref": f"model:{item.path}",
                "name": line(item.path),
                "hashes": [{"alg": "SHA-256", "content": item.sha256}],
            }
            for item in model.files
        ],
        "externalReferences": [
            {
                "type": kind,
                "url": name,
                "comment": comment,
                "hashes": [{"alg": "SHA-256", "content": source.digests[name]}],
            }
            for name, (kind, comment) in _REFERENCES.items()
            if name in source.digests
        ],
    }


def _card(source: Source) -> dict[str, Any]:
    images = source.subject.members.modality == "image"
    considerations: dict[str, Any] = {"technicalLimitations": [line(text) for text in source.assessment.limits]}
    considerations["technicalLimitations"] += [
        f"No test of this policy tried: {line(name)}." for name in source.assessment.attack_classes_not_tested
    ]
    signals = [finding for finding in source.findings if finding.outcome is Outcome.SIGNAL]
    if signals:
        considerations["ethicalConsiderations"] = [
            {
                "name": f"{finding.test}: {line(finding.reason)}",
                "mitigationStrategy": line(finding.measurement.advice) if finding.measurement else "See the report.",
            }
            for finding in signals
        ]
    return {
        "modelParameters": {
            "task": "image generation" if images else "text generation",
            "datasets": [{"ref": f"data:{name}"} for name, _ in _datasets(source) if name == "members"],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(source))},
        "considerations": considerations,
        "properties": [
            _property(f"outcome:{finding.test}", f"{finding.outcome.value}: {finding.reason}")
            for finding in source.findings
        ],
    }


def _metrics(source: Source) -> Iterator[dict[str, Any]]:
    for finding in source.findings:
        measured = finding.measurement
        if measured is None:
            continue
        kind = f"{finding.test}: {line(measured.statistic)}"
        for part, estimate in (
            ("members", measured.estimate),
            ("controls", measured.control),
            ("excess", measured.excess),
        ):
            if estimate is not None:
                yield _metric(kind, part, estimate)
        for stratum in measured.strata:
            place = f"{line(stratum.by)} = {line(stratum.label)}"
            yield _metric(kind, f"members, {place}", stratum.estimate)
            if stratum.control is not None:
                yield _metric(kind, f"controls, {place}", stratum.control)


def _metric(kind: str, part: str, estimate: Estimate) -> dict[str, Any]:
    return {
        "type": f"{kind} [{line(estimate.unit)}]",
        "value": number(estimate.value),
        "slice": part,
        "confidenceInterval": {"lowerBound": number(estimate.low), "upperBound": number(estimate.high)},
    }


def _data(name: str, dataset: DatasetIdentity) -> dict[str, Any]:
    held = {
        "members": "Records that were in training, as declared.",
        "controls": "Records of the same distribution that were not, as declared.",
    }
    return {
        "type": "data",
        "bom-ref": f"data:{name}",
        "name": name,
        "version": dataset.digest,
        "description": held[name],
        "data": [{"type": "dataset", "name": name, "description": held[name]}],
        "properties": [
            _property("dataset-digest", dataset.digest),
            _property("records", str(dataset.records)),
            _property("clusters", str(dataset.clusters)),
            _property("clustered-by", dataset.clustered_by),
        ],
    }


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


def _declarations(source: Source) -> dict[str, Any]:
    spoken = [finding for finding in source.findings if finding.outcome in {Outcome.SIGNAL, Outcome.NO_SIGNAL}]
    declared: dict[str, Any] = {
        "assessors": [{"bom-ref": "assessor", "organization": {"name": line(source.operator) or "not named"}}],
        "attestations": [
            {
                "summary": "Outcomes of the tests. Nothing is attested of any legal clause.",
                "assessor": "assessor",
                "map": [_mapped(finding) for finding in source.findings],
            }
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


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"{VENDOR}:{name}", "value": line(value)}
