"""Exports: valid by the official schemas, complete, the same bytes every time, and without anything the model gave back."""

from __future__ import annotations

import csv
import io
import json
import re
import uuid
from pathlib import Path
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest
from exchanged import RESTRICTED, Outcome, finding, findings_of, replace, rich, source, tolerance
from hypothesis import given, settings
from hypothesis import strategies as st
from official import cyclonedx_errors, oscal_errors

from auditor.errors import EXIT_CLEAR
from auditor.exchange.cyclonedx import SPEC_VERSIONS, cyclonedx
from auditor.exchange.forms import exported
from auditor.exchange.in_toto import test_result as summary
from auditor.exchange.junit import junit
from auditor.exchange.oscal import objective, oscal
from auditor.exchange.tables import COLUMNS, rows

FORMS = ("oscal", "cyclonedx", "in-toto", "csv", "parquet", "junit")
HOSTILE = "=cmd|'/C calc'!A0 </script><script>x</script> ]]> &amp; `|` \x00\x07 \u202egpj.exe\u2028 \U0001f600"
PAIRS = st.lists(st.tuples(st.sampled_from(list(Outcome)), st.booleans()), max_size=7)


def strings(value):
    """Every text in a JSON value."""
    if isinstance(value, dict):
        yield from (text for part in value.values() for text in strings(part))
    elif isinstance(value, list):
        yield from (text for part in value for text in strings(part))
    elif isinstance(value, str):
        yield value


@pytest.fixture(scope="module")
def whole():
    """Every outcome, with strata, exhibits and hostile words."""
    measured = tuple(
        finding(
            outcome,
            f"t/{outcome.value.replace('_', '-')}",
            measurement=rich(f"t/{outcome.value.replace('_', '-')}", title=f"T {HOSTILE}"),
        )
        for outcome in (Outcome.SIGNAL, Outcome.NO_SIGNAL, Outcome.INCONCLUSIVE, Outcome.INVALID)
    )
    silent = tuple(
        finding(outcome, f"t/{outcome.value.replace('_', '-')}", reason=f"No. {HOSTILE}")
        for outcome in (Outcome.NOT_RUN, Outcome.NOT_APPLICABLE)
    )
    return source((*measured, *silent), words=HOSTILE, files=("config.json", "model.safetensors"))


def test_oscal_is_valid_and_the_schema_can_say_no(whole):
    document = oscal(whole)
    assert oscal_errors(document) == []
    broken = json.loads(json.dumps(document))
    broken["assessment-results"]["results"][0]["findings"][0]["target"]["status"]["state"] = "compliant"
    assert oscal_errors(broken)


@pytest.mark.parametrize("version", SPEC_VERSIONS)
def test_cyclonedx_is_valid_and_the_schema_can_say_no(whole, version):
    document = cyclonedx(whole, version)
    assert document["specVersion"] == version
    assert cyclonedx_errors(document) == []
    assert cyclonedx_errors(document | {"bomFormat": "other"})
    assert cyclonedx_errors(document | {"verdict": "pass"})


@settings(derandomize=True, deadline=None, max_examples=30)
@given(PAIRS)
def test_every_finding_is_in_oscal_as_the_table_says(pairs):
    found = findings_of(*(outcome for outcome, _ in pairs))
    document = oscal(source(found))
    assert oscal_errors(document) == []
    result = document["assessment-results"]["results"][0]
    states = {item["target"]["target-id"]: item["target"]["status"] for item in result.get("findings", [])}
    assert len(states) == len(result.get("findings", []))
    observed = [
        prop["value"]
        for item in result.get("observations", [])
        if "TEST" in item["methods"]
        for prop in item["props"]
        if prop["name"] == "test"
    ]
    listed = [(prop["name"], prop["value"]) for prop in result["props"]]
    for item in found:
        state = states.get(objective(item.test))
        expected = {
            "no_signal": ("satisfied", "pass"), "signal": ("not-satisfied", "fail"), "inconclusive": ("not-satisfied", "other"),
            "invalid": ("not-satisfied", "other"), "not_run": None, "not_applicable": None,
        }[item.outcome.value]  # fmt: skip
        assert (state and (state["state"], state["reason"])) == expected
        assert observed.count(item.test) == (expected is not None)
        assert listed.count((item.outcome.value, item.test)) == (expected is None)
        if state:
            assert state["remarks"].startswith(item.outcome.value)
    assert len(result.get("risks", [])) == sum(item.outcome is Outcome.SIGNAL for item in found)


def test_oscal_says_nothing_of_a_legal_clause(whole):
    result = oscal(whole)["assessment-results"]["results"][0]
    assert {item["target"]["type"] for item in result["findings"]} == {"objective-id"}
    assert all(item["target"]["target-id"].startswith("objective.") for item in result["findings"])
    assert not [item for item in result["findings"] if "C-1" in json.dumps(item)]


def test_identifiers_are_unique_name_derived_and_all_references_lead_somewhere(whole):
    document = oscal(whole)
    made: list[str] = []
    used: list[str] = []

    def walk(value):
        if isinstance(value, dict):
            for key, part in value.items():
                if key == "uuid":
                    made.append(part)
                elif key.endswith("-uuid") or key == "party-uuids":
                    used.extend(part if isinstance(part, list) else [part])
                elif key == "href" and part.startswith("#"):
                    used.append(part[1:])
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)

    walk(document)
    assert len(made) == len(set(made))
    assert {uuid.UUID(name).version for name in made} == {5}
    assert set(used) <= set(made)
    assert (
        oscal(replace(whole, digests={**whole.digests, "manifest.json": "ef" * 32}))["assessment-results"]["uuid"]
        not in made
    )


@pytest.mark.parametrize("names", [("a.b/c", "a/b.c"), ("a/b", "a.b"), ("a../b", "a./b")])
def test_no_two_tests_share_an_objective(names):
    assert len({objective(name) for name in names}) == len(names)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(PAIRS)
def test_every_finding_is_in_cyclonedx_as_the_table_says(pairs):
    found = findings_of(*(outcome for outcome, _ in pairs))
    document = cyclonedx(source(found))
    assert cyclonedx_errors(document) == []
    rows_ = {row["requirement"]: row for row in document["declarations"]["attestations"][0]["map"]}
    claims = {claim["bom-ref"]: claim for claim in document["declarations"].get("claims", [])}
    assert len(rows_) == len(found) == len(document["definitions"]["standards"][0]["requirements"])
    for item in found:
        row = rows_[f"objective:{item.test}"]
        assert ("claims" in row, "counterClaims" in row) == (
            item.outcome is Outcome.NO_SIGNAL,
            item.outcome is Outcome.SIGNAL,
        )
        assert "score" not in row["conformance"]
        assert row["conformance"]["rationale"].startswith(item.outcome.value)
        assert set(row.get("claims", []) + row.get("counterClaims", [])) <= claims.keys()
    evidence = {item["bom-ref"] for item in document["declarations"]["evidence"]}
    for claim in claims.values():
        assert set(claim.get("evidence", []) + claim.get("counterEvidence", [])) <= evidence


@settings(derandomize=True, deadline=None, max_examples=30)
@given(PAIRS)
def test_every_clause_is_mapped_to_the_claims_of_its_tests_and_attested_to_in_none(pairs):
    """Clause to claims to evidence, by counting: a claim for each quiet test that is evidence for it, a counter-claim for each signal."""
    made = source(findings_of(*(outcome for outcome, _ in pairs)))
    document = cyclonedx(made)
    assert cyclonedx_errors(document) == []
    battery, *clauses = document["declarations"]["attestations"]
    outcomes = {item.test: item.outcome.value for item in made.findings}
    mapped = {row["requirement"]: row for attestation in clauses for row in attestation["map"]}
    wanted = {item["bom-ref"] for found in document["definitions"]["standards"][1:] for item in found["requirements"]}
    assert (
        mapped.keys() == wanted == {f"clause:{state.catalogue}:{state.clause.id}" for state in made.assessment.clauses}
    )
    known = {claim["bom-ref"] for claim in document["declarations"].get("claims", [])}
    for state in made.assessment.clauses:
        row = mapped[f"clause:{state.catalogue}:{state.clause.id}"]
        for key, outcome in (("claims", "no_signal"), ("counterClaims", "signal")):
            assert row.get(key, []) == [
                f"claim:{test}" for test in outcomes if test in state.tests and outcomes[test] == outcome
            ]
            assert set(row.get(key, [])) <= known
        assert row["conformance"].keys() == {"rationale"}
        assert "No conformance is stated" in row["conformance"]["rationale"]
    assert len(battery["map"]) == len(outcomes)


def test_cyclonedx_has_each_number_with_its_interval(whole):
    metrics = cyclonedx(whole)["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    slices = [metric["slice"] for metric in metrics if metric["type"].startswith("t/signal")]
    assert slices == [
        "members",
        "controls",
        "excess",
        "members, copies = 1",
        "controls, copies = 1",
        "members, copies = 2",
    ]
    assert all({"lowerBound", "upperBound"} == metric["confidenceInterval"].keys() for metric in metrics)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(PAIRS)
def test_in_toto_lists_every_test_once_and_passes_only_what_was_shown(pairs):
    found = findings_of(*(outcome for outcome, _ in pairs))
    predicate = summary(source(found))["predicate"]
    listed = {name: key for key in ("passedTests", "warnedTests", "failedTests") for name in predicate[key]}
    assert (
        sum(len(predicate[key]) for key in ("passedTests", "warnedTests", "failedTests")) == len(found) == len(listed)
    )
    for item in found:
        assert (listed[item.test] == "passedTests") == (item.outcome is Outcome.NO_SIGNAL)
        assert (listed[item.test] == "failedTests") == (item.outcome is Outcome.SIGNAL)
    outcomes = {item.outcome for item in found}
    expected = "FAILED" if Outcome.SIGNAL in outcomes else "PASSED" if outcomes == {Outcome.NO_SIGNAL} else "WARNED"
    assert predicate["result"] == expected


def test_in_toto_is_about_the_model_and_each_of_its_files(whole):
    statement = summary(whole)
    assert [item["name"] for item in statement["subject"]] == ["model", "config.json", "model.safetensors"]
    assert all(re.fullmatch(r"[0-9a-f]{64}", item["digest"]["sha256"]) for item in statement["subject"])
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["predicate"]["configuration"][0]["digest"]["sha256"] == whole.digests["policy.yaml"]
    assert exported(whole, "in-toto", "memorization-audit") == whole.seal


@settings(derandomize=True, deadline=None, max_examples=50)
@given(PAIRS)
def test_junit_is_red_exactly_where_the_audit_ends_otherwise_than_with_0(pairs):
    found = findings_of(*(outcome for outcome, _ in pairs), required=[required for _, required in pairs])
    made = source(found)
    suite = ET.fromstring(junit(made)).find("testsuite")  # noqa: S314  (our own)
    cases = suite.findall("testcase")
    assert [f"{case.get('classname')}/{case.get('name')}" for case in cases] == [item.test for item in found]
    kinds = [[child.tag for child in case if child.tag != "system-out"] for case in cases]
    for item, kind in zip(found, kinds, strict=True):
        if item.outcome is Outcome.NO_SIGNAL:
            assert kind == []
        elif item.outcome is Outcome.SIGNAL:
            assert kind == ["failure"]
        elif item.outcome is Outcome.NOT_APPLICABLE or not item.required:
            assert kind == ["skipped"]
        else:
            assert kind == ["error"]
    red = int(suite.get("failures")) + int(suite.get("errors")) > 0
    assert red == (made.assessment.exit_code != EXIT_CLEAR)
    flat = [name for kind in kinds for name in kind]
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == [
        str(len(found)), *(str(flat.count(name)) for name in ("failure", "error", "skipped")),
    ]  # fmt: skip


def test_tables_have_a_row_for_each_finding_and_each_stratum(whole):
    table = rows(whole)
    assert [row["test"] for row in table if row["row"] == "finding"] == [item.test for item in whole.findings]
    strata = sum(len(item.measurement.strata) for item in whole.findings if item.measurement)
    assert sum(row["row"] == "stratum" for row in table) == strata == 8
    assert all(row["outcome"] is None for row in table if row["row"] == "stratum")
    read = list(csv.DictReader(io.StringIO(exported(whole, "csv").decode(), newline="")))
    assert [row["test"] for row in read] == [row["test"] for row in table]
    for mine, theirs in zip(table, read, strict=True):
        assert set(theirs) == set(COLUMNS)
        for name in ("estimate_value", "control_low", "excess_high"):
            assert theirs[name] == "" if mine[name] is None else float(theirs[name]) == mine[name]
    stored = pq.read_table(io.BytesIO(exported(whole, "parquet")))
    assert stored.to_pylist() == table
    assert stored.schema.metadata[b"bundle"].decode() == whole.bundle


def test_every_column_is_described_where_a_reader_looks(whole):
    """The documentation, and the metadata that travels with Parquet, say of each column what it holds."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "exchange.md").read_text()
    kinds = {"text": "text", "number": "number (double)", "whole": "whole number (64 bit)", "truth": "true or false"}
    described = re.findall(
        r"^\| `(\w+)` \| (.*?) \| (.*) \|$", page[page.index("### Columns of the table") :], re.MULTILINE
    )
    assert described == [(name, kinds[column.kind], column.meaning) for name, column in COLUMNS.items()]
    stored = pq.read_schema(io.BytesIO(exported(whole, "parquet")))
    said = {field.name: field.metadata[b"description"].decode() for field in stored}
    assert said == {name: column.meaning for name, column in COLUMNS.items()}
    plain = {"text": "string", "number": "double", "whole": "int64", "truth": "bool"}
    assert {field.name: str(field.type) for field in stored} == {
        name: plain[item.kind] for name, item in COLUMNS.items()
    }


def test_no_cell_is_a_formula():
    made = source(
        (
            finding(
                reason="=1+1",
                measurement=rich(title="@SUM(A1)", answer="+2", question="-3?"),
                tolerance=tolerance(set_by="=x"),
            ),
        )
    )
    cells = [cell for row in csv.reader(io.StringIO(exported(made, "csv").decode(), newline="")) for cell in row]
    assert not [cell for cell in cells if re.match(r"[=@\t\r]|[+-](?!\d+(\.\d+)?(e[+-]?\d+)?$)", cell)]


@pytest.mark.parametrize("form", FORMS)
def test_the_same_bundle_gives_the_same_bytes_and_nothing_the_model_gave_back(whole, form):
    content = exported(whole, form)
    assert content == exported(whole, form)
    text = content.decode(errors="replace")
    assert RESTRICTED not in text
    assert "Mustermann" not in text
    assert "\u202e" not in text
    assert "\x00" not in text or form == "parquet"


@pytest.mark.parametrize("form", ["oscal", "cyclonedx", "in-toto"])
def test_hostile_words_stay_on_one_line_and_are_spelled_out(whole, form):
    document = json.loads(exported(whole, form))
    for text in strings(document):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e\u2028]", text)


def test_junit_of_hostile_words_is_xml(whole):
    assert len(ET.fromstring(junit(whole)).findall(".//testcase")) == 6  # noqa: S314


@pytest.mark.parametrize("form", FORMS)
def test_a_bundle_without_findings_or_statements_is_still_valid(form):
    made = source((), statements=False)
    content = exported(made, form)
    if form == "oscal":
        assert oscal_errors(json.loads(content)) == []
    if form == "cyclonedx":
        assert cyclonedx_errors(json.loads(content)) == []
    if form == "in-toto":
        assert json.loads(content)["predicate"]["result"] == "WARNED"


def test_no_form_says_passed_or_compliant_of_the_whole(whole):
    for form in FORMS[:2]:
        text = exported(whole, form).decode().lower()
        assert not re.search(r"\bcompliant\b|\banonymous\b", text)


def test_what_stands_in_the_data_alone_is_never_said_to_have_come_out():
    """A test that asked no model: in no form did anything leak."""
    found = tuple(
        finding(outcome, name, measurement=rich(name, access="data"))
        for outcome, name in ((Outcome.SIGNAL, "dataset/a"), (Outcome.NO_SIGNAL, "dataset/b"))
    )
    made = source(found)
    for form in ("oscal", "cyclonedx", "junit"):
        text = exported(made, form).decode()
        assert "more stands in the training data" in text
        assert "came out" not in text
        assert "comes out" not in text
