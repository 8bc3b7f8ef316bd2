"""Spells a canary format in tokens: what stands before the secret, each symbol at each place, what stands after it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.core.canary import HOLE
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from auditor.core.canary import CanaryFormat
    from auditor.subjects.capability import OpenModel

Tokens = tuple[int, ...]
MOST_PAIRS = 4096
"""Neighbouring symbols whose tokens are checked; of more pairs a random part is."""
RANDOM_SECRETS = 512
"""Random secrets whose tokens are checked."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """A format in tokens: every secret is `head`, one piece for each place, `tail`, whatever its symbols."""

    head: NDArray[np.int32]
    pieces: tuple[tuple[Tokens, ...], ...]
    """Tokens of each symbol at each place."""
    tail: Tokens
    alphabet: NDArray[np.int32]
    """Every token that stands in a piece."""

    steps: tuple[dict[Tokens, dict[int, int]], ...]
    """By place and the tokens of a symbol so far: what can come next, and the symbol it completes, -1 for none."""

    def path(self, symbols: Sequence[int]) -> Tokens:
        """Return the tokens of the first symbols of a secret."""
        return tuple(itertools.chain.from_iterable(self.pieces[place][symbol] for place, symbol in enumerate(symbols)))


def spell(model: OpenModel, form: CanaryFormat, secrets: Sequence[str], seed: int) -> Spelling:
    """Return a format in the model's tokens, checked on every pair of neighbours, random secrets and the canaries'.

    Boundaries are put before a space, where tokenizers put them.

    Args:
        model: The model.
        form: The format.
        secrets: Secrets of the canaries.
        seed: Chooses what is checked.

    Raises:
        UnsupportedError: The tokens of a secret are not those of its symbols one after the other, or nothing stands before it.
    """
    lead = () if model.begin is None else (model.begin,)
    before = form.template.partition(HOLE)[0]
    starts = [before.rstrip(), *(before + form.secret((0,) * place) for place in range(1, form.length + 1))]
    first = list(_changed(form))
    whole = _encoded(model, form, first)
    base = whole[0]
    bounds = []
    for ids in model.encode(starts):
        bounds.append(len(ids))
        if tuple(ids.tolist()) != base[: len(ids)]:
            raise _not_by_symbol(form, form.secret((0,) * form.length))
    head, tail = base[: bounds[0]], base[bounds[-1] :]
    if not lead + head:
        msg = f"canary format '{form.id}': no token stands before the secret, so its first one has no probability"
        raise UnsupportedError(msg, hint="Let some words stand before {secret} in the template.")
    pieces: list[list[Tokens]] = [[] for _ in range(form.length)]
    for number, (row, tokens) in enumerate(zip(first, whole, strict=True)):
        place = number // len(form.symbols)
        start, stop = bounds[place], bounds[place + 1]
        piece = tokens[start : len(tokens) - (len(base) - stop)]
        if not piece or base[:start] + piece + base[stop:] != tokens or piece in pieces[place]:
            raise _not_by_symbol(form, form.secret(row))
        pieces[place].append(piece)
    found = tuple(tuple(row) for row in pieces)
    spelling = Spelling(
        head=np.array(lead + head, dtype=np.int32),
        pieces=found,
        tail=tail,
        alphabet=np.unique(np.array([token for row in found for piece in row for token in piece], dtype=np.int32)),
        steps=tuple(_steps_of(row) for row in found),
    )
    checked = list(_neighbours(form, seed))
    for row, tokens in zip(checked, _encoded(model, form, checked), strict=True):
        if head + spelling.path(row) + tail != tokens:
            raise _not_by_symbol(form, form.secret(row))
    for secret, ids in zip(secrets, model.encode([form.fill(secret) for secret in secrets]), strict=True):
        if head + spelling.path(symbols_of(form, secret)) + tail != tuple(ids.tolist()):
            raise _not_by_symbol(form, "the secret of a canary")
    return spelling


def symbols_of(form: CanaryFormat, secret: str) -> tuple[int, ...]:
    """Return the symbol numbers of a secret, from left to right; symbols have one length or a separator between them."""
    numbers = {symbol: number for number, symbol in enumerate(form.symbols)}
    if form.separator:
        return tuple(numbers[part] for part in secret.split(form.separator))
    width = len(form.symbols[0])
    return tuple(numbers[secret[at : at + width]] for at in range(0, len(secret), width))


def _encoded(model: OpenModel, form: CanaryFormat, rows: Sequence[Sequence[int]]) -> list[Tokens]:
    texts = [form.fill(form.secret(tuple(row))) for row in rows]
    return [tuple(ids.tolist()) for ids in model.encode(texts)]


def _changed(form: CanaryFormat) -> Iterator[tuple[int, ...]]:
    """Yield the first secret of the space with every symbol at every place; the very first is that secret itself."""
    for place in range(form.length):
        for symbol in range(len(form.symbols)):
            row = [0] * form.length
            row[place] = symbol
            yield tuple(row)


def _neighbours(form: CanaryFormat, seed: int) -> Iterator[tuple[int, ...]]:
    """Yield random secrets, some with every pair of symbols next to each other."""
    rng = generator(seed, "spelling", form.id)
    size = len(form.symbols)
    pairs = [(place, one, two) for place in range(form.length - 1) for one in range(size) for two in range(size)]
    if len(pairs) > MOST_PAIRS:
        pairs = [pairs[number] for number in sorted(rng.choice(len(pairs), MOST_PAIRS, replace=False).tolist())]
    for row, pair in itertools.zip_longest(
        rng.integers(size, size=(len(pairs) + RANDOM_SECRETS, form.length)).tolist(), pairs
    ):
        if pair is not None:
            row[pair[0] : pair[0] + 2] = pair[1:]
        yield tuple(row)


def _steps_of(pieces: Sequence[Tokens]) -> dict[Tokens, dict[int, int]]:
    steps: dict[Tokens, dict[int, int]] = {}
    for symbol, piece in enumerate(pieces):
        for at, token in enumerate(piece):
            ends = at + 1 == len(piece)
            below = steps.setdefault(piece[:at], {})
            below[token] = symbol if ends else below.get(token, -1)
    return steps


def _not_by_symbol(form: CanaryFormat, which: str) -> UnsupportedError:
    msg = f"canary format '{form.id}': the tokens of {which!r} are not those of its symbols one after the other"
    hint = (
        "Plant canaries of a format whose symbols this tokenizer keeps apart, such as digits with a space between them."
    )
    return UnsupportedError(msg, hint=hint)
