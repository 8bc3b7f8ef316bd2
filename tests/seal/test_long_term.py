"""The long-term form of a report: the report byte for byte, and behind it proofs and nothing else."""

from __future__ import annotations

import datetime as dt
import io
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import pikepdf
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from small_audit import NOW, new_signer, printed
from test_commands import auditor

from auditor.errors import EXIT_CLEAR, EXIT_INPUT, EXIT_INTEGRITY, IntegrityError
from auditor.evidence import bundle as layout
from auditor.seal.keys import Signer
from auditor.seal.long_term import check_archive, described, is_archive, make_archive, report_in
from auditor.seal.pades import sign_pdf
from auditor.seal.report_alone import verify_pdf

sys.path.insert(0, str(Path(__file__).parents[1] / "preregister"))
from authority import Authority, _certificate, listening, make_authority

LATER = NOW + dt.timedelta(days=1)


@dataclass(frozen=True)
class Issuer:
    """A certificate authority: its key and its certificate."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def signer(self) -> Signer:
        """Return a signer whose certificate it issued."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(True, True, *[False] * 7)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Issued Auditor")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self.certificate.subject)
        builder = builder.public_key(key.public_key()).serial_number(77).add_extension(usage, critical=True)
        builder = builder.not_valid_before(NOW - dt.timedelta(days=1)).not_valid_after(NOW + dt.timedelta(days=300))
        return Signer(key, builder.sign(self.key, hashes.SHA256()))

    def revoking(self, *serials: int, at=NOW, since=NOW, until=NOW + dt.timedelta(days=30)):
        """Return a list of what it revoked."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(since).next_update(until)
        for serial in serials:
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
            builder = builder.add_revoked_certificate(one)
        return builder.sign(self.key, hashes.SHA256())


def new_issuer(name: str) -> Issuer:
    key = rsa.generate_private_key(65537, 2048)
    return Issuer(key, _certificate(name, key, None, None, None))


@dataclass(frozen=True)
class World:
    """A signer with an issued certificate, an authority for time stamps, and who issued both."""

    issuer: Issuer
    signer: Signer
    stamps: Issuer
    authority: Authority
    report: bytes
    """Signed and time-stamped."""

    def stamp(self, moment=LATER):
        return lambda digest: self.authority.answer(digest, moment)

    @property
    def chain(self) -> list[x509.Certificate]:
        return [self.signer.certificate, self.issuer.certificate, self.authority.certificate, self.stamps.certificate]

    @property
    def lists(self):
        return [self.issuer.revoking(), self.stamps.revoking()]


@pytest.fixture(scope="module")
def unsigned(origin) -> bytes:
    return printed(origin.bundle)


@pytest.fixture(scope="module")
def world(unsigned) -> World:
    issuer, stamps = new_issuer("Documents root"), new_issuer("Stamps root")
    key = rsa.generate_private_key(65537, 2048)
    certificate = _certificate("Stamps", key, stamps.certificate, stamps.key, ExtendedKeyUsageOID.TIME_STAMPING)
    authority, signer = Authority(stamps.certificate, certificate, key), issuer.signer()
    report = sign_pdf(
        unsigned,
        signer,
        signing_time=NOW,
        reason="r",
        name="n",
        time_stamp=lambda content: authority.stamp(content, NOW),
    )
    return World(issuer, signer, stamps, authority, report)


@pytest.fixture(scope="module")
def made(world) -> bytes:
    return make_archive(world.report, world.chain, world.lists, world.stamp())


def checked(world, content: bytes) -> str:
    proofs = check_archive(content, world.signer.certificate, world.authority.root)
    return described(proofs, world.signer.certificate, trusted=True)


def test_the_report_is_inside_byte_for_byte_and_the_form_is_b_lta(world, made):
    assert made.startswith(world.report)
    assert report_in(made) == world.report
    assert is_archive(made)
    assert not is_archive(world.report)
    said = checked(world, made)
    assert "long-term form (PAdES B-LTA)" in said
    assert "4 certificates and 2 revocation lists, time-stamped 2026-05-05 12:00:00 UTC by Stamps" in said


def test_another_library_finds_the_signature_and_both_time_stamps_valid(world, made):
    """pyHanko's own validation, with the store's lists and its analysis of differences."""
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation import validate_pdf_signature, validate_pdf_timestamp
    from pyhanko_certvalidator import ValidationContext

    from auditor.seal.pades import _asn1 as asn1

    roots = [asn1(world.issuer.certificate), asn1(world.stamps.certificate)]
    reader = PdfFileReader(io.BytesIO(made))
    report, stamp = reader.embedded_signatures
    context = ValidationContext(trust_roots=roots, allow_fetching=False, moment=LATER)
    status = validate_pdf_signature(report, context)
    assert status.bottom_line, status.pretty_print_details()
    assert status.modification_level.name == "LTA_UPDATES"
    stamped = validate_pdf_timestamp(stamp, ValidationContext(trust_roots=roots, allow_fetching=False, moment=LATER))
    assert stamped.valid
    assert stamped.intact
    assert stamped.trusted


def test_what_is_missing_for_the_baseline_is_named(world, origin):
    bare = make_archive(world.report, world.chain, [world.stamps.revoking()], world.stamp())
    assert "no revocation list of that time for Issued Auditor: not B-LTA yet" in checked(world, bare)
    early = world.issuer.revoking(since=NOW - dt.timedelta(days=9), until=NOW - dt.timedelta(days=2))
    stale = make_archive(world.report, world.chain, [early, world.stamps.revoking()], world.stamp())
    assert "for Issued Auditor: not B-LTA yet" in checked(world, stale)
    forged = Issuer(rsa.generate_private_key(65537, 2048), world.issuer.certificate).revoking()
    foreign = make_archive(world.report, world.chain, [forged, world.stamps.revoking()], world.stamp())
    assert "for Issued Auditor: not B-LTA yet" in checked(world, foreign)
    own = (origin.bundle / layout.PDF).read_bytes()
    alone = make_archive(own, [origin.signer.certificate], [], world.stamp())
    proofs = check_archive(alone, origin.signer.certificate, world.authority.root)
    assert "self-signed, which no list can revoke" in described(proofs, origin.signer.certificate, trusted=True)


def test_a_certificate_that_was_revoked_before_the_time_stamp_is_refused_and_one_revoked_after_is_not(world):
    for moment, holds in ((NOW - dt.timedelta(hours=1), False), (NOW + dt.timedelta(hours=1), True)):
        lists = [world.issuer.revoking(77, at=moment), world.stamps.revoking()]
        content = make_archive(world.report, world.chain, lists, world.stamp())
        if holds:
            assert "B-LTA" in checked(world, content)
        else:
            with pytest.raises(IntegrityError, match="Issued Auditor was revoked on 2026-05-04"):
                checked(world, content)


def test_it_can_be_renewed_with_the_lists_of_then(world, made):
    much_later = NOW + dt.timedelta(days=400)
    again = make_archive(made, world.chain, [world.stamps.revoking()], world.stamp(much_later))
    assert again.startswith(made)
    proofs = check_archive(again, world.signer.certificate, world.authority.root)
    assert [item.time for item in proofs.stamps] == [LATER, much_later]
    assert proofs.report == world.report
    with pytest.raises(IntegrityError, match="order of their times"):
        make_archive(made, [], [], world.stamp(NOW))


def test_another_signer_or_another_authority_is_refused(world, made, origin):
    with pytest.raises(IntegrityError, match="another certificate than the trusted one"):
        check_archive(made, origin.signer.certificate, world.authority.root)
    with pytest.raises(IntegrityError):
        check_archive(made, world.signer.certificate, make_authority("Other").root)
    proofs = check_archive(made, world.signer.certificate)
    said = described(proofs, world.signer.certificate, trusted=False)
    assert "NOT checked: give its certificate with --trust-timestamp" in said


def test_every_changed_or_missing_byte_is_caught(world, made):
    rng, survived = random.Random(5), []
    for place in [*rng.sample(range(len(made)), 200), *range(len(made) - 20, len(made))]:
        changed = made[:place] + bytes([made[place] ^ 1 << rng.randrange(8)]) + made[place + 1 :]
        try:
            checked(world, changed)
        except IntegrityError:
            continue
        survived.append(place)
    # in the container's padding a hexadecimal zero has no other form, and after it nothing is left to chance
    assert survived == []
    for content in (made[:-1], made + b"\n", made[:-300], world.report + b"\n/DocTimeStamp", b"", world.report):
        with pytest.raises(IntegrityError):
            check_archive(content, world.signer.certificate, world.authority.root)


def painted(page):
    page.obj["/Rotate"] = 90


def annotated(page):
    annotation = pikepdf.Dictionary(Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.FreeText, Rect=[0, 0, 600, 800])
    page.obj["/Annots"] = pikepdf.Array([*page.obj["/Annots"], annotation])


HARM = {
    "page turned": lambda pdf: painted(pdf.pages[0]),
    "annotation over a page": lambda pdf: annotated(pdf.pages[0]),
    "page content": lambda pdf: pdf.pages[0].obj["/Contents"].write(b"0 0 600 800 re f"),
    "page twice": lambda pdf: pdf.Root["/Pages"].__setitem__(
        "/Kids", pikepdf.Array([*pdf.Root["/Pages"]["/Kids"]] * 2)
    ),
    "opening action": lambda pdf: pdf.Root.__setitem__("/OpenAction", pikepdf.Array([])),
    "another form": lambda pdf: pdf.Root["/AcroForm"].__setitem__("/XFA", pikepdf.String("x")),
    "metadata": lambda pdf: pdf.Root["/Metadata"].write(b"<x/>"),
    "attachment": lambda pdf: next(iter(pdf.attachments.values())).get_file().obj.write(b"[]"),
}


@pytest.mark.parametrize("harm", HARM)
def test_whoever_changes_what_the_report_shows_and_has_that_time_stamped_is_found(world, harm):
    """Anyone can get a time stamp: this one is by the trusted authority, over the entire file, behind a report that holds."""
    with pikepdf.open(io.BytesIO(world.report)) as pdf:
        before = {item.objgen: _text(item) for item in pdf.objects}
        HARM[harm](pdf)
        changed = {item.objgen: item for item in pdf.objects if _text(item) != before.get(item.objgen)}
        assert changed
        out = io.BytesIO(world.report)
        out.seek(0, io.SEEK_END)
        places = {}
        for (number, generation), item in changed.items():
            places[number] = out.tell()
            out.write(b"%d %d obj\n%b\nendobj\n" % (number, generation, _body(item)))
        start = out.tell()
        out.write(b"xref\n")
        for number, place in sorted(places.items()):
            out.write(b"%d 1\n%010d 00000 n \n" % (number, place))
        previous = int(world.report.rsplit(b"startxref", 1)[1].split()[0])
        root, size = pdf.Root.objgen[0], int(pdf.trailer["/Size"])
        out.write(b"trailer\n<< /Size %d /Root %d 0 R /Prev %d >>\n" % (size, root, previous))
        out.write(b"startxref\n%d\n%%%%EOF\n" % start)
    harmed = make_archive(out.getvalue(), world.chain, world.lists, world.stamp())
    assert report_in(harmed) == world.report
    with pytest.raises(IntegrityError, match=r"changed behind it|cannot be read|not a time stamp for each"):
        check_archive(harmed, world.signer.certificate, world.authority.root)


def _text(item) -> bytes:
    if isinstance(item, pikepdf.Stream):
        return item.stream_dict.unparse(resolved=True) + item.read_raw_bytes()
    return item.unparse(resolved=True)


def _body(item) -> bytes:
    if isinstance(item, pikepdf.Stream):
        raw = item.read_raw_bytes()
        head = pikepdf.Dictionary({key: value for key, value in item.stream_dict.items() if key != "/Length"})
        head["/Length"] = len(raw)
        return head.unparse(resolved=True) + b"\nstream\n" + raw + b"\nendstream"
    return item.unparse(resolved=True)


def test_verification_of_the_file_names_what_is_inside_and_what_is_behind(world, made, tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(made)
    steps = verify_pdf(path, world.signer.certificate, authority=world.authority.root)
    assert [(step.number, step.held) for step in steps] == [(1, True), (2, True), (3, True), (4, True)]
    assert "report that the file begins with" in steps[0].detail
    assert "B-LTA" in steps[3].detail
    path.write_bytes(made[:-40] + b"0" + made[-39:])
    steps = verify_pdf(path, world.signer.certificate, authority=world.authority.root)
    assert [step.held for step in steps] == [True, True, True, False]
    assert not any(step.held for step in verify_pdf(path, None))


def test_the_commands(sealed, tmp_path):
    """A whole turn: archive a bundle by an authority on loopback, verify, renew; the bundle still holds as it was."""
    authority = make_authority()
    (tmp_path / "tsa.pem").write_bytes(authority.root.public_bytes(Encoding.PEM))
    before = (sealed.bundle / layout.PDF).read_bytes()
    trusting = ["--trust", sealed.keys.certificate, "--trust-timestamp", tmp_path / "tsa.pem"]
    with listening(authority, LATER) as address:
        done = auditor("archive", sealed.bundle, *trusting, "--timestamp", address)
        assert done.returncode == EXIT_CLEAR, done.stderr
        made = tmp_path / "bundle.archive.pdf"
        assert made.read_bytes().startswith(before)
        assert auditor("archive", sealed.bundle, *trusting, "--timestamp", address).returncode == EXIT_INPUT
        inside = auditor("archive", sealed.bundle, *trusting, "--timestamp", address, "--out", sealed.bundle / "x.pdf")
        assert inside.returncode == EXIT_INPUT
        assert "sealed" in inside.stderr
        again = ["archive", made, *trusting, "--timestamp", address, "--out", tmp_path / "again.pdf"]
        assert auditor(*again, "--crl", tmp_path / "tsa.pem").returncode == EXIT_INPUT
        assert auditor(*again).returncode == EXIT_CLEAR
    assert (sealed.bundle / layout.PDF).read_bytes() == before
    shown = auditor("verify", tmp_path / "again.pdf", *trusting)
    assert shown.returncode == EXIT_CLEAR, shown.stdout
    assert "(4) holds  long-term proofs: nothing but proofs behind the report" in shown.stdout
    made.write_bytes(made.read_bytes() + b" ")
    assert auditor("verify", made, *trusting).returncode == EXIT_INTEGRITY


def test_a_report_that_does_not_hold_is_not_archived(sealed, tmp_path):
    keys, _ = new_signer(tmp_path / "other")
    (tmp_path / "tsa.pem").write_bytes(keys.certificate.read_bytes())
    asked = ["--timestamp", "http://127.0.0.1:9/", "--trust-timestamp", tmp_path / "tsa.pem"]
    done = auditor("archive", sealed.bundle, "--trust", keys.certificate, *asked)
    assert done.returncode == EXIT_INTEGRITY
    assert "another certificate than the trusted one" in done.stderr
    assert not (tmp_path / "bundle.archive.pdf").exists()
