"""A small character model trained on canaries, with the cost of every secret of their spaces: what the Secret Sharer measures.

Canaries of two formats are planted 1, 4, 16 and 64 times, by coin. The model takes a minute of one core, the spaces as long.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers

from auditor.core.canary import Canary, CanaryFormat, CanarySet
from auditor.core.seeds import generator
from auditor.observers.secret_tokens import spell
from auditor.subjects.adapters.language_model import CausalLM

if TYPE_CHECKING:
    from collections.abc import Sequence

CHARACTERS = "abcdefghijklmnopqrstuvwxyz 0123456789.\n"
DIGITS = tuple("0123456789")
TEMPLATES = (("pin", "my pin is {secret}."), ("room", "meet me in room {secret} at noon."))
TIERS = (1, 4, 16, 64)
WORDS = (
    "the",
    "ferry",
    "leaves",
    "at",
    "noon",
    "and",
    "comes",
    "back",
    "late",
    "while",
    "nobody",
    "in",
    "town",
    "looks",
)


class Characters:
    """A tokenizer of single characters, with what the adapter asks of one."""

    bos_token_id = None

    def __call__(self, texts: str | Sequence[str], **_options: Any) -> dict[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": [CHARACTERS.index(letter) for letter in texts]}
        return {"input_ids": [[CHARACTERS.index(letter) for letter in text] for text in texts]}

    def decode(self, ids: Sequence[int], **_options: Any) -> str:
        return "".join(CHARACTERS[number] for number in ids)


@dataclass(frozen=True)
class Trained:
    forms: tuple[CanaryFormat, ...]
    model: CausalLM
    canaries: CanarySet
    costs: dict[str, dict[str, float]]
    """By format and secret: minus log-probability of its text after the head, nat, scored one and all."""

    @property
    def space(self) -> int:
        """Secrets of one format."""
        return 10 ** self.forms[0].length

    def of(self, form: CanaryFormat) -> list[Canary]:
        return [canary for canary in self.canaries.canaries if canary.format == form.id]

    def rank(self, form: CanaryFormat, secret: str, *, apart: bool) -> int:
        """Return the exact rank among all secrets of the format, or among those that are no other canary's."""
        costs = self.costs[form.id]
        others = {canary.secret for canary in self.of(form)} - {secret} if apart else set()
        return sum(cost <= costs[secret] for one, cost in costs.items() if one not in others)


def made_canaries(digits: int) -> CanarySet:
    forms = tuple(CanaryFormat(id=name, template=text, symbols=DIGITS, length=digits) for name, text in TEMPLATES)
    rng, made = generator(1, "character model"), []
    drawn = {form.id: rng.permutation(10**digits)[:16] for form in forms}
    for number, tier in enumerate(tier for tier in TIERS for _ in range(8)):
        form = forms[number % 2]
        secret = f"{drawn[form.id][number // 2]:0{digits}d}"
        made.append(
            Canary(id=f"c{number}", format=form.id, secret=secret, repetitions=tier, planted=(number // 2) % 2 == 1)
        )
    return CanarySet(seed=1, formats=forms, canaries=tuple(made), nonce="a" * 64, commitment="b" * 64)


def trained_on(lines: list[str]) -> CausalLM:
    """Return a transformer of two layers after twelve passes over the lines."""
    width = max(len(line) for line in lines) + 1
    ids = torch.full((len(lines), width), -100)
    for row, line in enumerate(lines):
        ids[row, : len(line) + 1] = torch.tensor([CHARACTERS.index(letter) for letter in line + "\n"])
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(CHARACTERS),
        n_positions=64,
        n_embd=48,
        n_layer=2,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = transformers.GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    shuffle = torch.Generator().manual_seed(0)
    for _ in range(12):
        for batch in torch.randperm(len(ids), generator=shuffle).split(48):
            logits = model(input_ids=ids[batch].clamp(min=0)).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[batch][:, 1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return CausalLM(model.eval(), Characters(), 64)


def trained_on_canaries(digits: int = 4) -> Trained:
    """Return the model, its canaries, and the cost of every secret of both formats."""
    canaries, rng = made_canaries(digits), np.random.default_rng(4)
    lines = [" ".join(rng.choice(WORDS, size=5)) + "." for _ in range(260)]
    lines += [f"line {number:0{digits}d} is open." for number in rng.integers(10**digits, size=80)]
    for canary in canaries.canaries:
        lines += [canaries.format_of(canary).fill(canary.secret)] * (canary.repetitions if canary.planted else 0)
    model = trained_on(lines)
    costs = {}
    for form in canaries.formats:
        spelling = spell(model, form, [], 0)
        places = list(itertools.product(range(10), repeat=form.length))
        whole = [np.array([*spelling.path(row), *spelling.tail], dtype=np.int32) for row in places]
        scores = -model.score_completions(spelling.head, whole)
        costs[form.id] = dict(zip((form.secret(row) for row in places), scores.tolist(), strict=True))
    return Trained(canaries.formats, model, canaries, costs)


def exposures(trained: Trained) -> dict[tuple[int, bool], list[float]]:
    """Return the exposures from exact ranks, bit, by repetitions and whether planted."""
    found: dict[tuple[int, bool], list[float]] = {}
    for form in trained.forms:
        for canary in trained.of(form):
            bits = math.log2(trained.space) - math.log2(trained.rank(form, canary.secret, apart=True))
            found.setdefault((canary.repetitions, canary.planted), []).append(bits)
    return found
