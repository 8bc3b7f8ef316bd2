"""When records that came out are those of confirmed persons: not by chance, and not because anybody knows such texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from auditor.battery.estimates import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CONFIRMED = 1e-3
"""Largest probability with which one test confirms anybody by mistake: the battery's correction does not cover it."""
SMALLEST = 1e-5
"""Smaller probabilities are given as this."""


class Confirmed(NamedTuple):
    """How many persons are confirmed, and how likely chance does that, or does what came out of too few."""

    persons: int = 0
    caveats: tuple[str, ...] = ()


def beyond_chance(
    found: int, members: NDArray[np.generic] | Sequence[str], controls: NDArray[np.generic] | Sequence[str]
) -> Confirmed:
    """Return how many persons are confirmed, of whom something came out while it did of no control person.

    A model that never saw either side may still say what anybody could say, and by chance of members alone. Fewer persons than
    would bring the probability of that to `CONFIRMED` confirm nobody.

    Args:
        found: Members' persons of whom something came out.
        members: The person of each record of the members that was tried.
        controls: The person of each record of the controls that was tried; nothing came out of any.
    """
    if found <= 0 or not len(controls):
        return Confirmed()
    likely = chance(found, _records(members), _records(controls))
    whose = "one person" if found == 1 else f"{found:,} persons"
    said = f"Something of {whose} in the training data came out and of no control person"
    if likely <= CONFIRMED:
        most = percent(max(likely, SMALLEST))
        return Confirmed(
            found, (f"{said}: were both drawn alike, chance does that with a probability of {most} at most.",)
        )
    said = (
        f"{said}. Chance alone does that with a probability of up to {percent(likely)}, and persons are confirmed at "
        f"{percent(CONFIRMED)} or less: look at what came out, or ask a model that never saw it for the same."
    )
    return Confirmed(0, (said,))


def chance(found: int, members: NDArray[np.int64], controls: NDArray[np.int64]) -> float:
    """Return the largest probability that so many members' persons come out and no control person does, of an innocent model.

    Put persons in the order in which they come out as a model says more and more: those that did are the first, so the first k
    are all members'. If the sides are exchangeable this has the probability C(m, k) / C(m + c, k), whatever the model is. If
    members' persons have more records each they are tried more often, and if texts come out independently the next person
    is a member's with the share of the weight that is left to members. A person with n records weighs between one and n, and each
    further record adds no more than the one before it, as where texts come out independently once the person is given: such a
    weight is a mixture of min(n, t). So each step takes the worst t, with the lightest persons gone: never less than exchangeability
    gives, and the same where all have as many records.

    Args:
        found: Members' persons of whom something came out.
        members: Records of each members' person, shape [persons], each at least 1.
        controls: Records of each control person, shape [persons].
    """
    if found <= 0 or found > len(members) or not len(controls):
        return 1.0
    smallest = np.sort(members)
    most = np.unique(np.concatenate([[1], members, controls]))
    weights = np.array([np.minimum(members, t).sum() for t in most], dtype=np.float64)
    others = np.array([np.minimum(controls, t).sum() for t in most], dtype=np.float64)
    left = 1.0
    for size in smallest[:found]:
        left *= float((weights / (weights + others)).max())
        weights -= np.minimum(size, most)
    return left


def _records(persons: NDArray[np.generic] | Sequence[str]) -> NDArray[np.int64]:
    return np.unique(np.asarray(persons).astype(str), return_counts=True)[1].astype(np.int64)
