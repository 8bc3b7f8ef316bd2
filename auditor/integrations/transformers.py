"""A callback for the Hugging Face Trainer, and for trainers made of it (TRL): audits canaries while a model is trained.

    trainer = Trainer(..., callbacks=[AuditCallback("subject.yaml")])

Before training it proves that every planted canary receives loss; at checkpoints it measures what the model remembers; at the end it
saves the model where the subject file names it and runs the whole audit. See docs/integrations.md.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from auditor.contract.registry import statistics_of_tests
from auditor.errors import AuditorError, SubjectError, UnsupportedError, UsageError
from auditor.integrations.history import LOOKS, CanaryRow, History, Look, Loss, Measured
from auditor.integrations.loss_proof import LossProof, prove
from auditor.integrations.undisturbed import undisturbed
from auditor.integrations.watching import Live, SubjectInTraining, Watch
from auditor.pipeline import Audited, Occasion, audit, now, prepare
from auditor.policy.load import load_policy
from auditor.subjects.adapters.language_model import CausalLM
from auditor.subjects.adapters.opening import quietly
from auditor.subjects.adapters.peft_folder import refuse_kind, refuse_other_base
from auditor.subjects.adapters.weights import context_in, model_files
from auditor.subjects.loading import LoadedSpec, read_subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.seal.keys import Signer

__all__ = ["AuditCallback"]

_log = logging.getLogger(__name__)

WATCHED: dict[str, dict[str, Any]] = {
    "language/exposure": {"candidates": 1024},
    "language/discoverable-extraction": {"records": 200, "generate": 1},
}
"""What is asked at every look unless something else is named; other parameters are those of the subject's policy."""
_LOGGED = ("loss", "eval_loss", "learning_rate", "grad_norm")
_KEYS = Path.home() / ".config" / "auditor"


class AuditCallback(TrainerCallback):  # type: ignore[misc]
    """Audits a causal language model while a Trainer trains it; training itself is not changed by a single bit.

    Args:
        subject: The subject file. Its `data` names members, controls and the canary manifest; its `model.path`, or `model.peft` for an
            adapter, is where the trained model will be saved, so no model may lie there yet.
        out: Folder of the history and the bundle. Default: `training-audit` beside the subject file.
        at: When to look: `save` and `evaluate` follow the trainer, a number is a distance in optimizer steps. The beginning and
            the end are looked at in any case.
        tests: Tests to measure at every look, with parameters; see `WATCHED` for the default.
        loss_records: Records of members and of controls whose loss is taken at every look; 0: none.
        prove_loss: Prove before training that every planted canary receives loss.
        bundle: Save the model at the end and write the sealed bundle of the whole audit.
        policy: Name or path of a policy instead of the one the subject names.
        key: Signing key (PEM), from `auditor keygen`; the passphrase is read from AUDITOR_PASSPHRASE.
        cert: Certificate of the key (PEM).

    Attributes:
        proof: What the training data holds of every canary, once training began.
        audited: The finished audit, once training ended.
        fault: Why the audit at the end failed; None if it did not.
    """

    def __init__(
        self,
        subject: str | Path,
        *,
        out: str | Path | None = None,
        at: int | str = "save",
        tests: Mapping[str, Mapping[str, Any]] | None = None,
        loss_records: int = 128,
        prove_loss: bool = True,
        bundle: bool = True,
        policy: str | None = None,
        key: str | Path = _KEYS / "auditor.key.pem",
        cert: str | Path = _KEYS / "auditor.crt.pem",
    ) -> None:
        """Read the subject file; nothing else is opened yet."""
        if not (at in {"save", "evaluate"} or (isinstance(at, int) and at > 0)):
            msg = f"at={at!r} is neither 'save', 'evaluate' nor a number of steps"
            raise UsageError(msg, hint="Write for example at=500.")
        self._loaded: LoadedSpec = read_subject(Path(subject))
        self._at = at
        self._out = Path(out) if out is not None else self._loaded.base / "training-audit"
        self._tests = tests
        self._loss_records = loss_records
        self._prove_loss = prove_loss
        self._bundle = bundle
        self._policy = policy
        self._key = Path(key)
        self._cert = Path(cert)
        self._signer: Signer | None = None
        self._watch: Watch | None = None
        self._history = History(self._out)
        self._model: Any = None
        self._tokenizer: Any = None
        self.proof: LossProof | None = None
        self.audited: Audited | None = None
        self.fault: AuditorError | None = None

    # What the trainer calls

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ANN401, ARG002
        """Check everything that could fail later, prove that every planted canary receives loss, and look once.

        Raises:
            AuditorError: Something the user wrote cannot be used, or the audit would mean nothing.
        """
        if not state.is_world_process_zero:
            return  # the others wait for this one at their next exchange of gradients
        self._model, self._tokenizer = _unwrapped(given["model"]), given.get("processing_class")
        self._tokenizer = getattr(
            self._tokenizer, "tokenizer", self._tokenizer
        )  # of a processor of several kinds of input
        self._check(state)
        with undisturbed(self._model), quietly():
            opened = SubjectInTraining(self._loaded, self._live())
            self._watch = self._watched(opened)
            if self._prove_loss and opened.canaries is not None:
                loader = given["train_dataloader"]
                batches = _batches(args, state, loader)
                epochs = int(-(-float(state.num_train_epochs) // 1))
                self.proof = prove(loader, self._tokenizer, opened.canaries, batches=batches, epochs=epochs)
                self._history.prove(self.proof)
                self.proof.check()
        for row in self.proof.canaries if self.proof else ():
            if row.planted and row.with_loss < row.repetitions:
                _log.warning("Canary %s: %d of %d copies receive loss.", row.id, row.with_loss, row.repetitions)
        for name, why in self._watch.omissions.items():
            _log.warning("%s is not measured during training: %s", name, why)
        self._look("begin", state)

    def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ANN401, ARG002
        """Look, if a distance in steps was asked for and has been gone: now what was logged of the last one is known."""
        if isinstance(self._at, int) and state.global_step % self._at == 0:
            self._look("step", state)

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ANN401, ARG002
        """Look, if that was asked for."""
        if self._at == "evaluate":
            self._look("evaluate", state)

    def on_save(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ANN401, ARG002
        """Look, if that was asked for."""
        if self._at == "save":
            self._look("save", state)

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ANN401, ARG002
        """Look a last time, save the model, and run the whole audit; a failure is said and kept, for the training is done."""
        if self._watch is None:
            return
        self._look("end", state)
        if not self._bundle:
            return
        try:
            with undisturbed(self._model), quietly(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._save()
                self.audited = self._audit()
        except AuditorError as error:
            self.fault = error
            _log.error("The audit at the end failed: %s %s", error.message, error.hint)
        except Exception as error:  # noqa: BLE001  (what was trained is still to be saved by whoever trains)
            self.fault = AuditorError(f"the audit at the end failed: {type(error).__name__}")
            _log.error("The audit at the end failed.", exc_info=error)

    # What is done

    def _check(self, state: Any) -> None:  # noqa: ANN401
        if self._tokenizer is None:
            msg = "the trainer has no tokenizer"
            raise UsageError(msg, hint="Give it: Trainer(..., processing_class=tokenizer).")
        _refuse_shards(self._model)
        spec, base = self._loaded.spec.model, self._loaded.base
        if self._bundle:
            self._check_target(spec, base)
            from auditor.seal.keys import load_signer  # noqa: PLC0415  (heavy)

            passphrase = os.environ.get("AUDITOR_PASSPHRASE")
            self._signer = load_signer(self._key, self._cert, passphrase.encode() if passphrase else None, now=now())
        if state.global_step:
            self._history.resume(state.global_step)
        elif (self._out / LOOKS).exists() or (self._out / "bundle").exists():
            msg = f"{self._out}: holds the audit of another training run"
            raise UsageError(msg, hint="Choose another folder with out=, or remove this one.")

    def _check_target(self, spec: Any, base: Path) -> None:  # noqa: ANN401
        adapted = hasattr(self._model, "peft_config")
        if spec.adapter != "causal-lm":
            msg = f"the subject's adapter is '{spec.adapter}', and a trainer's model is saved for 'causal-lm'"
            raise SubjectError(msg, hint="Write model: {adapter: causal-lm, path: ...} in the subject file.")
        if adapted != bool(spec.peft):
            what = "an adapter (PEFT) on a base model" if adapted else "a whole model"
            msg = f"the trainer trains {what}, and the subject's model says otherwise"
            hint = "Name base and adapter: model: {path: ./base, peft: ./lora}; of a whole model the path alone."
            raise SubjectError(msg, hint=hint)
        target = base / (spec.peft or spec.path)
        if any((target / name).exists() for name in ("config.json", "adapter_config.json")):
            msg = f"{target}: there is already a model, and the trained one is to be saved there"
            raise SubjectError(msg, hint="Name a new folder as model.path (or model.peft) of the subject file.")
        if adapted:
            model_files(base / spec.path)
            for config in self._model.peft_config.values():
                refuse_kind(config.to_dict(), target)
                refuse_other_base(config.to_dict(), target, spec, base)

    def _live(self) -> Live:
        model = self._model
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        context = context_in(model.config.to_dict())

        def opened() -> CausalLM:
            return CausalLM(inner, self._tokenizer, context)

        return Live(opened, sum(weight.numel() for weight in model.parameters()), context)

    def _watched(self, opened: SubjectInTraining) -> Watch:
        spec = self._loaded.spec
        policy = load_policy(
            self._policy or spec.policy,
            base=None if self._policy else self._loaded.base,
            known_tests=statistics_of_tests(),
        ).policy
        declared = {entry.test: entry.parameters for entry in policy.tests}
        tests = WATCHED if self._tests is None else self._tests
        return Watch(
            opened,
            {name: {**declared.get(name, {}), **given} for name, given in tests.items()},
            seed=policy.seed,
            confidence=policy.confidence,
            queries=policy.queries,
            loss_records=self._loss_records,
        )

    def _look(self, occasion: str, state: Any) -> None:  # noqa: ANN401
        """Look at the model as it is now, once a step; what fails is written down and training goes on."""
        if self._watch is None or (self._history.looks and self._history.looks[-1].step == state.global_step):
            return
        logged: dict[str, float] = {}
        for entry in state.log_history:
            logged |= {name: float(entry[name]) for name in _LOGGED if _is_number(entry.get(name))}
        fault: str | None = None
        losses: dict[str, Loss] = {}
        measured: list[Measured] = []
        canaries: list[CanaryRow] = []
        try:
            with undisturbed(self._model), quietly():
                losses, measured, canaries = self._watch.look()
        except AuditorError as error:
            fault = error.message
            _log.warning("The look at step %d failed: %s %s", state.global_step, error.message, error.hint)
        except Exception as error:  # noqa: BLE001  (days of training are not lost for one look at it)
            fault = type(error).__name__
            _log.warning("The look at step %d failed.", state.global_step, exc_info=error)
        look = Look(
            step=int(state.global_step),
            epoch=float(state.epoch) if state.epoch is not None else None,
            occasion=occasion,
            trainer=logged,
            losses=losses,
            tests=tuple(measured),
            fault=fault,
        )
        self._history.add(look, canaries)

    def _save(self) -> None:
        spec, base = self._loaded.spec.model, self._loaded.base
        self._model.save_pretrained(base / (spec.peft or spec.path))
        if not spec.peft:
            self._tokenizer.save_pretrained(base / spec.path)

    def _audit(self) -> Audited:
        if self._signer is None:
            msg = "there is no key to sign with"
            raise UnsupportedError(msg, hint="Make one: auditor keygen.")
        started = now()
        prepared = prepare(self._loaded.path, self._policy)
        command = f"auditor.integrations.transformers.AuditCallback({str(self._loaded.path)!r})"
        occasion = Occasion(operator=self._signer.common_name, command=command, started=started)
        return audit(prepared, self._out / "bundle", self._signer, occasion, _Logged())


class _Logged:
    """Hears how the audit goes on."""

    def begin(self, job: Any, shards: int, done: int) -> None:  # noqa: ANN401, ARG002
        _log.info("%s: %d shards", job.observation.observer, shards)

    def advance(self, job: Any, tokens: int) -> None: ...  # noqa: ANN401

    def end(self, job: Any, omission: Any) -> None:  # noqa: ANN401
        if omission is not None:
            _log.warning("%s: %s", job.observation.observer, omission.message)


def _is_number(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, (int, float)) and math.isfinite(value)


def _unwrapped(model: Any) -> Any:  # noqa: ANN401
    """Return the model itself, without what spreads or compiles it."""
    for name in ("module", "_orig_mod"):
        model = getattr(model, name, model)
    return model


def _refuse_shards(model: Any) -> None:  # noqa: ANN401
    """Refuse a model of which this process holds only a part: asking it would need all processes at once."""
    for name, weight in model.named_parameters():
        if weight.is_meta or hasattr(weight, "ds_id") or hasattr(weight, "_local_tensor") or not weight.numel():
            msg = f"the weight '{name}' is spread over several processes (FSDP, ZeRO-3, tensor parallelism)"
            hint = "Audit the saved checkpoints instead: auditor run, then auditor compare. Plain data parallelism is supported."
            raise UnsupportedError(msg, hint=hint)


def _batches(args: Any, state: Any, loader: Any) -> int:  # noqa: ANN401
    """Return how many batches training will take, of all processes."""
    shard = getattr(loader, "batch_sampler", None)
    processes = 1 if getattr(shard, "split_batches", False) else int(args.world_size)
    return int(state.max_steps) * int(args.gradient_accumulation_steps) * processes
