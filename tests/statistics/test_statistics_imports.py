from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import auditor.statistics

MODULES = sorted(p.stem for p in Path(auditor.statistics.__file__).parent.glob("*.py") if p.stem != "__init__")


def test_importing_statistics_stays_cheap() -> None:
    """`auditor verify` measures again: it must not wait seconds for scipy.stats."""
    code = "import importlib, sys\n" + "".join(f"importlib.import_module('auditor.statistics.{m}')\n" for m in MODULES)
    code += (
        "print([m for m in ('scipy.stats', 'scipy.optimize', 'pydantic', 'auditor.core', 'torch') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
