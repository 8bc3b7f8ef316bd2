"""Prompt scores: what a caption alone does to the network, from the same noise for every caption; no image of the data is asked.

Along a deterministic (DDIM) trajectory with guidance, started from shared noise, each caption gets:

- the text-conditional noise magnitude ||eps(x_t, caption) - eps(x_t, null)||_2 of every step (Wen, Liu, Chen, Lyu 2024,
  arXiv 2407.21720);
- its one-step reproduction (Webster 2023, arXiv 2305.08694). There, one step of the sampler takes z = sigma_max n to z_1 with
  guidance, and the score is mean((z - z_1)^2): how far the model is already gone after one step. A network of the variance-preserving
  kind sees x_T = sqrt(a) z with sigma^2 = (1 - a) / a, and one step takes it to x_0 = (x_T - sqrt(1 - a) eps) / sqrt(a). So
  (z - z_1)^2 = sigma^2 eps^2, eps being the guided prediction; sigma is the same for all captions and left out:
  the score is mean(eps^2), 1 for a network that sees nothing but noise;
- the entropy of its cross-attention (Ren, Li, Zeng, Xu, Lyu, Xing, Tang 2024, arXiv 2403.11052). With w_i the attention of token i,
  mean over layers, heads and pixels, E = -sum_i w_i ln w_i. Score D: mean of E over the last fifth of the steps, plus by how much the
  part of the sum over end-of-text and padding has grown there since the first step. Score E: the entropy at the first step
  in one layer.

All of them are higher for memorized captions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field, NonNegativeInt, PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.evidence.table import Ragged
from auditor.observers.equal_needs import EqualNeeds
from auditor.observers.excerpt import masked
from auditor.observers.image_sets import sampled
from auditor.statistics.denoising import ddim_step, spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.denoiser import CrossAttention, Denoiser

LAST = 5
"""Attention score D looks at the last 1 / LAST of the steps: 10 of 50, as published."""


class Parameters(Record):
    """Which captions are scored, and how."""

    records: PositiveInt | None = None
    """Size of the random sample of records; null: all."""
    steps: PositiveInt = 20
    """Denoising steps of the trajectory."""
    noises: PositiveInt = 4
    """Starting noises, the same for every caption; scores are means over them."""
    guidance: float = Field(default=7.5, ge=1.0)
    """Guidance scale along the trajectory; 1: none."""
    attention: bool = False
    """Also look at the cross-attention."""
    layer: NonNegativeInt = 3
    """Cross-attention layer of score E, from 0; the last one where there are fewer."""


class PromptScoresObserver(EqualNeeds):
    """Follows each caption from shared noise and writes how strongly the network reacts to it."""

    name = "prompt-scores"
    version = 1
    shard_items = 16
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:
        """Return the columns it writes."""
        attention = (
            Column(name="attention_d", type="double", unit="nat", meaning="Cross-attention score D (Ren et al.)."),
            Column(name="attention_e", type="double", unit="nat", meaning="Cross-attention score E (Ren et al.)."),
        )
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="copies", type="int32", unit="none", meaning="How often the record stood in training."),
            Column(
                name="same_caption", type="int32", unit="records", meaning="Records of the sample with this caption."
            ),
            Column(name="words", type="int32", unit="words", meaning="Words of the caption."),
            Column(name="tokens", type="int32", unit="tokens", meaning="Tokens before its end; -1 where not known."),
            Column(name="magnitude", type="double", unit="none", meaning="Mean of `magnitudes`."),
            Column(name="first_step", type="double", unit="none", meaning="The first of `magnitudes`."),
            Column(
                name="magnitudes",
                type="list<double>",
                unit="none",
                meaning="||eps(x_t, caption) - eps(x_t, null)||_2 of each step, from the noisiest; mean over the noises.",
            ),
            Column(name="one_step", type="double", unit="none", meaning="mean(eps^2), eps guided, at the first step."),
            *(attention if parameters.attention else ()),
            Column(name="excerpt", type="string", unit="none", meaning="The caption, masked."),
            Column(name="caption", type="string", unit="none", meaning="The caption.", restricted=True),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records of the sample."""
        return sampled(facts, _side(need), Parameters.from_plain(need.parameters).records)

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return the number of images that pass the network."""
        asked = Parameters.from_plain(need.parameters)
        looks = 1 + len(last_steps(asked.steps)) if asked.attention else 0
        return self.items(need, facts) * asked.noises * (2 * asked.steps + looks)

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Follow one part of the captions."""
        asked = Parameters.from_plain(need.parameters)
        model = opened.denoiser(need.model or "subject")
        if model.conditioning != "text" or not model.guided:
            msg = "the model is not conditioned on captions, or has no null condition to compare them with"
            raise UnsupportedError(
                msg, hint="Prompt scores need a text-conditional model trained with dropped captions."
            )
        source = opened.records(_side(need))
        records = list(source.sample(asked.records, part.seed, part.start, part.stop))
        if not all(record.text for record in records):
            msg = "the model is conditioned on captions, and a record has none"
            raise UnsupportedError(msg, hint="Name the column as `caption` in the subject file.")
        counts = opened.remember(
            f"caption counts {need.dataset} {asked.records} {part.seed}",
            lambda: _counted(record.text for record in source.sample(asked.records, part.seed, 0, len(source))),
        )
        before = model.passes
        seen = follow(model, [record.text for record in records], asked, part.seed)
        words = [len(record.text.split()) for record in records]
        lengths = [count if tokens < 0 else tokens for count, tokens in zip(words, seen.tokens.tolist(), strict=True)]
        columns: dict[str, Any] = {
            "id": pa.array([record.id for record in records], type=pa.string()),
            "cluster": pa.array([record.cluster for record in records], type=pa.string()),
            "copies": pa.array([record.copies for record in records], type=pa.int32()),
            "same_caption": pa.array([counts[record.text] for record in records], type=pa.int32()),
            "words": pa.array(words, type=pa.int32()),
            "tokens": pa.array(seen.tokens, type=pa.int32()),
            "magnitude": pa.array(seen.magnitudes.mean(axis=1), type=pa.float64()),
            "first_step": pa.array(seen.magnitudes[:, 0], type=pa.float64()),
            "magnitudes": Ragged.of(list(seen.magnitudes), np.float64).to_arrow(),
            "one_step": pa.array(seen.one_step, type=pa.float64()),
        }
        if asked.attention:
            columns["attention_d"] = pa.array(seen.attention_d, type=pa.float64())
            columns["attention_e"] = pa.array(seen.attention_e, type=pa.float64())
        columns["excerpt"] = pa.array(
            [masked(record.text, length) for record, length in zip(records, lengths, strict=True)], type=pa.string()
        )
        restricted = pa.table({"caption": pa.array([record.text for record in records], type=pa.string())})
        return Shard(pa.table(columns), restricted, calls=len(records), tokens=model.passes - before)


def _side(need: Need) -> Any:  # noqa: ANN401  (narrower than a dataset; the plan gives no other)
    return need.dataset


def _counted(captions: Any) -> dict[str, int]:  # noqa: ANN401
    counts: dict[str, int] = {}
    for caption in captions:
        counts[caption] = counts.get(caption, 0) + 1
    return counts


@dataclass(frozen=True, slots=True)
class Followed:
    """What was seen of some captions; every array has shape [captions] unless said otherwise."""

    magnitudes: NDArray[np.float64]
    """Shape [captions, steps]."""
    one_step: NDArray[np.float64]
    attention_d: NDArray[np.float64]
    """Empty where attention was not asked for, and so are the next."""
    attention_e: NDArray[np.float64]
    tokens: NDArray[np.int64]
    """-1 where attention was not asked for."""


def last_steps(steps: int) -> range:
    """Return the numbers of the last fifth of the steps, at least one."""
    return range(steps - max(1, steps // LAST), steps)


def follow(model: Denoiser, captions: Sequence[str], asked: Parameters, seed: int) -> Followed:
    """Return what the network does along the trajectory of each caption; the same captions always give the same.

    Args:
        model: A guided text-conditional model.
        captions: The captions.
        asked: Steps, noises, guidance and attention.
        seed: Decides the starting noises, which all captions share.

    Raises:
        UnsupportedError: A prediction is not finite.
    """
    count, noises = len(captions), asked.noises
    start = [
        generator(seed, "prompt-scores", "noise", str(j)).standard_normal(model.latent_shape) for j in range(noises)
    ]
    x = np.tile(np.stack(start).astype(np.float32), (count, 1, 1, 1))
    conditions = [caption for caption in captions for _ in range(noises)]
    steps = spaced(len(model.alphas_cumprod), asked.steps)
    rows = len(conditions)
    magnitudes = np.empty((rows, asked.steps))
    one_step = np.empty(rows)
    looks: dict[int, CrossAttention] = {}
    for number, step in enumerate(steps):
        if asked.attention and (number == 0 or number in last_steps(asked.steps)):
            looks[number] = model.cross_attention(x, np.full(rows, step), conditions)
        both = model.predict_noise(np.concatenate([x, x]), np.full(2 * rows, step), [*conditions, *[None] * rows])
        difference = both[:rows] - both[rows:]
        magnitudes[:, number] = np.sqrt(np.square(difference.reshape(rows, -1), dtype=np.float64).sum(axis=1))
        guided = both[rows:] + np.float32(asked.guidance) * difference
        if number == 0:
            one_step = np.square(guided.reshape(rows, -1), dtype=np.float64).mean(axis=1)
        if number + 1 < len(steps):
            x = ddim_step(x, guided, model.alphas_cumprod[step], model.alphas_cumprod[steps[number + 1]])
    if not (np.isfinite(magnitudes).all() and np.isfinite(one_step).all()):
        msg = f"the network's predictions are not finite at guidance {asked.guidance:g}"
        raise UnsupportedError(msg, hint="Ask for a lower guidance, or check the weights.")
    score_d, score_e, tokens = (
        _attention(looks, asked, count) if looks else (np.empty(0), np.empty(0), np.full(count, -1))
    )
    return Followed(
        magnitudes.reshape(count, noises, -1).mean(axis=1),
        one_step.reshape(count, noises).mean(axis=1),
        score_d,
        score_e,
        tokens,
    )


def entropy(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -sum w ln w over the last axis; nothing is 0."""
    terms = np.where(weights > 0.0, weights * np.log(np.where(weights > 0.0, weights, 1.0)), 0.0)
    return np.asarray(-terms.sum(axis=-1))


def _attention(
    looks: dict[int, CrossAttention], asked: Parameters, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return scores D and E and the tokens of each caption before its end."""
    first = looks[0]
    whole = {number: look.weights.astype(np.float64).mean(axis=1) for number, look in looks.items()}
    late = last_steps(asked.steps)
    total = np.mean([entropy(whole[number]) for number in late], axis=0)
    padding = np.mean([entropy(np.where(first.padding, whole[number], 0.0)) for number in late], axis=0)
    score_d = total + padding - entropy(np.where(first.padding, whole[0], 0.0))
    layer = min(asked.layer, first.weights.shape[1] - 1)
    score_e = entropy(first.weights[:, layer].astype(np.float64))
    means = [score.reshape(count, asked.noises).mean(axis=1) for score in (score_d, score_e)]
    tokens = (~first.padding).sum(axis=1).reshape(count, asked.noises)[:, 0]
    return means[0], means[1], tokens.astype(np.int64)


OBSERVER = PromptScoresObserver()
