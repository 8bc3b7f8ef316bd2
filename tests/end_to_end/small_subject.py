"""A subject small enough to be audited in seconds in this process: random weights, short records, one or two tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import tiny_models
from checkpoints import command

POLICY = """\
id: small
version: 1
title: Small
catalogues: [nist-sp-800-226]
confidence: 0.95
seed: {seed}
queries: {{per_subject: 100, lifetime: 10000, reason: a test}}
tests:
  - test: language/discoverable-extraction
    parameters: {{prefix: 8, suffix: 8, records: 20, generate: 1, max_tokens: 24}}
    tolerance: {{statistic: excess_rate, at_most: {at_most}, population: member records, reason: a test, set_by: controller}}
    evidence_for: [NIST226]
statements: [NIST226]
"""
SUBJECT = """\
name: small
model: {adapter: causal-lm, path: ./model, device: cpu}
release_context: internal
data:
  members: {path: members.jsonl, id: id}
  controls: {path: controls.jsonl, id: id}
policy: policy.yaml
"""


@dataclass(frozen=True)
class Small:
    """Where the subject and the keys lie."""

    folder: Path

    @property
    def subject(self) -> Path:
        return self.folder / "subject.yaml"

    @property
    def key(self) -> Path:
        return self.folder / "key" / "auditor.key.pem"

    @property
    def cert(self) -> Path:
        return self.folder / "key" / "auditor.crt.pem"

    @property
    def attempts(self) -> Path:
        return self.folder / ".auditor-attempts.jsonl"

    def policy(self, *, at_most: float = 0.01, seed: int = 5) -> None:
        (self.folder / "policy.yaml").write_text(POLICY.format(at_most=at_most, seed=seed))

    def commit(self, name: str, *more) -> tuple[int, str, str]:
        return command(
            "plan",
            self.subject,
            "--no-time",
            "--commit",
            self.folder / name,
            "--key",
            self.key,
            "--cert",
            self.cert,
            *more,
        )

    def run(self, out: str, *more) -> tuple[int, str, str]:
        return command(
            "run", self.subject, "--out", self.folder / out, "--key", self.key, "--cert", self.cert, "-q", *more
        )

    def verify(self, out: str, *more) -> tuple[int, str, str]:
        return command("verify", self.folder / out, "--trust", self.cert, *more)


def make_small(folder: Path) -> Small:
    """Write the subject, its policy and a key."""
    tokenizer = tiny_models.tokenizer(begin=False)
    tiny_models.model("gpt2", len(tokenizer)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    for number, name in enumerate(("members", "controls")):
        rows = [
            {
                "id": f"{name}-{row}",
                "text": f"{row} {number} " + " ".join(tiny_models.SENTENCES[(row + number) % 7 :][:2]),
            }
            for row in range(20)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "subject.yaml").write_text(SUBJECT)
    small = Small(folder)
    small.policy()
    code, _, complaint = command("keygen", "--name", "Test auditor", "--out", folder / "key")
    assert code == 0, complaint
    return small
