"""A model with a PEFT adapter: the same numbers as merged, the base below it in the same memory, and every misfit refused."""

from __future__ import annotations

import builtins
import gc
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from peft_adapters import write_adapter
from safetensors.torch import load_file, save_file
from tiny_models import save

from auditor.core.subject import ModelSpec
from auditor.errors import SubjectError, UnsupportedError
from auditor.subjects.adapters.adapted_model import ASKED, AdaptedCausalLM, BareCausalLM
from auditor.subjects.adapters.causal_lm import ADAPTER
from auditor.subjects.adapters.opening import quietly
from auditor.subjects.adapters.peft_folder import KINDS
from auditor.subjects.capability import Adapted, OpenModel, SampleRequest, ScoreRequest
from auditor.subjects.loading import OpenedFiles, open_subject, read_subject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
EVERY = ("lora", "dora", "rslora", "head", "tokens", "adalora", "ia3", "loha", "lokr")
SEQUENCES = [np.arange(3, 40, dtype=np.int32), np.arange(60, 71, dtype=np.int32), np.array([5, 9, 5], dtype=np.int32)]


def spec(**options: Any) -> ModelSpec:
    return ModelSpec(**{"adapter": "causal-lm", "path": "base", "peft": "lora", "device": "cpu", **options})


def opened(place: Path, **options: Any) -> Any:
    return ADAPTER.open(spec(**options), place)


def scores(model: Any) -> np.ndarray:
    return np.concatenate([row.logprob for row in model.score(SEQUENCES, ScoreRequest())])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapted")
    save(folder / "base", "llama")
    write_adapter(folder / "base", folder / "lora", merged=folder / "merged")
    return folder


@pytest.fixture
def place(written: Path, tmp_path: Path) -> Path:
    shutil.copytree(written, tmp_path / "here")
    return tmp_path / "here"


def change(place: Path, **values: Any) -> None:
    path = place / "lora" / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refusal(place: Path, *, on: str = "files", **options: Any) -> SubjectError:
    with pytest.raises(SubjectError) as caught:
        getattr(ADAPTER, on)(spec(**options), place)
    assert caught.value.hint
    assert str(place) in caught.value.message
    return caught.value


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_scores_as_it_does_merged_and_switched_off_as_the_base(place: Path, kind: str) -> None:
    shutil.rmtree(place / "lora")
    shutil.rmtree(place / "merged")
    write_adapter(place / "base", place / "lora", kind, merged=place / "merged")
    model = opened(place)
    merged, base = opened(place, path="merged", peft=None), opened(place, peft=None)
    np.testing.assert_allclose(scores(model), scores(merged), atol=1e-5)
    below = model.bare()
    np.testing.assert_array_equal(scores(below), scores(base))
    assert np.abs(scores(model) - scores(base)).max() > 0.05
    np.testing.assert_allclose(scores(model), scores(merged), atol=1e-5)  # and on again


def test_every_kind_that_is_let_in_is_tried() -> None:
    tried = {"dora": "lora", "rslora": "lora", "head": "lora", "tokens": "lora"}
    assert {tried.get(kind, kind).upper() for kind in EVERY} == set(KINDS)


def test_whatever_the_base_is_asked_the_adapter_is_off_and_on_again_after(place: Path) -> None:
    model, base = opened(place), opened(place, peft=None)
    below = model.bare()
    assert isinstance(model, Adapted)
    assert isinstance(below, OpenModel)
    assert below is model.bare()
    before = scores(model)
    prefixes, rest = SEQUENCES[:2], [np.array([7, 8], dtype=np.int32), np.array([9], dtype=np.int32)]
    asked: dict[str, Callable[[Any], Any]] = {
        "score": lambda m: m.score(SEQUENCES, ScoreRequest(moments=True, top_k=5))[0].top_logprob,
        "continue_greedily": lambda m: np.concatenate(m.continue_greedily(prefixes, 12)),
        "sample": lambda m: np.concatenate(m.sample(prefixes, [3, 4], SampleRequest(tokens=12))),
        "score_completions": lambda m: m.score_completions(prefixes[0], rest),
        "next_logprob": lambda m: m.next_logprob(prefixes[0], rest, np.arange(9, dtype=np.int32)),
        "other_tokens": lambda m: m.other_tokens(prefixes, 3)[0],
        "encode": lambda m: m.encode(["the ferry"])[0],
        "decode": lambda m: np.array([m.decode([60, 61])]),
        "rank_swaps": lambda m: m.rank_swaps(prefixes[1], rest[0]),
        "score_targets": lambda m: m.score_targets(prefixes[1][None], rest[0])[0],
    }
    assert set(ASKED) <= set(asked), "a new question: ask it here, too"
    for name in ASKED:
        np.testing.assert_array_equal(asked[name](below), asked[name](base), err_msg=name)
        np.testing.assert_array_equal(scores(model), before)


def test_the_adapter_is_on_again_after_a_question_that_failed(place: Path) -> None:
    model = opened(place)
    before = scores(model)
    with pytest.raises(ValueError, match="context"):
        model.bare().score([np.zeros(1000, dtype=np.int32)], ScoreRequest())
    np.testing.assert_array_equal(scores(model), before)


def test_files_and_parameters_are_those_of_both(place: Path) -> None:
    names = [path.name for path in ADAPTER.files(spec(), place)]
    assert names[-2:] == [CONFIG, WEIGHTS]
    both = ADAPTER.describe(spec(), place)[0] - ADAPTER.describe(spec(peft=None), place)[0]
    assert both == sum(tensor.numel() for tensor in load_file(place / "lora" / WEIGHTS).values())


# As a subject


SUBJECT = """\
name: tiny
controller: nobody
release_context: internal
model: {adapter: causal-lm, path: ./base, peft: ./lora, device: cpu}
references:
  - {adapter: causal-lm, path: ./base, device: cpu}
data:
  members: {path: members.jsonl, id: id}
"""


def subject(place: Path, text: str = SUBJECT) -> OpenedFiles:
    (place / "members.jsonl").write_text('{"id": "a", "text": "one"}\n')
    (place / "subject.yaml").write_text(text)
    return open_subject(read_subject(place / "subject.yaml"), lambda _: ADAPTER)


def tensors_in_memory(shape: tuple[int, ...]) -> int:
    gc.collect()
    found = [x for x in gc.get_objects() if type(x) is torch.nn.Parameter and tuple(x.shape) == shape]
    return len({tensor.data_ptr() for tensor in found})


@pytest.mark.parametrize("first", ["subject", "reference-0"])
def test_the_base_is_the_reference_in_the_same_memory(place: Path, first: str) -> None:
    shape = tuple(load_file(place / "base" / "model.safetensors")["lm_head.weight"].shape)
    before = tensors_in_memory(shape)
    found = subject(place)
    found.model(first)
    upper, below = found.model("subject"), found.model("reference-0")
    assert isinstance(upper, AdaptedCausalLM)
    assert isinstance(below, BareCausalLM)
    assert below is upper.bare()
    assert tensors_in_memory(shape) - before == 2  # embedding and head, once
    base = opened(place, peft=None)
    assert tensors_in_memory(shape) - before == 4  # so the count can see a second copy
    np.testing.assert_array_equal(scores(below), scores(base))


def test_the_base_by_digest_wherever_it_lies_and_nothing_else(place: Path) -> None:
    shutil.copytree(place / "base", place / "copy")
    copy = subject(place, SUBJECT.replace("- {adapter: causal-lm, path: ./base", "- {adapter: causal-lm, path: ./copy"))
    assert copy.model("reference-0") is copy.model("subject").bare()  # type: ignore[attr-defined]
    save(place / "twin", "llama", seed=1)
    twin = subject(place, SUBJECT.replace("- {adapter: causal-lm, path: ./base", "- {adapter: causal-lm, path: ./twin"))
    assert not isinstance(twin.model("reference-0"), BareCausalLM)
    other = subject(
        place, SUBJECT.replace("path: ./base, device: cpu}\ndata", "path: ./base, dtype: bfloat16, device: cpu}\ndata")
    )
    assert not isinstance(other.model("reference-0"), BareCausalLM)


def test_the_digest_is_of_both_folders_and_not_of_where_they_lie(place: Path) -> None:
    one = subject(place).subject.model
    assert {f"peft/{CONFIG}", f"peft/{WEIGHTS}", "model.safetensors"} <= {item.path for item in one.files}
    shutil.copytree(place / "lora", place / "base" / "inside")
    inside = subject(place, SUBJECT.replace("./lora", "./base/inside")).subject.model
    assert inside == one
    weights = load_file(place / "lora" / WEIGHTS)
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1e-3}, place / "lora" / WEIGHTS)
    assert subject(place).subject.model.digest != one.digest


def test_an_adapter_that_changed_since_is_not_opened(place: Path) -> None:
    found = subject(place)
    change(place, lora_alpha=16)
    with pytest.raises(SubjectError, match="changed after their digests"):
        found.model("subject")


def test_whoever_opens_models_without_knowing_adapters_says_so(place: Path) -> None:
    class Plain:
        name = "plain"

        def __getattr__(self, name: str) -> Any:
            return getattr(ADAPTER, name)

        def files(self, wanted: ModelSpec, base: Path) -> Any:
            return ADAPTER.files(wanted.model_copy(update={"peft": None}), base)

    (place / "members.jsonl").write_text('{"id": "a", "text": "one"}\n')
    (place / "subject.yaml").write_text(SUBJECT)
    with pytest.raises(SubjectError, match="knows no PEFT"):
        open_subject(read_subject(place / "subject.yaml"), lambda _: Plain())


# What is refused


def test_a_pickle_is_refused(place: Path) -> None:
    (place / "lora" / WEIGHTS).unlink()
    (place / "lora" / "adapter_model.bin").write_bytes(b"cos\nsystem\n")
    assert "pickle" in refusal(place).message
    (place / "lora" / "adapter_model.bin").unlink()
    assert "there are no weights" in refusal(place).message
    (place / "lora" / CONFIG).unlink()
    assert "there is no adapter" in refusal(place).message
    assert "there is no adapter" in refusal(place, peft="nowhere").message


def test_weights_that_are_cut_short(place: Path) -> None:
    raw = (place / "lora" / WEIGHTS).read_bytes()
    (place / "lora" / WEIGHTS).write_bytes(raw[:-10])
    assert "bytes are missing" in refusal(place).message


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING"),
        ({"peft_type": "XLORA"}, "XLORA"),
        ({"peft_type": None}, "None"),
        ({"peft_type": ["LORA"]}, "LORA"),
        ({"task_type": "SEQ_CLS"}, "SEQ_CLS"),
        ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, "names a module to import"),
        ({"layer_replication": [[0, 1], [0, 1]]}, "repeats layers"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the base's weights"),
    ],
)
def test_configurations_that_are_refused(place: Path, values: dict[str, Any], says: str) -> None:
    change(place, **values)
    assert says in refusal(place).message


def test_a_base_of_another_name_is_refused_until_the_subject_says_it_is_the_one(place: Path) -> None:
    change(place, base_model_name_or_path="someone/ten-times-larger")
    assert "'someone/ten-times-larger'" in refusal(place).message
    assert "peft_base: someone/ten-times-larger" in refusal(place).hint
    assert ADAPTER.files(spec(peft_base="someone/ten-times-larger"), place)
    assert "the subject file says 'someone/else'" in refusal(place, peft_base="someone/else").message
    change(place, base_model_name_or_path="someone/BASE")
    assert ADAPTER.files(spec(), place)
    change(place, base_model_name_or_path=None)
    assert ADAPTER.files(spec(), place)


def test_a_base_that_lies_there_and_is_another_is_refused(place: Path) -> None:
    save(place / "runs" / "base", "llama", seed=5)
    change(place, base_model_name_or_path=str(place / "runs" / "base"))
    assert "whose weights are not those" in refusal(place).message
    shutil.copyfile(place / "base" / "model.safetensors", place / "runs" / "base" / "model.safetensors")
    assert ADAPTER.files(spec(), place)


def test_shapes_that_do_not_fit_are_named(place: Path) -> None:
    change(place, r=6)
    message = refusal(place, on="open").message
    assert "is 4 x 64" in message
    assert "asks for 6 x 64" in message
    change(place, r=4, target_modules=["q_proj"])
    assert "belongs to no layer" in refusal(place, on="open").message
    change(place, target_modules=["q_proj", "v_proj", "down_proj", "o_proj"])
    assert "is missing" in refusal(place, on="open").message
    change(place, target_modules=["nowhere"])
    assert "does not fit the base model" in refusal(place, on="open").message


def test_another_architecture_is_refused(place: Path) -> None:
    save(place / "other", "gpt2")
    assert "does not fit the base model" in refusal(place, on="open", path="other", peft_base=_base_of(place)).message


def _base_of(place: Path) -> str:
    return str(json.loads((place / "lora" / CONFIG).read_text())["base_model_name_or_path"])


def test_weights_that_are_no_numbers(place: Path) -> None:
    weights = load_file(place / "lora" / WEIGHTS)
    name = next(iter(weights))
    save_file({**weights, name: weights[name] * float("nan")}, place / "lora" / WEIGHTS)
    assert "NaN" in refusal(place, on="open").message


def test_another_vocabulary_beside_the_adapter(place: Path) -> None:
    shutil.copyfile(place / "base" / "tokenizer.json", place / "lora" / "tokenizer.json")
    shutil.copyfile(place / "base" / "tokenizer_config.json", place / "lora" / "tokenizer_config.json")
    opened(place)
    content = json.loads((place / "lora" / "tokenizer.json").read_text())
    content["added_tokens"].append({**content["added_tokens"][0], "id": 900, "content": "<new>"})
    (place / "lora" / "tokenizer.json").write_text(json.dumps(content))
    assert "another vocabulary" in refusal(place, on="open").message


def test_without_peft_the_extra_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "peft" or name.startswith("peft."):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedError) as caught:
        opened(place)
    assert "memorization-auditor[peft]" in caught.value.hint


def test_an_adapter_that_replaced_the_embedding_cannot_be_switched_off(place: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    with quietly():
        model = AutoModelForCausalLM.from_pretrained(place / "base")
        made = peft.get_peft_model(model, peft.LoraConfig(r=4, task_type="CAUSAL_LM", target_modules=["q_proj"]))
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(1.1)
        made.save_pretrained(place / "lora", save_embedding_layers=True)
    found = subject(place)
    assert found.model("subject").bare() is None  # type: ignore[attr-defined]
    below = found.model("reference-0")
    assert not isinstance(below, BareCausalLM)
    np.testing.assert_array_equal(scores(below), scores(opened(place, peft=None)))
    assert np.abs(scores(found.model("subject")) - scores(below)).max() > 0.01
