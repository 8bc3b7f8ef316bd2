"""What models of the shapes of Stable Diffusion 1.5 and SDXL cost, from shapes alone: nothing is computed, no weights are needed.

Parameters are counted; activations are the most bytes of tensors that live at once in a pass of one image; operations are those of matrix
products and convolutions. All of it on torch's meta device, whose tensors have shapes and no numbers.

python benchmarks/diffusion_cost.py
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from auditor.subjects.adapters.opening import quietly

VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
SMALL = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
LARGE = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
}
SHAPES: dict[str, dict[str, Any]] = {
    "SD 1.5": {
        "unet": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
        "text": (SMALL,),
    },
    "SDXL": {
        "unet": {
            "sample_size": 128,
            "cross_attention_dim": 2048,
            "attention_head_dim": (5, 10, 20),
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10),
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
            "use_linear_projection": True,
        },
        "text": (SMALL, LARGE),
    },
}


class Living(TorchDispatchMode):
    """Adds up the bytes of the tensors that live, and keeps the most; weights, of which views are made, do not count."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._sizes = {StorageWeakRef(weight.untyped_storage()): 0 for weight in model.parameters()}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for gone in [each for each in self._sizes if each.expired()]:
            del self._sizes[gone]
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self._sizes.setdefault(StorageWeakRef(storage), storage.nbytes())
        self.most = max(self.most, sum(self._sizes.values()))
        return made


def parameters(model: Any) -> int:
    return sum(weight.numel() for weight in model.parameters())


def cost(model: Any, ask: Any) -> tuple[int, int]:
    """Return bytes of activations and floating-point operations of one pass.

    Processors and GPUs fuse attention and never hold its square matrix, which the meta device does.
    """
    fused = torch.nn.functional.scaled_dot_product_attention
    with torch.no_grad():
        torch.nn.functional.scaled_dot_product_attention = lambda query, *_, **__: torch.empty_like(query)
        try:
            with Living(model) as living:
                ask()
        finally:
            torch.nn.functional.scaled_dot_product_attention = fused
        with FlopCounterMode(display=False) as counter:
            ask()
    return living.most, counter.get_total_flops()


def main() -> None:
    warnings.simplefilter("ignore")
    with quietly():
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
    for name, shape in SHAPES.items():
        size = shape["unet"]["sample_size"]
        with torch.device("meta"):
            unet = UNet2DConditionModel(**shape["unet"]).eval()
            vae = AutoencoderKL(**VAE).eval()
            kinds = (CLIPTextModel, CLIPTextModelWithProjection)
            text = [
                kind(CLIPTextConfig(vocab_size=49408, **own)) for kind, own in zip(kinds, shape["text"], strict=False)
            ]
            x, t = torch.empty(1, 4, size, size), torch.empty(1, dtype=torch.int64)
            told: dict[str, Any] = {"encoder_hidden_states": torch.empty(1, 77, shape["unet"]["cross_attention_dim"])}
            if name == "SDXL":
                told["added_cond_kwargs"] = {"text_embeds": torch.empty(1, 1280), "time_ids": torch.empty(1, 6)}
            image = torch.empty(1, 3, 8 * size, 8 * size)

            def one_pass() -> None:
                unet(x, t, **told)

            rows = {
                "network, one pass": cost(unet, one_pass),
                "encoder, one image": cost(vae, lambda: vae.encode(image).latent_dist.mean),
                "decoder, one image": cost(vae, lambda: vae.decode(x).sample),
            }
        counts = {
            "network": parameters(unet),
            "autoencoder": parameters(vae),
            "text encoders": sum(map(parameters, text)),
        }
        total = sum(counts.values())
        print(f"{name}: {', '.join(f'{what} {count:,}' for what, count in counts.items())}; together {total:,}")
        print(f"  weights: {4 * total / 2**30:.1f} GiB float32, {2 * total / 2**30:.1f} GiB bfloat16")
        for what, (living, operations) in rows.items():
            print(f"  {what}: {living / 2**20:,.0f} MiB float32 of activations, {operations / 1e12:.2f} TFLOP")
        first = 320 * size * size * 4
        print(
            f"  activations of the network in feature maps of its first level: {rows['network, one pass'][0] / first:.1f}"
        )
        print(
            f"  activations of the decoder in feature maps of its first level: {rows['decoder, one image'][0] / (128 * 64 * size * size * 4):.1f}"
        )


if __name__ == "__main__":
    main()
