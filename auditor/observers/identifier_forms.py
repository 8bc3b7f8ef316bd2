"""Identifiers that nobody was seen with, in the form of a given one: what the true one is ranked among."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from auditor.observers.identifier_register import normal
from auditor.observers.identifiers import (
    is_email,
    is_iban,
    is_ip_address,
    is_national_id,
    is_payment_card,
    is_phone,
    mod97,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

    from auditor.observers.identifier_register import Register

KEPT = {"phone": 3, "payment_card": 6, "iban": 2, "national_id": 0}
"""Letters and digits at the beginning that stay: they say the country or the issuer, not the person."""
RULES: dict[str, Callable[[str], bool]] = {
    "email": is_email,
    "phone": is_phone,
    "iban": is_iban,
    "payment_card": is_payment_card,
    "ip_address": is_ip_address,
    "national_id": is_national_id,
}
TRIES = 60
"""Times that as many are drawn as are wanted, at most."""
FEWEST_PIECES = 8
"""Names before the @ from which others are put together; of fewer, letters are drawn."""


def candidates(
    kind: str, value: str, owner: tuple[str, str], count: int, known: Register, rng: np.random.Generator
) -> list[str]:
    """Return other identifiers of the same type and form, all different, none of them trained on.

    Up to half are controls' identifiers, written as the true one is; the others stand nowhere in the data.

    Args:
        kind: Type of the true identifier.
        value: The true identifier as it is written.
        owner: Side and person it stands with: none of that person's is a candidate.
        count: How many are wanted; where the form has too few there are fewer.
        known: What stands in the data.
        rng: Decides which.
    """
    used = {normal(kind, value)}
    found: list[str] = []

    def take(some: Iterator[str], most: int) -> None:
        for one in some:
            if len(found) >= most:
                return
            plain = normal(kind, one)
            if plain not in used:
                used.add(plain)
                found.append(one)

    take(_of_controls(kind, value, owner, known, rng), count // 2)
    rule = RULES.get(kind)
    fresh = (
        one
        for one in _made_up(kind, value, TRIES * count, known, rng)
        if not known.is_known(kind, normal(kind, one)) and (rule is None or rule(one))
    )
    take(fresh, count)
    return found


def _of_controls(
    kind: str, value: str, owner: tuple[str, str], known: Register, rng: np.random.Generator
) -> Iterator[str]:
    """Yield controls' identifiers that no member has, those nearest in length first, in the form of the true one."""
    some = [
        one
        for one in known.known
        if one.kind == kind
        and all(side == "controls" for side, _ in one.persons)
        and owner not in one.persons
        and (kind, one.plain) not in known.others
    ]
    order = rng.permutation(len(some))
    for number in sorted(order.tolist(), key=lambda number: abs(len(some[number].value) - len(value))):
        written = written_as(some[number].value, value) if kind not in {"email", "ip_address"} else some[number].value
        if written and abs(len(written) - len(value)) <= max(3, len(value) // 3):
            yield written


def written_as(value: str, form: str) -> str:
    """Return the letters and digits of an identifier between the marks of another; "" where their numbers differ."""
    plain = re.sub(r"[^0-9A-Za-z]", "", value)
    if len(plain) != sum(mark.isalnum() for mark in form):
        return ""
    letters = iter(plain)
    return "".join(next(letters) if mark.isalnum() else mark for mark in form)


def _made_up(kind: str, value: str, count: int, known: Register, rng: np.random.Generator) -> Iterator[str]:
    if kind == "email":
        yield from _addresses(value, count, known, rng)
    elif kind == "ip_address" and ":" not in value:
        sizes = [len(part) for part in value.split(".")]
        for _ in range(count):
            yield ".".join(str(int(rng.integers((0, 10, 100)[size - 1], (10, 100, 256)[size - 1]))) for size in sizes)
    else:
        kept = _kept(kind, value)
        for _ in range(count):
            yield completed(kind, drawn_like(value, kept, rng))


def _kept(kind: str, value: str) -> int:
    """Return how many letters and digits at the beginning stay."""
    if kind == "national_id" and re.match(r"\d\d\.", value):
        return 6  # a day of birth
    if kind == "national_id" and sum(mark.isalnum() for mark in value) == 15:
        return 5  # sex, year and month of birth
    if kind == "national_id" and value[:6].isalpha():
        return 11  # letters of the name, and birth
    return KEPT.get(kind, 0)


def drawn_like(value: str, kept: int, rng: np.random.Generator) -> str:
    """Return other digits where digits stand and other letters where letters stand, from the first that is not kept."""
    found, seen = [], 0
    hexadecimal = ":" in value
    for mark in value:
        seen += mark.isalnum()
        if not mark.isalnum() or seen <= kept:
            found.append(mark)
        elif hexadecimal:
            found.append("0123456789abcdef"[int(rng.integers(16))])
        elif mark.isdigit():
            found.append(str(int(rng.integers(10))))
        else:
            letter = chr(ord("a") + int(rng.integers(26)))
            found.append(letter.upper() if mark.isupper() else letter)
    return "".join(found)


def completed(kind: str, value: str) -> str:
    """Return the identifier with the check digits or letter that its rule asks for, if there are such."""
    if kind == "iban":
        plain = value.replace(" ", "")
        check = 98 - mod97(plain[4:] + plain[:2] + "00")
        return written_as(f"{plain[:2]}{check:02d}{plain[4:]}", value)
    ends: Sequence[str] = ()
    if kind == "payment_card":
        ends = tuple("0123456789")
    elif kind == "national_id":
        ends = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ") if value[-1].isalpha() else tuple(f"{n:02d}" for n in range(100))
    return next(
        (value[: len(value) - len(end)] + end for end in ends if RULES[kind](value[: len(value) - len(end)] + end)),
        value,
    )


def _addresses(value: str, count: int, known: Register, rng: np.random.Generator) -> Iterator[str]:
    """Yield addresses at the same domain, put together from names of controls' addresses."""
    local, _, domain = value.partition("@")
    marks = re.split(r"([._+%-])", local)
    pieces = sorted(
        {
            piece
            for one in known.known
            if one.kind == "email" and all(side == "controls" for side, _ in one.persons)
            for piece in re.split(r"[._+%-]", one.plain.partition("@")[0])
            if len(piece) > 1
        }
    )
    for _ in range(count):
        parts = []
        for place, mark in enumerate(marks):
            near = [piece for piece in pieces if abs(len(piece) - len(mark)) <= 2] if len(mark) > 1 else []
            if place % 2 or not mark:
                parts.append(mark)
            elif len(near) >= FEWEST_PIECES:
                parts.append(near[int(rng.integers(len(near)))])
            else:
                parts.append(drawn_like(mark, 0, rng))
        yield f"{''.join(parts)}@{domain}"
