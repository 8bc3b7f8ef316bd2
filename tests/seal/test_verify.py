"""A bundle verifies as it was sealed and in no other way."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_audit import NOW, audited, new_signer, repeated, seal

from auditor import __version__
from auditor.core.record import canonical_bytes, parse_json
from auditor.evidence import bundle as layout
from auditor.evidence.manifest import write_manifest
from auditor.seal.dsse import open_envelope, sign
from auditor.seal.new_key import generate_key
from auditor.seal.report_alone import verify_pdf
from auditor.seal.statement import PAYLOAD_TYPE
from auditor.seal.verify import Recompute, verify_bundle, verify_seal

EVERY_BYTE = 450
"""Files up to this many bytes are changed at every position; longer ones at both ends and in between."""


def verify(sealed, trusted="own"):
    certificate = sealed.signer.certificate if trusted == "own" else trusted
    return verify_bundle(sealed.bundle, certificate, repeated(sealed.bundle))


def failing(steps) -> dict[int, str]:
    return {step.number: step.detail for step in steps if not step.held}


def files_of(bundle):
    return sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())


def positions(size: int) -> list[int]:
    if size <= EVERY_BYTE:
        return list(range(size))
    return sorted({*range(24), *range(24, size - 24, max(1, size // 40)), *range(size - 24, size)})


def test_what_was_sealed_holds_in_nine_steps(origin):
    steps = verify(origin)
    assert failing(steps) == {}
    assert [step.number for step in steps] == list(range(1, 10))
    assert all(step.name and step.needs and step.detail and "\n" not in step.detail for step in steps)
    assert "nothing withheld" in steps[3].detail


def test_every_changed_byte_of_every_file_is_caught(sealed):
    trusted = sealed.signer.certificate
    assert not failing(verify_seal(sealed.bundle, trusted))
    names = files_of(sealed.bundle)
    assert {"seal.dsse.json", "manifest.json", "report.pdf", "signer.crt.pem", "restricted/commitment.key"} <= set(
        names
    )
    survived, tried = [], 0
    for name in names:
        path = sealed.bundle / name
        content = path.read_bytes()
        for place in positions(len(content)):
            changed = bytearray(content)
            changed[place] ^= 1 << place % 8
            path.write_bytes(changed)
            tried += 1
            if not failing(verify_seal(sealed.bundle, trusted)):
                survived.append((name, place))
        path.write_bytes(content)
    assert survived == []
    assert tried > 1000
    assert not failing(verify_seal(sealed.bundle, trusted))


def test_every_changed_bit_of_the_seal_is_caught(sealed):
    """The one file that no digest covers: its bytes have to be the one encoding of what was signed."""
    from auditor.errors import IntegrityError
    from auditor.seal.dsse import signature_holds

    envelope = (sealed.bundle / layout.SEAL).read_bytes()

    def holds(content: bytes) -> bool:
        try:
            return signature_holds(content, sealed.signer.certificate)
        except IntegrityError:
            return False

    assert holds(envelope)
    flipped = (
        envelope[:place] + bytes([envelope[place] ^ 1 << bit]) + envelope[place + 1 :]
        for place in range(len(envelope))
        for bit in range(8)
    )
    assert not any(holds(content) for content in flipped)
    assert not any(holds(envelope[:place] + envelope[place + 1 :]) for place in range(len(envelope)))
    assert not any(
        holds(envelope[:place] + extra + envelope[place:]) for place in range(len(envelope)) for extra in (b" ", b"A")
    )
    assert not holds(envelope + b"\n")


def test_every_dropped_emptied_or_renamed_file_is_caught(sealed):
    names = files_of(sealed.bundle)
    for name in names:
        path = sealed.bundle / name
        content = path.read_bytes()
        withheld = "restricted" in name.split("/")[:-1]
        path.unlink()
        assert bool(failing(verify_seal(sealed.bundle, sealed.signer.certificate))) != withheld, name
        path.write_bytes(b"")
        assert failing(verify_seal(sealed.bundle, sealed.signer.certificate)), name
        path.unlink()
        path.with_name("renamed-" + path.name).write_bytes(content)
        assert failing(verify_seal(sealed.bundle, sealed.signer.certificate)), name
        path.with_name("renamed-" + path.name).rename(path)
    assert not failing(verify(sealed))


def test_withheld_files_are_named_and_everything_else_still_holds(sealed):
    shutil.rmtree(sealed.bundle / "restricted")
    for folder in (sealed.bundle / layout.OBSERVATIONS).iterdir():
        shutil.rmtree(folder / "restricted")
    steps = verify(sealed)
    assert failing(steps) == {}
    assert "3 restricted withheld" in steps[3].detail
    assert "restricted/commitment.key" in steps[3].detail


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        (layout.SEAL, {1, 2, 3}),
        (layout.MANIFEST, {3, 4, 5, 6}),
        (layout.FINDINGS, {3, 4, 6, 7, 8, 9}),
        (layout.ASSESSMENT, {3, 4, 6, 8, 9}),
        (layout.HTML, {3, 4, 9}),
        (layout.PDF, {3, 4, 6}),
        (layout.POLICY, {3, 4, 6}),
        (layout.SUBJECT, {3, 4}),
        (layout.SIGNER, {4}),
    ],
)
def test_each_failing_step_is_reported_and_the_others_still_run(sealed, name, steps):
    path = sealed.bundle / name
    path.write_bytes(b"!" + path.read_bytes()[1:])
    assert set(failing(verify(sealed))) == steps


def test_a_changed_shard_fails_the_root_and_the_manifest(sealed):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = sorted(sealed.bundle.glob("observations/*/shard-*.parquet"))[1]
    table = pq.read_table(path)
    loss = pa.array([value + 1e-9 for value in table.column("loss").to_pylist()])
    pq.write_table(table.set_column(1, "loss", loss), path)
    assert {4, 5, 7} <= set(failing(verify(sealed)))


def test_records_cannot_be_swapped_between_shards(sealed):
    first, second = sorted(sealed.bundle.glob("observations/*/shard-*.parquet"))
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    assert {4, 5} <= set(failing(verify(sealed)))


def test_a_link_leaves_out_every_step_that_would_open_it(sealed, tmp_path):
    shutil.move(sealed.bundle / layout.PDF, tmp_path / "elsewhere.pdf")
    (sealed.bundle / layout.PDF).symlink_to(tmp_path / "elsewhere.pdf")
    found = failing(verify(sealed))
    assert {3, 4, 5, 6, 7, 8, 9} <= set(found)
    assert "never opened" in found[6]


@pytest.mark.parametrize("name", [layout.SEAL, layout.MANIFEST, layout.FINDINGS])
def test_a_pipe_or_device_is_never_opened(sealed, name):
    (sealed.bundle / name).unlink()
    os.mkfifo(sealed.bundle / name)
    assert failing(verify(sealed))
    (sealed.bundle / name).unlink()
    (sealed.bundle / name).symlink_to("/dev/zero")
    assert failing(verify(sealed))


def test_a_hostile_file_name_stays_on_its_line(sealed):
    (sealed.bundle / "x\n(1) holds  signature of the seal\x1b[2K").write_bytes(b"")
    detail = failing(verify(sealed))[4]
    assert "\n" not in detail
    assert "\x1b" not in detail


@settings(
    derandomize=True,
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_whatever_becomes_of_a_file_every_step_is_reported_and_one_fails(sealed, data):
    """Cut, grown, overwritten or replaced: verification never breaks down, and never holds."""
    path = sealed.bundle / data.draw(st.sampled_from(files_of(sealed.bundle)))
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    put = data.draw(
        st.one_of(st.binary(max_size=40), st.sampled_from([b"[" * 100_000, b"null", b"\x00" * 5000, content]))
    )
    changed = content[:start] + put + content[end:]
    path.write_bytes(changed)
    try:
        steps = verify(sealed)
    finally:
        path.write_bytes(content)
    assert [step.number for step in steps] == list(range(1, 10))
    assert bool(failing(steps)) == (changed != content)


# Forgeries: someone rewrites what he can reach so that every digest fits.


def test_rewritten_digests_do_not_verify(sealed):
    """The report is changed and the manifest made anew: the seal is about the old ones."""
    page = sealed.bundle / layout.HTML
    page.write_bytes(page.read_bytes().replace(b"no_signal", b"NO SIGNAL"))
    write_manifest(sealed.bundle)
    found = failing(verify(sealed))
    assert 3 in found
    assert "manifest.json" in found[3]
    assert "report.html" in found[3]


def test_rewritten_digests_in_the_statement_do_not_verify(sealed):
    """The statement is changed too, and the old signature left on it."""
    page = sealed.bundle / layout.HTML
    page.write_bytes(page.read_bytes().replace(b"no_signal", b"NO SIGNAL"))
    write_manifest(sealed.bundle)
    path = sealed.bundle / layout.SEAL
    payload, _, _ = open_envelope(path.read_bytes())
    statement = parse_json(payload)
    for subject in statement["subject"][:3]:
        subject["digest"]["sha256"] = hashlib.sha256((sealed.bundle / subject["name"]).read_bytes()).hexdigest()
    envelope = parse_json(path.read_bytes())
    import base64

    envelope["payload"] = base64.b64encode(canonical_bytes(statement)).decode()
    path.write_bytes(canonical_bytes(envelope))
    assert set(failing(verify(sealed))) == {1, 9}


def test_a_bundle_sealed_again_by_another_is_not_the_signers(sealed, tmp_path):
    """Everything is made anew with a key of the forger's, under the same name: only the trusted key tells."""
    _, forger = new_signer(tmp_path / "forger")
    seal(sealed.bundle, forger)
    assert set(failing(verify(sealed))) == {1, 6}
    assert failing(verify(sealed, forger.certificate)) == {}


def test_without_a_trusted_key_nothing_is_believed(sealed):
    found = failing(verify(sealed, None))
    assert set(found) == {1, 6}
    assert "consistent with the bundle's own certificate" in found[1]
    assert "NOT trusted" in found[1]
    assert "NOT trusted" in found[6]


def test_without_a_trusted_key_an_inconsistent_seal_is_named(sealed, tmp_path):
    _, other = new_signer(tmp_path / "other")
    (sealed.bundle / layout.SIGNER).write_bytes(other.certificate_pem)
    assert "NOT made with the bundle's own certificate" in failing(verify(sealed, None))[1]


def test_the_wrong_key_is_named(sealed, tmp_path):
    _, other = new_signer(tmp_path / "other")
    found = failing(verify(sealed, other.certificate))
    assert "not made with the trusted key" in found[1]
    assert "another certificate" in found[6]


def test_a_seal_of_another_bundle_cannot_be_replayed(sealed, tmp_path):
    other = tmp_path / "other"
    audited(other)
    (other / layout.ENVIRONMENT).write_bytes(b"{}")
    seal(other, sealed.signer)
    shutil.copy(other / layout.SEAL, sealed.bundle / layout.SEAL)
    assert set(failing(verify(sealed))) == {3}
    shutil.copy(other / layout.MANIFEST, sealed.bundle / layout.MANIFEST)
    assert 4 in failing(verify(sealed))


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), 2),
        (lambda s: s.update(predicateType="https://slsa.dev/provenance/v1"), 2),
        (lambda s: s["subject"].pop(), 3),
        (lambda s: s["subject"].append(s["subject"][0]), 2),
        (lambda s: s["subject"].append({"name": "other", "digest": {"sha256": "0" * 64}}), 3),
        (lambda s: s["subject"][3]["digest"].update(sha256="0" * 64), 3),
        (lambda s: s["subject"].append({"name": [], "digest": {"sha256": "0" * 64}}), 2),
        (lambda s: s["predicate"]["outcomes"].update({"language/membership": "signal"}), 3),
        (lambda s: s["predicate"].update(exit_code=1), 3),
        (lambda s: s["predicate"].update(plan="0" * 64), 3),
        (lambda s: s["predicate"]["policy"].update(sha256="0" * 64), 3),
        (lambda s: s.update(predicate=None), 2),
    ],
)
def test_a_signed_statement_still_has_to_be_true(sealed, change, step):
    path = sealed.bundle / layout.SEAL
    statement = parse_json(open_envelope(path.read_bytes())[0])
    change(statement)
    path.write_bytes(sign(canonical_bytes(statement), PAYLOAD_TYPE, sealed.signer))
    found = failing(verify(sealed))
    assert 1 not in found
    assert min(found) == step


def test_fields_of_the_predicate_that_are_not_known_are_ignored(sealed):
    path = sealed.bundle / layout.SEAL
    statement = parse_json(open_envelope(path.read_bytes())[0])
    statement["predicate"]["from_a_later_version"] = True
    path.write_bytes(sign(canonical_bytes(statement), PAYLOAD_TYPE, sealed.signer))
    assert failing(verify(sealed)) == {}


def test_a_payload_of_another_type_is_not_a_statement(sealed):
    path = sealed.bundle / layout.SEAL
    path.write_bytes(sign(open_envelope(path.read_bytes())[0], "application/json", sealed.signer))
    assert set(failing(verify(sealed))) == {2, 3}


# Repeating the pure stages.


def test_steps_that_repeat_nothing_do_not_hold(sealed):
    found = failing(verify_bundle(sealed.bundle, sealed.signer.certificate))
    assert set(found) == {7, 8, 9}
    assert "not done" in found[7]
    empty = Recompute(dict, dict, dict)
    assert set(failing(verify_bundle(sealed.bundle, sealed.signer.certificate, empty))) == {7, 8, 9}


def test_a_stage_that_breaks_does_not_hold(sealed):
    def broken():
        raise ZeroDivisionError

    again = repeated(sealed.bundle)._replace(assessed=broken)
    found = failing(verify_bundle(sealed.bundle, sealed.signer.certificate, again))
    assert set(found) == {8}
    assert "ZeroDivisionError" in found[8]


def test_a_signer_who_sealed_other_findings_than_the_evidence_gives_is_found(sealed):
    findings = parse_json((sealed.bundle / layout.FINDINGS).read_bytes())
    findings[0]["mean"] = 9.0
    (sealed.bundle / layout.FINDINGS).write_bytes(canonical_bytes(findings))
    seal(sealed.bundle, sealed.signer)
    found = failing(verify(sealed))
    assert set(found) == {7, 9}
    assert found[7] == f"gives other bytes: findings.json (sealed by auditor 0.0, repeated by {__version__})"


# The PDF alone.


def test_the_pdf_alone_verifies_and_names_what_is_attached(origin):
    steps = verify_pdf(origin.bundle / layout.PDF, origin.signer.certificate)
    assert failing(steps) == {}
    digest = hashlib.sha256((origin.bundle / layout.FINDINGS).read_bytes()).hexdigest()
    assert f"findings.json {digest}" in steps[1].detail


def test_the_pdf_alone_is_not_trusted_without_a_key(origin):
    found = failing(verify_pdf(origin.bundle / layout.PDF, None))
    assert set(found) == {1, 2, 3}
    assert "NOT trusted" in found[1]


def test_an_unsigned_or_missing_pdf_does_not_verify(origin, tmp_path):
    from small_audit import printed

    (tmp_path / "unsigned.pdf").write_bytes(printed(origin.bundle))
    assert "0 signatures" in failing(verify_pdf(tmp_path / "unsigned.pdf", origin.signer.certificate))[1]
    assert set(failing(verify_pdf(tmp_path / "none.pdf", origin.signer.certificate))) == {1, 2, 3}
    assert set(failing(verify_pdf(tmp_path / "unsigned.pdf", None))) == {1, 2, 3}


def test_a_report_signed_outside_its_certificates_dates_is_refused(origin, tmp_path):
    from small_audit import printed

    from auditor.errors import KeyMaterialError
    from auditor.seal.keys import load_signer
    from auditor.seal.pades import sign_pdf

    keys = generate_key(tmp_path / "short", "Short", now=NOW, days=1)
    signer = load_signer(keys.key, keys.certificate, None, now=NOW)
    for days, said in ((2, "expired"), (-2, "not valid before")):
        with pytest.raises(KeyMaterialError, match=said):
            sign_pdf(printed(origin.bundle), signer, signing_time=NOW + dt.timedelta(days=days), reason="r", name="n")
