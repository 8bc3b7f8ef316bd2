"""Opens causal language models from a local Hugging Face folder: configuration, tokenizer, safetensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.errors import SubjectError
from auditor.subjects.adapters.opening import device_of, first_line, quietly, refuse_gaps, refuse_not_numbers
from auditor.subjects.adapters.peft_folder import adapter_files
from auditor.subjects.adapters.weights import context_of, model_files, tensor_headers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditor.core.subject import ModelSpec
    from auditor.subjects.adapters.language_model import CausalLM


class CausalLMAdapter:
    """Opens a local Hugging Face folder; nothing is downloaded, no code of the folder is run."""

    name = "causal-lm"
    capabilities = (
        "scores-tokens",
        "continues-tokens",
        "samples-tokens",
        "scores-completions",
        "scores-next-tokens",
        "searches-prompts",
        "proposes-tokens",
    )

    def files(self, spec: ModelSpec, base: Path) -> Sequence[Path]:
        """Return every file that can change what the model computes, without opening any weights."""
        paths = model_files(base / spec.path)
        tensor_headers(paths)
        return [*paths, *adapter_files(base / spec.peft, spec, base)] if spec.peft else paths

    def describe(self, spec: ModelSpec, base: Path) -> tuple[int, int]:
        """Return the number of parameters and the context length, from headers and configuration alone."""
        folder = base / spec.path
        added = adapter_files(base / spec.peft, spec, base) if spec.peft else []
        headers = tensor_headers([*model_files(folder), *added])
        return sum(header.parameters for header in headers), context_of(folder)

    def capabilities_of(self, spec: ModelSpec, base: Path) -> tuple[str, ...]:  # noqa: ARG002  (the protocol's arguments)
        """Return all of them: every model of this kind has them."""
        return self.capabilities

    def open(self, spec: ModelSpec, base: Path) -> CausalLM:
        """Load the model and its tokenizer and check that they belong together, are whole and hold numbers."""
        folder = base / spec.path
        _, context = self.describe(spec, base)
        with quietly():
            device = device_of(spec.device)
            tokenizer, model, loading = _loaded(folder, spec.dtype)
            refuse_gaps(loading, folder)
            refuse_not_numbers(model, folder)
            _check_vocabulary(model, tokenizer, folder)
            if spec.peft:
                from auditor.subjects.adapters.adapted_model import open_adapted  # noqa: PLC0415

                return open_adapted(model, tokenizer, context, base / spec.peft, device)
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
        kind = "weights" if isinstance(error, SafetensorError) else "model"
        msg = f"{folder}: the {kind} cannot be loaded ({first_line(error)})"
        raise SubjectError(msg, hint="Does AutoModelForCausalLM.from_pretrained load this folder?") from error
    return tokenizer, model, dict(loading)


def _check_vocabulary(model: Any, tokenizer: Any, folder: Path) -> None:  # noqa: ANN401
    rows = int(model.get_input_embeddings().weight.shape[0])
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= rows:
        msg = f"{folder}: the tokenizer knows ids up to {largest}, the model only {rows} tokens"
        raise SubjectError(msg, hint="The tokenizer does not belong to this model; copy both from one place.")


ADAPTER = CausalLMAdapter()
