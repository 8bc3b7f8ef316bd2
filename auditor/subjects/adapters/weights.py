"""Checks a model folder before anything in it is opened: what is missing, refused, cut short or not a number."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.core.record import parse_json
from auditor.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Endings of weights that run code when they are opened."""

INDEX = "model.safetensors.index.json"
_LARGEST_HEADER = 100_000_000
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
)
_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")


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
    config = read_config(folder)
    if "auto_map" in config:
        msg = f"{folder / 'config.json'}: the model asks for code of its own (auto_map), which is not run"
        raise SubjectError(msg, hint="Audit a model of an architecture that transformers ships; remote code stays off.")
    if not any((folder / name).exists() for name in _TOKENIZERS):
        msg = f"{folder}: there is no tokenizer"
        raise SubjectError(msg, hint="Save the tokenizer beside the model: tokenizer.save_pretrained(folder).")
    return sorted([*weight_files(folder), *(folder / name for name in _FILES if (folder / name).exists())])


def read_config(folder: Path) -> dict[str, Any]:
    """Return the model's configuration.

    Raises:
        SubjectError: It is missing or not a JSON object.
    """
    path = folder / "config.json"
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
    index = folder / INDEX
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            msg = f"{index}: not a safetensors index ({error})"
            raise SubjectError(msg, hint="Copy the model folder again from its origin.") from error
        missing = [name for name in names if not (folder / name).is_file()]
        if missing or any("/" in name or name.startswith("..") for name in names):
            msg = f"{index}: weight files are missing: {', '.join(missing) or 'names leave the folder'}"
            raise SubjectError(msg, hint="Copy the missing shards into the model folder.")
        return [index, *(folder / name for name in names)]
    found = sorted(folder.glob("*.safetensors"))
    if found:
        return found
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        msg = f"{folder / pickles[0]}: weights in a pickle are refused, because opening a pickle runs its code"
        hint = (
            "Convert it in a machine you can throw away (a container without network): load it with "
            "torch.load(path, weights_only=True) and save it with safetensors.torch.save_model, then copy only "
            "*.safetensors back."
        )
        raise SubjectError(msg, hint=hint)
    msg = f"{folder}: there are no weights (*.safetensors)"
    raise SubjectError(msg, hint="Save the model with model.save_pretrained(folder).")


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
        declared = json.loads(raw)
        declared.pop("__metadata__", None)
        headers, end = [], 0
        for name, entry in declared.items():
            header = TensorHeader(name, entry["dtype"], tuple(int(extent) for extent in entry["shape"]))
            first, last = (int(offset) for offset in entry["data_offsets"])
            width = _WIDTHS.get(header.dtype)
            if first > last or (width is not None and last - first != width * header.parameters):
                raise ValueError(f"offsets of '{name}' do not fit its shape")  # noqa: EM102, TRY003, TRY301
            end = max(end, last)
            headers.append(header)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{path}: the header is damaged ({error})"
        raise SubjectError(msg, hint="Copy the file again from its origin and compare its SHA-256.") from error
    expected = 8 + length + end
    if size != expected:
        what = f"{expected - size:,} bytes are missing" if size < expected else f"{size - expected:,} bytes too many"
        msg = f"{path}: {what} ({size:,} of {expected:,})"
        raise SubjectError(msg, hint="Copy the file again from its origin and compare its SHA-256.")
    return headers
