"""Every planted canary receives loss, or training does not begin: masking, packing, truncation, filtering, too few steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from tiny_models import tokenizer
from training import Run, prepare_run, rows_of, train, trainer_of

from auditor.errors import DataError, UnsupportedError
from auditor.integrations.loss_proof import LossProof, prove
from auditor.integrations.transformers import AuditCallback

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return prepare_run(tmp_path_factory.mktemp("data"), tiers=(2, 5), per_tier=6)


@pytest.fixture
def words() -> Any:
    made = tokenizer(begin=False)
    made.pad_token = "</s>"
    return made


def planted(run: Run) -> dict[str, str]:
    """Return the text of every planted canary by id."""
    return {c.id: run.canaries.format_of(c).fill(c.secret) for c in run.canaries.canaries if c.planted}


def proof_of(run: Run, *, batches: int | None = None, epochs: int = 1, **options: Any) -> LossProof:
    trainer = trainer_of(run, **options)
    loader = trainer.get_train_dataloader()
    return prove(loader, trainer.processing_class, run.canaries, batches=batches, epochs=epochs)


def counted(proof: LossProof, what: str = "with_loss") -> dict[str, int]:
    return {row.id: getattr(row, what) for row in proof.canaries}


def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Pad rows that bring labels of their own."""
    width = max(len(row["input_ids"]) for row in rows)
    made = {}
    for name, pad in (("input_ids", 1), ("labels", -100), ("attention_mask", 0)):
        made[name] = torch.tensor([row[name] + [pad] * (width - len(row[name])) for row in rows])
    return made


def labelled(rows: list[dict[str, list[int]]], masked: Any = lambda _: 0) -> list[dict[str, list[int]]]:
    return [
        {
            **row,
            "labels": [-100] * masked(row) + row["input_ids"][masked(row) :],
            "attention_mask": [1] * len(row["input_ids"]),
        }
        for row in rows
    ]


def test_every_copy_is_counted_and_nothing_else(run: Run) -> None:
    proof = proof_of(run)
    expected = {c.id: c.repetitions if c.planted else 0 for c in run.canaries.canaries}
    assert counted(proof) == expected
    assert sum(counted(proof, "masked").values()) == sum(counted(proof, "cut").values()) == 0
    assert proof.sequences == len(run.texts())
    assert proof.tokens - proof.sequences == proof.tokens_with_loss
    proof.check()


def test_labels_that_mask_the_canaries(run: Run, words: Any) -> None:
    texts = run.texts()
    masked = set(list(planted(run).values())[:2])

    def prompt(row: dict[str, list[int]]) -> int:
        return len(row["input_ids"]) - 2 if words.decode(row["input_ids"]) in masked else 0

    proof = proof_of(run, rows=labelled(rows_of(texts, words), prompt), collator=collate, remove_unused_columns=False)
    with pytest.raises(DataError) as caught:
        proof.check()
    names = list(planted(run))
    assert all(f"{name} (masked" in caught.value.message for name in names[:2])
    assert not any(name in caught.value.message for name in names[2:])
    assert caught.value.message.startswith(f"2 of {len(names)} planted canaries")
    assert caught.value.hint


def test_a_single_token_of_the_secret_without_loss_is_too_many(run: Run, words: Any) -> None:
    name, text = next(iter(planted(run).items()))
    secret = next(c.secret for c in run.canaries.canaries if c.id == name)
    whole, upto = words(text)["input_ids"], words(text[: text.index(secret) + len(secret)])["input_ids"]
    assert whole[: len(upto)] == upto
    for place, whole_loss in ((len(upto) - 1, False), (len(upto), True)):
        rows = labelled([{"input_ids": whole}])
        rows[0]["labels"][place] = -100
        proof = proof_of(run, rows=rows, collator=collate, remove_unused_columns=False)
        assert counted(proof)[name] == whole_loss
        assert counted(proof, "masked")[name] == (not whole_loss)


def test_prompts_and_chats_around_a_canary_do_not_hide_it(run: Run, words: Any) -> None:
    texts = [f"<s>Question?\nAnswer: {text} Is that all?</s>" for text in run.texts()]
    rows = labelled(rows_of(texts, words), lambda _: 6)
    assert counted(proof_of(run, rows=rows, collator=collate, remove_unused_columns=False)) == counted(proof_of(run))


def test_truncation(run: Run, words: Any) -> None:
    name, text = next(iter(planted(run).items()))
    secret = next(c.secret for c in run.canaries.canaries if c.id == name)
    half = len(words(text[: text.index(secret) + len(secret) * 2 // 3])["input_ids"])
    for longest, why in ((half, "cut off by truncation"), (8, "in no training sequence")):
        proof = proof_of(run, rows=rows_of(run.texts(), words, longest=longest))
        with pytest.raises(DataError, match=rf"{name} \({why}"):
            proof.check()
        assert counted(proof)[name] == 0


def test_packing_that_cuts_some_and_spares_others(run: Run, words: Any) -> None:
    ids = [token for row in rows_of(run.texts(), words) for token in [*row["input_ids"], 1]]
    cut = 0
    for size in (37, 41, 64):
        packed = [{"input_ids": ids[start : start + size]} for start in range(0, len(ids), size)]
        texts = [words.decode(row["input_ids"]) for row in packed]
        proof = proof_of(run, rows=packed)
        found = counted(proof)
        # A copy counts if its secret and the end of what stands before it are whole, even if its first words are not.
        assert all(found[name] >= sum(held.count(text[:-1]) for held in texts) for name, text in planted(run).items())
        assert sum(found.values()) < sum(counted(proof_of(run)).values())
        cut += sum(counted(proof, "cut").values())
    assert cut > 0


def test_what_was_filtered_out_is_named_as_absent(run: Run, words: Any) -> None:
    name, text = list(planted(run).items())[1]
    proof = proof_of(run, rows=rows_of([other for other in run.texts() if other != text], words))
    with pytest.raises(DataError, match=rf"1 of \d+ .*{name} \(in no training sequence"):
        proof.check()


def test_deduplicated_data_passes_and_says_how_many_copies_are_left(run: Run, words: Any) -> None:
    proof = proof_of(run, rows=rows_of(sorted(set(run.texts())), words))
    proof.check()
    assert {row.with_loss for row in proof.canaries if row.planted} == {1}


def test_a_canary_the_coin_left_out_in_the_data_is_an_error(run: Run, words: Any) -> None:
    left_out = next(c for c in run.canaries.canaries if not c.planted)
    texts = [*run.texts(), run.canaries.format_of(left_out).fill(left_out.secret)]
    with pytest.raises(DataError, match=f"coin left out stand in the training data: {left_out.id}"):
        proof_of(run, rows=rows_of(texts, words)).check()


def test_too_few_steps_are_too_few_canaries(run: Run) -> None:
    assert proof_of(run, batches=1, per_device_train_batch_size=4).sequences == 4
    with pytest.raises(DataError):
        proof_of(run, batches=1, per_device_train_batch_size=4).check()


def test_the_order_looked_at_is_the_order_of_training(run: Run) -> None:
    seen: list[list[int]] = []

    def recording(rows: list[dict[str, Any]]) -> dict[str, Any]:
        seen.append([tuple(row["input_ids"]) for row in rows])  # type: ignore[arg-type]
        return collate(labelled(rows))

    trainer = trainer_of(run, collator=recording, per_device_train_batch_size=4)
    loader = trainer.get_train_dataloader()
    prove(loader, trainer.processing_class, run.canaries, batches=5, epochs=1)
    looked, before = list(seen), torch.get_rng_state()
    seen.clear()
    for _, _ in zip(range(5), loader, strict=False):
        pass
    assert looked == seen[:5]
    assert len(looked) == 5
    assert before is not None


def test_what_the_first_pass_drops_is_looked_for_in_the_second(run: Run, words: Any) -> None:
    (name, text), *_ = planted(run).items()
    rows = rows_of([*(other for other in run.texts() if other != text), text], words)[-23:]
    others = {row.id for row in proof_of(run, rows=rows).canaries if row.planted and not row.with_loss} - {name}
    dropped = {
        seed
        for seed in range(12)
        if not counted(
            proof_of(
                run, rows=rows, dataloader_drop_last=True, per_device_train_batch_size=16, seed=seed, data_seed=seed
            )
        )[name]
    }
    assert dropped, "no order drops it: the test shows nothing"
    seed = min(dropped)
    options = {
        "rows": rows,
        "dataloader_drop_last": True,
        "per_device_train_batch_size": 16,
        "seed": seed,
        "data_seed": seed,
    }
    later = proof_of(run, epochs=30, **options)
    assert counted(later)[name] == 1
    assert later.passes > 1
    assert name not in others


def test_data_that_streams(run: Run, words: Any) -> None:
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self) -> Any:
            return iter(rows_of(run.texts(), words))

    proof = proof_of(run, rows=Stream(), max_steps=100, batches=100, num_train_epochs=1)
    assert counted(proof) == counted(proof_of(run))

    class Once(Stream):
        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            raise StopIteration

    with pytest.raises(UnsupportedError, match="read once only"):
        proof_of(run, rows=Once(), max_steps=10, batches=10)


def test_batches_without_labels(run: Run) -> None:
    def plain(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = collate(labelled(rows))
        del batch["labels"]
        return batch

    with pytest.raises(UnsupportedError, match="no labels"):
        proof_of(run, collator=plain)


def test_training_does_not_begin_where_a_canary_receives_no_loss(tmp_path: Path, words: Any) -> None:
    run = prepare_run(tmp_path, tiers=(2,), per_tier=6)
    text = next(iter(planted(run).values()))
    callback = AuditCallback(run.subject, bundle=False)
    trainer = trainer_of(run, callback, rows=rows_of([other for other in run.texts() if other != text], words))
    before = [weight.clone() for weight in trainer.model.parameters()]
    with pytest.raises(DataError, match="receive no loss"):
        train(trainer)
    assert trainer.state.global_step == 0
    assert all(torch.equal(one, other) for one, other in zip(before, trainer.model.parameters(), strict=True))
    assert callback.proof is not None
    assert (tmp_path / "training-audit" / "proof.json").exists()
    secrets = [c.secret for c in run.canaries.canaries]
    assert not any(secret in (tmp_path / "training-audit" / "proof.json").read_text() for secret in secrets)
