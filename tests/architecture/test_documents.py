"""What is promised in the documents is what the code has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.contract.registry import listed

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("init", "plan", "run", "report", "verify", "keygen", "tests", "policies", "clauses", "canary", "statements")


def shown(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "auditor", *arguments, "--help"], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_help_lists_every_command_and_exit_code():
    text = shown()
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", text, re.MULTILINE), command
    for code in range(6):
        assert f"{code} " in text.split("Exit codes")[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    assert len(shown(command)) > 120


def test_every_built_in_test_has_a_page_with_what_it_cannot_say():
    index = (ROOT / "docs/tests/README.md").read_text()
    for item in listed("tests"):
        if item.target.startswith("auditor."):
            page = (ROOT / "docs/tests" / f"{item.name.replace('/', '-')}.md").read_text()
            assert item.name in index
            for head in ("Measures.", "Needs.", "Does not say.", "After a finding.", "Oracles."):
                assert f"**{head}**" in page, (item.name, head)


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/tests/README.md"])
def test_links_lead_somewhere(name):
    path = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert target.startswith("http") or (path.parent / target).exists(), target


def test_no_file_is_too_long_to_read_in_one_sitting():
    for path in sorted((ROOT / "auditor").rglob("*.py")):
        assert path.read_text().count("\n") <= 400, path


def test_no_module_has_a_name_that_says_nothing():
    for path in (ROOT / "auditor").rglob("*.py"):
        assert not re.search(r"util|helper|common|manager|\bbase\b", path.stem), path
