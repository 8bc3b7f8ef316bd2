"""When records that came out are those of confirmed persons: not by chance, and not because anybody knows such texts."""

from __future__ import annotations

from math import exp, lgamma

CONFIRMED = 1e-3
"""Largest probability of confirming anybody, if members and controls are exchangeable: the battery's correction does not cover it."""


def beyond_chance(found: int, persons: int, others: int) -> int:
    """Return how many persons are confirmed, of whom something came out while it did of no control person.

    A model that never saw either side may still say what anybody could say. If the sides are exchangeable, the k persons whose
    texts come out are all members' with probability C(m, k) / C(m + c, k), whatever the model is: fewer than would bring
    this to `CONFIRMED` confirm nobody.

    Args:
        found: Members' persons of whom something came out.
        persons: Persons among the members that were tried.
        others: Persons among the controls that were tried, of none of whom anything came out.
    """
    if found <= 0 or others <= 0 or found > persons:
        return 0
    return found if exp(_log_choose(persons, found) - _log_choose(persons + others, found)) <= CONFIRMED else 0


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
