"""Forms of exchange of a real audit: valid, complete, and without a run of what is restricted."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkpoints import command

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "exchange"))

from official import cyclonedx_errors, oscal_errors

RUN, STRIDE = 40, 20
"""Runs of this many letters are looked for, one every so many: 60 letters of restricted text in a row are always found.

Shorter ones stand in plain English on both sides ("the beginning of a").
"""


def restricted_runs(folder: Path) -> set[str]:
    """Every run of letters, digits and spaces in the restricted columns of a bundle."""
    runs: set[str] = set()
    for shard in folder.glob("observations/*/restricted/*.parquet"):
        table = pq.read_table(shard)
        for name in table.column_names:
            column = table[name].combine_chunks()
            while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
                column = column.flatten()
            if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
                continue
            for text in column.to_pylist():
                plain = re.sub(r"\s+", " ", text or "")
                runs.update(plain[at : at + RUN] for at in range(0, len(plain) - RUN + 1, STRIDE))
    return runs


def shared_with(text: str, runs: set[str]) -> list[str]:
    plain = re.sub(r"\s+", " ", text)
    return [plain[at : at + RUN] for at in range(len(plain) - RUN + 1) if plain[at : at + RUN] in runs]


@pytest.fixture(scope="module")
def runs(bundle):
    found = restricted_runs(Path(bundle))
    assert len(found) > 10_000
    longest = max(found, key=len)
    assert shared_with(f"x {longest} y", found)  # what is looked for can be found
    return found


@pytest.mark.parametrize("form", ["oscal", "cyclonedx", "in-toto", "csv", "parquet", "junit"])
def test_no_form_holds_restricted_text_and_each_is_valid(bundle, runs, tmp_path, form):
    out = tmp_path / "made"
    code, _, complaint = command("export", bundle, "--format", form, "--out", out)
    assert code == 0, complaint
    table = json.dumps(pq.read_table(out).to_pylist(), ensure_ascii=False) if form == "parquet" else ""
    text = table or out.read_text(encoding="utf-8")
    assert not shared_with(text, runs)
    if form == "oscal":
        assert oscal_errors(json.loads(text)) == []
    if form == "cyclonedx":
        assert cyclonedx_errors(json.loads(text)) == []


def test_no_model_card_holds_restricted_text(bundle, runs, tmp_path):
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\n---\n# Model\n\n## Evaluation\n\nNone.\n")
    assert command("attach", bundle, card)[0] == 0
    once = card.read_text(encoding="utf-8")
    assert not shared_with(once, runs)
    assert command("attach", bundle, card)[0] == 0
    assert card.read_text(encoding="utf-8") == once
