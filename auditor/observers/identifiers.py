"""Finds structured identifiers of persons in a text: a cheap pattern first, then what makes such an identifier valid.

A check digit, a table of lengths or a numbering plan decides, so that digits made up for something else are seldom taken for
one. What is written freely, such as names and postal addresses, has no such rule and is not looked for.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TYPES = ("email", "phone", "iban", "payment_card", "ip_address", "national_id")
"""The types of identifiers, in the order of the columns."""


class Found(NamedTuple):
    """One identifier in a text."""

    type: str
    value: str
    """As it stands in the text."""
    start: int
    stop: int


_EMAIL = re.compile(
    r"(?<![\w.+%-])[A-Za-z0-9][\w.+%-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![\w@-])"
)
_INTERNATIONAL = re.compile(r"(?<![\w+])\+[1-9](?:[ .-]?\(?\d\)?){6,15}(?![\w-])")
_NORTH_AMERICAN = re.compile(r"(?<![\w+.-])(?:\([2-9]\d\d\) ?|[2-9]\d\d[.-])[2-9]\d\d[.-]\d{4}(?![\w-]|\.\d)")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d\d(?: ?[A-Z0-9]){11,30}(?!\w)")
_CARD = re.compile(r"(?<![\w.,+-])\d(?:[ -]?\d){12,18}(?![\w-]|[.,]\d)")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])")
_NATIONAL = re.compile(
    r"(?<![\w.-])(?:"
    r"(?P<es>[0-9]{8}-?[A-Z])"
    r"|(?P<it>[A-Z]{6}\d\d[A-EHLMPR-T]\d\d[A-Z]\d{3}[A-Z])"
    r"|(?P<be>\d\d\.\d\d\.\d\d-\d{3}\.\d\d)"
    r"|(?P<fr>[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d)"
    r")(?![\w-]|\.\d)"
)

_RESERVED = re.compile(r"(?:^|[.@])(?:example\.(?:com|net|org)|example|invalid|localhost|test|local)$", re.IGNORECASE)
"""Domains that belong to nobody (RFC 2606)."""
_FILES = frozenset(
    {"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "html", "htm", "pdf", "py", "json", "xml", "txt"}
)
"""Ends of file names such as icon@2x.png that look like a domain."""

_LISTED = (
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 "
    "91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 "
    "240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269 290 "
    "291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 380 381 382 383 385 386 387 "
    "389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597 598 599 670 672 673 674 675 676 "
    "677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 850 852 853 855 856 880 886 960 961 962 963 964 965 966 967 "
    "968 970 971 972 973 974 975 976 977 992 993 994 995 996 998"
)
_CODES = frozenset(_LISTED.split())
"""Calling codes of countries; held against libphonenumber in the tests."""

_LENGTHS = (
    "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 "
    "DJ:27 DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 "
    "HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 "
    "MC:27 MD:24 ME:22 MK:19 MN:20 MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 "
    "RO:24 RS:22 RU:33 SA:24 SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 "
    "VA:22 VG:24 XK:20 YE:30"
)
_IBAN_LENGTHS = {row[:2]: int(row[3:]) for row in _LENGTHS.split()}
"""Characters of an IBAN by country; held against the register of python-stdnum in the tests."""

_LATER_VALUES = (2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_ODD_VALUES = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, *_LATER_VALUES),
        strict=True,
    )
)
"""Values of the characters at odd places of a codice fiscale."""


def luhn(digits: str) -> bool:
    """Return whether the last digit is the check digit of those before it (Luhn; ISO/IEC 7812)."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def mod97(text: str) -> int:
    """Return the number that letters and digits spell, letters from A = 10, modulo 97 (ISO 7064)."""
    return int("".join(str(int(letter, 36)) for letter in text)) % 97


def is_email(value: str) -> bool:
    """Return whether the parts are as addresses are, and the domain can belong to somebody."""
    local, _, domain = value.rpartition("@")
    if ".." in local or local.endswith(".") or len(value) > 254 or _RESERVED.search("@" + domain):
        return False
    return domain.rpartition(".")[2].lower() not in _FILES


def is_phone(value: str) -> bool:
    """Return whether a number has a country's calling code and at most the 15 digits of E.164, and is not a fictional one."""
    digits = re.sub(r"\D", "", value)
    if not value.startswith("+"):
        digits = "1" + digits
    if not 8 <= len(digits) <= 15 or not any(digits[:size] in _CODES for size in (1, 2, 3)) or len(set(digits)) < 4:
        return False
    if digits[0] != "1":
        return True
    plan = re.fullmatch(r"1[2-9]\d\d[2-9]\d\d(?:\d{4})", digits)
    return plan is not None and digits[2:4] != "11" and not digits[4:].startswith("55501")


def is_iban(value: str) -> bool:
    """Return whether the length is the country's and the check digits hold (ISO 13616)."""
    plain = value.replace(" ", "")
    return _IBAN_LENGTHS.get(plain[:2]) == len(plain) and mod97(plain[4:] + plain[:4]) == 1


def is_payment_card(value: str) -> bool:
    """Return whether an issuer has numbers of this beginning and length, and the check digit holds."""
    digits = re.sub(r"\D", "", value)
    size, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    issued = (
        (digits[0] == "4" and size in {13, 16, 19})
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and size == 16)
        or (two in {34, 37} and size == 15)
        or ((two in {36, 38, 39} or 300 <= three <= 305) and size == 14)
        or ((four == 6011 or two == 65 or 644 <= three <= 649 or 3528 <= four <= 3589) and size in {16, 19})
        or (two == 62 and 16 <= size <= 19)
    )
    return issued and len(set(digits)) > 2 and luhn(digits)


def is_ip_address(value: str) -> bool:
    """Return whether it is an address that can be reached from anywhere, and so one of somebody."""
    try:
        return ipaddress.ip_address(value).is_global and (":" not in value or value.count(":") > 2)
    except ValueError:
        return False


def is_national_id(value: str) -> bool:
    """Return whether the check of a DNI (ES), codice fiscale (IT), national number (BE) or NIR (FR) holds."""
    found = _NATIONAL.fullmatch(value)
    plain = re.sub(r"[ .-]", "", value)
    if found is None:
        return False
    if found["es"]:
        return "TRWAGMYFPDXBNJZSQVHLCKE"[int(plain[:8]) % 23] == plain[8]
    if found["it"]:
        even = sum(int(letter, 36) - (10 if letter.isalpha() else 0) for letter in plain[1:15:2])
        return chr(ord("A") + (even + sum(_ODD_VALUES[letter] for letter in plain[:15:2])) % 26) == plain[15]
    if found["be"]:
        checks = {97 - int(century + plain[:9]) % 97 for century in ("", "2")}
        return 1 <= int(plain[2:4]) <= 12 and 1 <= int(plain[4:6]) <= 31 and int(plain[9:]) in checks
    department = {"2A": "19", "2B": "18"}.get(plain[5:7], plain[5:7])
    number = int(plain[:5] + department + plain[7:13])
    return 97 - number % 97 == int(plain[13:])


_RULES: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("email", _EMAIL, is_email),
    ("iban", _IBAN, is_iban),
    ("national_id", _NATIONAL, is_national_id),
    ("payment_card", _CARD, is_payment_card),
    ("phone", _INTERNATIONAL, is_phone),
    ("phone", _NORTH_AMERICAN, is_phone),
    ("ip_address", _IPV4, is_ip_address),
    ("ip_address", _IPV6, is_ip_address),
)


def identifiers(text: str) -> list[Found]:
    """Return the identifiers of a text, in order and none inside another; the same value twice counts twice."""
    found: list[Found] = []
    digits = any(letter.isdigit() for letter in text)
    for kind, pattern, valid in _RULES:
        if not ("@" in text if kind == "email" else digits or "::" in text):
            continue
        for start, stop, value in _candidates(kind, pattern, text):
            if valid(value) and all(stop <= other.start or start >= other.stop for other in found):
                found.append(Found(kind, value, start, stop))
    return sorted(found, key=lambda one: one.start)


def _candidates(kind: str, pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int, str]]:
    for match in pattern.finditer(text):
        start, value = match.start(), match.group()
        if kind == "iban" and (length := _IBAN_LENGTHS.get(value[:2])) is not None:
            # Words in capitals may follow: the country says where the number ends.
            ends = [place for place in range(len(value)) if len(value[: place + 1].replace(" ", "")) == length]
            value = value[: ends[0] + 1] if ends else value
        yield start, start + len(value), value
