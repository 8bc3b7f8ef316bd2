"""How blind classifiers are taught and asked: on one half of the persons, and of the other half, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FEWEST = 2
"""Persons or documents on each side, in the half that teaches and in the half that is scored."""
STUMPS = 50
"""Trees of the gradient boosting, one cut each."""
WORDS = 20_000
"""Most frequent words that are counted."""
CHUNK = 1024
"""Records whose features are held at once while they are scored."""


def halves(member: NDArray[np.bool_], clusters: NDArray[np.object_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which records are scored, about half of each side; a cluster is never divided.

    Clusters of a kind (members, controls, both) are paired by size and a fair coin says which of a pair is scored. The
    division looks at labels and sizes alone, never at what is in a record, so that what is taught says nothing of
    the records that are scored.

    Args:
        member: The labels, shape [records].
        clusters: The person or document of each record, shape [records].
        rng: Decides the division.

    Raises:
        UnsupportedError: One side has too few persons or documents.
    """
    _, codes = np.unique(clusters.astype(str), return_inverse=True)
    members, controls = (np.bincount(codes, weights=side) for side in (member, ~member))
    kinds = 2 * (members > 0) + (controls > 0)
    order = np.lexsort((rng.permutation(len(kinds)), -(members + controls)))
    chosen = np.zeros(len(kinds), dtype=np.bool_)
    for kind in (1, 2, 3):
        own = order[kinds[order] == kind]
        coins = rng.integers(2, size=-(-len(own) // 2)).astype(np.bool_)
        chosen[own[::2]] = coins
        chosen[own[1::2]] = ~coins[: len(own) // 2]
    for counts, name in ((members, "members"), (controls, "controls")):
        least = min(int(((counts > 0) & half).sum()) for half in (chosen, ~chosen))
        if least < FEWEST:
            found = int((counts > 0).sum())
            msg = f"the {name} come from {found} persons or documents; one half of them holds {least}, {FEWEST} are the fewest"
            raise UnsupportedError(msg, hint="Supply records from more persons or documents.")
    return np.asarray(chosen[codes])


def taught(
    classifier: Any,  # noqa: ANN401  (scikit-learn has no types)
    features: Callable[[Any], Any],
    items: Any,  # noqa: ANN401
    member: NDArray[np.bool_],
) -> Callable[[Any], NDArray[np.float64]]:
    """Return a taught classifier: a function from items to log-odds of being a member.

    Args:
        classifier: A new one, with all that it fits.
        features: What it sees of items.
        items: What it learns from: a list, or an array whose rows are items.
        member: Their labels, shape [items].
    """
    try:
        classifier.fit(features(items), member)
    except ValueError as error:
        if not any(said in str(error) for said in ("empty vocabulary", "no terms remain")):
            raise
        return lambda others: np.zeros(len(others))  # no word stands in two texts: nothing to learn from words

    def log_odds(others: Any) -> NDArray[np.float64]:  # noqa: ANN401
        found = []
        for start in range(0, len(others), CHUNK):
            rows = features(others[start : start + CHUNK])
            if hasattr(classifier, "decision_function"):
                found.append(classifier.decision_function(rows))
            else:
                found.append(np.diff(classifier.predict_log_proba(rows), axis=1)[:, 0])
        return np.concatenate(found)

    return log_odds


def bag_of_words() -> Any:  # noqa: ANN401
    """Return naive Bayes on counts of the words that stand in two texts or more."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    words = r"(?u)\b\w+\b|\S"
    return make_pipeline(CountVectorizer(min_df=2, max_features=WORDS, token_pattern=words), MultinomialNB())


def stumps(seed: int) -> Any:  # noqa: ANN401
    """Return gradient boosting of trees with one cut each."""
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(n_estimators=STUMPS, max_depth=1, random_state=seed)
