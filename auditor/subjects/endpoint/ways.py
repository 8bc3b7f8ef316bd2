"""Finds out what a server can be asked: a few questions of one token each, the richest kind first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from auditor.errors import EndpointError, SubjectError
from auditor.subjects.endpoint.answers import Echo, read_completion, read_echo, read_message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auditor.core.subject import EndpointSpec
    from auditor.subjects.endpoint.asking import Asking
    from auditor.subjects.endpoint.units import Units

COMPLETIONS = "/completions"
CHAT = "/chat/completions"
INSTRUCTION = "Continue the text where it ends, word for word as you know it. Write nothing but the continuation."
"""What a chat model is told where the subject file says nothing else."""
TRIAL = "The ferry to the island leaves at seven and comes back at nine."
_TOP = 2
"""Likeliest tokens asked for at each place: whether the arg-max is ambiguous takes two."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a server can be asked.

    Args:
        api: Continue a text, or answer a message.
        prompt: What a text is sent as.
        scores: It says how likely each token of a given text is.
        lists: It lists the tokens that it says.
        samples: It draws among the k likeliest tokens, at any temperature.
        limit: Name of the parameter that limits what it says.
    """

    api: Literal["completions", "chat"]
    prompt: Literal["tokens", "text"]
    scores: bool
    lists: bool
    samples: bool
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


def find_way(asking: Asking, units: Units) -> Way:
    """Return the richest way in which a server can be asked.

    Raises:
        BudgetError: What may be spent is spent.
        EndpointError: The server does not answer.
        SubjectError: It answers no question.
    """
    spec = asking.spec
    if spec.api != "chat":
        way = _completions(asking, units)
        if way is not None:
            return way
    if spec.api != "completions":
        way = _chat(asking)
        if way is not None:
            return way
    asked = {"auto": f"{COMPLETIONS} nor {CHAT}", "completions": COMPLETIONS, "chat": CHAT}[spec.api]
    msg = f"the server answers neither {asked}" if spec.api == "auto" else f"the server does not answer {asked}"
    hint = f"Is model.path the address up to /v1, and does the server know the model '{spec.model}'?"
    raise SubjectError(msg, hint=hint)


def _completions(asking: Asking, units: Units) -> Way | None:
    ids = units.encode([TRIAL])[0]
    if units.begin is not None:
        ids = np.concatenate([np.array([units.begin], dtype=np.int32), ids])
    forms: tuple[Literal["tokens", "text"], ...] = ("text",) if units.per_unit > 1 else ("tokens", "text")
    plain: Way | None = None
    for form in forms:
        way = Way("completions", form, scores=False, lists=False, samples=False)
        if units.per_unit == 1 and _scores(asking, units, way, ids):
            return _sampling(asking, units, Way("completions", form, scores=True, lists=True, samples=False), ids)
        for lists in (True, False):
            body = prompt_body(asking.spec, units, way, ids) | limit(way, 1) | ({"logprobs": 1} if lists else {})
            answer = asking.try_to(COMPLETIONS, body, (len(ids) * units.per_unit, 1))
            if answer is None:
                continue
            said = read_completion(answer)
            plain = plain or Way("completions", form, scores=False, lists=bool(said.tokens), samples=False)
            break
    return _sampling(asking, units, plain, ids) if plain is not None else None


def _scores(asking: Asking, units: Units, way: Way, ids: NDArray[np.int32]) -> bool:
    answer = asking.try_to(COMPLETIONS, echo_body(asking.spec, units, way, ids), (len(ids), 1))
    try:
        if answer is None:
            return False
        read_places(read_echo(answer), units, ids)
    except EndpointError:  # such servers leave out the word `echo`, and answer as if it did not stand there
        return False
    return True


def _sampling(asking: Asking, units: Units, way: Way, ids: NDArray[np.int32]) -> Way:
    """Return the way, with word of whether the server takes what open generation asks for."""
    body = prompt_body(asking.spec, units, way, ids) | limit(way, 1) | {"temperature": 10.0, "top_k": 40, "seed": 1}
    answer = asking.try_to(COMPLETIONS, body, (len(ids) * units.per_unit, 1))
    return Way(way.api, way.prompt, way.scores, way.lists, samples=answer is not None)


def _chat(asking: Asking) -> Way | None:
    names: tuple[Literal["max_tokens", "max_completion_tokens"], ...] = ("max_tokens", "max_completion_tokens")
    for name in names:
        way = Way("chat", "text", scores=False, lists=False, samples=False, limit=name)
        answer = asking.try_to(CHAT, chat_body(asking.spec, TRIAL) | limit(way, 1), (64, 1))
        if answer is not None:
            read_message(answer)
            return way
    return None


def prompt_body(spec: EndpointSpec, units: Units, way: Way, ids: NDArray[np.int32]) -> dict[str, Any]:
    """Return a question that gives a text to continue, greedily."""
    prompt: Any = ids.tolist() if way.prompt == "tokens" else units.decode(ids.tolist())
    return {"model": spec.model, "prompt": prompt, "temperature": 0.0}


def chat_body(spec: EndpointSpec, text: str) -> dict[str, Any]:
    """Return a question that tells a chat model to continue a text, greedily."""
    told = {"role": "system", "content": spec.instruction or INSTRUCTION}
    return {"model": spec.model, "messages": [told, {"role": "user", "content": text}], "temperature": 0.0}


def limit(way: Way, tokens: int) -> dict[str, Any]:
    """Return the part of a question that says how much may be said."""
    return {way.limit: tokens}


def echo_body(spec: EndpointSpec, units: Units, way: Way, ids: NDArray[np.int32]) -> dict[str, Any]:
    """Return a question whose answer repeats a text with its scores; one token is said that nobody needs.

    Some servers take a limit of 0 to mean none at all.
    """
    return prompt_body(spec, units, way, ids) | limit(way, 1) | {"echo": True, "logprobs": _TOP}


def read_places(echo: Echo, units: Units, ids: NDArray[np.int32]) -> int:
    """Return how many ids at the start the server leaves out when it repeats a text: 0, or 1 that stands before texts.

    Raises:
        EndpointError: It does not repeat the text, or cuts it into other tokens.
    """
    for left_out in (0, 1) if len(ids) and ids[0] == units.begin else (0,):
        own = ids[left_out:].tolist()
        if len(own) <= len(echo.tokens) <= len(own) + 1 and all(map(units.agrees, own, echo.tokens)):
            return left_out
    msg = f"of a text of {len(ids)} tokens the server repeats {len(echo.tokens)}, or others"
    raise EndpointError(msg, hint="Is model.endpoint.tokenizer the tokenizer of the model that the server runs?")
