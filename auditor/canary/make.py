"""Draws secrets and flips the coins that decide which are planted."""

from __future__ import annotations

import hashlib
import secrets as system_random
from typing import TYPE_CHECKING

from auditor.core.canary import HOLE, Canary, CanaryFormat, CanarySet
from auditor.core.seeds import generator
from auditor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

LARGEST_SEED = 2**53
"""What every reader of JSON holds exactly."""
LEAST_SPACE = 1000
"""A smaller space cannot show more than ten bits."""


def make(
    formats: Sequence[CanaryFormat], tiers: Sequence[int], per_tier: int, seed: int, *, nonce: bytes | None = None
) -> CanarySet:
    """Return canaries whose secrets are uniform and all different, with independent coin flips.

    Args:
        formats: Formats; the canaries of a tier are spread over them evenly.
        tiers: How often the planted canaries of each tier are planted.
        per_tier: Canaries in each tier; a fair coin plants about half.
        seed: Seed of the secrets and the coin flips.
        nonce: 32 bytes that keep the commitment from being guessed; None: drawn from the system.

    Raises:
        DataError: A format has no hole, too small a space or two spellings of one secret; a tier is not positive or
            stands twice; the seed is out of range.
    """
    _check(formats, tiers, per_tier)
    if not 0 <= seed < LARGEST_SEED:
        msg = f"the seed {seed} is not a whole number from 0 up to 2^53"
        raise DataError(msg, hint="Draw a smaller one.")
    rng = generator(seed, "canaries")
    coins = generator(seed, "coins")
    used: dict[str, set[str]] = {form.id: set() for form in formats}
    canaries: list[Canary] = []
    for tier in tiers:
        for _ in range(per_tier):
            form = formats[len(canaries) % len(formats)]
            secret = _new_secret(form, used[form.id], rng)
            canaries.append(
                Canary(
                    id=f"{form.id}-{len(canaries):04d}",
                    format=form.id,
                    secret=secret,
                    repetitions=tier,
                    planted=bool(coins.integers(2)),
                )
            )
    drawn = nonce if nonce is not None else system_random.token_bytes(32)
    draft = CanarySet(
        seed=seed,
        formats=tuple(formats),
        canaries=tuple(canaries),
        nonce=hashlib.sha256(drawn).hexdigest(),
        commitment="0" * 64,
    )
    return draft.model_copy(update={"commitment": draft.expected_commitment()})


def _new_secret(form: CanaryFormat, used: set[str], rng: np.random.Generator) -> str:
    while True:
        secret = form.secret(tuple(int(place) for place in rng.integers(len(form.symbols), size=form.length)))
        if secret not in used:
            used.add(secret)
            return secret


def _check(formats: Sequence[CanaryFormat], tiers: Sequence[int], per_tier: int) -> None:
    if not formats or not tiers:
        msg = "canaries need at least one format and one tier"
        raise DataError(msg, hint="Name formats and tiers, for example --tiers 1,4,16,64.")
    if per_tier < 1:
        msg = f"{per_tier} canaries per tier are too few"
        raise DataError(msg, hint="Write for example --per-tier 20.")
    if min(tiers) < 1 or len(set(tiers)) != len(tiers):
        msg = f"the tiers {list(tiers)} are not different positive numbers"
        raise DataError(msg, hint="Write for example --tiers 1,4,16,64.")
    if len({form.id for form in formats}) != len(formats):
        msg = "two canary formats have the same id"
        raise DataError(msg, hint="Give every format an id of its own.")
    for form in formats:
        if form.template.count(HOLE) != 1:
            msg = f"canary format '{form.id}': the template must hold {HOLE} exactly once"
            raise DataError(msg, hint=f"Write the secret's place as {HOLE}.")
        if not _is_spelled_once(form):
            msg = f"canary format '{form.id}': two different draws would spell the same secret"
            raise DataError(
                msg, hint="Use different symbols, of one length or with a separator that is in none of them."
            )
        needed = max(LEAST_SPACE, 4 * len(tiers) * per_tier)
        if form.space < needed:
            msg = f"canary format '{form.id}' has only {form.space} secrets; {needed} are needed"
            raise DataError(msg, hint="Make the secret longer or the alphabet larger.")


def _is_spelled_once(form: CanaryFormat) -> bool:
    """Return whether every draw spells another secret, so that secrets are uniform and the space is as large as said."""
    one_length = len({len(symbol) for symbol in form.symbols}) == 1 and form.symbols[0] != ""
    separated = bool(form.separator) and not any(form.separator in symbol for symbol in form.symbols)
    return len(set(form.symbols)) == len(form.symbols) and (one_length or separated)
