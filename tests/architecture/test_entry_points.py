"""Every built-in plug-in loads and meets its protocol."""

from __future__ import annotations

import pytest
import test_conformance_images
import test_conformance_language

from auditor.contract.protocol import Adapter, MemorizationTest, Observer
from auditor.contract.registry import listed, load
from auditor.errors import PolicyError

PROTOCOLS = {"tests": MemorizationTest, "observers": Observer, "adapters": Adapter}
BUILT_IN = [(kind, item.name) for kind in PROTOCOLS for item in listed(kind) if item.target.startswith("auditor.")]


@pytest.mark.parametrize(("kind", "name"), BUILT_IN)
def test_it_loads_and_meets_its_protocol(kind, name):
    loaded = load(kind, name)
    assert isinstance(loaded, PROTOCOLS[kind])
    assert loaded.name == name


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(PolicyError) as caught:
        load("tests", "language/exposrue")
    assert "language/exposure" in caught.value.hint


def test_every_built_in_test_is_tried_by_the_conformance_kit():
    tried = [*test_conformance_images.TESTS, *test_conformance_language.TESTS]
    assert sorted(tried) == sorted(name for kind, name in BUILT_IN if kind == "tests")
