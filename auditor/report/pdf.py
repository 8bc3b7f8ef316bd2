"""Renders the HTML report as a PDF that is PDF/A-3a and PDF/UA-1 at once, with the machine-readable evidence attached."""

from __future__ import annotations

import gc
import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.core.resources import resource
from auditor.errors import StorageError
from auditor.report.glyphs import drawable

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence

SCHEME = "report-font:"
PICTURES = "report-picture:"
RELATIONSHIPS = {"policy.yaml": "Source"}
"""Relationship of an attachment to the report; `Data` where nothing else is said."""
MEDIA = {".json": "application/json", ".yaml": "application/yaml"}

_INSIDE = re.compile(r'src="(data:image/(?:svg\+xml|png);base64,[A-Za-z0-9+/=]*)"')
"""A picture within the page; a text cannot look like one, its quotation marks are escaped."""
_VARIABLE, _USED = re.compile(r"(--[\w-]+):\s*([^;]+);"), re.compile(r"var\((--[\w-]+)\)")
_BREAK_ANYWHERE = "* { break-inside: auto !important; break-before: auto !important; break-after: auto !important }"

_UA = (
    b'<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/"><pdfuaid:part>1</pdfuaid:part></rdf:Description>'
    b'<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/" '
    b'xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">'
    b'<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">'
    b"<pdfaSchema:schema>PDF/UA Universal Accessibility Schema</pdfaSchema:schema>"
    b"<pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>"
    b"<pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>"
    b'<pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource">'
    b"<pdfaProperty:name>part</pdfaProperty:name><pdfaProperty:valueType>Integer</pdfaProperty:valueType>"
    b"<pdfaProperty:category>internal</pdfaProperty:category>"
    b"<pdfaProperty:description>Part of ISO 14289 that the file conforms to</pdfaProperty:description>"
    b"</rdf:li></rdf:Seq></pdfaSchema:property></rdf:li></rdf:Bag></pdfaExtension:schemas></rdf:Description>"
)
"""PDF/UA identification with the extension schema that PDF/A-3 asks for it."""


def render_pdf(html: str, attachments: Mapping[str, bytes], *, created: dt.datetime, identifier: bytes) -> bytes:
    """Return the unsigned PDF.

    Args:
        html: The report, as `render_html` made it.
        attachments: Files to attach, by name.
        created: When the audit began; every date in the file is this one.
        identifier: 16 bytes that name the document.

    Raises:
        StorageError: A system library that WeasyPrint needs is missing.
    """
    with tempfile.TemporaryDirectory() as folder, _own_fonts(Path(folder), created):
        try:
            from weasyprint import CSS, HTML, Attachment
            from weasyprint.text.fonts import FontConfiguration
        except OSError as error:
            msg = f"a system library for PDF is missing ({error})"
            hint = "apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 (macOS: brew install pango)"
            raise StorageError(msg, hint=hint) from error
        naive = created.replace(tzinfo=None)
        attached = [
            Attachment(
                string=content,
                name=name,
                description=f"{name} of the audit bundle",
                created=naive,
                modified=naive,
                relationship=RELATIONSHIPS.get(name, "Data"),
            )
            for name, content in attachments.items()
        ]
        page, pictures = _set_aside(_valued(html))
        fonts, fetcher = FontConfiguration(), _fetcher(pictures)
        faces = resource("templates/pdf-fonts.css").read_text(encoding="utf-8")
        document = HTML(string=drawable(page), base_url=None, url_fetcher=fetcher, media_type="print")

        def written(style: str) -> bytes:
            pdf: bytes = document.write_pdf(
                pdf_variant="pdf/a-3a",
                finisher=_finish,
                pdf_identifier=identifier,
                attachments=attached,
                stylesheets=[CSS(string=style, font_config=fonts, url_fetcher=fetcher)],
                font_config=fonts,
            )
            return pdf

        with _no_collection():
            try:
                return written(faces)
            except AssertionError:  # what may not be broken does not fit a page: break anywhere
                return written(faces + _BREAK_ANYWHERE)


def _valued(html: str) -> str:
    """Return the page with the value in place of every variable of its style: each element would ask for each of them again."""
    before, begin, rest = html.partition("<style>")
    style, end, after = rest.partition("</style>")
    values = dict(_VARIABLE.findall(style.partition("}")[0]))
    return before + begin + _USED.sub(lambda found: values.get(found[1], found[0]), style) + end + after


def _set_aside(html: str) -> tuple[str, list[str]]:
    """Return the page with a short name in place of every picture within it, and the pictures: most letters of a page are theirs."""
    places: dict[str, int] = {}
    page = _INSIDE.sub(lambda found: f'src="{PICTURES}{places.setdefault(found[1], len(places))}"', html)
    return page, list(places)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let no search for unused objects run: a layout makes millions that are all in use, and a fifth of the time went into looking."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _finish(document: Any, pdf: Any) -> None:  # noqa: ANN401, ARG001  (WeasyPrint's types)
    reference = int(pdf.catalog["Metadata"].split()[0])
    stream = pdf.objects[reference]
    stream.stream[0] = stream.stream[0].replace(b"</rdf:RDF>", _UA + b"</rdf:RDF>")


def _fetcher(pictures: Sequence[str]) -> Any:  # noqa: ANN401
    from weasyprint.urls import URLFetcher, URLFetcherResponse

    class OwnFontsOnly(URLFetcher):  # type: ignore[misc]
        """Serves the shipped fonts and pictures inside the page; anything else ends the rendering."""

        def fetch(self, url: str, headers: Any = None) -> Any:  # noqa: ANN401
            if url.startswith(SCHEME):
                name = Path(url.removeprefix(SCHEME)).name
                body = resource(f"templates/fonts/{name}").read_bytes()
                return URLFetcherResponse(url, body, {"Content-Type": "font/ttf"})
            if url.startswith(PICTURES):
                return super().fetch(pictures[int(url.removeprefix(PICTURES))], headers)
            msg = f"the report may not load '{url[:80]}'"
            raise ValueError(msg)

    return OwnFontsOnly(fail_on_errors=True)


@contextmanager
def _own_fonts(folder: Path, created: dt.datetime) -> Iterator[None]:
    """Let the renderer see the shipped fonts alone, and one date: what is installed on a machine must not show."""
    config = folder / "fonts.conf"
    fonts = resource("templates/fonts")
    config.write_text(
        f'<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig><dir>{fonts}</dir>'
        f"<cachedir>{folder / 'cache'}</cachedir></fontconfig>",
        encoding="utf-8",
    )
    wanted = {"FONTCONFIG_FILE": str(config), "SOURCE_DATE_EPOCH": str(int(created.timestamp()))}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
