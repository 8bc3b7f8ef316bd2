"""Whose identifiers stand in the data: every person's, of members and of as many controls, by one rule on both sides."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from auditor.observers.corpora import compared_documents
from auditor.observers.identifiers import Found
from auditor.observers.recognizers import finder_of

if TYPE_CHECKING:
    from auditor.contract.protocol import OpenedSubject
    from auditor.observers.recognizers import Recognizers

Side = Literal["members", "controls"]

_ROLES_LISTED = (
    "abuse accounts admin administrator billing bounce contact customercare customerservice daemon enquiries feedback ftp "
    "hello help helpdesk hostmaster hr info inquiries jobs legal mail mailer-daemon marketing media news newsletter noc "
    "no-reply noreply donotreply office orders postmaster press privacy root sales security service spam subscribe support "
    "team unsubscribe usenet uucp webmaster www"
)
ROLES = frozenset(_ROLES_LISTED.split())
"""Names before the @ that mean an office and not a person (RFC 2142 and what is common besides)."""

_PUBLIC_LISTED = (
    "8.8.8.8 8.8.4.4 1.1.1.1 1.0.0.1 9.9.9.9 208.67.222.222 208.67.220.220 4.2.2.1 4.2.2.2 "
    "4111111111111111 4242424242424242 4012888888881881 4000056655665556 5555555555554444 5105105105105100 "
    "5200828282828210 378282246310005 371449635398431 6011111111111117 6011000990139424 30569309025904 38520000023237 "
    "3530111333300000 3566002020360505 DE89370400440532013000 GB82WEST12345698765432 GB29NWBK60161331926819 "
    "FR1420041010050500013M02606 NL91ABNA0417164300 CH9300762011623852957 ES9121000418450200051332 12345678Z"
)
PUBLIC = frozenset(_PUBLIC_LISTED.split())
"""Values that manuals print: name servers, cards for trying out, accounts of examples."""


def normal(kind: str, value: str) -> str:
    """Return what of an identifier does not depend on how it is written: equal for equal identifiers of a type."""
    if kind == "email":
        return value.lower()
    if kind == "ip_address":
        try:
            return ipaddress.ip_address(value).compressed
        except ValueError:
            return value
    plain = re.sub(r"[^0-9A-Za-z]", "", value).upper()
    if kind == "phone" and not value.startswith("+"):
        return "1" + plain
    return plain


def is_public(kind: str, value: str) -> bool:
    """Return whether an identifier is of an office, or one that manuals print."""
    plain = normal(kind, value)
    if kind == "email":
        local = plain.partition("@")[0]
        return local.partition("+")[0] in ROLES or re.sub(r"[._-]", "", local) in ROLES
    return plain in PUBLIC


def is_given(kind: str, value: str, prompt: str) -> bool:
    """Return whether a text already says the identifier, or the name that an e-mail address is made of."""
    if kind == "email":
        lower = prompt.lower()
        parts = [part for part in re.split(r"[._+%-]", value.partition("@")[0].lower()) if len(part) > 1]
        return value.lower() in lower or (bool(parts) and all(part in lower for part in parts))
    if kind == "ip_address":
        plain = re.sub(r"[^0-9A-Za-z.:]", "", prompt).lower()
        return value.lower() in plain or normal(kind, value).lower() in plain
    plain, number = re.sub(r"[^0-9A-Za-z]", "", prompt).upper(), normal(kind, value)
    if kind == "phone" and number.startswith("1"):  # in North America the country may be left out
        number = number[1:]
    return number in plain


class Known(NamedTuple):
    """An identifier that stands in a compared record."""

    kind: str
    value: str
    """As it was written first."""
    plain: str
    persons: frozenset[tuple[Side, str]]
    """Compared persons, documents or records it stands with."""
    unique: bool
    """It stands with one person alone, is not an office's and not one that manuals print."""


@dataclass(frozen=True, slots=True)
class Row:
    """One compared record."""

    id: str
    cluster: str
    side: Side
    copies: int
    source: str
    found: tuple[tuple[Found, int], ...]
    """Its identifiers in the order of the text, each with its number."""


@dataclass(frozen=True, slots=True)
class Register:
    """The identifiers of the data.

    Args:
        rows: Compared records, members first.
        known: Identifiers by number.
        numbers: Number by type and normal form.
        others: Numbers of the persons among the other members, by type and normal form.
        finder: Finds identifiers in a text as those of the data were found.
    """

    rows: list[Row]
    known: list[Known]
    numbers: dict[tuple[str, str], int]
    others: dict[tuple[str, str], set[int]]
    finder: Recognizers

    def other_person(self, kind: str, value: str) -> int:
        """Return the number of the one other member whose identifier it is, -1 if it is nobody's, several's or public."""
        key = (kind, normal(kind, value))
        if key in self.numbers or len(held := self.others.get(key, set())) != 1 or is_public(kind, value):
            return -1
        return next(iter(held))

    def is_known(self, kind: str, plain: str) -> bool:
        """Return whether an identifier stands anywhere in the data."""
        return (kind, plain) in self.numbers or (kind, plain) in self.others


def register(opened: OpenedSubject, seed: int, documents: int | None, recognizers: str) -> Register:
    """Return the identifiers of the data, found on first use and shared by all that ask in this audit.

    As many members are compared as controls; the other members are looked through, too: what stands there was trained on.

    Args:
        opened: The subject.
        seed: Decides which records are compared; samples of one seed are nested.
        documents: Most records of each side that are compared; None: as many as the smaller side has.
        recognizers: `patterns` or `presidio`.

    Raises:
        UnsupportedError: There are no controls, or Presidio is asked for and not installed.
    """
    count = compared_documents(opened.facts, documents)
    key = f"identifiers {count} {seed} {recognizers}"
    return opened.remember(key, lambda: _made(opened, seed, count, finder_of(recognizers)))


def _made(opened: OpenedSubject, seed: int, count: int, finder: Recognizers) -> Register:
    numbers: dict[tuple[str, str], int] = {}
    firsts: list[tuple[str, str, str]] = []
    persons: list[set[tuple[Side, str]]] = []
    rows: list[Row] = []
    sides: tuple[Side, ...] = ("members", "controls")
    for side in sides:
        for record in opened.records(side).sample(count, seed, 0, count):
            listed = []
            for one in finder.find(record.text):
                plain = normal(one.type, one.value)
                number = numbers.setdefault((one.type, plain), len(numbers))
                if number == len(persons):
                    firsts.append((one.type, one.value, plain))
                    persons.append(set())
                persons[number].add((side, record.cluster))
                listed.append((one, number))
            rows.append(Row(record.id, record.cluster, side, record.copies, record.source, tuple(listed)))
    names: dict[str, int] = {}
    others = _others(opened, seed, {row.id for row in rows if row.side == "members"}, finder, names)
    known = []
    for (kind, value, plain), held in zip(firsts, persons, strict=True):
        own = {names[name] for side, name in held if side == "members" and name in names}
        alone = len(held) == 1 and others.get((kind, plain), own) <= own
        unique = alone and not is_public(kind, value)
        known.append(Known(kind, value, plain, frozenset(held), unique))
    return Register(rows, known, numbers, others, finder)


def _others(
    opened: OpenedSubject, seed: int, compared: set[str], finder: Recognizers, names: dict[str, int]
) -> dict[tuple[str, str], set[int]]:
    """Return whose identifiers stand in the members that are not compared, and number these persons in `names`."""
    members = opened.records("members")
    found: dict[tuple[str, str], set[int]] = {}
    if len(members) <= len(compared):
        return found
    for record in members.sample(None, seed, 0, len(members)):
        if record.id not in compared:
            for one in finder.find(record.text):
                person = names.setdefault(record.cluster, len(names))
                found.setdefault((one.type, normal(one.type, one.value)), set()).add(person)
    return found
