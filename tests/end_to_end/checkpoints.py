"""Two checkpoints of one small training run that memorizes, audited in this process."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import shutil
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sample_audit import SAMPLE

from auditor.canary.formats import FORMATS
from auditor.canary.make import make

STEPS = (4, 240)
CONTEXT = 48
POLICY = """
id: course
version: 1
title: A small policy for checkpoints
catalogues: [edpb-28-2024]
confidence: 0.95
seed: 5
queries: {per_subject: 100, lifetime: 10000, reason: a test}
tests:
  - test: language/discoverable-extraction
    parameters: {prefix: 16, suffix: 16, records: 100, generate: 4, max_tokens: 40}
    tolerance: {statistic: excess_rate, at_most: 0.001, population: member records, reason: a test, set_by: controller}
    evidence_for: [E28-43-P2]
  - test: language/exposure
    parameters: {candidates: 120, permutations: 999}
    tolerance: {statistic: excess_exposure, at_most: 1.0, unit: bit, population: canaries, reason: a test, set_by: controller}
    evidence_for: [E28-55-iii]
statements: [E28-58-a]
"""
STATEMENTS = """
statements:
  - id: sources
    clauses: [E28-58-a]
    text: The records are of the Jargon File.
    author: A. Tester
    role: engineer
    date: '2026-01-05'
"""


def command(*words) -> tuple[int, str, str]:
    """Run the command line in this process, and return exit code, output and complaints."""
    from auditor.cli.main import main

    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["auditor", *map(str, words)]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            warnings.simplefilter("ignore")
            main()
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue(), err.getvalue()
    finally:
        sys.argv = before
    return 0, out.getvalue(), err.getvalue()


@dataclass(frozen=True)
class Course:
    """The bundles of the checkpoints, and what they were made with."""

    folder: Path
    key: Path
    cert: Path
    bundles: tuple[Path, ...] = ()


def _records(name: str, count: int) -> list[dict]:
    rows = [json.loads(line) for line in (SAMPLE / name).read_text().splitlines()[: 5 * count : 5]]
    return [{"id": row["id"], "text": row["text"][:160]} for row in rows]


def _train(folder: Path, texts: list[str]) -> None:
    """Train a small model and keep it at every step of `STEPS`."""
    import torch
    import transformers
    from transformers.utils import logging as library

    library.disable_progress_bar()
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(SAMPLE / "model")
    rows = [row[:CONTEXT] for row in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=64, n_layer=1, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=6e-3)
    order = torch.Generator().manual_seed(1)
    for step in range(1, STEPS[-1] + 1):
        chosen = [rows[int(place)] for place in torch.randint(len(rows), (16,), generator=order)]
        width = max(map(len, chosen))
        batch = torch.tensor([row + [0] * (width - len(row)) for row in chosen])
        labels = torch.tensor([row + [-100] * (width - len(row)) for row in chosen])
        optimiser.zero_grad()
        model(input_ids=batch, labels=labels).loss.backward()
        optimiser.step()
        if step in STEPS:
            model.save_pretrained(folder / f"step-{step}" / "model")
            tokenizer.save_pretrained(folder / f"step-{step}" / "model")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> Course:
    folder = tmp_path_factory.mktemp("checkpoints")
    code, _, complaint = command("keygen", "--name", "Test auditor", "--out", folder / "key")
    assert code == 0, complaint
    members, controls = _records("train.jsonl", 60), _records("heldout.jsonl", 60)
    canaries = make([form for form in FORMATS if form.id in {"locker-code", "reference"}], (8, 24), 16, 3, nonce=b"x")
    planted = [
        canaries.format_of(canary).fill(canary.secret)
        for canary in canaries.canaries
        for _ in range(canary.repetitions if canary.planted else 0)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _train(folder, [row["text"] for row in members] * 2 + planted)
    course = Course(folder, folder / "key" / "auditor.key.pem", folder / "key" / "auditor.crt.pem")
    (folder / "policy.yaml").write_text(POLICY)
    made = []
    for step in STEPS:
        place = folder / f"step-{step}"
        for name, rows in (("train.jsonl", members), ("heldout.jsonl", controls)):
            (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        (place / "canaries.json").write_bytes(canaries.canonical())
        (place / "statements.yaml").write_text(STATEMENTS)
        subject = (SAMPLE / "subject.yaml").read_text()
        for gone in (", document: document", ", copies: copies"):
            subject = subject.replace(gone, "")
        (place / "subject.yaml").write_text(subject)
        made.append(folder / "bundles" / f"step-{step}")
        code, said, complaint = command(
            "run", place / "subject.yaml", "--policy", folder / "policy.yaml", "--out", made[-1],
            "--key", course.key, "--cert", course.cert, "-q",
        )  # fmt: skip
        assert code in {0, 1, 3}, said + complaint
    return replace(course, bundles=tuple(made))


def declared_again(course: Course, bundle: Path, out: Path, before: str, after: str) -> Path:
    """Write a bundle with the same evidence under a policy with one thing changed, assessed and sealed anew."""
    import hashlib

    from auditor.evidence import bundle as layout
    from auditor.evidence.bundle import Bundle, list_bytes
    from auditor.pipeline.again import assess_bundle, measure_bundle
    from auditor.pipeline.presenting import seal_bundle
    from auditor.seal.keys import load_signer

    shutil.copytree(bundle, out)
    policy = (out / layout.POLICY).read_text()
    assert policy.count(before) == 1
    (out / layout.POLICY).write_text(policy.replace(before, after))
    plan = json.loads((out / layout.PLAN).read_text())
    plan["policy"] = hashlib.sha256((out / layout.POLICY).read_bytes()).hexdigest()
    target = Bundle(out)
    from auditor.core.plan import Plan

    target.write_record(layout.PLAN, Plan.from_plain(plan))
    (out / layout.SEAL).unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        findings, instrument = measure_bundle(target)
        target.write(layout.FINDINGS, list_bytes(findings))
        target.write(layout.INSTRUMENT, list_bytes(instrument))
        target.write_record(layout.ASSESSMENT, assess_bundle(target))
        seal_bundle(target, load_signer(course.key, course.cert, None, now=dt.datetime.now(dt.UTC)))
    return out
