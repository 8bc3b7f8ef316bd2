"""The commands a user types, on a sealed bundle: what they write, what they leave alone, and their exit codes."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from exchanged import RESTRICTED, Outcome, finding, findings_of, rich, source

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "seal"))

from small_audit import new_signer

from auditor.cli import main as command_line
from auditor.core.resources import resource
from auditor.errors import EXIT_CLEAR, EXIT_INPUT, EXIT_INTEGRITY
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle, list_bytes
from auditor.evidence.manifest import contents_of, write_manifest
from auditor.policy.load import load_policy
from auditor.seal.dsse import sign
from auditor.seal.statement import PAYLOAD_TYPE, build_statement, predicate_of

FORMS = ("oscal", "cyclonedx", "in-toto", "csv", "parquet", "junit")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A bundle with real records under a real seal, and the key it was sealed with; exhibits in findings.json, as in every bundle."""
    folder = tmp_path_factory.mktemp("sealed")
    keys, signer = new_signer(folder / "key")
    found = (finding(Outcome.SIGNAL, measurement=rich("t/a")), *findings_of(Outcome.NO_SIGNAL, Outcome.NOT_RUN))
    made = source(found)
    bundle = Bundle(folder / "bundle")
    bundle.prepare()
    bundle.write(layout.POLICY, resource("policies/baseline.yaml").read_bytes())
    bundle.write_record(layout.SUBJECT, made.subject)
    bundle.write_record(layout.PLAN, made.plan)
    bundle.write(layout.FINDINGS, list_bytes(found))
    bundle.write_record(layout.ASSESSMENT, made.assessment)
    bundle.write(layout.STATEMENTS, list_bytes(made.statements))
    environment = {"auditor": "0.1", "created": "2026-05-04T12:00:00+00:00", "operator": "Test Auditor"}
    bundle.write(layout.ENVIRONMENT, json.dumps(environment).encode())
    for name in (layout.HTML, layout.PDF):
        bundle.write(name, b"a report")
    bundle.write(layout.SIGNER, signer.certificate_pem)
    write_manifest(bundle.root)
    declared = load_policy(str(bundle.root / layout.POLICY), base=None, known_tests=None).policy
    predicate = predicate_of(bundle, subject=made.subject, policy=declared, findings=found, assessment=made.assessment)
    statement = build_statement(bundle.root, model=made.subject.model.digest, predicate=predicate)
    bundle.write(layout.SEAL, sign(statement, PAYLOAD_TYPE, signer))
    return bundle.root, keys, statement


@pytest.fixture
def auditor(monkeypatch, capfdbinary):
    """Run the command line; what it ended with, wrote and complained of."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["auditor", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True))
        stdout = sys.stdout
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        complaint = capfdbinary.readouterr().err.decode()
        return ended.value.code or 0, stdout.buffer.getvalue().decode(), complaint

    return run


def snapshot(folder):
    return {name: path.read_bytes() for name, path in contents_of(folder).files.items()}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_written_and_the_bundle_stays(auditor, sealed, tmp_path, form):
    bundle, keys, _ = sealed
    before = snapshot(bundle)
    code, _, complaint = auditor(
        "export", bundle, "--format", form, "--out", tmp_path / "a", "--trust", keys.certificate
    )
    assert code == EXIT_CLEAR, complaint
    assert auditor("export", bundle, "-f", form, "-o", tmp_path / "b")[0] == EXIT_CLEAR
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    assert content
    assert RESTRICTED.encode() not in content
    assert snapshot(bundle) == before
    assert RESTRICTED.encode() in before[layout.FINDINGS]


def test_the_sealed_statement_is_handed_out_as_it_was_signed(auditor, sealed):
    code, said, _ = auditor("export", sealed[0], "--format", "in-toto", "--predicate", "memorization-audit")
    assert (code, said.encode()) == (EXIT_CLEAR, sealed[2])


@pytest.mark.parametrize("name", [layout.FINDINGS, layout.ASSESSMENT, layout.PDF, layout.MANIFEST, layout.SEAL])
@pytest.mark.parametrize("command", ["export", "attach", "import"])
def test_a_broken_bundle_gives_nothing(auditor, sealed, tmp_path, command, name):
    bundle, keys, _ = sealed
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    content = (broken / name).read_bytes()
    (broken / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    card, foreign = tmp_path / "README.md", tmp_path / "foreign.json"
    card.write_text("# M\n")
    foreign.write_text("{}")
    arguments = {
        "export": ("--format", "oscal", "--out", tmp_path / "made"),
        "attach": (card,),
        "import": (
            foreign,
            "--from",
            "minimal",
            "--key",
            keys.key,
            "--cert",
            keys.certificate,
            "--out",
            tmp_path / "made",
        ),
    }[command]
    code, said, complaint = auditor(command, broken, *arguments)
    assert code == EXIT_INTEGRITY, complaint
    assert "does not hold" in complaint
    assert card.read_text() == "# M\n"
    assert not (tmp_path / "made").exists()
    assert not said


def test_a_bundle_of_somebody_else_gives_nothing(auditor, sealed, tmp_path):
    other = new_signer(tmp_path / "other")[0]
    assert auditor("export", sealed[0], "--format", "csv", "--trust", other.certificate)[0] == EXIT_INTEGRITY


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "{bundle}", "--format", "parquet"), "not for a terminal"),
        (("export", "{bundle}", "--format", "csv", "--predicate", "memorization-audit"), "--predicate goes with"),
        (("export", "{bundle}", "--format", "csv", "--spec-version", "1.6"), "--spec-version goes with"),
        (("export", "{bundle}", "--format", "csv", "--out", "{bundle}/findings.csv"), "sealed"),
        (("export", "{bundle}", "--format", "pdf"), "pdf"),
        (("export", "{tmp}/none", "--format", "csv"), "no bundle"),
        (("attach", "{bundle}", "{bundle}/README.md"), "sealed"),
        (("attach", "{bundle}", "{tmp}/none.md"), "cannot be read"),
        (("attach", "{bundle}", "{tmp}/none.md", "--url", "javascript:alert(1)"), "not an https address"),
        (("attach", "{bundle}", "{tmp}/none.md", "--url", "https://a.b/x) <script>"), "not an https address"),
        (("import", "{bundle}", "{tmp}/f", "--check"), "--trust"),
        (("import", "{bundle}", "{tmp}/f", "--from", "minimal", "--out", "{bundle}/x"), "sealed"),
        (
            ("import", "{bundle}", "{tmp}/f", "--from", "minimal", "--key", "{key}", "--cert", "{cert}"),
            "cannot be read",
        ),
    ],
)
def test_wrong_use_is_said_and_ends_with_2(auditor, sealed, tmp_path, arguments, words):
    bundle, keys, _ = sealed
    known = {"bundle": bundle, "tmp": tmp_path, "key": keys.key, "cert": keys.certificate}
    code, _, complaint = auditor(*(part.format(**known) for part in arguments))
    assert code == EXIT_INPUT
    assert words in complaint
    assert "Traceback" not in complaint


def test_attaching_writes_once_and_a_dry_run_never(auditor, sealed, tmp_path):
    card = tmp_path / "README.md"
    card.write_bytes(b"---\r\nlicense: mit\r\n---\r\n# M\r\n")
    code, said, _ = auditor("attach", sealed[0], card, "--dry-run")
    assert code == EXIT_CLEAR
    assert "+### Memorization audit" in said
    assert card.read_bytes() == b"---\r\nlicense: mit\r\n---\r\n# M\r\n"
    assert auditor("attach", sealed[0], card)[0] == EXIT_CLEAR
    once = card.read_bytes()
    code, said, _ = auditor("attach", sealed[0], card)
    assert (code, card.read_bytes()) == (EXIT_CLEAR, once)
    assert "nothing to change" in said
    assert RESTRICTED.encode() not in once


def test_external_findings_lie_beside_the_bundle_and_are_checked_again(auditor, sealed, tmp_path):
    bundle, keys, _ = sealed
    before = snapshot(bundle)
    foreign, addendum = tmp_path / "foreign.json", tmp_path / "addendum.json"
    value = {
        "format": "external-findings", "version": 1, "tool": {"name": "other", "version": "2"}, "model": {"name": "m"},
        "findings": [{"name": "prefix", "statistic": "share", "estimate": {"value": 0.5}}],
    }  # fmt: skip
    foreign.write_text(json.dumps(value))
    signing = ("--key", keys.key, "--cert", keys.certificate, "--out", addendum)
    code, said, complaint = auditor("import", bundle, foreign, "--from", "minimal", *signing)
    assert code == EXIT_CLEAR, complaint
    assert said.startswith("External findings: made by another tool, not repeated here")
    assert "nothing shows that 'm' is the model" in complaint
    assert snapshot(bundle) == before
    code, said, _ = auditor("import", bundle, addendum, "--check", "--trust", keys.certificate, "--json")
    assert code == EXIT_CLEAR
    assert json.loads(said)["findings"][0]["estimate"]["value"] == 0.5
    assert auditor("import", bundle, foreign, *signing)[0] == EXIT_CLEAR  # what wrote it is told by its content
    other = new_signer(tmp_path / "other")[0]
    assert auditor("import", bundle, addendum, "--check", "--trust", other.certificate)[0] == EXIT_INTEGRITY
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(bundle, elsewhere)
    (elsewhere / layout.MANIFEST).write_bytes(b"{}")
    code, _, complaint = auditor("import", elsewhere, addendum, "--check", "--trust", keys.certificate)
    assert code == EXIT_INTEGRITY
    assert "another bundle" in complaint


def test_an_addendum_is_signed_by_a_pkcs12_file_that_brings_its_certificate(auditor, sealed, tmp_path, monkeypatch):
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12

    bundle, keys, _ = sealed
    key = load_pem_private_key(keys.key.read_bytes(), None)
    certificate = x509.load_pem_x509_certificate(keys.certificate.read_bytes())
    bag = tmp_path / "key.p12"
    bag.write_bytes(
        pkcs12.serialize_key_and_certificates(b"a", key, certificate, None, BestAvailableEncryption(b"se same"))
    )
    bag.chmod(0o600)
    foreign, addendum = tmp_path / "foreign.json", tmp_path / "addendum.json"
    value = {
        "format": "external-findings", "version": 1, "tool": {"name": "other", "version": "2"}, "model": {"name": "m"},
        "findings": [{"name": "prefix", "statistic": "share", "estimate": {"value": 0.5}}],
    }  # fmt: skip
    foreign.write_text(json.dumps(value))
    importing = ("import", bundle, foreign, "--from", "minimal", "--key", bag, "--out", addendum)
    monkeypatch.delenv("AUDITOR_PASSPHRASE", raising=False)
    code, _, complaint = auditor(*importing)
    assert code == EXIT_INPUT
    assert "passphrase" in complaint
    monkeypatch.setenv("AUDITOR_PASSPHRASE", "se same")
    assert auditor(*importing)[0] == EXIT_CLEAR
    assert auditor("import", bundle, addendum, "--check", "--trust", keys.certificate)[0] == EXIT_CLEAR
