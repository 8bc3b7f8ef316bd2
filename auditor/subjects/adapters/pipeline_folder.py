"""Reads a diffusers pipeline folder before anything in it is opened: which parts it has, what it can do, what is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from auditor.errors import SubjectError, did_you_mean
from auditor.subjects.adapters.weights import (
    TOKENIZER_FILES,
    missing_weights,
    read_config,
    refuse_detours,
    sharded,
    weight_files,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Role = Literal[
    "unet", "transformer", "vae", "vqvae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"
]

NETWORK_WEIGHTS = "diffusion_pytorch_model.safetensors"
NETWORK_INDEX = "diffusion_pytorch_model.safetensors.index.json"
_TEXT: tuple[Role, ...] = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
PIPELINES: dict[str, tuple[Role, ...]] = {
    "DDPMPipeline": ("unet", "scheduler"),
    "DDIMPipeline": ("unet", "scheduler"),
    "LDMPipeline": ("unet", "vqvae", "scheduler"),
    "DiTPipeline": ("transformer", "vae", "scheduler"),
    "StableDiffusionPipeline": _TEXT,
    "StableDiffusionInpaintPipeline": _TEXT,
    "StableDiffusionXLPipeline": (*_TEXT, "text_encoder_2", "tokenizer_2"),
}
"""The pipelines that can be audited, and the parts each is made of."""
LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts that do not change what the network computes and are not opened; a safety checker, which blackens images, would hide matches."""
_LATENT: tuple[Role, ...] = ("vae", "vqvae")
_NETWORKS: tuple[Role, ...] = ("unet", "transformer")
_CLASSES: dict[str, tuple[str, str]] = {
    "unet": ("diffusers", r"UNet2DModel|UNet2DConditionModel"),
    "transformer": ("diffusers", r"DiTTransformer2DModel|Transformer2DModel"),
    "vae": ("diffusers", r"AutoencoderKL"),
    "vqvae": ("diffusers", r"VQModel|AutoencoderKL"),
    "text_encoder": ("transformers", r"\w+"),
    "text_encoder_2": ("transformers", r"\w+"),
    "tokenizer": ("transformers", r"\w*Tokenizer\w*"),
    "tokenizer_2": ("transformers", r"\w*Tokenizer\w*"),
    "scheduler": ("diffusers", r"\w+Scheduler"),
}
"""Library and class names of each part."""


@dataclass(frozen=True, slots=True)
class PipelineFolder:
    """A folder whose parts are all there and of known classes; no weights were read beyond their headers."""

    folder: Path
    pipeline: str
    """Class of the pipeline."""
    classes: Mapping[str, tuple[str, str]]
    """Library and class of each part, by role."""
    network: Mapping[str, Any]
    """Configuration of the network."""

    @property
    def network_role(self) -> str:
        """What the pipeline calls its network."""
        return "transformer" if "transformer" in self.classes else "unet"

    @property
    def captioned(self) -> bool:
        """The network is conditioned on captions."""
        return "text_encoder" in self.classes

    @property
    def classified(self) -> bool:
        """The network is conditioned on class labels."""
        return "transformer" in self.classes or (
            not self.captioned and self.network.get("num_class_embeds") is not None
        )

    def files(self) -> list[Path]:
        """Return every file that can change what the pipeline computes, sorted.

        Raises:
            SubjectError: Weights are missing, cut short or a pickle, or a part asks for code of its own.
        """
        found = [self.folder / "model_index.json"]
        for role, (library, _) in self.classes.items():
            place = self.folder / role
            if role == "scheduler":
                found.append(place / "scheduler_config.json")
            elif role.startswith("tokenizer"):
                found += _tokenizer_files(place)
            elif library == "transformers":
                refuse_detours(place)
                found += [place / "config.json", *weight_files(place)]
            else:
                found += [place / "config.json", *_network_files(place)]
        return sorted(found)

    def capabilities(self) -> tuple[str, ...]:
        """Return what the model can be asked, as the configuration says."""
        found = ["denoises", "generates-images", "inpaints"]
        if self.captioned:
            found += ["conditions-on-text", "guides"]
            blocks = [*self.network.get("down_block_types", ()), *self.network.get("up_block_types", ())]
            if any("CrossAttn" in str(block) and "Simple" not in str(block) for block in blocks):
                found.append("shows-attention")
        elif self.classified:
            found.append("conditions-on-class")
            if self.network_role == "transformer":  # trained with a null class of its own (Peebles and Xie 2023)
                found.append("guides")
        return tuple(found)


def read_folder(folder: Path) -> PipelineFolder:
    """Return what a pipeline folder says of itself.

    Raises:
        SubjectError: It is no pipeline folder, or not one that can be audited; the message says which file and why.
    """
    if not folder.is_dir():
        msg = f"{folder}: there is no such model folder"
        hint = "Give the folder with model_index.json, as DiffusionPipeline.save_pretrained writes it, as model.path."
        raise SubjectError(msg, hint=hint)
    index = folder / "model_index.json"
    if not index.exists():
        raise _no_index(folder)
    said = read_config(folder, index.name)
    name = _pipeline_of(said, index)
    roles = PIPELINES[name]
    _refuse_strangers(said, roles, index)
    classes: dict[str, tuple[str, str]] = {role: _class_of(said, role, index) for role in roles}
    for role in roles:
        configuration = "scheduler_config.json" if role == "scheduler" else "config.json"
        if not (folder / role).is_dir() or not ((folder / role / configuration).exists() or "tokenizer" in role):
            msg = f"{folder / role}: {name} needs this part, and {configuration} is not there"
            raise SubjectError(msg, hint="Copy the missing folder from the model's origin.")
    network = read_config(folder / next(role for role in _NETWORKS if role in roles))
    found = PipelineFolder(folder, name, classes, network)
    _refuse_network(found)
    return found


def _no_index(folder: Path) -> SubjectError:
    single = sorted(
        path.name for path in folder.iterdir() if path.suffix in {".ckpt", ".safetensors", ".bin", ".pt", ".pth"}
    )
    if single:
        msg = f"{folder / single[0]}: a single file of weights, not a pipeline folder (there is no model_index.json)"
        hint = (
            "Convert it in a machine you can throw away (a container without network): from_single_file(...) of the pipeline, "
            "then save_pretrained(folder, safe_serialization=True), and copy that folder back."
        )
        return SubjectError(msg, hint=hint)
    msg = f"{folder}: there is no model_index.json"
    return SubjectError(msg, hint="Give the folder that DiffusionPipeline.save_pretrained wrote as model.path.")


def _pipeline_of(said: Mapping[str, Any], index: Path) -> str:
    name = said.get("_class_name")
    if not isinstance(name, str):
        msg = f"{index}: the pipeline names code of its own ({name}), which is not run"
        raise SubjectError(msg, hint="Audit a pipeline of a class that diffusers ships; custom pipelines stay off.")
    if name not in PIPELINES:
        msg = f"{index}: pipelines of the class '{name}' cannot be audited"
        raise SubjectError(msg, hint=did_you_mean(name, PIPELINES))
    return name


def _refuse_strangers(said: Mapping[str, Any], roles: tuple[Role, ...], index: Path) -> None:
    """Refuse a part that the pipeline does not have: nothing of the folder may be opened that was not looked at."""
    for key, value in said.items():
        named = isinstance(value, list) and any(part is not None for part in value)
        if named and key not in roles and key not in LEFT_OUT and not key.startswith("_"):
            msg = f"{index}: names a part '{key}' that this pipeline does not have"
            raise SubjectError(msg, hint=f"Its parts are {', '.join(roles)}.")


def _class_of(said: Mapping[str, Any], role: str, index: Path) -> tuple[str, str]:
    value = said.get(role)
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(part, str) for part in value):
        msg = f"{index}: there is no '{role}'"
        raise SubjectError(msg, hint="Copy the pipeline folder again from its origin.")
    library, name = value
    wanted, pattern = _CLASSES[role]
    if library not in {"diffusers", "transformers"}:
        msg = f"{index}: '{role}' asks for code of its own ({library}.{name}), which is not run"
        raise SubjectError(msg, hint="Audit a pipeline whose parts diffusers and transformers ship.")
    if library != wanted or not re.fullmatch(pattern, name):
        msg = f"{index}: '{role}' is {library}.{name}, a class that cannot be audited"
        raise SubjectError(
            msg, hint=f"It has to be {wanted}.{pattern.replace('|', ' or ').replace(chr(92) + 'w', '')}."
        )
    return library, name


def _refuse_network(found: PipelineFolder) -> None:
    """Refuse networks that need an input which an audit does not have."""
    where = found.folder / found.network_role / "config.json"
    conditional = found.classes[found.network_role][1] == "UNet2DConditionModel"
    if conditional != found.captioned:
        msg = f"{where}: a {found.classes[found.network_role][1]} in a {found.pipeline}"
        raise SubjectError(msg, hint="The network does not belong to this pipeline; copy both from one place.")
    for key in ("class_embed_type", "encoder_hid_dim_type", "time_cond_proj_dim"):
        if found.network.get(key) is not None:
            msg = f"{where}: the network needs an input of its own ({key}: {found.network[key]})"
            raise SubjectError(msg, hint="Networks with such inputs cannot be audited yet.")
    if found.captioned and found.network.get("num_class_embeds") is not None:
        msg = f"{where}: the network is conditioned on captions and on classes (num_class_embeds)"
        raise SubjectError(msg, hint="Networks conditioned on both cannot be audited yet.")
    added = found.network.get("addition_embed_type")
    if added != ("text_time" if found.pipeline == "StableDiffusionXLPipeline" else None):
        msg = f"{where}: addition_embed_type is {added}, which does not go with {found.pipeline}"
        raise SubjectError(msg, hint="The network does not belong to this pipeline; copy both from one place.")
    size = found.network.get("sample_size")
    if not (isinstance(size, int) or (isinstance(size, list) and len(size) == 2)):
        msg = f"{where}: the network does not say which size it was trained at (sample_size)"
        raise SubjectError(msg, hint="Write the height and width of what it denoises as sample_size.")


def _tokenizer_files(place: Path) -> list[Path]:
    found = [place / name for name in TOKENIZER_FILES if (place / name).exists()]
    if not found:
        msg = f"{place}: there is no tokenizer"
        raise SubjectError(msg, hint="Copy the missing folder from the model's origin.")
    name = "tokenizer_config.json"
    if (place / name).exists() and "auto_map" in read_config(place, name):
        msg = f"{place / name}: the tokenizer asks for code of its own (auto_map), which is not run"
        raise SubjectError(msg, hint="Audit a pipeline whose tokenizer transformers ships; remote code stays off.")
    return found


def _network_files(place: Path) -> list[Path]:
    """Return the weights that diffusers would open: it prefers an index; other variants (fp16, non_ema) are never opened."""
    if (place / NETWORK_INDEX).exists():
        return [place / NETWORK_INDEX, *sharded(place / NETWORK_INDEX)]
    if (place / NETWORK_WEIGHTS).is_file():
        return [place / NETWORK_WEIGHTS]
    found = sorted(path.name for path in place.glob("*.safetensors"))
    if found:
        msg = f"{place}: there is {found[0]}, and neither {NETWORK_WEIGHTS} nor {NETWORK_INDEX}"
        raise SubjectError(msg, hint=f"Name the variant that is published {NETWORK_WEIGHTS}.")
    raise missing_weights(place)
