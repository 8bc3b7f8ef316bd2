"""Finds what travels with the package: templates and policies, in a checkout or in a wheel."""

from __future__ import annotations

from pathlib import Path

from auditor.errors import AuditorError

_PACKAGE = Path(__file__).resolve().parent.parent


def resource(name: str) -> Path:
    """Return the path of a shipped file or folder.

    Args:
        name: Path below the project's top level, for example `templates/report.html.j2`.

    Raises:
        AuditorError: It is not there: the installation is damaged.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        path = root / name
        if path.exists():
            return path
    msg = f"the shipped file '{name}' is missing beside {_PACKAGE}"
    raise AuditorError(msg, hint="Install memorization-auditor again.")
