"""Opens diffusion models from a local diffusers pipeline folder: configuration, tokenizer, safetensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.errors import SubjectError
from auditor.subjects.adapters.opening import device_of, first_line, quietly, refuse_gaps, refuse_not_numbers
from auditor.subjects.adapters.pipeline_folder import LEFT_OUT, PipelineFolder, read_folder
from auditor.subjects.adapters.weights import tensor_headers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from auditor.core.subject import ModelSpec
    from auditor.subjects.adapters.conditions import Conditions
    from auditor.subjects.adapters.denoising_pipeline import DenoisingPipeline
    from auditor.subjects.adapters.latents import Codec

_PREDICTIONS = ("epsilon", "v_prediction", "sample")
_BY_ITSELF = (
    "DDPMPipeline",
    "DDIMPipeline",
    "StableDiffusionPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionXLPipeline",
)
"""Pipelines that hand each image's own generator to every step."""
_SHARED_NOISE = ("DPMSolverSDEScheduler", "CosineDPMSolverMultistepScheduler")
"""Schedulers that draw their noise for a batch as a whole, whatever generators they are handed."""


class DiffusionAdapter:
    """Opens a local diffusers pipeline folder; nothing is downloaded, no code of the folder is run."""

    name = "diffusion"
    capabilities = (
        "denoises",
        "generates-images",
        "inpaints",
        "conditions-on-text",
        "conditions-on-class",
        "guides",
        "shows-attention",
    )

    def files(self, spec: ModelSpec, base: Path) -> Sequence[Path]:
        """Return every file that can change what the model computes, without opening any weights."""
        paths = read_folder(base / spec.path).files()
        tensor_headers(paths)
        return paths

    def describe(self, spec: ModelSpec, base: Path) -> tuple[int, int]:
        """Return the number of parameters of network, autoencoder and text encoders, from headers alone; 0 as context."""
        headers = tensor_headers(read_folder(base / spec.path).files())
        return sum(header.parameters for header in headers), 0

    def capabilities_of(self, spec: ModelSpec, base: Path) -> tuple[str, ...]:
        """Return what this model can be asked, as its configuration says."""
        return read_folder(base / spec.path).capabilities()

    def open(self, spec: ModelSpec, base: Path) -> DenoisingPipeline:
        """Load the pipeline and see that its parts belong together, are whole and hold numbers."""
        plan = read_folder(base / spec.path)
        tensor_headers(plan.files())
        if plan.pipeline == "LDMPipeline" and spec.dtype != "float32":
            msg = f"{plan.folder}: an LDMPipeline draws its noise in float32 and cannot be run in {spec.dtype}"
            raise SubjectError(msg, hint="Use dtype: float32.")
        with quietly():
            import diffusers  # noqa: F401, PLC0415  (so that it is quiet, too)
        with quietly():
            device = device_of(spec.device)
            pipeline = _loaded(plan, spec.dtype)
            _refuse_schedule(pipeline.scheduler, plan)
            return _opened(pipeline.to(device), plan, device)


def _loaded(plan: PipelineFolder, dtype: str) -> Any:  # noqa: ANN401
    """Return the pipeline, every part of it whole and finite."""
    import diffusers  # noqa: PLC0415
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415
    from safetensors import SafetensorError  # noqa: PLC0415

    kind = getattr(torch, dtype)
    parts: dict[str, Any] = {}
    try:
        for role, (library, name) in plan.classes.items():
            if role == "scheduler" or role.startswith("tokenizer"):
                continue
            own = {"trust_remote_code": False, "dtype": kind} if library == "transformers" else {"torch_dtype": kind}
            part, loading = getattr(transformers if library == "transformers" else diffusers, name).from_pretrained(
                plan.folder / role, local_files_only=True, use_safetensors=True, output_loading_info=True, **own
            )
            refuse_gaps(loading, plan.folder / role)
            refuse_not_numbers(part, plan.folder / role)
            parts[role] = part.eval().requires_grad_(requires_grad=False)
        called = getattr(diffusers, _called(plan))
        left_out = {name: None for name in (*LEFT_OUT, "requires_safety_checker") if name in _takes(called)}
        pipeline = called.from_pretrained(
            plan.folder,
            local_files_only=True,
            use_safetensors=True,
            torch_dtype=kind,
            **parts,
            **left_out,
            **_own(called),
        )
    except SubjectError:
        raise
    except Exception as error:  # a folder that cannot be trusted can make the library fail in any way
        kind_of = "weights" if isinstance(error, SafetensorError) else "pipeline"
        msg = f"{plan.folder}: the {kind_of} cannot be loaded ({first_line(error)})"
        raise SubjectError(msg, hint="Does DiffusionPipeline.from_pretrained load this folder?") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _called(plan: PipelineFolder) -> str:
    """Return the class that generates: a Stable Diffusion network of 9 channels is one for inpainting, whatever is written."""
    if plan.pipeline.startswith("StableDiffusion") and "XL" not in plan.pipeline:
        return "StableDiffusionInpaintPipeline" if plan.network.get("in_channels") == 9 else "StableDiffusionPipeline"
    return plan.pipeline


def _takes(called: Any) -> set[str]:  # noqa: ANN401
    import inspect  # noqa: PLC0415

    return set(inspect.signature(called.__init__).parameters)


def _own(called: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what a pipeline must not add: SDXL's writes a watermark into every image if it can."""
    return {"add_watermarker": False} if "add_watermarker" in _takes(called) else {}


def _refuse_schedule(scheduler: Any, plan: PipelineFolder) -> None:  # noqa: ANN401
    where = plan.folder / "scheduler" / "scheduler_config.json"
    if getattr(scheduler, "alphas_cumprod", None) is None:
        msg = f"{where}: {type(scheduler).__name__} has no schedule of betas (alphas_cumprod)"
        raise SubjectError(msg, hint="Models of flow matching and of continuous noise cannot be audited yet.")
    prediction = scheduler.config.get("prediction_type", "epsilon")
    if prediction not in _PREDICTIONS:
        msg = f"{where}: the network predicts '{prediction}'"
        raise SubjectError(msg, hint=f"Known: {', '.join(_PREDICTIONS)}.")


def _opened(pipeline: Any, plan: PipelineFolder, device: torch.device) -> DenoisingPipeline:  # noqa: ANN401
    from auditor.subjects.adapters.denoising_pipeline import DenoisingPipeline  # noqa: PLC0415
    from auditor.subjects.adapters.inpainting import ddim_of  # noqa: PLC0415
    from auditor.subjects.adapters.latents import Autoencoder, Pixels  # noqa: PLC0415

    network = getattr(pipeline, plan.network_role)
    vae = getattr(pipeline, "vae", None) or getattr(pipeline, "vqvae", None)
    try:
        shape = _latent_shape(network, vae, plan)
        codec: Codec = Pixels(shape) if vae is None else Autoencoder(vae, shape)
        conditions = _conditions(pipeline, network, codec, plan, device)
    except SubjectError as error:
        raise SubjectError(f"{plan.folder}: {error.message}", hint=error.hint) from error  # noqa: EM102, TRY003
    if (
        plan.pipeline not in _BY_ITSELF
    ):  # they hand no generator to a step: only one without noise is the same in any batch
        pipeline.scheduler = ddim_of(pipeline.scheduler)
    return DenoisingPipeline(pipeline, network, codec, conditions, shape)


def _latent_shape(network: Any, vae: Any, plan: PipelineFolder) -> tuple[int, int, int]:  # noqa: ANN401
    """Return channels, height and width of what the network denoises.

    Raises:
        SubjectError: Its channels are neither those of the autoencoder nor those of an inpainting network.
    """
    size = network.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    taken, given = int(network.config.in_channels), int(network.config.out_channels)
    channels = taken if vae is None else int(vae.config.latent_channels)
    inpaints = plan.captioned and taken == 2 * channels + 1
    if (taken != channels and not inpaints) or given not in (channels, channels if plan.captioned else 2 * channels):
        what = f"codes of {channels} channels" if vae is not None else f"images of {channels} channels"
        msg = f"the network takes {taken} channels and gives {given}, which does not go with {what}"
        raise SubjectError(msg, hint="Autoencoder and network do not belong together; copy both from one place.")
    return channels, int(height), int(width)


def _conditions(pipeline: Any, network: Any, codec: Codec, plan: PipelineFolder, device: torch.device) -> Conditions:  # noqa: ANN401
    from auditor.subjects.adapters.conditions import Captions, ClassLabels, NoConditions  # noqa: PLC0415

    if plan.captioned:
        return Captions(pipeline, codec.image_shape[:2])
    if plan.network_role == "transformer":
        classes = int(network.config.num_embeds_ada_norm)
        return ClassLabels(classes, classes, device, named=True)
    if plan.classified:
        return ClassLabels(int(network.config.num_class_embeds), None, device, named=False)
    return NoConditions()


ADAPTER = DiffusionAdapter()
