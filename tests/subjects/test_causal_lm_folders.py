"""Opening a model folder: what is accepted, and how everything else is refused before it is opened."""

from __future__ import annotations

import json
import shutil
import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import CONTEXT, opened, save, tokenizer

from auditor.contract.protocol import Adapter
from auditor.core.subject import ModelSpec
from auditor.errors import SubjectError
from auditor.subjects.adapters.causal_lm import ADAPTER
from auditor.subjects.adapters.weights import PICKLES
from auditor.subjects.capability import ScoreRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.subjects.adapters.language_model import CausalLM

WEIGHTS = "model.safetensors"


def spec(path: str = "model", **options: Any) -> ModelSpec:
    return ModelSpec(adapter="causal-lm", path=path, **options)


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(folders["llama"], tmp_path / "model")


def change(folder: Path, name: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / name).read_text())
    edit(content)
    (folder / name).write_text(json.dumps(content))


def header_of(folder: Path) -> tuple[int, dict[str, Any], bytes]:
    raw = (folder / WEIGHTS).read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    return length, json.loads(raw[8 : 8 + length]), raw[8 + length :]


def with_header(folder: Path, header: Any, data: bytes) -> None:
    encoded = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


def refusal(folder: Path, *, on: str = "files") -> SubjectError:
    """Return the error; it names the folder and says what to do."""
    ask = ADAPTER.files if on == "files" else ADAPTER.open
    with pytest.raises(SubjectError) as caught:
        ask(spec(folder.name), folder.parent)
    assert caught.value.hint
    assert str(folder) in caught.value.message
    return caught.value


def test_it_meets_the_protocol() -> None:
    assert isinstance(ADAPTER, Adapter)


def test_files_are_all_that_can_change_what_is_computed(folder: Path) -> None:
    (folder / "README.md").write_text("not part of the computation")
    names = [path.name for path in ADAPTER.files(spec(), folder.parent)]
    assert names == sorted(names)
    assert {"config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"} <= set(names)
    assert "README.md" not in names


@pytest.mark.parametrize("shape", ["gpt2", "llama", "neox"])
def test_description_without_weights(folders: dict[str, Path], shape: str) -> None:
    parameters, context = ADAPTER.describe(spec(shape), folders[shape].parent)
    assert context == CONTEXT
    assert parameters == sum(tensor.numel() for tensor in load_file(folders[shape] / WEIGHTS).values())


def test_a_sharded_model_computes_the_same(folder: Path, models: dict[str, CausalLM], tmp_path: Path) -> None:
    shards = save(tmp_path / "shards", "llama", max_shard_size="20KB")
    assert len(list(shards.glob("*.safetensors"))) > 2
    assert ADAPTER.describe(spec("shards"), tmp_path) == ADAPTER.describe(spec(), folder.parent)
    assert len(ADAPTER.files(spec("shards"), tmp_path)) > len(ADAPTER.files(spec(), folder.parent))
    ids = [np.arange(3, 30, dtype=np.int32)]
    one, other = opened(shards).score(ids, ScoreRequest())[0], models["llama"].score(ids, ScoreRequest())[0]
    np.testing.assert_array_equal(one.logprob, other.logprob)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shards = save(tmp_path / "shards", "llama", max_shard_size="20KB")
    gone = sorted(shards.glob("*.safetensors"))[1]
    gone.unlink()
    assert gone.name in refusal(shards).message


def test_an_index_that_is_not_of_its_shards(tmp_path: Path) -> None:
    shards = save(tmp_path / "shards", "llama", max_shard_size="20KB")
    index = "model.safetensors.index.json"
    names = sorted(path.name for path in shards.glob("*.safetensors"))

    def swap(content: dict[str, Any]) -> None:
        content["weight_map"]["lm_head.weight"] = next(
            name for name in names if name != content["weight_map"]["lm_head.weight"]
        )

    change(shards, index, swap)
    assert "'lm_head.weight' is not in" in refusal(shards).message
    change(shards, index, lambda content: content["weight_map"].update({"lm_head.weight": "../elsewhere.safetensors"}))
    assert "not a safetensors file of this folder" in refusal(shards).message
    (shards / index).write_text('{"weight_map": 3}')
    assert "not a safetensors index" in refusal(shards).message


def test_shards_without_their_index(tmp_path: Path) -> None:
    shards = save(tmp_path / "shards", "llama", max_shard_size="20KB")
    (shards / "model.safetensors.index.json").unlink()
    assert "neither model.safetensors nor" in refusal(shards).message


@pytest.mark.parametrize("ending", PICKLES)
def test_a_pickle_is_refused_with_a_way_out(folder: Path, ending: str) -> None:
    (folder / WEIGHTS).unlink()
    (folder / f"pytorch_model{ending}").write_bytes(b"\x80\x04cos\nsystem\n(S'touch /never'\ntR.")
    error = refusal(folder)
    assert "pickle" in error.message
    assert f"pytorch_model{ending}" in error.message
    assert "safetensors" in error.hint
    assert "container" in error.hint


def test_no_weights_no_tokenizer_no_configuration_no_folder(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "hidden")
    assert "there are no weights" in refusal(folder).message
    (folder / "hidden").rename(folder / WEIGHTS)
    (folder / "tokenizer.json").rename(folder / "hidden")
    assert "there is no tokenizer" in refusal(folder).message
    (folder / "hidden").rename(folder / "tokenizer.json")
    (folder / "config.json").write_text("{")
    assert "not valid JSON" in refusal(folder).message
    (folder / "config.json").write_text("[]")
    assert "not a JSON object" in refusal(folder).message
    (folder / "config.json").unlink()
    assert "configuration cannot be read" in refusal(folder).message
    shutil.rmtree(folder)
    assert "no such model folder" in refusal(folder).message


@pytest.mark.parametrize(
    ("name", "key", "value", "said"),
    [
        ("config.json", "auto_map", {"AutoModelForCausalLM": "modeling.Evil"}, "code of its own"),
        ("config.json", "quantizer", {"auto_map": {"AutoConfig": "c.C"}}, "code of its own"),
        ("tokenizer_config.json", "auto_map", {"AutoTokenizer": ["t.T", None]}, "code of its own"),
        ("config.json", "attn_implementation", "somebody/fast-attention", "code from elsewhere"),
        ("config.json", "_attn_implementation", "somebody/fast-attention@v1", "code from elsewhere"),
        ("config.json", "transformers_weights", "other.safetensors", "names other weights"),
    ],
)
def test_code_and_weights_from_elsewhere_are_refused(folder: Path, name: str, key: str, value: Any, said: str) -> None:
    change(folder, name, lambda content: content.update({key: value}))
    assert said in refusal(folder).message


def test_an_adapter_on_a_model_elsewhere_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/base"}')
    error = refusal(folder)
    assert "adapter" in error.message
    assert "peft: <this folder>" in error.hint


@pytest.mark.parametrize("kept", [0, 5, 8, 40, 0.5, -1])
def test_a_file_cut_short_says_how_much_is_missing(folder: Path, kept: float) -> None:
    raw = (folder / WEIGHTS).read_bytes()
    length = int(kept * len(raw)) if isinstance(kept, float) else kept
    (folder / WEIGHTS).write_bytes(raw[:length])
    error = refusal(folder)
    assert WEIGHTS in error.message
    if kept in {0.5, -1}:
        missing = len(raw) - len(raw[:length])
        assert f"{missing:,} bytes are missing" in error.message
    else:
        assert "cut short" in error.message


def test_bytes_too_many(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as stream:
        stream.write(b"\0" * 1234)
    assert "1,234 bytes too many" in refusal(folder).message


def test_damaged_headers(folder: Path) -> None:
    _, header, data = header_of(folder)
    name = "model.norm.weight"
    begin, end = header[name]["data_offsets"]
    for damage, said in (
        ({"data_offsets": [begin, end + 4]}, f"offsets of '{name}'"),
        ({"shape": [3]}, f"offsets of '{name}'"),
        ({"data_offsets": [0, end - begin]}, "overlap"),
        ({"data_offsets": ["x", 4]}, "header is damaged"),
        ({"data_offsets": None}, "header is damaged"),
        ({"shape": 7}, "header is damaged"),
    ):
        with_header(folder, header | {name: header[name] | damage}, data)
        assert said in refusal(folder).message
    with_header(folder, [1], data)
    assert "header is damaged" in refusal(folder).message
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 2**62) + b"{}")
    assert "not a safetensors file" in refusal(folder).message
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 100_000) + b"[" * 100_000)
    assert "nested too deeply" in refusal(folder).message


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(folder: Path, number: float) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = number
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    assert "'model.layers.1.mlp.up_proj.weight' holds NaN or infinity" in refusal(folder, on="open").message


def test_weights_that_are_missing_are_never_filled_in_by_chance(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    assert "'model.layers.0.mlp.up_proj.weight' is missing" in refusal(folder, on="open").message


def test_weights_of_another_shape(folder: Path) -> None:
    change(folder, "config.json", lambda content: content.update(intermediate_size=80))
    refusal(folder, on="open")


def test_a_tokenizer_of_another_model(folder: Path) -> None:
    words = tokenizer(begin=True)
    words.add_tokens([f"<word-{number}>" for number in range(9)])
    words.save_pretrained(folder)
    assert "the model only" in refusal(folder, on="open").message


def test_a_model_with_more_rows_than_its_tokenizer_has_words_is_fine(tmp_path: Path) -> None:
    """Embeddings are often padded to a round number of rows."""
    from tiny_models import model as made_model

    words = tokenizer(begin=False)
    made_model("gpt2", len(words) + 24).save_pretrained(tmp_path / "model")
    words.save_pretrained(tmp_path / "model")
    model = opened(tmp_path / "model")
    assert model.vocabulary == len(words) + 24


def test_an_unknown_architecture(folder: Path) -> None:
    change(folder, "config.json", lambda content: content.update(model_type="unheard-of", architectures=["X"]))
    assert "cannot be loaded" in refusal(folder, on="open").message


def test_devices(folder: Path) -> None:
    for device, said in (("teapot", "not a device"), ("cuda", "there is none here")):
        if device == "cuda" and torch.cuda.is_available():
            continue
        with pytest.raises(SubjectError, match=said):
            ADAPTER.open(spec(device=device), folder.parent)


def test_opening_says_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = ADAPTER.open(spec(), folder.parent)
        long = model.encode(["The ferry to the island. " * 100])[0]
        assert len(long) > CONTEXT
        model.score([long[:CONTEXT]], ScoreRequest())
    assert capfd.readouterr() == ("", "")


def test_begin_is_what_the_tokenizer_itself_puts_before_a_text(models: dict[str, CausalLM]) -> None:
    assert models["llama"].begin == 0
    assert models["gpt2"].begin is None


def test_a_tokenizer_that_puts_a_token_after_the_text_has_no_begin(tmp_path: Path) -> None:
    from tokenizers import processors

    words = tokenizer(begin=False)
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A <s>", special_tokens=[("<s>", 0)])
    folder = save(tmp_path / "model", "gpt2")
    words.save_pretrained(folder)
    assert opened(folder).begin is None


def test_text_goes_through_tokens_and_back(any_model: CausalLM) -> None:
    texts = ["The ferry to the island", " two  spaces , and Straße ☂ 漢字\n\tend ", "", "x"]
    rows = any_model.encode(texts)
    assert [any_model.decode(ids.tolist()) for ids in rows] == texts
    assert all(ids.dtype == np.int32 for ids in rows)
    assert len(rows[2]) == 0
    assert any_model.encode([]) == []
    assert not any(any_model.begin is not None and any_model.begin in ids for ids in rows)
