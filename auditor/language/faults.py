"""Tells what is wrong with a translation: a lost value, another number, other markup, a word that no report may say."""

from __future__ import annotations

import re
from collections import Counter

from auditor.language.numbers import numbers_in

FORBIDDEN = {
    "de": (
        r"(?:nicht[- ]?)?konform\w*", r"rechtskonform\w*", r"dsgvo[- ]?(?:konform|fest|sicher)\w*", r"anonym(?:e[rnsm]?|isiert\w*)?",
        r"(?:ent|de)personalisiert\w*", r"zertifiziert\w*", r"garantier\w*", r"sicher(?:e[rnsm]?)?", r"unbedenklich\w*",
        r"bestanden", r"besteht\W+(?:den|die|alle)\W+(?:test|prüfung|audit)\w*", r"nullrisiko", r"risikofrei\w*", r"rechtmäßig\w*",
    ),
    "fr": (
        r"(?:non[- ])?conformes?", r"conforme[s]?\W+au\W+rgpd", r"anonymes?", r"anonymisée?s?", r"dépersonnalisée?s?", r"certifiée?s?",
        r"garanti(?:e|s|es|ssent|t)?", r"sûre?s?", r"sécurisée?s?", r"réussi(?:e|s|es|t)?", r"risque\W+(?:zéro|nul)",
        r"sans\W+(?:aucun\W+)?risque",
        r"licites?",
    ),
}  # fmt: skip
"""Words that cannot stand in a conclusion, as `auditor.assess.wording` forbids them in English."""

_PLACES = re.compile(r"\{\d+\}")
_NAMED = re.compile(r"%\((\w+)\)s")
_TAGS = re.compile(r"</?[a-z][^<>]*>")
_WORDS = {
    language: re.compile(r"(?<!\w)(?:" + "|".join(words) + r")(?!\w)", re.IGNORECASE)
    for language, words in FORBIDDEN.items()
}


def faults(message: str, said: str, language: str) -> list[str]:
    """Return what is wrong with a translation, in words; none: it can be used.

    Args:
        message: The English.
        said: The translation.
        language: Of the translation.
    """
    found: list[str] = []
    for what, one, other in (
        ("placeholders", Counter(_PLACES.findall(message)), Counter(_PLACES.findall(said))),
        ("placeholders", Counter(_NAMED.findall(message)), Counter(_NAMED.findall(said))),
        ("markup", Counter(_TAGS.findall(message)), Counter(_TAGS.findall(said))),
        ("numbers", numbers_in(_bare(message), "en"), numbers_in(_bare(said), language)),
    ):
        if one != other:
            lost, more = sorted((one - other).elements()), sorted((other - one).elements())
            found.append(f"other {what}: missing {lost}, too many {more}")
    if said.count('"') != message.count('"'):
        found.append('the sign " stands more or less often: use the quotation marks of the language')
    if said != said.strip() and message == message.strip():
        found.append("white space at its ends")
    if message[:1].isspace() and not said[:1].isspace():
        found.append("the white space before it is lost")
    if "%" in _NAMED.sub("", message).replace("%%", "") and "%" not in said:
        found.append("the sign % is lost")
    return found


def _bare(text: str) -> str:
    return _PLACES.sub(" ", text)


def forbidden(said: str, language: str) -> list[str]:
    """Return the words of a text that no conclusion may hold."""
    return [match.group() for match in _WORDS[language].finditer(said)]
