"""The whole way for image generators, through the command line: classes, captions, a kill inside a caption, pictures in the report."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sample_audit import ROOT, auditor, quickly
from sample_images import CLASS_TESTS, PROMPTED, RECORDS, REPEATED, TEXT_TESTS, digits, image_policy
from scipy.stats import mannwhitneyu
from test_audit import digests

SHARD = 16
"""Images of a shard of prompted generations."""


def findings_of(bundle: Path) -> dict[str, dict]:
    return {item["test"]: item for item in json.loads((bundle / "findings.json").read_text())}


def observations(bundle: Path, observer: str) -> list[Path]:
    """Return the folders of an observer's observations of the audited subject."""
    jobs = [(job["id"], job["observation"]) for job in json.loads((bundle / "plan.json").read_text())["jobs"]]
    return [
        bundle / "observations" / name
        for name, made in jobs
        if made["observer"] == observer and made["subject"] == "audited"
    ]


def holds(bundle: Path, cert: Path) -> None:
    done = auditor("verify", bundle, "--trust", cert)
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"^\(\d\) holds", done.stdout, re.MULTILINE)) == 9


def test_classes_what_was_repeated_comes_out_and_nothing_else(class_bundle):
    """The digits that stood in training twenty times are made again; the others and the controls are not."""
    findings = findings_of(class_bundle)
    extraction, duplication = findings["diffusion/extraction"], findings["diffusion/duplication"]
    assert extraction["outcome"] == duplication["outcome"] == "signal"
    assert extraction["measurement"]["control"]["value"] == 0.0
    assert 0.5 * REPEATED < extraction["measurement"]["estimate"]["value"] * RECORDS <= REPEATED
    assert duplication["measurement"]["estimate"]["value"] > 0.5
    assert duplication["measurement"]["control"]["value"] == 0.0
    for test in ("diffusion/inpainting", "diffusion/membership"):
        # Forty images cannot show that members and controls are alike, so nothing may be read from these.
        assert findings[test]["outcome"] == "inconclusive"
        assert "independent records" in findings[test]["reason"]


def test_classes_tests_of_captions_say_why_they_cannot_run(class_bundle, class_place):
    findings = findings_of(class_bundle)
    assert list(findings) == list(CLASS_TESTS)
    planned = auditor("plan", class_place.subject, "--policy", class_place.policy, "--no-time").stdout
    for test in ("diffusion/prompted-extraction", "diffusion/prompt-memorization"):
        assert findings[test]["outcome"] == "not_run"
        assert "conditioned on classes" in findings[test]["reason"]
        assert findings[test]["measurement"] is None
    assert planned.count("conditioned on classes") == 2


def test_classes_the_exit_code_says_that_something_was_found(class_bundle):
    assert json.loads((class_bundle / "assessment.json").read_text())["exit_code"] == 1


def test_classes_the_bundle_holds(class_bundle, class_place):
    holds(class_bundle, class_place.cert)


def test_captions_all_seven_tests_run(text_bundle, text_place):
    findings = findings_of(text_bundle)
    assert list(findings) == list(TEXT_TESTS)
    assert len(findings) == 7
    for test, found in findings.items():
        assert found["outcome"] in {"signal", "no_signal", "inconclusive"}, (test, found["reason"])
        assert found["measurement"]["members"] > 0, test
        assert found["measurement"]["controls"] > 0, test
    holds(text_bundle, text_place.cert)


def test_captions_the_instrument_was_calibrated(text_bundle):
    checks = json.loads((text_bundle / "instrument.json").read_text())
    assert len(checks) == 2 * len(TEXT_TESTS)
    assert all(check["held"] for check in checks), [check for check in checks if not check["held"]]


def test_captions_what_was_repeated_is_met_more_nearly(text_bundle):
    """What is made from the caption of a digit that was shown twenty times lies nearer to it than from one shown once."""
    folder = observations(text_bundle, "prompted-generations")[0]
    shards = [
        pq.read_table(path, columns=["copies", "own_distance"]) for path in sorted(folder.glob("shard-*.parquet"))
    ]
    made = pa.concat_tables(shards)
    nearest = made["own_distance"].to_numpy().reshape(RECORDS, -1).min(axis=1)
    repeated = made["copies"].to_numpy().reshape(RECORDS, -1)[:, 0] > 1
    assert repeated.sum() == REPEATED
    assert mannwhitneyu(nearest[repeated], nearest[~repeated], alternative="less").pvalue < 0.01


def test_captions_killed_inside_a_caption_it_goes_on_and_finds_the_same(text_bundle, text_place, tmp_path):
    """`kill -9` where a shard ends inside a caption: its images are read back, and the audit ends in the same bytes."""
    out = tmp_path / "bundle"
    command = [sys.executable, "-m", "auditor", "run", text_place.subject, "--policy", text_place.policy, "--out", out]
    command += ["-q", "--key", text_place.key, "--cert", text_place.cert]
    process = subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    first = observations(text_bundle, "prompted-generations")[0].name
    made: list[Path] = []
    while process.poll() is None:
        made = sorted((out / "observations" / first).glob("shard-*.parquet"))
        if len(made) >= 2 and SHARD * len(made) % PROMPTED["generations"]:
            process.send_signal(signal.SIGSTOP)  # nothing is written between the look and the kill
            made = sorted((out / "observations" / first).glob("shard-*.parquet"))
            if SHARD * len(made) % PROMPTED["generations"]:
                break
            process.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 2 <= len(made) < RECORDS * PROMPTED["generations"] // SHARD, "it was not stopped inside the observation"
    kept = {path: path.stat().st_mtime_ns for path in made}

    assert text_place.run(out).returncode == json.loads((text_bundle / "assessment.json").read_text())["exit_code"]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # finished shards are not made again
    assert digests(out) == digests(text_bundle)
    names = ["id", "number", "own_distance", "distances"]
    for path in sorted(observations(text_bundle, "prompted-generations")[0].glob("shard-*.parquet")):
        again = pq.read_table(out / "observations" / first / path.name, columns=names)
        assert again.equals(pq.read_table(path, columns=names))
    holds(out, text_place.cert)


def pictures_of(bundle: Path) -> list[tuple[str, np.ndarray]]:
    """Return the record and the pixels of every picture among the findings, and see that the report shows the same."""
    html = (bundle / "report.html").read_text()
    found = []
    for item in findings_of(bundle).values():
        for row in (item["measurement"] or {"exhibits": []})["exhibits"]:
            if row["picture"]:
                assert row["picture"] in html
                with Image.open(io.BytesIO(base64.b64decode(row["picture"]))) as image:
                    found.append((row["record"], np.asarray(image.convert("L"))))
    return found


def originals() -> dict[str, np.ndarray]:
    return {f"members-{row:02d}": image[:, :, 0] for row, image in enumerate(digits()[0][:RECORDS])}


def right_half(picture: np.ndarray) -> np.ndarray:
    """Return the original's side of a picture: eight blocks of equal pixels a side, or fewer where it is masked."""
    side = picture[:, -picture.shape[0] :]
    return side[:: side.shape[0] // 8, :: side.shape[1] // 8]


def test_masked_pictures_are_not_the_originals(class_bundle):
    pictures, known = pictures_of(class_bundle), originals()
    assert len(pictures) >= 3
    for record, picture in pictures:
        shown = right_half(picture)
        assert len(np.unique(shown)) <= 4  # four blocks are left of sixty-four pixels
        assert not np.array_equal(shown, known[record])
        np.testing.assert_array_equal(shown[0, 0], np.rint(known[record][:4, :4].mean()))


@pytest.mark.parametrize("exhibits", ["none", "full"])
def test_the_policy_decides_which_pictures_stand_in_the_report(class_place, tmp_path, exhibits):
    asked = {"diffusion/extraction": {"count": 64, "steps": 10}}
    out = tmp_path / "bundle"
    other = dataclasses.replace(class_place, policy=image_policy(tmp_path / "policy.yaml", exhibits, asked))
    done = other.run(out)
    assert done.returncode in {1, 3}, done.stderr
    pictures, known = pictures_of(out), originals()
    if exhibits == "none":
        assert not pictures
        assert not findings_of(out)["diffusion/extraction"]["measurement"]["exhibits"]
        assert "data:image/png" not in (out / "report.html").read_text()
    else:
        assert len(pictures) >= 3
        for record, picture in pictures:
            np.testing.assert_array_equal(right_half(picture), known[record])


def test_a_policy_for_texts_on_images_says_why_nothing_ran(class_place, tmp_path):
    out = tmp_path / "bundle"
    done = dataclasses.replace(class_place, policy=ROOT / "policies" / "edpb-28-2024.yaml").run(out)
    assert done.returncode == 3, done.stderr
    for found in findings_of(out).values():
        assert found["outcome"] == "not_run"
        assert "the test is about texts, and the subject's records are images" in found["reason"]
    assert auditor("verify", out, "--trust", class_place.cert).returncode == 0


def test_a_policy_for_images_on_texts_says_why_nothing_can_run(place):
    done = quickly("plan", place.subject, "--policy", ROOT / "policies" / "edpb-28-2024-images.yaml", "--no-time")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the test is about images, and the subject's records are texts") == 7


@pytest.fixture
def broken(text_place, class_place, tmp_path):
    """Return what copies a subject that a test may break, without its key."""

    def copy(kind: str) -> Path:
        home = (text_place if kind == "captions" else class_place).subject.parent
        shutil.copytree(home, tmp_path / kind, ignore=shutil.ignore_patterns("key"))
        return tmp_path / kind / "subject.yaml"

    return copy


def refused(subject: Path, place, *words: str) -> None:
    done = quickly("plan", subject, "--policy", place.policy, "--no-time")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_a_column_of_captions_that_is_missing(broken, text_place):
    subject = broken("captions")
    subject.write_text(subject.read_text().replace('"words"', '"word"'))
    refused(subject, text_place, "members.parquet", "no column 'word' (named as caption)", "Did you mean 'words'?")


def test_an_image_that_is_broken_is_named_with_its_line(broken, class_place):
    subject = broken("classes")
    image = subject.parent / "members" / "members-03.png"
    image.write_bytes(image.read_bytes()[:40])
    refused(subject, class_place, "metadata.jsonl:4", "members-03.png", "not an image that can be read")


def test_an_image_that_is_broken_in_parquet_is_named_with_its_row(broken, text_place):
    subject = broken("captions")
    path = subject.parent / "controls.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[6]["image"]["bytes"] = b"no image"
    pq.write_table(pa.Table.from_pylist(rows), path)
    refused(subject, text_place, "controls.parquet", "7", "not an image that can be read")


def test_a_pickle_in_the_pipeline(broken, text_place):
    subject = broken("captions")
    weights = subject.parent / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    refused(subject, text_place, "diffusion_pytorch_model.bin", "pickle", "safetensors")


def test_labels_that_the_network_does_not_have(broken, class_place, tmp_path):
    subject = broken("classes")
    path = subject.parent / "members" / "metadata.jsonl"
    path.write_text(path.read_text().replace('"shows": ', '"shows": 1'))
    done = dataclasses.replace(class_place, subject=subject).run(tmp_path / "out")
    assert "Traceback" not in done.stderr
    assert "is no class label of this model" in done.stderr + done.stdout
    assert "from 0 to 9" in done.stderr + done.stdout
