"""A plan committed beforehand, through the command line: held against the audit, time-stamped on loopback, tampered with."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import sys
import time
import warnings
from pathlib import Path

import pytest
from checkpoints import command
from cryptography.hazmat.primitives import serialization
from small_subject import Small, make_small

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "preregister"))
from authority import listening, make_authority


def pem(certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def steps(said: str) -> dict[int, dict]:
    return {step["number"]: step for step in json.loads(said)["steps"]}


@pytest.fixture(scope="module")
def authority():
    return make_authority()


@pytest.fixture(scope="module")
def small(tmp_path_factory, authority) -> Small:
    """A subject that was audited once, with a tolerance that was loosened after the plan was committed and stamped."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "root.pem").write_bytes(pem(authority.root))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = make_small(folder)
    with listening(authority) as address:
        code, said, complaint = made.commit("plan.dsse.json", "--timestamp", address)
    assert code == 0, complaint
    assert "Committed:" in complaint
    assert "will run" in said
    time.sleep(1.1)  # clocks are read in whole seconds
    made.policy(at_most=0.02)
    code, said, complaint = made.run("bundle", "--preregistered", folder / "plan.dsse.json")
    assert code == 3, said + complaint
    return made


def test_every_deviation_stands_in_the_bundle_and_in_the_report(small):
    found = json.loads((small.folder / "bundle" / "deviations.json").read_text())
    rows = {item["what"]: (item["committed"], item["now"]) for item in found}
    assert rows["language/discoverable-extraction: tolerance, at most"] == ("0.01", "0.02")
    # The tolerance stands in the policy's file, whose digest stands in the plan.
    assert set(rows) == {
        "language/discoverable-extraction: tolerance, at most",
        "plan (every observation, its parameters and seeds)",
        "policy: files",
    }
    environment = json.loads((small.folder / "bundle" / "environment.json").read_text())
    assert environment["attempts"]["earlier"] == 0
    assert (small.folder / "bundle" / "preregistration.dsse.json").read_bytes() == (
        small.folder / "plan.dsse.json"
    ).read_bytes()


def test_the_report_is_told_of_commitment_deviations_and_attempts(small):
    from auditor.evidence.bundle import Bundle
    from auditor.language.reader import English
    from auditor.pipeline.again import report_input
    from auditor.report.html import page_environment
    from auditor.report.view import build_view

    view = build_view(report_input(Bundle(small.folder / "bundle")))["preregistration"]
    assert view["committed"]
    assert len(view["deviations"]) == view["all_deviations"] == 3
    page = page_environment(English()).get_template("partials/preregistration.html.j2").render(preregistration=view)
    for words in (
        "this plan was committed on",
        "Loopback time stamps",
        "3 things differ",
        "<td>0.01</td><td>0.02</td>",
        "No earlier attempt",
        "cannot be known",
    ):
        assert words in page


def test_it_verifies_and_names_the_time(small):
    code, said, complaint = small.verify("bundle", "--trust-timestamp", small.folder / "root.pem", "--json")
    found = steps(said)
    assert sorted(found) == list(range(1, 10))
    assert code == 0, (found, complaint)
    assert "a plan was committed beforehand by Test auditor" in found[4]["detail"]
    assert "Loopback time stamps" in found[4]["detail"]
    assert "NOT checked" not in found[4]["detail"]
    assert "deviations.json" in found[8]["detail"]


def test_whose_time_stamp_it_is_only_the_user_can_say(small, tmp_path):
    from auditor.seal.keys import read_certificate
    from auditor.seal.verify import verify_seal

    trusted = read_certificate(small.cert)
    held = {step.number: step for step in verify_seal(small.folder / "bundle", trusted)}
    assert held[4].held
    assert "the time-stamping authority is NOT checked" in held[4].detail
    other = make_authority("Other").root
    refused = {step.number: step for step in verify_seal(small.folder / "bundle", trusted, other)}
    assert not refused[4].held
    assert "not by the trusted authority" in refused[4].detail


def sealed_again(small, out: Path):
    """List and seal the files of a folder anew with the true key, as a signer who lies would."""
    from auditor.core.record import parse_json
    from auditor.evidence.manifest import write_manifest
    from auditor.seal.dsse import open_envelope, sign
    from auditor.seal.keys import load_signer
    from auditor.seal.statement import PAYLOAD_TYPE, build_statement

    payload = parse_json(open_envelope((out / "seal.dsse.json").read_bytes())[0])
    (out / "seal.dsse.json").unlink()
    write_manifest(out)
    model = next(item["digest"]["sha256"] for item in payload["subject"] if item["name"] == "model")
    signer = load_signer(small.key, small.cert, None, now=dt.datetime.now(dt.UTC))
    statement = build_statement(out, model=model, predicate=payload["predicate"])
    (out / "seal.dsse.json").write_bytes(sign(statement, PAYLOAD_TYPE, signer))


def checked(small, out: Path):
    """Return what the steps say that know of a commitment, without rendering again."""
    from auditor.evidence.bundle import Bundle
    from auditor.pipeline.verifying import _assessed_again
    from auditor.seal.keys import read_certificate
    from auditor.seal.verify import Recompute, verify_bundle

    bundle = Bundle(out)
    again = Recompute(dict, lambda: _assessed_again(bundle), dict)
    return {step.number: step for step in verify_bundle(out, read_certificate(small.cert), again)}


@pytest.mark.parametrize(
    ("lie", "step", "words"),
    [
        (lambda out: (out / "deviations.json").write_bytes(b"[]"), 8, "gives other bytes: deviations.json"),
        (lambda out: (out / "deviations.json").unlink(), 4, "not deviations.json"),
        (lambda out: (out / "preregistration.dsse.json").unlink(), 4, "not preregistration.dsse.json"),
        (lambda out: (out / "preregistration.tst").unlink(), 8, "gives other bytes: deviations.json"),
        (lambda out: (out / "preregistration.tst").write_bytes(b"no"), 4, "time stamp cannot be read"),
        (lambda out: _begun(out, "2020-01-01T00:00:00+00:00"), 4, "after the evidence was begun"),
    ],
    ids=["deviations emptied", "deviations gone", "commitment gone", "stamp gone", "stamp changed", "begun earlier"],
)
def test_a_signer_who_lies_about_the_commitment_is_found_out(small, tmp_path, lie, step, words):
    out = tmp_path / "bundle"
    shutil.copytree(small.folder / "bundle", out)
    lie(out)
    sealed_again(small, out)
    found = checked(small, out)
    assert found[1].held
    assert not found[step].held
    assert words in found[step].detail


def _begun(out: Path, moment: str) -> None:
    plain = json.loads((out / "environment.json").read_text())
    (out / "environment.json").write_text(json.dumps({**plain, "created": moment}))


def test_another_commitment_by_the_same_key_does_not_fit(small, tmp_path):
    """Replay: a commitment that was made for another subject is found to differ in everything that names it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = make_small(tmp_path)
    rows = (tmp_path / "members.jsonl").read_text().splitlines()[:-1]
    (tmp_path / "members.jsonl").write_text("\n".join(rows) + "\n")
    code, _, complaint = command(
        "plan", other.subject, "--no-time", "--commit", tmp_path / "c.json", "--key", small.key, "--cert", small.cert
    )
    assert code == 0, complaint
    out = tmp_path / "bundle"
    shutil.copytree(small.folder / "bundle", out)
    shutil.copy(tmp_path / "c.json", out / "preregistration.dsse.json")
    (out / "preregistration.tst").unlink()
    _begun(out, "2050-01-01T00:00:00+00:00")
    sealed_again(small, out)
    found = checked(small, out)
    assert not found[3].held  # the seal's own statement names the commitment
    assert not found[8].held
    from auditor.evidence.bundle import Bundle
    from auditor.pipeline.preregistering import deviations_in

    what = {item.what for item in deviations_in(Bundle(out))}
    assert {"subject: digest", "subject: members", "plan (every observation, its parameters and seeds)"} <= what


def test_what_is_committed_after_the_evidence_was_begun_is_refused(small):
    time.sleep(1.1)
    assert small.commit("late.json")[0] == 0
    code, _, complaint = small.run("bundle", "--preregistered", small.folder / "late.json")
    assert code == 2
    assert "begun with another commitment" in complaint
    (begun := small.folder / "begun").mkdir()
    for name in ("plan.json", "environment.json"):
        shutil.copy(small.folder / "bundle" / name, begun / name)
    code, _, complaint = small.run("begun", "--preregistered", small.folder / "late.json")
    assert code == 2
    assert "and the evidence was begun at" in complaint


def test_a_clock_ahead_at_the_authority_is_not_before(small, authority):
    ahead = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(hours=1)
    with listening(authority, ahead) as address:
        assert small.commit("ahead.json", "--timestamp", address)[0] == 0
    code, _, complaint = small.run("ahead", "--preregistered", small.folder / "ahead.json")
    assert code == 2
    assert "check this machine's clock" in complaint


def test_another_key_or_a_changed_commitment_stops_the_run(small, tmp_path):
    assert command("keygen", "--name", "Somebody", "--out", tmp_path / "key")[0] == 0
    code, _, complaint = small.run(
        "never",
        "--preregistered",
        small.folder / "plan.dsse.json",
        "--committed-by",
        tmp_path / "key" / "auditor.crt.pem",
    )
    assert code == 4
    assert "not signed with the key of Somebody" in complaint
    content = bytearray((small.folder / "plan.dsse.json").read_bytes())
    content[200] ^= 1
    (tmp_path / "changed.json").write_bytes(content)
    assert small.run("never", "--preregistered", tmp_path / "changed.json")[0] == 4
    code, _, complaint = small.run("never", "--preregistered", tmp_path / "none.json")
    assert code == 2
    assert "cannot be read" in complaint
    assert not (small.folder / "never").exists()


def test_what_does_not_go_together_is_refused(small, authority):
    code, _, complaint = small.commit("plan.dsse.json")
    assert code == 2
    assert "never overwritten" in complaint
    code, _, complaint = command("plan", small.subject, "--no-time", "--timestamp", "http://127.0.0.1:1/")
    assert code == 2
    assert "--commit" in complaint
    code, _, complaint = small.run("never", "--committed-by", small.cert)
    assert code == 2
    assert "--preregistered" in complaint
    for broken in ("refused", "other digest"):
        with listening(authority, broken=broken) as address:
            code, _, complaint = small.commit("unstamped.json", "--timestamp", address)
        assert code in {4, 5}, complaint
        assert not (small.folder / "unstamped.json").exists()
        assert not (small.folder / "unstamped.json.tst").exists()


def test_every_run_is_in_the_record_of_attempts(small):
    events = [json.loads(line)["event"] for line in small.attempts.read_text().splitlines()]
    assert events[:2] == ["begun", "finished"]
    finished = json.loads(small.attempts.read_text().splitlines()[1])
    assert finished["exit_code"] == 3
    environment = json.loads((small.folder / "bundle" / "environment.json").read_text())
    assert finished["attempt"] == environment["attempts"]["attempt"]


@pytest.fixture(scope="module")
def prepared(small):
    from auditor.pipeline import prepare

    return prepare(small.subject)


def test_a_commitment_cannot_be_dropped_by_leaving_the_option_out(small, tmp_path):
    from auditor.evidence.bundle import Bundle
    from auditor.pipeline.preregistering import check_before, place_in

    out = tmp_path / "bundle"
    shutil.copytree(small.folder / "bundle", out)
    before = (out / "deviations.json").read_bytes()
    (out / "deviations.json").unlink()
    check_before(Bundle(out), None, dt.datetime.now(dt.UTC))
    place_in(Bundle(out), None)
    assert (out / "deviations.json").read_bytes() == before


def test_without_a_commitment_a_bundle_has_no_new_file(small, tmp_path):
    from auditor.evidence.bundle import Bundle
    from auditor.pipeline.preregistering import committed_in, deviations_in, place_in

    bundle = Bundle(tmp_path)
    place_in(bundle, None)
    assert list(tmp_path.iterdir()) == []
    assert committed_in(bundle) is None
    assert deviations_in(bundle) == ()


def test_whoever_commits_after_an_audit_is_told(small, tmp_path):
    code, _, complaint = command(
        "plan", small.subject, "--no-time", "--commit", tmp_path / "c.json", "--key", small.key, "--cert", small.cert
    )
    assert code == 0
    assert "1 audit of this model and data was begun before this plan was committed" in complaint


def test_a_record_of_attempts_that_was_changed_warns_and_is_stated(small, prepared, tmp_path):
    """The line of the audit itself is taken out, as someone would who wants to be seen to have tried once."""
    from auditor.core.record import canonical_bytes
    from auditor.evidence.bundle import Bundle
    from auditor.pipeline.preregistering import begin_attempt, note_attempt
    from auditor.report.committed import preregistration

    kept = small.attempts.read_bytes()
    try:
        small.attempts.write_bytes(b"".join(kept.splitlines(keepends=True)[1:]))
        bundle = Bundle(tmp_path)
        started = dt.datetime.now(dt.UTC).replace(microsecond=0)
        attempts = begin_attempt(prepared, bundle, None, started)
        assert "lines were changed or are missing" in attempts.faults[0]
        environment = {"created": started.isoformat(), "attempts": attempts.plain()}
        bundle.write("environment.json", canonical_bytes(environment))
        warnings_ = note_attempt(prepared, bundle, "finished", started, 0)
        assert "lines were changed or are missing" in warnings_[0]
        assert any("does not hold" in said for said in preregistration(None, environment)["attempts"])
    finally:
        small.attempts.write_bytes(kept)


def test_attempts_are_of_the_same_model_and_data_whatever_the_policy(small, prepared, tmp_path):
    from auditor.evidence.bundle import Bundle
    from auditor.pipeline.preregistering import begin_attempt

    found = begin_attempt(prepared, Bundle(tmp_path), None, dt.datetime.now(dt.UTC))
    assert (found.earlier, found.same_plan, found.other_data) == (1, 1, 0)
    again = begin_attempt(prepared, Bundle(tmp_path), None, dt.datetime.now(dt.UTC))
    assert (again.earlier, again.finished) == (2, 1)
