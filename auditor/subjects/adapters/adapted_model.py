"""A causal language model with a PEFT adapter on it, and the same weights with the adapter switched off."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

from auditor.errors import SubjectError, UnsupportedError
from auditor.subjects.adapters.language_model import CausalLM
from auditor.subjects.adapters.opening import first_line, refuse_not_numbers
from auditor.subjects.adapters.peft_folder import CONFIG, WEIGHTS, shape_words
from auditor.subjects.adapters.weights import VOCABULARIES, tensor_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import torch

_EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "embed_in", "lm_head", "embed_out")


class Switch:
    """Switches the adapter of a model off while it is asked something.

    Args:
        tuner: What holds the adapter's layers.
    """

    def __init__(self, tuner: Any) -> None:  # noqa: ANN401  (peft's classes differ by kind)
        """Begin with the adapter on."""
        self._tuner = tuner
        self._depth = 0

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """Switch the adapter off, and on again when the outermost caller leaves."""
        if not self._depth:
            self._tuner.disable_adapter_layers()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._tuner.enable_adapter_layers()


class AdaptedCausalLM(CausalLM):
    """A causal language model whose layers carry an adapter; meets `Adapted`.

    Args:
        model: The model in evaluation mode, its layers adapted.
        tokenizer: Its tokenizer.
        context: Longest sequence it takes, tokens.
        switch: Switches the adapter off; None: the adapter replaced weights of the base, so nothing can.
    """

    def __init__(self, model: Any, tokenizer: Any, context: int, switch: Switch | None) -> None:  # noqa: ANN401
        """Keep what the bare model is made of."""
        super().__init__(model, tokenizer, context)
        self._switch = switch
        self._bare: CausalLM | None = None

    def bare(self) -> CausalLM | None:
        """Return the base model: the same weights in memory, asked with the adapter switched off."""
        if self._bare is None and self._switch is not None:
            with self._switch.off():
                self._bare = BareCausalLM(self._model, self._tokenizer, self.context, self._switch)
        return self._bare


class BareCausalLM(CausalLM):
    """The base of an adapted model: whatever is asked, the adapter is off until the answer is there."""

    def __init__(self, model: Any, tokenizer: Any, context: int, switch: Switch) -> None:  # noqa: ANN401
        """Keep the switch."""
        super().__init__(model, tokenizer, context)
        self._switch = switch


def _switched_off(name: str) -> Callable[..., Any]:
    method = getattr(CausalLM, name)

    @functools.wraps(method)
    def asked(self: BareCausalLM, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  (any method of the model)
        with self._switch.off():
            return method(self, *arguments, **options)

    return asked


ASKED = tuple(sorted(name for name in dir(CausalLM) if name[0] != "_" and callable(getattr(CausalLM, name))))
"""Every public method: one that is added later is asked of the base with the adapter off, too."""
for _name in ASKED:
    setattr(BareCausalLM, _name, _switched_off(_name))


def open_adapted(model: Any, tokenizer: Any, context: int, folder: Path, device: torch.device) -> AdaptedCausalLM:  # noqa: ANN401
    """Return the model with an adapter on it.

    Args:
        model: The base model; its layers are replaced in place, its weights are not copied.
        tokenizer: Its tokenizer.
        context: Longest sequence it takes, tokens.
        folder: Folder of the adapter, its files checked.
        device: Where it is to run.

    Raises:
        UnsupportedError: peft is not installed.
        SubjectError: The adapter does not fit the base, or is not whole.
    """
    try:
        from peft import PeftConfig, PeftModel, get_peft_model_state_dict  # noqa: PLC0415
    except ImportError as error:
        msg = f"{folder}: opening an adapter needs the package peft, which is not installed"
        raise UnsupportedError(msg, hint="Install memorization-auditor[peft].") from error
    _check_tokenizer(tokenizer, folder)
    held = {header.name: header.shape for header in tensor_headers([folder / WEIGHTS])}
    try:
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        made = PeftModel(model, config)
        expected = get_peft_model_state_dict(made, save_embedding_layers=False)
        whole = set(held) <= set(expected)
        if not whole and any(part in name.split(".") for name in set(held) - set(expected) for part in _EMBEDDINGS):
            expected = get_peft_model_state_dict(made, save_embedding_layers=True)
    except Exception as error:  # a folder that cannot be trusted can make the library fail in any way
        msg = f"{folder / CONFIG}: the adapter does not fit the base model ({first_line(error)})"
        hint = "Is model.path the base model that it was trained on? Does PeftModel.from_pretrained load it?"
        raise SubjectError(msg, hint=hint) from error
    _compare(held, {name: tuple(weight.shape) for name, weight in expected.items()}, folder)
    try:
        made.load_adapter(str(folder), "default", is_trainable=False, torch_device="cpu", use_safetensors=True)
    except Exception as error:
        msg = f"{folder / WEIGHTS}: the adapter cannot be loaded ({first_line(error)})"
        raise SubjectError(msg, hint="Does PeftModel.from_pretrained load this folder on this base?") from error
    inner = made.get_base_model()
    for weight in inner.parameters():
        weight.requires_grad_(False)
    refuse_not_numbers(inner, folder)
    switch = Switch(made.base_model) if whole else None
    return AdaptedCausalLM(inner.to(device).eval(), tokenizer, context, switch)


def _compare(held: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]], folder: Path) -> None:
    """Refuse an adapter that would leave layers random, or whose shapes are not those of the base and its own rank."""
    hint = "Give the base model that the adapter was trained on as model.path, and the adapter as it was saved."
    for name in sorted(set(expected) | set(held)):
        if name not in held:
            msg = f"{folder / WEIGHTS}: the weight '{name}' is missing, which {CONFIG} asks for on this base"
            raise SubjectError(msg, hint=hint)
        if name not in expected:
            msg = f"{folder / WEIGHTS}: the weight '{name}' belongs to no layer of this base"
            raise SubjectError(msg, hint=hint)
        if held[name] != expected[name]:
            msg = (
                f"{folder / WEIGHTS}: the weight '{name}' is {shape_words(held[name])}, and {CONFIG} on this base asks for "
                f"{shape_words(expected[name])} (another rank, or another base)"
            )
            raise SubjectError(msg, hint=hint)


def _check_tokenizer(tokenizer: Any, folder: Path) -> None:  # noqa: ANN401
    """Refuse an adapter that was trained with another vocabulary than the base's."""
    if not any((folder / name).exists() for name in VOCABULARIES):
        return
    from transformers import AutoTokenizer  # noqa: PLC0415

    try:
        own = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        same = own.get_vocab() == tokenizer.get_vocab()
    except Exception as error:
        msg = f"{folder}: the tokenizer beside the adapter cannot be read ({first_line(error)})"
        raise SubjectError(msg, hint="Remove the tokenizer's files from it: the base's tokenizer is used.") from error
    if not same:
        msg = f"{folder}: the tokenizer beside the adapter has another vocabulary than the base's"
        raise SubjectError(
            msg, hint="Merge the adapter: merge_and_unload(), then save_pretrained() with its tokenizer."
        )
