"""One HTTP exchange with a server that may be broken or hostile: bounded in time and size, never redirected."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from auditor.core.record import parse_json
from auditor.errors import SubjectError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_ANSWER = 32 << 20
"""Bytes of an answer: log-probabilities of some thousand tokens take about one million."""
_PIECE = 1 << 16
_KIND = re.compile(r"[a-z]{1,20}/[a-z0-9.+-]{1,40}")
_VISIBLE = range(0x21, 0x7F)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back of one request.

    Args:
        status: HTTP status, 0 if there was no answer at all.
        headers: Names in lower case.
        value: The JSON value of the answer, None if it holds none.
        fault: Why the answer cannot be used, empty where it can: says nothing of what it holds.
        unread: It is not known whether the server did the work, so it may have to be paid.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    value: Any = None
    fault: str = ""
    unread: bool = False


def check_address(address: str, *, allow_http: bool) -> str:
    """Return the address of a server without a slash at its end.

    Raises:
        SubjectError: It is no such address, holds a password, or would be asked without encryption over a network.
    """
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        msg = f"model.path: '{address}' is not an address ({error})"
        raise SubjectError(msg, hint="Write the address of the server, like https://llm.example.org/v1.") from error
    if parts.scheme not in {"http", "https"} or not host:
        msg = f"model.path: '{address}' is not the address of a server"
        raise SubjectError(msg, hint="Write the address of the server, like https://llm.example.org/v1.")
    if parts.username is not None or parts.password is not None:
        msg = "model.path: the address holds a user or a password, which would stand in the bundle"
        raise SubjectError(msg, hint="Name an environment variable that holds the key as model.endpoint.key_env.")
    if parts.query or parts.fragment:
        msg = "model.path: the address has a part behind '?' or '#'"
        raise SubjectError(msg, hint="Give the address up to /v1; a key belongs into model.endpoint.key_env.")
    if parts.scheme == "http" and not allow_http and not _loopback(host):
        msg = f"model.path: {host} would be asked without encryption, and texts of persons would be sent"
        raise SubjectError(msg, hint="Use https; for a network of your own, model.endpoint.allow_http: true.")
    return address.rstrip("/")


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_key(variable: str | None) -> str | None:
    """Return the key that an environment variable holds; None where no variable is named.

    Raises:
        SubjectError: The variable is not set, or holds what no header can.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        msg = f"model.endpoint.key_env: the environment variable {variable} is not set"
        raise SubjectError(msg, hint=f"Set it for this command: {variable}=... auditor run ...")
    if any(ord(letter) not in _VISIBLE for letter in key):
        msg = f"model.endpoint.key_env: the environment variable {variable} holds what cannot be a key"
        raise SubjectError(msg, hint="A key is one word of letters, digits and signs.")
    return key


class HttpTransport:
    """Sends requests to one server and to no other.

    Args:
        address: As `check_address` returns it.
        key: Sent as bearer token; None: no key.
        timeout_s: Longest time of one exchange, from the first byte sent to the last received, seconds.
        connections: Connections that are kept open.

    Raises:
        UnsupportedError: The package that speaks HTTP is not installed.
    """

    def __init__(self, address: str, key: str | None, timeout_s: float, connections: int) -> None:
        """Open nothing yet."""
        try:
            import urllib3  # noqa: PLC0415  (optional)
        except ImportError as error:
            msg = "the adapter completion-endpoint needs urllib3"
            raise UnsupportedError(msg, hint="Install memorization-auditor[endpoint].") from error
        self._address = address
        self._key = key
        self._timeout = timeout_s
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=connections, block=True, retries=False)

    def send(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """Return what the server answers; every failure is a reply with a fault."""
        import urllib3  # noqa: PLC0415

        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "memorization-auditor"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        ends = time.monotonic() + self._timeout
        try:
            response = self._pool.request(
                method,
                self._address + path,
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(total=self._timeout),
            )
        except urllib3.exceptions.NewConnectionError:  # of the same family as the time-outs
            return Reply(0, fault="no connection")
        except urllib3.exceptions.TimeoutError:
            return Reply(0, fault=f"no answer within {self._timeout:g} s", unread=True)
        except urllib3.exceptions.SSLError:
            return Reply(0, fault="no trusted connection (its certificate does not hold)")
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return Reply(0, fault=f"the connection broke ({type(error).__name__})", unread=True)
        try:
            return self._read(response, ends)
        finally:
            # What was not read to its end cannot be used for the next request.
            response.close()

    def _read(self, response: Any, ends: float) -> Reply:  # noqa: ANN401
        status = int(response.status)
        headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
        content, fault = self._drain(response, headers, ends)
        value = None
        if not fault:
            value, fault = _parsed(content, headers.get("content-type", ""))
        return Reply(status, headers, value, fault, unread=bool(fault) and status < 300)

    def _drain(self, response: Any, headers: Mapping[str, str], ends: float) -> tuple[bytes, str]:  # noqa: ANN401
        """Return the bytes of an answer, and why they are not all."""
        import urllib3  # noqa: PLC0415

        late = f"the answer was not finished within {self._timeout:g} s"
        content = bytearray()
        if 300 <= int(response.status) < 400:
            return b"", f"it redirects (status {int(response.status)}), and no other address is asked"
        if headers.get("content-encoding", "identity") != "identity":
            return b"", "the answer is compressed, which was not asked for"
        try:
            while piece := response.read1(_PIECE):
                content += piece
                if len(content) > LARGEST_ANSWER:
                    return b"", f"the answer has more than {LARGEST_ANSWER:,} bytes"
                if time.monotonic() > ends:
                    return b"", late
        except urllib3.exceptions.TimeoutError:
            return b"", late
        except (urllib3.exceptions.HTTPError, OSError):
            return b"", "the answer was cut off"
        return bytes(content), ""


def _parsed(content: bytes, kind: str) -> tuple[Any, str]:
    """Return the JSON value of an answer, and why there is none."""
    kind = kind.split(";", maxsplit=1)[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        return (
            None,
            f"the answer is not JSON but {kind if _KIND.fullmatch(kind) else 'of no known kind'}",
        )
    try:
        value = parse_json(content)
    except ValueError as error:
        return None, f"the answer is not JSON ({type(error).__name__})"
    if not _sound(value):
        return None, "the answer holds numbers or letters that JSON does not have"
    return value, ""


def _sound(value: Any) -> bool:  # noqa: ANN401  (any JSON value)
    """Return whether every number is finite and every text can be written as UTF-8."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return False
        if isinstance(item, str) and not item.isascii() and any(0xD800 <= ord(letter) < 0xE000 for letter in item):
            return False
        if isinstance(item, list):
            todo.extend(item)
        elif isinstance(item, dict):
            todo.extend((*item.keys(), *item.values()))
    return True
