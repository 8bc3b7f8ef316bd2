"""Takes images to what a network denoises and back: pixels in [-1, 1], or the mean of an encoder times its scaling factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch

from auditor.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Codec(Protocol):
    """Takes images, float32 in [-1, 1], shape [n, channels, height, width], to latents and back."""

    image_shape: tuple[int, int, int]
    """Height, width and channels of an image."""
    bytes_per_image: int
    """About how much memory coding one image takes."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latents, float32."""
        ...

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the images, float32."""
        ...


class Pixels:
    """The network denoises the pixels themselves."""

    bytes_per_image = 0

    def __init__(self, latent_shape: Sequence[int]) -> None:
        """Check that the channels are those of an image."""
        channels, height, width = latent_shape
        _refuse_channels(channels)
        self.image_shape = (height, width, channels)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images as they are."""
        return images

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the latents as they are."""
        return latents


class Autoencoder:
    """The network denoises the codes of an autoencoder.

    Args:
        vae: AutoencoderKL or VQModel.
        latent_shape: Channels, height and width of what the network denoises.
    """

    def __init__(self, vae: Any, latent_shape: tuple[int, int, int]) -> None:  # noqa: ANN401
        """See that autoencoder and network belong together, without computing anything.

        Raises:
            SubjectError: They do not.
        """
        self._vae = vae
        config = vae.config
        channels, height, width = latent_shape
        scale = 2 ** (len(config.block_out_channels) - 1)
        _refuse_channels(config.in_channels)
        if config.out_channels != config.in_channels:
            msg = f"the autoencoder takes {config.in_channels} channels and gives {config.out_channels}"
            raise SubjectError(msg, hint="Audit a model whose autoencoder gives back what it takes.")
        self.image_shape = (height * scale, width * scale, config.in_channels)
        if config.get("shift_factor"):
            msg = f"the autoencoder shifts its codes (shift_factor {config.shift_factor}) and this kind of pipeline does not"
            raise SubjectError(msg, hint="The autoencoder does not belong to this pipeline; copy both from one place.")
        self._factor = float(config.scaling_factor)
        self._mean, self._deviation = _statistics(config, channels)
        got = self._shape_of_code()
        if got != latent_shape:
            msg = f"the autoencoder makes codes of shape {got} of {self.image_shape[:2]} pixels, the network takes {latent_shape}"
            raise SubjectError(msg, hint="Autoencoder and network do not belong together; copy both from one place.")
        area = self.image_shape[0] * self.image_shape[1]
        self.bytes_per_image = 6 * area * int(config.block_out_channels[0]) * vae.dtype.itemsize

    def _shape_of_code(self) -> tuple[int, ...]:
        """Return the shape of one code, from a copy of the encoder that has shapes and no numbers."""
        height, width, channels = self.image_shape
        with torch.device("meta"), torch.no_grad():
            empty = type(self._vae).from_config(self._vae.config).eval()
            return tuple(_code(empty, torch.empty(1, channels, height, width)).shape[1:])

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the mean of each code times the scaling factor; never a sample: that would add noise to every statistic."""
        code = _code(self._vae, images.to(self._vae.dtype)).float()
        if self._mean is not None:
            code = (code - self._mean.to(code.device)) / self._deviation.to(code.device)
        return code * self._factor

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the images: the inverse of the scaling, then the decoder."""
        code = latents / self._factor
        if self._mean is not None:
            code = code * self._deviation.to(code.device) + self._mean.to(code.device)
        image: torch.Tensor = self._vae.decode(code.to(self._vae.dtype)).sample
        return image.float()


def _code(vae: Any, images: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
    made = vae.encode(images)
    code: torch.Tensor = made.latent_dist.mean if hasattr(made, "latent_dist") else made.latents
    return code


def _statistics(config: Any, channels: int) -> tuple[Any, Any]:  # noqa: ANN401
    """Return mean and standard deviation by which some autoencoders' codes are standardised, or None."""
    mean, deviation = config.get("latents_mean"), config.get("latents_std")
    if mean is None or deviation is None:
        return None, None
    return (torch.tensor(mean).view(1, channels, 1, 1), torch.tensor(deviation).view(1, channels, 1, 1))


def _refuse_channels(channels: int) -> None:
    if channels not in (1, 3):
        msg = f"the model makes images of {channels} channels"
        raise SubjectError(msg, hint="Images have 1 channel (grey) or 3 (colour).")
