"""What a real audit withholds: nothing of it is shared, a leak stops the seal, and the annex gives all of it to the authority alone."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from checkpoints import command

from auditor.errors import LeakError
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle
from auditor.evidence.records import record_bytes
from auditor.pipeline.guarding import guard_before_sealing
from auditor.pipeline.presenting import html_of, seal_bundle
from auditor.redact.pieces import Piece, parts_of
from auditor.seal.annex import read_recipient
from auditor.seal.keys import load_signer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "annex.md"


@pytest.fixture
def copy(bundle, tmp_path) -> Bundle:
    shutil.copytree(bundle, tmp_path / "bundle")
    return Bundle(tmp_path / "bundle")


def text_of(folder: Path) -> tuple[str, str]:
    """An exhibit's record, and its restricted text."""
    findings = json.loads((folder / layout.FINDINGS).read_bytes())
    measured = [finding["measurement"] for finding in findings if finding["measurement"]]
    shown = {row["record"]: one for one in measured for row in one["exhibits"]}
    for record, measured in shown.items():
        for identity in measured["observations"]:
            for path in sorted((folder / layout.OBSERVATIONS / identity).glob("shard-*.parquet")):
                kept = path.parent / "restricted" / path.name
                names = pq.read_schema(path).names
                if kept.exists() and "id" in names and "text" in pq.read_schema(kept).names:
                    ids = pq.read_table(path, columns=["id"]).column("id").to_pylist()
                    if record in ids:
                        return record, pq.read_table(kept).column("text")[ids.index(record)].as_py()
    raise AssertionError("no exhibit has a text")


def test_a_real_audit_is_clean_and_says_what_was_scanned(bundle):
    found = json.loads((bundle / "redaction.json").read_bytes())
    assert found["protected"]["texts"] > 1000
    assert {row["path"] for row in found["scanned"]} >= {
        "report.html",
        "report.pdf",
        "findings.json",
        "(names of files)",
    }
    assert [row["unread"] for row in found["scanned"] if row["unread"]] == []
    code, said, _ = command("guard", bundle)
    assert (code, "nothing of them found" in said) == (0, True)
    page = (bundle / "report.html").read_text(encoding="utf-8")
    assert 'id="withheld"' in page
    assert "withheld" in page


def test_a_report_that_leaks_is_not_written_and_all_evidence_is_kept(copy):
    record, text = text_of(copy.root)
    findings = copy.read_plain(layout.FINDINGS)
    for finding in findings:
        for exhibit in (finding["measurement"] or {}).get("exhibits", []):
            if exhibit["record"] == record:
                exhibit["excerpt"] = text[:80]
    (copy.root / layout.FINDINGS).write_text(json.dumps(findings))
    html, _ = html_of(copy)
    before = {path: path.read_bytes() for path in copy.root.rglob("*") if path.is_file()}
    with pytest.raises(LeakError) as caught:
        guard_before_sealing(copy, {layout.HTML: html})
    assert {path: path.read_bytes() for path in copy.root.rglob("*") if path.is_file()} == before
    for place in ("report.html", "findings.json", f"record '{record}'"):
        assert place in caught.value.message
    assert text[:30] not in caught.value.message


@pytest.mark.parametrize("where", ["faults", "log", "name"])
def test_a_leak_beside_the_report_stops_the_seal(copy, where):
    _, text = text_of(copy.root)
    words = re.sub(r"[^A-Za-z0-9 ]", "", text[:90])
    if where == "faults":
        folder = next(copy.observations.iterdir())
        (folder / "fault.json").write_text(
            json.dumps({"message": f"cannot parse {words}", "reason": "fault", "where": ""})
        )
    elif where == "log":
        (copy.root / "run.log").write_text(f"started\nValueError: {words}\n")
    else:
        (copy.root / f"{words}.svg").write_text("<svg/>")
    with pytest.raises(LeakError) as caught:
        guard_before_sealing(copy, {})
    expected = {"faults": "fault.json", "log": "run.log, text, line 2", "name": "names of files"}[where]
    assert expected in caught.value.message


def test_a_disclosed_record_and_exports_pass_and_another_record_in_a_mail_does_not(bundle, tmp_path):
    identity = next(
        path.name for path in sorted((bundle / layout.OBSERVATIONS).iterdir()) if (path / "restricted").exists()
    )
    out = tmp_path / "record.json"
    assert command("disclose", bundle, "--observation", identity, "--row", 0, "--out", out)[0] == 0
    _, text = text_of(bundle)
    mail = tmp_path / "mail.txt"
    mail.write_text(f"Dear all,\n> {text[:50]}\n> {text[50:100]}\n")
    code, said, _ = command("guard", bundle, mail)
    assert code == 4
    assert "LEAK" in said
    assert text[:30] not in said
    shared = tmp_path / "shared"
    shutil.copytree(bundle, shared, ignore=shutil.ignore_patterns("restricted"))
    code, _, complaint = command("guard", shared, mail)
    assert (code, "nothing to compare with" in complaint) == (2, True)


@pytest.fixture
def authority(tmp_path) -> tuple[Path, Path]:
    key, certificate = tmp_path / "authority.key.pem", tmp_path / "authority.crt.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj",
         "/CN=Authority"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key


def test_the_authority_opens_the_annex_with_the_commands_of_the_page(copy, place, authority, tmp_path):
    certificate, _ = authority
    now = dt.datetime.now(dt.UTC)
    signer = load_signer(place.key, place.cert, None, now=now)
    seal_bundle(copy, signer, recipients=[read_recipient(certificate, now=now)])
    whole = tmp_path / "whole"
    shutil.copytree(copy.root, whole)
    page = (copy.root / "report.html").read_text(encoding="utf-8")
    (annex,) = copy.read_plain(layout.ANNEXES)
    assert "CN=Authority" in page
    assert annex["sha256"] in page
    for folder in [path for path in copy.root.rglob("restricted") if path.is_dir()]:
        shutil.rmtree(folder)
    code, said, _ = command("verify", copy.root, "--trust", place.cert)
    assert code == 0, said
    assert "annex/1.cms is an annex for CN=Authority alone" in said
    shutil.copy(copy.root / "annex" / "1.cms", tmp_path / "annex.cms")
    identity, commitment = prepare_by_hand(whole, tmp_path)
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        ["bash", "-c", "".join(blocks)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    code, said, _ = command("verify", copy.root, "--trust", place.cert)
    assert code == 0
    assert "nothing withheld" in said
    assert (tmp_path / "commitment.txt").read_text().strip() == commitment, identity
    rows = [
        json.loads(line) for line in (tmp_path / "opened" / "exhibits.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert len(rows) == annex["exhibits"] > 0
    record, text = text_of(whole)
    assert any(row["record"] == record and row["restricted"].get("text") == text for row in rows)


def prepare_by_hand(folder: Path, out: Path) -> tuple[str, str]:
    """Write the place and the bytes of a record, as the page asks for them, and return its observation and commitment."""
    for path in sorted((folder / layout.OBSERVATIONS).iterdir()):
        kept = path / "restricted" / "shard-00000.parquet"
        if kept.exists():
            (out / "record.bin").write_bytes(next(iter(record_bytes(pq.read_table(kept).slice(0, 1)))))
            (out / "place.txt").write_text(f"{path.name}/0/0")
            return path.name, pq.read_table(path / kept.name).column("commitment")[0].as_py().hex()
    raise AssertionError("nothing is restricted")


def test_the_page_of_the_annex_opens_nothing_with_another_key(bundle, authority, tmp_path):
    out = tmp_path / "annex.cms"
    assert command("annex", bundle, "--for", authority[0], "--out", out)[0] == 0
    assert not [
        part for part in parts_of("annex.cms", out.read_bytes()) if isinstance(part, Piece) and "READ-ME" in part.text
    ]
    other = tmp_path / "other.key.pem"
    subprocess.run(["openssl", "genrsa", "-out", other, "2048"], check=True, capture_output=True)
    done = subprocess.run(
        ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", out, "-inkey", other, "-out", tmp_path / "annex.zip"],
        capture_output=True,
        check=False,
    )  # fmt: skip
    opened = (tmp_path / "annex.zip").read_bytes() if (tmp_path / "annex.zip").exists() else b""
    assert done.returncode != 0 or not opened.startswith(b"PK")
    assert command("annex", bundle, "--for", authority[0], "--out", bundle / "annex.cms")[0] == 2
    assert command("annex", bundle, "--for", authority[0], "--out", out)[0] == 2
