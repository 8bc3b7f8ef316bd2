"""Describes where and with what the observations were made."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from auditor import __version__

PACKAGES = (
    "numpy",
    "scipy",
    "pyarrow",
    "torch",
    "transformers",
    "tokenizers",
    "scikit-learn",
    "weasyprint",
    "matplotlib",
    "pyhanko",
)
"""Packages whose version can change a number or a page."""


def describe_environment(*, device: str, created: str, operator: str, command: str) -> dict[str, Any]:
    """Return versions, machine and who asked, as plain JSON.

    Args:
        device: Device the model ran on.
        created: When the audit began, ISO date and time in UTC.
        operator: Who ran it, as the certificate or the command line says.
        command: Command that runs it again.
    """
    return {
        "auditor": __version__,
        "command": command,
        "created": created,
        "device": device,
        "machine": platform.machine(),
        "operator": operator,
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "processors": os.cpu_count() or 0,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "byteorder": sys.byteorder,
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
