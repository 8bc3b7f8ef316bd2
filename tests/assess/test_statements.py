"""Statements as they are written: on forms or in free text; and every way in which a file can be wrong."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import catalogue, clause

from auditor.assess.statements import MOST, load_statements
from auditor.core.assessment import Statement
from auditor.core.clause import StatementForm
from auditor.core.statement import Form, Question, StatementEntry
from auditor.core.yaml import load_yaml
from auditor.errors import DataError
from auditor.policy.catalogue import load_catalogue, load_forms, shipped_names

ROOT = Path(__file__).resolve().parents[2]
TODAY = dt.date(2026, 11, 21)
FORM = Form(
    form="training",
    title="Training",
    answers={
        "dedup": Question(asks="Deduplicated?", kind="yes-or-no"),
        "epsilon": Question(asks="Epsilon", kind="number"),
        "when": Question(asks="When", kind="date"),
        "hash": Question(asks="Hash", kind="digest"),
        "unit": Question(asks="Unit", one_of=("record", "person")),
        "why": Question(asks="Why"),
    },
)
BOOK = catalogue(
    clause("C-1", statement=StatementForm(form="training", asks=("dedup", "epsilon", "unit", "why"))),
    clause("C-2", statement=StatementForm(form="training", asks=("when", "hash", "why"))),
    clause("C-3", statement=StatementForm(form="other", asks=("what",))),
    clause("C-4", statement=None),
)
OTHER = catalogue(clause("D-1", statement=StatementForm(form="elsewhere", asks=("what",))))

GOOD = """\
# a comment
- id: one
  form: training
  answers:
    dedup: true
    epsilon: 2.5
    when: 2026-01-31
    why: >-
      Because
      of that.
    unit:
  author: Ann
  role: DPO
  date: "2026-01-31"
"""


def load(tmp_path, text, **files):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    path = tmp_path / "statements.yaml"
    path.write_text(text)
    return load_statements(path, [BOOK], others=lambda: [OTHER], forms={"training": FORM}, today=TODAY)


def test_one_form_answers_every_clause_that_asks_it(tmp_path):
    (found,) = load(tmp_path, GOOD)
    assert found.clauses == ("C-1", "C-2")
    assert found.answers == {"dedup": True, "epsilon": 2.5, "when": "2026-01-31", "why": "Because of that."}
    assert (found.text, found.organisation) == ("", "")


def test_named_clauses_narrow_a_form(tmp_path):
    (found,) = load(tmp_path, GOOD.replace("  form: training", "  form: training\n  clauses: [C-2]"))
    assert found.clauses == ("C-2",)


def test_a_form_of_another_catalogue_answers_its_clauses(tmp_path):
    signed = "  author: A\n  role: B\n  date: 2026-01-01\n"
    text = f"- id: one\n  form: elsewhere\n  answers: {{what: this}}\n{signed}"
    assert load(tmp_path, text)[0].clauses == ("D-1",)


def test_a_form_that_nobody_filled_in_is_no_statement(tmp_path):
    empty = "- id: one\n  form: training\n  answers:\n    dedup:\n    why: '  '\n  text:\n  author: Ann\n  role:\n  evidence: []\n"
    assert load(tmp_path, empty) == ()
    assert len(load(tmp_path, empty + GOOD.replace("id: one", "id: two"))) == 1


def test_whatever_the_kind_not_applicable_is_an_answer(tmp_path):
    for word in ("not applicable (no such thing)", "none", "Not applicable"):
        text = (
            GOOD.replace("dedup: true", f"dedup: {word}")
            .replace("2.5", word)
            .replace("when: 2026-01-31", f"when: {word}")
        )
        assert load(tmp_path, text)[0].answers["epsilon"] == word


@pytest.mark.parametrize(
    ("before", "after", "words", "hint"),
    [
        ("  author: Ann\n", "", ["statements.yaml:2:", "'author' is missing"], "who makes it"),
        ("author: Ann", "author:", ["statements.yaml:12:", "'author' is missing"], "who makes it"),
        ("role: DPO", "role: '  '", ["statements.yaml:13:", "'role' is missing"], "who makes it"),
        ('date: "2026-01-31"', "", ["statements.yaml:2:", "'date' is missing"], "when"),
        ('date: "2026-01-31"', "date: 2026-11-22", ["statements.yaml:14:", "in the future"], "the day it was made"),
        ('date: "2026-01-31"', "date: January", ["statements.yaml:14:", "not an ISO date"], "2026-01-31"),
        ("form: training", "form: trainign", ["statements.yaml:3:", "'trainign'"], "Did you mean 'training'?"),
        ("  form: training\n", "", ["statements.yaml:3:", "without a `form`"], "training"),
        ("epsilon: 2.5", "epsilom: 2.5", ["statements.yaml:6:", "no key 'epsilom'"], "Did you mean 'epsilon'?"),
        ("dedup: true", "dedup: partly", ["statements.yaml:5:", "'partly' is not true or false"], "true or false"),
        ("dedup: true", "dedup: yes", ["statements.yaml:5:", "'yes' is not true or false"], "true or false"),
        ("dedup: true", "dedup: 1", ["statements.yaml:5:", "'1.0' is not true or false"], "true or false"),
        ("epsilon: 2.5", "epsilon: about two", ["statements.yaml:6:", "'about two' is not a number"], "number of 0"),
        ("epsilon: 2.5", "epsilon: -1", ["statements.yaml:6:", "not a number of 0 or more"], "number of 0"),
        ("epsilon: 2.5", "epsilon: true", ["statements.yaml:6:", "'true' is not a number"], "number of 0"),
        ("epsilon: 2.5", "epsilon: .nan", ["statements.yaml:6:", "not a finite number"], "Write a number"),
        ("epsilon: 2.5", "epsilon: [1, 2]", ["statements.yaml:6:", "'epsilon' is a list"], "in one text"),
        ("epsilon: 2.5", "epsilon: {a: 2}", ["statements.yaml:6:", "'epsilon' is a mapping"], "in one text"),
        ("when: 2026-01-31", "when: 31.1.2026", ["statements.yaml:7:", "not an ISO date"], "2026-01-31"),
        ("when: 2026-01-31", "hash: 12ab", ["statements.yaml:7:", "'12ab' is not a SHA-256"], "sha256sum"),
        (
            "why: >-\n      Because\n      of that.",
            "why: 1.10",
            ["statements.yaml:8:", "'1.1' is not in words"],
            "1.10 stays 1.10",
        ),
        ("unit:", "unit: users", ["statements.yaml:11:", "'users' is not one of"], "record, person"),
        ("why: >-", "why: true\n    what: >-", ["statements.yaml:9:", "no key 'what'"], "why"),
        ("form: training", "form: training\n  clauses: [C-3]", ["statements.yaml:4:", "asks the form 'other'"], "ask this form"),
        ("form: training", "form: training\n  clauses: [C-4]", ["statements.yaml:4:", "asks no statement"], "ask this form"),
        ("form: training", "form: training\n  clauses: [C-1, Z]", ["statements.yaml:4:", "called 'Z'"], "Known"),
        ("form: training", "form: training\n  clauses: []", ["statements.yaml:4:", "clauses"], "docs/schemas"),
        ("role: DPO", "role: DPO\n  signed: me", ["statements.yaml:14:", "'signed' is not known"], "Did you mean"),
        ("role: DPO", "role: 3", ["statements.yaml:13:", "role"], "docs/schemas"),
        ("- id: one", "- id: two\n  form: training\n- id: one\n  form: training\n- id: one", ["statements.yaml:6:", "on line 4"], "unique"),
        ("role: DPO", "role: DPO\n  evidence: [{path: gone}]", ["statements.yaml:14:", "no file 'gone'"], "relative"),
    ],
)  # fmt: skip
def test_files_that_are_wrong_are_refused_with_their_line(tmp_path, before, after, words, hint):
    assert before in GOOD
    with pytest.raises(DataError) as caught:
        load(tmp_path, GOOD.replace(before, after, 1))
    for word in words:
        assert word in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_evidence_is_held_to_its_digest(tmp_path):
    digest = hashlib.sha256(b"as it was").hexdigest()
    text = GOOD + f"  evidence:\n    - {{path: dpia.txt, sha256: {digest.upper()}}}\n"
    (found,) = load(tmp_path, text, **{"dpia.txt": "as it was"})
    assert [(item.path, item.sha256, item.bytes) for item in found.evidence] == [("dpia.txt", digest, 9)]
    with pytest.raises(DataError, match=r"statements\.yaml:16: 'dpia\.txt' was changed since"):
        load(tmp_path, text, **{"dpia.txt": "as it is"})


def test_a_statement_in_free_text_needs_no_form(tmp_path):
    text = "- id: a\n  clauses: [C-1, D-1]\n  text: So it is.\n  author: A\n  role: B\n  date: 2026-01-01\n"
    (found,) = load(tmp_path, text)
    assert (found.clauses, found.form, found.answers, found.text) == (("C-1", "D-1"), "", {}, "So it is.")
    with pytest.raises(DataError, match="neither `clauses` nor a `form`"):
        load(tmp_path, text.replace("  clauses: [C-1, D-1]\n", ""))
    with pytest.raises(DataError, match="'text' is missing"):
        load(tmp_path, text.replace("So it is.", ""))


def test_more_statements_than_anybody_reads_are_refused(tmp_path):
    rows = "".join(f"- {{id: s{number}, form: training}}\n" for number in range(10_000))
    with pytest.raises(DataError, match=rf"statements\.yaml:{MOST + 1}: 10,000 statements are more than the 1,000"):
        load(tmp_path, rows)
    assert load(tmp_path, "".join(rows.splitlines(keepends=True)[:MOST])) == ()


def test_every_form_and_key_that_a_clause_asks_is_explained():
    forms = load_forms()
    asked: dict[str, set[str]] = {}
    for name in shipped_names():
        for item in load_catalogue(name, today=None).catalogue.clauses:
            if item.statement is not None:
                asked.setdefault(item.statement.form, set()).update(item.statement.asks)
    assert len(asked) == 41
    assert {name: set(form.answers) for name, form in forms.items()} == asked


@pytest.mark.parametrize("sample", ["notes-lm", "faces-ddpm"])
def test_the_samples_answer_everything_but_one(sample):
    """The digest of the code that trained is true as well."""
    folder = ROOT / "samples" / sample
    books = [load_catalogue(name, today=None).catalogue for name in ("edpb-28-2024", "gdpr")]
    found = load_statements(folder / "statements.yaml", books, today=TODAY, forms=load_forms())
    answered = {name for item in found for name in item.clauses}
    asked = {item.id for book in books for item in book.clauses if item.statement is not None}
    assert asked - answered == {"E28-58-b"}
    for item in found:
        keys = {key for book in books for one in book.clauses if one.id in item.clauses for key in one.statement.asks}
        assert keys == set(item.answers), item.id
    (method,) = (item for item in found if item.form == "training_method_statement")
    assert method.answers["code_hash"] == hashlib.sha256((folder / "make.py").read_bytes()).hexdigest()
    declared = load_yaml(folder / "subject.yaml").value["release_context"]
    assert [item.answers["context"] for item in found if "context" in item.answers] == [declared]


scalars = st.none() | st.booleans() | st.integers(-5, 10**6) | st.floats(-9, 9, allow_nan=False) | st.text(max_size=8)
keys = st.sampled_from([*StatementEntry.model_fields, "dedup", "epsilon", "why", "zzz"])
anything = st.recursive(
    scalars | st.sampled_from(["training", "other", "C-1", "D-1", "2026-01-01", "none"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=12,
)
entries = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b"]) | anything},
    optional={
        "form": st.sampled_from(["training", "elsewhere"]) | anything,
        "clauses": st.lists(st.sampled_from(["C-1", "C-2", "D-1"]), max_size=2) | anything,
        "answers": st.dictionaries(keys, scalars, max_size=3) | anything,
        "text": st.text(max_size=5) | anything,
        "author": st.just("A") | anything,
        "role": st.just("R") | anything,
        "date": st.just("2026-01-01") | anything,
        "evidence": anything,
    },
)


@settings(derandomize=True, deadline=None, max_examples=250)
@given(st.lists(entries, max_size=3) | st.fixed_dictionaries({"statements": st.lists(entries, max_size=2)}) | anything)
def test_whatever_a_file_holds_it_is_read_or_refused_with_its_place(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("any")
    found, refused = (), None
    try:
        found = load(path, json.dumps(value))
    except DataError as error:
        refused = error
    assert refused is None or (str(path) in refused.message and refused.hint)
    for item in found:
        assert item.author
        assert item.clauses
        assert item.answers or item.text
        assert Statement.from_plain(json.loads(item.canonical())) == item


def test_the_example_of_the_documents_is_read(tmp_path):
    page = (ROOT / "docs/statements.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "training-log.txt").write_text("epoch 1")
    example = example.replace("sha256: 5828...", f"sha256: {hashlib.sha256(b'epoch 1').hexdigest()}")
    path = tmp_path / "statements.yaml"
    path.write_text(example)
    book = load_catalogue("edpb-28-2024", today=None).catalogue
    (found,) = load_statements(path, [book], today=TODAY, forms=load_forms())
    assert found.clauses == ("E28-52-i", "E28-52-ii")
    assert (found.answers["delta"], found.answers["dedup"], len(found.evidence)) == (1e-6, True, 1)
    for target in re.findall(r"\]\(([^)#]+)\)", page):
        assert (ROOT / "docs" / target).exists(), target
