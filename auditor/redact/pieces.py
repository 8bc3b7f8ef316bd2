"""What an artefact says, piece by piece: its text, and the texts and pictures that are packed or encoded in it."""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import io
import re
import urllib.parse
import zipfile
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEEPEST = 6
"""Containers within containers that are opened."""
LARGEST = 512 * 1024 * 1024
"""Bytes of the largest part that is unpacked."""
_PLACES = 2000
"""Letters of a text between two places that are remembered of it."""


class Piece(NamedTuple):
    """Text that belongs together, as a reader or a program would read it."""

    where: str
    """Place in the artefact, in words."""
    text: str
    places: tuple[tuple[int, str], ...] = ()
    """Where its parts stand more closely: offset in the text, and words; sorted."""


class Picture(NamedTuple):
    """A picture in an artefact."""

    where: str
    content: bytes


class Unread(NamedTuple):
    """A part that could not be read."""

    where: str
    why: str


Part = Piece | Picture | Unread

_IMAGES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*", b"GIF8")
_PACKED = re.compile(r"[A-Za-z0-9+/_-]{32,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){16,}")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([nrtbf\"'/\\]))")
_SPELLED = re.compile("\u27e8U\\+([0-9A-F]{4,6})\u27e9")


def parts_of(name: str, content: bytes, depth: int = 0) -> Iterator[Part]:
    """Yield what an artefact says, by what its first bytes are; its name is only where it is from.

    Args:
        name: Its name, for the words of a place.
        content: Its bytes.
        depth: How deep it lies in others.
    """
    if depth > DEEPEST:
        yield Unread(name, f"packed more than {DEEPEST} times")
        return
    reader = _reader(content)
    try:
        yield from reader(name, content, depth)
    except Exception as error:  # noqa: BLE001  (damaged files make parsers fail in any way; the bytes are read then)
        if is_packed(content):
            yield Unread(name, f"{type(error).__name__}: read as bytes")
        yield from _plain(name, content, depth)


def is_packed(content: bytes) -> bool:
    """Return whether text in a file cannot be seen in its bytes."""
    return _reader(content).__name__ not in {"_plain", "json_parts"} and content.lstrip()[:1] != b"<"


def _reader(content: bytes) -> Callable[[str, bytes, int], Iterator[Part]]:
    from auditor.redact import markup, pdf, tables  # noqa: PLC0415  (they read what lies in them through this module)

    for starts, reader in (
        ((*_IMAGES,), _picture),
        ((b"%PDF",), pdf.parts),
        ((b"PAR1",), tables.parquet_parts),
        ((b"PK\x03\x04",), _zip),
        ((b"\x1f\x8b",), _gzip),
    ):
        if content.startswith(starts):
            return reader
    head = content[:512].lstrip(b"\xef\xbb\xbf\r\n\t ")
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _picture
    if head[:1] == b"<":
        return markup.parts
    if head[:1] in {b"{", b"["}:
        return tables.json_parts
    if content.startswith(b"\xff\xff\xff\xff") and len(content) % 8 == 0:
        return tables.arrow_parts
    return _plain


def _picture(name: str, content: bytes, depth: int) -> Iterator[Part]:
    yield Picture(name, content)
    yield from text_parts(name, content.decode("latin-1"), depth, packed=False)


def _zip(name: str, content: bytes, depth: int) -> Iterator[Part]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
            yield Unread(name, "unpacks to too much")
            return
        names = [entry.filename for entry in archive.infolist()]
        yield Piece(f"{name}, names of files", "\0".join([*names, archive.comment.decode("utf-8", "replace")]))
        for entry in archive.infolist():
            if entry.flag_bits & 1:
                yield Unread(f"{name}/{entry.filename}", "encrypted")
            elif not entry.is_dir():
                yield from parts_of(f"{name}/{entry.filename}", archive.read(entry), depth + 1)


def _gzip(name: str, content: bytes, depth: int) -> Iterator[Part]:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        inside = stream.read(LARGEST + 1)
    if len(inside) > LARGEST:
        yield Unread(name, "unpacks to too much")
        return
    yield from parts_of(f"{name} (unpacked)", inside, depth + 1)


def _plain(name: str, content: bytes, depth: int) -> Iterator[Part]:
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"} or content[:64].count(0) > 16:
        wide = content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-16-le", "replace")
        yield from text_parts(name, wide, depth)
    text = content.decode("utf-8", "replace")
    if "content-transfer-encoding:" in text[:20000].lower():
        yield from _mail(name, content, depth)
    yield from text_parts(name, text, depth, lines=True)


def _mail(name: str, content: bytes, depth: int) -> Iterator[Part]:
    import email  # noqa: PLC0415
    import email.policy  # noqa: PLC0415

    message = email.message_from_bytes(content, policy=email.policy.default)
    for number, part in enumerate(message.walk(), start=1):
        inside = part.get_payload(decode=True)
        if isinstance(inside, bytes):
            yield from parts_of(f"{name}, part {number}", inside, depth + 1)
        yield Piece(f"{name}, head of part {number}", "\0".join(str(value) for value in part.values()))


def text_parts(
    where: str,
    text: str,
    depth: int,
    *,
    places: tuple[tuple[int, str], ...] = (),
    lines: bool = False,
    packed: bool = True,
) -> Iterator[Part]:
    """Yield a text, and what its escapes and encodings stand for.

    Args:
        where: Place, in words.
        text: The text.
        depth: How deep it lies.
        places: Where its parts stand more closely.
        lines: Name lines as places.
        packed: Look for encoded parts, too.
    """
    yield Piece(where, text, places or (_line_places(text) if lines else ()))
    for said in _unescaped(text):
        yield Piece(where, said)
    if not packed:
        return
    for found in _PACKED.finditer(text):
        if not _HEX.fullmatch(found.group()):
            yield from _decoded(where, found.group(), depth)
    for found in _HEX.finditer(text):
        # A digest is 32 bytes that no text is; decoding it is cheap.
        yield Piece(f"{where}, hexadecimal", bytes.fromhex(found.group()).decode("utf-8", "replace"))


def _line_places(text: str) -> tuple[tuple[int, str], ...]:
    places, line, last = [(0, "line 1")], 1, 0
    for found in re.finditer("\n", text):
        line += 1
        if found.end() - last >= _PLACES or len(places) < 1000:
            places.append((found.end(), f"line {line}"))
            last = found.end()
    return tuple(places)


def _unescaped(text: str) -> Iterator[str]:
    """Yield a text with each kind of escape resolved that it has."""
    if "\\" in text:
        yield _ESCAPED.sub(_letter, text)
    if "&" in text and ";" in text:
        yield html.unescape(text)
    if "%" in text and re.search("%[0-9A-Fa-f]{2}", text):
        yield urllib.parse.unquote_plus(text)
    if "=\n" in text or "=\r\n" in text or re.search("=[0-9A-F]{2}=[0-9A-F]{2}", text):
        yield binascii.a2b_qp(text.encode()).decode("utf-8", "replace")
    if "\u27e8U+" in text:
        yield _SPELLED.sub(lambda found: chr(min(int(found.group(1), 16), 0x10FFFF)), text)


def _letter(found: re.Match[str]) -> str:
    point = found.group(1) or found.group(2)
    if point is None:
        return " "
    code = int(point, 16)
    return " " if 0xD800 <= code < 0xE000 else chr(code)


def _decoded(where: str, packed: str, depth: int) -> Iterator[Part]:
    """Yield what a run of base64 stands for, wherever in it the encoding begins."""
    plain = re.sub(r"\s", "", packed).rstrip("=").replace("-", "+").replace("_", "/")
    for offset in range(4):
        part = plain[offset:]
        part = part[: len(part) - 1] if len(part) % 4 == 1 else part
        content = base64.b64decode(part + "=" * (-len(part) % 4))
        if is_packed(content) or _readable(content):
            yield from parts_of(f"{where}, base64", content, depth + 1)
            return
        if content[:2] in {b"\x78\x9c", b"\x78\x01", b"\x78\xda"}:
            yield from _inflated(where, content, depth)
        yield Piece(f"{where}, base64", content.decode("utf-8", "replace"))


def _readable(content: bytes) -> bool:
    """Return whether bytes are text: what is decoded from a wrong place, or is no text, has a control character soon."""
    return "".join(content[:256].decode(errors="ignore").split()).isprintable()


def _inflated(where: str, content: bytes, depth: int) -> Iterator[Part]:
    try:
        inside = zlib.decompressobj().decompress(content, LARGEST)
    except zlib.error:
        return
    yield from parts_of(f"{where}, packed", inside, depth + 1)
