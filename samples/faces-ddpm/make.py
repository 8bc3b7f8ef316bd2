"""Makes the sample again: real face crops, a split drawn before training, a small diffusion model, and a twin never shown the members.

    pip install scikit-image && python samples/faces-ddpm/make.py --out samples/faces-ddpm

The pictures are the hundred face crops of `lfw_subset.npy` (25 x 25, grey) that the package scikit-image carries, from Labeled Faces
in the Wild. Everything else follows from the seed. Training takes about half an hour for both models on two cores; weights differ
in the last digits from machine to machine.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.resources import files
from pathlib import Path

import numpy as np

from auditor.core.seeds import generator
from auditor.subjects.images import png

SEED = 20241217
FACES = 100  # the first hundred of the file; the rest shows no faces
SIZE = 24
MEMBERS, CONTROLS = 40, 40  # the remaining twenty are the twin's
COPIES = {64: 8, 16: 8, 4: 8}  # copies in training: distinct pictures; the other sixteen stood there once


def split() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return pictures (uint8, n x 24 x 24 x 1) and copies of members, controls and the twin's members."""
    faces = np.load(str(files("skimage.data") / "lfw_subset.npy"))[:FACES]
    pictures = np.rint(255 * faces[:, :SIZE, :SIZE]).astype(np.uint8)[..., None]
    order = generator(SEED, "split").permutation(FACES)
    copies, start = np.ones(MEMBERS, dtype=int), 0
    for count, distinct in COPIES.items():
        copies[start : start + distinct] = count
        start += distinct
    held, other = order[MEMBERS : MEMBERS + CONTROLS], order[MEMBERS + CONTROLS :]
    return {
        "members": (pictures[order[:MEMBERS]], copies),
        "controls": (pictures[held], np.ones(CONTROLS, dtype=int)),
        "twin": (pictures[other], copies[::2]),
    }


def write(folder: Path, kind: str, pictures: np.ndarray, copies: np.ndarray) -> None:
    """Write a folder of PNG files with metadata.jsonl, as image datasets are shared."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (picture, count) in enumerate(zip(pictures, copies, strict=True)):
        name = f"{kind}-{number:02d}.png"
        (folder / name).write_bytes(png(picture))
        rows.append({"file_name": name, "id": f"{kind}-{number:02d}", "copies": int(count)})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def train(pictures: np.ndarray, copies: np.ndarray, folder: Path, arguments: argparse.Namespace) -> dict:
    """Train a small pixel model (Ho et al. 2020) on the pictures with their copies; return the log."""
    import torch
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    torch.manual_seed(SEED)
    torch.set_num_threads(arguments.threads)
    width = arguments.width
    network = UNet2DModel(
        sample_size=SIZE, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(width, 2 * width),
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
        add_attention=False, norm_num_groups=8,
    )  # fmt: skip
    scheduler = DDIMScheduler(num_train_timesteps=1000, beta_schedule="linear", clip_sample=True)
    products = scheduler.alphas_cumprod
    x = torch.from_numpy(np.repeat(pictures, copies, axis=0).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=arguments.rate)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.rate, total_steps=arguments.steps)
    rng, torch_rng = generator(SEED, "order"), torch.Generator().manual_seed(SEED)
    log, losses, began = [], [], time.perf_counter()
    for step in range(arguments.steps):
        clean = x[torch.from_numpy(rng.integers(len(x), size=arguments.batch))]
        noise = torch.randn(clean.shape, generator=torch_rng)
        steps = torch.randint(0, 1000, (len(clean),), generator=torch_rng)
        a = products[steps].view(-1, 1, 1, 1)
        loss = torch.nn.functional.mse_loss(network(a.sqrt() * clean + (1 - a).sqrt() * noise, steps).sample, noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        cycle.step()
        losses.append(float(loss.detach()))
        if step % 250 == 249 or step == arguments.steps - 1:
            log.append(
                {
                    "step": step + 1,
                    "loss": round(float(np.mean(losses)), 4),
                    "seconds": round(time.perf_counter() - began),
                }
            )
            print(folder.name, log[-1], flush=True)
            losses.clear()
            DDIMPipeline(network.eval(), scheduler).save_pretrained(folder, safe_serialization=True)
            network.train()
    return {"parameters": sum(weight.numel() for weight in network.parameters()), "pictures": len(x), "log": log}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["model", "twin"], help="train one of the two")
    arguments = parser.parse_args()
    sets = split()
    for kind in ("members", "controls"):
        write(arguments.out / kind, kind[:-1], *sets[kind])
    record = arguments.out / "training.json"
    known = json.loads(record.read_text()) if record.exists() else {}
    for name, kind in (("model", "members"), ("twin", "twin")):
        if arguments.only in {None, name}:
            known[name] = train(*sets[kind], arguments.out / name, arguments)
    settings = {key: getattr(arguments, key) for key in ("steps", "batch", "rate", "width")}
    record.write_text(
        json.dumps({"settings": settings, **{key: known[key] for key in known if key != "settings"}}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
