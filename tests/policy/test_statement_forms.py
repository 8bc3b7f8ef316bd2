"""The file of forms: read whole, refused where it is wrong, and held to what the clauses ask."""

from __future__ import annotations

import pytest

from auditor.core.resources import resource
from auditor.errors import PolicyError
from auditor.policy.catalogue import load_forms
from auditor.policy.load import check_catalogues, load_all_catalogues

FORMS, BOOK, CLASSES = "statement-forms.yaml", "cnil-model-status.yaml", "attack-classes.yaml"


@pytest.fixture
def folder(tmp_path):
    for name in (FORMS, BOOK, CLASSES):
        (tmp_path / name).write_text((resource("policies/clauses") / name).read_text())
    return tmp_path


def edit(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("form: attacker_means_statement", "form: aiact_role_statement", [FORMS, "stands twice"]),
        ("kind: date}", "kind: day}", [FORMS, "kind"]),
        ('{asks: "Who audited"}', "{says: x}", [FORMS, "says"]),
        ("title: Audits of documents and code", "titel: x", [FORMS, "'titel' is not known"]),
    ],
)
def test_a_file_of_forms_that_is_wrong(folder, before, after, words):
    edit(folder / FORMS, before, after)
    with pytest.raises(PolicyError) as caught:
        load_forms(folder)
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint


def check(folder):
    found = load_all_catalogues(today=None, folder=folder)
    check_catalogues(
        found,
        {test for item in found for clause in item.catalogue.clauses for test in clause.tests},
        load_forms(folder),
    )


def test_a_clause_asks_only_what_its_form_explains(folder):
    check(folder)
    edit(folder / FORMS, "functionality:", "function:")
    with pytest.raises(PolicyError, match="'CNIL-2' asks 'functionality'") as caught:
        check(folder)
    assert caught.value.hint == "Did you mean 'function'?"


def test_a_clause_asks_only_forms_that_there_are(folder):
    edit(folder / BOOK, "form: training_method_statement", "form: training_statement")
    with pytest.raises(PolicyError, match="asks a form 'training_statement'") as caught:
        check(folder)
    assert "training" in caught.value.hint


def test_catalogues_without_a_file_of_forms_ask_in_the_words_of_their_keys(folder):
    (folder / FORMS).unlink()
    assert load_forms(folder) == {}
    check(folder)
