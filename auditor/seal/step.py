"""One step of a verification: what was checked, whether it holds, what it needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import AuditorError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN = 5
"""Problems named in one line; the rest is counted."""


class Step(NamedTuple):
    """One step of a verification."""

    number: int
    name: str
    held: bool
    detail: str
    needs: str


def checked(number: int, name: str, needs: str, check: Callable[[], str]) -> Step:
    """Return a step that holds with what the check says, or does not hold with why it raised."""
    try:
        return Step(number, name, True, one_line(check()), needs)
    except AuditorError as error:
        return Step(number, name, False, one_line(error.message), needs)
    except Exception as error:  # noqa: BLE001  (a hostile file can break a reader in any way; none of them holds)
        return Step(number, name, False, one_line(f"cannot be checked ({type(error).__name__}: {error})"), needs)


def one_line(text: str) -> str:
    """Return a text on one line: a file name in a hostile bundle may hold anything a terminal would obey."""
    shown = "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)
    return shown if len(shown) <= 2000 else shown[:2000] + " ..."


def refuse(reason: str) -> Callable[[], str]:
    """Return a check that does not hold, for that reason."""

    def check() -> str:
        raise IntegrityError(reason)

    return check


def some(items: list[str]) -> str:
    """Return the first items on one line, and how many more there are."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return "; ".join(items[:SHOWN]) + more
