"""Asks a model in training the questions of the battery, with the observers and tests of every audit."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from auditor.contract.protocol import Facts
from auditor.contract.registry import load
from auditor.core.evidence import Need, Observation, Omission
from auditor.core.plan import Job, Plan
from auditor.core.policy import Policy, QueryBudget, TestEntry
from auditor.core.seeds import generator
from auditor.errors import SubjectError, UnsupportedError
from auditor.evidence.table import ObservedTable, Ragged
from auditor.integrations.history import CanaryRow, Loss, Measured
from auditor.plan.resolve import Sources, resolve
from auditor.run.measure import measure
from auditor.run.observe import Workplace, observe
from auditor.statistics.exposure import exact_exposure, sampled_exposure
from auditor.subjects.loading import LoadedSpec, OpenedFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from auditor.contract.protocol import Observer
    from auditor.core.subject import ModelSpec
    from auditor.subjects.capability import OpenModel

NOWHERE = "0" * 64
"""Stands for the digest of weights that change while they are asked, and of a policy that is no file."""
LOSS_TOKENS = 256
"""Longest part of a record whose loss is taken, tokens."""


@dataclass(frozen=True, slots=True)
class Live:
    """The model in training."""

    open: Callable[[], OpenModel]
    parameters: int
    context: int
    """Longest sequence it takes, tokens."""


class _LiveAdapter:
    """Opens the model in training, which lies in no folder; meets `Adapter`."""

    name = "causal-lm"

    def __init__(self, live: Live, capabilities: tuple[str, ...]) -> None:
        self._live = live
        self.capabilities = capabilities

    def files(self, spec: ModelSpec, base: Path) -> Sequence[Path]:  # noqa: ARG002  (the protocol's arguments)
        return ()

    def describe(self, spec: ModelSpec, base: Path) -> tuple[int, int]:  # noqa: ARG002
        return self._live.parameters, self._live.context

    def capabilities_of(self, spec: ModelSpec, base: Path) -> tuple[str, ...]:  # noqa: ARG002
        return self.capabilities

    def open(self, spec: ModelSpec, base: Path) -> OpenModel:  # noqa: ARG002
        return self._live.open()


class SubjectInTraining(OpenedFiles):
    """The subject of a file whose own model is the one in training.

    Args:
        loaded: The subject file.
        live: The model in training.
    """

    def __init__(self, loaded: LoadedSpec, live: Live) -> None:
        """Read the data; references stand where the file says and are left out here."""
        plain = loaded.spec.model.model_copy(update={"adapter": "causal-lm", "peft": None, "peft_base": None})
        spec = loaded.spec.model_copy(update={"model": plain, "references": ()})
        adapter = load("adapters", "causal-lm")
        if isinstance(adapter, Omission):
            raise SubjectError(adapter.message, hint="Install memorization-auditor[models].")
        super().__init__(LoadedSpec(spec, loaded.path), lambda _: _LiveAdapter(live, adapter.capabilities))

    def forget(self) -> None:
        """Forget what was seen of the model: its weights are others by now."""
        self._models.clear()
        self._memory.clear()


class Watch:
    """What is asked at every look, and the looks.

    Args:
        opened: The subject in training.
        tests: Tests of the battery with their parameters.
        seed: Seed of samples and candidates, one for all looks, so that they can be compared.
        confidence: Level of the intervals.
        queries: The policy's query budget.
        loss_records: Records of members and of controls whose loss is taken.
    """

    def __init__(
        self,
        opened: SubjectInTraining,
        tests: Mapping[str, Mapping[str, Any]],
        *,
        seed: int,
        confidence: float,
        queries: QueryBudget,
        loss_records: int,
    ) -> None:
        """Plan what is asked; nothing is asked yet."""
        self._opened = opened
        opened.facts = Facts(
            subject=opened.subject,
            canaries=opened.canaries,
            context_length=opened.context_length,
            confidence=confidence,
            queries=queries,
        )
        self._queries = queries
        self._policy = Policy(
            id="training",
            version=1,
            title="Looks at a model in training",
            catalogues=("none",),
            confidence=confidence,
            seed=seed,
            queries=queries,
            tests=tuple(TestEntry(test=name, parameters=dict(given)) for name, given in tests.items()),
        )
        self._plan = resolve(
            self._policy, {"audited": opened.facts}, Sources(policy=NOWHERE, catalogues={}, statements=None)
        )
        self._losses = self._loss_jobs(seed, loss_records)

    @property
    def omissions(self) -> dict[str, str]:
        """Tests that cannot be asked of this subject, and why."""
        rows = self._plan.side("audited").tests
        return {row.test: row.omission.message for row in rows if row.omission is not None}

    def _loss_jobs(self, seed: int, records: int) -> dict[str, Job]:
        observer = cast("Observer", load("observers", "token-scores"))
        subject, jobs = self._opened.subject, {}
        for dataset, identity in (("members", subject.members), ("controls", subject.controls)):
            if identity is None or identity.modality != "text" or not records:
                continue
            need = Need(
                observer="token-scores",
                dataset=cast("Any", dataset),
                parameters={"records": records, "max_tokens": LOSS_TOKENS},
            )
            observation = Observation(
                observer=need.observer,
                observer_version=observer.version,
                dataset=need.dataset,
                model_role=need.model,
                model=NOWHERE,
                data=(identity.digest,),
                parameters=need.parameters,
                seed=int(generator(seed, "loss").integers(2**53)),
            )
            items = observer.items(need, self._opened.facts)
            jobs[dataset] = Job(id=observation.identity(), observation=observation, need=need, items=items, tokens=0)
        return jobs

    def look(self) -> tuple[dict[str, Loss], list[Measured], list[CanaryRow]]:
        """Return the losses, what every test measured, and every canary, of the model as it is now."""
        self._opened.forget()
        with tempfile.TemporaryDirectory() as folder:
            place = Workplace(Path(folder), b"\0" * 32)  # nothing of it is kept, so there is nothing to guess
            jobs = tuple({job.id: job for job in (*self._plan.jobs, *self._losses.values())}.values())
            faults = observe(jobs, {"audited": self._opened}, place, _Silent())
            losses = {name: _loss(place.folder / job.id) for name, job in self._losses.items() if job.id not in faults}
            measured = measure(
                self._plan,
                self._plan.side("audited"),
                place.folder,
                faults,
                canaries=self._opened.canaries.withheld() if self._opened.canaries else None,
                queries=self._queries,
            )
            canaries = self._canaries(self._plan, place.folder, faults)
        return losses, [Measured.of(name, found) for name, found in measured.items()], canaries

    def _canaries(self, plan: Plan, folder: Path, faults: Mapping[str, Omission]) -> list[CanaryRow]:
        job = next((job for job in plan.jobs if job.need.observer == "canary-scores"), None)
        if job is None or job.id in faults:
            return []
        table = ObservedTable(folder / job.id)
        names = ("format", "canary", "planted", "repetitions", "tokens", "score", "exhaustive")
        columns = {name: table.column(name) for name in names}
        spaces = {
            form.id: float(form.space) for form in (self._opened.canaries.formats if self._opened.canaries else ())
        }
        rows = []
        for row in np.flatnonzero(columns["canary"] != ""):
            form = str(columns["format"][row])
            alike = (
                (columns["canary"] == "") & (columns["format"] == form) & (columns["tokens"] == columns["tokens"][row])
            )
            rivals, score = columns["score"][alike], float(columns["score"][row])
            if not len(rivals):
                continue
            of_format = int(((columns["canary"] == "") & (columns["format"] == form)).sum())
            own = max(spaces[form] * len(rivals) / of_format, len(rivals) + 1.0)
            found = (
                exact_exposure(score, np.append(rivals, score))
                if bool(columns["exhaustive"][row])
                else sampled_exposure(score, rivals, space_size=own)
            )
            rows.append(
                CanaryRow(
                    canary=str(columns["canary"][row]),
                    format=form,
                    planted=bool(columns["planted"][row]),
                    repetitions=int(columns["repetitions"][row]),
                    score=score,
                    below=found.rank_below,
                    candidates=len(rivals),
                    exposure=found.bits,
                )
            )
        return rows


class _Silent:
    """Hears how the work goes on, and says nothing."""

    def begin(self, job: Job, shards: int, done: int) -> None: ...

    def advance(self, job: Job, tokens: int) -> None: ...

    def end(self, job: Job, omission: Omission | None) -> None: ...


def _loss(folder: Path) -> Loss:
    total, tokens, records = 0.0, 0, 0
    for shard in ObservedTable(folder).shards("logprob"):
        rows = cast("Ragged", shard["logprob"])
        total -= float(np.sum(rows.values, dtype=np.float64))
        tokens += len(rows.values)
        records += len(rows)
    if not tokens:
        msg = "no record has a token that can be scored"
        raise UnsupportedError(msg, hint="Are the texts of the subject file those of the training?")
    return Loss(value=total / tokens, tokens=tokens, records=records)
