"""JUnit XML, for continuous integration: it turns red where the audit's own exit code is not 0, and only there.

| outcome | required | not required |
|---|---|---|
| `no_signal` | a test case with nothing in it | the same |
| `signal` | `failure` | `failure`: a signal ends every audit with exit code 1 |
| `inconclusive`, `invalid`, `not_run` | `error`: the question was asked and stays open | `skipped` |
| `not_applicable` | `skipped`, with the person's reason | `skipped` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from auditor.core.finding import Outcome
from auditor.exchange.source import TOOL, line, meaning, tolerated, worded

if TYPE_CHECKING:
    from auditor.core.finding import Finding
    from auditor.exchange.source import Source


def junit(source: Source) -> bytes:
    """Return the findings as one suite of JUnit test cases, UTF-8."""
    kinds = [kind_of(finding) for finding in source.findings]
    counts = {
        "tests": str(len(kinds)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
        "time": "0",
    }
    name = f"Memorization audit of {line(source.subject.name)}"
    suites = ET.Element("testsuites", {"name": name, **counts})
    suite = ET.SubElement(
        suites,
        "testsuite",
        {
            "name": line(source.policy.id),
            **counts,
            "timestamp": f"{source.moment:%Y-%m-%dT%H:%M:%S}",
            "hostname": "bundle",
        },
    )
    properties = ET.SubElement(suite, "properties")
    for key, value in (
        ("tool", f"{TOOL} {source.auditor}"),
        ("bundle-sha256", source.bundle),
        ("model-sha256", source.subject.model.digest),
        ("policy", f"{source.policy.id}, version {source.policy.version}"),
        ("exit-code", str(source.assessment.exit_code)),
    ):
        ET.SubElement(properties, "property", {"name": key, "value": line(value)})
    for finding, kind in zip(source.findings, kinds, strict=True):
        _case(suite, finding, kind)
    ET.indent(suites)
    content: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def kind_of(finding: Finding) -> str:
    """Return the element that says what became of a finding; nothing where it is `no_signal`."""
    if finding.outcome is Outcome.NO_SIGNAL:
        return ""
    if finding.outcome is Outcome.SIGNAL:
        return "failure"
    if finding.outcome is Outcome.NOT_APPLICABLE or not finding.required:
        return "skipped"
    return "error"


def _case(suite: ET.Element, finding: Finding, kind: str) -> None:
    family, _, name = finding.test.rpartition("/")
    case = ET.SubElement(suite, "testcase", {"classname": family or "test", "name": name, "time": "0"})
    if kind:
        about = {"message": f"{finding.outcome.value}: {line(finding.reason)}"}
        if kind != "skipped":
            about["type"] = finding.outcome.value
        ET.SubElement(case, kind, about).text = f"{finding.outcome.value}: {meaning(finding)}."
    out = ET.SubElement(case, "system-out")
    out.text = "\n".join(_detail(finding))


def _detail(finding: Finding) -> list[str]:
    measured = finding.measurement
    lines = [f"outcome: {finding.outcome.value}", f"tolerance: {tolerated(finding)}"]
    if measured is None:
        return [*lines, f"reason: {line(finding.reason)}"]
    lines += [f"question: {line(measured.question)}", f"answer: {line(measured.answer)}"]
    numbers = {"estimate": measured.estimate, "control": measured.control, "excess": measured.excess}
    lines += [f"{name}: {worded(value)}" for name, value in numbers.items()]
    return [*lines, f"power: {line(measured.power.statement)}", *(f"caveat: {line(text)}" for text in measured.caveats)]
