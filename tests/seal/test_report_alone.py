"""The PDF without its bundle: what it can show, and that it shows no more."""

from __future__ import annotations

import json

import pytest
from small_audit import NOW, printed
from test_commands import auditor

from auditor.core.record import canonical_bytes
from auditor.errors import EXIT_CLEAR, EXIT_INTEGRITY
from auditor.evidence import bundle as layout
from auditor.seal.pades import sign_pdf
from auditor.seal.report_alone import NEEDS_BUNDLE, verify_pdf


def failing(steps):
    return {step.number: step.detail for step in steps if not step.held}


def signed_again(sealed, path):
    pdf = sign_pdf(printed(sealed.bundle), sealed.signer, signing_time=NOW, reason="r", name="n")
    path.write_bytes(pdf)
    return verify_pdf(path, sealed.signer.certificate)


def test_three_steps_hold_and_say_what_they_need(origin):
    steps = verify_pdf(origin.bundle / layout.PDF, origin.signer.certificate)
    assert failing(steps) == {}
    assert [step.number for step in steps] == [1, 2, 3]
    assert all(step.needs == "the signer's certificate" for step in steps)
    assert "about policy.yaml" in steps[2].detail
    assert "about subject.json" not in steps[2].detail  # the small audit attaches no subject
    assert "ends with 0, as 1 findings do" in steps[2].detail


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (layout.ASSESSMENT, canonical_bytes({"clauses": [], "exit_code": 1}), "its findings do not"),
        (layout.POLICY, b"id: other\n", "not about policy.yaml"),
        (layout.FINDINGS, b"[ ]", "findings.json: not in canonical form"),
        (
            layout.FINDINGS,
            canonical_bytes([{"outcome": "not_run", "required": True, "test": "t", "mean": 1.0, "n": 1}]),
            "its findings do not",
        ),
    ],
)
def test_attached_files_that_do_not_belong_together_do_not_hold(sealed, tmp_path, name, content, said):
    """The trusted signer himself put them together: the signature holds, the evidence does not."""
    (sealed.bundle / name).write_bytes(content)
    found = failing(signed_again(sealed, tmp_path / "again.pdf"))
    assert set(found) == {3}
    assert said in found[3]


def test_a_file_that_is_no_report_is_not_read(tmp_path, origin):
    import os

    os.mkfifo(tmp_path / "pipe.pdf")
    found = failing(verify_pdf(tmp_path / "pipe.pdf", origin.signer.certificate))
    assert set(found) == {1, 2, 3}
    with (tmp_path / "large.pdf").open("wb") as stream:
        stream.truncate(600 * 1024 * 1024)
    assert "not a file that can be a report" in failing(verify_pdf(tmp_path / "large.pdf", None))[1]


def test_the_command_names_what_needs_the_bundle(origin):
    done = auditor("verify", origin.bundle / layout.PDF, "--trust", origin.keys.certificate, "--json")
    assert done.returncode == EXIT_CLEAR, done.stderr
    told = json.loads(done.stdout)
    assert told["kind"] == "report"
    assert told["held"] is True
    assert [(row["name"], row["needs"]) for row in told["not_checked"]] == list(NEEDS_BUNDLE)
    shown = auditor("verify", origin.bundle / layout.PDF)
    assert shown.returncode == EXIT_INTEGRITY
    assert shown.stdout.count("not checked: ") == len(NEEDS_BUNDLE)
    assert "(needs the signer's certificate)" in shown.stdout
    assert "The report does NOT hold." in shown.stdout
