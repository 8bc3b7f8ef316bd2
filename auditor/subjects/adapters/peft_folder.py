"""Checks a PEFT adapter's folder before it is opened: of a kind that can be switched off, safetensors, made for this base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.errors import SubjectError
from auditor.evidence.digests import artifacts, joint_digest
from auditor.subjects.adapters.weights import PICKLES, read_config, tensor_headers, weight_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.core.subject import ModelSpec

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
KINDS = ("LORA", "ADALORA", "IA3", "LOHA", "LOKR")
"""Kinds that change a layer's output and leave the base's weights as they are."""
_BASE_IS_CHANGED = ("pissa", "olora", "corda", "loftq")
"""Beginnings of LoRA initialisations that take something out of the base's weights."""
_OTHER_MODEL = {
    "megatron_config": "names a module to import",
    "layer_replication": "repeats layers of the base, which then is another model",
}


def adapter_files(folder: Path, spec: ModelSpec, base: Path) -> list[Path]:
    """Return the files of an adapter that can change what the model computes; none is opened beyond its header.

    Args:
        folder: The adapter's folder.
        spec: The model as the user wrote it.
        base: Folder that its paths are relative to.

    Raises:
        SubjectError: Something is missing, is a pickle, is of a kind that is not known, or was made for another base.
    """
    if not (folder / CONFIG).is_file():
        msg = f"{folder}: there is no adapter ({CONFIG})"
        raise SubjectError(msg, hint="Give the folder that model.save_pretrained(folder) of peft wrote as model.peft.")
    config = read_config(folder, CONFIG)
    refuse_kind(config, folder)
    if not (folder / WEIGHTS).is_file():
        raise _missing(folder)
    if not tensor_headers([folder / WEIGHTS]):
        msg = f"{folder / WEIGHTS}: holds no weights"
        raise SubjectError(msg, hint="Save the adapter again with model.save_pretrained(folder).")
    refuse_other_base(config, folder, spec, base)
    return [folder / CONFIG, folder / WEIGHTS]


def _missing(folder: Path) -> SubjectError:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        msg = f"{folder / pickles[0]}: weights in a pickle are refused, because opening a pickle runs its code"
        hint = (
            "Convert it in a machine you can throw away (a container without network): load it with "
            f"torch.load(path, weights_only=True) and save it with safetensors.torch.save_file as {WEIGHTS}."
        )
        return SubjectError(msg, hint=hint)
    msg = f"{folder}: there are no weights ({WEIGHTS})"
    return SubjectError(msg, hint="Save the adapter with model.save_pretrained(folder).")


def refuse_kind(config: Mapping[str, Any], folder: Path) -> None:
    """Refuse an adapter that could not be switched off, or whose configuration would make the library do something else.

    Raises:
        SubjectError: It is of such a kind.
    """
    path, kind = folder / CONFIG, config.get("peft_type")
    merge = "Merge it into its base model: merge_and_unload(), then save_pretrained(), and audit that folder."
    if kind not in KINDS:
        msg = f"{path}: adapters of the kind '{kind}' are not opened"
        raise SubjectError(msg, hint=f"Known: {', '.join(KINDS)}. {merge}")
    if config.get("task_type") not in {None, "CAUSAL_LM"}:
        msg = f"{path}: made for the task '{config['task_type']}', not for a causal language model"
        raise SubjectError(msg, hint="Give the adapter of a language model (task_type CAUSAL_LM).")
    for key, what in _OTHER_MODEL.items():
        if config.get(key):
            msg = f"{path}: '{key}' {what}"
            raise SubjectError(msg, hint=merge)
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_BASE_IS_CHANGED):
        msg = f"{path}: init_lora_weights '{start}' changes the base's weights, so that nothing could switch it off"
        hint = (
            f"Save it as a plain LoRA: save_pretrained(folder, path_initial_model_for_weight_conversion=...). {merge}"
        )
        raise SubjectError(msg, hint=hint)


def refuse_other_base(config: Mapping[str, Any], folder: Path, spec: ModelSpec, base: Path) -> None:
    """Refuse an adapter that was made for a model of another name: two models of one shape would fit it alike.

    Raises:
        SubjectError: Neither the names nor the weights say that the base is the one it was made for.
    """
    declared = config.get("base_model_name_or_path")
    if not isinstance(declared, str) or not declared.strip():
        return  # a model without a name; its shapes are compared when it is opened
    own = base / spec.path
    if spec.peft_base is not None:
        if spec.peft_base != declared:
            msg = f"{folder / CONFIG}: made for '{declared}', and the subject file says '{spec.peft_base}'"
            raise SubjectError(msg, hint="Write as model.peft_base what base_model_name_or_path says.")
        return
    for place in (Path(declared), base / declared, folder / declared):
        if (place / "config.json").is_file():
            if place.resolve() != own.resolve() and _weights_digest(place) != _weights_digest(own):
                msg = f"{folder / CONFIG}: made for the model in {place}, whose weights are not those in {own}"
                raise SubjectError(msg, hint="Give the base model that the adapter was trained on as model.path.")
            return
    if _last(declared) not in _names_of(own):
        msg = f"{folder / CONFIG}: made for '{declared}', and nothing says that {own} is that model"
        hint = f"If it is, say so: model: {{path: {spec.path}, peft: {spec.peft}, peft_base: {declared}}}."
        raise SubjectError(msg, hint=hint)


def _weights_digest(folder: Path) -> str:
    return joint_digest(artifacts(weight_files(folder), folder))


def _last(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()


def _names_of(folder: Path) -> set[str]:
    """Return the names a model folder goes by: its own, what its configuration says, that of a hub's cache."""
    place = folder.resolve()
    names = {_last(place.name), _last(folder.name)}
    names |= {_last(part.replace("--", "/")) for part in place.parts if part.startswith("models--")}
    said = read_config(folder).get("_name_or_path")
    return names | ({_last(said)} if isinstance(said, str) and said else set())


def shape_words(shape: Sequence[int]) -> str:
    """Return a shape in words, `8 x 32`."""
    return " x ".join(str(extent) for extent in shape) or "a single number"
