"""What users get wrong: each a message that says what, where and what to do, and the exit code of the design."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import resource
import shutil
from pathlib import Path

import pytest
from sample_audit import auditor, quickly

from auditor.seal.new_key import generate_key


@pytest.fixture
def subject(place, tmp_path) -> Path:
    """A copy of the sample that a test may break."""
    shutil.copytree(place.subject.parent, tmp_path / "subject")
    return tmp_path / "subject" / "subject.yaml"


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def refused(done, *words, code=2):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def plan(subject, *more):
    return quickly("plan", subject, "--no-time", *more)


def test_a_subject_file_that_is_not_there(tmp_path):
    refused(plan(tmp_path / "nothing.yaml"), "nothing.yaml", "auditor init")


def test_an_unknown_key_with_line_and_suggestion(subject):
    edit(subject, "release_context:", "release_contxt:")
    refused(plan(subject), "subject.yaml:", "release_cont")


def test_an_empty_data_file(subject):
    (subject.parent / "train.jsonl").write_text("")
    refused(plan(subject), "train.jsonl", "empty")


def test_a_column_that_is_not_there(subject):
    edit(subject, "members: {path: train.jsonl, text: text", "members: {path: train.jsonl, text: txt")
    refused(plan(subject), "train.jsonl:1", "'txt'", "Did you mean 'text'?")


def test_ids_that_stand_twice(subject):
    data = subject.parent / "train.jsonl"
    lines = data.read_text().splitlines()
    data.write_text("\n".join([*lines, lines[0]]) + "\n")
    refused(plan(subject), f"train.jsonl:{len(lines) + 1}", "train.jsonl:1")


def test_bytes_that_are_not_utf8(subject):
    with (subject.parent / "heldout.jsonl").open("ab") as stream:
        stream.write(b'{"id": "x", "text": "\xff"}\n')
    refused(plan(subject), "heldout.jsonl:", "UTF-8")


def test_members_that_are_the_controls(subject):
    edit(subject, "controls: {path: heldout.jsonl", "controls: {path: train.jsonl")
    refused(plan(subject), "every control record also stands among the members")


def test_no_controls_is_allowed_and_says_what_cannot_run(subject):
    text = subject.read_text()
    subject.write_text("\n".join(line for line in text.splitlines() if "controls" not in line))
    done = plan(subject)
    assert done.returncode == 0, done.stderr
    assert "cannot run" in done.stdout
    assert "no control records" in done.stdout


def test_weights_in_a_pickle(subject):
    model = subject.parent / "model"
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    refused(plan(subject), "pytorch_model.bin", "pickle", "safetensors")


def test_weights_cut_short(subject):
    weights = subject.parent / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    refused(plan(subject), "model.safetensors", "1,000 bytes are missing")


def test_weights_that_are_not_numbers(subject, place, tmp_path):
    from safetensors.numpy import load_file, save_file

    weights = subject.parent / "model" / "model.safetensors"
    tensors = load_file(weights)
    name = next(iter(tensors))
    tensors[name] = tensors[name] * float("nan")
    save_file(tensors, weights, metadata={"format": "pt"})
    done = dataclasses.replace(place, subject=subject).run(tmp_path / "out")
    refused(done, "NaN", name)


def test_a_tokenizer_of_another_model(subject, place, tmp_path):
    path = subject.parent / "model" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 5000, "content": "<other>"})
    path.write_text(json.dumps(tokenizer))
    done = dataclasses.replace(place, subject=subject).run(tmp_path / "out")
    refused(done, "tokenizer", "does not belong")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("language/exposure", "language/exposrue", ["language/exposure", ":"]),
        ("{candidates: 300}", "{candidates: 300}\n    evidence_for: [E28-55-iiii]", ["E28-55-iii"]),
        ("extends: baseline", "extends: baselime", ["baseline", "policy.yaml:4"]),
        ("    because: fewer candidates\n", "", ["policy.yaml:", "without a reason"]),
        ("catalogues: [edpb-28-2024", "catalogues: [edpb-28-2042", ["edpb-28-2024"]),
        ("confidence: 0.95", "confidence: 95", ["confidence", "policy.yaml:"]),
        ("{candidates: 300}", "{candidates: 300}\n    tolerance: {statistic: excess_expose}", ["excess_exposure"]),
        ("candidates: 300", "candidate: 300", ["candidates"]),
        ("seed: 20241217", "seed: 20241217\nseed: 1", ["twice", "policy.yaml:"]),
    ],
)
def test_a_policy_that_is_wrong(place, tmp_path, before, after, words):
    policy = tmp_path / "policy.yaml"
    shutil.copy(place.policy, policy)
    edit(policy, before, after)
    refused(plan(place.subject, "--policy", policy), *words)


def test_a_yaml_bomb(place, tmp_path):
    policy = tmp_path / "bomb.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    policy.write_text("\n".join(lines))
    refused(plan(place.subject, "--policy", policy), "bomb.yaml:", "aliases")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("E28-58-a, GDPR-35", "E28-58-z, GDPR-35", ["Did you mean", "E28-58-", "statements.yaml:"]),
        ("  author: Sample Maintainer\n", "", ["author", "missing"]),
        ('date: "2026-11-21"', 'date: "2999-01-01"', ["future"]),
    ],
)
def test_statements_that_are_wrong(subject, before, after, words):
    edit(subject.parent / "statements.yaml", before, after)
    refused(plan(subject), *words)


def test_coin_flips_changed_after_the_fact(subject):
    manifest = json.loads((subject.parent / "canaries.json").read_text())
    manifest["canaries"][0]["planted"] = not manifest["canaries"][0]["planted"]
    (subject.parent / "canaries.json").write_text(json.dumps(manifest))
    refused(plan(subject), "canaries.json", "commitment")


def test_a_key_that_is_not_there(place, tmp_path):
    done = quickly("run", place.subject, "--key", tmp_path / "no.pem", "--cert", place.cert, "--out", tmp_path / "out")
    refused(done, "no.pem", "auditor keygen")
    assert not (tmp_path / "out").exists()


def test_a_key_that_belongs_to_another_certificate(place, tmp_path):
    quickly("keygen", "--name", "Other", "--out", tmp_path)
    done = quickly(
        "run", place.subject, "--key", tmp_path / "auditor.key.pem", "--cert", place.cert, "--out", tmp_path / "out"
    )
    refused(done, "does not belong to the certificate")


def test_an_expired_certificate_is_refused_before_the_run(place, tmp_path):
    files = generate_key(tmp_path, "Old", now=dt.datetime(2020, 1, 1, tzinfo=dt.UTC), days=30)
    done = quickly("run", place.subject, "--key", files.key, "--cert", files.certificate, "--out", tmp_path / "out")
    refused(done, "expired on 2020-01-31")
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written(place):
    done = quickly("run", place.subject, "--out", "/dev/null/bundle", "--key", place.key, "--cert", place.cert)
    refused(done, "cannot be written", "--out", code=5)


def test_a_full_disk_keeps_what_is_done(place, tmp_path):
    """A limit on the size of files stands for the disk: writing fails in the middle, and the next run goes on."""
    out = tmp_path / "bundle"
    (tmp_path / "policy.yaml").write_text(place.policy.read_text().replace("records: 300", "records: 60"))
    small = dataclasses.replace(place, policy=tmp_path / "policy.yaml")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))

    done = small.run(out, preexec_fn=limit)
    refused(done, "cannot be written", code=5)
    assert (out / "plan.json").exists()
    assert small.run(out).returncode == 1
    assert auditor("verify", out, "--trust", place.cert).returncode == 0


def test_init_writes_files_that_are_understood(tmp_path):
    assert auditor("init", tmp_path / "new").returncode == 0
    refused(auditor("init", tmp_path / "new"), "already")
    done = plan(tmp_path / "new" / "subject.yaml")
    refused(done, "model")  # all that is missing is the model itself


def test_unknown_words_on_the_command_line():
    assert auditor("rnu").returncode == 2
    refused(auditor("clauses", "E28-43-P3"), "E28-43-P")
