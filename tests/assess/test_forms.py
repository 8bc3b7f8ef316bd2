"""Forms: complete, loadable, empty at first, and added to a file without touching what stands in it."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import catalogue, clause

from auditor.assess.forms import Signer, needed_forms, update, write_forms
from auditor.assess.statements import load_statements, read_file
from auditor.core.clause import StatementForm
from auditor.core.statement import Form, Question
from auditor.errors import DataError

TODAY = dt.date(2026, 11, 21)
HOSTILE = 'it asks: [a] "b" # c\u2028- id: x\n  form: y'
FORMS = {
    "a_statement": Form(
        form="a_statement",
        title="Title of a\n- id: x",
        answers={"one": Question(asks=HOSTILE, kind="yes-or-no"), "two": Question(asks="Two", one_of=("u", "v"))},
    )
}
BOOK = catalogue(
    clause("C-1", statement=StatementForm(form="a_statement", asks=("one", "two")), paraphrase=HOSTILE),
    clause("C-2", statement=StatementForm(form="a_statement", asks=("two", "three"))),
    clause("C-3", statement=StatementForm(form="b_reference", asks=("yes", "four: 4"))),
    clause("C-4", statement=StatementForm(form="c_statement")),
    clause("C-5", statement=None),
)
ALL = {"C-1", "C-2", "C-3", "C-4"}


def needed(asked=ALL):
    return needed_forms([BOOK], asked, FORMS)


def at(tmp_path, text):
    path = tmp_path / "statements.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def load(path):
    return load_statements(path, [BOOK], today=TODAY, forms=FORMS)


def test_one_form_for_all_clauses_that_ask_it():
    found = needed()
    assert [(form.form, form.ids, form.complete) for form in found] == [
        ("a_statement", ("C-1", "C-2"), True),
        ("b_reference", ("C-3",), True),
        ("c_statement", ("C-4",), True),
    ]
    assert list(found[0].questions) == ["one", "two", "three"]
    assert found[0].asked_by("two") == ("C-1", "C-2")
    assert [(form.ids, form.complete) for form in needed({"C-2"})] == [(("C-2",), False)]


def test_what_is_written_can_be_read_and_is_empty(tmp_path):
    """Whatever a catalogue says: its words are comments, its names are read back."""
    path = at(tmp_path, write_forms(needed(), about="a policy"))
    file = read_file(path)
    assert [(entry.id, entry.form, list(entry.answers or {})) for entry in file.entries] == [
        ("a", "a_statement", ["one", "two", "three"]),
        ("b-reference", "b_reference", ["yes", "four: 4"]),
        ("c", "c_statement", []),
    ]
    assert load(path) == ()
    text = path.read_text()
    for name in (
        "C-1 (c, para 1)",
        "C-2 (c, para 1)",
        "true or false. (C-1)",
        "u | v. (C-1, C-2)",
        "Title of a - id: x",
    ):
        assert name in text


def test_a_form_for_some_of_its_clauses_names_them(tmp_path):
    path = at(tmp_path, write_forms(needed({"C-2"}), about="a policy").replace("three:", "three: it is"))
    path.write_text(
        path.read_text()
        .replace("author:", "author: A")
        .replace("role:", "role: R")
        .replace("date:", "date: 2026-01-01")
    )
    (found,) = load(path)
    assert (found.clauses, found.answers) == (("C-2",), {"three": "it is"})


def test_who_signs_is_quoted(tmp_path):
    signer = Signer('Ann "A" \\ B: #1', "DPO", "O", "2026-01-01")
    file = read_file(at(tmp_path, write_forms(needed({"C-3"}), about="a policy", signer=signer)))
    assert (file.entries[0].author, file.entries[0].role, file.entries[0].date) == (
        'Ann "A" \\ B: #1',
        "DPO",
        "2026-01-01",
    )


OWN = """\
# mine
statements:
  # kept
  - id: a
    form: a_statement
    clauses: [C-1]
    answers:
        two: u   # why not
    author: Ann
    role: DPO
    date: 2026-01-31
  - {id: free, clauses: [C-4], text: 'So it is.', author: Ann, role: DPO, date: 2026-01-31}
"""


def added(tmp_path, text, asked=ALL):
    path = at(tmp_path, text)
    return update(read_file(path), text, needed(asked))


def test_what_is_there_stays_byte_for_byte(tmp_path):
    before = load(at(tmp_path, OWN))
    made = added(tmp_path, OWN)
    assert made.forms == ("a_statement", "b_reference")
    assert made.keys == ("a.one",)
    rows = iter(made.text.splitlines())
    assert all(row in rows for row in OWN.splitlines()), "every line, in order"
    path = at(tmp_path, made.text)
    assert load(path) == before
    assert [(entry.id, entry.clauses) for entry in read_file(path).entries] == [
        ("a", ("C-1",)),
        ("free", ("C-4",)),
        ("a-2", ("C-2",)),
        ("b-reference", None),
    ]
    again = update(read_file(path), made.text, needed())
    assert (again.text, again.forms, again.keys) == (made.text, (), ())


def test_keys_are_added_where_there_are_no_answers_yet(tmp_path):
    bare = "- id: b\n  form: b_reference  # mine\n  text: It is.\n  author: A\n  role: R\n  date: 2026-01-01\n"
    made = added(tmp_path, bare, {"C-3"})
    assert made.keys == ("b.yes", "b.four: 4")
    (entry,) = read_file(at(tmp_path, made.text)).entries
    assert (list(entry.answers or {}), entry.text) == (["yes", "four: 4"], "It is.")
    empty = bare.replace("  text", "  answers:   # none yet\n  text")
    assert list(read_file(at(tmp_path, added(tmp_path, empty, {"C-3"}).text)).entries[0].answers or {}) == [
        "yes",
        "four: 4",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[{id: b, form: b_reference, text: t, author: A, role: R, date: 2026-01-01}]\n",
        "- id: b\n  form: b_reference\n  answers: {yes: it is}\n  author: A\n  role: R\n  date: 2026-01-01\n",
        "- id: b\n  'form': b_reference\n  author: A\n",
        "- id: b\n  form: b_reference\n  answers: &anchor\n    yes: it is\n",
        "- id: c\n  form: c_statement\n...\n",
        "[]\n",
        "statements: []\n",
    ],
)
def test_a_file_that_nothing_can_be_put_into_is_left_alone(tmp_path, text):
    with pytest.raises(DataError) as caught:
        added(tmp_path, text)
    assert caught.value.hint


words = st.text("ab:#'\"-[]{}&*! \n\u2028é", max_size=12)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a_statement", "b_reference", "c_statement"]), words, st.booleans()),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["", "  "]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_an_update_keeps_every_answer_or_refuses(tmp_path_factory, drawn, indent, ending):
    """Whatever is written in whatever layout: nothing that was said is said otherwise afterwards."""
    import json

    rows = ["statements:"] if indent else []
    for number, (form, said, comment) in enumerate(drawn):
        key = {"a_statement": "two", "b_reference": "yes", "c_statement": ""}[form]
        rows += [f"{indent}- id: s{number}{'  # a comment' if comment else ''}", f"{indent}  form: {form}"]
        rows += [f"{indent}  answers:", f"{indent}      {key}: {json.dumps(said)}"] if key else []
        rows += [f"{indent}  text: {json.dumps(said)}"]
    folder = tmp_path_factory.mktemp("forms")
    text = ending.join(rows) + ending
    path = at(folder, text)
    before = read_file(path).entries
    try:
        made = update(read_file(path), text, needed())
    except DataError:
        assert ending == "\r\n", "what is laid out plainly can be added to"
        return
    after = read_file(at(folder, made.text)).entries
    assert [(one.id, one.form, one.text, one.answered) for one in after[: len(before)]] == [
        (one.id, one.form, one.text, one.answered) for one in before
    ]
    keys = {(entry.form, key) for entry in after for key in entry.answers or {}}
    assert keys >= {(form.form, key) for form in needed() for key in form.questions}
