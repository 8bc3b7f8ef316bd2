"""Asks a time-stamping authority for a token: the one thing here that needs the network, and only when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from auditor.errors import StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 30
"""Longest time to wait for an answer, seconds."""


def check_address(address: str) -> None:
    """Refuse what is not the address of a time-stamping authority.

    Raises:
        UsageError: It is not.
    """
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.password:
        msg = f"'{address}' is not the address of a time-stamping authority"
        raise UsageError(msg, hint="Give an http or https address (RFC 3161), without a password in it.")


def request_time_stamp(content: bytes, address: str) -> bytes:
    """Return a time-stamp token (DER) over the SHA-256 of a content, which alone leaves this machine; see `stamp_of`."""
    return stamp_of(hashlib.sha256(content).digest(), address)


def stamp_of(digest: bytes, address: str) -> bytes:
    """Return a time-stamp token (DER) over a digest; its signature is not checked here.

    Args:
        digest: SHA-256 of what is stamped.
        address: Where the authority listens, http or https.

    Raises:
        StorageError: The authority cannot be reached, refuses, or answers with something else.
        UsageError: The address is not one.

    Source: RFC 3161, sections 2.4 and 3.4.
    """
    from pyhanko.sign.timestamps.aiohttp_client import HTTPTimeStamper
    from pyhanko.sign.timestamps.common_utils import TimestampRequestError

    check_address(address)
    stamper = HTTPTimeStamper(address, timeout=TIMEOUT_S)
    try:
        with _quietly():
            token = asyncio.run(stamper.async_timestamp(digest, "sha256"))
        return bytes(token.dump())
    except (TimestampRequestError, OSError) as error:
        reason = f"{error}" + (f": {error.__cause__}" if error.__cause__ else "")
        msg = f"{address}: the authority gave no time stamp ({reason})"
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # what a hostile answer makes of the parser
        msg = f"{address}: the answer is not a time stamp ({type(error).__name__})"
    raise StorageError(
        msg, hint="Nothing was signed. Run the same command again, name another authority, or leave --timestamp out."
    )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    logger = logging.getLogger("pyhanko")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
