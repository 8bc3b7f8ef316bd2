"""The callback in real training: not a bit of training changes, exposure rises where it should, and the bundle verifies."""

from __future__ import annotations

import json
import random
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tiny_models import save
from training import Run, prepare_run, small_model, train, trainer_of

from auditor.errors import KeyMaterialError, SubjectError, UnsupportedError, UsageError
from auditor.integrations import transformers as integration
from auditor.integrations.history import CANARIES, LOOKS, PROOF
from auditor.integrations.transformers import AuditCallback
from auditor.integrations.undisturbed import undisturbed
from auditor.pipeline import verify_path

if TYPE_CHECKING:
    from pathlib import Path


def looks_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOOKS).read_text().splitlines()]


def bits(weights: Any) -> list[bytes]:
    return [value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() for value in weights]


def states() -> tuple[Any, ...]:
    drawn = np.random.get_state()  # noqa: NPY002  (what training draws from)
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), drawn[1].tobytes(), drawn[2]


# One whole run


@dataclass
class Done:
    run: Run
    callback: AuditCallback
    trainer: Any
    after: tuple[Any, ...]
    without: Any
    after_without: tuple[Any, ...]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    run = prepare_run(tmp_path_factory.mktemp("run"))
    options = {"num_train_epochs": 4, "logging_steps": 6}
    callback = AuditCallback(run.subject, at=24, **run.signing())
    trainer = train(trainer_of(run, callback, **options))
    after = states()
    without = train(trainer_of(run, **options))
    return Done(run, callback, trainer, after, without, states())


def test_weights_and_random_states_are_the_same_bytes_with_and_without(done: Done) -> None:
    assert bits(done.trainer.model.state_dict().values()) == bits(done.without.model.state_dict().values())
    assert done.after == done.after_without
    mine, others = ([row.get("loss") for row in made.state.log_history] for made in (done.trainer, done.without))
    assert mine == others
    assert not done.callback.fault


def test_exposure_rises_where_canaries_were_planted_and_nowhere_else(done: Done) -> None:
    looks = looks_of(done.run.folder / "training-audit")
    assert [(look["step"], look["occasion"]) for look in looks] == [(0, "begin"), (24, "step"), (48, "end")]
    exposure = [next(row for row in look["tests"] if row["test"] == "language/exposure") for look in looks]
    assert exposure[0]["p_value"] > 0.05
    assert exposure[-1]["p_value"] < 0.001
    assert exposure[-1]["estimate"]["value"] > 4
    assert exposure[-1]["control"]["value"] < 2
    assert exposure[-1]["excess"]["low"] > 0
    assert all(row["control"]["low"] < 1.6 for row in exposure)
    members, controls = ([look["losses"][side]["value"] for look in looks] for side in ("members", "controls"))
    assert members[0] > members[1] > members[2]
    assert controls[-1] > members[-1]
    logged = {row["step"]: row["loss"] for row in done.trainer.state.log_history if "loss" in row}
    assert [look["trainer"].get("loss") for look in looks] == [None, logged[24], logged[48]]
    assert all(look["fault"] is None for look in looks)
    missing = next(row for row in looks[0]["tests"] if row["test"] == "language/discoverable-extraction")
    assert "50 + 50 tokens" in missing["omission"]


def test_every_canary_of_every_look_and_no_secret(done: Done) -> None:
    folder = done.run.folder / "training-audit"
    table = pq.read_table(folder / CANARIES).to_pylist()
    known = {canary.id: canary for canary in done.run.canaries.canaries}
    assert len(table) == 3 * len(known)
    assert all(row["planted"] == known[row["canary"]].planted for row in table)
    last = [row for row in table if row["step"] == 48]
    assert np.mean([row["exposure"] for row in last if row["planted"]]) > 4
    assert np.mean([row["exposure"] for row in last if not row["planted"]]) < 2.5
    assert all(
        row["exposure"] == pytest.approx(-np.log2((row["below"] + 1) / (row["candidates"] + 1))) for row in table
    )
    files = b"".join((folder / name).read_bytes() for name in (LOOKS, CANARIES, PROOF))
    assert not any(canary.secret.encode() in files for canary in known.values())


def test_the_last_look_is_what_the_audit_of_the_saved_model_finds(done: Done) -> None:
    assert done.callback.audited is not None
    (finding,) = done.callback.audited.findings
    assert finding.outcome == "signal"
    assert finding.measurement is not None
    assert finding.measurement.canaries == sum(canary.planted for canary in done.run.canaries.canaries)
    assert finding.measurement.excess.low > 0  # type: ignore[union-attr]


def test_the_bundle_verifies(done: Done) -> None:
    steps = verify_path(done.run.folder / "training-audit" / "bundle", done.run.signing()["cert"])
    assert len(steps) == 9
    assert all(step.held for step in steps)


def test_the_proof_is_kept(done: Done) -> None:
    assert done.callback.proof is not None
    assert all(row.with_loss == (row.repetitions if row.planted else 0) for row in done.callback.proof.canaries)


def test_another_run_does_not_write_over_it(done: Done) -> None:
    with pytest.raises(SubjectError, match="already a model"):
        train(
            trainer_of(done.run, AuditCallback(done.run.subject, out=done.run.folder / "other", **done.run.signing()))
        )
    with pytest.raises(UsageError, match="another training run"):
        train(trainer_of(done.run, AuditCallback(done.run.subject, bundle=False)))


# Not a bit changes, whatever the training


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return prepare_run(tmp_path_factory.mktemp("small"), tiers=(2,), per_tier=6)


def quick(run: Run, out: Path, **options: Any) -> AuditCallback:
    tests = {"language/exposure": {"candidates": 40, "permutations": 99}}
    return AuditCallback(run.subject, out=out, bundle=False, tests=tests, loss_records=8, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_checkpointing": True, "gradient_accumulation_steps": 2},
        {"bf16": True},
        {"eval": True, "save_strategy": "steps", "save_steps": 2},
    ],
    ids=lambda options: next(iter(options)),
)
def test_not_a_bit_changes(small: Run, tmp_path: Path, options: dict[str, Any]) -> None:
    options = {"max_steps": 5, "per_device_train_batch_size": 8, "output_dir": str(tmp_path / "checkpoints"), **options}
    evaluated = options.pop("eval", False)
    made = []
    for callbacks in ([quick(small, tmp_path / "out", at="save" if evaluated else 2)], []):
        trainer = trainer_of(small, *callbacks, **options)
        frozen = trainer.model.transformer.h[0]
        frozen.mlp.register_buffer("table", torch.ones(2))
        made.append((bits(train(trainer).model.state_dict().values()), states()))
    assert made[0] == made[1]
    looks = looks_of(tmp_path / "out")
    assert [look["step"] for look in looks] == [0, 2, 4, 5]
    assert {look["fault"] for look in looks} == {None}
    assert looks[1]["occasion"] == ("save" if evaluated else "step")
    scores = pq.read_table(tmp_path / "out" / CANARIES).to_pylist()
    assert {row["step"] for row in scores} == {0, 2, 4, 5}


def test_an_adapter_in_training(small: Run, tmp_path: Path) -> None:
    import peft

    made = []
    for callbacks in ([quick(small, tmp_path / "out", at=2)], []):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = peft.LoraConfig(r=4, task_type="CAUSAL_LM", target_modules=["c_attn"], lora_dropout=0.1)
            model = peft.get_peft_model(small_model(), config)
        trainer = trainer_of(
            small, *callbacks, model=model, max_steps=4, gradient_checkpointing=True, output_dir=str(tmp_path / "x")
        )
        made.append((bits(train(trainer).model.state_dict().values()), states()))
    assert made[0] == made[1]
    exposures = [pq.read_table(tmp_path / "out" / CANARIES).to_pylist()]
    assert {row["step"] for row in exposures[0]} == {0, 2, 4}
    first, last = ([row["score"] for row in exposures[0] if row["step"] == step] for step in (0, 4))
    assert first != last


def test_a_frozen_part_stays_in_its_own_mode_and_buffers_come_back() -> None:
    model = small_model()
    model.train()
    model.transformer.h[0].eval()
    model.transformer.h[0].attn.register_buffer("table", torch.ones(3))
    before, kept = [module.training for module in model.modules()], model.transformer.h[0].attn.table
    seeds = states()
    with pytest.raises(ZeroDivisionError), undisturbed(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
        model.transformer.h[0].attn.table = torch.zeros(3)
        torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002
        raise ZeroDivisionError
    assert [module.training for module in model.modules()] == before
    assert model.transformer.h[0].attn.table is kept
    assert states() == seeds
    assert torch.is_grad_enabled()


# What fails, fails before training, or not at all


def test_a_look_that_fails_is_written_down_and_training_goes_on(
    small: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = quick(small, tmp_path / "out", at=1)
    calls = []

    def failing(watch: Any) -> Any:
        calls.append(watch)
        raise RuntimeError("secret words of the data")

    monkeypatch.setattr(integration.Watch, "look", failing)
    trainer = train(trainer_of(small, callback, max_steps=2, output_dir=str(tmp_path / "x")))
    assert trainer.state.global_step == 2
    assert len(calls) == 3
    looks = looks_of(tmp_path / "out")
    assert {look["fault"] for look in looks} == {"RuntimeError"}


def test_gone_on_with_from_a_checkpoint(small: Run, tmp_path: Path) -> None:
    options = {"output_dir": str(tmp_path / "runs"), "save_strategy": "steps", "save_steps": 2}
    train(trainer_of(small, quick(small, tmp_path / "out"), max_steps=4, **options))
    assert [look["step"] for look in looks_of(tmp_path / "out")] == [0, 2, 4]
    again = trainer_of(small, quick(small, tmp_path / "out"), max_steps=6, **options)
    train(again, resume_from_checkpoint=str(tmp_path / "runs" / "checkpoint-2"))
    assert [look["step"] for look in looks_of(tmp_path / "out")] == [0, 2, 4, 6]
    rows = pq.read_table(tmp_path / "out" / CANARIES).to_pylist()
    assert sorted({row["step"] for row in rows}) == [0, 2, 4, 6]
    assert len(rows) == 4 * 6


def begin(run: Run, callback: AuditCallback, **options: Any) -> None:
    trainer = trainer_of(run, callback, max_steps=1, **options)
    train(trainer)


def test_bad_input_ends_before_training(small: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither 'save'"):
        quick(small, tmp_path, at="sometimes")
    with pytest.raises(UsageError, match="neither 'save'"):
        quick(small, tmp_path, at=0)
    with pytest.raises(SubjectError):
        AuditCallback(tmp_path / "nowhere.yaml")
    with pytest.raises(KeyMaterialError):
        begin(
            small,
            AuditCallback(small.subject, out=tmp_path / "a", key=tmp_path / "none.pem", cert=tmp_path / "none.crt"),
        )
    with pytest.raises(UnsupportedError, match="several processes"):
        model = small_model()
        model.lm_head.weight.ds_id = 1
        integration._refuse_shards(model)


def test_a_trainer_without_a_tokenizer(small: Run, tmp_path: Path) -> None:
    trainer = trainer_of(small, quick(small, tmp_path / "out"), max_steps=1)
    trainer.callback_handler.processing_class = None
    with pytest.raises(UsageError, match="no tokenizer"):
        train(trainer)


def test_a_subject_of_another_kind_than_what_is_trained(small: Run, tmp_path: Path) -> None:
    subject = small.folder / "adapted.yaml"
    save(small.folder / "base", "gpt2")
    subject.write_text(small.subject.read_text().replace("path: ./trained", "path: ./base, peft: ./lora"))
    with pytest.raises(SubjectError, match="trains a whole model"):
        begin(small, AuditCallback(subject, out=tmp_path / "a", **small.signing()))
    subject.write_text(small.subject.read_text().replace("path: ./trained", "path: ./base"))
    with pytest.raises(SubjectError, match="already a model"):
        begin(small, AuditCallback(subject, out=tmp_path / "a", **small.signing()))


def test_an_adapter_on_another_base_than_the_subject_names(small: Run, tmp_path: Path) -> None:
    import peft

    save(small.folder / "other", "gpt2")
    subject = small.folder / "elsewhere.yaml"
    subject.write_text(small.subject.read_text().replace("path: ./trained", "path: ./other, peft: ./lora"))
    for options, says in (
        ({}, "made for 'someone/base'"),
        ({"init_lora_weights": "olora"}, "changes the base's weights"),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = peft.LoraConfig(
                r=4, task_type="CAUSAL_LM", target_modules=["c_attn"], fan_in_fan_out=True, **options
            )
            model = peft.get_peft_model(small_model(), config)
        model.peft_config["default"].base_model_name_or_path = "someone/base"
        with pytest.raises(SubjectError, match=says):
            begin(small, AuditCallback(subject, out=tmp_path / "a", **small.signing()), model=model)


def test_other_processes_do_nothing(small: Run, tmp_path: Path) -> None:
    callback = quick(small, tmp_path / "out")

    class State:
        is_world_process_zero = False
        global_step = 0

    callback.on_train_begin(None, State(), None, model=None)
    callback.on_train_end(None, State(), None)
    assert not (tmp_path / "out").exists()
