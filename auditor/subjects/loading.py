"""Reads a subject file and opens what it names; every digest is taken before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from auditor.core.subject import ModelIdentity, Subject, SubjectSpec
from auditor.core.yaml import load_yaml, validate
from auditor.errors import SubjectError, UnsupportedError
from auditor.evidence.digests import artifact, artifacts, joint_digest
from auditor.subjects.canaries import read_canaries
from auditor.subjects.capability import Adapted, OpenModel, RecordedModel, RemoteAdapter
from auditor.subjects.data import FileRecords, overlap
from auditor.subjects.denoiser import Denoiser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from auditor.core.canary import CanarySet
    from auditor.core.subject import Artifact, ModelSpec


T = TypeVar("T")
_PEFT = "peft"
"""Where an adapter's files stand in the identity of a model."""


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A subject file, and the folder its paths are relative to."""

    spec: SubjectSpec
    path: Path

    @property
    def base(self) -> Path:
        """Folder that paths are relative to."""
        return self.path.parent


def read_subject(path: Path) -> LoadedSpec:
    """Return what a subject file says.

    Raises:
        SubjectError: It cannot be read or does not fit.
    """
    return LoadedSpec(validate(load_yaml(path, SubjectError), SubjectSpec, SubjectError), path)


class OpenedFiles:
    """A subject whose files were digested; its models are opened on first use. Meets `OpenedSubject`.

    Args:
        loaded: The subject file.
        adapter: Returns the adapter of a name.
    """

    facts: Any
    """Set by whoever knows the policy."""

    def __init__(self, loaded: LoadedSpec, adapter: Callable[[str], Any]) -> None:
        """Check every file the subject names and take its digest."""
        spec, base = loaded.spec, loaded.base
        self._specs = {"subject": spec.model}
        self._specs |= {f"reference-{number}": reference for number, reference in enumerate(spec.references)}
        self._adapter = adapter
        self._base = base
        self._models: dict[str, OpenModel | Denoiser] = {}
        self._memory: dict[str, Any] = {}
        self._exchanges: Path | None = None
        identities = {role: self._identity(model) for role, model in self._specs.items()}
        self.context_length: int = adapter(spec.model.adapter).describe(spec.model, base)[1]
        self.canaries: CanarySet | None = read_canaries(base / spec.data.canaries) if spec.data.canaries else None
        self._records = {"members": FileRecords(spec.data.members, base)}
        left_out: dict[int, str] = {}
        if spec.data.controls is not None:
            controls = FileRecords(spec.data.controls, base)
            left_out = overlap(self._records["members"], controls)
            self._records["controls"] = controls.without(left_out) if left_out else controls
        self.subject = Subject(
            name=spec.name,
            controller=spec.controller,
            responsible=spec.responsible,
            release_context=spec.release_context,
            model=identities.pop("subject"),
            references=tuple(identities.values()),
            members=self._records["members"].identity(),
            controls=self._records["controls"].identity() if "controls" in self._records else None,
            controls_drawn=spec.data.controls_drawn,
            canaries=artifact(base / spec.data.canaries, base) if spec.data.canaries else None,
            statements=artifact(base / spec.statements, base) if spec.statements else None,
            overlap=tuple(left_out.values()),
        )

    def _identity(self, spec: ModelSpec) -> ModelIdentity:
        adapter = self._adapter(spec.adapter)
        remote = isinstance(adapter, RemoteAdapter)
        found = None if remote else self._artifacts(spec, adapter.files(spec, self._base))
        files = adapter.stand_ins(spec, self._base) if found is None else found
        parameters, _ = adapter.describe(spec, self._base)
        return ModelIdentity(
            adapter=spec.adapter,
            dtype=spec.dtype,
            files=files,
            digest=joint_digest(files),
            parameters=parameters,
            capabilities=tuple(adapter.capabilities_of(spec, self._base)),
            seen="answers" if remote else "weights",
        )

    def _artifacts(self, spec: ModelSpec, paths: Sequence[Path]) -> tuple[Artifact, ...]:
        """Return the files of a model; where an adapter's folder lies changes nothing of what both compute together.

        Raises:
            SubjectError: The model has a PEFT adapter, and whoever opens it does not know what that is.
        """
        folder = self._base / spec.peft if spec.peft else None
        own = artifacts((path for path in paths if path.parent != folder), self._base / spec.path)
        added = artifacts((path for path in paths if path.parent == folder), folder) if folder else ()
        if folder and not added:
            msg = f"{folder}: the adapter '{spec.adapter}' of the auditor knows no PEFT adapters"
            raise SubjectError(msg, hint="Leave model.peft out, or use the adapter causal-lm.")
        named = (item.model_copy(update={"path": f"{_PEFT}/{item.path}"}) for item in added)
        return tuple(sorted((*own, *named), key=lambda item: item.path))

    def model(self, role: str) -> OpenModel:
        """Return the language model of a role, opened on first use from the files that were digested.

        Raises:
            SubjectError: The files changed since, or cannot be opened.
            UnsupportedError: The model of that role is none.
        """
        model = self._opened(role)
        if not isinstance(model, OpenModel):
            raise _other_kind(role, "language model")
        return model

    def _opened(self, role: str) -> OpenModel | Denoiser:
        if role not in self._models:
            spec = self._specs[role]
            if self._identity(spec).digest != self._known(role).digest:
                msg = f"{self._base / spec.path}: the model's files changed after their digests were taken"
                raise SubjectError(msg, hint="Let nothing write to the model during an audit, and run again.")
            below = self._below_an_adapter(role)
            model = self._models[role] = below or self._adapter(spec.adapter).open(spec, self._base)
            if self._exchanges is not None and isinstance(model, RecordedModel):
                model.record_in(self._exchanges / role)
        return self._models[role]

    def _known(self, role: str) -> ModelIdentity:
        return self.subject.model if role == "subject" else self.subject.references[int(role.rsplit("-", 1)[1])]

    def _below_an_adapter(self, role: str) -> OpenModel | None:
        """Return the model of a role as the base of another role's adapted model: the same weights, once in memory.

        None where no other role stands on the same files, in the same precision on the same device.
        """
        spec = self._specs[role]
        for other, above in self._specs.items():
            same = (above.adapter, above.dtype, above.device) == (spec.adapter, spec.dtype, spec.device)
            if spec.peft is not None or above.peft is None or not same:
                continue
            files = tuple(item for item in self._known(other).files if not item.path.startswith(f"{_PEFT}/"))
            if files == self._known(role).files:
                upper = self._opened(other)
                below = upper.bare() if isinstance(upper, Adapted) else None
                if below is not None:
                    return below
        return None

    def record_in(self, folder: Path) -> None:
        """Keep what is asked of models over a network, and what they answer: a folder in this one for each role."""
        self._exchanges = folder

    def settle(self) -> None:
        """Put what was recorded into one order, whatever the order in which answers came."""
        for model in self._models.values():
            if isinstance(model, RecordedModel):
                model.settle()

    def denoiser(self, role: str) -> Denoiser:
        """Return the diffusion model of a role, opened on first use.

        Raises:
            SubjectError: The files changed since, or cannot be opened.
            UnsupportedError: The model of that role is none.
        """
        model = self._opened(role)
        if not isinstance(model, Denoiser):
            raise _other_kind(role, "diffusion model")
        return model

    def remember(self, key: str, make: Callable[[], T]) -> T:
        """Return what was made for the key, made on first use."""
        if key not in self._memory:
            self._memory[key] = make()
        found: T = self._memory[key]
        return found

    def records(self, dataset: Literal["members", "controls"]) -> FileRecords:
        """Return the members or the controls.

        Raises:
            SubjectError: The subject has no controls.
        """
        if dataset not in self._records:
            msg = f"the subject has no {dataset}"
            raise SubjectError(msg, hint=f"Name them as data.{dataset} in the subject file.")
        return self._records[dataset]

    def contents(self, dataset: Literal["members", "controls"]) -> FileRecords:
        """Return the members or the controls, for an observer that asks no model: the same records."""
        return self.records(dataset)


def _other_kind(role: str, words: str) -> UnsupportedError:
    msg = f"the model of the role '{role}' is not a {words}"
    return UnsupportedError(msg, hint="Choose the adapter that fits the model.")


def open_subject(loaded: LoadedSpec, adapter: Callable[[str], Any]) -> OpenedFiles:
    """Return a subject whose files were checked and digested.

    Args:
        loaded: The subject file.
        adapter: Returns the adapter of a name, or raises SubjectError.

    Raises:
        InputError: Something it names cannot be used.
    """
    return OpenedFiles(loaded, adapter)
