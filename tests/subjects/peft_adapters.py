"""Adapters of several kinds with random weights on tiny models, written as peft writes them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM

if TYPE_CHECKING:
    from pathlib import Path


def config_of(kind: str, **options: Any) -> Any:
    import peft

    common: dict[str, Any] = {"task_type": "CAUSAL_LM", "target_modules": ["q_proj", "v_proj", "down_proj"]}
    made: dict[str, tuple[Any, dict[str, Any]]] = {
        "lora": (peft.LoraConfig, {"r": 4, "lora_alpha": 8, "lora_dropout": 0.3}),
        "dora": (peft.LoraConfig, {"r": 4, "use_dora": True}),
        "rslora": (peft.LoraConfig, {"r": 4, "use_rslora": True, "rank_pattern": {"down_proj": 2}}),
        "head": (peft.LoraConfig, {"r": 4, "modules_to_save": ["lm_head"]}),
        "tokens": (peft.LoraConfig, {"r": 4, "trainable_token_indices": [5, 9]}),
        "adalora": (peft.AdaLoraConfig, {"init_r": 4, "total_step": 10}),
        "ia3": (peft.IA3Config, {"feedforward_modules": ["down_proj"]}),
        "loha": (peft.LoHaConfig, {"r": 4}),
        "lokr": (peft.LoKrConfig, {"r": 4}),
    }
    config, own = made[kind]
    return config(**{**common, **own, **options})


def write_adapter(
    base: Path, folder: Path, kind: str = "lora", *, seed: int = 3, merged: Path | None = None, **options: Any
) -> Path:
    """Write an adapter whose weights are large enough to be seen, and the model it makes when merged."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(base)
        made = peft.get_peft_model(model, config_of(kind, **options))
        torch.manual_seed(seed)
        with torch.no_grad():
            for weight in made.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight) * 0.2)
        made.save_pretrained(folder)
        if merged is not None:
            whole = made.merge_and_unload()
            whole.save_pretrained(merged)
            from transformers import AutoTokenizer

            AutoTokenizer.from_pretrained(base).save_pretrained(merged)
    return folder
