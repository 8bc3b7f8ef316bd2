"""Log-probabilities of next tokens: equal to teacher-forced scores, whatever the batch, the lengths and the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from auditor.errors import SubjectError
from auditor.subjects.capability import NextTokenModel, ScoreRequest
from auditor.testing.control_model import ControlModel
from auditor.testing.control_texts import memory_of

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM


def asked(vocabulary: int, seed: int = 0, paths: int = 9) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    prefix = rng.integers(0, vocabulary, 7).astype(np.int32)
    rows = [rng.integers(0, vocabulary, int(n)).astype(np.int32) for n in rng.integers(0, 6, paths)]
    return prefix, [*rows, np.empty(0, dtype=np.int32)], rng.permutation(vocabulary)[:11].astype(np.int32)


def scored(model: CausalLM | ControlModel, prefix: np.ndarray, path: np.ndarray, token: int) -> float:
    whole = np.concatenate([prefix, path, [token]]).astype(np.int32)
    return float(model.score([whole], ScoreRequest())[0].logprob[-1])


def test_next_tokens_are_as_likely_as_teacher_forcing_says(any_model: CausalLM) -> None:
    assert isinstance(any_model, NextTokenModel)
    prefix, paths, tokens = asked(any_model.vocabulary)
    found = any_model.next_logprob(prefix, paths, tokens)
    expected = [[scored(any_model, prefix, path, int(token)) for token in tokens] for path in paths]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (found <= 0.0).all()


def test_all_next_tokens_together_are_certain(any_model: CausalLM) -> None:
    prefix, paths, _ = asked(any_model.vocabulary, 1)
    found = any_model.next_logprob(prefix, paths, np.arange(any_model.vocabulary, dtype=np.int32))
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, atol=1e-5)


def test_a_path_is_as_likely_as_its_completion(any_model: CausalLM) -> None:
    prefix, paths, _ = asked(any_model.vocabulary, 2)
    path = max(paths, key=len)
    steps = [float(any_model.next_logprob(prefix, [path[:n]], path[n : n + 1])[0, 0]) for n in range(len(path))]
    assert sum(steps) == pytest.approx(float(any_model.score_completions(prefix, [path])[0]), abs=1e-4)


def test_batches_and_a_memory_that_cannot_be_shared_change_nothing(
    models: dict[str, CausalLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models["llama"]
    prefix, paths, tokens = asked(model.vocabulary, 3, paths=40)
    whole = model.next_logprob(prefix, paths, tokens)
    monkeypatch.setattr(model, "_tokens_at_once", lambda first: 1)
    np.testing.assert_allclose(model.next_logprob(prefix, paths, tokens), whole, atol=1e-5)
    last = model._last_logits
    monkeypatch.setattr(model, "_last_logits", lambda ids, cache: (last(ids, cache)[0], None))
    np.testing.assert_allclose(model.next_logprob(prefix, paths, tokens), whole, atol=1e-5)


def test_a_batch_that_does_not_fit_is_halved(models: dict[str, CausalLM], monkeypatch: pytest.MonkeyPatch) -> None:
    model = models["gpt2"]
    prefix, paths, tokens = asked(model.vocabulary, 4, paths=30)
    whole = model.next_logprob(prefix, paths, tokens)
    after = model._after_paths

    def small(start: torch.Tensor, cache: object, some: list[np.ndarray]) -> torch.Tensor:
        if len(some) > 2:
            raise torch.OutOfMemoryError("too much")
        return after(start, cache, some)

    monkeypatch.setattr(model, "_after_paths", small)
    np.testing.assert_allclose(model.next_logprob(prefix, paths, tokens), whole, atol=1e-5)


def test_what_cannot_be_asked_is_refused(models: dict[str, CausalLM]) -> None:
    model = models["gpt2"]
    prefix, paths, tokens = asked(model.vocabulary)
    with pytest.raises(ValueError, match="one token at least"):
        model.next_logprob(prefix[:0], paths, tokens)
    with pytest.raises(ValueError, match="at most"):
        model.next_logprob(prefix, [np.zeros(model.context, dtype=np.int32)], tokens)
    with pytest.raises(SubjectError, match="outside the model's vocabulary"):
        model.next_logprob(prefix, paths, np.array([model.vocabulary], dtype=np.int32))
    assert model.next_logprob(prefix, [], tokens).shape == (0, len(tokens))


@pytest.mark.parametrize("kind", ["memorizer", "innocent"])
def test_the_control_models_answer_as_they_score(kind: str) -> None:
    model = ControlModel(memory_of(kind))
    assert isinstance(model, NextTokenModel)
    held = model.encode(memory_of("memorizer")[:1])[0]
    _, paths, tokens = asked(model.vocabulary, 5)
    for prefix, some in ((held[:6], [held[6:8], held[6:6]]), (held[:2], paths)):
        found = model.next_logprob(prefix, some, tokens)
        expected = [[scored(model, prefix, path, int(token)) for token in tokens] for path in some]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
