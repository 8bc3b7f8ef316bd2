"""The Secret Sharer on a small character model, trained here: exposure by repetitions, and what a search finds.

Canaries of two formats of 10^4 secrets each are planted 1, 4, 16 and 64 times, by coin; every secret of both spaces is scored,
so that every rank is known exactly.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers
from opened import opened, rows

from auditor.core.canary import Canary, CanaryFormat, CanarySet
from auditor.core.evidence import Need
from auditor.core.seeds import generator
from auditor.observers.secret_search import OBSERVER
from auditor.observers.secret_tokens import spell
from auditor.statistics.exposure import (
    exact_exposure,
    sampled_exposure,
    skew_normal_fit,
    skew_normal_log_cdf,
)
from auditor.subjects.adapters.language_model import CausalLM

if TYPE_CHECKING:
    from collections.abc import Sequence

CHARACTERS = "abcdefghijklmnopqrstuvwxyz 0123456789.\n"
DIGITS = tuple("0123456789")
FORMS = tuple(
    CanaryFormat(id=name, template=template, symbols=DIGITS, length=4)
    for name, template in (("pin", "my pin is {secret}."), ("room", "meet me in room {secret} at noon."))
)
SPACE = 10**4
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
CANDIDATES = 1000


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
    model: CausalLM
    canaries: CanarySet
    costs: dict[str, dict[str, float]]
    """By format and secret: minus log-probability of its text after the head, nat, scored one and all."""

    def of(self, form: CanaryFormat) -> list[Canary]:
        return [canary for canary in self.canaries.canaries if canary.format == form.id]

    def rank(self, form: CanaryFormat, secret: str, *, apart: bool) -> int:
        """Return the exact rank among all secrets of the format, or among those that are no other canary's."""
        costs = self.costs[form.id]
        others = {canary.secret for canary in self.of(form)} - {secret} if apart else set()
        return sum(cost <= costs[secret] for one, cost in costs.items() if one not in others)


def made_canaries() -> CanarySet:
    rng, made = generator(1, "character model"), []
    drawn = {form.id: rng.permutation(SPACE)[:16] for form in FORMS}
    for number, tier in enumerate(tier for tier in TIERS for _ in range(8)):
        form = FORMS[number % 2]
        secret = f"{drawn[form.id][number // 2]:04d}"
        made.append(
            Canary(id=f"c{number}", format=form.id, secret=secret, repetitions=tier, planted=(number // 2) % 2 == 1)
        )
    return CanarySet(seed=1, formats=FORMS, canaries=tuple(made), nonce="a" * 64, commitment="b" * 64)


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


@pytest.fixture(scope="module")
def trained() -> Trained:
    canaries, rng = made_canaries(), np.random.default_rng(4)
    lines = [" ".join(rng.choice(WORDS, size=5)) + "." for _ in range(260)]
    lines += [f"line {number:04d} is open." for number in rng.integers(SPACE, size=80)]
    for canary in canaries.canaries:
        lines += [canaries.format_of(canary).fill(canary.secret)] * (canary.repetitions if canary.planted else 0)
    model = trained_on(lines)
    costs = {}
    for form in FORMS:
        spelling = spell(model, form, [], 0)
        places = list(itertools.product(range(10), repeat=form.length))
        whole = [np.array([*spelling.path(row), *spelling.tail], dtype=np.int32) for row in places]
        scores = -model.score_completions(spelling.head, whole)
        costs[form.id] = dict(zip((form.secret(row) for row in places), scores.tolist(), strict=True))
    return Trained(model, canaries, costs)


def exposures(trained: Trained) -> dict[tuple[int, bool], list[float]]:
    found: dict[tuple[int, bool], list[float]] = {}
    for form in FORMS:
        for canary in trained.of(form):
            bits = math.log2(SPACE) - math.log2(trained.rank(form, canary.secret, apart=True))
            found.setdefault((canary.repetitions, canary.planted), []).append(bits)
    return found


def test_exposure_rises_with_repetitions_up_to_the_cap(trained: Trained) -> None:
    found = exposures(trained)
    medians = [float(np.median(found[tier, True])) for tier in TIERS]
    assert medians[0] < medians[1] < medians[2] <= medians[3]
    assert medians[3] == pytest.approx(math.log2(SPACE))
    assert min(found[64, True]) > math.log2(SPACE) - 1.5
    left_out = [bits for (_, planted), values in found.items() if not planted for bits in values]
    assert np.median(left_out) < 4.0  # 1 bit is the median of chance
    assert max(left_out) < medians[3]


def test_sampled_and_fitted_exposure_are_those_of_the_exact_rank(trained: Trained) -> None:
    """Within one bit, as far as a sample reaches: with eight candidates below, or as many bits as it has candidates."""
    sampled_so_far = fitted_so_far = 0
    for form in FORMS:
        known = {canary.secret for canary in trained.of(form)}
        others = np.array([cost for secret, cost in trained.costs[form.id].items() if secret not in known])
        drawn = np.random.default_rng(2).choice(others, CANDIDATES, replace=False)
        fit = skew_normal_fit(drawn)
        for canary in trained.of(form):
            cost = trained.costs[form.id][canary.secret]
            exact = exact_exposure(cost, np.append(others, cost))
            sampled = sampled_exposure(cost, drawn, space_size=SPACE)
            if sampled.rank_below >= 8:
                assert sampled.bits == pytest.approx(exact.bits, abs=1.0)
                assert sampled.low - 0.1 <= exact.bits <= sampled.high + 0.1
                sampled_so_far += 1
            if exact.bits <= math.log2(CANDIDATES) - 1.0:
                fitted = -float(skew_normal_log_cdf(cost, fit)) / math.log(2.0)
                assert fitted == pytest.approx(exact.bits, abs=1.0)
                fitted_so_far += 1
    assert sampled_so_far > 20
    assert fitted_so_far > 20


def test_a_search_finds_every_canary_of_rank_one_within_a_hundredth_of_the_space(trained: Trained) -> None:
    budget = SPACE // 100
    need = Need(observer="secret-search", dataset="canaries", parameters={"expansions": budget})
    found = {row["canary"]: row for row in rows(OBSERVER, need, opened(trained.model, canaries=trained.canaries))}
    first = 0
    for form in FORMS:
        popped = next(row["popped"] for row in found.values() if row["format"] == form.id)
        for canary in trained.of(form):
            row = found[canary.id]
            rank = trained.rank(form, canary.secret, apart=False)
            assert row["expansions"] <= budget
            assert row["found"] == (rank <= popped)
            if row["found"]:
                assert row["rank"] == rank
                assert row["rank"] - row["canaries_before"] == trained.rank(form, canary.secret, apart=True)
                assert row["secret"] == canary.secret
            if trained.rank(form, canary.secret, apart=True) == 1:
                assert row["found"]
                assert row["expansions_found"] <= budget
                first += 1
    assert first >= 4
    assert not any(row["found"] for row in found.values() if not row["planted"])
