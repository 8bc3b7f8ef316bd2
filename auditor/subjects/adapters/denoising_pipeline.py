"""A diffusers pipeline that is open: what its network predicts, what it generates, how it fills in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from auditor.errors import DataError, UnsupportedError
from auditor.subjects.adapters.attention_weights import cross_attention_layers, recording
from auditor.subjects.adapters.batching import halving
from auditor.subjects.adapters.inpainting import filled, mask_of_latents
from auditor.subjects.adapters.network_passes import NetworkPasses
from auditor.subjects.adapters.opening import quietly
from auditor.subjects.denoiser import Condition, CrossAttention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from auditor.subjects.adapters.conditions import Conditions
    from auditor.subjects.adapters.latents import Codec

_CPU_BYTES = 256 * 2**20
"""Memory for activations on a processor; larger batches are not faster there."""
_GPU_SHARE = 0.5
"""Share of a GPU's free memory for activations."""
_LIVE_MAPS = 32
"""About how many feature maps of the first level's width live at once in a U-Net: skips, attention and its feed-forward."""
_MOST = 512
"""Most images in a batch."""


class DenoisingPipeline:
    """A diffusion model; meets `Denoiser`.

    Args:
        pipeline: The pipeline on its device, in evaluation mode.
        network: Its network.
        codec: Takes images to what the network denoises.
        conditions: What the network is conditioned on.
        latent_shape: Channels, height and width of what the network denoises.
    """

    def __init__(
        self,
        pipeline: Any,  # noqa: ANN401
        network: Any,  # noqa: ANN401
        codec: Codec,
        conditions: Conditions,
        latent_shape: tuple[int, int, int],
    ) -> None:
        """Count every image that goes through the network from here on."""
        self.image_shape = codec.image_shape
        self.latent_shape = latent_shape
        self.conditioning, self.classes, self.guided = conditions.kind, conditions.classes, conditions.guided
        self.alphas_cumprod: NDArray[np.float64] = pipeline.scheduler.alphas_cumprod.double().cpu().numpy()
        self._passes = NetworkPasses(network, latent_shape[0])
        self._pipeline, self._network, self._codec, self._conditions = pipeline, network, codec, conditions
        self._prediction: str = pipeline.scheduler.config.get("prediction_type", "epsilon")
        self._device: torch.device = pipeline.device
        self._extra = int(network.config.in_channels) - latent_shape[0]
        self._grey: torch.Tensor | None = None

    @property
    def passes(self) -> int:
        """Images that went through the network since it was opened."""
        return self._passes.images

    # What one batch may hold ----------------------------------------------------------------------------------------

    def _images_at_once(self, passes: int = 1, *, codes: bool = False) -> int:
        """Return how many images a batch may have: activations fit the memory, whatever the number of images asked.

        Args:
            passes: Rows of the network for each image (2 with guidance).
            codes: The autoencoder takes the batch, too.
        """
        _, height, width = self.latent_shape
        config = self._network.config
        maps = config.get("block_out_channels")
        wide = int(maps[0]) if maps else int(config.num_attention_heads * config.attention_head_dim)
        each = passes * _LIVE_MAPS * wide * height * width * self._network.dtype.itemsize
        if codes:
            each = max(each, self._codec.bytes_per_image)
        budget: float = _CPU_BYTES
        if self._device.type == "cuda":
            budget = _GPU_SHARE * torch.cuda.mem_get_info(self._device)[0]
        return max(1, min(_MOST, int(budget // each)))

    def _batches(self, count: int, at_once: int, work: Callable[[slice], torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield what was made of each batch, on the processor; a batch that a GPU does not hold is halved."""
        for start in range(0, count, at_once):
            parts: list[torch.Tensor] = []

            def one(rows: list[int], parts: list[torch.Tensor] = parts) -> None:
                before = self._passes.images
                try:
                    with torch.inference_mode():
                        parts.append(work(slice(rows[0], rows[-1] + 1)).cpu())
                except torch.OutOfMemoryError:
                    self._passes.images = before
                    raise

            halving(list(range(start, min(start + at_once, count))), one, "image")
            yield from parts

    # What the network predicts --------------------------------------------------------------------------------------

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the latents of images: pixels in [-1, 1], or the mean of the encoder times its scaling factor.

        Args:
            images: Shape [images, *image_shape].

        Raises:
            DataError: The images are of another shape than the model's.
        """
        self._see_that_images_fit(images)
        at_once = self._images_at_once(codes=True)
        made = self._batches(len(images), at_once, lambda rows: self._codec.encode(self._pixels(images[rows])))
        return _joined(made, self.latent_shape)

    def _see_that_images_fit(self, images: NDArray[np.uint8]) -> None:
        if images.dtype != np.uint8 or images.shape[1:] != self.image_shape:
            msg = f"images of shape {images.shape[1:]} ({images.dtype}), and the model makes images of {self.image_shape} (uint8)"
            raise DataError(msg, hint="Bring images into the model's own shape first.")

    def _pixels(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Return images in [-1, 1] on the device, shape [n, channels, height, width]."""
        return torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1.0

    def predict_noise(
        self, latents: NDArray[np.float32], timesteps: NDArray[np.int64], conditions: Sequence[Condition]
    ) -> NDArray[np.float32]:
        """Return epsilon for noised latents, whatever the network was trained to predict; no guidance.

        Args:
            latents: Noised latents, shape [n, *latent_shape].
            timesteps: Timestep of each, from 0, shape [n].
            conditions: Condition of each, length n.
        """

        def work(rows: slice) -> torch.Tensor:
            x, t = self._given(latents[rows], timesteps[rows])
            return self._epsilon(self._raw(x, t, conditions[rows]), x, t)

        return _joined(self._batches(len(latents), self._images_at_once(), work), self.latent_shape)

    def _given(self, latents: NDArray[np.float32], timesteps: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        if len(timesteps) and not 0 <= timesteps.min() <= timesteps.max() < len(self.alphas_cumprod):
            msg = f"timesteps lie between 0 and {len(self.alphas_cumprod) - 1}, got {timesteps.min()} to {timesteps.max()}"
            raise ValueError(msg)
        x = torch.from_numpy(np.ascontiguousarray(latents, dtype=np.float32)).to(self._device)
        return x, torch.from_numpy(np.asarray(timesteps, dtype=np.int64)).to(self._device)

    def _raw(self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[Condition]) -> torch.Tensor:
        """Return what the network says, float32, without the variance it may have learned beside it."""
        said = self._network(
            self._with_mask(x).to(self._network.dtype), timestep=t, **self._conditions.inputs(conditions)
        )
        raw: torch.Tensor = said.sample[:, : self.latent_shape[0]].float()
        return raw

    def _with_mask(self, x: torch.Tensor) -> torch.Tensor:
        """Return what an inpainting network takes when everything is to be made: latents, a full mask, a grey image."""
        if not self._extra:
            return x
        if self._grey is None:
            height, width, channels = self.image_shape
            self._grey = self._codec.encode(torch.zeros(1, channels, height, width, device=self._device))
        known = self._grey.expand(len(x), -1, -1, -1)
        return torch.cat([x, torch.ones_like(x[:, :1]), known], dim=1)

    def _epsilon(self, raw: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return epsilon of x = sqrt(a) x_0 + sqrt(1 - a) epsilon, of what the network says.

        v = sqrt(a) epsilon - sqrt(1 - a) x_0 (Salimans and Ho 2022, section 4).
        """
        if self._prediction == "epsilon":
            return raw
        a = torch.from_numpy(self.alphas_cumprod).to(t.device, torch.float32)[t].view(-1, 1, 1, 1)
        if self._prediction == "v_prediction":
            return a.sqrt() * raw + (1.0 - a).sqrt() * x
        return (x - a.sqrt() * raw) / (1.0 - a).sqrt()

    # What the pipeline makes ----------------------------------------------------------------------------------------

    def generate(
        self, conditions: Sequence[Condition], seeds: Sequence[int], steps: int, guidance: float
    ) -> NDArray[np.uint8]:
        """Return one image for each condition and seed, by the pipeline's own call, shape [n, *image_shape].

        Args:
            conditions: Condition of each image.
            seeds: Seed of each image; the same seed and condition always give the same image.
            steps: Denoising steps.
            guidance: Guidance scale; 1.0: none.
        """
        self._see_that_sampling_fits(steps, guidance)
        guided = guidance > 1.0

        def work(rows: slice) -> torch.Tensor:
            call = self._conditions.call(conditions[rows], guidance)
            if self._extra:
                height, width, _ = self.image_shape
                call |= _everything(rows.stop - rows.start, height, width)
            return self._called(call, conditions[rows], seeds[rows], steps)

        at_once = self._images_at_once(1 + guided, codes=True)
        return _images(self._batches(len(seeds), at_once, work), self.image_shape)

    def _see_that_sampling_fits(self, steps: int, guidance: float) -> None:
        if not 1 <= steps <= len(self.alphas_cumprod):
            msg = f"{steps} denoising steps, and the model was trained with {len(self.alphas_cumprod)} timesteps"
            raise UnsupportedError(msg, hint=f"Choose steps between 1 and {len(self.alphas_cumprod)}.")
        if guidance != 1.0 and not (self.guided and guidance > 1.0):
            reason = "the network has no null condition" if not self.guided else "below 1 there is none"
            msg = f"guidance {guidance:g} cannot be done: {reason}"
            raise UnsupportedError(msg, hint="Use guidance: 1.0.")

    def _called(
        self, call: dict[str, Any], conditions: Sequence[Condition], seeds: Sequence[int], steps: int
    ) -> torch.Tensor:
        """Return the images of one call of the pipeline, in [0, 1], shape [n, height, width, channels]."""
        generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        kind = "np" if hasattr(self._pipeline, "vqvae") else "pt"
        with quietly(), self._passes.put_right(**self._unknown_to_pipeline(call, conditions)):
            made = self._pipeline(**call, generator=generators, num_inference_steps=steps, output_type=kind).images
        return torch.from_numpy(made) if kind == "np" else made.permute(0, 2, 3, 1).float()

    def _unknown_to_pipeline(self, call: dict[str, Any], conditions: Sequence[Condition]) -> dict[str, Any]:
        """Return what the library's pipeline does not know of this network."""
        if "class_labels" in call:
            return {"null": (len(conditions), self.classes)}
        learned = str(self._pipeline.scheduler.config.get("variance_type", "")).startswith("learned")
        strip = int(self._network.config.out_channels) > self.latent_shape[0] and not learned
        labels = self._conditions.inputs(conditions)["class_labels"] if self.conditioning == "class" else None
        return {"labels": labels, "strip": strip}

    def inpaint(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.bool_],
        conditions: Sequence[Condition],
        seeds: Sequence[int],
        steps: int,
        guidance: float,
    ) -> NDArray[np.uint8]:
        """Return each image with its masked pixels made anew, shape [n, *image_shape]; what is not masked comes back exactly.

        What lies under the mask is grey before anything sees it: an encoder would spread it beyond the mask.

        Args:
            images: Images of the model's own shape.
            masks: True where a pixel is to be made, shape [n, height, width].
            conditions: Condition of each image.
            seeds: Seed of each image.
            steps: Denoising steps.
            guidance: Guidance scale; 1.0: none.
        """
        self._see_that_images_fit(images)
        self._see_that_sampling_fits(steps, guidance)
        if masks.shape != images.shape[:3] or masks.dtype != np.bool_:
            msg = f"masks of shape {masks.shape} ({masks.dtype}) for images of {images.shape[:3]}"
            raise DataError(msg, hint="A mask is true or false for each pixel.")

        def work(rows: slice) -> torch.Tensor:
            hidden = torch.from_numpy(masks[rows]).to(self._device).unsqueeze(1)
            known = torch.where(hidden, 0.0, self._pixels(images[rows]))
            if self._extra:
                call = self._conditions.call(conditions[rows], guidance)
                call |= {"image": known / 2 + 0.5, "mask_image": hidden.float(), "strength": 1.0}
                call |= {"height": self.image_shape[0], "width": self.image_shape[1]}
                return self._called(call, conditions[rows], seeds[rows], steps)
            return self._filled(known, hidden, conditions[rows], seeds[rows], steps, guidance)

        at_once = self._images_at_once(1 + (guidance > 1.0), codes=True)
        made = _images(self._batches(len(seeds), at_once, work), self.image_shape)
        return np.where(masks[..., None], made, images)

    def _filled(
        self,
        known: torch.Tensor,
        hidden: torch.Tensor,
        conditions: Sequence[Condition],
        seeds: Sequence[int],
        steps: int,
        guidance: float,
    ) -> torch.Tensor:
        """Return the images in [0, 1] by replacing what is known at every step."""

        def said(x: torch.Tensor, step: int) -> torch.Tensor:
            t = torch.full((len(x),), step, device=x.device, dtype=torch.int64)
            if guidance == 1.0:
                return self._raw(x, t, conditions)
            both = self._raw(x.repeat(2, 1, 1, 1), t.repeat(2), [*conditions, *[None] * len(x)])
            wanted, null = both.chunk(2)
            return null + guidance * (wanted - null)

        mask = mask_of_latents(hidden, self.latent_shape)
        latents = filled(
            said, self._codec.encode(known), mask, [int(seed) for seed in seeds], self._pipeline.scheduler, steps
        )
        return (self._codec.decode(latents) / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)

    # What it attends to ---------------------------------------------------------------------------------------------

    def cross_attention(
        self, latents: NDArray[np.float32], timesteps: NDArray[np.int64], conditions: Sequence[Condition]
    ) -> CrossAttention:
        """Return how much attention each token of the captions gets, by layer in the order they are computed.

        Raises:
            UnsupportedError: The network has no cross-attention on captions.
        """
        layers = cross_attention_layers(self._network) if self.conditioning == "text" else []
        if not layers:
            msg = "the network has no cross-attention on captions"
            raise UnsupportedError(msg, hint="Ask a text-conditional model whose network is a UNet2DConditionModel.")

        def work(rows: slice) -> torch.Tensor:
            x, t = self._given(latents[rows], timesteps[rows])
            with recording(layers) as recorded:
                self._raw(x, t, conditions[rows])
            return torch.stack(recorded, dim=1)

        made = list(self._batches(len(latents), max(1, self._images_at_once() // 4), work))
        return CrossAttention(torch.cat(made).numpy(), self._conditions.padding(conditions))  # type: ignore[attr-defined]


def _everything(count: int, height: int, width: int) -> dict[str, Any]:
    """Return what an inpainting pipeline is given when all of the image is to be made."""
    grey = torch.full((count, 3, height, width), 0.5)
    mask = torch.ones(count, 1, height, width)
    return {"image": grey, "mask_image": mask, "strength": 1.0, "height": height, "width": width}


def _joined(parts: Iterator[torch.Tensor], shape: tuple[int, ...]) -> NDArray[np.float32]:
    made = [part.numpy() for part in parts]
    return np.concatenate(made).astype(np.float32, copy=False) if made else np.empty((0, *shape), dtype=np.float32)


def _images(parts: Iterator[torch.Tensor], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return images in [0, 1] as bytes, rounded as the library rounds them."""
    made = [(part * 255).round().to(torch.uint8).numpy() for part in parts]
    return np.concatenate(made) if made else np.empty((0, *shape), dtype=np.uint8)
