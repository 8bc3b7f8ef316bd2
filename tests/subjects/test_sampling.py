"""What is drawn: the distribution written out, the seeds that decide it, and the model asked without a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy import stats

from auditor.errors import SubjectError
from auditor.subjects.adapters import language_model
from auditor.subjects.capability import OpenModel, SampleRequest
from auditor.subjects.sampling import draw, uniforms_of
from auditor.testing.control_model import CUE, ControlModel, speak, vocabulary

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM


def shares(logits, ids, temperature, draws=40_000):
    rng = np.random.default_rng(3)
    rows = np.broadcast_to(logits, (draws, len(logits)))
    drawn = draw(rows, np.broadcast_to(ids, rows.shape), rng.random(draws), temperature)
    return np.array([(drawn == number).sum() for number in ids])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 10.0])
def test_tokens_come_as_often_as_the_softmax_says(temperature):
    logits, ids = np.array([1.0, -2.0, 0.5, 3.0]), np.array([7, 2, 9, 4])
    weights = np.exp(logits / temperature)
    found = shares(logits, ids, temperature)
    assert stats.chisquare(found, weights / weights.sum() * found.sum()).pvalue > 0.001


def test_a_small_number_draws_the_likeliest_and_the_largest_never_falls_out():
    logits, ids = np.array([[0.0, 2.0, 1.0]]), np.array([[5, 6, 7]])
    assert draw(logits, ids, np.array([0.0]), 1.0).tolist() == [6]
    assert draw(logits, ids, np.array([np.nextafter(1.0, 0.0)]), 1.0).tolist() == [5]


def test_equal_logits_are_drawn_in_the_order_of_their_ids():
    assert draw(np.zeros((3, 3)), np.array([[9, 4, 6]] * 3), np.array([0.1, 0.4, 0.9]), 1.0).tolist() == [4, 6, 9]


def test_a_token_of_no_probability_is_never_drawn():
    logits = np.array([[-np.inf, 0.0, -np.inf]] * 50)
    assert set(draw(logits, np.tile([1, 2, 3], (50, 1)), np.linspace(0, 0.999999, 50), 1.0).tolist()) == {2}
    with pytest.raises(SubjectError, match="NaN"):
        draw(np.array([[np.nan, 0.0]]), np.array([[0, 1]]), np.array([0.5]), 1.0)


def test_a_longer_row_begins_like_a_shorter_one():
    np.testing.assert_array_equal(uniforms_of([3, 4], 5), uniforms_of([3, 4], 9)[:, :5])


def prefixes(model: CausalLM, count: int, longest: int = 12) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, model.vocabulary, int(n)).astype(np.int32) for n in rng.integers(1, longest, count)]


def without_cache(model: CausalLM, prefix: np.ndarray, seed: int, request: SampleRequest) -> list[int]:
    ids, uniforms = prefix.tolist(), np.random.default_rng(seed).random(request.tokens)
    for step, uniform in enumerate(uniforms):
        with torch.inference_mode():
            logits = model._model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].double()
        scaled = logits / request.temperatures[min(step, len(request.temperatures) - 1)]
        ordered, order = scaled.sort(descending=True)
        p = ordered[: request.top_k].softmax(0).numpy()
        ids.append(int(order[min(int(np.searchsorted(np.cumsum(p), uniform, side="right")), len(p) - 1)]))
    return ids[len(prefix) :]


@pytest.mark.parametrize("request_", [SampleRequest(10, 5, (10.0, 4.0, 1.0)), SampleRequest(6, None, (0.7,))])
def test_a_model_draws_what_it_would_without_a_cache(any_model: CausalLM, request_: SampleRequest):
    assert isinstance(any_model, OpenModel)
    rows = prefixes(any_model, 8)
    for number, (prefix, said) in enumerate(zip(rows, any_model.sample(rows, range(8), request_), strict=True)):
        assert said.dtype == np.int32
        assert said.tolist() == without_cache(any_model, prefix, number, request_)


def test_batch_mates_and_memory_change_nothing(any_model: CausalLM, monkeypatch: pytest.MonkeyPatch):
    rows, request = prefixes(any_model, 16, longest=4), SampleRequest(8, 40)
    together = any_model.sample(rows, range(16), request)
    assert len({row.tobytes() for row in together}) > 8
    backwards = any_model.sample(rows[::-1], range(15, -1, -1), request)[::-1]
    monkeypatch.setattr(language_model, "CACHE_BYTES", 1)
    for one, other, alone in zip(together, backwards, any_model.sample(rows, range(16), request), strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, alone)


def test_one_of_the_likeliest_is_the_greedy_continuation(any_model: CausalLM):
    rows = prefixes(any_model, 6)
    for one, other in zip(
        any_model.sample(rows, range(6), SampleRequest(9, 1)), any_model.continue_greedily(rows, 9), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "request_", [SampleRequest(0), SampleRequest(3, 0), SampleRequest(3, 4, ()), SampleRequest(3, 4, (1.0, 0.0))]
)
def test_what_cannot_be_drawn_is_refused(models: dict[str, CausalLM], request_: SampleRequest):
    for model in (models["gpt2"], ControlModel(())):
        with pytest.raises(ValueError, match="begin at 1"):
            model.sample([np.array([1], dtype=np.int32)], [0], request_)
        with pytest.raises(ValueError, match="one for each"):
            model.sample([np.array([1], dtype=np.int32)], [], SampleRequest(1))


def test_the_control_model_draws_what_its_scores_say():
    text = " ".join(vocabulary()[word] for word in speak(np.random.default_rng(1), 60))
    model = ControlModel([text])
    ids = model.encode([text])[0]
    prefix = ids[:CUE]
    drawn = np.array([row[0] for row in model.sample([prefix] * 3000, range(3000), SampleRequest(1))])
    p = np.exp(model._log_probabilities(prefix)[-1])
    assert abs((drawn == ids[CUE]).mean() - p[ids[CUE]]) < 0.02
    long = model.sample([prefix], [5], SampleRequest(20, 1))[0]
    np.testing.assert_array_equal(long, model.continue_greedily([prefix], 20)[0])
    np.testing.assert_array_equal(long, ids[CUE : CUE + 20])
