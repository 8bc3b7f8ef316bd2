"""The leak guard: restricted text is found however it is written, packed or drawn, and innocent text is not taken for it."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import shutil
import unicodedata
import urllib.parse
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DIGITS, OTHER, SECRET, encoded, picture, smooth, write_observation
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import LeakError
from auditor.evidence.bundle import Bundle
from auditor.redact.guard import Artefact, Guard

PART = SECRET[5:60]
"""What leaks: 45 letters or so."""


@pytest.fixture(scope="module")
def guard(origin) -> Guard:
    return Guard(origin.root)


def found(guard: Guard, content: bytes | str, name: str = "artefact"):
    data = content.encode() if isinstance(content, str) else content
    return guard.look([Artefact(name, data)]).leaks


def zipped(name: str, content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return sink.getvalue()


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def pdf(markup: str, **options) -> bytes:
    import gc
    import warnings

    import weasyprint

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        made = weasyprint.HTML(string=markup).write_pdf(**options)
        gc.collect()
    return made


CELLS = "".join(f"<tr><td>{number}</td><td>{word}</td></tr>" for number, word in enumerate(PART.split()))
SVG = f'<svg xmlns="http://www.w3.org/2000/svg"><text>{PART[:20]}</text><text x="9">{PART[20:]}</text></svg>'
LEAKS = {
    "plain": f"We found: {PART}",
    "upper case": PART.upper(),
    "white space": PART.replace(" ", "\n   "),
    "no space": PART.replace(" ", ""),
    "spaced out": " ".join(PART),
    "full width": "".join(chr(ord(letter) + 0xFEE0) if letter.isascii() and letter.isalnum() else letter for letter in PART),
    "decomposed": unicodedata.normalize("NFD", PART),
    "soft hyphens": "\u00ad".join(PART),
    "zero width": "\u200b".join(PART),
    "hyphenated": PART.replace("ran", "ra-\nn"),
    "entities": "".join(f"&#{ord(letter)};" for letter in PART),
    "entities in html": "<p>" + "".join(f"&#x{ord(letter):x};" for letter in PART) + "</p>",
    "html": f"<!doctype html><p>{html.escape(PART)}</p>",
    "tags between letters": "<p>" + "<b></b>".join(PART) + "</p>",
    "cells of a row": "<table><tr>" + "".join(f"<td>{word}</td>" for word in PART.split()) + "</tr></table>",
    "a column of a table": f"<table>{CELLS}</table>",
    "attribute": f'<img alt="{PART}">',
    "comment": f"<p>x</p><!-- {PART} -->",
    "svg": SVG,
    "svg in a data address": f'<img src="data:image/svg+xml;base64,{base64.b64encode(SVG.encode()).decode()}">',
    "svg in a plain data address": f'<img src="data:image/svg+xml,{urllib.parse.quote(SVG)}">',
    "script": f"<html><script>const x = {json.dumps(PART)}</script></html>",
    "json": json.dumps({"a": [1, {"b": PART}]}),
    "json, escaped": json.dumps([PART], ensure_ascii=True),
    "json, word by word": json.dumps([{"word": word} for word in PART.split()]),
    "json, as a key": json.dumps({PART: 1}),
    "json lines": "\n".join(json.dumps({"n": number, "text": PART if number == 7 else "x"}) for number in range(9)),
    "json in json": json.dumps({"a": json.dumps({"b": PART})}),
    "yaml": f"reason: >\n  {PART[:30]}\n  {PART[30:]}\n",
    "base64": base64.b64encode(PART.encode()).decode(),
    "base64 in lines": base64.encodebytes((PART * 2).encode()).decode(),
    "base64, somewhere within": f"xy{base64.b64encode(PART.encode()).decode()}",
    "base64, for addresses": base64.urlsafe_b64encode(PART.encode()).decode(),
    "base64 twice": base64.b64encode(base64.b64encode(PART.encode())).decode(),
    "hexadecimal": PART.encode().hex(),
    "address": f"https://example.org/?q={urllib.parse.quote(PART)}",
    "quoted printable": "Subject: x\nContent-Transfer-Encoding: quoted-printable\n\n"
    + PART.replace("ü", "=C3=BC").replace("Weiden", "Wei=\nden"),
    "utf-16": PART.encode("utf-16"),
    "gzip": gzip.compress(PART.encode()),
    "zip": zipped("notes.txt", PART.encode()),
    "name in a zip": zipped(f"{PART}.txt", b"x"),
    "parquet": parquet(pa.table({"a": [1.0, 2.0], "snippet": ["", PART]})),
    "parquet, an id that is a text": parquet(pa.table({"id": [f"{SECRET} {OTHER}"]})),
    "parquet, lists": parquet(pa.table({"words": [PART.split()]})),
    "parquet, metadata": parquet(pa.table({"a": [1]}).replace_schema_metadata({"note": PART})),
    "parquet, packed": parquet(pa.table({"a": [zipped("x.json", json.dumps(PART).encode())]})),
    "parquet in a zip in a zip": zipped("outer.zip", zipped("a.parquet", parquet(pa.table({"t": [PART]})))),
    "tokens": json.dumps({"ids": [4711 + 7 * place for place in range(12)]}),
    "tokens in parquet": parquet(pa.table({"n": pa.array([[4711 + 7 * place for place in range(12)]], type=pa.list_(pa.int32()))})),
    "log": f"2026-01-01 ERROR could not parse record\nTraceback (most recent call last):\nValueError: {PART!r}\n",
    "spelled out": "".join(f"\u27e8U+{ord(letter):04X}\u27e9" if letter == "ü" else letter for letter in PART),
    "ideographs": "the text 中文字符测试文本不应出现 leaked",
}  # fmt: skip


@pytest.mark.parametrize("case", LEAKS)
def test_restricted_text_is_found_in_every_form(guard, case):
    leaks = found(guard, LEAKS[case])
    assert leaks
    assert {leak.record for leak in leaks} <= {f"member-{row}" for row in range(5)}


def test_the_message_names_place_and_record_and_never_the_text(guard):
    with pytest.raises(LeakError) as caught:
        guard.check([Artefact("logs/run.log", f"fine\nfine\nValueError: {PART}".encode())])
    message = caught.value.message
    assert "logs/run.log" in message
    assert "line 3" in message
    assert "record 'member-0'" in message
    assert caught.value.exit_code == 4
    assert "docs/redaction.md" in caught.value.hint
    for word in PART.split():
        assert len(word) < 4 or word not in message + caught.value.hint


def test_text_in_the_name_of_a_file_is_found(guard):
    assert found(guard, b"nothing", name=f"figures/{PART}.svg")


def test_places_are_told_by_pointer_row_and_page(guard):
    assert "$[1].b" in found(guard, json.dumps(["fine", {"b": PART}]))[0].where
    table = pa.table({"snippet": ["fine", "fine", PART]})
    assert found(guard, parquet(table))[0].where == "column snippet, row 2"
    page = '<p>One</p><p style="break-before: page">' + PART + "</p>"
    assert any("page 2" in leak.where for leak in found(guard, pdf(page)))


PAGES = {
    "ligatures, hyphens and justified lines": '<html lang="en"><style>body {width: 3cm; hyphens: auto; text-align: justify}</style>'
    f"<p>{PART} office fluffier</p>",
    "spaced letters": f'<p style="letter-spacing: 4pt">{PART}</p>',
    "two tables": "<table><tr>" + "".join(f"<td>{word}</td>" for word in PART.split()) + "</tr></table>",
    "alternative text": f'<img alt="{PART}" src="data:image/png;base64,{base64.b64encode(encoded(picture(9))).decode()}">',
    "outline": f"<h1 style=\"bookmark-label: '{PART}'\">Fine</h1>",
    "title": f"<title>{PART}</title><p>fine",
    "link": f'<a href="https://example.org/{urllib.parse.quote(PART)}">fine</a>',
}


@pytest.mark.parametrize("case", PAGES)
def test_restricted_text_is_found_in_a_pdf(guard, case):
    assert found(guard, pdf(PAGES[case], pdf_variant="pdf/a-3a"))


def test_restricted_text_is_found_in_what_is_attached_to_a_pdf(guard):
    import weasyprint

    held = weasyprint.Attachment(string=json.dumps([PART]), name="a.json")
    assert "attachment a.json" in found(guard, pdf("<p>fine</p>", attachments=[held]))[0].where


def test_a_clean_pdf_is_clean_and_read_whole(guard):
    seen = guard.look([Artefact("a.pdf", pdf("<h1>Memorization audit</h1><p>Nothing of the kind, ﬁne and dandy."))])
    assert not seen.leaks
    assert seen.redaction.scanned[0].unread == ()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(start=st.integers(0, 60), before=st.text(max_size=40), after=st.text(max_size=40))
def test_every_run_of_twenty_four_letters_is_found(guard, start, before, after):
    letters = "".join(letter for letter in OTHER if letter.isalnum())
    run = letters[start : start + 24]
    assert found(guard, f"{before} {run} {after}")


@settings(derandomize=True, deadline=None, max_examples=60)
@given(start=st.integers(0, 60))
def test_no_run_of_nineteen_letters_is_taken_for_a_leak(guard, start):
    letters = "".join(letter for letter in OTHER if letter.isalnum())
    assert not found(guard, f"qq {letters[start : start + 19]} qq")


VALUES = ["ottilie.kranz@example.org", "Kranzbühler, Ottilie", "+49 5271 9876543", "OTTILIE KRANZBÜHLER".title()]


@pytest.mark.parametrize("value", VALUES[:3])
def test_short_values_are_found_whole(guard, value):
    assert found(guard, f"write to {value} for more")
    assert found(guard, json.dumps({"to": value}))
    assert not found(guard, f"write to {value[:-2]} for more")


def test_secrets_of_canaries_are_found_as_they_are_written(guard):
    assert found(guard, f"the secret {DIGITS} came out")
    assert found(guard, f"locker in the basement is {DIGITS.replace(' ', '')}.")
    assert "canary c1" in found(guard, f"the secret {DIGITS} came out")[0].described()
    # Six digits alone are too few: a number of bytes would be taken for a secret.
    assert not found(guard, "the file has 749484 bytes")
    assert not found(guard, "The code of the locker in the basement is withheld.")


INNOCENT = {
    "masked": f"{SECRET[:11]}{chr(0x2588) * 8} (31 tokens)",
    "digests": " ".join(f"{number:064x}" for number in range(50)),
    "names of records": " ".join(f"member-{row}" for row in range(5)),
    "zeros": "0" * 500,
    "words of its own": "was treated for gout; nobody else has seen the harbour; every Thursday in spring",
    "numbers": json.dumps([7, 4, 9, 48, 4, 0.5, 749484]),
}


@pytest.mark.parametrize("case", INNOCENT)
def test_innocent_text_is_left_alone(guard, case):
    assert not found(guard, INNOCENT[case])


def test_what_the_tool_says_itself_is_no_leak_and_what_is_added_is(tmp_path, origin):
    own = (
        "A classifier that never sees the model; if it tells members from controls, the two sets differ by themselves."
    )
    shutil.copytree(origin.root, tmp_path / "bundle")
    copy = Bundle(tmp_path / "bundle")
    text = f"{own} That is what Widow Perpetua Zimtstern always said of her bakery in Quedlinburg."
    write_observation(copy, "open-generations", pa.table({"id": ["g0"]}), pa.table({"generated": [text]}))
    guard = Guard(copy.root)
    assert not found(guard, f"<p>{own}</p>")
    assert found(guard, text[len(own) - 30 :])


def test_a_set_phrase_of_the_policy_is_no_leak_and_a_quoted_record_is(tmp_path, origin):
    shutil.copytree(origin.root, tmp_path / "bundle")
    quoted = SECRET[:32]
    (tmp_path / "bundle" / "policy.yaml").write_text(f"reason: {quoted}\n")
    assert not found(Guard(tmp_path / "bundle"), f"<p>{quoted}</p>")
    (tmp_path / "bundle" / "policy.yaml").write_text(f"reason: {SECRET}\n")
    assert found(Guard(tmp_path / "bundle"), f"<p>{SECRET}</p>")


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    gap = np.full((left.shape[0], 4, 3), 255, dtype=np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def pixelated(image: np.ndarray) -> np.ndarray:
    from auditor.observers.pictures import masked

    return masked(image)


def embedded(content: bytes) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(content).decode()}">'


PICTURES = {
    "byte for byte": encoded(picture(1)),
    "encoded again": encoded(picture(1), "BMP"),
    "as jpeg": encoded(smooth(2), "JPEG"),
    "larger": encoded(picture(1).repeat(3, axis=0).repeat(3, axis=1)),
    "beside another": encoded(beside(picture(7), picture(1))),
    "in a page": embedded(encoded(picture(1))).encode(),
    "in json": json.dumps({"picture": base64.b64encode(encoded(picture(1))).decode()}).encode(),
    "in parquet": parquet(pa.table({"picture": [b"", encoded(picture(1))]})),
}


@pytest.mark.parametrize("case", PICTURES)
def test_restricted_pictures_are_found(guard, case):
    leaks = found(guard, PICTURES[case])
    assert leaks
    assert leaks[0].record == ("i1" if case == "as jpeg" else "i0")
    assert "a picture" in leaks[0].described()


def test_a_restricted_picture_is_found_in_a_pdf(guard):
    assert any("picture" in leak.where for leak in found(guard, pdf(embedded(encoded(picture(1))))))


def test_masked_flat_and_other_pictures_are_left_alone(guard, origin):
    assert not found(guard, encoded(beside(pixelated(picture(1)), pixelated(smooth(2, 32)))))
    assert not found(guard, encoded(np.full((32, 32, 3), 200, dtype=np.uint8)))
    assert not found(guard, encoded(picture(11)))
    assert not found(Guard(origin.root, pictures=False), encoded(picture(1)))


def test_what_was_scanned_is_counted(guard):
    seen = guard.look([Artefact("b.json", b'{"a": "x"}'), Artefact("a.png", encoded(picture(11)))])
    assert [row.path for row in seen.redaction.scanned] == ["a.png", "b.json"]
    assert seen.redaction.scanned[0].pictures == 1
    kept = seen.redaction.protected
    assert (kept.pictures, kept.texts >= 9, kept.too_short >= 1) == (3, True, True)
    assert seen.redaction.plain()["rule"] == {"run": 24, "new": 12, "value": 12}


def test_parts_that_cannot_be_read_are_named(guard):
    locked = bytearray(zipped("a.txt", b"x" * 50))
    locked[6] |= 1
    central = locked.index(b"PK\x01\x02")
    locked[central + 8] |= 1
    assert "encrypted" in guard.look([Artefact("a.zip", bytes(locked))]).redaction.scanned[0].unread[0]


def test_an_id_that_occurs_in_a_text_is_a_name_and_an_id_that_is_the_text_is_none(tmp_path, origin):
    shutil.copytree(origin.root, tmp_path / "bundle")
    copy = Bundle(tmp_path / "bundle")
    address = "https://example.org/minutes-of-the-harbour-board/1987"
    write_observation(
        copy, "prompt-scores", pa.table({"id": [address]}), pa.table({"caption": [f"See {address} of spring."]})
    )
    public = next(copy.observations.glob("*/shard-00000.parquet"))
    assert not found(Guard(copy.root), f"<td>{address}</td>")
    assert not Guard(copy.root).look([Artefact(public.name, public)]).leaks
    write_observation(copy, "open-generations", pa.table({"id": [OTHER]}), pa.table({"generated": [OTHER]}))
    assert found(Guard(copy.root), f"<td>{OTHER}</td>")
    leaking = [path for path in copy.observations.glob("*/*.parquet") if pq.read_table(path)["id"][0].as_py() == OTHER]
    assert Guard(copy.root).look([Artefact("shard", leaking[0])]).leaks


def test_what_everybody_has_anyway_can_be_named(origin):
    assert not found(Guard(origin.root, known=[SECRET]), PART)
    assert found(Guard(origin.root, known=[OTHER]), PART)
