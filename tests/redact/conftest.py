"""A small bundle with restricted texts, a canary and pictures, and ways to leak them."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from auditor.core.canary import Canary, CanaryFormat, CanarySet
from auditor.core.evidence import Column, Observation
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle
from auditor.evidence.shards import ObservationWriter

SECRET = (
    "Mrs. Ottilie Kranzbühler of Weidengasse 14 was treated for gout in the spring of 1987 and never told her sister."
)
OTHER = (
    "Every Thursday the harbour master counts eleven cormorants, seven gulls and one heron that nobody else has seen."
)
TEXTS = (
    SECRET,
    OTHER,
    "short",
    "Kranzbühler, Ottilie",
    "Ein Satz über die Verarbeitung besonderer Kategorien in Höxter, 中文字符测试文本不应出现",
)
DIGITS = "7 4 9 4 8 4"


def picture(seed: int, side: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, size=(side // 2, side // 2, 3), dtype=np.uint8)
    return coarse.repeat(2, axis=0).repeat(2, axis=1)


def smooth(seed: int, side: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, size=(8, 8, 3), dtype=np.uint8))
    return np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    sink = io.BytesIO()
    Image.fromarray(image).save(sink, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return sink.getvalue()


def observation(name: str) -> Observation:
    return Observation(
        observer=name,
        observer_version=1,
        dataset="members",
        model_role="subject",
        model="ab" * 32,
        data=("1" * 64,),
        parameters={},
        seed=1,
    )


def write_observation(bundle: Bundle, name: str, public: pa.Table, restricted: pa.Table) -> str:
    asked = observation(name)
    writer = ObservationWriter(bundle.observations / asked.identity(), bundle.commitment_key())
    writer.write(0, public, restricted, calls=1, tokens=1)
    columns = [Column(name=one, type="string", unit="none", meaning=one) for one in public.column_names]
    columns += [
        Column(name=one, type="string", unit="none", meaning=f"The {one}.", restricted=True)
        for one in restricted.column_names
    ]
    writer.finish(asked, columns, 1)
    return asked.identity()


CANARIES = CanarySet(
    seed=1,
    formats=(
        CanaryFormat(
            id="code",
            template="The code of the locker in the basement is {secret}.",
            symbols=tuple("0123456789"),
            length=6,
            separator=" ",
        ),
    ),
    canaries=(Canary(id="c1", format="code", secret=DIGITS, repetitions=4, planted=True),),
    nonce="a" * 64,
    commitment="b" * 64,
)


@pytest.fixture(scope="session")
def origin(tmp_path_factory) -> Bundle:
    """The bundle; no test may write into it."""
    bundle = Bundle(tmp_path_factory.mktemp("guarded") / "bundle")
    bundle.prepare()
    public = pa.table({"id": [f"member-{row}" for row in range(len(TEXTS))]})
    tokens = pa.array([[4711 + 13 * row + 7 * place for place in range(20)] for row in range(len(TEXTS))])
    write_observation(bundle, "token-scores", public, pa.table({"text": list(TEXTS), "token_ids": tokens}))
    found = '[["email_address","ottilie.kranz@example.org",""],["phone_number","+49 5271 9876543",""]]'
    write_observation(bundle, "personal-data", pa.table({"id": ["member-0"]}), pa.table({"found": [found]}))
    images = [encoded(picture(1)), encoded(smooth(2)), encoded(np.full((32, 32, 3), 200, dtype=np.uint8))]
    write_observation(bundle, "generations", pa.table({"id": ["i0", "i1", "i2"]}), pa.table({"image": images}))
    bundle.write_record(f"restricted/{layout.CANARIES}", CANARIES)
    bundle.write_record(layout.CANARIES, CANARIES.withheld())
    bundle.write(layout.POLICY, b"title: nothing of interest\n")
    return bundle
