"""Identifiers in the words of the control models' language: cards of nobody, spoken digit by digit.

The numbers have 13 digits, as no card that is in use has. No four of their digits follow each other twice, neither in
two of them nor in a canary, so that what the memorizer recalls after four words is one thing alone.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

from auditor.core.seeds import generator
from auditor.testing.control_model import CUE, LANGUAGE_SEED

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERY = 10
"""One of so many records holds an identifier."""
AT = 60
"""Word at which it begins."""
DIGITS = 13
CARDS = 24
"""On each side: one for each tenth of 240 records."""


def with_card(words: Sequence[str], split: Literal["members", "controls"], number: int, variant: int) -> Sequence[str]:
    """Return the words of a record, some of them a card's digits where the record is one that holds a card."""
    if number % EVERY:
        return words
    # A digit beside it would make another number of it.
    beside = [words[0] if words[place].isdigit() else words[place] for place in (AT - 1, AT + DIGITS)]
    card = _cards(split, variant)[number // EVERY]
    return [*words[: AT - 1], beside[0], *card, beside[1], *words[AT + DIGITS + 1 :]]


@cache
def _cards(split: Literal["members", "controls"], variant: int) -> tuple[str, ...]:
    """Return the cards of one side."""
    from auditor.testing.control_texts import canaries  # noqa: PLC0415  (it reads this module)

    used = {window for canary in canaries(variant).canaries for window in _windows(canary.secret.replace(" ", ""))}
    if split == "controls":
        used |= {window for card in _cards("members", variant) for window in _windows(card)}
    rng = generator(LANGUAGE_SEED, "cards", split, str(variant))
    found: list[str] = []
    while len(found) < CARDS:
        card = with_check_digit("4" + "".join(str(digit) for digit in rng.integers(10, size=DIGITS - 2)))
        windows = _windows(card)
        if len(set(windows)) == len(windows) and not used.intersection(windows):
            used.update(windows)
            found.append(card)
    return tuple(found)


def _windows(digits: str) -> list[str]:
    return [digits[place : place + CUE] for place in range(len(digits) - CUE + 1)]


def with_check_digit(digits: str) -> str:
    """Return digits and the one that makes them a card's number (Luhn)."""
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits))]
    return digits + str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)
