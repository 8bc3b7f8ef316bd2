"""Masks a text for an exhibit: enough to recognise the record by who holds it, too little to give it away."""

from __future__ import annotations

import unicodedata

SHOWN = 12
"""Most characters shown."""
SHARE = 0.1
"""Largest share of the text shown."""
MASK = "\u2588" * 8
"""Of fixed width: the mask's length says nothing."""


def masked(text: str, tokens: int) -> str:
    """Return the first characters of a text, a mask, and its length in tokens.

    Control characters and marks that turn the direction of writing are left out.
    """
    plain = "".join(" " if letter.isspace() else letter for letter in text)
    plain = "".join(letter for letter in plain if unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
    shown = plain.strip()[: min(SHOWN, int(len(plain) * SHARE))].rstrip()
    return f"{shown}{MASK} ({tokens} tokens)"
