"""Findings of other tools in the bundle of an audit: they change nothing of it, and whoever verifies reads them again."""

from __future__ import annotations

import io
import json
import shutil
import sys
import warnings
from pathlib import Path

import pikepdf
import pytest
from checkpoints import command
from small_subject import Small, make_small

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "exchange"))
from test_external import evaluated, garak, memaudit, minimal

OUTCOMES = ("findings.json", "instrument.json", "assessment.json", "plan.json", "policy.yaml", "statements.json")


def steps(said: str) -> dict[int, dict]:
    return {step["number"]: step for step in json.loads(said)["steps"]}


def write(folder: Path) -> tuple[str, ...]:
    """The three kinds of file; the arguments that give them."""
    (folder / "minimal.json").write_text(json.dumps(minimal(model={"name": "m"}), indent=1))
    (folder / "memaudit.json").write_text(json.dumps(memaudit()))
    (folder / "garak.report.jsonl").write_text(garak(evaluated(), evaluated("dan.Dan_11_0")))
    names = ("minimal.json", "memaudit.json", "garak.report.jsonl")
    return tuple(part for name in names for part in ("--external", str(folder / name)))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Small:
    """The same audit twice: alone, and with what other tools found."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = make_small(tmp_path_factory.mktemp("small"))
    assert made.run("alone")[0] == 3
    code, said, complaint = made.run("beside", *write(made.folder))
    assert code == 3, said + complaint
    return made


def test_outcomes_clauses_and_conclusion_are_the_same_bytes_without_them(small):
    for name in OUTCOMES:
        assert (small.folder / "alone" / name).read_bytes() == (small.folder / "beside" / name).read_bytes(), name
    assert not (small.folder / "alone" / "external.json").exists()


def test_they_lie_in_a_file_of_their_own_listed_and_attached_and_what_they_were_read_from_may_be_withheld(small):
    bundle = small.folder / "beside"
    found = json.loads((bundle / "external.json").read_bytes())
    assert [(item["form"], item["tool"]["name"]) for item in found] == [
        ("minimal", "other"),
        ("memaudit", "memaudit"),
        ("garak", "garak"),
    ]
    assert all(item["notice"].startswith("External findings: made by another tool, not repeated") for item in found)
    listed = {entry["path"]: entry for entry in json.loads((bundle / "manifest.json").read_bytes())["entries"]}
    assert not listed["external.json"]["restricted"]
    for number, item in enumerate(found, start=1):
        name = f"restricted/external/{number}.{item['form']}"
        assert (listed[name]["restricted"], listed[name]["sha256"]) == (True, item["file"]["sha256"])
    with pikepdf.open(io.BytesIO((bundle / "report.pdf").read_bytes())) as pdf:
        attached = pdf.attachments["external.json"].get_file().read_bytes()
    assert attached == (bundle / "external.json").read_bytes()
    assert b"Erika 0815" not in attached  # what a model gave back stays in the files
    assert b"Erika 0815" not in (bundle / "report.html").read_bytes()
    assert "Made by another tool" in (bundle / "report.html").read_text()
    assert "--external" in json.loads((bundle / "environment.json").read_bytes())["command"]


def test_whoever_verifies_reads_them_again(small):
    code, said, complaint = small.verify("beside", "--json")
    assert code == 0, said + complaint
    assert "external.json: the same bytes" in steps(said)[8]["detail"]


def test_withheld_files_are_held_to_their_digest(small, tmp_path):
    shared = tmp_path / "shared"
    shutil.copytree(small.folder / "beside", shared)
    shutil.rmtree(shared / "restricted" / "external")
    code, said, _ = small.verify(str(shared), "--json")
    assert code == 0, said
    assert "restricted/external/1.minimal" in steps(said)[4]["detail"]


def reseal(bundle: Path, small: Small) -> None:
    """Seal a changed bundle anew with the right key, as its own signer could."""
    import datetime as dt

    from auditor.core.assessment import Assessment
    from auditor.core.finding import Finding
    from auditor.core.subject import Subject
    from auditor.evidence.bundle import Bundle
    from auditor.evidence.manifest import write_manifest
    from auditor.pipeline.again import policy_of
    from auditor.seal.dsse import sign
    from auditor.seal.keys import load_signer
    from auditor.seal.statement import PAYLOAD_TYPE, build_statement, predicate_of

    signer = load_signer(small.key, small.cert, None, now=dt.datetime.now(dt.UTC))
    write_manifest(bundle)
    made = Bundle(bundle)
    subject = made.read_record("subject.json", Subject)
    predicate = predicate_of(
        made, subject=subject, policy=policy_of(made), findings=made.read_list("findings.json", Finding),
        assessment=made.read_record("assessment.json", Assessment),
    )  # fmt: skip
    made.write(
        "seal.dsse.json", sign(build_statement(bundle, model=subject.model.digest, predicate=predicate), PAYLOAD_TYPE, signer)
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found[0]["findings"][0]["estimate"].update(value=0.015),
        lambda found: found[1].update(about_this_model="by digest"),
        lambda found: found[0].update(notice="Measured by this tool."),
        lambda found: found[0]["file"].update(sha256="ab" * 32),
        lambda found: found.pop(),
    ],
    ids=["a number", "another model", "no mark", "another file", "one fewer"],
)
def test_what_does_not_stand_in_the_files_is_found_even_if_the_signer_put_it_there(small, tmp_path, change):
    from auditor.core.record import canonical_bytes

    forged = tmp_path / "forged"
    shutil.copytree(small.folder / "beside", forged)
    found = json.loads((forged / "external.json").read_bytes())
    change(found)
    (forged / "external.json").write_bytes(canonical_bytes(found))
    reseal(forged, small)
    code, said, _ = small.verify(str(forged), "--json")
    assert code == 4
    assert steps(said)[4]["held"], said
    assert not steps(said)[8]["held"], said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("", "not JSON"),
        ('{"a": 1}', "neither the minimal format"),
        (json.dumps(minimal(model={"name": "m", "sha256": "ab" * 32})), "another model"),
        (json.dumps(minimal(findings=[])), "findings"),
    ],
)
def test_a_wrong_file_ends_the_run_before_its_first_question(small, content, words):
    path = small.folder / "wrong.json"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)
    code, _, complaint = small.run("never", "--external", path)
    assert code == 2
    assert words in complaint
    assert "wrong.json" in complaint
    assert not (small.folder / "never").exists()


def test_a_file_given_twice_is_refused(small):
    (small.folder / "copy.json").write_bytes((small.folder / "minimal.json").read_bytes())
    code, _, complaint = small.run(
        "never", "--external", small.folder / "minimal.json", "--external", small.folder / "copy.json"
    )
    assert (code, "given already" in complaint) == (2, True)


def test_a_file_that_quotes_a_training_record_ends_in_nothing_that_is_shared(small):
    """In the run and beside a sealed bundle: the leak guard stops both, and names no word of it."""
    record = json.loads((small.folder / "members.jsonl").read_text().splitlines()[0])["text"]
    quoting = minimal(model={"name": "m"})
    quoting["findings"][0]["notes"] = [f"It said: {record[:380]}"]
    path = small.folder / "quoting.json"
    path.write_text(json.dumps(quoting))
    code, said, complaint = small.run("quoting", "--external", path)
    assert code == 4, said + complaint
    assert "restricted text" in complaint
    assert "external.json" in complaint
    assert not (small.folder / "quoting" / "seal.dsse.json").exists()
    addendum = small.folder / "addendum.json"
    code, said, complaint = command(
        "import", small.folder / "alone", path, "--key", small.key, "--cert", small.cert, "--out", addendum
    )
    assert code == 4, said + complaint
    assert not addendum.exists()
    assert record[:40] not in complaint


def test_an_audit_keeps_what_it_was_begun_with(small, tmp_path):
    """Gone on with: the same files or none named; others, or any where it was begun with none, are for an addendum."""
    for name in ("alone", "beside"):
        shutil.copytree(small.folder / name, small.folder / f"{name}-again", dirs_exist_ok=True)
    one = ("--external", small.folder / "minimal.json")
    code, _, complaint = small.run("beside-again", *one)
    assert (code, "begun with other external findings" in complaint) == (2, True)
    code, _, complaint = small.run("alone-again", *one)
    assert (code, "begun with no external findings" in complaint, "auditor import" in complaint) == (2, True, True)
    before = (small.folder / "beside" / "external.json").read_bytes()
    assert small.run("beside-again")[0] == 3
    assert (small.folder / "beside-again" / "external.json").read_bytes() == before
