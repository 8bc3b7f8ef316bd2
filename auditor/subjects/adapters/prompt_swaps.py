"""Which other token of a prompt would make a text likelier: the gradient that a search for prompts follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from auditor.errors import SubjectError
from auditor.subjects.capability import ScoreRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.capability import TokenScores


class _Opened(Protocol):
    """What the rest of an opened model gives."""

    context: int
    vocabulary: int
    _device: torch.device
    _model: Any

    def _check(self, sequences: Sequence[NDArray[np.int32]]) -> None: ...
    def _padded(self, sequences: Sequence[NDArray[np.int32]]) -> torch.Tensor: ...
    def score(self, sequences: Sequence[NDArray[np.int32]], request: ScoreRequest) -> list[TokenScores]: ...


class PromptSwaps:
    """The part of an opened causal language model that meets `PromptSearchModel`."""

    def rank_swaps(self: _Opened, prompt: NDArray[np.int32], target: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the linear estimate of how each swap changes the target's mean loss, nat, shape [prompt, vocabulary].

        It is the gradient with respect to the one-hot tokens, minus that of the token which stands there. What the
        embedding layer gives is differentiated, so layers that scale their embeddings are right, too.

        Raises:
            SubjectError: The gradient is not made of numbers, or a token id is outside the vocabulary.
            ValueError: The prompt or the target is empty, or they do not fit the context.

        Source:
            Zou, Wang, Carlini, Nasr, Kolter, Fredrikson (2023), Universal and Transferable Adversarial Attacks on Aligned
            Language Models, arXiv 2307.15043, section 2.2.
        """
        _refuse_empty(prompt, target)
        whole = np.concatenate([prompt, target]).astype(np.int32)
        self._check([whole])
        ids, cut = self._padded([whole]), len(prompt)
        layer = self._model.get_input_embeddings()
        held: list[torch.Tensor] = []

        def leaf(_module: object, _arguments: object, out: torch.Tensor) -> torch.Tensor:
            held.append(out.detach().requires_grad_())
            return held[-1]

        hook = layer.register_forward_hook(leaf)
        try:
            with torch.enable_grad():
                logits = self._model(input_ids=ids, use_cache=False).logits[0, cut - 1 : -1].float()
                loss = torch.nn.functional.cross_entropy(logits, ids[0, cut:])
                (gradient,) = torch.autograd.grad(loss, held[0])
        finally:
            hook.remove()
        rows = min(self.vocabulary, int(layer.weight.shape[0]))
        change = np.full((cut, self.vocabulary), np.inf, dtype=np.float32)
        with torch.inference_mode():
            every = layer(torch.arange(rows, device=self._device))
            slope = gradient[0, :cut].float() @ every.float().T
            change[:, :rows] = (slope - slope.gather(1, ids[0, :cut, None])).cpu().numpy()
        if not np.isfinite(change[:, :rows]).all():
            msg = "the gradient of the model holds NaN or infinity"
            raise SubjectError(msg, hint="Is the checkpoint whole, and made for this precision? Try dtype: float32.")
        return change

    def score_targets(
        self: _Opened, prompts: NDArray[np.int32], target: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return mean loss of the target after each prompt, nat, and whether each of its tokens is the arg-max.

        Raises:
            ValueError: A prompt or the target is empty, or they do not fit the context.
        """
        _refuse_empty(prompts.T, target)
        whole = [np.concatenate([prompt, target]).astype(np.int32) for prompt in prompts]
        scores = self.score(whole, ScoreRequest(first=prompts.shape[1]))
        losses = np.array([-float(row.logprob.mean(dtype=np.float64)) for row in scores])
        return losses, np.array([bool(row.hit.all()) for row in scores], dtype=np.bool_)


def _refuse_empty(prompt: NDArray[np.int32], target: NDArray[np.int32]) -> None:
    if not len(prompt) or not len(target):
        msg = "a prompt and a target have one token at least"
        raise ValueError(msg)
