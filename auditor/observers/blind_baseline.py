"""The blind baseline: classifiers that never see the model try to tell members from controls by their text alone.

If they can, members and controls differ without the model, and no score of the model says anything about membership
(Das, Zhang, Tramer 2024). Scores are out of fold, folds are grouped by person or document, vectorisers are fitted
inside the fold, and nothing is chosen on the fold that is scored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STUMPS = 50
WORDS = 20_000
"""Most frequent words that are counted."""
HASHED = 1 << 16
"""Character n-grams are hashed into so many features: memory and time stay bounded."""
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


class Parameters(Record):
    """Which records are told apart, and how."""

    records: PositiveInt | None = None
    """Size of the random sample on each side; null: all records."""
    folds: int = Field(default=5, ge=2)
    """Folds of the cross-validation."""
    characters: PositiveInt = 4000
    """Longer texts are cut after so many characters."""


class BlindBaselineObserver:
    """Scores every record by classifiers that saw only the other folds' texts and labels."""

    name = "blind-baseline"
    version = 1
    shard_items = 1 << 30  # one shard: every fold needs all records
    parameters = Parameters

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return the different needs."""
        return list({need.identity(): need for need in needs}.values())

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether they are the same."""
        return joined == need

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""
        scores = {
            "bag_of_words": "Naive Bayes on word counts.",
            "character_ngrams": "Logistic regression on character 1- to 5-grams.",
            "surface": f"Gradient boosting ({STUMPS} stumps) on length, years, digits, capitals and marks.",
        }
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="member", type="bool", unit="none", meaning="The record is a member."),
            *(
                Column(name=name, type="double", unit="none", meaning=f"Out of fold: {text}")
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
        """Score every record out of fold."""
        asked = Parameters.from_plain(need.parameters)
        records, member = [], []
        for dataset in ("members", "controls"):
            side = list(opened.records(dataset).sample(asked.records, part.seed, 0, part.stop))
            records.extend(side)
            member.extend([dataset == "members"] * len(side))
        labels = np.array(member)
        texts = [record.text[: asked.characters] for record in records]
        clusters = np.array([record.cluster for record in records], dtype=object)
        scores = out_of_fold(texts, labels, clusters, asked.folds, int(part.rng.integers(2**31)))
        public = pa.table(
            {
                "id": pa.array([record.id for record in records], type=pa.string()),
                "cluster": pa.array([record.cluster for record in records], type=pa.string()),
                "member": pa.array(labels, type=pa.bool_()),
                **{name: pa.array(values, type=pa.float64()) for name, values in scores.items()},
            }
        )
        return Shard(public, None, calls=0, tokens=0)


def out_of_fold(
    texts: Sequence[str], member: NDArray[np.bool_], clusters: NDArray[np.object_], folds: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Return each classifier's out-of-fold score of every record, higher for more member-like.

    Args:
        texts: The texts.
        member: The labels, shape [texts].
        clusters: A cluster is never split over folds, shape [texts].
        folds: Number of folds.
        seed: Seed of the division and of the classifiers.

    Raises:
        UnsupportedError: One side has fewer clusters than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    for side, name in ((member, "members"), (~member, "controls")):
        found = len(set(clusters[side].tolist()))
        if found < folds:
            msg = f"the {name} come from {found} persons or documents; {folds} folds need at least as many"
            raise UnsupportedError(msg, hint="Supply records from more persons or documents.")
    _, groups = np.unique(clusters.astype(str), return_inverse=True)
    division = list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(texts, member, groups))
    # Hashing and counting marks learn nothing, so they are done once; all that is fitted is fitted inside the fold.
    features = {"bag_of_words": list(texts), "character_ngrams": _hashed(texts), "surface": surface_features(texts)}
    scores = {name: np.zeros(len(texts)) for name in features}
    for train, test in division:
        for name, rows in features.items():
            classifier = _classifier(name, seed)
            classifier.fit(_chosen(rows, train), member[train])
            odds = classifier.predict_proba(_chosen(rows, test))
            scores[name][test] = odds[:, list(classifier.classes_).index(True)]
    return scores


def _chosen(rows: Any, chosen: NDArray[np.intp]) -> Any:  # noqa: ANN401  (scikit-learn has no types)
    return [rows[row] for row in chosen] if isinstance(rows, list) else rows[chosen]


def _hashed(texts: Sequence[str]) -> Any:  # noqa: ANN401
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(
        analyzer="char", ngram_range=(1, 5), n_features=HASHED, alternate_sign=False, norm=None
    ).transform(texts)


def _classifier(name: str, seed: int) -> Any:  # noqa: ANN401
    """Return a new classifier of one kind, with all that it fits."""
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    from sklearn.linear_model import SGDClassifier
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    if name == "bag_of_words":
        words = r"(?u)\b\w+\b|\S"
        return make_pipeline(CountVectorizer(min_df=2, max_features=WORDS, token_pattern=words), MultinomialNB())
    if name == "character_ngrams":
        logistic = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=12, tol=None, random_state=seed)
        return make_pipeline(TfidfTransformer(sublinear_tf=True), logistic)
    return GradientBoostingClassifier(n_estimators=STUMPS, max_depth=1, random_state=seed)


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
