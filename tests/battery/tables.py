"""Observations in memory, with the same columns as on disk, so that hundreds of audits take seconds."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from scipy.stats import hypergeom

from auditor.contract.protocol import Facts, Measuring
from auditor.core.canary import Canary, CanaryFormat, CanarySet
from auditor.core.policy import QueryBudget
from auditor.core.subject import Artifact, DatasetIdentity, ModelIdentity, ReleaseContext, Subject
from auditor.evidence.table import Ragged

QUERIES = QueryBudget(per_subject=100, lifetime=10_000, reason="test")
DIGEST = "ab" * 32
LISTS = {
    "logprob": np.float32,
    "hit": np.bool_,
    "tie": np.bool_,
    "mean": np.float32,
    "deviation": np.float32,
    "top_logprob": np.float32,
    "previous": np.int32,
    "log_frequency": np.float32,
    "neighbour": np.float32,
}


class MemoryTable:
    """Meets what a test uses of `ObservedTable`; `cut` says how many rows each shard has."""

    def __init__(self, columns: dict, cut: int = 1 << 30, name: str = "0") -> None:
        self.columns = columns
        self.cut = cut
        self.rows = len(next(iter(columns.values())))
        self.record = SimpleNamespace(id=name * 64, items=self.rows)
        self.names = frozenset(columns)

    def shards(self, *names):
        for start in range(0, max(self.rows, 1), self.cut):
            part = slice(start, start + self.cut)
            yield {
                name: Ragged.of(self.columns[name][part], LISTS[name]) if name in LISTS else self.columns[name][part]
                for name in names
            }

    def column(self, name):
        return self.columns[name]


def fewest_persons(members, controls):
    """The fewest persons with one record each that cannot be chance: scipy's probability that all of k drawn are members'."""
    return int(
        np.argmax(hypergeom.pmf(np.arange(members + 1), members + controls, members, np.arange(members + 1)) <= 1e-3)
    )


def text_columns(count, side="m", clusters=None, copies=None, length=100):
    return {
        "id": np.array([f"{side}{i}" for i in range(count)], dtype=object),
        "cluster": np.array(clusters if clusters is not None else [f"{side}{i}" for i in range(count)], dtype=object),
        "copies": np.array(copies if copies is not None else [1] * count),
        "source": np.array([""] * count, dtype=object),
        "excerpt": np.array(["T\u2588 (100 tokens)"] * count, dtype=object),
        "tokens": np.full(count, length),
        "begin": np.zeros(count, dtype=int),
        "zlib_bytes": np.full(count, 80),
    }


def suffix_table(extracted, log_p=None, tied=None, previous=None, length=100, prefix=50, **kwargs):
    """Records whose suffix is said or not: hits from token `prefix` on as given, misses before."""
    count = len(extracted)
    hits, ties, before, top = [], [], [], []
    for i in range(count):
        hit = np.zeros(length, dtype=bool)
        hit[prefix:] = bool(extracted[i])
        tie = np.zeros(length, dtype=bool)
        tie[prefix] = bool(tied[i]) if tied is not None else False
        hits.append(hit)
        ties.append(tie)
        before.append(np.zeros(length, dtype=np.int32) if previous is None else previous[i])
        if log_p is not None:
            row = np.zeros(length)
            row[prefix:] = log_p[i] / (length - prefix)
            top.append(row)
    columns = text_columns(count, length=length, **kwargs) | {"hit": hits, "tie": ties, "previous": before}
    if log_p is not None:
        columns["top_logprob"] = top
    return MemoryTable(columns)


def continuations(table, equal=None, rows=8):
    ids = table.columns["id"][:rows]
    said = [bool(np.all(table.columns["hit"][i][50:])) for i in range(len(ids))] if equal is None else equal
    return MemoryTable({"id": ids, "eligible": np.ones(len(ids), dtype=bool), "equal": np.array(said)})


def score_tables(
    rng,
    members,
    controls,
    shift=0.0,
    clusters=None,
    tokens=40,
    references=0,
    frequencies=False,
    context=False,
    neighbours=0,
):
    """The observations of `language/membership`, with a shift of the members' log-probabilities."""
    found = {}
    for side, count, move in (("members", members, shift), ("controls", controls, 0.0)):
        labels = None if clusters is None else [f"{side}{i // clusters}" for i in range(count)]
        own = (
            np.zeros(count)
            if labels is None
            else np.repeat(rng.normal(0, 0.3, -(-count // clusters)), clusters)[:count]
        )
        rows = [np.minimum(rng.normal(-3.0 + move + own[i], 1.5, tokens), 0.0) for i in range(count)]
        lower = [row - 0.5 + rng.normal(0, 0.1) for row in rows]
        base = text_columns(count, side=side[0], clusters=labels)
        found[side] = MemoryTable(
            base
            | {"logprob": rows, "mean": [np.full(tokens, -4.0)] * count, "deviation": [np.full(tokens, 2.0)] * count}
        )
        found[f"{side}-lowercase"] = MemoryTable(base | {"logprob": lower})
        for number in range(references):
            # A reference model finds hard what is hard, and knows of no member.
            other = [np.minimum(row - move + rng.normal(0, 0.3, tokens), 0.0) for row in rows]
            found[f"{side}-reference-{number}"] = MemoryTable(base | {"logprob": other})
        if frequencies:
            found[side].columns["previous"] = [rng.integers(0, 2, tokens).astype(np.int32) for _ in rows]
    member = np.array([True] * members + [False] * controls)
    if context:
        both = [(found[side].columns["id"], found[side].columns["logprob"]) for side in ("members", "controls")]
        after = [row - 0.2 + rng.normal(0, 0.3) for _, rows in both for row in rows]
        names = np.concatenate([names for names, _ in both])
        found["context"] = MemoryTable({"id": names, "member": member, "logprob": after})
    if neighbours:
        sides = ("members", "controls")
        own = np.array([row.mean() for side in sides for row in found[side].columns["logprob"]])
        # What others could stand there is as likely whether the record was trained on or not.
        base = own - np.repeat([shift, 0.0], [members, controls])
        rows = [level + rng.normal(-0.1, 0.2, neighbours) for level in base]
        names = np.concatenate([found[side].columns["id"] for side in sides])
        found["neighbours"] = MemoryTable({"id": names, "member": member, "own": own, "neighbour": rows})
    if frequencies:
        names = np.concatenate([found[side].columns["id"] for side in ("members", "controls")])
        drawn = [np.log(rng.uniform(1e-4, 1e-2, tokens)) for _ in names]
        found["frequencies"] = MemoryTable({"id": names, "member": member, "log_frequency": drawn})
    cluster = np.concatenate([found["members"].columns["cluster"], found["controls"].columns["cluster"]])
    found["blind"] = blind_table(rng, member, cluster)
    return found


def blind_table(rng, member, cluster, names=("bag_of_words", "character_ngrams", "surface")):
    """The observation of `blind-baseline` where nothing tells the sides apart: every other cluster teaches."""
    _, codes = np.unique(cluster.astype(str), return_inverse=True)
    scored = codes % 2 == 1
    scores = {name: np.where(scored, rng.normal(size=len(member)), np.nan) for name in names}
    return MemoryTable({"id": cluster, "cluster": cluster, "member": member, "scored": scored, **scores})


def measuring(
    *, clustered_by="record", canaries=None, controls=True, drawn="at-random-before-training", seed=1, references=0
):
    identity = DatasetIdentity(digest=DIGEST, files=(), records=500, clusters=500, clustered_by=clustered_by)
    model = ModelIdentity(adapter="control", dtype="float32", files=(), digest=DIGEST)
    subject = Subject(
        name="s",
        controller="c",
        release_context=ReleaseContext.INTERNAL,
        model=model,
        references=(model,) * references,
        members=identity,
        controls=identity if controls else None,
        controls_drawn=drawn,
        canaries=Artifact(path="c", bytes=1, sha256=DIGEST) if canaries else None,
    )
    return Measuring(Facts(subject, canaries, 512, 0.95, QUERIES), seed)


def canary_table(rng, planted=20, left_out=20, candidates=1000, gain=0.0, formats=2, repetitions=(1, 4, 16)):
    """The observation of `language/exposure`: canaries of some formats and the candidates they share."""
    forms = tuple(
        CanaryFormat(id=f"f{i}", template="x {secret}", symbols=tuple("0123456789"), length=6) for i in range(formats)
    )
    made, rows = [], []
    for i in range(planted + left_out):
        is_planted = i < planted
        form = forms[i % formats]
        times = repetitions[i % len(repetitions)]
        made.append(Canary(id=f"c{i}", format=form.id, secret="withheld", repetitions=times, planted=is_planted))
        score = rng.normal(20, 2) - (gain * np.log2(1 + times) if is_planted else 0.0)
        rows.append((form.id, f"c{i}", is_planted, times, score))
    for form in forms:
        rows.extend((form.id, "", False, 0, rng.normal(20, 2)) for _ in range(candidates))
    columns = {
        "format": np.array([row[0] for row in rows], dtype=object),
        "canary": np.array([row[1] for row in rows], dtype=object),
        "planted": np.array([row[2] for row in rows]),
        "repetitions": np.array([row[3] for row in rows]),
        "tokens": np.full(len(rows), 6),
        "score": np.array([row[4] for row in rows], dtype=float),
        "exhaustive": np.zeros(len(rows), dtype=bool),
    }
    canaries = CanarySet(seed=1, formats=forms, canaries=tuple(made), nonce=DIGEST, commitment=DIGEST)
    return MemoryTable(columns), canaries
