"""What may be imported when: checked in fresh interpreters, because a linter does not see entry points."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import auditor

HEAVY = (
    "torch",
    "transformers",
    "diffusers",
    "sklearn",
    "scipy.stats",
    "weasyprint",
    "matplotlib",
    "pyhanko",
    "pandas",
)
FRAMEWORKS = ("torch", "transformers", "diffusers")
ROOT = Path(auditor.__file__).parent


def loaded_after(code: str, names: tuple[str, ...]) -> list[str]:
    program = f"import sys\n{code}\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def modules() -> list[str]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        if not {"adapters", "integrations", "_data"} & set(parts) and parts[-1] != "__main__":
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def test_starting_the_command_imports_nothing_heavy():
    assert loaded_after("import auditor.cli.main", (*HEAVY, "numpy", "scipy", "pyarrow", "pydantic", "rich")) == []


def test_no_module_outside_the_adapters_needs_a_framework():
    code = "\n".join(
        [f"sys.modules[{name!r}] = None" for name in FRAMEWORKS] + [f"import {name}" for name in modules()]
    )
    program = f"import sys\n{code}\nprint('imported')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "imported", done.stderr[-800:]


def test_no_module_imports_anything_heavy_at_import():
    assert loaded_after("\n".join(f"import {name}" for name in modules()), HEAVY) == []


def test_this_check_can_fail():
    assert loaded_after("import scipy.stats", HEAVY) == ["scipy.stats"]


def test_listing_tests_imports_none_of_them():
    code = "from auditor.contract.registry import listed\nlisted('tests')"
    assert loaded_after(code, ("auditor.battery", "auditor.observers")) == []


@pytest.mark.parametrize("group", ["tests", "observers", "adapters"])
def test_every_entry_point_is_documented_or_private(group):
    text = (ROOT.parent / "docs" / "tests" / "README.md").read_text() if group == "tests" else ""
    for point in entry_points(group=f"auditor.{group}"):
        if group == "tests" and point.value.startswith("auditor."):
            page = ROOT.parent / "docs" / "tests" / f"{point.name.replace('/', '-')}.md"
            assert page.exists() or point.name in text, f"{point.name} has no page in docs/tests"
