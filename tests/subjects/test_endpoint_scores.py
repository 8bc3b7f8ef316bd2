"""What a model behind a server says equals what the model itself says: the causal-lm adapter is the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import NAME, Served, serving, softmax_rows
from tiny_models import opened, save

from auditor.core.subject import EndpointSpec, ModelSpec
from auditor.errors import SubjectError, UnsupportedError
from auditor.subjects.adapters.causal_lm import ADAPTER as CAUSAL_LM
from auditor.subjects.adapters.completion_endpoint import CompletionEndpointAdapter
from auditor.subjects.capability import TIE_GAP, OpenModel, RecordedModel, SampleRequest, ScoreRequest
from auditor.subjects.endpoint.units import Words

NOTES = Path(__file__).resolve().parents[2] / "samples" / "notes-lm"
TEXTS = (
    "She left the keys of the boat house under the pot.",
    "Das Café öffnet um acht; die Straße ist leer.",
    "1 2 3 of the meter",
)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def tiny(request, tmp_path_factory):
    """A model without and one with a token that stands before every text."""
    folder = save(tmp_path_factory.mktemp(request.param) / "model", request.param)
    return folder, opened(folder)


@pytest.fixture(scope="module")
def notes():
    """The model of the sample, which says real words and knows some texts by heart."""
    spec = ModelSpec(adapter="causal-lm", path="model", device="cpu")
    return NOTES / "model", CAUSAL_LM.open(spec, NOTES)


def spec_of(served, folder=None, **settings):
    tokenizer = None if folder is None else str(folder)
    endpoint = EndpointSpec(model=NAME, tokenizer=tokenizer, **{"retries": 0, "context": 96, **settings})
    return ModelSpec(adapter="completion-endpoint", path=served.address, endpoint=endpoint)


def ask(served, base, folder=None, **settings):
    return CompletionEndpointAdapter().open(spec_of(served, folder, **settings), base)


def with_begin(model, texts):
    lead = np.array([] if model.begin is None else [model.begin], dtype=np.int32)
    return [np.concatenate([lead, ids]).astype(np.int32) for ids in model.encode(texts)]


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("first", [1, 4])
def test_scores_are_those_of_the_model_itself(tiny, tmp_path, ids, first):
    folder, model = tiny
    with serving(Served(model, ids=ids)) as served:
        asked = ask(served, tmp_path, folder)
        assert isinstance(asked, OpenModel)
        assert isinstance(asked, RecordedModel)
        assert asked.begin == model.begin
        for own, other in zip(model.encode(TEXTS), asked.encode(TEXTS), strict=True):
            np.testing.assert_array_equal(own, other)
        sequences = with_begin(model, TEXTS)
        found = asked.score(sequences, ScoreRequest(first=first))
    for ids_of, own, other in zip(sequences, model.score(sequences, ScoreRequest(first=first)), found, strict=True):
        np.testing.assert_allclose(other.logprob, own.logprob, atol=1e-4)
        np.testing.assert_array_equal(other.hit, own.hit)
        np.testing.assert_array_equal(other.tie, own.tie)
        # The softmax by hand is the second oracle: the server's numbers stand at the right tokens.
        table = softmax_rows(model, ids_of)
        by_hand = table[np.arange(first - 1, len(ids_of) - 1), ids_of[first:]]
        np.testing.assert_allclose(other.logprob, by_hand, atol=1e-4)


def test_scores_of_completions_are_sums_after_the_prefix(tiny, tmp_path):
    folder, model = tiny
    prefix = with_begin(model, ["The code of the locker is"])[0]
    completions = [*model.encode([" 0 9 8", " 1", " 12 and more"]), np.empty(0, dtype=np.int32)]
    with serving(Served(model)) as served:
        found = ask(served, tmp_path, folder).score_completions(prefix, completions)
    np.testing.assert_allclose(found, model.score_completions(prefix, completions), atol=1e-4)


@pytest.mark.parametrize(
    ("kinds", "scored", "form"),
    [
        ({}, True, "tokens"),
        ({"ids": False}, True, "text"),
        ({"echo": False}, False, "tokens"),
        ({"echo": False, "ids": False}, False, "text"),
        ({"completions": False}, False, "text"),
    ],
)
def test_greedy_continuations_are_those_of_the_model_itself(notes, tmp_path, kinds, scored, form):
    folder, model = notes
    texts = [
        "The hackish sense of the word is not quite the same as the one in the dictionary",
        "An old joke about the machine that was left running over the winter goes",
    ]
    prefixes = [ids[:12] for ids in with_begin(model, texts)]
    with serving(Served(model, **kinds)) as served:
        adapter = CompletionEndpointAdapter()
        spec = spec_of(served, folder, context=256)
        assert ("scores-given-tokens" in adapter.capabilities_of(spec, tmp_path)) == scored
        asked = adapter.open(spec, tmp_path)
        said = asked.continue_greedily(prefixes, 20)
        forms = {type(body["prompt"]) for path, body in served.asked[-2:] if path == "/v1/completions"}
    assert forms <= {list if form == "tokens" else str}
    for own, other in zip(model.continue_greedily(prefixes, 20), said, strict=True):
        assert other.dtype == np.int32
        # A chat has no place for a text that begins with a space, and cuts what it is given for itself.
        if "completions" in kinds:
            assert model.decode(own.tolist()).split()[:4] == asked.decode(other.tolist()).split()[:4]
        else:
            np.testing.assert_array_equal(other, own)


def test_draws_are_those_of_the_model_itself_where_the_server_heeds_the_seed(notes, tmp_path):
    folder, model = notes
    prefixes = [ids[:8] for ids in with_begin(model, ["The hackish sense of the word is not quite the same"])] * 2
    request = SampleRequest(10, top_k=5)
    with serving(Served(model)) as served:
        drawn = ask(served, tmp_path, folder, context=256).sample(prefixes, [3, 4], request)
    for own, other in zip(model.sample(prefixes, [3, 4], request), drawn, strict=True):
        np.testing.assert_array_equal(other, own)


def test_a_temperature_that_falls_takes_a_question_for_each_step(notes, tmp_path):
    folder, model = notes
    prefix = with_begin(model, ["The hackish sense of the word"])[0]
    with serving(Served(model)) as served:
        asked = ask(served, tmp_path, folder, context=256)
        before = len(served.asked)
        drawn = asked.sample([prefix], [3], SampleRequest(8, top_k=5, temperatures=(4.0, 2.0, 1.0)))[0]
        bodies = [body for _, body in served.asked[before:]]
    assert [(body["temperature"], body["max_tokens"]) for body in bodies] == [(4.0, 1), (2.0, 1), (1.0, 6)]
    assert len(drawn) == 8
    assert bodies[2]["prompt"] == [*prefix.tolist(), *drawn[:2].tolist()]


def test_without_a_tokenizer_the_unit_is_the_word(notes, tmp_path):
    _, model = notes
    text = "The hackish sense of the word is not quite the same as the one in the dictionary"
    with serving(Served(model)) as served:
        adapter = CompletionEndpointAdapter()
        spec = spec_of(served, context=256)
        assert adapter.describe(spec, tmp_path) == (0, 128)  # two tokens a word
        assert adapter.capabilities_of(spec, tmp_path) == ("continues-tokens", "samples-tokens")
        asked = adapter.open(spec, tmp_path)
        prefix = asked.encode([text])[0][:10]
        said = asked.continue_greedily([prefix], 8)[0]
        own = model.continue_greedily(with_begin(model, [asked.decode(prefix.tolist())]), 40)[0]
        with pytest.raises(UnsupportedError, match="how likely"):
            asked.score([prefix], ScoreRequest())
    assert asked.decode(said.tolist()) == " ".join(model.decode(own.tolist()).split()[:8])


def test_a_model_that_ends_early_is_filled_up_with_nothing(notes, tmp_path):
    folder, model = notes
    prefix = with_begin(model, ["The hackish sense of the word"])[0]

    class Ending(Served):
        def answer(self, path, body):
            status, answer = super().answer(path, body | {"max_tokens": min(3, body.get("max_tokens", 3))})
            for choice in answer.get("choices", ()):
                choice["finish_reason"] = "stop"
            return status, answer

    with serving(Ending(model)) as served:
        asked = ask(served, tmp_path, folder, context=256)
        said = asked.continue_greedily([prefix], 6)[0]
        assert len(asked.sample([prefix], [1], SampleRequest(6, top_k=5))[0]) == 3
    np.testing.assert_array_equal(said[:3], model.continue_greedily([prefix], 3)[0])
    assert (said[3:] == asked.vocabulary).all()
    assert asked.decode(said.tolist()) == model.decode(said[:3].tolist())


def test_another_tokenizer_than_the_server_has_gives_no_scores(notes, tiny, tmp_path):
    folder, _ = tiny
    _, model = notes
    with serving(Served(model, ids=False)) as served:
        assert "scores-given-tokens" not in CompletionEndpointAdapter().capabilities_of(
            spec_of(served, folder), tmp_path
        )


def test_the_name_of_the_model_is_what_is_declared_and_what_the_server_says(notes, tmp_path):
    folder, model = notes

    def digests(**changes):
        served = Served(model)
        with serving(served):
            for name, value in changes.items():
                setattr(served, name, value)
            made = CompletionEndpointAdapter().stand_ins(spec_of(served, folder), tmp_path)
        return {item.path: item.sha256 for item in made if "address" not in item.path}

    same, again = digests(), digests(told=Served(model).told | {"created": 99, "permission": [{"id": "x"}]})
    assert same["endpoint/models.json"] == again["endpoint/models.json"]
    assert {"model/tokenizer.json", "endpoint/declared.json"} <= set(same)
    assert (
        digests(told=Served(model).told | {"owned_by": "somebody else"})["endpoint/models.json"]
        != same["endpoint/models.json"]
    )


@pytest.mark.parametrize("field", ["fingerprint", "name"])
def test_another_fingerprint_gives_another_name(notes, tmp_path, field):
    folder, model = notes
    served = Served(model)
    with serving(served):
        spec = spec_of(served, folder)
        before = CompletionEndpointAdapter().stand_ins(spec, tmp_path)
        assert CompletionEndpointAdapter().stand_ins(spec, tmp_path) == before
        setattr(served, field, "another")
        assert CompletionEndpointAdapter().stand_ins(spec, tmp_path) != before


def test_the_server_says_how_long_a_sequence_may_be(notes, tmp_path):
    folder, model = notes
    served = Served(model)
    served.told |= {"max_model_len": 333, "meta": {"n_params": 1234, "n_ctx_train": 512}}
    with serving(served):
        spec = spec_of(served, folder, context=None)
        assert CompletionEndpointAdapter().describe(spec, tmp_path) == (1234, 333)
        with pytest.raises(ValueError, match="does not fit"):
            ask(served, tmp_path, folder, context=16).score([np.zeros(17, dtype=np.int32)], ScoreRequest())


def test_what_takes_the_whole_distribution_is_refused(notes, tmp_path):
    folder, model = notes
    with serving(Served(model)) as served:
        asked = ask(served, tmp_path, folder)
        for request in (ScoreRequest(moments=True), ScoreRequest(top_k=40)):
            with pytest.raises(UnsupportedError, match="a few likely tokens"):
                asked.score([np.zeros(3, dtype=np.int32)], request)


def test_a_server_that_answers_nothing_is_named(tmp_path):
    with serving(Served(None)) as served, pytest.raises(SubjectError, match="answers neither") as caught:
        CompletionEndpointAdapter().stand_ins(spec_of(served), tmp_path)
    assert NAME in caught.value.hint


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(alphabet="ab .\n\t é", max_size=40), st.integers(0, 40))
def test_words_give_back_every_text(text, cut):
    words = Words()
    ids = words.encode([text])[0]
    assert words.decode(ids.tolist()) == text
    cut = min(cut, len(ids))
    head = words.decode(ids[:cut].tolist())
    if text.startswith(head):  # a text that is cut between two words continues with the space between them
        np.testing.assert_array_equal(words.after(ids[:cut], text[len(head) :]), ids[cut:])


def test_a_word_that_goes_on_is_another_word():
    words = Words()
    prefix = words.encode(["the boat"])[0]
    assert not np.array_equal(words.after(prefix, "house at night")[:2], words.encode(["at night"])[0])
    np.testing.assert_array_equal(words.after(prefix, " at night"), words.encode(["at night"])[0])


def test_ties_need_two_tokens_that_are_as_likely():
    from auditor.subjects.endpoint.answers import Echo
    from auditor.subjects.endpoint.speaking import _scores_of

    echo = Echo(("a", "b", "c", "d"), (None, -1.0, -0.1, -3.0), ((), (-1.0, -1.0 - TIE_GAP / 2), (-0.1,), (-0.5, -2.0)))
    found = _scores_of(echo, range(1, 4))
    assert found.hit.tolist() == [True, True, False]
    assert found.tie.tolist() == [True, False, False]
