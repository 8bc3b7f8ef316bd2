"""The blind baseline of images: classifiers that never see the model try to tell members from controls by the images alone.

If they can, members and controls differ without the model, and no score of the model says anything about membership (Das, Zhang,
Tramer 2024). One random half of the persons or documents teaches the classifiers and the other half is scored, as for texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.observers.equal_needs import EqualNeeds
from auditor.observers.image_sets import sampled
from auditor.observers.teaching import STUMPS, bag_of_words, halves, stumps, taught
from auditor.subjects.images import FORMATS, Encoding, decode, encoding_of, fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.data import DataRecord

SIDE = 16
"""Pixels along each side of the small grey picture."""
PENALTY = 0.01
"""Inverse strength of the ridge of the logistic regression: neighbouring pixels say much the same."""
CLASSIFIERS = ("pixels", "surface", "captions")
"""The columns of scores."""


class Parameters(Record):
    """Which records are told apart, and by what."""

    records: PositiveInt | None = None
    """Size of the random sample on each side, of which half teaches and half is scored; null: all records."""
    captions: bool = False
    """Also tell them apart by the words of their captions; false, for images without: every score of `captions` is 0."""


class ImageBlindBaselineObserver(EqualNeeds):
    """Scores one half of the records by classifiers that saw only the images and labels of the other half."""

    name = "image-blind-baseline"
    version = 1
    shard_items = 1 << 30  # one shard: the classifiers are taught once
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""
        scores = {
            "pixels": f"Logistic regression on {SIDE} x {SIDE} grey pixels.",
            "surface": f"Gradient boosting ({STUMPS} stumps) on size, format, colours, sharpness and compression.",
            "captions": "Naive Bayes on word counts of the captions; 0 where they are not asked for.",
        }
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="member", type="bool", unit="none", meaning="The record is a member."),
            Column(name="scored", type="bool", unit="none", meaning="The record is scored; the others taught."),
            *(
                Column(name=name, type="double", unit="nat", meaning=f"Log-odds, NaN where it taught: {scores[name]}")
                for name in CLASSIFIERS
            ),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records on both sides."""
        asked = Parameters.from_plain(need.parameters).records
        return sampled(facts, "members", asked) + sampled(facts, "controls", asked)

    def tokens(self, need: Need, facts: Facts) -> int:  # noqa: ARG002
        """Return 0: no model is asked."""
        return 0

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Teach on one half of the records and score the other."""
        asked = Parameters.from_plain(need.parameters)
        rows: list[tuple[str, str, bool, str]] = []
        pixels, surface = [], []
        for dataset in ("members", "controls"):
            for record in opened.records(dataset).sample(asked.records, part.seed, 0, part.stop):
                rows.append((record.id, record.cluster, dataset == "members", record.text))
                small, marks = seen_of(record)
                pixels.append(small)
                surface.append(marks)
        ids, clusters, member, captions = (list(column) for column in zip(*rows, strict=True))
        scored, scores = taught_and_scored(
            np.stack(pixels),
            np.stack(surface),
            captions if asked.captions else None,
            np.array(member),
            np.array(clusters, dtype=object),
            part.rng,
        )
        public = pa.table(
            {
                "id": pa.array(ids, type=pa.string()),
                "cluster": pa.array(clusters, type=pa.string()),
                "member": pa.array(member, type=pa.bool_()),
                "scored": pa.array(scored, type=pa.bool_()),
                **{name: pa.array(scores[name], type=pa.float64()) for name in CLASSIFIERS},
            }
        )
        return Shard(public, None, calls=0, tokens=0)


def taught_and_scored(
    pixels: NDArray[np.float64],
    surface: NDArray[np.float64],
    captions: Sequence[str] | None,
    member: NDArray[np.bool_],
    clusters: NDArray[np.object_],
    rng: np.random.Generator,
) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.float64]]]:
    """Return which records are scored, and each classifier's score of every record, higher for more member-like.

    Args:
        pixels: Grey pixels in [0, 1], shape [records, SIDE * SIDE].
        surface: What `surface_of` sees, shape [records, features].
        captions: Their captions; None: their scores are 0.
        member: The labels, shape [records].
        clusters: The person or document of each record, shape [records].
        rng: Decides the halves and seeds the classifiers.

    Returns:
        The records that are scored, shape [records]; by classifier log-odds, NaN for those that taught, shape [records].

    Raises:
        UnsupportedError: One side has too few persons or documents.
    """
    scored = halves(member, clusters, rng)
    seed = int(rng.integers(2**31))
    scores = {name: np.full(len(member), np.nan) for name in CLASSIFIERS}
    scores["captions"][scored] = 0.0
    for name, classifier, rows in (("pixels", _logistic(), pixels), ("surface", stumps(seed), surface)):
        score = taught(classifier, np.asarray, rows[~scored], member[~scored])
        scores[name][scored] = score(rows[scored])
    if captions is not None:
        teaching = [caption for caption, chosen in zip(captions, scored, strict=True) if not chosen]
        others = [caption for caption, chosen in zip(captions, scored, strict=True) if chosen]
        scores["captions"][scored] = taught(bag_of_words(), list, teaching, member[~scored])(others)
    return scored, scores


def _logistic() -> Any:  # noqa: ANN401  (scikit-learn has no types)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=1000))


def seen_of(record: DataRecord) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the small grey picture, shape [SIDE * SIDE], and what `surface_of` sees; the image is decoded once.

    Raises:
        DataError: The image cannot be decoded.
    """
    where = f"record '{record.id}'"
    image = decode(record.image, where)
    small = fitted(image, (SIDE, SIDE, 1)).reshape(-1) / 255.0
    return np.asarray(small), surface_of(image, encoding_of(record.image, where), len(record.image))


def surface_of(image: NDArray[np.uint8], encoding: Encoding, size: int) -> NDArray[np.float64]:
    """Return what of an image needs no looking at: its size, format, colours, sharpness and compression.

    Args:
        image: Shape [height, width, channels].
        encoding: How it was encoded.
        size: Length of the file, byte.

    Returns:
        Width, height, width by height, channels of the file, bytes per pixel, mean of red, green and blue, deviation of each,
        sharpness (variance of the Laplacian of the grey image), mean of the quantisation tables, EXIF, one flag per format.
    """
    height, width, _ = image.shape
    colours = np.broadcast_to(image, (height, width, 3)).reshape(-1, 3)
    return np.array(
        [
            width,
            height,
            width / height,
            encoding.channels,
            size / (width * height),
            *colours.mean(axis=0),
            *colours.std(axis=0),
            sharpness(image),
            encoding.quantisation,
            encoding.exif,
            *(encoding.format == name for name in FORMATS),
        ],
        dtype=np.float64,
    )


def sharpness(image: NDArray[np.uint8]) -> float:
    """Return the variance of the four-neighbour Laplacian of the mean over channels; 0 for images of fewer than 3 x 3 pixels."""
    if min(image.shape[:2]) < 3:
        return 0.0
    grey = image.mean(axis=2, dtype=np.float32)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4.0 * grey[1:-1, 1:-1]
    return float(laplacian.var(dtype=np.float64))


OBSERVER = ImageBlindBaselineObserver()
