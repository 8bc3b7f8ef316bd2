"""A small training run with canaries in its data: what a user would have in a folder before training."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tiny_models import CONTEXT, SENTENCES, tokenizer

from auditor.canary.formats import FORMATS
from auditor.canary.make import make
from auditor.canary.plant import plant
from auditor.core.canary import CanarySet
from auditor.pipeline import now
from auditor.seal.new_key import generate_key

if TYPE_CHECKING:
    from pathlib import Path

SUBJECT = """\
name: in training
controller: nobody
release_context: internal
model: {adapter: causal-lm, path: ./trained, device: cpu}
data:
  members: {path: train.jsonl, id: id}
  controls: {path: heldout.jsonl, id: id}
  controls_drawn: at-random-before-training
  canaries: canaries.json
policy: small.yaml
"""
POLICY = """\
id: small
version: 1
title: A small policy for one training run
catalogues: [nist-sp-800-226]
confidence: 0.95
seed: 7
queries: {per_subject: 100, lifetime: 1000000, reason: a test}
tests:
  - test: language/exposure
    parameters: {candidates: 300}
    tolerance:
      {statistic: excess_exposure, at_most: 1.0, absolute_at_most: 3.0, unit: bit, population: canaries, reason: a test, set_by: me}
"""


@dataclass
class Run:
    """What lies in the folder."""

    folder: Path
    canaries: CanarySet

    @property
    def subject(self) -> Path:
        return self.folder / "subject.yaml"

    def signing(self) -> dict[str, Path]:
        return {"key": self.folder / "key" / "auditor.key.pem", "cert": self.folder / "key" / "auditor.crt.pem"}

    def texts(self) -> list[str]:
        return [json.loads(line)["text"] for line in (self.folder / "train.jsonl").read_text().splitlines()]


def prepare_run(folder: Path, *, tiers: tuple[int, ...] = (12,), per_tier: int = 24) -> Run:
    """Write data with planted canaries, the subject, a small policy and a key."""
    rng = np.random.default_rng(5)
    words = sorted({word for sentence in SENTENCES[:4] for word in sentence.split()})

    def write(name: str, count: int) -> None:
        rows = [{"id": f"{name}{n}", "text": " ".join(rng.choice(words, size=14))} for n in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    write("plain", 60)
    write("heldout", 60)
    canaries = make(FORMATS[:2], tiers, per_tier, seed=11, nonce=b"n" * 32)
    (folder / "canaries.json").write_bytes(canaries.canonical())
    plant(canaries, folder / "plain.jsonl", folder / "train.jsonl")
    (folder / "subject.yaml").write_text(SUBJECT)
    (folder / "small.yaml").write_text(POLICY)
    generate_key(folder / "key", "Test auditor", now=now(), days=30, passphrase=None)
    return Run(folder, canaries)


def rows_of(texts: list[str], words: Any, *, longest: int = CONTEXT) -> list[dict[str, list[int]]]:
    return [{"input_ids": words(text)["input_ids"][:longest]} for text in texts]


def small_model(*, dropout: float = 0.1, seed: int = 1, **options: Any) -> Any:
    import transformers

    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer(begin=False)),
        n_positions=CONTEXT,
        n_embd=64,
        n_layer=2,
        n_head=4,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        **options,
    )
    return transformers.GPT2LMHeadModel(config)


def trainer_of(
    run: Run, *callbacks: Any, model: Any = None, rows: Any = None, collator: Any = None, **options: Any
) -> Any:
    """Return a Trainer over the data with the canaries."""
    import transformers

    words = tokenizer(begin=False)
    words.pad_token = "</s>"
    arguments = {
        "output_dir": str(run.folder / "checkpoints"),
        "per_device_train_batch_size": 16,
        "num_train_epochs": 1,
        "learning_rate": 3e-3,
        "logging_steps": 5,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 3,
        **options,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return transformers.Trainer(
            model=model if model is not None else small_model(),
            args=transformers.TrainingArguments(**arguments),
            train_dataset=rows_of(run.texts(), words) if rows is None else rows,
            data_collator=collator or transformers.DataCollatorForLanguageModeling(words, mlm=False),
            processing_class=words,
            callbacks=list(callbacks),
        )


def train(trainer: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train(**options)
    return trainer
