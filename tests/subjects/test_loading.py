"""A subject file and what it names: digested before it is opened, and never opened if it changed since."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from auditor.canary.formats import FORMATS
from auditor.canary.make import make
from auditor.errors import DataError, SubjectError
from auditor.subjects.adapters.causal_lm import ADAPTER
from auditor.subjects.loading import OpenedFiles, open_subject, read_subject

MEMBERS = [{"id": f"m{number}", "text": f"member number {number}"} for number in range(12)]
CONTROLS = [{"id": f"c{number}", "text": f"control number {number}"} for number in range(9)]
SUBJECT = """\
name: tiny
controller: nobody
release_context: internal
model: {adapter: causal-lm, path: model, device: cpu}
data:
  members: {path: members.jsonl, id: id}
  controls: {path: controls.jsonl, id: id}
  controls_drawn: at-random-before-training
"""


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def place(folders: dict[str, Path], tmp_path: Path) -> Path:
    shutil.copytree(folders["gpt2"], tmp_path / "model")
    write(tmp_path / "members.jsonl", MEMBERS)
    write(tmp_path / "controls.jsonl", CONTROLS)
    (tmp_path / "subject.yaml").write_text(SUBJECT)
    return tmp_path


def opened(place: Path) -> OpenedFiles:
    return open_subject(read_subject(place / "subject.yaml"), lambda _: ADAPTER)


def add(place: Path, text: str) -> None:
    (place / "subject.yaml").write_text(SUBJECT + text)


def test_a_subject_is_what_its_files_hold(place: Path) -> None:
    found = opened(place)
    subject = found.subject
    assert (subject.members.records, subject.controls.records if subject.controls else 0) == (12, 9)
    assert subject.model.capabilities == ADAPTER.capabilities
    assert subject.model.parameters > 10_000
    assert found.context_length == 96
    assert {"config.json", "model.safetensors"} <= {file.path for file in subject.model.files}
    assert found.canaries is None
    assert subject.overlap == ()
    assert [record.id for record in found.records("controls").sample(None, 0, 0, 3)] == ["c0", "c1", "c2"]
    assert found.model("subject") is found.model("subject")
    assert found.model("subject").context == 96


def test_the_identity_does_not_depend_on_the_place_or_on_files_that_compute_nothing(place: Path) -> None:
    before = opened(place).subject
    (place / "model" / "README.md").write_text("a card")
    shutil.copytree(place, place.parent / f"{place.name}-elsewhere")
    after = opened(place.parent / f"{place.name}-elsewhere").subject
    assert after == before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_file_of_the_model_that_changed_since_is_not_opened(place: Path, name: str) -> None:
    found = opened(place)
    path = place / "model" / name
    raw = bytearray(path.read_bytes())
    raw[-2:] = b"} " if name.endswith("json") and raw[-1:] == b"}" else bytes([raw[-2] ^ 1, raw[-1]])
    path.write_bytes(bytes(raw))
    with pytest.raises(SubjectError) as caught:
        found.model("subject")
    assert caught.value.hint
    assert str(place / "model") in caught.value.message


def test_a_reference_is_another_role_with_its_own_digest(place: Path, folders: dict[str, Path]) -> None:
    shutil.copytree(folders["llama"], place / "reference")
    add(place, "references:\n  - {adapter: causal-lm, path: reference, device: cpu}\n")
    found = opened(place)
    assert len(found.subject.references) == 1
    assert found.subject.references[0].digest != found.subject.model.digest
    assert found.model("reference-0").begin is not None
    assert found.model("subject").begin is None
    with pytest.raises(KeyError):
        found.model("reference-1")


def test_controls_that_are_members_are_left_out_and_named(place: Path) -> None:
    rows = [*CONTROLS, {"id": "same", "text": "  member   number 3 "}]
    write(place / "controls.jsonl", rows)
    found = opened(place)
    assert found.subject.overlap == ("same",)
    assert found.subject.controls is not None
    assert found.subject.controls.records == len(found.records("controls")) == 9
    assert "same" not in {record.id for record in found.records("controls").sample(None, 0, 0, 99)}
    assert len(found.records("members")) == 12


def test_controls_that_are_the_members(place: Path) -> None:
    write(place / "controls.jsonl", MEMBERS)
    with pytest.raises(DataError, match="every control record"):
        opened(place)


def test_no_controls(place: Path) -> None:
    text = "\n".join(line for line in SUBJECT.splitlines() if "controls" not in line)
    (place / "subject.yaml").write_text(text)
    found = opened(place)
    assert found.subject.controls is None
    with pytest.raises(SubjectError, match="no controls") as caught:
        found.records("controls")
    assert "data.controls" in caught.value.hint


def test_canaries_and_statements_are_digested_too(place: Path) -> None:
    made = make(FORMATS, (1, 4), 5, 0)
    (place / "canaries.json").write_bytes(made.canonical())
    (place / "statements.yaml").write_text("statements: []\n")
    add(place, "  canaries: canaries.json\nstatements: statements.yaml\n")
    found = opened(place)
    assert found.canaries == made
    assert found.subject.canaries is not None
    assert found.subject.canaries.sha256 == made.identity()
    assert found.subject.statements is not None


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("release_context: internal", "release_context: secret", "subject.yaml:3"),
        ("release_context: internal\n", "", "'release_context' is missing"),
        ("path: model,", "paht: model,", "Did you mean 'path'?"),
        ("device: cpu", "dtype: int4", "subject.yaml:4"),
        ("path: model,", "path: nothing,", "nothing"),
        ("path: members.jsonl", "path: nothing.jsonl", "nothing.jsonl"),
        ("  members:", "  canaries: nothing.json\n  members:", "nothing.json"),
        ("data:", "statements: nothing.yaml\ndata:", "nothing.yaml"),
        (SUBJECT, "", "empty"),
        (SUBJECT, "- a list\n", "subject.yaml"),
    ],
)
def test_a_subject_file_that_is_wrong(place: Path, before: str, after: str, said: str) -> None:
    assert before in SUBJECT
    (place / "subject.yaml").write_text(SUBJECT.replace(before, after))
    with pytest.raises((SubjectError, DataError)) as caught:
        opened(place)
    assert said in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.hint
