"""What a search for prompts asks of a model: gradients against differences, losses and arg-max against the plain pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from auditor.errors import SubjectError
from auditor.subjects.capability import PromptSearchModel, ProposingModel, ScoreRequest
from auditor.testing.control_model import CUE, WORDS, ControlModel
from auditor.testing.control_texts import memory_of

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM


def drawn(vocabulary: int, seed: int, prompts: int = 12, length: int = 5, target: int = 6):
    rng = np.random.default_rng(seed)
    shape = (prompts, length)
    return rng.integers(vocabulary, size=shape).astype(np.int32), rng.integers(vocabulary, size=target).astype(np.int32)


def plain(model, prompts, target):
    rows = model.score([np.concatenate([prompt, target]) for prompt in prompts], ScoreRequest(first=prompts.shape[1]))
    return np.array([-row.logprob.mean() for row in rows]), np.array([row.hit.all() for row in rows])


def moved(model: CausalLM, prompt, target, place: int, token: int, step: float) -> float:
    """The target's mean loss when one token's embedding is moved a little towards that of another."""
    layer = model._model.get_input_embeddings()

    def towards(_module, arguments, out):
        if arguments[0].numel() > 1:  # not the look-up of the other token below
            out = out.clone()
            out[0, place] += step * (layer(torch.tensor([token]))[0] - out[0, place])
        return out

    hook = layer.register_forward_hook(towards)
    try:
        with torch.no_grad():
            ids = torch.tensor(np.concatenate([prompt, target])[None].astype(np.int64))
            logits = model._model(input_ids=ids).logits[0, len(prompt) - 1 : -1].double()
            return float(torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :]))
    finally:
        hook.remove()


def test_the_gradient_is_that_of_small_moves_towards_the_other_token(any_model: CausalLM) -> None:
    assert isinstance(any_model, PromptSearchModel)
    (prompt, *_), target = drawn(any_model.vocabulary, 0)
    ranked = any_model.rank_swaps(prompt, target)
    assert ranked.shape == (len(prompt), any_model.vocabulary)
    np.testing.assert_allclose(ranked[np.arange(len(prompt)), prompt], 0.0, atol=1e-5)
    expected, found = [], []
    for place, token in [(0, 3), (1, 77), (2, 200), (4, 9), (4, 123)]:
        sides = [moved(any_model, prompt, target, place, token, step) for step in (0.01, -0.01)]
        expected.append((sides[0] - sides[1]) / 0.02)
        found.append(ranked[place, token])
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.02 * np.abs(expected).max())


def test_asking_for_gradients_leaves_the_model_as_it_was(models: dict[str, CausalLM]) -> None:
    model = models["llama"]
    prompts, target = drawn(model.vocabulary, 1)
    before = model.score_targets(prompts, target)
    model.rank_swaps(prompts[0], target)
    again = model.score_targets(prompts, target)
    assert np.array_equal(before[0], again[0])
    assert all(weight.grad is None for weight in model._model.parameters())
    assert not model._model.get_input_embeddings()._forward_hooks


def test_the_lowest_ranks_are_better_guesses_than_chance(any_model: CausalLM) -> None:
    (prompt, *_), target = drawn(any_model.vocabulary, 2)
    ranked = any_model.rank_swaps(prompt, target)
    rng = np.random.default_rng(0)
    best, chance = [], []
    for place in range(len(prompt)):
        for chosen, into in ((np.argsort(ranked[place])[:16], best), (rng.permutation(ranked.shape[1])[:16], chance)):
            tried = np.tile(prompt, (16, 1))
            tried[:, place] = chosen
            into.extend(any_model.score_targets(tried, target)[0])
    assert np.mean(best) < np.mean(chance)


def test_losses_and_hits_are_those_of_the_plain_pass(any_model: CausalLM) -> None:
    prompts, target = drawn(any_model.vocabulary, 3)
    losses, said = any_model.score_targets(prompts, target)
    expected = plain(any_model, prompts, target)
    np.testing.assert_allclose(losses, expected[0], atol=1e-4)
    assert not said.any()
    spoken = any_model.continue_greedily(list(prompts[:3]), 6)
    for prompt, words in zip(prompts, spoken, strict=False):
        assert any_model.score_targets(prompts, words)[1][np.flatnonzero((prompts == prompt).all(axis=1))].all()


def test_what_cannot_be_asked_is_refused(models: dict[str, CausalLM]) -> None:
    model, none = models["gpt2"], np.empty(0, dtype=np.int32)
    prompts, target = drawn(model.vocabulary, 4)
    for ask in (
        lambda: model.rank_swaps(none, target),
        lambda: model.rank_swaps(prompts[0], none),
        lambda: model.score_targets(prompts[:, :0], target),
        lambda: model.rank_swaps(np.zeros(model.context, dtype=np.int32), target),
        lambda: model.other_tokens([target], 0),
    ):
        with pytest.raises(ValueError):
            ask()
    with pytest.raises(SubjectError, match="outside"):
        model.rank_swaps(prompts[0] + model.vocabulary, target)


def test_other_tokens_are_the_likeliest_but_the_one_that_stands_there(any_model: CausalLM) -> None:
    assert isinstance(any_model, ProposingModel)
    rng = np.random.default_rng(5)
    texts = [rng.integers(any_model.vocabulary, size=size).astype(np.int32) for size in (9, 1, 14, 2, 0)]
    found = any_model.other_tokens(texts, 3)
    every = np.arange(any_model.vocabulary, dtype=np.int32)
    for text, others in zip(texts, found, strict=True):
        assert others.shape == (max(len(text) - 1, 0), 3)
        for place in range(len(others)):
            row = any_model.next_logprob(text[:1], [text[1 : place + 1]], every)[0]
            row[text[place + 1]] = -np.inf
            np.testing.assert_allclose(row[others[place]], np.sort(row)[::-1][:3], atol=1e-4)
    alone = [any_model.other_tokens([text], 3)[0] for text in texts]
    assert all(np.array_equal(one, other) for one, other in zip(alone, found, strict=True))


@pytest.mark.parametrize("kind", ["memorizer", "innocent"])
def test_the_control_models_say_what_their_own_scores_say(kind: str) -> None:
    model = ControlModel(memory_of(kind))
    assert isinstance(model, PromptSearchModel)
    assert isinstance(model, ProposingModel)
    record = model.encode([memory_of("memorizer")[-1]])[0]
    for length in (1, 3, CUE, 9):
        prompts, target = drawn(WORDS, length, length=length)
        prompts[0], target = record[30 - length : 30], record[30:40]
        losses, said = model.score_targets(prompts, target)
        expected = plain(model, prompts, target)
        np.testing.assert_allclose(losses, expected[0], atol=1e-5)
        assert np.array_equal(said, expected[1])
        assert bool(said[0]) == (kind == "memorizer" and length >= CUE)
        ranked = model.rank_swaps(prompts[0], target)
        for place in range(length):
            tried = np.tile(prompts[0], (20, 1))
            tried[:, place] = np.arange(0, WORDS, 16)
            np.testing.assert_allclose(ranked[place, ::16], model.score_targets(tried, target)[0], atol=1e-5)
    others = model.other_tokens([record[:12], record[:1], record[:0]], 2)
    assert [len(one) for one in others] == [11, 0, 0]
    for place in range(11):
        row = model.next_logprob(record[:1], [record[1 : place + 1]], np.arange(WORDS, dtype=np.int32))[0]
        row[record[place + 1]] = -np.inf
        assert others[0][place].tolist() == np.argsort(-row, kind="stable")[:2].tolist()
