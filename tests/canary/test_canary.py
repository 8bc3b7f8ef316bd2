"""Canaries before there is a model: committed to, flipped fairly, planted exactly as often as said, nothing overwritten."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from auditor.canary.formats import FORMATS
from auditor.canary.make import make
from auditor.canary.plant import count_planted, plant, planted_texts
from auditor.core.canary import HOLE, WITHHELD, CanaryFormat, CanarySet
from auditor.core.record import digest_of
from auditor.core.subject import RecordsSpec
from auditor.errors import AuditorError, DataError, StorageError
from auditor.subjects.canaries import read_canaries
from auditor.subjects.data import FileRecords

TIERS = (1, 3, 8)
PER_TIER = 10
DIGITS = tuple("0123456789")


def made(seed: int = 0, **options: Any) -> CanarySet:
    return make(FORMATS, TIERS, PER_TIER, seed, nonce=b"n" * 32, **options)


def form(**changes: Any) -> CanaryFormat:
    plain: dict[str, Any] = {"id": "f", "template": f"x {HOLE} y", "symbols": DIGITS, "length": 5, "separator": " "}
    return CanaryFormat(**(plain | changes))


def refused(act: Callable[[], Any], kind: type[AuditorError] = DataError) -> AuditorError:
    with pytest.raises(kind) as caught:
        act()
    assert caught.value.hint
    return caught.value


# Made


def test_equal_seeds_make_equal_canaries_and_other_seeds_others() -> None:
    assert made(5).canonical() == made(5).canonical()
    mine, others = made(5), made(6)
    assert not {canary.secret for canary in mine.canaries} & {canary.secret for canary in others.canaries}
    assert mine.commitment != others.commitment


def test_tiers_and_formats_are_spread_evenly_and_ids_are_unique() -> None:
    found = made()
    assert Counter(canary.repetitions for canary in found.canaries) == dict.fromkeys(TIERS, PER_TIER)
    assert set(Counter(canary.format for canary in found.canaries).values()) == {6}
    assert len({canary.id for canary in found.canaries}) == len(found.canaries)


@pytest.mark.parametrize("built_in", FORMATS, ids=lambda form: form.id)
def test_a_built_in_format_can_show_sixteen_bits(built_in: CanaryFormat) -> None:
    assert built_in.bits > 16
    assert built_in.template.count(HOLE) == 1
    assert len(set(built_in.symbols)) == len(built_in.symbols)
    filled = built_in.fill(built_in.secret((0,) * built_in.length))
    assert HOLE not in filled
    assert filled == filled.strip()


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(0, 2**53 - 1))
def test_secrets_are_of_their_space_and_all_different(seed: int) -> None:
    found = made(seed)
    filled = [found.format_of(canary).fill(canary.secret) for canary in found.canaries]
    assert len(set(filled)) == len(filled)
    for canary in found.canaries:
        own = found.format_of(canary)
        symbols = canary.secret.split(own.separator)
        assert len(symbols) == own.length
        assert set(symbols) <= set(own.symbols)


def test_secrets_stay_different_in_a_crowded_space() -> None:
    small = form(length=3)  # 1000 secrets for 250 canaries: about 31 pairs would be equal
    found = make([small], [1], 250, 0)
    assert len({canary.secret for canary in found.canaries}) == 250


def test_coins_are_fair_and_do_not_depend_on_tier_format_or_neighbour() -> None:
    flips = np.array([[canary.planted for canary in made(seed).canaries] for seed in range(400)])
    # Two-sided binomial tests at 1e-4 on fixed seeds: a bias of two per cent in 12,000 flips is 4.4 deviations.
    assert stats.binomtest(int(flips.sum()), flips.size).pvalue > 1e-4
    for start in range(0, 30, PER_TIER):
        tier = flips[:, start : start + PER_TIER]
        assert stats.binomtest(int(tier.sum()), tier.size).pvalue > 1e-4
    for start in range(5):
        of_format = flips[:, start::5]
        assert stats.binomtest(int(of_format.sum()), of_format.size).pvalue > 1e-4
    equal = flips[:, 1:] == flips[:, :-1]
    assert stats.binomtest(int(equal.sum()), equal.size).pvalue > 1e-4
    next_seed = flips[1:] == flips[:-1]
    assert stats.binomtest(int(next_seed.sum()), next_seed.size).pvalue > 1e-4


def test_symbols_are_uniform_at_every_place() -> None:
    rows = [
        [int(digit) for digit in canary.secret.split()]
        for seed in range(40)
        for canary in make([form(length=6)], [1], 50, seed).canaries
    ]
    for place in np.array(rows).T:
        assert stats.chisquare(np.bincount(place, minlength=10)).pvalue > 1e-4


def test_coins_do_not_move_when_the_formats_change() -> None:
    """The coins have a stream of their own: nobody can choose a format to get other flips."""
    one = make([form()], TIERS, PER_TIER, 3)
    other = make(FORMATS, TIERS, PER_TIER, 3)
    assert [canary.planted for canary in one.canaries] == [canary.planted for canary in other.canaries]


@pytest.mark.parametrize(
    ("formats", "tiers", "per_tier", "seed", "said"),
    [
        ([], [1], 5, 0, "at least one format"),
        ([form()], [], 5, 0, "at least one format"),
        ([form()], [0], 5, 0, "not different positive"),
        ([form()], [1, 1], 5, 0, "not different positive"),
        ([form()], [1], 0, 0, "too few"),
        ([form()], [1], 5, -1, "the seed -1"),
        ([form()], [1], 5, 2**53, "the seed"),
        ([form(), form()], [1], 5, 0, "same id"),
        ([form(template="no hole")], [1], 5, 0, "exactly once"),
        ([form(template=HOLE * 2)], [1], 5, 0, "exactly once"),
        ([form(length=2)], [1], 5, 0, "only 100 secrets; 1000 are needed"),
        ([form(length=3)], [1], 251, 0, "only 1000 secrets; 1004 are needed"),
        ([form(symbols=("a", "a", "b"), length=9)], [1], 5, 0, "same secret"),
        ([form(symbols=("1", "11", "2"), length=9, separator="")], [1], 5, 0, "same secret"),
        ([form(symbols=("a", "a b", "b"), length=9)], [1], 5, 0, "same secret"),
    ],
)
def test_canaries_that_would_show_nothing_are_not_made(
    formats: list[CanaryFormat], tiers: list[int], per_tier: int, seed: int, said: str
) -> None:
    assert said in refused(lambda: make(formats, tiers, per_tier, seed)).message


# Committed


def test_the_commitment_is_the_digest_of_everything_else() -> None:
    found = made()
    plain = json.loads(found.canonical())
    assert plain.pop("commitment") == found.commitment == digest_of(plain)


def test_the_commitment_cannot_be_guessed_from_the_seed() -> None:
    """The nonce comes from the system: equal seeds have equal secrets and different commitments."""
    one, other = make(FORMATS, TIERS, PER_TIER, 0), make(FORMATS, TIERS, PER_TIER, 0)
    assert one.canaries == other.canaries
    assert one.nonce != other.nonce
    assert one.commitment != other.commitment


def test_what_is_shared_holds_no_secret_and_no_nonce() -> None:
    found = made()
    shown = found.withheld().canonical().decode()
    assert not [canary for canary in found.canaries if canary.secret in shown]
    assert found.nonce not in shown
    assert shown.count(WITHHELD) == len(found.canaries)
    assert found.commitment in shown


def _flip(plain: dict[str, Any]) -> None:
    plain["canaries"][3]["planted"] = not plain["canaries"][3]["planted"]


def _other_secret(plain: dict[str, Any]) -> None:
    plain["canaries"][0]["secret"] = "0 0 0 0 0 0"


def _drop(plain: dict[str, Any]) -> None:
    del plain["canaries"][7]


def _swap(plain: dict[str, Any]) -> None:
    plain["canaries"][0], plain["canaries"][1] = plain["canaries"][1], plain["canaries"][0]


def _repeat(plain: dict[str, Any]) -> None:
    plain["canaries"][0]["repetitions"] += 1


def _nonce(plain: dict[str, Any]) -> None:
    plain["nonce"] = "0" * 64


@pytest.mark.parametrize("change", [_flip, _other_secret, _drop, _swap, _repeat, _nonce])
def test_whatever_is_changed_afterwards_breaks_the_commitment(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    path = tmp_path / "canaries.json"
    path.write_bytes(made().canonical())
    assert read_canaries(path) == made()
    plain = json.loads(path.read_bytes())
    change(plain)
    path.write_text(json.dumps(plain))
    assert "commitment does not fit" in refused(lambda: read_canaries(path)).message


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"7", b"not json", b"{}", b'{"seed": 1, "seed": 2}', b"\xff", b"[" * 100_000]
)
def test_a_manifest_that_is_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "canaries.json"
    path.write_bytes(content)
    assert str(path) in refused(lambda: read_canaries(path)).message
    path.unlink()
    assert "cannot be read" in refused(lambda: read_canaries(path)).message


def test_a_damaged_manifest_does_not_print_a_secret(tmp_path: Path) -> None:
    plain = json.loads(made().canonical())
    plain["canaries"][0]["secret"] = ["hunter2"]
    path = tmp_path / "canaries.json"
    path.write_text(json.dumps(plain))
    error = refused(lambda: read_canaries(path))
    assert "canaries.0.secret" in error.message
    assert "hunter2" not in error.message


def test_a_canary_of_an_unknown_format(tmp_path: Path) -> None:
    plain = json.loads(made().canonical())
    plain["canaries"][0]["format"] = "nobody"
    del plain["commitment"]
    plain["commitment"] = digest_of(plain)
    path = tmp_path / "canaries.json"
    path.write_text(json.dumps(plain))
    assert "'nobody'" in refused(lambda: read_canaries(path)).message


# Planted

ROWS = [
    {"id": f"r{number}", "text": text, "more": number % 3}
    for number, text in enumerate(
        [
            "plain",
            'quoted "words", with a comma',
            "two\nlines",
            "line\u2028separator and next\u0085line and form\x0cfeed",
            "Straße 東京 \U0001f600",
            *(f"record number {number}" for number in range(40)),
        ]
    )
]


def write(kind: str, base: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    path = base / f"data.{kind}"
    if kind == "jsonl":
        lines = [json.dumps(row, ensure_ascii=number % 2 == 0) for number, row in enumerate(rows)]
        path.write_bytes(("\n".join(lines) + "\n").encode())
    elif kind == "csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path = base / "folder"
        (path / "deeper").mkdir(parents=True)
        for number, row in enumerate(rows):
            (path / ("deeper" if number % 2 else ".") / f"{row['id']}.txt").write_bytes(row["text"].encode())
    return path


def texts(path: Path, **columns: str) -> list[tuple[str, str]]:
    """Return id and text of every record, as an audit reads them."""
    records = FileRecords(RecordsSpec(path=path.name, **columns), path.parent)
    return [(record.id, record.text) for record in records.sample(None, 0, 0, len(records))]


def expected_counts(canaries: CanarySet) -> dict[str, int]:
    return {canary.id: canary.repetitions * canary.planted for canary in canaries.canaries}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "folder"])
def test_every_canary_is_planted_exactly_as_often_as_its_coin_and_tier_say(kind: str, tmp_path: Path) -> None:
    canaries, data = made(), write(kind, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    out = tmp_path / "new" / ("out" if kind == "folder" else f"out.{kind}")
    report = plant(canaries, data, out)
    assert count_planted(canaries, out) == expected_counts(canaries)
    assert count_planted(canaries, data) == dict.fromkeys(expected_counts(canaries), 0)
    lines = sum(expected_counts(canaries).values())
    assert (report.records, report.planted) == (len(ROWS), lines)
    assert report.canaries == sum(canary.planted for canary in canaries.canaries)
    columns = {} if kind == "folder" else {"id": "id"}
    found, had = texts(out, **columns), texts(data, **columns)
    assert len(found) == len(had) + lines
    known = {words for _, words in planted_texts(canaries)}
    assert [record for record in found if record[1].strip() not in known] == had  # in order, byte for byte
    assert Counter(words.strip() for _, words in found if words.strip() in known) == Counter(
        words for _, words in planted_texts(canaries)
    )
    assert {path: path.read_bytes() for path in before} == before
    assert not list(tmp_path.rglob("*.draft"))


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_columns_of_records_are_kept(kind: str, tmp_path: Path) -> None:
    data, out = write(kind, tmp_path), tmp_path / f"out.{kind}"
    plant(made(), data, out)
    if kind == "parquet":
        rows = pq.read_table(out).to_pylist()
        assert pq.read_schema(out).equals(pq.read_schema(data))
    elif kind == "csv":
        with out.open(encoding="utf-8", newline="") as stream:
            rows = [
                row | {"more": int(row["more"])}
                for row in csv.DictReader(stream)
                if row["id"] in {r["id"] for r in ROWS}
            ]
    else:
        rows = [json.loads(line) for line in out.read_bytes().split(b"\n") if line]
        assert set(data.read_bytes().split(b"\n")) <= set(out.read_bytes().split(b"\n"))
    mine = {row["id"] for row in ROWS}
    assert [row for row in rows if row["id"] in mine] == ROWS


def test_planting_depends_on_the_seed_alone(tmp_path: Path) -> None:
    data = write("jsonl", tmp_path)
    for name in ("a", "b"):
        plant(made(3), data, tmp_path / f"{name}.jsonl")
    plant(made(4), data, tmp_path / "c.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert (tmp_path / "a.jsonl").read_bytes() != (tmp_path / "c.jsonl").read_bytes()


def test_lines_are_planted_all_over_the_data_and_in_mixed_order(tmp_path: Path) -> None:
    rows = [{"text": f"record {number}"} for number in range(400)]
    data = write("jsonl", tmp_path, rows)
    places: list[float] = []
    ranks: list[float] = []
    for seed in range(10):
        canaries = make(FORMATS, (1, 16), 10, seed)
        plant(canaries, data, tmp_path / f"{seed}.jsonl")
        lines = [json.loads(line)["text"] for line in (tmp_path / f"{seed}.jsonl").read_text().splitlines()]
        order = {words: number for number, (_, words) in enumerate(planted_texts(canaries))}
        records = 0
        for line in lines:
            if line in order:
                places.append((records + 0.5) / 401)
                ranks.append(order[line])
            else:
                records += 1
    assert stats.kstest(places, "uniform").pvalue > 1e-4
    assert abs(stats.spearmanr(places, ranks).statistic) < 4 / len(places) ** 0.5


def test_ids_of_a_table_go_on_as_they_are(tmp_path: Path) -> None:
    table = pa.table(
        {"id": pa.array([4, 9], pa.int64()), "text": pa.array(["a", "b"]), "n": pa.array([1, 2], pa.timestamp("ns"))}
    )
    pq.write_table(table, tmp_path / "data.parquet")
    plant(made(), tmp_path / "data.parquet", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    ids = found.column("id").to_pylist()
    assert len(set(ids)) == len(ids)
    assert set(ids) == {4, 9, *range(10, 8 + len(ids))}
    assert found.column("n").null_count == len(ids) - 2
    texts(tmp_path / "out.parquet", id="id")


def test_a_column_of_few_words_takes_the_lines_too(tmp_path: Path) -> None:
    words = pa.array(["a", "b", "a"]).dictionary_encode()
    pq.write_table(pa.table({"text": words}), tmp_path / "data.parquet")
    plant(made(), tmp_path / "data.parquet", tmp_path / "out.parquet")
    assert count_planted(made(), tmp_path / "out.parquet") == expected_counts(made())


def test_a_table_that_cannot_take_a_line(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("text", pa.string()), pa.field("n", pa.int64(), nullable=False)])
    pq.write_table(pa.Table.from_pylist([{"text": "a", "n": 1}], schema=schema), tmp_path / "data.parquet")
    refused(lambda: plant(made(), tmp_path / "data.parquet", tmp_path / "out.parquet"))
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "folder"])
@pytest.mark.parametrize("planted", [True, False])
def test_a_canary_that_occurs_by_accident_is_refused(kind: str, planted: bool, tmp_path: Path) -> None:
    """Also one the coin left out: with its text in the data it would be no control."""
    canaries = made()
    canary = next(canary for canary in canaries.canaries if canary.planted is planted)
    words = canaries.format_of(canary).fill(canary.secret)
    data = write(kind, tmp_path, [*ROWS, {"id": "accident", "text": f'He said: "{words}"', "more": 0}])
    error = refused(lambda: plant(canaries, data, tmp_path / f"out.{kind}"))
    assert f"'{canary.id}' already occurs" in error.message
    assert canary.secret not in error.message + error.hint
    assert not (tmp_path / f"out.{kind}").exists()


def test_an_accident_is_found_however_json_spells_it(tmp_path: Path) -> None:
    canaries = make([form(template=f'Der Schlüssel "{HOLE}" passt')], [1], 4, 0)
    words = canaries.formats[0].fill(canaries.canaries[0].secret)
    data = tmp_path / "data.jsonl"
    for row in ({"text": words}, {"text": "a", "turns": [{"says": words}]}):
        for ascii_only in (True, False):
            data.write_text(json.dumps(row, ensure_ascii=ascii_only) + "\n", encoding="utf-8")
            assert "already occurs" in refused(lambda: plant(canaries, data, tmp_path / "out.jsonl")).message
            assert count_planted(canaries, data)[canaries.canaries[0].id] == 1


def test_copies_that_a_pipeline_removed_are_missed(tmp_path: Path) -> None:
    canaries, data = made(), write("jsonl", tmp_path)
    plant(canaries, data, tmp_path / "out.jsonl")
    unique = {json.loads(line)["text"]: line for line in (tmp_path / "out.jsonl").read_bytes().split(b"\n") if line}
    (tmp_path / "deduplicated.jsonl").write_bytes(b"\n".join(unique.values()))
    counts = count_planted(canaries, tmp_path / "deduplicated.jsonl")
    assert counts == {canary.id: int(canary.planted) for canary in canaries.canaries}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "folder"])
def test_nothing_is_overwritten(kind: str, tmp_path: Path) -> None:
    data = write(kind, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert "exists already" in refused(lambda: plant(made(), data, data)).message
    (tmp_path / "kept").write_text("kept")
    assert "exists already" in refused(lambda: plant(made(), data, tmp_path / "kept")).message
    assert (tmp_path / "kept").read_text() == "kept"
    assert {path: path.read_bytes() for path in before} == before


def test_a_folder_is_not_planted_into_itself_nor_over_a_name(tmp_path: Path) -> None:
    data = write("folder", tmp_path)
    assert "lies in the folder" in refused(lambda: plant(made(), data, data / "out")).message
    name = planted_texts(made())[0][0]
    (data / f"{name}.txt").write_text("a record")
    assert f"{name}.txt" in refused(lambda: plant(made(), data, tmp_path / "out")).message
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(lambda: plant(made(), write("jsonl", tmp_path), tmp_path / "file" / "out.jsonl"), StorageError)
    refused(lambda: plant(made(), write("folder", tmp_path), tmp_path / "file" / "out"), StorageError)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data.jsonl", b"", "empty"),
        ("data.jsonl", b"\n\n", "no record"),
        ("data.jsonl", b'{"text": "a"}\nnot json\n', "data.jsonl:2"),
        ("data.jsonl", b'["a"]\n', "data.jsonl:1"),
        ("data.jsonl", b'{"txt": "a"}\n', "no column 'text'"),
        ("data.jsonl", b'{"text": "caf\xe9"}\n', "not UTF-8"),
        ("data.csv", b"id,txt\n1,a\n", "no column 'text'"),
        ("data.csv", b"id,text\n", "no record"),
        ("data.csv", b"id,text\n1,a,b\n", "data.csv:2"),
        ("data.csv", b"id,text\n1,caf\xe9\n", "not UTF-8"),
        ("data.parquet", b"PAR1", "data.parquet"),
        ("data.txt", b"text", ".parquet"),
        ("data.parquet", None, "no such file"),
    ],
)
def test_data_that_cannot_be_planted_in(name: str, content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    error = refused(lambda: plant(made(), tmp_path / name, tmp_path / "out"))
    assert str(tmp_path / name) in error.message
    assert said in error.message
    assert not (tmp_path / "out").exists()


def test_a_byte_order_mark_is_not_planted_behind(tmp_path: Path) -> None:
    for kind in ("jsonl", "csv"):
        data = write(kind, tmp_path)
        data.write_bytes(b"\xef\xbb\xbf" + data.read_bytes())
        plant(made(), data, tmp_path / f"out.{kind}")
        assert b"\xef\xbb\xbf" not in (tmp_path / f"out.{kind}").read_bytes()
        assert len(texts(tmp_path / f"out.{kind}", id="id")) == len(ROWS) + sum(expected_counts(made()).values())


def test_a_saved_dataset_is_not_mistaken_for_a_folder_of_texts(tmp_path: Path) -> None:
    """Text files beside its Arrow files would never be trained on."""
    folder = tmp_path / "saved"
    folder.mkdir()
    table = pa.Table.from_pylist(ROWS)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    error = refused(lambda: plant(made(), folder, tmp_path / "out"))
    assert "saved dataset" in error.message
    assert not (tmp_path / "out").exists()
