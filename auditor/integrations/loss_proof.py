"""Proves, before training, that every planted canary receives loss: from the batches that training will see."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import IterableDataset

from auditor.core.record import Record
from auditor.errors import DataError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from auditor.core.canary import Canary, CanaryFormat, CanarySet

NO_LOSS = -100
"""A label that receives no loss."""
LEAD = 24
"""Characters before the secret that have to stand in the same sequence: it is learned after them."""
NAMED = 40
"""Canaries that an error names."""


class CanaryProof(Record):
    """What the batches hold of one canary, in the first pass over the data."""

    id: str
    planted: bool
    repetitions: int
    """How often it is to be planted."""
    with_loss: int = 0
    """Copies of which every token of the secret receives loss."""
    masked: int = 0
    """Copies of which some token of the secret receives none."""
    cut: int = 0
    """Sequences that end within a copy."""

    def why(self) -> str:
        """Return why it receives no loss, in words."""
        if self.masked:
            return f"masked: tokens of its secret have the label {NO_LOSS} or stand first"
        if self.cut:
            return "cut off by truncation or packing"
        return "in no training sequence: never planted, filtered out, or truncated away"


class LossProof(Record):
    """What was looked at, and what it holds of every canary."""

    schema_version: int = 1
    sequences: int
    """Sequences looked at, in all passes."""
    tokens: int
    tokens_with_loss: int
    passes: int
    """Passes over the data; more than one only where the first left something out."""
    canaries: tuple[CanaryProof, ...]

    def check(self) -> None:
        """Refuse to train where the audit could say nothing, or something false.

        Raises:
            DataError: A planted canary receives no loss, or one that the coin left out stands in the data.
        """
        silent = [row for row in self.canaries if row.planted and not row.with_loss]
        planted = sum(row.planted for row in self.canaries)
        if silent:
            msg = (
                f"{len(silent)} of {planted} planted canaries receive no loss in {self.sequences:,} training sequences: "
                f"{_listed([f'{row.id} ({row.why()})' for row in silent])}"
            )
            hint = (
                "Plant them with `auditor canary plant` in the texts the loss is taken of (the completion, not the prompt), raise "
                "the longest sequence, and let packing not cut records (TRL: packing_strategy='bfd')."
            )
            raise DataError(msg, hint=hint)
        leaked = [row.id for row in self.canaries if not row.planted and (row.with_loss or row.masked)]
        if leaked:
            msg = f"{len(leaked)} canaries that the coin left out stand in the training data: {_listed(leaked)}"
            raise DataError(
                msg, hint="Train on what `auditor canary plant` wrote: they are the control of every canary test."
            )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


@dataclass(slots=True)
class _Wanted:
    """The canaries of a format as the tokenizer gives them back."""

    lead: str
    secrets: dict[str, str]
    """Id by secret."""


def prove(loader: Any, tokenizer: Any, canaries: CanarySet, *, batches: int | None, epochs: int) -> LossProof:  # noqa: ANN401
    """Return what training will see of every canary: the dataset, sampler and collator of the data loader itself, run beforehand.

    The loader is not iterated and its sampler is copied, so that training later sees what it would have seen. Random states are the
    caller's to put back. Sequences are turned into text by the tokenizer, so packing, chat templates and prompts around a
    canary do not hide it.

    Args:
        loader: The data loader of training; its batches have `input_ids` and `labels`.
        tokenizer: The tokenizer of training.
        canaries: The canaries.
        batches: How many batches training will take, of all processes; None: whole passes.
        epochs: How many passes training will make; another pass is looked at only while a planted canary is missing.

    Raises:
        UnsupportedError: The data can be read once only, or the batches have no labels.
    """
    search = _Search(canaries, tokenizer)
    taken = 0
    passes = 0
    for chosen in _passes(loader):
        if passes >= max(epochs, 1) or (passes and not search.missing()) or (batches is not None and taken >= batches):
            break
        passes += 1
        before = taken
        for batch in itertools.islice(chosen, None if batches is None else batches - taken):
            taken += 1
            search.look(batch, first=passes == 1)
        if taken == before:
            break
    return search.proof(passes)


def _passes(loader: Any) -> Iterator[Iterator[Mapping[str, Any]]]:  # noqa: ANN401
    """Yield the batches of one pass after the other, without touching the loader."""
    collate = loader.collate_fn
    dataset, sampler = loader.dataset, loader.batch_sampler
    if isinstance(dataset, IterableDataset):
        while type(dataset).__name__ == "IterableDatasetShard":  # a part for one process: canaries may go to any
            dataset = dataset.dataset
        size = int(loader.batch_size or 1)
        while True:
            yield (collate(rows) for rows in _groups(_again(dataset), size))
    while hasattr(sampler, "batch_sampler"):
        sampler = sampler.batch_sampler
    # The data itself, which a sampler refers to, is not copied.
    own = copy.deepcopy(sampler, {id(dataset): dataset})
    whole = getattr(dataset, "__getitems__", None)
    fetch: Callable[[Any], Any] = whole or (lambda places: [dataset[place] for place in places])
    while True:
        yield (collate(fetch(list(places))) for places in own)


def _again(dataset: Any) -> Iterator[Any]:  # noqa: ANN401
    found: Iterator[Any] = iter(dataset)
    if found is dataset:
        msg = "the training data can be read once only, so nothing can be looked at before training"
        raise UnsupportedError(
            msg, hint="Give a dataset that can be read again, or turn the proof off: prove_loss=False."
        )
    return found


def _groups(rows: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while group := list(itertools.islice(rows, size)):
        yield group


class _Search:
    """Looks for canaries in batches."""

    def __init__(self, canaries: CanarySet, tokenizer: Any) -> None:  # noqa: ANN401
        self._decode: Callable[[NDArray[np.int64]], str] = lambda ids: str(
            tokenizer.decode(ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )
        self._rows = {
            canary.id: CanaryProof(id=canary.id, planted=canary.planted, repetitions=canary.repetitions)
            for canary in canaries.canaries
        }
        self._found: set[str] = set()
        self._wanted = [
            _as_given_back(form, [item for item in canaries.canaries if item.format == form.id], tokenizer)
            for form in canaries.formats
        ]
        self._sequences = self._tokens = self._with_loss = 0

    def missing(self) -> bool:
        """Return whether a planted canary has received no loss so far."""
        return any(row.planted and name not in self._found for name, row in self._rows.items())

    def proof(self, passes: int) -> LossProof:
        """Return what was found."""
        rows = tuple(
            row.model_copy(update={"with_loss": 1}) if name in self._found and not row.with_loss else row
            for name, row in self._rows.items()
        )
        return LossProof(
            sequences=self._sequences,
            tokens=self._tokens,
            tokens_with_loss=self._with_loss,
            passes=passes,
            canaries=rows,
        )

    def look(self, batch: Mapping[str, Any], *, first: bool) -> None:
        """Look at one batch; `first`: copies are counted, as it is of the first pass."""
        if "labels" not in batch or "input_ids" not in batch:
            msg = f"the training batches hold {', '.join(sorted(batch))}, and no labels beside the token ids"
            raise UnsupportedError(
                msg, hint="Use a collator that gives labels, or turn the proof off: prove_loss=False."
            )
        ids, labels = _array(batch["input_ids"]), _array(batch["labels"])
        mask = _array(batch["attention_mask"]) if "attention_mask" in batch else np.ones_like(ids)
        mask = mask if mask.shape == ids.shape else np.ones_like(ids)  # packed batches may carry other masks
        for own, target, seen in zip(ids, labels, mask, strict=True):
            keep = seen != 0
            # The first token of a sequence is predicted by nothing.
            trained = (target == own) & (np.arange(len(own)) > int(np.argmax(keep)))
            self._sequences += 1
            self._tokens += int(keep.sum())
            self._with_loss += int((trained & keep).sum())
            self._look_at(own[keep], trained[keep], first=first)

    def _look_at(self, ids: NDArray[np.int64], trained: NDArray[np.bool_], *, first: bool) -> None:
        text = self._decode(ids)
        for wanted in self._wanted:
            place = text.find(wanted.lead)
            while place >= 0:
                start = place + len(wanted.lead)
                self._look_after(text, start, wanted, ids, trained, first=first)
                place = text.find(wanted.lead, place + 1)

    def _look_after(
        self,
        text: str,
        start: int,
        wanted: _Wanted,
        ids: NDArray[np.int64],
        trained: NDArray[np.bool_],
        *,
        first: bool,
    ) -> None:
        rest = text[start : start + max(map(len, wanted.secrets))]
        for secret, name in wanted.secrets.items():
            if rest.startswith(secret):
                low, high = self._tokens_of(ids, start), self._tokens_of(ids, start + len(secret) - 1)
                whole = bool(trained[low : high + 1].all())
                if whole:
                    self._found.add(name)
                if first:
                    self._add(name, "with_loss" if whole else "masked")
            elif first and len(secret) > len(rest) >= len(secret) / 2 and secret.startswith(rest):
                self._add(name, "cut")

    def _add(self, name: str, what: str) -> None:
        row = self._rows[name]
        self._rows[name] = row.model_copy(update={what: getattr(row, what) + 1})

    def _tokens_of(self, ids: NDArray[np.int64], place: int) -> int:
        """Return the token that spells the character at a place: the first after which the text is longer."""
        low, high = 0, len(ids) - 1
        while low < high:
            middle = (low + high) // 2
            if len(self._decode(ids[: middle + 1])) > place:
                high = middle
            else:
                low = middle + 1
        return low


def _shared_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    return next((first[:place] for place, letter in enumerate(first) if letter != last[place : place + 1]), first)


def _array(values: Any) -> NDArray[np.int64]:  # noqa: ANN401  (tensors, arrays, lists)
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values, dtype=np.int64)


def _as_given_back(form: CanaryFormat, canaries: Sequence[Canary], tokenizer: Any) -> _Wanted:  # noqa: ANN401
    """Return lead and secrets as the tokenizer gives them back, which may lack capitals or accents."""
    places = [canary.secret for canary in canaries]
    # Two secrets that share no symbol show where lead and tail end, even if there is one canary alone.
    places += [form.secret((symbol,) * form.length) for symbol in range(2)]
    rows = tokenizer([form.fill(secret) for secret in places], add_special_tokens=False)["input_ids"]
    texts = [str(tokenizer.decode(row, clean_up_tokenization_spaces=False)) for row in rows]
    lead = _shared_start(texts)
    tail = _shared_start([text[len(lead) :][::-1] for text in texts])
    secrets = [text[len(lead) : len(text) - len(tail)] for text in texts]
    return _Wanted(lead[-LEAD:], dict(zip(secrets[: len(canaries)], (item.id for item in canaries), strict=True)))
