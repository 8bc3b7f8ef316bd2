"""What a stranger sees with tools that are not ours: the page `docs/verify.md`, run as it stands."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from small_audit import NOW, new_signer, seal
from test_keys import written
from wrapping import wrapped

from auditor.evidence import bundle as layout
from auditor.seal.keys import load_signer

sys.path.insert(0, str(Path(__file__).parents[1] / "preregister"))
from authority import make_authority

PAGE = Path(__file__).parents[2] / "docs" / "verify.md"
TOOLS = ("openssl", "sha256sum", "pdfsig", "pdfdetach")


def commands() -> str:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 7
    return "".join(blocks)


def stranger(folder: Path, page: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run every command of the page in a folder that holds `bundle` and `trusted.crt.pem`."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", page or commands()],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(sealed, tmp_path):
    shutil.copy(sealed.keys.certificate, tmp_path / "trusted.crt.pem")
    return tmp_path


def test_the_tools_of_the_page_are_here():
    """They are part of `make setup`; without them the tests below would show nothing."""
    assert [tool for tool in TOOLS if shutil.which(tool) is None] == []


def test_the_page_verifies_what_was_sealed(folder):
    done = stranger(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verified OK" in done.stdout
    assert "report.pdf: OK" in done.stdout
    assert "CMS Verification successful" in done.stderr
    assert (folder / "withheld.txt").read_text() == ""


def test_the_page_names_what_is_withheld(folder):
    shutil.rmtree(folder / "bundle" / "restricted")
    done = stranger(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "withheld.txt").read_text() == "restricted/commitment.key\n"


def test_the_page_verifies_a_bundle_sealed_with_rsa(folder, tmp_path):
    pair = written(tmp_path / "rsa", rsa.generate_private_key(public_exponent=65537, key_size=3072))
    seal(folder / "bundle", load_signer(*pair, None, now=NOW))
    shutil.copy(pair[1], folder / "trusted.crt.pem")
    option = "-sigopt rsa_padding_mode:pss"
    assert option in PAGE.read_text(encoding="utf-8")
    done = stranger(
        folder, commands().replace("openssl dgst -sha256 -verify", f"openssl dgst -sha256 {option} -verify")
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def authority():
    return make_authority()


@pytest.fixture
def stamped(folder, authority, origin):
    """The bundle with a time stamp, and the certificate of who issued the authority's."""
    seal(folder / "bundle", origin.signer, lambda content: authority.stamp(content, NOW))
    (folder / "timestamp.crt.pem").write_bytes(authority.root.public_bytes(Encoding.PEM))
    return folder


def test_the_page_verifies_a_time_stamp(stamped, authority):
    done = stranger(stamped)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verification: OK" in done.stdout
    assert "Time stamp: May  4 12:00:00 2026 GMT" in done.stdout
    (stamped / "timestamp.crt.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    shutil.rmtree(stamped / "attached")
    assert stranger(stamped).returncode == 0


def test_the_page_verifies_a_time_stamp_over_an_rsa_signature(folder, authority, tmp_path):
    keys, signer = new_signer(tmp_path / "rsa", kind="rsa")
    seal(folder / "bundle", signer, lambda content: authority.stamp(content, NOW))
    shutil.copy(keys.certificate, folder / "trusted.crt.pem")
    (folder / "timestamp.crt.pem").write_bytes(authority.root.public_bytes(Encoding.PEM))
    done = pdf_steps(folder, (folder / "bundle" / layout.PDF).read_bytes())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verification: OK" in done.stdout


def test_the_page_finds_a_time_stamp_of_another_authority_and_one_that_was_taken_away(stamped):
    (stamped / "timestamp.crt.pem").write_bytes(make_authority("Other").root.public_bytes(Encoding.PEM))
    assert stranger(stamped).returncode != 0
    pdf = (stamped / "bundle" / layout.PDF).read_bytes()
    start = pdf.index(b"/Contents <") + 11
    end = pdf.index(b">", start)
    outer = cms.ContentInfo.load(bytes.fromhex(pdf[start:end].decode()))
    del outer["content"]["signer_infos"][0]["unsigned_attrs"]
    bare = pdf[:start] + outer.dump(force=True).hex().upper().encode().ljust(end - start, b"0") + pdf[end:]
    assert pdf_steps(stamped, bare).returncode != 0


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


HARM = {
    "page changed": lambda b: flip(b / layout.HTML),
    "seal changed": lambda b: flip(b / layout.SEAL),
    "manifest changed": lambda b: flip(b / layout.MANIFEST),
    "PDF changed": lambda b: flip(b / layout.PDF),
    "findings changed": lambda b: flip(b / layout.FINDINGS),
    "restricted file changed": lambda b: flip(b / "restricted" / "commitment.key"),
    "other model": lambda b: (b / layout.SUBJECT).write_bytes(b'{"model":{"digest":"00"},"name":"small"}'),
    "file dropped": lambda b: (b / layout.STATEMENTS).unlink(),
    "file added": lambda b: (b / "new.json").write_bytes(b"{}"),
    "file renamed": lambda b: (b / layout.STATEMENTS).rename(b / "statement.json"),
}


@pytest.mark.parametrize("harm", HARM)
def test_the_page_finds_what_was_changed(folder, harm):
    HARM[harm](folder / "bundle")
    assert stranger(folder).returncode != 0


def test_the_page_finds_another_signer(folder, tmp_path):
    keys, _ = new_signer(tmp_path / "other")
    shutil.copy(keys.certificate, folder / "trusted.crt.pem")
    done = stranger(folder)
    assert done.returncode != 0
    assert "Verified OK" not in done.stdout


def pdf_steps(folder: Path, pdf: bytes) -> subprocess.CompletedProcess[str]:
    """Run the page's step 5 alone, on another PDF."""
    (folder / "bundle" / layout.PDF).write_bytes(pdf)
    step = PAGE.read_text(encoding="utf-8").split("## 5.")[1].split("## 6.")[0]
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```$", step, re.DOTALL | re.MULTILINE))
    command = ["bash", "-eu", "-o", "pipefail", "-c", blocks]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_pdf_step_alone_holds_and_finds_every_trick(folder):
    from pyhanko.pdf_utils import generic
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    pdf = (folder / "bundle" / layout.PDF).read_bytes()
    assert pdf_steps(folder, pdf).returncode == 0
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    writer.root["/Lang"] = generic.TextStringObject("fr")
    writer.update_root()
    out = io.BytesIO()
    writer.write(out)
    assert pdf_steps(folder, out.getvalue()).returncode != 0
    assert pdf_steps(folder, wrapped(pdf, b"1 0 0 rg 100 100 300 300 re f")).returncode != 0
    changed = bytearray(pdf)
    changed[2000] ^= 1
    assert pdf_steps(folder, bytes(changed)).returncode != 0


def test_the_page_says_where_the_certificate_has_to_come_from():
    text = PAGE.read_text(encoding="utf-8")
    assert "Take it from the signer" in text
    assert "signer.crt.pem" not in commands()
