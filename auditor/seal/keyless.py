"""Countersignatures without a key of one's own (Sigstore): an identity provider says who signs, and a public log that it was so.

What is signed is the seal's own statement, byte for byte, so that a countersignature holds for exactly one seal. The identity and the
digest of the statement go into a public log for good; nothing else leaves the machine. Needs the extra `[sigstore]`; to sign, the network.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from auditor.errors import IntegrityError, KeyMaterialError, StorageError, UnsupportedError, UsageError
from auditor.seal.statement import PAYLOAD_TYPE

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 1024 * 1024
"""Bytes of the largest countersignature that is read."""


def countersign(payload: bytes, token: str | None, config: Path | None) -> bytes:
    """Return a Sigstore bundle over a statement, by the identity of a token.

    Args:
        payload: The statement, as the seal signs it.
        token: OpenID Connect token; None: that of the machine it runs on, such as a CI job.
        config: Which Sigstore (client trust configuration, JSON); None: the public one.

    Raises:
        KeyMaterialError: There is no token, or it names nobody.
        StorageError: Sigstore cannot be reached or refuses.
        UnsupportedError: The extra `[sigstore]` is not installed.
    """
    _needed()
    from sigstore.dsse import Statement  # noqa: PLC0415  (an optional package)
    from sigstore.oidc import IdentityError, IdentityToken, detect_credential  # noqa: PLC0415  (an optional package)
    from sigstore.sign import SigningContext  # noqa: PLC0415  (an optional package)

    try:
        found = token or detect_credential()
        identity = IdentityToken(found) if found else None
    except IdentityError as error:
        msg = f"the identity token cannot be used ({error})"
        raise KeyMaterialError(
            msg, hint="It is an OpenID Connect token for the audience 'sigstore', a few minutes old."
        ) from error
    if identity is None:
        msg = "nobody says who signs: there is no identity token"
        raise KeyMaterialError(
            msg, hint="Set SIGSTORE_ID_TOKEN to an OpenID Connect token, or run where a CI service gives one."
        )
    try:
        with SigningContext.from_trust_config(_configured(config, offline=False)).signer(identity) as signer:
            return str(signer.sign_dsse(Statement(payload)).to_json()).encode()
    except (IntegrityError, UsageError):
        raise
    except Exception as error:  # the library, its transports and its servers fail in many ways
        msg = f"Sigstore gave no countersignature ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        raise StorageError(msg, hint="Check the network; nothing was written, and the bundle is as it was.") from error


def check_countersignature(content: bytes, payload: bytes, identity: str, issuer: str, config: Path | None) -> str:
    """Return who countersigned a seal, in words; the network is not asked.

    Args:
        content: The countersignature (Sigstore bundle).
        payload: The statement that the seal signs.
        identity: Whom the user expects, as the certificate names him: an e-mail address or the address of a workflow.
        issuer: Who said so: address of the identity provider.
        config: Which Sigstore; None: the public one.

    Raises:
        IntegrityError: It is damaged, by somebody else, or over another statement.
        UnsupportedError: The extra `[sigstore]` is not installed.
    """
    _needed()
    from sigstore.models import Bundle  # noqa: PLC0415  (an optional package)
    from sigstore.verify import Verifier  # noqa: PLC0415  (an optional package)
    from sigstore.verify.policy import Identity  # noqa: PLC0415  (an optional package)

    verifier = Verifier(trusted_root=_configured(config, offline=True).trusted_root)
    again = "Take it again from whoever countersigned, and name the identity and the provider that you expect."
    try:
        if len(content) > LARGEST:
            raise ValueError("it is too large")  # noqa: TRY301, EM101, TRY003
        bundle = Bundle.from_json(content)
        kind, signed = verifier.verify_dsse(bundle, Identity(identity=identity, issuer=issuer))
        logged = bundle.log_entry._inner  # noqa: SLF001  (the library has no public way to it)
        index = int(logged.log_index)
    except Exception as error:  # a hostile file can make a parser fail in any way; none of them holds
        msg = f"the countersignature does not hold ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        raise IntegrityError(msg, hint=again) from error
    if (kind, signed) != (PAYLOAD_TYPE, payload):
        msg = "the countersignature holds, but for another seal than the bundle's"
        raise IntegrityError(msg, hint=again)
    return f"countersigned by {identity}, as {issuer} says; entry {index} of the log"


def _configured(config: Path | None, *, offline: bool) -> Any:  # noqa: ANN401  (an optional package)
    from sigstore.models import ClientTrustConfig  # noqa: PLC0415  (an optional package)

    if config is None:
        return ClientTrustConfig.production(offline=offline)
    try:
        return ClientTrustConfig.from_json(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{config}: not the trust configuration of a Sigstore ({type(error).__name__})"
        raise UsageError(
            msg, hint="Give its client trust configuration (JSON, v0.1), or leave it out for the public one."
        ) from error


def _needed() -> None:
    if importlib.util.find_spec("sigstore") is None:
        msg = "countersignatures by Sigstore need the extra [sigstore]"
        raise UnsupportedError(msg, hint="pip install 'memorization-auditor[sigstore]'")
