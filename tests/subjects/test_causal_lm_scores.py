"""The teacher-forced pass against brute force: every property that has caught a defect in public code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import model as made_model
from tiny_models import opened, tokenizer

from auditor.errors import SubjectError, UnsupportedError
from auditor.subjects.adapters import language_model, token_scoring
from auditor.subjects.adapters.language_model import CausalLM
from auditor.subjects.adapters.token_scoring import first_largest, largest, score_rows
from auditor.subjects.capability import OpenModel, ScoreRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVERYTHING = ScoreRequest(moments=True, top_k=7, temperature=0.8)
NAMES = ("logprob", "hit", "tie", "mean", "deviation", "top_logprob")


def sequences(model: CausalLM, count: int = 12, seed: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, model.vocabulary, int(n)).astype(np.int32) for n in rng.integers(2, 60, count)]


def log_probabilities(model: CausalLM, ids: np.ndarray) -> np.ndarray:
    """Return log p over the vocabulary after every id, from the library's own forward pass, in double precision."""
    with torch.inference_mode():
        logits = model._model(input_ids=torch.from_numpy(ids[None].astype(np.int64))).logits[0]
    return logits.double().log_softmax(dim=-1).numpy()


def test_it_meets_the_protocol(any_model: CausalLM) -> None:
    assert isinstance(any_model, OpenModel)


def test_every_score_equals_brute_force(any_model: CausalLM) -> None:
    rows = sequences(any_model)
    for ids, found in zip(rows, any_model.score(rows, EVERYTHING), strict=True):
        logp = log_probabilities(any_model, ids)[:-1]
        targets = ids[1:]
        steps = np.arange(len(targets))
        p = np.exp(logp)
        mean = (p * logp).sum(axis=1)
        np.testing.assert_allclose(found.logprob, logp[steps, targets], atol=1e-4)
        np.testing.assert_array_equal(found.hit, logp.argmax(axis=1) == targets)
        np.testing.assert_allclose(found.mean, mean, atol=1e-4)
        np.testing.assert_allclose(found.deviation, np.sqrt((p * logp**2).sum(axis=1) - mean**2), atol=1e-4)
        scaled = np.sort(logp / 0.8, axis=1)[:, ::-1]
        norm = np.logaddexp.reduce(scaled[:, :7], axis=1)
        own = logp[steps, targets] / 0.8
        expected = np.where(own >= scaled[:, 6], own - norm, -np.inf)
        np.testing.assert_allclose(found.top_logprob, expected, atol=1e-4)
        gap = scaled[:, 0] * 0.8 - scaled[:, 1] * 0.8
        clear = np.abs(gap - 1e-3) > 1e-5
        np.testing.assert_array_equal(found.tie[clear], gap[clear] < 1e-3)


def test_batch_mates_and_order_change_nothing(any_model: CausalLM) -> None:
    rows = sequences(any_model, 16)
    together = any_model.score(rows, EVERYTHING)
    backwards = any_model.score(rows[::-1], EVERYTHING)[::-1]
    for ids, mates, turned in zip(rows, together, backwards, strict=True):
        alone = any_model.score([ids], EVERYTHING)[0]
        for name in NAMES:
            np.testing.assert_allclose(getattr(mates, name), getattr(alone, name), atol=1e-4)
            np.testing.assert_allclose(getattr(turned, name), getattr(alone, name), atol=1e-4)


@pytest.mark.parametrize("budget", [1, 40, 100_000])
def test_the_size_of_batches_changes_nothing(
    models: dict[str, CausalLM], monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    model = models["llama"]
    rows = sequences(model)
    usual = model.score(rows, EVERYTHING)
    monkeypatch.setattr(language_model, "LARGEST_BATCH", budget)
    monkeypatch.setattr(language_model, "HEAD_ROWS", 1)
    monkeypatch.setattr(language_model, "HEAD_BYTES", 4 * model.vocabulary * 3)
    monkeypatch.setattr(token_scoring, "VALUES", model.vocabulary * 2)
    for one, other in zip(usual, model.score(rows, EVERYTHING), strict=True):
        for name in NAMES:
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-4)


@pytest.mark.parametrize("first", [1, 2, 5, 30])
def test_scores_from_a_position_are_the_last_of_all_scores(any_model: CausalLM, first: int) -> None:
    rows = sequences(any_model)
    whole = any_model.score(rows, ScoreRequest(moments=True, top_k=5))
    part = any_model.score(rows, ScoreRequest(moments=True, top_k=5, first=first))
    for ids, all_scores, some in zip(rows, whole, part, strict=True):
        assert len(some.logprob) == len(some.hit) == max(len(ids) - first, 0)
        if len(ids) > first:
            for name in NAMES:
                np.testing.assert_allclose(getattr(some, name), getattr(all_scores, name)[first - 1 :], atol=1e-4)


def test_the_last_token_of_a_suffix_is_scored_and_the_last_of_the_prefix_is_not(models: dict[str, CausalLM]) -> None:
    model = models["gpt2"]
    prefix, suffix = sequences(model, 2, seed=5)
    whole = np.concatenate([prefix, suffix])
    found = model.score([whole], ScoreRequest(first=len(prefix)))[0].logprob
    logp = log_probabilities(model, whole)
    assert len(found) == len(suffix)
    assert found[0] == pytest.approx(logp[len(prefix) - 1, suffix[0]], abs=1e-4)
    assert found[-1] == pytest.approx(logp[-2, suffix[-1]], abs=1e-4)
    changed = whole.copy()
    changed[-1] = (changed[-1] + 1) % model.vocabulary
    other = model.score([changed], ScoreRequest(first=len(prefix)))[0].logprob
    np.testing.assert_allclose(other[:-1], found[:-1], atol=1e-5)
    assert abs(other[-1] - found[-1]) > 1e-3


def test_chain_rule(any_model: CausalLM) -> None:
    for ids in sequences(any_model, 6):
        cut = len(ids) // 2
        if cut < 1:
            continue
        whole, start = any_model.score([ids, ids[:cut]], ScoreRequest())
        suffix = any_model.score([ids], ScoreRequest(first=cut))[0]
        assert suffix.logprob.sum() == pytest.approx(whole.logprob.sum() - start.logprob.sum(), abs=1e-3)


def test_probabilities_of_all_continuations_add_up_to_one(any_model: CausalLM) -> None:
    start = np.array([3, 9, 27], dtype=np.int32)
    rows = [np.append(start, token).astype(np.int32) for token in range(any_model.vocabulary)]
    scores = any_model.score(rows, ScoreRequest(top_k=11, temperature=1.7, first=3))
    assert np.exp([row.logprob[0] for row in scores]).sum() == pytest.approx(1.0, abs=1e-5)
    top = np.array([row.top_logprob[0] for row in scores])
    assert np.isfinite(top).sum() == 11
    assert np.exp(top).sum() == pytest.approx(1.0, abs=1e-5)
    assert sum(bool(row.hit[0]) for row in scores) == 1


def test_worked_values_of_min_k_plus_plus() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0]] * 3)
    found = score_rows(logits, torch.tensor([0, 1, 2]), ScoreRequest(moments=True))
    np.testing.assert_allclose(found["logprob"], [-0.40761, -1.40761, -2.40761], atol=1e-5)
    np.testing.assert_allclose(found["mean"], [-0.83240] * 3, atol=1e-5)
    np.testing.assert_allclose(found["deviation"], [0.65146] * 3, atol=1e-5)
    scores = (found["logprob"] - found["mean"]) / found["deviation"]
    np.testing.assert_allclose(scores, [0.65205, -0.88295, -2.41796], atol=1e-4)
    assert found["hit"].tolist() == [True, False, False]


def test_certain_tokens_are_kept() -> None:
    """A token of probability one is the most memorized there is: it has log p 0 and is not dropped."""
    logits = torch.full((4, 50), -200.0)
    logits[torch.arange(4), torch.tensor([7, 0, 49, 7])] = 200.0
    found = score_rows(logits, torch.tensor([7, 0, 49, 3]), ScoreRequest(moments=True, top_k=3))
    assert found["logprob"].tolist() == [0.0, 0.0, 0.0, -400.0]
    assert found["hit"].tolist() == [True, True, True, False]
    assert found["deviation"].tolist() == [0.0] * 4
    assert found["top_logprob"][:3].tolist() == [0.0, 0.0, 0.0]


def test_a_model_that_is_certain_loses_no_token(models: dict[str, CausalLM]) -> None:
    """End to end: a model rigged to say one token with probability one; that token is also id 1, the padding."""
    rigged = made_model("gpt2", models["gpt2"].vocabulary)
    rigged.lm_head = torch.nn.Linear(32, models["gpt2"].vocabulary, bias=True)
    with torch.no_grad():
        rigged.lm_head.weight.zero_()
        rigged.lm_head.bias.fill_(-500.0)
        rigged.lm_head.bias[1] = 500.0
    model = CausalLM(rigged, tokenizer(begin=False), 96)
    rows = [np.ones(20, dtype=np.int32), np.ones(7, dtype=np.int32), np.array([5, 1, 1, 6], dtype=np.int32)]
    found = model.score(rows, EVERYTHING)
    assert [len(row.logprob) for row in found] == [19, 6, 3]
    assert found[0].logprob.tolist() == [0.0] * 19
    assert found[2].logprob.tolist() == [0.0, 0.0, -1000.0]
    assert found[2].hit.tolist() == [True, True, False]


@given(
    st.integers(1, 300), st.integers(1, 6), st.integers(1, 60), st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 3])
)
@settings(derandomize=True, deadline=None, max_examples=150)
def test_the_largest_values_are_found_by_groups(width: int, rows: int, k: int, seed: int, places: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(rows, width)) * 3, places).astype(np.float32)  # rounding makes ties
    k = min(k, width)
    expected = np.sort(values, axis=1)[:, ::-1][:, :k]
    np.testing.assert_array_equal(largest(torch.from_numpy(values.copy()), k).numpy(), expected)
    np.testing.assert_array_equal(first_largest(torch.from_numpy(values)).numpy(), values.argmax(axis=1))


def test_the_largest_values_are_found_in_a_large_vocabulary() -> None:
    values = np.random.default_rng(0).normal(size=(3, 50_257)).astype(np.float32)
    values[0, -1] = values[1, 0] = 99.0
    expected = np.sort(values, axis=1)[:, ::-1][:, :41]
    np.testing.assert_array_equal(largest(torch.from_numpy(values), 41).numpy(), expected)


@given(st.integers(2, 12), st.integers(1, 14), st.integers(0, 2**32 - 1))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_what_stays_in_the_top_k_adds_up_to_one_even_with_ties(width: int, k: int, seed: int) -> None:
    logits = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, size=width).astype(np.float32))
    found = score_rows(logits.repeat(width, 1), torch.arange(width), ScoreRequest(top_k=k, temperature=0.7))
    assert found["top_logprob"].exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    assert int(found["hit"].sum()) == 1
    assert int(found["hit"].int().argmax()) == int(logits.numpy().argmax())
    stay = logits >= logits.sort(descending=True).values[min(k, width) - 1]
    np.testing.assert_array_equal(torch.isfinite(found["top_logprob"]).numpy(), stay.numpy())


def test_ties_of_the_arg_max_are_decided_for_the_smallest_id_and_counted() -> None:
    logits = torch.tensor([[1.0, 5.0, 5.0, 0.0], [5.0, 1.0, 5.0005, 0.0], [5.0, 1.0, 4.9, 0.0]])
    found = score_rows(logits.repeat_interleave(2, 0), torch.tensor([1, 2, 0, 2, 0, 2]), ScoreRequest())
    assert found["hit"].tolist() == [True, False, False, True, True, False]
    assert found["tie"].tolist() == [True, True, True, True, False, False]


def test_bfloat16_runs_and_accumulates_in_float32(folders: dict[str, Path], models: dict[str, CausalLM]) -> None:
    small = opened(folders["llama"], "bfloat16")
    rows = sequences(small, 6)
    for narrow, wide in zip(small.score(rows, EVERYTHING), models["llama"].score(rows, EVERYTHING), strict=True):
        assert narrow.logprob.dtype == np.float32
        assert np.abs(narrow.logprob - wide.logprob).mean() < 0.2
    start = np.array([3, 9, 27], dtype=np.int32)
    everything = [np.append(start, token).astype(np.int32) for token in range(small.vocabulary)]
    total = np.exp([row.logprob[0] for row in small.score(everything, ScoreRequest(first=3))]).sum()
    assert total == pytest.approx(1.0, abs=0.02)  # one batch and the next may round a bfloat16 state differently
    assert len(small.continue_greedily([start], 5)[0]) == 5
    assert np.isfinite(small.score_completions(start, rows)).all()


def test_a_head_is_used_by_itself_only_where_it_makes_the_logits(models: dict[str, CausalLM]) -> None:
    for shape in ("gpt2", "llama", "neox", "mistral"):
        assert models[shape]._head is not None
    assert models["gemma2"]._head is None  # its logits are bounded after the head


def test_logits_of_a_whole_batch_are_never_held(models: dict[str, CausalLM], monkeypatch: pytest.MonkeyPatch) -> None:
    model = models["gpt2"]
    seen: list[int] = []
    inner = model._head
    assert inner is not None

    def watched(states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = inner(states)
        seen.append(logits.numel() * logits.element_size())
        return logits

    monkeypatch.setattr(model, "_head", watched)
    monkeypatch.setattr(language_model, "HEAD_ROWS", 1)
    monkeypatch.setattr(language_model, "HEAD_BYTES", 4 * model.vocabulary * 8)
    rows = sequences(model, 30)
    model.score(rows, ScoreRequest())
    assert max(seen) <= 4 * model.vocabulary * 8
    assert sum(seen) == 4 * model.vocabulary * sum(len(ids) - 1 for ids in rows)  # padding gets no logits at all


def test_padded_tokens_of_a_batch_stay_within_the_budget(
    models: dict[str, CausalLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_model, "LARGEST_BATCH", 150)
    sizes = []
    for shape in ("llama", "gemma2"):
        inner: Callable[..., torch.Tensor] = models[shape]._padded

        def watched(rows: list[np.ndarray], inner: Callable[..., torch.Tensor] = inner) -> torch.Tensor:
            ids = inner(rows)
            sizes.append(ids.numel())
            return ids

        monkeypatch.setattr(models[shape], "_padded", watched)
        models[shape].score(sequences(models[shape], 30), ScoreRequest())
    assert max(sizes) <= 150
    assert len(sizes) > 10


def test_a_batch_that_does_not_fit_the_accelerator_is_halved(
    models: dict[str, CausalLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models["gpt2"]
    rows = sequences(model, 9)
    usual = model.score(rows, EVERYTHING)
    inner = model._score_batch

    def small(some: list[np.ndarray], request: ScoreRequest) -> object:
        if len(some) > 2:
            raise torch.OutOfMemoryError
        return inner(some, request)

    monkeypatch.setattr(model, "_score_batch", small)
    for one, other in zip(usual, model.score(rows, EVERYTHING), strict=True):
        np.testing.assert_allclose(one.logprob, other.logprob, atol=1e-4)

    def never(some: list[np.ndarray], request: ScoreRequest) -> object:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(model, "_score_batch", never)
    with pytest.raises(UnsupportedError, match="does not hold one sequence"):
        model.score(rows, EVERYTHING)


def test_nothing_to_score_gives_nothing(any_model: CausalLM) -> None:
    rows = [np.array([], dtype=np.int32), np.array([4], dtype=np.int32), np.array([4, 5], dtype=np.int32)]
    found = any_model.score(rows, EVERYTHING)
    assert [len(row.logprob) for row in found] == [0, 0, 1]
    assert all(len(getattr(found[0], name)) == 0 for name in NAMES)
    assert any_model.score([], EVERYTHING) == []


@pytest.mark.parametrize(
    "request_", [ScoreRequest(first=0), ScoreRequest(top_k=0), ScoreRequest(top_k=3, temperature=0.0)]
)
def test_requests_that_cannot_be(models: dict[str, CausalLM], request_: ScoreRequest) -> None:
    with pytest.raises(ValueError, match="begin at 1"):
        models["gpt2"].score([np.array([1, 2], dtype=np.int32)], request_)


def test_ids_and_lengths_that_cannot_be(models: dict[str, CausalLM]) -> None:
    model = models["gpt2"]
    with pytest.raises(SubjectError, match="outside the model's vocabulary"):
        model.score([np.array([1, model.vocabulary], dtype=np.int32)], ScoreRequest())
    with pytest.raises(SubjectError, match="token id -1 is outside"):
        model.score([np.array([1, -1], dtype=np.int32)], ScoreRequest())
    with pytest.raises(ValueError, match="does not fit the context"):
        model.score([np.zeros(97, dtype=np.int32)], ScoreRequest())
    assert len(model.score([np.zeros(96, dtype=np.int32)], ScoreRequest())[0].logprob) == 95


def test_a_model_that_overflows_is_refused(models: dict[str, CausalLM]) -> None:
    broken = made_model("gpt2", models["gpt2"].vocabulary)
    with torch.no_grad():
        broken.transformer.ln_f.weight.fill_(float("inf"))
    with pytest.raises(SubjectError, match="NaN or infinity"):
        CausalLM(broken, tokenizer(begin=False), 96).score([np.array([1, 2, 3], dtype=np.int32)], ScoreRequest())
