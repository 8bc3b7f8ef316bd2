"""Finds identifiers in a text by the patterns of this package alone, or by the recognizers of Presidio as well.

Presidio is asked for what it recognises by pattern and check, on the parts of a text where digits, an @ or a long word stand:
it reads about 0.04 MB a second. Its language engine is an empty one, so no language model is needed and none is downloaded.
"""

from __future__ import annotations

import importlib
import logging
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from auditor.errors import UnsupportedError
from auditor.observers.identifiers import (
    TYPES,
    Found,
    identifiers,
    is_email,
    is_iban,
    is_ip_address,
    is_payment_card,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PRESIDIO = {
    "EmailRecognizer": "email",
    "PhoneRecognizer": "phone",
    "IbanRecognizer": "iban",
    "CreditCardRecognizer": "payment_card",
    "IpRecognizer": "ip_address",
    "UsSsnRecognizer": "us_ssn",
    "UsItinRecognizer": "us_itin",
    "UsMbiRecognizer": "us_mbi",
    "UkNinoRecognizer": "uk_nino",
    "NhsRecognizer": "uk_nhs",
    "CryptoRecognizer": "crypto_wallet",
    "MedicalLicenseRecognizer": "medical_license",
    "AuTfnRecognizer": "au_tfn",
    "AuMedicareRecognizer": "au_medicare",
    "CaSinRecognizer": "ca_sin",
    "DeTaxIdRecognizer": "de_tax_id",
    "DeSocialSecurityRecognizer": "de_social_security",
    "EsNieRecognizer": "es_nie",
    "FiPersonalIdentityCodeRecognizer": "fi_identity_code",
    "InAadhaarRecognizer": "in_aadhaar",
    "InPanRecognizer": "in_pan",
    "KrRrnRecognizer": "kr_rrn",
    "PlPeselRecognizer": "pl_pesel",
    "SePersonnummerRecognizer": "se_personnummer",
    "SgFinRecognizer": "sg_fin",
    "TrNationalIdRecognizer": "tr_national_id",
    "ZaIdNumberRecognizer": "za_id_number",
}
"""Recognizers that are asked, and the type that each finds."""
KINDS = (*TYPES, *(kind for kind in PRESIDIO.values() if kind not in TYPES))
"""Every type of identifier; a column says its place here."""
RULES = {"email": is_email, "iban": is_iban, "payment_card": is_payment_card, "ip_address": is_ip_address}
"""Rules that hold for what Presidio finds, too: no private networks, no domains of examples."""
THRESHOLD = 0.4
"""Lowest score of Presidio that counts: below it bare numbers pass."""
NEAR = 80
"""Characters on either side of what could be an identifier that Presidio reads, too: words beside it raise its score."""
_WORTH_READING = re.compile(r"@|\d(?:[ .()/-]?\d){4,}|[A-Za-z0-9]{9,}(?<=\d)|[A-Z]{1,5}\d|\d[A-Z]")


class Recognizers(Protocol):
    """What finds identifiers in a text."""

    def find(self, text: str) -> list[Found]:
        """Return the identifiers of a text, in order and none inside another."""
        ...


class Patterns:
    """The patterns of this package."""

    def find(self, text: str) -> list[Found]:
        """Return the identifiers of a text."""
        return identifiers(text)


class Presidio:
    """The patterns of this package, and Presidio's recognizers where they find nothing."""

    def __init__(self) -> None:
        """Make the analyzer.

        Raises:
            UnsupportedError: Presidio is not installed.
        """
        self._analyzer = _analyzer()

    def find(self, text: str) -> list[Found]:
        """Return the identifiers of a text."""
        found = identifiers(text)
        for start, stop in _parts(text):
            seen = self._analyzer.analyze(text[start:stop], language="en", score_threshold=THRESHOLD)
            # The surest and longest first: what overlaps it is another reading of the same characters.
            for one in sorted(seen, key=lambda one: (-one.score, one.start - one.end, one.start, one.entity_type)):
                first, last = start + one.start, start + one.end
                kind = _KIND_OF.get(one.entity_type)
                rule = RULES.get(kind or "")
                if not kind or (rule is not None and not rule(text[first:last])):
                    continue
                if all(last <= other.start or first >= other.stop for other in found):
                    found.append(Found(kind, text[first:last], first, last))
        return sorted(found, key=lambda one: one.start)


def finder_of(recognizers: str) -> Recognizers:
    """Return what finds identifiers: `patterns`, or `presidio` for both.

    Raises:
        UnsupportedError: Presidio is asked for and not installed.
    """
    return Presidio() if recognizers == "presidio" else Patterns()


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """Yield the parts of a text in which an identifier could stand."""
    start = stop = -1
    for match in _WORTH_READING.finditer(text):
        first, last = max(0, match.start() - NEAR), min(len(text), match.end() + NEAR)
        # A part does not cut a word: half a number could be valid.
        while first > 0 and not text[first - 1].isspace():
            first -= 1
        while last < len(text) and not text[last].isspace():
            last += 1
        if first > stop:
            if stop > 0:
                yield start, stop
            start = first
        stop = max(stop, last)
    if stop > 0:
        yield start, stop


_KIND_OF: dict[str, str] = {}
"""Our type of each of Presidio's entities; filled with the analyzer."""


@cache
def _analyzer() -> Any:  # noqa: ANN401
    try:
        presidio: Any = importlib.import_module("presidio_analyzer")
        engines: Any = importlib.import_module("presidio_analyzer.nlp_engine")
        predefined: Any = importlib.import_module("presidio_analyzer.predefined_recognizers")
        spacy: Any = importlib.import_module("spacy")
        suffixes: Any = importlib.import_module("tldextract")
    except ImportError as error:
        msg = f"identifiers are to be found by Presidio, which is not installed ({error.name})"
        hint = "Install memorization-auditor[personal-data], or ask for `recognizers: patterns`."
        raise UnsupportedError(msg, hint=hint) from error
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    # The list of public suffixes that travels with the package, and no other: nothing is asked of the network.
    suffixes.extract = suffixes.TLDExtract(suffix_list_urls=(), cache_dir=None)

    engine = engines.SpacyNlpEngine()
    engine.nlp = {"en": spacy.blank("en")}
    registry = presidio.RecognizerRegistry(supported_languages=["en"])
    for name, kind in PRESIDIO.items():
        recognizer = getattr(predefined, name)(supported_language="en")
        _KIND_OF.update(dict.fromkeys(recognizer.supported_entities, kind))
        registry.add_recognizer(recognizer)
    return presidio.AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
