"""Keys that never leave a token or a module for hardware security (PKCS#11), named by an address (RFC 7512)."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from auditor.errors import KeyMaterialError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from auditor.seal.keys import PublicKey

MODULE = "AUDITOR_PKCS11_MODULE"
"""Environment variable that names the library of the token where the address does not."""
_EXAMPLE = "pkcs11:token=TOKEN;object=KEY?module-path=/usr/lib/softhsm/libsofthsm2.so"


class TokenKey:
    """A private key in a token. A session is opened for each signature and closed after it.

    Args:
        reach: Opens a session and yields it with the key.
        public: Its public half.
    """

    def __init__(self, reach: Callable[[], AbstractContextManager[tuple[Any, Any]]], public: PublicKey) -> None:
        """Remember how to reach the key; nothing is signed yet."""
        self._reach = reach
        self._public = public

    def sign(self, message: bytes, *, pss: bool) -> bytes:
        """Return the token's signature over a message, with SHA-256; that of an EC key in DER.

        Raises:
            KeyMaterialError: The token does not sign.
        """
        from pkcs11 import MGF, Mechanism

        with self._reach() as (_, key):
            if isinstance(self._public, ec.EllipticCurvePublicKey):
                raw = key.sign(hashlib.sha256(message).digest(), mechanism=Mechanism.ECDSA)
                half = len(raw) // 2
                return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))
            if pss:
                salt = (Mechanism.SHA256, MGF.SHA256, 32)
                return bytes(key.sign(message, mechanism=Mechanism.SHA256_RSA_PKCS_PSS, mechanism_param=salt))
            return bytes(key.sign(message, mechanism=Mechanism.SHA256_RSA_PKCS))


def open_held_key(address: str, pin: bytes | None) -> tuple[TokenKey, PublicKey, x509.Certificate | None]:
    """Return a key in a token, its public half, and the certificate that lies beside it if there is one.

    Args:
        address: PKCS#11 address: `token` or `serial`, `object` or `id`, and `module-path`.
        pin: PIN of the token.

    Raises:
        KeyMaterialError: There is no such token or key, or more than one; or the PIN is wrong.
        UnsupportedError: The extra `[pkcs11]` is not installed.

    Source: RFC 7512, section 2.3.
    """
    where, query = _parts(address)
    if importlib.util.find_spec("pkcs11") is None:
        msg = f"{address}: keys in tokens need the extra [pkcs11]"
        raise UnsupportedError(msg, hint="pip install 'memorization-auditor[pkcs11]'")
    module = query.get("module-path") or os.environ.get(MODULE)
    if not module:
        msg = f"{address}: no library of the token is named"
        raise KeyMaterialError(msg, hint=f"Add ?module-path=..., or set {MODULE}; for example {_EXAMPLE}")

    def reach() -> AbstractContextManager[tuple[Any, Any]]:
        return _reached(address, module, where, pin)

    with reach() as (session, key):
        beside = _certificate(session, key)
        public = beside.public_key() if beside is not None else _public(session, key)
    return TokenKey(reach, public), public, beside  # type: ignore[arg-type,return-value]  # its kind is checked by the caller


@contextlib.contextmanager
def _reached(address: str, module: str, where: dict[str, str], pin: bytes | None) -> Iterator[tuple[Any, Any]]:
    """Yield an open session and the key that is meant."""
    import pkcs11

    try:
        library = pkcs11.lib(module)
        serial = where["serial"].encode() if "serial" in where else None
        tokens = list(library.get_tokens(token_label=where.get("token"), token_serial=serial))
        if len(tokens) != 1:
            raise _not_one(address, len(tokens))
        identity = where["id"].encode("latin-1") if "id" in where else None
        with tokens[0].open(user_pin=pin.decode() if pin else None) as session:
            private = pkcs11.ObjectClass.PRIVATE_KEY
            yield session, session.get_key(object_class=private, label=where.get("object"), id=identity)
    except (pkcs11.PKCS11Error, RuntimeError, UnicodeDecodeError, ValueError) as error:
        why = "the PIN is wrong or missing" if "Pin" in type(error).__name__ or pin is None else type(error).__name__
        msg = f"{address}: the key cannot be used ({why})"
        hint = "Set AUDITOR_PASSPHRASE to the PIN, and check token, object and library."
        raise KeyMaterialError(msg, hint=hint) from error


def _not_one(address: str, count: int) -> KeyMaterialError:
    msg = f"{address}: {count} tokens are meant where it must be one"
    return KeyMaterialError(msg, hint=f"Name it, for example {_EXAMPLE}")


def _parts(address: str) -> tuple[dict[str, str], dict[str, str]]:
    path, _, query = address.removeprefix("pkcs11:").partition("?")
    try:
        where = {name: unquote(value, "latin-1") for name, value in _pairs(path, ";")}
        asked = {name: unquote(value) for name, value in _pairs(query, "&")}
    except ValueError as error:
        msg = f"{address}: not a PKCS#11 address"
        raise KeyMaterialError(msg, hint=f"For example {_EXAMPLE}") from error
    if {"pin-value", "pin-source"} & {*where, *asked}:
        msg = "the PIN must not stand in the address: everyone on this machine can read a command line"
        raise KeyMaterialError(msg, hint="Set AUDITOR_PASSPHRASE to the PIN, or type it when asked.")
    if not {"object", "id"} & set(where):
        msg = f"{address}: no key is named"
        raise KeyMaterialError(msg, hint=f"For example {_EXAMPLE}")
    return where, asked


def _pairs(text: str, separator: str) -> list[tuple[str, str]]:
    pairs = [tuple(part.split("=", 1)) for part in text.split(separator) if part]
    return [(name, value) for name, value in pairs]


def _certificate(session: Any, key: Any) -> x509.Certificate | None:  # noqa: ANN401  (an optional package)
    from pkcs11 import Attribute, ObjectClass

    found = list(session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.ID: key[Attribute.ID]}))
    return x509.load_der_x509_certificate(bytes(found[0][Attribute.VALUE])) if len(found) == 1 else None


def _public(session: Any, key: Any) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:  # noqa: ANN401
    from pkcs11 import Attribute, KeyType, ObjectClass
    from pkcs11.util.ec import encode_ec_public_key
    from pkcs11.util.rsa import encode_rsa_public_key

    public = session.get_key(object_class=ObjectClass.PUBLIC_KEY, id=key[Attribute.ID])
    if public.key_type == KeyType.RSA:
        from asn1crypto import keys  # noqa: PLC0415  (heavy)

        der = keys.PublicKeyInfo.wrap(encode_rsa_public_key(public), "rsa").dump()
    else:
        der = encode_ec_public_key(public)
    return load_der_public_key(der)  # type: ignore[return-value]  # its kind is checked by the caller
