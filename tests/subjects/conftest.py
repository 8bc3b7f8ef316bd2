"""One folder for each shape of model, written once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tiny_models import opened, save
from tiny_pipelines import Pipelines

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.subjects.adapters.language_model import CausalLM

SHAPES = ("gpt2", "llama", "neox", "mistral", "gemma2")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {shape: save(base / shape, shape) for shape in SHAPES}


@pytest.fixture(scope="session")
def models(folders: dict[str, Path]) -> dict[str, CausalLM]:
    return {shape: opened(folder) for shape, folder in folders.items()}


@pytest.fixture(params=SHAPES)
def any_model(request: pytest.FixtureRequest, models: dict[str, CausalLM]) -> CausalLM:
    return models[request.param]


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Pipelines:
    return Pipelines(tmp_path_factory.mktemp("pipelines"))
