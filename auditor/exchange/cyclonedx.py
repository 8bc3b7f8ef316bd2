"""CycloneDX 1.7 or 1.6: a bill of materials with a model card, what was measured of the model, and claims that rest on evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from auditor.core.finding import Outcome
from auditor.exchange.declarations import declarations, standards
from auditor.exchange.source import TOOL, VENDOR, line, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.core.finding import Estimate
    from auditor.core.subject import DatasetIdentity
    from auditor.exchange.source import Source

SpecVersion = Literal["1.7", "1.6"]
SPEC_VERSIONS: tuple[SpecVersion, ...] = get_args(SpecVersion)
"""Versions that can be written, the default first."""
_REFERENCES = {
    "report.pdf": ("dynamic-analysis-report", "The report, signed."),
    "report.html": ("dynamic-analysis-report", "The report."),
    "findings.json": ("quality-metrics", "Every finding with strata, gates, power and caveats."),
    "assessment.json": ("quality-metrics", "Findings and statements, clause by clause."),
    "manifest.json": ("evidence", "Every file of the bundle by digest."),
    "seal.dsse.json": ("attestation", "The seal: a DSSE envelope over an in-toto statement."),
}


def cyclonedx(source: Source, version: SpecVersion = "1.7") -> dict[str, Any]:
    """Return a bundle as a CycloneDX document with a model card and declarations, plain JSON.

    Args:
        source: The bundle.
        version: Version of the specification.
    """
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{version}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": version,
        "serialNumber": f"urn:uuid:{source.identifier('cyclonedx', version)}",
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
        "definitions": {"standards": standards(source)},
        "declarations": declarations(source),
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


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"{VENDOR}:{name}", "value": line(value)}
