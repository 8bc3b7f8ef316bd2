"""Reads a PDF: the text that its pages draw, what assistive technology reads out, its outlines, metadata, pictures and attachments.

Streams do not show text: glyphs are numbered by the font. They are read here as a reader's clipboard would, through each font's ToUnicode
(ISO 32000-1, 9.10.3), in the order they are drawn. Glyphs that no table explains are counted and said.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from auditor.redact.pieces import Picture, Piece, Unread, parts_of, text_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.redact.pieces import Part

_SHOWING = {"Tj", "TJ", "'", '"'}
_BLOCKS = re.compile(rb"begin(bfchar|bfrange|codespacerange)(.*?)end\1", re.DOTALL)
_TOKEN = re.compile(rb"<([0-9A-Fa-f\s]*)>|(\[)|(\])")
_TEXTS = frozenset(
    {"/Alt", "/ActualText", "/E", "/T", "/TU", "/Contents", "/Title", "/URI", "/V", "/DA", "/F", "/UF", "/Desc", "/RC"}
)


class _Font(NamedTuple):
    """How codes of a font become letters."""

    width: int
    """Bytes of a code."""
    letters: dict[int, str]
    encoding: str
    """Codec of codes that no table explains; empty: there is none."""


def parts(name: str, content: bytes, depth: int) -> Iterator[Part]:
    """Yield what a PDF says."""
    import pikepdf  # noqa: PLC0415  (heavy)

    with pikepdf.open(io.BytesIO(content)) as document:
        fonts: dict[Any, _Font] = {}
        unknown = 0
        for number, page in enumerate(document.pages, start=1):
            drawn: list[str] = []
            unknown += _draw(page, _resources(page), fonts, drawn, 0)
            yield from text_parts(f"{name}, page {number}", "".join(drawn), depth)
        if unknown:
            yield Unread(f"{name}, pages", f"{unknown} glyphs that no table of their font explains")
        yield from _objects(name, document, depth)
        for attached, file in document.attachments.items():
            said = f"{attached}\0{file.description}\0{file.filename}"
            yield Piece(f"{name}, name of an attachment", said)
            yield from parts_of(f"{name}, attachment {attached}", file.get_file().read_bytes(), depth + 1)


def _resources(holder: Any) -> Any:  # noqa: ANN401  (objects of an untyped library)
    return holder.resources if hasattr(holder, "resources") else holder.get("/Resources", {})


def _draw(holder: Any, resources: Any, fonts: dict[Any, _Font], drawn: list[str], depth: int) -> int:  # noqa: ANN401
    """Add the text that a page or form draws, and return how many glyphs nothing explains."""
    import pikepdf  # noqa: PLC0415

    unknown, font = 0, None
    for operands, operator in pikepdf.parse_content_stream(holder, "Tf Tj TJ ' \" Do ET"):
        kind = str(operator)
        if kind == "Tf":
            font = _font(resources, str(operands[0]), fonts)
        elif kind in _SHOWING:
            shown = operands[-1] if kind != "TJ" else operands[0]
            for item in shown if kind == "TJ" else [shown]:
                if isinstance(item, pikepdf.String):
                    text, missed = _said(bytes(item), font)
                    drawn.append(text)
                    unknown += missed
        elif kind == "ET":
            drawn.append(" ")
        elif kind == "Do" and depth < 8:
            form = resources.get("/XObject", {}).get(str(operands[0])) if resources else None
            if form is not None and form.get("/Subtype") == "/Form":
                unknown += _draw(form, form.get("/Resources", resources), fonts, drawn, depth + 1)
    return unknown


def _font(resources: Any, name: str, fonts: dict[Any, _Font]) -> _Font | None:  # noqa: ANN401
    found = resources.get("/Font", {}).get(name) if resources is not None else None
    if found is None:
        return None
    key = found.objgen if found.objgen != (0, 0) else name
    if key not in fonts:
        fonts[key] = _read_font(found)
    return fonts[key]


def _read_font(font: Any) -> _Font:  # noqa: ANN401
    composite = font.get("/Subtype") == "/Type0"
    letters: dict[int, str] = {}
    width = 2 if composite else 1
    if "/ToUnicode" in font:
        letters, width = _to_unicode(font.ToUnicode.read_bytes(), width)
    encoding = font.get("/Encoding")
    known = "" if composite else "mac_roman" if str(encoding) == "/MacRomanEncoding" else "cp1252"
    return _Font(width, letters, known)


def _to_unicode(cmap: bytes, width: int) -> tuple[dict[int, str], int]:
    """Return the letters of each code of a ToUnicode table, and how many bytes a code has."""
    letters: dict[int, str] = {}
    for block in _BLOCKS.finditer(cmap):
        kind, tokens = block.group(1), _TOKEN.findall(block.group(2))
        if kind == b"codespacerange" and tokens:
            width = max(1, len(tokens[0][0].strip()) // 2)
        elif kind == b"bfchar":
            for code, said in zip(tokens[::2], tokens[1::2], strict=False):
                letters[int(code[0], 16)] = _utf16(said[0])
        elif kind == b"bfrange":
            _ranges(tokens, letters)
    return letters, width


def _ranges(tokens: list[tuple[bytes, bytes, bytes]], letters: dict[int, str]) -> None:
    place = 0
    while place + 2 < len(tokens):
        low, high = int(tokens[place][0], 16), int(tokens[place + 1][0], 16)
        place += 2
        if tokens[place][1]:  # an array: one value for each code
            place += 1
            while place < len(tokens) and not tokens[place][2]:
                letters[low] = _utf16(tokens[place][0])
                low, place = low + 1, place + 1
            place += 1
            continue
        first = _utf16(tokens[place][0])
        for code in range(low, min(high, low + 0xFFFF) + 1):
            letters[code] = first[:-1] + chr(min(ord(first[-1]) + code - low, 0x10FFFF)) if first else ""
        place += 1


def _utf16(digits: bytes) -> str:
    return bytes.fromhex(digits.decode()).decode("utf-16-be", "replace")


def _said(codes: bytes, font: _Font | None) -> tuple[str, int]:
    """Return what codes stand for, and how many nothing explains."""
    if font is None:
        return codes.decode("latin-1"), 0
    shown: list[str] = []
    missed = 0
    for place in range(0, len(codes) - font.width + 1, font.width):
        piece = codes[place : place + font.width]
        letter = font.letters.get(int.from_bytes(piece, "big"))
        if letter is None and font.encoding:
            letter = piece.decode(font.encoding, "replace")
        missed += letter is None
        shown.append(letter or "")
    return "".join(shown), missed


def _objects(name: str, document: Any, depth: int) -> Iterator[Part]:  # noqa: ANN401
    """Yield what the other objects say: alternative texts, outlines, notes, metadata; and the pictures."""
    import pikepdf  # noqa: PLC0415

    texts: list[str] = []
    for item in document.objects:
        if isinstance(item, pikepdf.Stream):
            texts.extend(_texts_in(item))
            if item.get("/Subtype") == "/Image":
                yield from _picture(name, item)
            elif item.get("/Type") == "/Metadata":
                yield from parts_of(f"{name}, metadata", item.read_bytes(), depth + 1)
        elif isinstance(item, pikepdf.Dictionary):
            texts.extend(_texts_in(item))
    texts += [str(value) for value in (document.docinfo or {}).values()]
    yield from text_parts(f"{name}, alternative texts, outlines and notes", "\0".join(texts), depth)


def _texts_in(item: Any) -> Iterator[str]:  # noqa: ANN401
    import pikepdf  # noqa: PLC0415

    keys = item.keys()
    for key in sorted(_TEXTS & keys):
        value = item.get(key)
        if isinstance(value, pikepdf.String):
            yield str(value)
    action = item.get("/A") if "/A" in keys else None
    if isinstance(action, pikepdf.Dictionary) and isinstance(action.get("/URI"), pikepdf.String):
        yield str(action.URI)


def _picture(name: str, item: Any) -> Iterator[Part]:  # noqa: ANN401
    import pikepdf  # noqa: PLC0415

    try:
        image = pikepdf.PdfImage(item).as_pil_image().convert("RGB")
        sink = io.BytesIO()
        image.save(sink, "PNG", compress_level=1)
    except Exception as error:  # noqa: BLE001  (many ways to store a picture, some of them not read)
        yield Unread(f"{name}, picture {item.objgen[0]}", f"{type(error).__name__}")
        return
    yield Picture(f"{name}, picture {item.objgen[0]}", sink.getvalue())
