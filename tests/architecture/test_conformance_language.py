"""The built-in tests of texts and of their data pass the conformance kit that third parties run on theirs."""

from __future__ import annotations

from auditor.contract.registry import listed, load
from auditor.testing.conformance import parametrize_with_checks

TESTS = [
    item.name
    for item in listed("tests")
    if item.target.startswith(("auditor.battery.language", "auditor.battery.dataset"))
]


# Two alarms among four innocents fail; each test's own file has hundreds of them.
@parametrize_with_checks(
    *[load("tests", name) for name in TESTS], variants=4
)  # two alarms among four fail; hundreds of innocents are in each test's own file
def test_conformance(check):
    check()
