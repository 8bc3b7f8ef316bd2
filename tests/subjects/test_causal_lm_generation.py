"""Greedy continuation and completions with a key-value cache, against the same without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from auditor.subjects.adapters import language_model
from auditor.subjects.capability import ScoreRequest

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM

CLOSE = 1e-4


def prefixes(model: CausalLM, count: int, seed: int = 1, longest: int = 40) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, model.vocabulary, int(n)).astype(np.int32) for n in rng.integers(1, longest, count)]


def continued_without_cache(model: CausalLM, prefix: np.ndarray, tokens: int) -> list[int]:
    ids = [int(token) for token in prefix]
    with torch.inference_mode():
        for _ in range(tokens):
            logits = model._model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            ids.append(int(logits.argmax()))
    return ids[len(prefix) :]


def test_greedy_continuation_with_and_without_a_cache_is_the_same(any_model: CausalLM) -> None:
    rows = prefixes(any_model, 12)
    found = any_model.continue_greedily(rows, 16)
    for prefix, ids in zip(rows, found, strict=True):
        assert ids.dtype == np.int32
        assert ids.tolist() == continued_without_cache(any_model, prefix, 16)


def test_greedy_continuation_does_not_depend_on_batch_mates(
    any_model: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = prefixes(any_model, 20, longest=6)  # many of one length
    together = any_model.continue_greedily(rows, 12)
    monkeypatch.setattr(language_model, "CACHE_BYTES", 1)  # one at a time
    for one, other in zip(together, any_model.continue_greedily(rows, 12), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_does_not_stop_at_the_end_of_sequence_token(
    models: dict[str, CausalLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models["gpt2"]

    def always_the_end(states: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*states.shape[:-1], model.vocabulary)
        logits[..., 1] = 9.0  # </s>, which is also the padding
        return logits

    monkeypatch.setattr(model, "_head", always_the_end)
    assert model.continue_greedily([np.array([5, 6], dtype=np.int32)], 10)[0].tolist() == [1] * 10


def test_the_teacher_forced_verdict_is_the_verdict_of_real_generation(any_model: CausalLM) -> None:
    """Greedy extraction needs no generation: half of the suffixes are what the model says, some of them spoiled."""
    rng = np.random.default_rng(11)
    rows = prefixes(any_model, 120, seed=2, longest=12)
    said = any_model.continue_greedily(rows, 8)
    suffixes = []
    for number, ids in enumerate(said):
        suffix = ids.copy()
        if number % 2:
            place = int(rng.integers(8))
            suffix[place] = (suffix[place] + 1 + rng.integers(any_model.vocabulary - 1)) % any_model.vocabulary
        suffixes.append(suffix)
    different = ties = 0
    for prefix, suffix, ids in zip(rows, suffixes, said, strict=True):
        whole = np.concatenate([prefix, suffix])
        found = any_model.score([whole], ScoreRequest(first=len(prefix)))[0]
        if found.tie.any():
            ties += 1
        elif bool(found.hit.all()) != bool((ids == suffix).all()):
            different += 1
    assert different == 0
    assert ties <= 12  # bounded logits lie near each other


def test_prefixes_that_cannot_be_continued(models: dict[str, CausalLM]) -> None:
    model = models["gpt2"]
    with pytest.raises(ValueError, match="do not fit the context"):
        model.continue_greedily([np.zeros(90, dtype=np.int32)], 7)
    with pytest.raises(ValueError, match="do not fit the context"):
        model.continue_greedily([np.empty(0, dtype=np.int32)], 7)
    assert len(model.continue_greedily([np.zeros(90, dtype=np.int32)], 6)[0]) == 6
    assert model.continue_greedily([], 5) == []
    assert len(model.continue_greedily([np.zeros(3, dtype=np.int32)], 0)[0]) == 0


def whole_scores(model: CausalLM, prefix: np.ndarray, completions: list[np.ndarray]) -> list[float]:
    whole = [np.concatenate([prefix, completion]) for completion in completions]
    return [float(row.logprob.sum()) for row in model.score(whole, ScoreRequest(first=len(prefix)))]


@pytest.mark.parametrize("length", [1, 5, 30])
def test_completions_equal_whole_sequences(any_model: CausalLM, length: int) -> None:
    rng = np.random.default_rng(4)
    prefix = rng.integers(0, any_model.vocabulary, length).astype(np.int32)
    rest = [rng.integers(0, any_model.vocabulary, int(n)).astype(np.int32) for n in rng.integers(0, 14, 40)]
    found = any_model.score_completions(prefix, rest)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, whole_scores(any_model, prefix, rest), atol=CLOSE * 14, rtol=1e-5)
    assert all(value == 0.0 for value, ids in zip(found, rest, strict=True) if not len(ids))


def test_completions_do_not_depend_on_their_order_or_on_the_size_of_batches(
    any_model: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    prefix = rng.integers(0, any_model.vocabulary, 9).astype(np.int32)
    rest = [rng.integers(0, any_model.vocabulary, int(n)).astype(np.int32) for n in rng.integers(0, 14, 40)]
    usual = any_model.score_completions(prefix, rest)
    np.testing.assert_allclose(any_model.score_completions(prefix, rest[::-1])[::-1], usual, atol=CLOSE)
    monkeypatch.setattr(language_model, "CACHE_BYTES", 1)
    monkeypatch.setattr(language_model, "HEAD_ROWS", 1)
    monkeypatch.setattr(language_model, "HEAD_BYTES", 1)
    np.testing.assert_allclose(any_model.score_completions(prefix, rest), usual, atol=CLOSE)


def test_the_prefix_is_computed_once(models: dict[str, CausalLM], monkeypatch: pytest.MonkeyPatch) -> None:
    model = models["llama"]
    seen: list[tuple[int, int]] = []
    inner = model._model.base_model.forward

    def watched(*args: Any, **options: Any) -> Any:
        seen.append(tuple(options["input_ids"].shape))
        return inner(*args, **options)

    monkeypatch.setattr(model._model.base_model, "forward", watched)
    prefix = np.arange(20, dtype=np.int32)
    model.score_completions(prefix, [np.array([token, 5, 6], dtype=np.int32) for token in range(50)])
    assert seen == [(1, 20), (50, 2)]


def test_a_model_without_a_cache_is_asked_for_whole_sequences(
    models: dict[str, CausalLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models["neox"]
    rng = np.random.default_rng(4)
    prefix = rng.integers(0, model.vocabulary, 9).astype(np.int32)
    rest = [rng.integers(0, model.vocabulary, int(n)).astype(np.int32) for n in rng.integers(0, 14, 20)]
    usual, said = model.score_completions(prefix, rest), model.continue_greedily([prefix], 9)[0]
    inner = model._last_logits

    def forgetful(ids: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
        return inner(ids, cache)[0], None

    monkeypatch.setattr(model, "_last_logits", forgetful)
    np.testing.assert_allclose(model.score_completions(prefix, rest), usual, atol=CLOSE)
    np.testing.assert_array_equal(model.continue_greedily([prefix], 9)[0], said)


def test_completions_that_cannot_be_scored(models: dict[str, CausalLM]) -> None:
    model = models["gpt2"]
    one = np.array([3], dtype=np.int32)
    with pytest.raises(ValueError, match="the prefix is empty"):
        model.score_completions(np.empty(0, dtype=np.int32), [one])
    with pytest.raises(ValueError, match="do not fit the context"):
        model.score_completions(np.zeros(96, dtype=np.int32), [one])
    assert model.score_completions(np.zeros(95, dtype=np.int32), [one])[0] < 0.0
    assert model.score_completions(one, []).shape == (0,)
    np.testing.assert_array_equal(model.score_completions(one, [one[:0], one[:0]]), [0.0, 0.0])
