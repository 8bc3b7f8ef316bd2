"""Asks a model behind a server of the OpenAI interface: vLLM, llama.cpp, `transformers serve`, hosted services."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.core.record import canonical_bytes
from auditor.core.subject import Artifact, EndpointSpec
from auditor.errors import AuditorError, SubjectError, UnsupportedError
from auditor.evidence.digests import artifact
from auditor.subjects.adapters.weights import TOKENIZER_FILES
from auditor.subjects.endpoint.asking import Asking
from auditor.subjects.endpoint.speaking import EndpointModel
from auditor.subjects.endpoint.transport import HttpTransport, check_address, read_key
from auditor.subjects.endpoint.units import Tokens, Units, Words
from auditor.subjects.endpoint.ways import INSTRUCTION, Way, find_way

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditor.core.subject import ModelSpec

_CONTEXT = 2048
"""Tokens, where neither the subject file nor the server says more."""
_TOLD = ("id", "meta", "object", "owned_by", "parent", "root", "max_model_len")
"""What a server says of a model that does not change from one minute to the next."""
_CONTEXT_KEYS = ("max_model_len", "n_ctx_train")
_MODELS = "/models"


@dataclass(frozen=True, slots=True)
class _Found:
    """A server after the first questions."""

    asking: Asking
    units: Units
    way: Way
    told: dict[str, Any]


class CompletionEndpointAdapter:
    """Asks a server; its weights are not seen, so its name is what is declared and what it says of itself."""

    name = "completion-endpoint"
    capabilities = ("scores-given-tokens", "scores-completions", "continues-tokens", "samples-tokens")

    def __init__(self) -> None:
        """Know no server yet."""
        self._found: dict[str, _Found] = {}

    def files(self, spec: ModelSpec, base: Path) -> Sequence[Path]:
        """Return the files of the tokenizer: all that lies here of such a model."""
        folder = _tokenizer_folder(_endpoint(spec), base)
        return [] if folder is None else _tokenizer_files(folder)

    def stand_ins(self, spec: ModelSpec, base: Path) -> tuple[Artifact, ...]:
        """Return what names the model: how it is asked, what the server says of it, and the tokenizer.

        Asks the server what it knows and can, which takes a few questions of one token each.

        Raises:
            SubjectError: The subject file does not fit, or the server cannot be used.
        """
        papers = _papers(spec, self._find(spec, base))
        endpoint = _endpoint(spec)
        folder = _tokenizer_folder(endpoint, base)
        files = [] if folder is None else [artifact(path, folder.parent) for path in _tokenizer_files(folder)]
        made = [
            Artifact(path=f"endpoint/{name}", bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in papers.items()
        ]
        return tuple(sorted([*made, *files], key=lambda item: item.path))

    def describe(self, spec: ModelSpec, base: Path) -> tuple[int, int]:
        """Return the number of parameters as the server says it, 0 if it does not, and the context in units of text."""
        found = self._known(spec, base)
        meta = found.told.get("meta")
        count = meta.get("n_params") if isinstance(meta, dict) else None
        return (count if type(count) is int and count > 0 else 0), _context(spec, found) // found.units.per_unit

    def capabilities_of(self, spec: ModelSpec, base: Path) -> tuple[str, ...]:
        """Return what this server can be asked."""
        way = self._known(spec, base).way
        scores = ("scores-given-tokens", "scores-completions") if way.scores else ()
        return (*scores, "continues-tokens", *(("samples-tokens",) if way.samples else ()))

    def open(self, spec: ModelSpec, base: Path) -> EndpointModel:
        """Return the model, to be asked as the first questions showed."""
        found = self._known(spec, base)
        return EndpointModel(found.asking, found.way, found.units, _context(spec, found), _papers(spec, found))

    def _known(self, spec: ModelSpec, base: Path) -> _Found:
        found = self._found.get(_key(spec, base))
        return self._find(spec, base) if found is None else found

    def _find(self, spec: ModelSpec, base: Path) -> _Found:
        """Ask a server what it knows and can; what it said earlier does not count."""
        endpoint = _endpoint(spec)
        address = check_address(spec.path, allow_http=endpoint.allow_http)
        if endpoint.budget.money is not None and endpoint.price is None:
            msg = "model.endpoint.budget.money: there is no price, so it is not known what is spent"
            raise SubjectError(
                msg, hint="Declare model.endpoint.price: {prompt: ..., completion: ...} for 1,000 tokens."
            )
        folder = _tokenizer_folder(endpoint, base)
        units = Words() if folder is None else _tokens(folder)
        secret = read_key(endpoint.key_env)
        try:
            transport = HttpTransport(address, secret, endpoint.timeout_s, endpoint.concurrency)
            asking = Asking(endpoint, transport, secret)
            earlier = self._found.pop(_key(spec, base), None)
            if earlier is not None:
                asking.exchanges.take_over(earlier.asking.exchanges)
            told = _told(asking.get(_MODELS), endpoint.model)
            way = find_way(asking, units)
        except SubjectError:
            raise
        except (
            AuditorError
        ) as error:  # nothing is observed yet: it is the subject file or the server that has to change
            msg = f"{address}: {error.message}"
            raise SubjectError(msg, hint=error.hint) from error
        found = self._found[_key(spec, base)] = _Found(asking, units, way, told)
        return found


def _key(spec: ModelSpec, base: Path) -> str:
    return f"{spec.identity()} {base.resolve()}"


def _endpoint(spec: ModelSpec) -> EndpointSpec:
    if spec.endpoint is None:
        msg = "model.endpoint is missing: the adapter completion-endpoint has to know which model to ask for"
        raise SubjectError(msg, hint="Write model.endpoint: {model: ...}; see docs/subjects/completion-endpoint.md.")
    return spec.endpoint


def _context(spec: ModelSpec, found: _Found) -> int:
    declared = _endpoint(spec).context
    meta = found.told.get("meta")
    said = [place.get(name) for place in (found.told, meta) if isinstance(place, dict) for name in _CONTEXT_KEYS]
    sound = [number for number in said if type(number) is int and number > 0]
    return declared or (sound[0] if sound else _CONTEXT)


def _told(value: Any, model: str) -> dict[str, Any]:  # noqa: ANN401
    """Return what a list of models says of one; nothing where the server has no list, or does not name it there."""
    listed = value.get("data") if isinstance(value, dict) else None
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    own = next((entry for entry in entries if entry.get("id") == model), {})
    return {name: own[name] for name in _TOLD if name in own}


def _papers(spec: ModelSpec, found: _Found) -> dict[str, bytes]:
    """Return what names the model instead of weights, by file name: they stand in the bundle as they are digested."""
    endpoint = _endpoint(spec)
    declared = {
        "address": check_address(spec.path, allow_http=endpoint.allow_http),
        "api": found.way.api,
        "instruction": (endpoint.instruction or INSTRUCTION) if found.way.api == "chat" else None,
        "marks": found.asking.seen,
        "model": endpoint.model,
        "prompt": found.way.prompt,
    }
    try:
        return {"declared.json": canonical_bytes(declared), "models.json": canonical_bytes(found.told)}
    except ValueError as error:  # numbers that not every reader holds
        msg = f"what the server says of the model cannot be written down ({type(error).__name__})"
        raise SubjectError(msg, hint="Does the server speak the OpenAI interface?") from error


def _tokenizer_folder(endpoint: EndpointSpec, base: Path) -> Path | None:
    return None if endpoint.tokenizer is None else base / endpoint.tokenizer


def _tokenizer_files(folder: Path) -> list[Path]:
    files = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not files:
        msg = f"{folder}: there is no tokenizer"
        raise SubjectError(msg, hint="Copy tokenizer.json and tokenizer_config.json of the model into this folder.")
    return files


def _tokens(folder: Path) -> Tokens:
    _tokenizer_files(folder)
    try:
        from transformers import AutoTokenizer  # noqa: PLC0415
    except ImportError as error:
        msg = "a tokenizer needs transformers"
        hint = "Install memorization-auditor[models], or leave model.endpoint.tokenizer out and count words."
        raise UnsupportedError(msg, hint=hint) from error
    from auditor.subjects.adapters.opening import first_line, quietly  # noqa: PLC0415

    try:
        with quietly():
            return Tokens(AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
    except Exception as error:  # a folder that cannot be trusted can make the library fail in any way
        msg = f"{folder}: the tokenizer cannot be loaded ({first_line(error)})"
        raise SubjectError(msg, hint="Does AutoTokenizer.from_pretrained load this folder?") from error


ADAPTER = CompletionEndpointAdapter()
