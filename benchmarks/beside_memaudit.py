"""The same model and the same canaries audited by memaudit 0.2.0 and by this tool: what both find, and how long each takes.

    pip install memaudit==0.2.0
    python benchmarks/beside_memaudit.py [--quick] [--threads 1]

memaudit makes the canaries (family `structured`) and throws the coins; the shipped sample's model is trained on for six passes
over some of its texts and the planted canaries. That model is the subject, the sample's the reference of both. Then, in pairs:

    membership    each of 300 canaries scored by both models: Min-K%++ on the secret, less that of the reference
    both answers  the same for 100, and two beginnings of each continued greedily and held against the rest: memaudit's whole audit

Times are of the processor where there is no accelerator: other work on the machine must not decide.
"""

from __future__ import annotations

import copy
import importlib
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from beside_memaudit_printed import FRACTIONS, agreement, only_ours, regurgitation
from transformers import AutoModelForCausalLM, AutoTokenizer
from workload import arguments, paired, verdict

from auditor.battery.language.membership import TEST
from auditor.battery.language.membership_scores import lowest_mean, standardized
from auditor.contract.protocol import Measuring, Part
from auditor.core.evidence import Need, Observation
from auditor.core.finding import Measurement
from auditor.core.seeds import generator
from auditor.evidence.shards import ObservationWriter
from auditor.evidence.table import ObservedTable, Ragged
from auditor.observers.blind_baseline import OBSERVER as BLIND
from auditor.observers.token_scores import OBSERVER
from auditor.statistics.text_similarity import edit_distance
from auditor.subjects.adapters.language_model import CausalLM
from auditor.subjects.data import DataRecord
from auditor.testing.control_subject import ListedRecords, control_subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.core.policy import QueryBudget

SAMPLE = Path(__file__).parent.parent / "samples" / "notes-lm"
TARGET = 5.0
SEED = 20241217
PASSES = 6
PARAMETERS = {"max_tokens": 256, "moments": True}
BEYOND = 4
"""Tokens that memaudit generates beyond the rest of a secret."""


@dataclass(frozen=True)
class Work:
    """One model, its reference and canaries, in the form each side takes."""

    subject: Any
    reference: Any
    tokenizer: Any
    manifest: dict[str, Any]

    def records(self, *, planted: bool) -> tuple[DataRecord, ...]:
        """Return the canaries of one side, each the record that memaudit puts into training."""
        record = importlib.import_module("memaudit.injection").canary_record
        made = importlib.import_module("memaudit.types").Canary.from_dict
        return tuple(
            DataRecord(c["id"], record(made(c), "text")["text"], c["id"], copies=max(1, int(c["repetitions"])))
            for c in self.manifest["canaries"]
            if c["included"] == planted
        )

    def fewer(self, planted: int, controls: int) -> Work:
        """Return the same with so many canaries of each side."""
        left = {True: planted, False: controls}
        kept = []
        for canary in self.manifest["canaries"]:
            if left[canary["included"]] > 0:
                left[canary["included"]] -= 1
                kept.append(canary)
        return Work(self.subject, self.reference, self.tokenizer, {**self.manifest, "canaries": kept})


class Both:
    """The subject opened for observation: two models, canaries as members and controls; meets `OpenedSubject`."""

    def __init__(self, work: Work, queries: QueryBudget) -> None:
        self._sides = {"members": work.records(planted=True), "controls": work.records(planted=False)}
        plain = control_subject("innocent", references=1, confidence=0.95, queries=queries).facts
        sizes = {
            side: getattr(plain.subject, side).model_copy(update={"records": len(found), "clusters": len(found)})
            for side, found in self._sides.items()
        }
        from dataclasses import replace

        self.facts = replace(plain, subject=plain.subject.model_copy(update=sizes), instrument=False)
        self._models = {
            role: CausalLM(model, work.tokenizer, int(model.config.n_positions))
            for role, model in (("subject", work.subject), ("reference-0", work.reference))
        }

    def model(self, role: str) -> CausalLM:
        return self._models[role]

    def records(self, dataset: str) -> ListedRecords:
        return ListedRecords(self._sides[dataset])

    contents = records


def trained(quick: bool) -> Work:
    """Return the sample's model after six more passes over texts, cut to 64 tokens, and planted canaries."""
    memaudit = importlib.import_module("memaudit")
    tokenizer = AutoTokenizer.from_pretrained(SAMPLE / "model")
    reference = AutoModelForCausalLM.from_pretrained(SAMPLE / "model").eval()
    subject = copy.deepcopy(reference)
    texts = [json.loads(line)["text"] for line in (SAMPLE / "train.jsonl").read_text().splitlines()][:400]
    canaries = memaudit.generate_canaries(
        tokenizer, n=100 if quick else 200, n_controls=1000, family="structured", seed=SEED
    )
    rows, manifest = memaudit.inject([{"text": text} for text in texts], canaries, fmt="text", seed=SEED)
    torch.manual_seed(SEED)
    end = tokenizer.eos_token_id
    optimizer = torch.optim.AdamW(subject.parameters(), lr=2e-3)
    subject.train()
    order = generator(SEED, "order")
    ids = [[end, *tokenizer.encode(row["text"])][:64] for row in rows]
    for places in (part for _ in range(PASSES) for part in np.array_split(order.permutation(len(ids)), len(ids) // 16)):
        width = max(len(ids[place]) for place in places)
        batch = torch.tensor([ids[place] + [end] * (width - len(ids[place])) for place in places])
        seen = torch.arange(width)[None] < torch.tensor([len(ids[place]) for place in places])[:, None]
        loss = subject(input_ids=batch, labels=batch.masked_fill(~seen, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(subject.parameters(), 1.0)
        optimizer.step()
    return Work(subject.eval(), reference, tokenizer, manifest)


def theirs(work: Work, folder: Path, *, generate: bool) -> dict[str, Any]:
    """Return memaudit's report, which it writes as its command does."""
    report: dict[str, Any] = importlib.import_module("memaudit.audit").run_audit(
        work.subject,
        work.tokenizer,
        work.manifest,
        ref=work.reference,
        real_sample=0,
        skip_generation=not generate,
        output_path=folder / "memaudit-report.json",
    )
    return report


def observed(opened: Both, need: Need, folder: Path) -> ObservedTable:
    """Return an observation made and written as a run does."""
    observer: Any = BLIND if need.observer == BLIND.name else OBSERVER
    count = observer.items(need, opened.facts)
    writer = ObservationWriter(folder, b"benchmark")
    shards = -(-count // observer.shard_items)
    for number in range(shards):
        start = number * observer.shard_items
        stop = min(start + observer.shard_items, count)
        rng = generator(SEED, need.observer, str(number))
        made = observer.observe(need, opened, Part(start, stop, 0, rng, lambda _: None))  # type: ignore[arg-type,return-value]
        writer.write(number, made.public, made.restricted, calls=made.calls, tokens=made.tokens)
    asked = observer.parameters.from_plain(need.parameters)
    observation = Observation(
        observer=need.observer,
        observer_version=observer.version,
        dataset=need.dataset,
        model_role=need.model,
        model="0" * 64,
        data=(),
        parameters=asked.plain(),
        seed=0,
    )
    writer.finish(observation, observer.columns(asked), shards)
    return ObservedTable(folder)


def spans(work: Work) -> dict[str, tuple[int, int]]:
    """Return where memaudit looks for each secret in its record, tokens."""
    of = importlib.import_module("memaudit.audit")._canary_ids_and_span  # noqa: SLF001
    return {c["id"]: of(work.tokenizer, c, "text")[1] for c in work.manifest["canaries"]}


@dataclass(frozen=True)
class Found:
    """What our passes say of the canaries; scores by id."""

    tables: dict[str, ObservedTable]
    loss: dict[str, float]
    score: dict[str, float]
    """Min-K%++ on the secret, less that of the reference."""
    said: dict[tuple[str, float], bool]
    """The rest of the secret is the arg-max at every token after a beginning of the record, by id and share of the secret given."""


def rows_of(table: ObservedTable) -> Iterator[tuple[str, int, dict[str, np.ndarray]]]:
    for shard in table.shards("id", "begin", "logprob", "mean", "deviation", "hit"):
        for row, name in enumerate(shard["id"]):
            lists = {key: value[row] for key, value in shard.items() if isinstance(value, Ragged)}
            yield str(name), int(shard["begin"][row]), lists


def ours(opened: Both, where: dict[str, tuple[int, int]], folder: Path) -> Found:
    """Return the scores of all canaries under both models: four observations, written, and read back."""
    tables: dict[str, ObservedTable] = {}
    loss: dict[str, float] = {}
    score: dict[str, float] = {}
    said: dict[tuple[str, float], bool] = {}
    for side in ("members", "controls"):
        for role in ("subject", "reference-0"):
            need = Need(observer="token-scores", dataset=side, model=role, parameters=PARAMETERS)
            name = side if role == "subject" else f"{side}-{role}"
            tables[name] = observed(opened, need, folder / name)
            for one, begin, lists in rows_of(tables[name]):
                start, stop = where[one]
                part = slice(max(start - begin, 0), stop - begin)
                spread = standardized(lists["logprob"][part], lists["mean"][part], lists["deviation"][part])
                own = lowest_mean(spread, 0.2)
                if role == "subject":
                    loss[one], score[one] = -float(lists["logprob"][part].astype(np.float64).mean()), own
                    for share in FRACTIONS:
                        given = max(1, int((stop - start) * share))
                        said[one, share] = bool(lists["hit"][start - begin + given : stop - begin].all())
                else:
                    score[one] -= own
    return Found(tables, loss, score, said)


def beginnings(work: Work) -> list[tuple[str, str, list[int], str]]:
    """Return id, share given, prompt and rest of every secret, as memaudit prompts: without what stood before it in training."""
    tokenizer, found = work.tokenizer, []
    for canary in work.manifest["canaries"]:
        ids = list(canary["secret_token_ids"])
        for share in FRACTIONS:
            given = max(1, min(len(ids) - 1, int(len(ids) * share)))
            prompt = tokenizer.encode(tokenizer.decode(ids[:given]), add_special_tokens=False)
            found.append((canary["id"], f"{share:g}", prompt, tokenizer.decode(ids[given:])))
    return found


def continued(work: Work, model: CausalLM) -> dict[str, tuple[bool, bool]]:
    """Return for each canary whether the rest came out word for word, and within an edit distance of 10 %, after any beginning."""
    found: dict[str, tuple[bool, bool]] = {}
    asked = beginnings(work)
    longest = max(len(canary["secret_token_ids"]) for canary in work.manifest["canaries"])
    for share in map(str, (f"{one:g}" for one in FRACTIONS)):
        rows = [row for row in asked if row[1] == share]
        tokens = longest - int(longest * float(share)) + BEYOND
        spoken = model.continue_greedily([np.array(prompt, dtype=np.int32) for _, _, prompt, _ in rows], tokens)
        for (name, _, _, rest), ids in zip(rows, spoken, strict=True):
            text, wanted = model.decode(ids.tolist()), rest.strip()
            exact = wanted in text
            most = int(0.1 * len(wanted))
            near = exact or edit_distance(text.strip()[: len(wanted)], wanted, most) <= most
            before = found.get(name, (False, False))
            found[name] = (before[0] or exact, before[1] or near)
    return found


def main() -> None:
    asked = arguments(__doc__, shapes=())
    try:
        importlib.import_module("memaudit")
    except ImportError:
        sys.exit("memaudit is not installed: pip install memaudit==0.2.0")
    warnings.simplefilter("ignore")
    for name in ("memaudit", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    work = trained(asked.quick)
    where = spans(work)
    queries = control_subject_queries()
    opened = Both(work, queries)
    planted, others = opened.records("members"), opened.records("controls")
    print(f"{len(planted)} canaries in training (1, 4 or 16 times), {len(others)} not; one reference model")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        number = iter(range(10_000))

        def fresh() -> Path:
            made = folder / str(next(number))
            made.mkdir()
            return made

        report = theirs(work, fresh(), generate=False)
        found = ours(opened, where, fresh())
        agreement(report, found, where, work)
        measurement = finding(opened, found, folder / "blind")
        clock = time.perf_counter if asked.device != "cpu" else time.process_time
        some = work.fewer(100, 200)
        both = Both(some, queries)
        took, slow, ratios = paired(
            lambda: ours(both, where, fresh()), lambda: theirs(some, fresh(), generate=False), asked.pairs, clock
        )
        print(f"\nmembership of {len(some.manifest['canaries'])} canaries: ours {took:.2f} s, memaudit {slow:.2f} s")
        middle = statistics.median(ratios)
        verdict("membership, memaudit / ours", middle, f">= {TARGET}", middle >= TARGET)
        few = work.fewer(25, 25) if asked.quick else work.fewer(50, 50)
        small = Both(few, queries)
        report = theirs(few, fresh(), generate=True)
        prompted = continued(few, small.model("subject"))
        passed = ours(small, where, fresh())
        regurgitation(report, prompted, passed, few)

        def ours_whole() -> None:
            ours(small, where, fresh())
            continued(few, small.model("subject"))

        took, slow, ratios = paired(ours_whole, partial(theirs, few, fresh(), generate=True), asked.pairs, clock)
        print(f"both answers for {len(few.manifest['canaries'])} canaries: ours {took:.2f} s, memaudit {slow:.2f} s")
        middle = statistics.median(ratios)
        verdict("membership and regurgitation, memaudit / ours", middle, f">= {TARGET}", middle >= TARGET)
    only_ours(measurement, report)


def control_subject_queries() -> QueryBudget:
    from auditor.core.policy import QueryBudget

    return QueryBudget(per_subject=1, lifetime=1, reason="benchmark")


def finding(opened: Both, found: Found, folder: Path) -> Measurement:
    """Return and print what `language/membership` says of the same canaries from the same passes."""
    parameters = TEST.parameters(records=None)
    needs = TEST.needs(parameters, opened.facts)
    evidence = {name: found.tables.get(name) for name in needs}
    for name, need in needs.items():
        if evidence[name] is None:
            evidence[name] = observed(opened, need, folder / name)
    measured = TEST.measure(parameters, evidence, Measuring(opened.facts, SEED))  # type: ignore[arg-type]
    print(f"language/membership: {measured.answer}")
    for gate in measured.gates:
        print(f"  {gate.name}: held {gate.held}: {gate.detail}")
    return measured


if __name__ == "__main__":
    main()
