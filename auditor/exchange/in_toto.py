"""in-toto statements about the audited model, for tools that ask one question: may this model go on?

`test-result` (v0.1 of the in-toto attestation framework) is a summary that loses most of what was found; the full statement is the one the
seal signs (`docs/predicate.md`), and it is handed out as the bytes that were signed.

| outcome | list |
|---|---|
| `no_signal` | `passedTests` |
| `signal` | `failedTests` |
| `inconclusive`, `invalid`, `not_run`, `not_applicable` | `warnedTests` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.core.finding import Outcome
from auditor.exchange.source import line

if TYPE_CHECKING:
    from auditor.exchange.source import Source

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
LISTS: dict[Outcome, str] = {
    Outcome.NO_SIGNAL: "passedTests",
    Outcome.SIGNAL: "failedTests",
    Outcome.INCONCLUSIVE: "warnedTests",
    Outcome.INVALID: "warnedTests",
    Outcome.NOT_RUN: "warnedTests",
    Outcome.NOT_APPLICABLE: "warnedTests",
}


def test_result(source: Source) -> dict[str, Any]:
    """Return the summary as an in-toto statement of type `test-result`, plain JSON.

    `PASSED` needs every test of the policy to be `no_signal`, required or not: a test that was not run has shown nothing.
    """
    lists: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for finding in source.findings:
        lists[LISTS[finding.outcome]].append(finding.test)
    result = "FAILED" if lists["failedTests"] else "WARNED" if lists["warnedTests"] or not source.findings else "PASSED"
    return {
        "_type": STATEMENT_TYPE,
        "subject": _subjects(source),
        "predicateType": TEST_RESULT,
        "predicate": {
            "result": result,
            "configuration": [
                {
                    "name": f"policy {line(source.policy.id)}, version {source.policy.version}",
                    "digest": {"sha256": source.digests["policy.yaml"]},
                },
                {"name": "plan.json", "digest": {"sha256": source.digests["plan.json"]}},
                {"name": "manifest.json", "digest": {"sha256": source.bundle}},
                {"name": "data/members", "digest": {"sha256": source.subject.members.digest}},
                *(
                    [{"name": "data/controls", "digest": {"sha256": source.subject.controls.digest}}]
                    if source.subject.controls
                    else []
                ),
            ],
            **lists,
        },
    }


def _subjects(source: Source) -> list[dict[str, Any]]:
    """Return the model as one digest, and each of its files where they were seen."""
    model = source.subject.model
    files = [{"name": item.path, "digest": {"sha256": item.sha256}} for item in model.files]
    return [{"name": "model", "digest": {"sha256": model.digest}}, *files]
