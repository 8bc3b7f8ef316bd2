"""Whether the models of a subject can be asked what a test needs; said before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from auditor.contract.registry import load
from auditor.errors import PolicyError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditor.contract.protocol import Facts
    from auditor.core.evidence import Need
    from auditor.core.subject import ModelIdentity

_IMPLIED = {"scores-tokens": {"scores-given-tokens"}}
"""What else a model can that has a capability."""
_WORDS = {
    "continues-tokens": "does not continue a text greedily",
    "samples-tokens": "cannot be asked to generate by sampling",
    "scores-completions": "does not say how likely a completion is",
    "scores-given-tokens": "does not say how likely the tokens of a given text are",
    "scores-next-tokens": "does not say how likely any token is to come next",
    "scores-tokens": "does not say how likely every token is at each place of a text",
}


@runtime_checkable
class DemandingObserver(Protocol):
    """An observer that says what a model must be able to do; of one that does not, any model can be asked."""

    def asks(self, need: Need) -> tuple[str, ...]:
        """Return the capabilities that the need's model must have."""
        ...


def gives(model: ModelIdentity, capability: str) -> bool:
    """Return whether a model has a capability, by itself or as part of another."""
    return any(capability == held or capability in _IMPLIED.get(held, ()) for held in model.capabilities)


def refuse_beyond(needs: Iterable[Need], facts: Facts) -> None:
    """Refuse needs that a model of the subject cannot meet.

    Raises:
        UnsupportedError: A model lacks a capability; the message says which.
    """
    for need in needs:
        if need.model is None:
            continue
        try:
            observer = load("observers", need.observer)
        except PolicyError:  # not installed, which the plan says by itself
            continue
        if not isinstance(observer, DemandingObserver):
            continue
        reference = need.model != "subject"
        model = facts.subject.references[int(need.model.rsplit("-", 1)[1])] if reference else facts.subject.model
        lacking = [capability for capability in observer.asks(need) if not gives(model, capability)]
        if lacking:
            what = "reference model" if reference else "model"
            behind = " behind the endpoint" if model.seen == "answers" else ""
            msg = f"the {what}{behind} {_WORDS.get(lacking[0], f'has not the capability {lacking[0]}')}"
            raise UnsupportedError(msg, hint="Open the model itself, as a causal-lm.")
