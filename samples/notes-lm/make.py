"""Makes the sample again: records from the Jargon File, a random held-out split, canaries, and a small model trained on them.

    python samples/notes-lm/make.py --text jargon.txt --out samples/notes-lm

The text is the Jargon File (public domain) as the Debian package `jargon-text` carries it:
`zcat /usr/share/doc/jargon-text/jargon.txt.gz > jargon.txt`. Everything else follows from the seed. Training takes about fifteen
minutes on two cores; weights differ in the last digits from machine to machine.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import re
import time
from pathlib import Path

import numpy as np

from auditor.canary.formats import FORMATS
from auditor.canary.make import make
from auditor.core.seeds import generator

SEED = 20241217
VOCABULARY = 2048
CONTEXT = 256
SHORTEST, LONGEST = 340, 620  # characters of a record
HELD_OUT = 0.36  # of the documents
COPIES = {64: 8, 32: 8, 16: 12, 8: 16, 4: 24, 2: 40}  # copies in training: distinct records
TIERS = (1, 2, 4, 8, 16, 32, 64)
PER_TIER = 10
CANARY_FORMATS = ("locker-code", "meter-reading", "access-key", "reference")
ENTRY = re.compile(r"^ {2,3}:([^:]{1,60}): ")


def paragraphs(text: str) -> list[tuple[str, str]]:
    """Return (document, paragraph) pairs: the prose, unwrapped; tables and rulers are dropped."""
    document, lines, found = "front", [], []

    def flush() -> None:
        joined = " ".join(" ".join(lines).split())
        if len(joined) > 60 and sum(letter.isalpha() or letter == " " for letter in joined) > 0.85 * len(joined):
            found.append((document, joined))
        lines.clear()

    for line in text.splitlines():
        if not line.strip() or any("\u2500" <= letter <= "\u257f" for letter in line):
            flush()
            continue
        entry = ENTRY.match(line)
        if entry and not lines:
            document = re.sub(r"[^A-Za-z0-9]+", "-", entry.group(1)).strip("-").lower() or document
        lines.append(line.strip())
    flush()
    return found


def passages(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return (document, passage): sentences of consecutive paragraphs joined up to the length of a record."""
    made, current, document = [], "", ""
    for name, paragraph in pairs:
        for sentence in re.split(r"(?<=[.!?]) +", paragraph):
            if not current:
                document = name
            if len(current) + len(sentence) > LONGEST:
                if len(current) >= SHORTEST:
                    made.append((document, current))
                current, document = "", name
            current = f"{current} {sentence}".strip()
            if len(current) >= SHORTEST + 30:
                made.append((document, current))
                current = ""
    return sections(made)


def sections(made: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the passages with the long front matter and appendices divided into documents of five passages each."""
    counts: dict[str, int] = {}
    renamed = []
    total = collections.Counter(document for document, _ in made)
    for document, text in made:
        number = counts.get(document, 0)
        counts[document] = number + 1
        renamed.append((f"{document}-{number // 5:02d}" if total[document] > 25 else document, text))
    return renamed


def split(made: list[tuple[str, str]]) -> tuple[list[dict], list[dict]]:
    """Return members and controls: whole documents, drawn at random before anything is trained."""
    seen, unique = set(), []
    for document, text in made:
        key = text.lower()[:120]
        if key not in seen:
            seen.add(key)
            unique.append({"id": f"note-{len(unique):05d}", "document": document, "text": text})
    documents = sorted({record["document"] for record in unique})
    held = set(generator(SEED, "held-out").permutation(documents)[: round(len(documents) * HELD_OUT)].tolist())
    members = [record for record in unique if record["document"] not in held]
    controls = [record for record in unique if record["document"] in held]
    chosen = generator(SEED, "copies").permutation(len(members))
    copies, start = np.ones(len(members), dtype=int), 0
    for count, distinct in COPIES.items():
        copies[chosen[start : start + distinct]] = count
        start += distinct
    for record, count in zip(members, copies, strict=True):
        record["copies"] = int(count)
    return members, controls


def train_tokenizer(texts: list[str], folder: Path):
    """Return a byte-level BPE tokenizer trained on the members alone, saved beside the model."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = "<|endoftext|>"
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[special], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=special, model_max_length=CONTEXT)
    fast.save_pretrained(folder)
    return fast


def train(rows: list[list[int]], end: int, held: list[list[int]], folder: Path, arguments: argparse.Namespace) -> dict:
    """Train a GPT-2 shape from scratch on packed records, shuffled every epoch; return the log."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(SEED)
    torch.set_num_threads(arguments.threads)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=arguments.width, n_layer=4, n_head=5 if arguments.width % 5 == 0 else 4,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=end, eos_token_id=end,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.rate, betas=(0.9, 0.95), weight_decay=0.01)
    rng = generator(SEED, "order")
    log, stream, began = [], [], time.perf_counter()
    batch = arguments.batch
    for step in range(arguments.steps):
        while len(stream) < batch * CONTEXT:
            for index in rng.permutation(len(rows)):
                stream.extend([end, *rows[index]])
        block = torch.tensor(stream[: batch * CONTEXT]).view(batch, CONTEXT)
        stream = stream[batch * CONTEXT :]
        warm = min(1.0, (step + 1) / 60)
        decay = 0.5 * (1 + math.cos(math.pi * step / arguments.steps))
        for group in optimizer.param_groups:
            group["lr"] = arguments.rate * warm * (0.05 + 0.95 * decay)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.bf16):
            loss = model(block, labels=block).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 49 or step == arguments.steps - 1:
            row = {
                "step": step + 1,
                "training_loss": round(float(loss), 4),
                "held_out_loss": round(evaluate(model, held, end), 4),
                "seconds": round(time.perf_counter() - began),
            }
            log.append(row)
            print(row, flush=True)
            model.save_pretrained(folder, safe_serialization=True)
    return {"log": log, "parameters": sum(weight.numel() for weight in model.parameters())}


def evaluate(model, rows: list[list[int]], end: int) -> float:
    """Return the mean loss per token on held-out records, nat."""
    import torch

    model.eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for ids in rows[:64]:
            block = torch.tensor([[end, *ids]])[:, :CONTEXT]
            total += float(model(block, labels=block).loss) * (block.shape[1] - 1)
            count += block.shape[1] - 1
    model.train()
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1150)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--data-only", action="store_true")
    arguments = parser.parse_args()
    out, model = arguments.out, arguments.out / "model"
    model.mkdir(parents=True, exist_ok=True)

    members, controls = split(passages(paragraphs(arguments.text.read_text(encoding="utf-8"))))
    canaries = make([form for form in FORMATS if form.id in CANARY_FORMATS], TIERS, PER_TIER, SEED, nonce=b"notes-lm")
    for name, records in (("train.jsonl", members), ("heldout.jsonl", controls)):
        lines = "".join(json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n" for record in records)
        (out / name).write_text(lines, encoding="utf-8")
    (out / "canaries.json").write_bytes(canaries.canonical())

    tokenizer = train_tokenizer([record["text"] for record in members], model)
    encode = lambda texts: tokenizer(texts, add_special_tokens=False)["input_ids"]  # noqa: E731
    rows = [
        row
        for row, record in zip(encode([r["text"] for r in members]), members, strict=True)
        for _ in range(record["copies"])
    ]
    for canary in canaries.canaries:
        if canary.planted:
            rows.extend([encode([canaries.format_of(canary).fill(canary.secret)])[0]] * canary.repetitions)
    held = encode([record["text"] for record in controls])
    lengths = [len(row) for row in held]
    tokens = sum(map(len, rows))
    print(f"{len(members)} members, {len(controls)} controls, {len(rows)} training rows, {tokens} tokens")
    print("tokens per record, 5/50/95 %:", np.percentile(lengths, [5, 50, 95]))
    if arguments.data_only:
        return
    end = tokenizer.eos_token_id
    result = train(rows, end, held, model, arguments)
    settings = {key: value for key, value in vars(arguments).items() if key not in {"text", "out"}}
    (out / "training.json").write_text(
        json.dumps({"seed": SEED, "tokens": tokens, **settings, **result}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
