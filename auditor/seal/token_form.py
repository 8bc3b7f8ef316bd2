"""The one form of a time-stamp token inside a signature: nothing in it that no signature covers is left to chance.

A token (CMS, RFC 3161) has fields that its authority does not sign: versions, names of algorithms, certificates. In the PDF they
lie outside the signed ranges, so a changed byte there could go unseen. The token is therefore written in one form, and one that
is not in that form does not verify. What the authority signed, and its signature, are as they came.
"""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from auditor.errors import IntegrityError

_RSA = {"rsassa_pkcs1v15", "sha256_rsa", "sha384_rsa", "sha512_rsa"}


def one_form(token: bytes, authority: x509.Certificate | None = None) -> bytes:
    """Return a token in its one form: one signer, no unsigned attributes, the chain of its certificate and no other one.

    Args:
        token: The token (CMS ContentInfo, DER).
        authority: Certificate that the chain has to lead to, from the user. None: the chain may end anywhere.

    Raises:
        IntegrityError: It is not a token with one signer, or a certificate is not issued by the next one.

    Source: RFC 5652, sections 5.1 and 5.3; RFC 5754, section 3.2.
    """
    from asn1crypto import algos, cms  # noqa: PLC0415  (heavy)

    given = cms.ContentInfo.load(token, strict=True)["content"]
    (info,) = given["signer_infos"]
    digest = info["digest_algorithm"]["algorithm"].native
    algorithm = info["signature_algorithm"]
    if algorithm["algorithm"].native in _RSA:
        algorithm = algos.SignedDigestAlgorithm({"algorithm": f"{digest}_rsa"})
    by_name = info["sid"].name == "issuer_and_serial_number"
    plain = algos.DigestAlgorithm({"algorithm": digest})
    signer = {
        "version": "v1" if by_name else "v3",
        "sid": info["sid"],
        "digest_algorithm": plain,
        "signed_attrs": info["signed_attrs"].untag(),
        "signature_algorithm": algorithm,
        "signature": info["signature"].native,
    }
    signed = {
        "version": "v3",
        "digest_algorithms": [plain],
        "encap_content_info": given["encap_content_info"],
        "certificates": _chain(given["certificates"], info["sid"], authority),
        "signer_infos": [signer],
    }
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)}).dump())


def _chain(given: Any, sid: Any, authority: x509.Certificate | None) -> list[Any]:  # noqa: ANN401  (values of an untyped library)
    """Return the signer's certificate and those that issued it, each proved by its signature on the one before."""
    from asn1crypto import x509 as asn1_x509  # noqa: PLC0415  (heavy)

    pool = [x509.load_der_x509_certificate(item.chosen.dump()) for item in given]
    chain = [item for item, encoded in zip(pool, given, strict=True) if is_of(sid, encoded.chosen)][:1]
    if not chain:
        msg = "the time stamp does not carry the certificate it was signed with"
        raise IntegrityError(msg, hint="Name an authority that sends its certificate.")
    while chain[-1].issuer != chain[-1].subject:
        above = [item for item in pool if item not in chain and _issued(item, chain[-1])]
        if not above:
            break
        chain.append(above[0])
    if len(chain) > 1 and chain[-1].issuer == chain[-1].subject and not _issued(chain[-1], chain[-1]):
        msg = "the time stamp's chain of certificates ends in one that was changed"
        raise IntegrityError(msg, hint="Take the report again from its origin.")
    if authority is not None and len(chain) > 1 and authority not in chain and not _issued(authority, chain[-1]):
        msg = "the time stamp's chain of certificates does not lead to the trusted authority"
        raise IntegrityError(msg, hint="Give the certificate of the authority, or of the one that issued it.")
    return [asn1_x509.Certificate.load(item.public_bytes(Encoding.DER)) for item in chain]


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_of(name: Any, certificate: Any) -> bool:  # noqa: ANN401  (values of an untyped library)
    """Return whether a signer's name in a CMS structure is that of a certificate."""
    if name.name == "issuer_and_serial_number":
        sid = name.chosen
        return bool(
            sid["issuer"].dump() == certificate.issuer.dump()
            and sid["serial_number"].native == certificate.serial_number
        )
    return bool(name.chosen.native == certificate.key_identifier)
