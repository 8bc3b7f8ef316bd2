"""Checks a model folder before anything in it is opened: what is missing, refused, cut short or not a number."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.core.record import parse_json
from auditor.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Endings of weights that run code when they are opened."""

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
_DEFAULT_CONTEXT = 2048
"""Where a configuration names no longest sequence: the model has none of its own."""
_LARGEST_HEADER = 100_000_000
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_CONFIGURATIONS = ("config.json", "generation_config.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """One tensor as a safetensors file declares it."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """Number of values."""
        product = 1
        for size in self.shape:
            product *= size
        return product


def model_files(folder: Path) -> list[Path]:
    """Return every file that can change what the model computes, sorted; none is opened beyond its header.

    Raises:
        SubjectError: Configuration, tokenizer or weights are missing; weights are a pickle; code is shipped.
    """
    if not folder.is_dir():
        msg = f"{folder}: there is no such model folder"
        raise SubjectError(msg, hint="Give the folder with config.json, the tokenizer and *.safetensors as model.path.")
    refuse_detours(folder)
    if not any((folder / name).exists() for name in VOCABULARIES):
        msg = f"{folder}: there is no tokenizer"
        raise SubjectError(msg, hint="Save the tokenizer beside the model: tokenizer.save_pretrained(folder).")
    named = (folder / name for name in (*_CONFIGURATIONS, *TOKENIZER_FILES))
    return sorted([*weight_files(folder), *(path for path in named if path.exists())])


def refuse_detours(folder: Path) -> None:
    """Refuse a folder that would make the library run code, or open weights, that are not those we digest."""
    configurations = [("config.json", read_config(folder))]
    configurations += [
        (name, read_config(folder, name))
        for name in ("tokenizer_config.json", "generation_config.json")
        if (folder / name).exists()
    ]
    for name, config in configurations:
        parts = [config, *(value for value in config.values() if isinstance(value, dict))]
        if any("auto_map" in part or "custom_generate" in part for part in parts):
            msg = f"{folder / name}: the model asks for code of its own (auto_map), which is not run"
            hint = "Audit a model of an architecture that transformers ships; remote code stays off."
            raise SubjectError(msg, hint=hint)
        for part in parts:
            for key, value in part.items():
                if key.endswith("_implementation") and "/" in str(value):
                    msg = f"{folder / name}: '{key}' asks for code from elsewhere ({value}), which is not run"
                    raise SubjectError(msg, hint=f"Remove '{key}' from {name}.")
    if "transformers_weights" in configurations[0][1]:
        msg = f"{folder / 'config.json'}: 'transformers_weights' names other weights than {WEIGHTS}"
        raise SubjectError(msg, hint=f"Name the weights {WEIGHTS} and remove 'transformers_weights'.")
    if (folder / "adapter_config.json").exists():
        msg = f"{folder / 'adapter_config.json'}: an adapter (PEFT) on a base model that lies elsewhere"
        raise SubjectError(msg, hint="Name both: model: {path: <folder of the base model>, peft: <this folder>}.")


def context_of(folder: Path) -> int:
    """Return the longest sequence the model takes, tokens, as its configuration says."""
    return context_in(read_config(folder))


def context_in(config: Mapping[str, Any]) -> int:
    """Return the longest sequence a configuration names, tokens."""
    nested = config.get("text_config")
    for part in (config, nested if isinstance(nested, dict) else {}):
        for key in _CONTEXT_KEYS:
            value = part.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return _DEFAULT_CONTEXT


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """Return the model's configuration, or another JSON object of its folder.

    Raises:
        SubjectError: It is missing or not a JSON object.
    """
    path = folder / name
    try:
        config = parse_json(path.read_bytes())
    except OSError as error:
        msg = f"{path}: the model's configuration cannot be read ({error.strerror or error})"
        raise SubjectError(msg, hint="A Hugging Face model folder has a config.json.") from error
    except ValueError as error:
        msg = f"{path}: not valid JSON ({error})"
        raise SubjectError(msg, hint="Copy the model folder again from its origin.") from error
    if not isinstance(config, dict):
        msg = f"{path}: not a JSON object"
        raise SubjectError(msg, hint="Copy the model folder again from its origin.")
    return config


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of the model, all of them there.

    Raises:
        SubjectError: There are none, only pickles, or a shard of the index is missing.
    """
    if (folder / WEIGHTS).is_file():  # the library prefers it to an index, too
        return [folder / WEIGHTS]
    index = folder / INDEX
    if index.exists():
        return [index, *sharded(index)]
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if found:
        msg = f"{folder}: there is {found[0]}, and neither {WEIGHTS} nor {INDEX}"
        raise SubjectError(msg, hint="Copy the missing file from the model's origin, or save with save_pretrained.")
    raise missing_weights(folder)


def missing_weights(folder: Path) -> SubjectError:
    """Return the error for a folder without safetensors: there is a pickle, which is refused, or nothing."""
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        msg = f"{folder / pickles[0]}: weights in a pickle are refused, because opening a pickle runs its code"
        hint = (
            "Convert it in a machine you can throw away (a container without network): load it with "
            "torch.load(path, weights_only=True) and save it with safetensors.torch.save_model, then copy only "
            "*.safetensors back."
        )
        return SubjectError(msg, hint=hint)
    msg = f"{folder}: there are no weights (*.safetensors)"
    return SubjectError(msg, hint="Save the model with model.save_pretrained(folder).")


def sharded(index: Path) -> list[Path]:
    """Return the shards of an index: all are there, and each holds the tensors that the index says."""
    try:
        table = parse_json(index.read_bytes())["weight_map"]
        names = sorted({str(name) for name in table.values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{index}: not a safetensors index ({type(error).__name__}: {error})"
        raise SubjectError(msg, hint="Copy the model folder again from its origin.") from error
    outside = [name for name in names if "/" in name or "\\" in name or not name.endswith(".safetensors")]
    if outside:
        msg = f"{index}: '{outside[0]}' is not a safetensors file of this folder"
        raise SubjectError(msg, hint="Copy the model folder again from its origin.")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing or not names:
        msg = f"{index}: weight files are missing: {', '.join(missing) or 'it names none'}"
        raise SubjectError(msg, hint="Copy the missing shards into the model folder.")
    held = {name: {header.name for header in _headers_of(index.parent / name)} for name in names}
    for tensor, name in table.items():
        if tensor not in held[name]:
            msg = f"{index}: the weight '{tensor}' is not in {name}"
            raise SubjectError(msg, hint="Index and shards are not of one model; copy the folder again.")
    return [index.parent / name for name in names]


def tensor_headers(paths: Sequence[Path]) -> list[TensorHeader]:
    """Return every tensor that the weight files declare; the bytes of each file are exactly as many as it declares.

    Raises:
        SubjectError: A file is cut short, damaged or not a safetensors file.
    """
    return [header for path in paths if path.suffix == ".safetensors" for header in _headers_of(path)]


def _headers_of(path: Path) -> list[TensorHeader]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(_LARGEST_HEADER, max(size - 8, 0)):
            msg = f"{path}: cut short or not a safetensors file ({size:,} bytes, header of {length:,})"
            raise SubjectError(msg, hint="Copy the file again from its origin and compare its SHA-256.")
        raw = stream.read(length)
    try:
        declared = parse_json(raw)
        declared.pop("__metadata__", None)
        headers, spans = [], []
        for name, entry in declared.items():
            header = TensorHeader(name, entry["dtype"], tuple(int(extent) for extent in entry["shape"]))
            first, last = (int(offset) for offset in entry["data_offsets"])
            width = _WIDTHS.get(header.dtype)
            if width is not None and last - first != width * header.parameters:
                raise ValueError(f"offsets of '{name}' do not fit its shape")  # noqa: EM102, TRY003, TRY301
            spans.append((first, last))
            headers.append(header)
        end = 0
        for first, last in sorted(spans):
            if first != end or last < first:
                raise ValueError(f"tensors overlap or leave a hole at byte {end:,}")  # noqa: EM102, TRY003, TRY301
            end = last
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{path}: the header is damaged ({error})"
        raise SubjectError(msg, hint="Copy the file again from its origin and compare its SHA-256.") from error
    expected = 8 + length + end
    if size != expected:
        what = f"{expected - size:,} bytes are missing" if size < expected else f"{size - expected:,} bytes too many"
        msg = f"{path}: {what} ({size:,} of {expected:,})"
        raise SubjectError(msg, hint="Copy the file again from its origin and compare its SHA-256.")
    return headers
