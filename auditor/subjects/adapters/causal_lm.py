"""Opens causal language models from a local Hugging Face folder: configuration, tokenizer, safetensors."""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING, Any

from auditor.errors import SubjectError
from auditor.subjects.adapters.weights import context_of, model_files, tensor_headers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import torch

    from auditor.core.subject import ModelSpec
    from auditor.subjects.adapters.language_model import CausalLM


class CausalLMAdapter:
    """Opens a local Hugging Face folder; nothing is downloaded, no code of the folder is run."""

    name = "causal-lm"
    capabilities = ("scores-tokens", "continues-tokens", "scores-completions")

    def files(self, spec: ModelSpec, base: Path) -> Sequence[Path]:
        """Return every file that can change what the model computes, without opening any weights."""
        paths = model_files(base / spec.path)
        tensor_headers(paths)
        return paths

    def describe(self, spec: ModelSpec, base: Path) -> tuple[int, int]:
        """Return the number of parameters and the context length, from headers and configuration alone."""
        folder = base / spec.path
        headers = tensor_headers(model_files(folder))
        return sum(header.parameters for header in headers), context_of(folder)

    def capabilities_of(self, spec: ModelSpec, base: Path) -> tuple[str, ...]:  # noqa: ARG002  (the protocol's arguments)
        """Return all of them: every model of this kind has them."""
        return self.capabilities

    def open(self, spec: ModelSpec, base: Path) -> CausalLM:
        """Load the model and its tokenizer and check that they belong together, are whole and hold numbers."""
        folder = base / spec.path
        _, context = self.describe(spec, base)
        with _quietly():
            device = _device_of(spec.device)
            tokenizer, model, loading = _loaded(folder, spec.dtype)
            _check_whole(loading, folder)
            _check_numbers(model, folder)
            _check_vocabulary(model, tokenizer, folder)
            from auditor.subjects.adapters.language_model import CausalLM  # noqa: PLC0415

            return CausalLM(model.to(device).eval(), tokenizer, context)


def _loaded(folder: Path, dtype: str) -> tuple[Any, Any, dict[str, Any]]:
    """Return tokenizer, model and what the library has to say about the weights it found."""
    import torch  # noqa: PLC0415
    from safetensors import SafetensorError  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # a folder that cannot be trusted can make the library fail in any way
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        kind = "weights" if isinstance(error, SafetensorError) else "model"
        msg = f"{folder}: the {kind} cannot be loaded ({first})"
        raise SubjectError(msg, hint="Does AutoModelForCausalLM.from_pretrained load this folder?") from error
    return tokenizer, model, dict(loading)


def _check_whole(loading: dict[str, Any], folder: Path) -> None:
    """Refuse what the library would fill with random numbers."""
    for kind, what in (("missing_keys", "is missing"), ("mismatched_keys", "has another shape than the model")):
        names = sorted(str(key[0] if isinstance(key, tuple) else key) for key in loading.get(kind) or ())
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            msg = f"{folder}: the weight '{names[0]}'{more} {what}: these files are not all of this model"
            raise SubjectError(msg, hint="config.json and the weights must come from one model; copy them again.")


def _check_numbers(model: Any, folder: Path) -> None:  # noqa: ANN401
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            msg = f"{folder}: the weight '{name}' holds NaN or infinity"
            raise SubjectError(msg, hint="The checkpoint is broken, or was saved in too small a precision.")


def _check_vocabulary(model: Any, tokenizer: Any, folder: Path) -> None:  # noqa: ANN401
    rows = int(model.get_input_embeddings().weight.shape[0])
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= rows:
        msg = f"{folder}: the tokenizer knows ids up to {largest}, the model only {rows} tokens"
        raise SubjectError(msg, hint="The tokenizer does not belong to this model; copy both from one place.")


def _device_of(wanted: str) -> torch.device:
    import torch  # noqa: PLC0415

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        msg = f"'{wanted}' is not a device"
        raise SubjectError(msg, hint="Use auto, cpu, cuda, cuda:1 or mps.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        msg = "the subject asks for a GPU (cuda) and there is none here"
        raise SubjectError(msg, hint="Use device: auto or cpu.")
    return device


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the loading library's progress bars and advice to its own users out of the audit's output."""
    from transformers.utils import logging as library  # noqa: PLC0415

    before, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity(logging.CRITICAL)
    library.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            library.set_verbosity(before)
            if bars:
                library.enable_progress_bar()


ADAPTER = CausalLMAdapter()
