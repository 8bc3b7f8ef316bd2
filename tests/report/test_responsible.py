"""Who signs by hand: named by the subject file, beside the seal and never replaced by it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from test_report import HOSTILE, source

from auditor.core.subject import Responsible
from auditor.errors import SubjectError
from auditor.report.html import render_html
from auditor.subjects.loading import read_subject

SUBJECT = """name: s
model: {adapter: causal-lm, path: .}
release_context: internal
data: {members: {path: m.jsonl}}
"""


def block(named):
    made = source("plain")
    html, _ = render_html(replace(made, subject=made.subject.model_copy(update={"responsible": named})))
    start = html.index("<h3>Responsible person</h3>")
    return html[start : html.index("</dl>", start)]


def test_the_named_person_gets_a_line_for_date_and_signature():
    found = block(Responsible(name="Ada Example", role="Head of data protection", organisation=HOSTILE))
    lines = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", found))
    assert lines["Name"] == "Ada Example"
    assert lines["Role"] == "Head of data protection"
    assert "<script" not in found
    assert "\u202e" not in found
    assert lines["Place and date"] == lines["Signature"] == ""
    assert "does not replace this signature" in " ".join(found.split())
    assert "names nobody" not in found


def test_without_a_name_the_lines_are_empty_and_the_report_says_so():
    found = block(None)
    assert set(re.findall(r"<dd>(.*?)</dd>", found)) == {""}
    assert "names nobody" in found
    assert "does not replace this signature" in " ".join(found.split())


def test_the_subject_file_names_whole_persons_only(tmp_path):
    path = tmp_path / "subject.yaml"
    path.write_text(SUBJECT + "responsible: {name: Ada, role: Head, organisation: Example GmbH}\n")
    assert read_subject(path).spec.responsible == Responsible(name="Ada", role="Head", organisation="Example GmbH")
    path.write_text(SUBJECT)
    assert read_subject(path).spec.responsible is None
    for wrong, where in (
        ("{name: Ada}", "role"),
        ("{name: '', role: R, organisation: O}", "name"),
        ("Ada", "responsible"),
    ):
        path.write_text(f"{SUBJECT}responsible: {wrong}\n")
        with pytest.raises(SubjectError) as caught:
            read_subject(path)
        assert "subject.yaml:5" in caught.value.message
        assert where in caught.value.message
