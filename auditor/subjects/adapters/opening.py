"""What all adapters do when they open a folder: keep the libraries quiet, find the device, refuse what is not whole."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from typing import TYPE_CHECKING, Any

from auditor.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import torch


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the loading libraries' progress bars and advice to their own users out of the audit's output.

    Advice can hold data, too: of a caption that is too long it repeats what was cut off.
    """
    from transformers.utils import logging as library  # noqa: PLC0415

    libraries = [library]
    if "diffusers" in sys.modules:  # of a language model it is never imported
        from diffusers.utils import logging as other  # noqa: PLC0415

        libraries.append(other)
    before = [(each, each.get_verbosity(), each.is_progress_bar_enabled()) for each in libraries]
    for each in libraries:
        each.set_verbosity(logging.CRITICAL)
        each.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for each, verbosity, bars in before:
                each.set_verbosity(verbosity)
                if bars:
                    each.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def refuse_gaps(loading: Mapping[str, Any], folder: Path) -> None:
    """Refuse what the library would fill with random numbers.

    Args:
        loading: What the library says of the weights it found: `missing_keys`, `mismatched_keys`.
        folder: Where they lie.

    Raises:
        SubjectError: Weights are missing or of another shape than the model.
    """
    for kind, what in (("missing_keys", "is missing"), ("mismatched_keys", "has another shape than the model")):
        names = sorted(str(key[0] if isinstance(key, tuple) else key) for key in loading.get(kind) or ())
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            msg = f"{folder}: the weight '{names[0]}'{more} {what}: these files are not all of this model"
            raise SubjectError(msg, hint="config.json and the weights must come from one model; copy them again.")


def refuse_not_numbers(model: Any, folder: Path) -> None:  # noqa: ANN401
    """Refuse weights that are not finite.

    Raises:
        SubjectError: A weight holds NaN or infinity.
    """
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            msg = f"{folder}: the weight '{name}' holds NaN or infinity"
            raise SubjectError(msg, hint="The checkpoint is broken, or was saved in too small a precision.")


def device_of(wanted: str) -> torch.device:
    """Return the device a subject file asks for; `auto` is a GPU where there is one.

    Raises:
        SubjectError: It is no device, or there is none here.
    """
    import torch  # noqa: PLC0415

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        msg = f"'{wanted}' is not a device"
        raise SubjectError(msg, hint="Use auto, cpu, cuda, cuda:1 or mps.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        msg = "the subject asks for a GPU (cuda) and there is none here"
        raise SubjectError(msg, hint="Use device: auto or cpu.")
    return device
