"""Keeps a training run as it was while something else uses its model: random states, modes, gradients, buffers."""

from __future__ import annotations

import contextlib
import random  # noqa: TID251  (its state is put back; nothing is drawn from it)
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def undisturbed(model: Any | None = None) -> Iterator[None]:  # noqa: ANN401  (any module)
    """Put back, whatever happens inside, all that a step of training would notice.

    Inside, the model is in evaluation mode, without autocast and without gradients. Put back are the random states of
    torch (every device), numpy and the standard library; the mode of every single module, for some may be frozen in
    evaluation mode; and buffers that were replaced, such as tables of positions, which an inference mode would make useless to
    training. Weights and gradients are not copied: nothing inside may write to them.

    Args:
        model: The model in training; None: only the random states.
    """
    states = (random.getstate(), np.random.get_state())  # noqa: NPY002  (training's own)
    modes = [(module, module.training) for module in model.modules()] if model is not None else []
    buffers = [
        (module, name, buffer)
        for module, _ in modes
        for name, buffer in module._buffers.items()  # noqa: SLF001  (the one way to put a buffer itself back)
    ]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    kind = next(model.parameters()).device.type if model is not None else "cpu"
    with torch.random.fork_rng(devices=devices), torch.no_grad(), torch.autocast(kind, enabled=False):
        try:
            if model is not None:
                model.eval()
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for module, name, buffer in buffers:
                if module._buffers.get(name) is not buffer:  # noqa: SLF001
                    module._buffers[name] = buffer  # noqa: SLF001
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
