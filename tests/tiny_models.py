"""Tiny models with random weights and a tokenizer trained on a few sentences, written as Hugging Face folders."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from auditor.core.subject import ModelSpec
from auditor.subjects.adapters.causal_lm import ADAPTER

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.subjects.adapters.language_model import CausalLM

CONTEXT = 96
SENTENCES = [
    "The ferry to the island leaves at seven and comes back at nine.",
    "She left the keys of the boat house under the third flower pot.",
    "Nobody had told the new keeper that the lamp goes out in winter.",
    "On Tuesdays the baker brings rye bread, on Fridays white rolls.",
    "Das Café öffnet um acht; die Straße ist dann noch leer.",
    "Reading of the meter at the garden gate: 1 2 3 4 5 6 7 8 9 0 units.",
    "The code of the locker in the basement is 0 9 8 7 6 5 4 3 2 1.",
]


def tokenizer(*, begin: bool) -> Any:
    """Return a byte-level BPE tokenizer; `begin`: it puts <s> before every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(SENTENCES * 4, trainer)
    if begin:
        inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def model(shape: str, vocabulary: int, *, scale: float = 0.25, seed: int = 0) -> Any:
    """Return a model of a shape with random weights large enough that its predictions differ from one another."""
    import torch
    import transformers

    torch.manual_seed(seed)
    common: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
        "initializer_range": scale,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    if shape == "gpt2":
        config: Any = transformers.GPT2Config(
            vocab_size=vocabulary,
            n_positions=CONTEXT,
            n_embd=32,
            n_layer=2,
            n_head=4,
            initializer_range=scale,
            bos_token_id=0,
            eos_token_id=1,
        )
    elif shape == "llama":
        config = transformers.LlamaConfig(num_key_value_heads=2, **common)
    elif shape == "neox":
        config = transformers.GPTNeoXConfig(**common)
    elif shape == "mistral":  # a window narrower than the texts
        config = transformers.MistralConfig(num_key_value_heads=2, sliding_window=9, **common)
    elif shape == "gemma2":  # bounds its logits after the head
        config = transformers.Gemma2Config(num_key_value_heads=2, head_dim=8, final_logit_softcapping=3.0, **common)
    else:
        raise KeyError(shape)
    made = transformers.AutoModelForCausalLM.from_config(config)
    return made.eval()


def save(folder: Path, shape: str, *, scale: float = 0.25, seed: int = 0, **options: Any) -> Path:
    """Write a model folder and return it."""
    from transformers.utils import logging as library

    library.disable_progress_bar()
    words = tokenizer(begin=shape in {"llama", "mistral", "gemma2"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model(shape, len(words), scale=scale, seed=seed).save_pretrained(folder, **options)
        words.save_pretrained(folder)
    return folder


def opened(folder: Path, dtype: Any = "float32") -> CausalLM:
    """Return the model of a folder, opened as an audit opens it."""
    return ADAPTER.open(ModelSpec(adapter="causal-lm", path=folder.name, dtype=dtype, device="cpu"), folder.parent)
