"""Every error this package raises on purpose, and the exit code each one ends the command with.

::

    AuditorError                 5  something inside the tool broke its own rules
    ├── InputError               2  what the user wrote or supplied cannot be used
    │   ├── UsageError           2  the command line itself
    │   ├── PolicyError          2  the policy or a clause catalogue
    │   ├── SubjectError         2  the subject file, its model or its weights
    │   ├── DataError            2  members, controls, canaries or statements
    │   └── KeyMaterialError     2  a key or certificate
    ├── UnsupportedError         -  a test needs what the subject cannot give (becomes a row `not_run`)
    ├── BudgetError              -  a declared budget is spent (becomes a row `not_run`)
    ├── EndpointError            -  a server does not answer as it should (becomes a row `not_run`)
    ├── StorageError             5  disk full, folder read-only
    ├── LeakError                4  what was to be shared holds restricted text or pictures; it is not sealed, not written
    └── IntegrityError           4  a bundle, seal or report does not hold

A message says what happened and where; the hint says what to do about it.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

EXIT_CLEAR = 0
"""Every required outcome is `no_signal`."""
EXIT_SIGNAL = 1
"""At least one outcome is `signal`."""
EXIT_INPUT = 2
"""Usage, policy or subject cannot be used."""
EXIT_UNRESOLVED = 3
"""Finished, with a required outcome `inconclusive`, `invalid` or `not_run`."""
EXIT_INTEGRITY = 4
"""A seal or bundle does not hold."""
EXIT_INTERNAL = 5
"""The tool itself failed."""


class AuditorError(Exception):
    """The root of all errors raised on purpose.

    Args:
        message: What happened and where (file and line if there is one).
        hint: What the user can do about it.
    """

    exit_code: ClassVar[int] = EXIT_INTERNAL

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep the message and the hint apart: the first is a fact, the second is advice."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(AuditorError):
    """What the user supplied cannot be used as it is."""

    exit_code = EXIT_INPUT


class UsageError(InputError):
    """The command line asks for something that does not exist or does not go together."""


class PolicyError(InputError):
    """The policy or a clause catalogue is wrong."""


class SubjectError(InputError):
    """The subject file, the model folder or its weights are wrong."""


class DataError(InputError):
    """Members, controls, canaries or statements are wrong."""


class KeyMaterialError(InputError):
    """A key or certificate is missing, unreadable, of the wrong kind or out of its dates."""


class UnsupportedError(AuditorError):
    """A test needs something that the subject cannot give; the plan records it as `not_run`."""


class BudgetError(AuditorError):
    """A declared budget is spent; the plan records what was left undone as `not_run`."""


class EndpointError(AuditorError):
    """A server does not answer, or not as it should; what it answered before is kept."""


class StorageError(AuditorError):
    """The output folder cannot take what has to be written."""


class LeakError(AuditorError):
    """What was to be shared holds restricted text or pictures; the message says where, and never what."""

    exit_code = EXIT_INTEGRITY


class IntegrityError(AuditorError):
    """A bundle, seal or report does not hold."""

    exit_code = EXIT_INTEGRITY


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the nearest known word, or lists what is known.

    Args:
        word: What the user wrote.
        known: The words that would have been right.
    """
    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    if near:
        return f"Did you mean '{near[0]}'?"
    return f"Known: {', '.join(choices)}." if choices else "None are known."
