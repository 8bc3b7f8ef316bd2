"""Reads what a server answers: nothing in it is taken for granted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROUNDING = 1e-3
"""A log-probability may lie above 0 by as much, nat: some servers round."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said.

    Args:
        text: Its words.
        cut: It was stopped by the limit of tokens and would have gone on.
        tokens: Its tokens as the server writes them, empty where it does not list them.
    """

    text: str
    cut: bool
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Echo:
    """Scores of a text that was given, and of what the model said after it; one entry for each token.

    Args:
        tokens: As the server writes them.
        logprob: log p of each, nat; None where the server gives none, such as for the first.
        best: log p of the likeliest tokens at that place, nat, falling; empty where the server gives none.
    """

    tokens: tuple[str, ...]
    logprob: tuple[float | None, ...]
    best: tuple[tuple[float, ...], ...]


def read_completion(answer: Mapping[str, Any]) -> Said:
    """Return what a model said to continue a text.

    Raises:
        EndpointError: The answer is not that of a completion.
    """
    choice = _choice(answer)
    text = choice.get("text")
    if not isinstance(text, str):
        raise _strange(what="choices[0].text is no text")
    return Said(text, choice.get("finish_reason") == "length", _tokens(choice.get("logprobs")))


def read_message(answer: Mapping[str, Any]) -> Said:
    """Return what a model said to answer a message; nothing where it refused with empty words.

    Raises:
        EndpointError: The answer is not that of a chat.
    """
    choice = _choice(answer)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise _strange(what="choices[0].message is no object")
    text = message.get("content")
    if text is not None and not isinstance(text, str):
        raise _strange(what="choices[0].message.content is no text")
    return Said(text or "", choice.get("finish_reason") == "length", ())


def read_echo(answer: Mapping[str, Any]) -> Echo:
    """Return the scores of a text that the server was asked to repeat.

    Raises:
        EndpointError: The answer holds no such scores, or scores that cannot be.
    """
    found = _choice(answer).get("logprobs")
    if not isinstance(found, dict):
        raise _strange(what="choices[0].logprobs is no object")
    tokens, scores, best = (found.get(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise _strange(what="choices[0].logprobs.tokens is no list of texts")
    if not isinstance(scores, list) or len(scores) != len(tokens):
        raise _strange(what="choices[0].logprobs.token_logprobs has not one number for each token")
    if not isinstance(best, list) or len(best) != len(tokens):
        raise _strange(what="choices[0].logprobs.top_logprobs has not one entry for each token")
    return Echo(tuple(tokens), tuple(map(_score, scores)), tuple(map(_best, best)))


def _choice(answer: Mapping[str, Any]) -> dict[str, Any]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise _strange(what="it holds not one choice")
    choice: dict[str, Any] = choices[0]
    return choice


def _tokens(found: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the tokens that were said, in either way of listing them; none where they are not listed."""
    if not isinstance(found, dict):
        return ()
    listed = found.get("tokens")
    if listed is None and isinstance(found.get("content"), list):
        listed = [entry.get("token") if isinstance(entry, dict) else None for entry in found["content"]]
    if not isinstance(listed, list) or not all(isinstance(token, str) for token in listed):
        return ()
    return tuple(listed)


def _score(value: Any) -> float | None:  # noqa: ANN401
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value <= _ROUNDING:
        raise _strange(what="a log-probability is no number of at most 0")
    return min(float(value), 0.0)


def _best(entry: Any) -> tuple[float, ...]:  # noqa: ANN401
    if entry is None:
        return ()
    if not isinstance(entry, dict):
        raise _strange(what="an entry of choices[0].logprobs.top_logprobs is no object")
    scores = [_score(value) for value in entry.values()]
    return tuple(sorted((score for score in scores if score is not None and math.isfinite(score)), reverse=True))


def _strange(*, what: str) -> EndpointError:
    msg = f"the server's answer cannot be read: {what}"
    return EndpointError(msg, hint="Does the server speak the OpenAI interface? docs/subjects/completion-endpoint.md")
