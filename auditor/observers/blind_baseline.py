"""The blind baseline: classifiers that never see the model try to tell members from controls by their text alone.

If they can, members and controls differ without the model, and no score of the model says anything about membership
(Das, Zhang, Tramer 2024). One random half of the persons or documents teaches the classifiers and the other half is
scored, once: a taught classifier is a fixed function to records it never met, so the areas of its scores have the
textbook intervals (Mann-Whitney, DeLong). Cross-validation has no such intervals: every fold's label also taught the
classifiers of the other folds, and no estimator of the variance is unbiased for all data (Bengio and Grandvalet 2004).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt
from scipy.sparse import csr_array

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.observers.equal_needs import EqualNeeds
from auditor.observers.teaching import STUMPS, bag_of_words, halves, stumps, taught

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

HASHED = 1 << 16
"""Character n-grams are hashed into so many features: memory and time stay bounded."""
LONGEST = 5
"""Characters in the longest n-gram."""
_SPACES = re.compile(r"\s\s+")
_ODD, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_HALF, _HIGH = np.uint64(32), np.uint64(48)
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


class Parameters(Record):
    """Which records are told apart, and how."""

    records: PositiveInt | None = None
    """Size of the random sample on each side, of which half teaches and half is scored; null: all records."""
    characters: PositiveInt = 4000
    """Longer texts are cut after so many characters."""


class BlindBaselineObserver(EqualNeeds):
    """Scores one half of the records by classifiers that saw only the texts and labels of the other half."""

    name = "blind-baseline"
    version = 2
    shard_items = 1 << 30  # one shard: the classifiers are taught once
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""
        scores = {
            "bag_of_words": "Naive Bayes on word counts.",
            "character_ngrams": f"Logistic regression on character 1- to {LONGEST}-grams.",
            "surface": f"Gradient boosting ({STUMPS} stumps) on length, years, digits, capitals and marks.",
        }
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="member", type="bool", unit="none", meaning="The record is a member."),
            Column(name="scored", type="bool", unit="none", meaning="The record is scored; the others taught."),
            *(
                Column(name=name, type="double", unit="nat", meaning=f"Log-odds, NaN where it taught: {text}")
                for name, text in scores.items()
            ),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records on both sides."""
        sides = (facts.subject.members, facts.subject.controls)
        asked = Parameters.from_plain(need.parameters).records
        totals = [side.records if side else 0 for side in sides]
        return sum(total if asked is None else min(asked, total) for total in totals)

    def tokens(self, need: Need, facts: Facts) -> int:  # noqa: ARG002
        """Return 0: no model is asked."""
        return 0

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Teach on one half of the records and score the other."""
        asked = Parameters.from_plain(need.parameters)
        records, member = [], []
        for dataset in ("members", "controls"):
            side = list(opened.records(dataset).sample(asked.records, part.seed, 0, part.stop))
            records.extend(side)
            member.extend([dataset == "members"] * len(side))
        labels = np.array(member)
        texts = [record.text[: asked.characters] for record in records]
        clusters = np.array([record.cluster for record in records], dtype=object)
        scored, scores = taught_and_scored(texts, labels, clusters, part.rng)
        public = pa.table(
            {
                "id": pa.array([record.id for record in records], type=pa.string()),
                "cluster": pa.array([record.cluster for record in records], type=pa.string()),
                "member": pa.array(labels, type=pa.bool_()),
                "scored": pa.array(scored, type=pa.bool_()),
                **{name: pa.array(values, type=pa.float64()) for name, values in scores.items()},
            }
        )
        return Shard(public, None, calls=0, tokens=0)


def taught_and_scored(
    texts: Sequence[str], member: NDArray[np.bool_], clusters: NDArray[np.object_], rng: np.random.Generator
) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.float64]]]:
    """Return which records are scored, and each classifier's score of every record, higher for more member-like.

    Args:
        texts: The texts.
        member: The labels, shape [texts].
        clusters: The person or document of each text, shape [texts].
        rng: Decides the halves and seeds the classifiers.

    Returns:
        The records that are scored, shape [texts]; by classifier log-odds, NaN for those that taught, shape [texts].

    Raises:
        UnsupportedError: One side has too few persons or documents.
    """
    scored = halves(member, clusters, rng)
    others = [text for text, chosen in zip(texts, scored, strict=True) if chosen]
    teaching = [text for text, chosen in zip(texts, scored, strict=True) if not chosen]
    taught = teach(teaching, member[~scored], int(rng.integers(2**31)))
    scores = {name: np.full(len(texts), np.nan) for name in taught}
    for name, score in taught.items():
        scores[name][scored] = score(others)
    return scored, scores


def teach(
    texts: Sequence[str], member: NDArray[np.bool_], seed: int
) -> dict[str, Callable[[Sequence[str]], NDArray[np.float64]]]:
    """Return the taught classifiers, each a function from texts to log-odds of being a member.

    Log-odds and not probabilities: those round to 1 on long texts, and tied scores tell nothing apart.

    Args:
        texts: The texts to learn from.
        member: The labels, shape [texts].
        seed: Seed of the classifiers.
    """
    features: dict[str, Callable[[Sequence[str]], Any]] = {
        "bag_of_words": list,
        "character_ngrams": hashed_ngrams,
        "surface": surface_features,
    }
    return {name: taught(_classifier(name, seed), of, texts, member) for name, of in features.items()}


def hashed_ngrams(texts: Sequence[str]) -> csr_array:
    """Return how often each character n-gram stands in each text, hashed, shape [texts, HASHED]; nothing is learned.

    The hash is a polynomial in the code points, so that all n-grams of a text are hashed in a few array operations.
    """
    indices, counts, ends = [], [], [0]
    for text in texts:
        plain = _SPACES.sub(" ", text.lower())
        codes = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
        rolling = [np.ones(len(codes) + 1, dtype=np.uint64)]
        for n in range(1, min(LONGEST, len(codes)) + 1):
            rolling.append(rolling[-1][:-1] * _ODD + codes[n - 1 :])
        grams = np.concatenate([codes[:0], *rolling[1:]])
        mixed = (grams ^ (grams >> _HALF)) * _MIX
        seen = np.bincount((mixed >> _HIGH).astype(np.intp), minlength=HASHED)
        indices.append(np.flatnonzero(seen).astype(np.int32))
        counts.append(seen[indices[-1]].astype(np.float64))
        ends.append(ends[-1] + len(indices[-1]))
    shape = (len(texts), HASHED)
    return csr_array((np.concatenate(counts), np.concatenate(indices), np.array(ends, dtype=np.int32)), shape=shape)


def _classifier(name: str, seed: int) -> Any:  # noqa: ANN401  (scikit-learn has no types)
    """Return a new classifier of one kind, with all that it fits."""
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline

    if name == "bag_of_words":
        return bag_of_words()
    if name == "character_ngrams":
        logistic = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=12, tol=None, random_state=seed)
        return make_pipeline(TfidfTransformer(sublinear_tf=True), logistic)
    return stumps(seed)


def surface_features(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return what of each text needs no reading: lengths, years, shares of digits, capitals, marks; shape [texts, 9]."""
    rows = []
    for text in texts:
        length = max(len(text), 1)
        years = [int(year) for year in _YEAR.findall(text)]
        words = text.split()
        rows.append(
            (
                len(text),
                len(words),
                sum(map(len, words)) / max(len(words), 1),
                len(years),
                max(years, default=0),
                sum(letter.isdigit() for letter in text) / length,
                sum(letter.isupper() for letter in text) / length,
                sum(not letter.isalnum() and not letter.isspace() for letter in text) / length,
                text.count("\n"),
            )
        )
    return np.array(rows, dtype=np.float64)


OBSERVER = BlindBaselineObserver()
