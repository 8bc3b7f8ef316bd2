"""The built-in tests of images pass the conformance kit that third parties run on theirs."""

from __future__ import annotations

from auditor.contract.registry import listed, load
from auditor.testing.conformance import parametrize_with_checks

TESTS = [item.name for item in listed("tests") if item.target.startswith("auditor.battery.diffusion")]


@parametrize_with_checks(*[load("tests", name) for name in TESTS], variants=4)
def test_conformance(check):
    check()
