"""The seal as a Sigstore bundle (v0.3), for tools that read those: cosign, @sigstore/verify, sigstore-go.

The envelope is the one of the seal, byte for byte where it counts: payload and signature stay what was signed. The key is named by its
digest, so whoever verifies brings it, from the signer. There is no entry in a public log and no time stamp over the seal in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from auditor.core.record import canonical_bytes, parse_json
from auditor.errors import IntegrityError, UnsupportedError
from auditor.seal.dsse import signature_holds
from auditor.seal.keys import key_id

if TYPE_CHECKING:
    from cryptography import x509

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def sigstore_bundle(envelope: bytes, certificate: x509.Certificate) -> bytes:
    """Return a seal as a Sigstore bundle, in canonical JSON.

    Args:
        envelope: The seal (DSSE).
        certificate: Certificate it was signed with.

    Raises:
        IntegrityError: The seal was not made with the key of that certificate.
        UnsupportedError: It was signed with an RSA key: Sigstore's verifiers read RSA signatures with other padding than the seal has.

    Source: sigstore/protobuf-specs, `sigstore_bundle.proto` (v0.3: verification material `public_key`, content `dsse_envelope`).
    """
    if not signature_holds(envelope, certificate):
        msg = "the seal was not made with the key of that certificate, or was changed since"
        raise IntegrityError(msg, hint="Give the certificate of the signer.")
    if not isinstance(certificate.public_key(), ec.EllipticCurvePublicKey):
        msg = "a seal by an RSA key cannot be written as a Sigstore bundle: their verifiers expect another padding than PSS"
        raise UnsupportedError(msg, hint="Check the seal itself with openssl (docs/verify.md), or seal with an EC key.")
    return canonical_bytes(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key_id(certificate)}},
            "dsseEnvelope": parse_json(envelope),
        }
    )
