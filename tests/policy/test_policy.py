"""Shipped policies, catalogues and schemas say what the code does."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from auditor.contract.registry import listed, load
from auditor.core.resources import resource
from auditor.errors import PolicyError
from auditor.policy.catalogue import load_attack_classes, load_catalogue, shipped_names
from auditor.policy.load import available, load_all_catalogues, load_catalogues, load_policy
from auditor.policy.schema import schemas
from auditor.policy.written_out import mapped

ROOT = Path(__file__).resolve().parents[2]
TODAY = dt.date(2026, 11, 21)
KNOWN = {
    item.name: load("tests", item.name).statistics for item in listed("tests") if item.target.startswith("auditor.")
}


@pytest.mark.parametrize("name", available())
def test_a_shipped_policy_is_right(name):
    loaded = load_policy(name, base=None, known_tests=KNOWN)
    catalogues = load_catalogues(loaded, today=TODAY)
    clauses = {clause.id: clause for item in catalogues for clause in item.catalogue.clauses}
    for entry in mapped(loaded.policy, [item.catalogue for item in catalogues]).tests:
        assert entry.evidence_for, "every test is evidence for a clause"
        assert load("tests", entry.test).parameters.from_plain(entry.parameters)
        assert entry.tolerance is None or entry.tolerance.reason
        for clause in entry.evidence_for:
            assert entry.test in clauses[clause].tests or clauses[clause].every_test, (entry.test, clause)


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_catalogue_says_what_is_not_verified(name):
    catalogue = load_catalogue(name, today=TODAY).catalogue
    installed = {item.name for item in listed("tests")}
    for clause in catalogue.clauses:
        assert clause.verification.verified or clause.verification.level in {"partial", "secondary", "recall"}
        assert set(clause.tests) <= installed
        assert clause.tests or clause.statement or clause.attack_classes or clause.kind.value == "interpretive", (
            clause.id
        )


def test_a_catalogue_past_its_review_date_warns():
    assert not load_catalogue("gdpr", today=TODAY).warnings
    assert "review" in load_catalogue("gdpr", today=dt.date(2030, 1, 1)).warnings[0]


def test_committed_schemas_are_those_of_the_code():
    for name, text in schemas().items():
        assert (ROOT / "docs" / "schemas" / name).read_text() == text, f"run `make schemas`: {name}"
        jsonschema.Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        (
            "policy",
            [*(f"policies/{name}.yaml" for name in available()), "samples/faces-ddpm/policy.yaml"],
        ),
        ("catalogue", [f"policies/clauses/{name}.yaml" for name in shipped_names()]),
        ("attack-classes", ["policies/clauses/attack-classes.yaml"]),
        ("statement-forms", ["policies/clauses/statement-forms.yaml"]),
        ("statements-file", ["samples/notes-lm/statements.yaml", "samples/faces-ddpm/statements.yaml"]),
        (
            "subject-file",
            ["samples/notes-lm/subject.yaml", "samples/smollm2/subject.yaml", "samples/faces-ddpm/subject.yaml"],
        ),
    ],
)
def test_shipped_files_fit_the_published_schemas(schema, paths):
    validator = jsonschema.Draft202012Validator(
        json.loads((ROOT / "docs/schemas" / f"{schema}.schema.json").read_text())
    )
    for path in paths:
        validator.validate(YAML(typ="safe").load((ROOT / path).read_text()))


def test_the_image_sample_shows_its_pictures_and_is_else_judged_by_the_shipped_policy():
    own = load_policy(str(ROOT / "samples/faces-ddpm/policy.yaml"), base=None, known_tests=KNOWN).policy
    shipped = load_policy("edpb-28-2024-images", base=None, known_tests=KNOWN).policy
    differing = {"id": shipped.id, "title": shipped.title, "exhibits": shipped.exhibits}
    assert own.model_copy(update=differing) == shipped
    assert own.exhibits == "full"


def edited(tmp_path, before, after):
    text = resource("policies/baseline.yaml").read_text()
    assert before in text
    path = tmp_path / "policy.yaml"
    path.write_text(text.replace(before, after, 1))
    return path


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("language/exposure", "language/exposur", ["no test", "policy.yaml:"]),
        ("test: language/exposure", "test: language/membership", ["stands already on line"]),
        ("statistic: excess_tpr", "statistic: excess_tps", ["has no statistic"]),
        ("      reason: >-\n        Three bits", "      cause: >-\n        Three bits", ["policy.yaml:"]),
        ("confidence: 0.95", "confidence: yes", ["confidence"]),
        ("seed: 20241217", "seed: -1", ["seed"]),
    ],
)
def test_a_wrong_policy_is_refused_with_its_line(tmp_path, before, after, words):
    with pytest.raises(PolicyError) as caught:
        load_policy(str(edited(tmp_path, before, after)), base=None, known_tests=KNOWN)
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("    required: true\n", "    required: true\n    evidence_for: [E28-55-i-maa]\n", "E28-55-i-maa"),
        ("    required: true\n", "    required: true\n    evidence_for: [E28-29]\n", "no test is evidence"),
        ("statements: [E28-46]", "statements: [E28-34]", "asks no statement"),
        ("[edpb-28-2024]", "[edpb-28-2024, gdrp]", "gdrp"),
    ],
)
def test_a_clause_that_does_not_fit_is_refused(tmp_path, before, after, word):
    loaded = load_policy(str(edited(tmp_path, before, after)), base=None, known_tests=KNOWN)
    with pytest.raises(PolicyError, match=word):
        load_catalogues(loaded, today=TODAY)


def test_an_unknown_policy_is_answered_with_the_nearest():
    with pytest.raises(PolicyError) as caught:
        load_policy("edpb-28-2042", base=None, known_tests=None)
    assert "edpb-28-2024" in caught.value.hint


def test_every_installed_test_is_evidence_about_an_attack_class_and_for_a_clause():
    classes = load_attack_classes().classes
    about = {name for item in classes.values() for name in item.tests}
    assert about == set(KNOWN), "policies/clauses/attack-classes.yaml"
    clauses = [clause for item in load_all_catalogues(today=TODAY) for clause in item.catalogue.clauses]
    answerable = [clause for clause in clauses if clause.kind.value in {"testable", "hybrid"}]
    for name in KNOWN:
        assert any(name in clause.tests for clause in answerable), name


def test_every_clause_says_what_can_answer_it():
    found = load_all_catalogues(today=TODAY)
    ids = [clause.id for item in found for clause in item.catalogue.clauses]
    assert len(ids) == len(set(ids)) == 141
    for item in found:
        for clause in item.catalogue.clauses:
            answers = clause.tests or clause.every_test or clause.attack_classes or clause.statement
            assert answers or clause.kind.value == "interpretive", clause.id


def test_what_a_test_is_evidence_for_comes_from_the_clauses_unless_the_policy_narrows_it():
    loaded = load_policy("edpb-28-2024", base=None, known_tests=KNOWN)
    catalogues = [item.catalogue for item in load_catalogues(loaded, today=TODAY)]
    whole = mapped(loaded.policy, catalogues)
    assert {entry.test: entry.evidence_for for entry in whole.tests}["language/epsilon"]
    first, *rest = loaded.policy.tests
    narrowed = loaded.policy.model_copy(
        update={"tests": (first.model_copy(update={"evidence_for": ("E28-31",)}), *rest), "statements": ()}
    )
    again = mapped(narrowed, catalogues)
    assert again.tests[0].evidence_for == ("E28-31",)
    assert again.tests[1:] == whole.tests[1:]
    assert (again.statements, len(whole.statements or ()) > 40) == ((), True)


@pytest.mark.parametrize(
    ("file", "before", "after", "words"),
    [
        ("gdpr", "classes: [DATA-SCAN, REGURG-USE]", "classes: [DATA-SCAM, REGURG-USE]", ["gdpr.yaml:", "DATA-SCAM"]),
        ("gdpr", "sources: [GDPR]", "sources: [GPDR]", ["gdpr.yaml:", "GPDR"]),
        ("gdpr", 'issued: "2016-04-27"', 'issued: "27 April 2016"', ["gdpr.yaml:", "27 April 2016"]),
        ("attack-classes", "id: MIA-RECORD", "id: MIA-CANARY", ["attack-classes.yaml:", "stands twice"]),
        ("attack-classes", "access: [scores, weights]", "access: [sores, weights]", ["attack-classes.yaml:"]),
    ],
)
def test_a_wrong_catalogue_is_refused_with_its_line(tmp_path, file, before, after, words):
    for path in resource("policies/clauses").glob("*.yaml"):
        text = path.read_text()
        if path.stem == file:
            assert before in text
            text = text.replace(before, after, 1)
        (tmp_path / path.name).write_text(text)
    with pytest.raises(PolicyError) as caught:
        load_catalogue("gdpr", today=TODAY, folder=tmp_path)
    for word in words:
        assert word in caught.value.message


def test_a_catalogue_without_its_attack_classes_is_refused(tmp_path):
    (tmp_path / "gdpr.yaml").write_text(resource("policies/clauses/gdpr.yaml").read_text())
    with pytest.raises(PolicyError, match="attack-classes"):
        load_catalogue("gdpr", today=TODAY, folder=tmp_path)
