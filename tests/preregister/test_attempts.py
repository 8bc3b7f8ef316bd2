"""The record of attempts: nothing that is changed, dropped or put in between goes unseen; nothing stops an audit."""

from __future__ import annotations

import json
import multiprocessing
import os

import pytest
from commitments import digest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.preregister.attempts import FILE, Entry, append, begin, parse, read

quiet = settings(derandomize=True, deadline=None, max_examples=200)


def entry(
    event="begun", *, attempt=None, model="m", data="d", plan="p", time="2026-03-01T09:00:00+00:00", **more
) -> Entry:
    return Entry(
        event=event, attempt=attempt, previous="0" * 64, time=time, model=digest(model), data=digest(data),
        policy=digest("policy"), plan=digest(plan), preregistration=None, **more,
    )  # fmt: skip


def filled(folder, count=6):
    for number in range(count // 2):
        begun = append(folder, entry(time=f"2026-03-0{number + 1}T09:00:00+00:00"))
        append(folder, entry("finished", attempt=begun, exit_code=1))
    return (folder / FILE).read_bytes()


def test_entries_are_chained_and_read_back(tmp_path):
    content = filled(tmp_path)
    found = read(tmp_path)
    assert found.faults == ()
    assert [item.event for item in found.entries.values()] == ["begun", "finished"] * 3
    assert content.count(b"\n") == 6
    names = list(found.entries)
    assert [item.previous for item in found.entries.values()] == ["0" * 64, *names[:-1]]


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    return filled(tmp_path_factory.mktemp("record"))


@quiet
@given(data=st.data())
def test_no_changed_byte_before_the_last_line_goes_unseen(content, data):
    place = data.draw(st.integers(0, content.rstrip(b"\n").rfind(b"\n")))
    changed = bytearray(content)
    changed[place] ^= data.draw(st.integers(1, 255))
    assert parse(bytes(changed)).faults


@quiet
@given(data=st.data())
def test_no_line_is_dropped_doubled_or_moved_unseen(content, data):
    lines = content.splitlines(keepends=True)
    first = data.draw(st.integers(0, len(lines) - 2))
    second = data.draw(st.integers(0, len(lines) - 1).filter(lambda place: place != first))
    dropped = lines[:first] + lines[first + 1 :]
    doubled = [*lines[: first + 1], *lines[first:]]
    swapped = list(lines)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    for changed in (dropped, doubled, swapped):
        assert parse(b"".join(changed)).faults


@quiet
@given(noise=st.binary(max_size=300))
def test_noise_is_read_without_a_fault_of_ours(noise):
    found = parse(noise)
    assert found.faults or not noise.strip(b"") or not noise


def test_a_writer_that_was_stopped_leaves_a_torn_line_that_stays_visible(tmp_path):
    content = filled(tmp_path, 2)
    (tmp_path / FILE).write_bytes(content + b'{"attempt":null,"da')
    assert read(tmp_path).faults == ("line 3 cannot be read",)
    append(tmp_path, entry())
    found = read(tmp_path)
    assert found.faults == ("line 3 cannot be read",)
    assert len(found.entries) == 3


def test_what_came_before_is_counted_apart(tmp_path):
    (tmp_path / "beside").mkdir()
    places = [(tmp_path, "beside the subject file"), (tmp_path / "beside", "beside the bundle")]
    first = begin(places, entry(time="2026-03-01T09:00:00+00:00"), committed=None)
    assert (first.earlier, first.finished, first.same_plan, first.other_data, first.before_commitment) == (
        0,
        0,
        0,
        0,
        None,
    )
    append(tmp_path, entry("resumed", attempt=first.attempt))
    append(tmp_path, entry("finished", attempt=first.attempt, exit_code=0))
    append(tmp_path, entry(plan="another"))
    append(tmp_path, entry(data="other"))
    append(tmp_path, entry(model="other"))
    append(tmp_path / "beside", entry(plan="elsewhere", time="2026-03-05T09:00:00+00:00"))
    found = begin(places, entry(), committed="2026-03-04T00:00:00+00:00")
    assert (found.earlier, found.finished, found.same_plan, found.other_data) == (3, 1, 1, 1)
    assert found.before_commitment == 2
    assert (found.kept, found.faults) == ("beside the subject file", ())


def test_a_record_that_cannot_be_relied_on_is_counted_and_named(tmp_path):
    content = filled(tmp_path)
    lines = content.splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(b"".join(lines[2:]))
    found = begin([(tmp_path, "beside the subject file")], entry(), committed=None)
    assert found.earlier == 2
    assert "lines were changed or are missing" in found.faults[0]


def test_a_link_is_never_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"")
    (tmp_path / FILE).symlink_to(tmp_path / "victim")
    (tmp_path / "out").mkdir()
    places = [(tmp_path, "beside the subject file"), (tmp_path / "out", "beside the bundle")]
    found = begin(places, entry(), committed=None)
    assert found.kept == "beside the bundle"
    assert found.faults
    assert (tmp_path / "victim").read_bytes() == b""


def test_where_nothing_can_be_written_the_audit_goes_on_and_says_so(tmp_path):
    (tmp_path / FILE).mkdir()
    found = begin([(tmp_path, "beside the subject file")], entry(), committed=None)
    assert found.kept == "nowhere"
    assert any("could not be written" in fault for fault in found.faults)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / FILE)
    assert read(tmp_path).faults == ("it cannot be read (not a regular file)",)


def _write(folder):
    for _ in range(20):
        append(folder, entry())


def test_writers_at_the_same_time_keep_one_chain(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = read(tmp_path)
    assert found.faults == ()
    assert len(found.entries) == 60
    assert all(json.loads(line) for line in (tmp_path / FILE).read_bytes().splitlines())
