"""The blind baseline: fair halves, nothing of the scored half taught, and areas whose intervals hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import check_columns, opened, rows
from sklearn.feature_extraction.text import CountVectorizer

from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.errors import UnsupportedError
from auditor.observers.blind_baseline import HASHED, OBSERVER, halves, hashed_ngrams, taught_and_scored, teach
from auditor.statistics.roc import auc, auc_interval, null_sd_auc
from auditor.subjects.data import DataRecord

RNG = np.random.default_rng
NAMES = ("bag_of_words", "character_ngrams", "surface")
EACH = 1.0 - 0.05 / len(NAMES)
VOCABULARY = np.array(["".join(RNG(i).choice(list("etaoinshrdlu"), size=2 + i % 7)) for i in range(2000)])
SHARES = 1.0 / np.arange(1, len(VOCABULARY) + 1)


def speak(rng, count, lean=0.0, length=20):
    """Texts whose words are drawn by rank; `lean` makes the odd words likelier."""
    shares = SHARES * np.exp(lean * (np.arange(len(VOCABULARY)) % 2))
    words = rng.choice(VOCABULARY, size=(count, length), p=shares / shares.sum())
    sizes = rng.integers(length // 2, length + 1, size=count)
    return [" ".join(row[:size]) for row, size in zip(words, sizes, strict=True)]


def own(count):
    return np.array([f"r{i}" for i in range(count)], dtype=object)


def subject(members, controls):
    """No model can be opened here: none may be asked."""
    sides = [
        [DataRecord(f"{side}{i}", text, f"{side}{i}") for i, text in enumerate(texts)]
        for side, texts in (("m", members), ("c", controls))
    ]
    return opened(SimpleNamespace(context=1), *sides)


def need(**parameters: Any) -> Need:
    return Need(observer="blind-baseline", dataset="members+controls", model=None, parameters=parameters)


def test_it_meets_the_protocol_and_writes_what_it_declares():
    assert isinstance(OBSERVER, Observer)
    check_columns(OBSERVER, need(), subject(speak(RNG(0), 12), speak(RNG(1), 9)))


def test_every_record_has_a_row_and_half_of_each_side_is_scored():
    found = rows(OBSERVER, need(), subject(speak(RNG(0), 12), speak(RNG(1), 9)))
    assert [row["id"] for row in found] == [f"m{i}" for i in range(12)] + [f"c{i}" for i in range(9)]
    assert [row["member"] for row in found] == [True] * 12 + [False] * 9
    assert sum(row["scored"] for row in found if row["member"]) == 6
    assert sum(row["scored"] for row in found if not row["member"]) in {4, 5}
    for row in found:
        assert {bool(np.isnan(row[name])) for name in NAMES} == {not row["scored"]}
    sampled = rows(OBSERVER, need(records=5), subject(speak(RNG(0), 12), speak(RNG(1), 9)))
    assert len(sampled) == 10


def test_the_same_seed_gives_the_same_scores():
    texts, member = speak(RNG(0), 40), np.arange(40) % 2 == 0
    one, two = (taught_and_scored(texts, member, own(40), RNG(3)) for _ in range(2))
    assert one[0].tolist() == two[0].tolist()
    for name in NAMES:
        np.testing.assert_array_equal(one[1][name], two[1][name])


sides = st.sampled_from(["m", "c", "mc"])


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(sides, st.integers(1, 9)), min_size=12, max_size=30), st.integers(0, 999))
def test_a_cluster_is_never_divided_and_the_halves_are_alike(clusters, seed):
    clusters = [("m", 2), ("m", 1), ("m", 1), ("m", 1), ("c", 3), ("c", 1), ("c", 1), ("c", 1), *clusters]
    member, labels = [], []
    for number, (kind, size) in enumerate(clusters):
        member += [side == "m" for side in kind * size]
        labels += [f"{kind}-{number}"] * (len(kind) * size)
    member, labels = np.array(member), np.array(labels, dtype=object)
    scored = halves(member, labels, RNG(seed))
    parts = [set(labels[part]) for part in (scored, ~scored)]
    assert not parts[0] & parts[1]
    for kind in ("m", "c", "mc"):
        there = [[label for label in part if label.split("-")[0] == kind] for part in parts]
        assert abs(len(there[0]) - len(there[1])) <= 1
        records = [int(np.isin(labels, part).sum()) for part in there]
        assert abs(records[0] - records[1]) <= max((len(k) * size for k, size in clusters if k == kind), default=0)


def test_every_cluster_is_scored_as_often_as_it_teaches():
    member = np.array([True] * 9 + [False] * 6)
    labels = np.array(["big"] * 3 + [f"m{i}" for i in range(6)] + [f"c{i}" for i in range(5)] + ["m0"], dtype=object)
    shares = np.mean([halves(member, labels, RNG(seed)) for seed in range(2000)], axis=0)
    assert np.abs(shares - 0.5).max() < 5 * 0.5 / np.sqrt(2000)


@pytest.mark.parametrize(("members", "controls", "who"), [(3, 9, "members"), (9, 3, "controls"), (9, 1, "controls")])
def test_too_few_persons_to_halve_are_a_reason_not_to_run(members, controls, who):
    member = np.array([True] * 18 + [False] * 18)
    labels = np.array([f"m{i % members}" for i in range(18)] + [f"c{i % controls}" for i in range(18)], dtype=object)
    with pytest.raises(UnsupportedError, match=f"the {who} come from {min(members, controls)} persons"):
        halves(member, labels, RNG(0))


def test_four_persons_on_each_side_are_enough():
    texts, member = speak(RNG(0), 8), np.arange(8) < 4
    scored, scores = taught_and_scored(texts, member, own(8), RNG(0))
    assert scored.sum() == 4
    assert all(np.isfinite(values[scored]).all() for values in scores.values())


def test_nothing_of_the_scored_half_is_learnt():
    """Not its vocabulary, not its frequencies: changing every other scored text leaves a score as it was, to the bit."""
    texts, member = speak(RNG(0), 60), np.arange(60) % 2 == 0
    scored, before = taught_and_scored(texts, member, own(60), RNG(1))
    kept = np.flatnonzero(scored)[::2]
    other = [
        text if not scored[i] or i in kept else f"{text} zebra quartz {2019 + i}\n" * 5 for i, text in enumerate(texts)
    ]
    again, after = taught_and_scored(other, member, own(60), RNG(1))
    assert scored.tolist() == again.tolist()
    for name in NAMES:
        np.testing.assert_array_equal(before[name][kept], after[name][kept])
        assert not np.array_equal(before[name][scored], after[name][scored])


def test_words_that_never_recur_teach_nothing():
    texts = [f"w{i}" for i in range(20)]
    scored, scores = taught_and_scored(texts, np.arange(20) % 2 == 0, own(20), RNG(0))
    assert set(scores["bag_of_words"][scored]) == {0.0}


def test_long_texts_do_not_tie():
    """Probabilities of long texts round to 0 and 1; log-odds still tell them apart."""
    rng = RNG(0)
    texts = [*speak(rng, 60, lean=1.0, length=800), *speak(rng, 60, length=800)]
    scored, scores = taught_and_scored(texts, np.arange(120) < 60, own(120), rng)
    found = scores["bag_of_words"][scored]
    assert np.abs(found).max() > 36.8  # where a probability rounds to 1
    assert len(set(found.tolist())) == 60


def test_ngrams_are_counted_as_another_vectorizer_counts_them():
    texts = ["Ab  ab\tc", "", "x", "ß\U0001f600 naïve NAÏVE", "aaaaaaa"]
    counted = CountVectorizer(analyzer="char", ngram_range=(1, 5)).fit_transform(texts).toarray()
    hashed = hashed_ngrams(texts).toarray()
    assert hashed.shape == (5, HASHED)
    for mine, theirs in zip(hashed, counted, strict=True):
        assert sorted(mine[mine > 0]) == sorted(theirs[theirs > 0])  # no two of these n-grams share a bucket
    assert hashed_ngrams(["\ud800"]).sum() == 1  # half of a surrogate pair, as JSON allows


def test_ngrams_are_spread_over_all_buckets():
    used = hashed_ngrams([" ".join(speak(RNG(0), 3000))])
    grams = len(CountVectorizer(analyzer="char", ngram_range=(1, 5)).fit([" ".join(speak(RNG(0), 3000))]).vocabulary_)
    expected = HASHED * -np.expm1(grams * np.log1p(-1.0 / HASHED))
    assert used.nnz == pytest.approx(expected, rel=0.02)


def areas(texts, member, clusters, seed):
    """Area and joint 95 % interval of each classifier."""
    scored, scores = taught_and_scored(texts, member, clusters, RNG(seed))
    first, second = scored & member, scored & ~member
    return {
        name: auc_interval(values[first], values[second], EACH, clusters[first], clusters[second])
        for name, values in scores.items()
    }


def test_the_intervals_hold_where_members_and_controls_are_exchangeable():
    """Pooled over five folds, areas spread 1.4 times as wide as Mann-Whitney says and one audit in nine fired."""
    audits, alarms, seen = 150, 0, {name: [] for name in NAMES}
    for seed in range(audits):
        rng = RNG([5, seed])
        found = areas(speak(rng, 100), rng.permutation(np.arange(100) < 50), own(100), seed)
        alarms += max(interval.low for interval in found.values()) > 0.5
        for name in NAMES:
            seen[name].append(found[name].value)
    assert alarms <= 7  # 5 of 100; expected are 2.5
    for name in NAMES:
        assert np.mean(seen[name]) == pytest.approx(0.5, abs=4 * null_sd_auc(25, 25) / np.sqrt(audits)), name
        assert 0.8 < np.std(seen[name]) / null_sd_auc(25, 25) < 1.2, name


def test_the_intervals_hold_where_persons_have_many_records():
    """Each person has words of his own; were his records divided, any classifier would know him again."""
    audits, persons, alarms = 60, 40, 0
    for seed in range(audits):
        rng = RNG([6, seed])
        texts = [f"{text} {'mine' + str(i // 4)}" for i, text in enumerate(speak(rng, 4 * persons))]
        member = np.repeat(rng.permutation(np.arange(persons) < persons // 2), 4)
        clusters = np.repeat(own(persons), 4)
        alarms += max(interval.low for interval in areas(texts, member, clusters, seed).values()) > 0.5
    assert alarms <= 3  # 5 of 100


def test_the_lower_bound_holds_where_members_differ():
    """Against the area of the very classifiers on many fresh texts."""
    audits, fresh = 40, 300
    low, high, sure = 0, 0, 0
    for seed in range(audits):
        rng = RNG([7, seed])
        texts = [*speak(rng, 80, lean=1.0), *speak(rng, 80)]
        new = [*speak(rng, fresh, lean=1.0), *speak(rng, fresh)]  # of each audit: an unlucky draw does not tip all
        member = np.arange(160) < 80
        scored = halves(member, own(160), RNG(seed))
        taught = teach([text for text, out in zip(texts, scored, strict=True) if not out], member[~scored], seed)
        for score in list(taught.values())[:2]:  # the words differ, their lengths do not
            values = score([text for text, out in zip(texts, scored, strict=True) if out])
            found = auc_interval(values[member[scored]], values[~member[scored]], EACH)
            truth = score(new)
            true = auc(truth[:fresh], truth[fresh:])
            low, high, sure = low + (found.low > true), high + (found.high < true), sure + (true > 0.6)
    assert sure > audits
    assert low <= 3  # of 80 at 1/120 each
    assert high <= 3


def test_it_tells_apart_what_can_be_told_apart():
    """Collected later: the years give it away."""
    rng = RNG(0)
    texts = [f"{text} in {2015 + i % 3}" for i, text in enumerate(speak(rng, 120))]
    texts += [f"{text} in {2022 + i % 3}" for i, text in enumerate(speak(rng, 120))]
    found = areas(texts, np.arange(240) < 120, own(240), 0)
    assert min(found[name].low for name in NAMES) > 0.55
