"""Tiny models, opened once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tiny_models import opened, save

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM


@pytest.fixture(scope="session")
def with_begin(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return opened(save(tmp_path_factory.mktemp("observed") / "llama", "llama"))


@pytest.fixture(scope="session")
def without_begin(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return opened(save(tmp_path_factory.mktemp("observed") / "gpt2", "gpt2"))


@pytest.fixture(params=["with_begin", "without_begin"])
def model(request: pytest.FixtureRequest) -> CausalLM:
    found: CausalLM = request.getfixturevalue(request.param)
    return found
