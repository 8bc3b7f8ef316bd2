"""A server that fails in every way there is: what is asked again, what is not, what is kept, what is spent."""

from __future__ import annotations

import json
import threading

import pytest
from serving import NAME, Failing, Served, serving

from auditor.core.subject import EndpointBudget, EndpointPrice, EndpointSpec, ModelSpec
from auditor.errors import BudgetError, EndpointError, SubjectError
from auditor.subjects.adapters.completion_endpoint import CompletionEndpointAdapter
from auditor.subjects.endpoint import asking as asking_module
from auditor.subjects.endpoint import transport as transport_module
from auditor.subjects.endpoint.answers import read_completion, read_echo, read_message
from auditor.subjects.endpoint.asking import Asking
from auditor.subjects.endpoint.exchanges import EXCHANGES, LOG, request_name
from auditor.subjects.endpoint.exchanges import KEY as NAMES_KEY
from auditor.subjects.endpoint.transport import HttpTransport, Reply, check_address, read_key

QUESTION = {"model": NAME, "prompt": "a", "max_tokens": 1, "temperature": 0.0}
KEY = "sk-secret-0123456789"


class Fixed(Served):
    """Answers every question alike."""

    def answer(self, path, body):
        with self.lock:
            number = len(self.asked)
        found = {"id": f"c{number}", "created": number, "model": self.name, "choices": [{"text": body["prompt"] + "!"}]}
        if self.fingerprint:
            found["system_fingerprint"] = self.fingerprint
        return 200, found | {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}


class Waits:
    """A clock that nobody waits for."""

    def __init__(self):
        self.now, self.waits = 0.0, []

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


def asking_of(served, waits=None, *, key=None, **settings):
    spec = EndpointSpec(model=NAME, **{"retries": 3, "timeout_s": 5.0, **settings})
    waits = waits or Waits()
    transport = HttpTransport(served.address, key, spec.timeout_s, spec.concurrency)
    return Asking(spec, transport, key, clock=lambda: waits.now, sleep=waits.sleep)


def ask(asking, number=0):
    return asking.ask("/completions", QUESTION | {"prompt": str(number)}, (10, 5))["choices"][0]["text"]


@pytest.fixture
def served():
    with serving(Fixed(object())) as one:
        yield one


@pytest.mark.parametrize(
    "failure",
    [
        Failing(429),
        Failing(500),
        Failing(503, b"<html>", kind="text/html"),
        Failing(200, b'{"choices": [{"text', length=4000),
        Failing(200, b"no JSON at all"),
        Failing(200, b"<html>hello</html>", kind="text/html"),
        Failing(200, b'{"choices": NaN}'),
        Failing(200, b'{"a": 1e999}'),
        Failing(200, b'{"a": "\\ud800"}'),
        Failing(200, b'{"a": 1, "a": 2}'),
        Failing(200, b"\xff\xfe{}"),
        Failing(200, b"[" * 200_000),
        Failing(200, b"{}", headers={"Content-Encoding": "gzip"}),
        Failing(200, b"{}" * 400, drip=0.01),
    ],
    ids=lambda failure: f"{failure.status} {failure.body[:12]!r}",
)
def test_what_may_pass_is_asked_again(served, failure):
    served.failures = [failure, failure]
    waits = Waits()
    asking = asking_of(served, waits, timeout_s=0.5)
    assert ask(asking) == "0!"
    assert len(served.asked) == 3
    assert len(waits.waits) == 2
    # Each wait is drawn from the upper half of one that doubles.
    assert 0.25 <= waits.waits[0] <= 0.5 <= waits.waits[1] <= 1.0
    assert asking.exchanges.calls == 3


def test_waits_are_the_same_for_the_same_question_and_differ_between_questions(served):
    drawn = []
    for number in (0, 0, 1):
        served.failures = [Failing(500)]
        waits = Waits()
        ask(asking_of(served, waits), number)
        drawn.append(waits.waits)
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:20 GMT", "Date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 20.0),
        ({"Retry-After": "Fri, 20 Nov 2026 10:00:20 GMT", "Date": "Sat, 21 Nov 2026 10:00:00 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
    ],
)
def test_the_wait_a_server_asks_for_is_kept(headers, seconds):
    # The loopback server writes a date of its own, so that the reply is made by hand.
    replies = [
        Reply(429, {name.lower(): value for name, value in headers.items()}, {}),
        Reply(200, {}, {"choices": []}),
    ]

    class Scripted:
        def send(self, method, path, body=None):
            return replies.pop(0)

    waits = Waits()
    spec = EndpointSpec(model=NAME)
    Asking(spec, Scripted(), clock=lambda: waits.now, sleep=waits.sleep).ask("/completions", QUESTION, (1, 1))
    assert waits.waits == [seconds] if seconds else 0.25 <= waits.waits[0] <= 0.5


def test_a_server_that_asks_for_an_hour_is_left_alone(served):
    served.failures = [Failing(429, headers={"Retry-After": "3600"})]
    asking = asking_of(served)
    for _ in range(2):
        with pytest.raises(EndpointError, match="wait 3,600 s"):
            ask(asking)
    assert len(served.asked) == 1


def test_a_server_that_stays_broken_is_given_up_and_what_it_answered_is_kept(served, tmp_path):
    asking = asking_of(served)
    asking.exchanges.record_in(tmp_path)
    assert ask(asking) == "0!"
    served.failing = lambda _number: Failing(500)
    with pytest.raises(EndpointError, match=r"failed 4 times, last: status 500") as caught:
        ask(asking, 1)
    assert "run the same command again" in caught.value.hint
    asked = len(served.asked)
    with pytest.raises(EndpointError):
        ask(asking, 2)  # no further question is tried in this run,
    assert ask(asking) == "0!"  # and what is known is still answered
    assert len(served.asked) == asked
    served.failing = lambda _number: None
    again = asking_of(served)
    again.exchanges.record_in(tmp_path)
    assert [ask(again, number) for number in (0, 1)] == ["0!", "1!"]
    assert len(served.asked) == asked + 1


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_is_not_asked_again(served, status):
    served.failing = lambda _number: Failing(status)
    with pytest.raises(EndpointError, match=str(status)):
        ask(asking_of(served))
    assert len(served.asked) == 1


@pytest.mark.parametrize(
    ("failure", "error", "words"),
    [
        (Failing(401), EndpointError, "refuses the key"),
        (Failing(402), BudgetError, "account"),
        (Failing(429, b'{"error": {"code": "insufficient_quota"}}'), BudgetError, "account"),
        (Failing(307, headers={"Location": "http://203.0.113.9/v1/completions"}), EndpointError, "redirects"),
        (Failing(308, headers={"Location": "/v1/other"}), EndpointError, "redirects"),
        (Failing(200, b"[1]"), EndpointError, "no JSON object"),
    ],
)
def test_what_cannot_pass_is_said(served, failure, error, words):
    served.failing = lambda _number: failure
    with pytest.raises(error, match=words):
        ask(asking_of(served))
    assert len(served.asked) == 1


def test_an_answer_without_end_is_refused(served, monkeypatch):
    monkeypatch.setattr(transport_module, "LARGEST_ANSWER", 1000)
    served.failing = lambda _number: Failing(200, b'"' + b"a" * 200_000 + b'"')
    with pytest.raises(EndpointError, match="more than 1,000 bytes"):
        ask(asking_of(served, retries=0))


def test_a_server_that_is_not_there_is_said():
    nobody = Fixed(object())
    with serving(nobody):
        pass
    with pytest.raises(EndpointError, match="no connection"):
        ask(asking_of(nobody))


@pytest.mark.parametrize("field", ["name", "fingerprint"])
def test_another_model_ends_the_work(served, field):
    asking = asking_of(served)
    assert ask(asking) == "0!"
    setattr(served, field, "another")
    with pytest.raises(EndpointError, match="answers with another"):
        ask(asking, 1)
    asked = len(served.asked)
    with pytest.raises(EndpointError):
        ask(asking, 2)
    assert len(served.asked) == asked


def test_several_fingerprints_can_be_allowed(served):
    asking = asking_of(served, fingerprint="any")
    assert ask(asking) == "0!"
    served.fingerprint = "another"
    assert ask(asking, 1) == "1!"
    assert asking.seen == {"model": NAME, "system_fingerprint": None}


def test_calls_are_counted_across_runs_and_end_at_the_budget(served, tmp_path):
    budget = EndpointBudget(calls=3)
    first = asking_of(served, budget=budget)
    first.exchanges.record_in(tmp_path)
    assert [ask(first, number) for number in range(2)] == ["0!", "1!"]
    second = asking_of(served, budget=budget)
    second.exchanges.record_in(tmp_path)
    assert [ask(second, number) for number in range(3)] == ["0!", "1!", "2!"]
    with pytest.raises(BudgetError, match="3 calls is spent"):
        ask(second, 3)
    assert ask(second, 0) == "0!"
    assert len(served.asked) == 3


def test_failed_calls_count_too(served):
    served.failures = [Failing(500)] * 2
    with pytest.raises(BudgetError):
        ask(asking_of(served, budget=EndpointBudget(calls=2)))
    assert len(served.asked) == 2


def test_money_is_counted_by_the_servers_own_tokens_and_never_overdrawn(served, tmp_path):
    # 10 tokens sent and 5 back: 10 * 0.1 + 5 * 0.2 = 2 a question.
    settings = {"price": EndpointPrice(prompt=100.0, completion=200.0), "budget": EndpointBudget(money=5.0)}
    asking = asking_of(served, **settings)
    asking.exchanges.record_in(tmp_path)
    assert [ask(asking, number) for number in range(2)] == ["0!", "1!"]
    assert asking.exchanges.cost == pytest.approx(4.0)
    with pytest.raises(BudgetError, match="spent but for 1"):
        ask(asking, 2)
    again = asking_of(served, **settings)
    again.exchanges.record_in(tmp_path)
    assert again.exchanges.cost == pytest.approx(4.0)


def test_a_question_that_was_cut_off_may_have_to_be_paid(served):
    served.failures = [Failing(200, b"{", length=400), Failing(429)]
    asking = asking_of(served, price=EndpointPrice(prompt=100.0, completion=200.0))
    asking.ask("/completions", QUESTION, (20, 10))
    assert asking.exchanges.cost == pytest.approx(4.0 + 0.0 + 2.0)


def test_questions_keep_their_pace(served):
    waits = Waits()
    asking = asking_of(served, waits, requests_per_minute=30)
    for number in range(4):
        ask(asking, number)
    assert waits.waits == [2.0, 2.0, 2.0]


def test_threads_together_spend_no_more_than_one(served):
    asking = asking_of(served, budget=EndpointBudget(calls=8), concurrency=8)
    outcomes: list[bool] = []

    def work(number):
        try:
            ask(asking, number)
            outcomes.append(True)
        except BudgetError:
            outcomes.append(False)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcomes) == 8 == len(served.asked)


def test_the_key_is_sent_and_stands_nowhere(served, tmp_path):
    asking = asking_of(served, key=KEY)
    asking.exchanges.record_in(tmp_path)
    served.failures = [Failing(500, json.dumps({"id": KEY}).encode())]
    asking.ask("/completions", QUESTION | {"prompt": f"your key is {KEY}"}, (1, 1))
    served.name = KEY
    with pytest.raises(EndpointError) as caught:
        ask(asking, 1)
    assert served.keys == [f"Bearer {KEY}"] * 3
    answered = (tmp_path / "restricted" / EXCHANGES).read_text()
    assert json.loads(answered)["response"]["choices"][0]["text"] == "your key is [key]!"
    assert KEY not in (tmp_path / LOG).read_text()
    assert KEY not in caught.value.message + caught.value.hint


def test_what_is_recorded_says_nothing_of_time_and_stands_in_one_order(served, tmp_path):
    contents, salts = [], set()
    for order in ((0, 1, 2), (2, 0, 1)):
        folder = tmp_path / str(order[0])
        asking = asking_of(served)
        asking.exchanges.record_in(folder)
        for number in order:
            ask(asking, number)
        asking.exchanges.settle()
        assert ask(asking, 1) == "1!"
        *lines, salt = (folder / "restricted" / EXCHANGES).read_bytes().splitlines()
        contents.append(lines)
        salts.add(salt)
        logged = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
        assert all({"id", "created", "usage"} <= set(row["said"]) and row["seconds"] >= 0 for row in logged)
    assert contents[0] == contents[1]
    assert len(salts) == 2  # neither the file's digest nor the log can be tried without the key
    rows = [json.loads(line) for line in contents[0]]
    shared = (tmp_path / "0" / LOG).read_text()
    assert not [row["digest"] for row in rows if row["digest"] in shared]
    key = (tmp_path / "0" / "restricted" / NAMES_KEY).read_bytes()
    assert all(request_name(key, row["digest"]) in shared for row in rows)
    assert [row["digest"] for row in rows] == sorted(row["digest"] for row in rows)
    assert all("created" not in row["response"] and "id" not in row["response"] for row in rows)


def test_a_line_that_a_crash_cut_off_is_asked_again(served, tmp_path):
    asking = asking_of(served)
    asking.exchanges.record_in(tmp_path)
    for number in range(2):
        ask(asking, number)
    path = tmp_path / "restricted" / EXCHANGES
    path.write_bytes(path.read_bytes()[:-20])
    again = asking_of(served)
    again.exchanges.record_in(tmp_path)
    assert [ask(again, number) for number in (0, 1)] == ["0!", "1!"]
    assert len(served.asked) == 3
    assert len(path.read_text().splitlines()) == 2
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://llm.example.org/v1", "without encryption"),
        ("http://10.0.0.5:8000/v1", "without encryption"),
        ("http://localhost.example.org/v1", "without encryption"),
        ("https://user:word@llm.example.org/v1", "password"),
        ("https://llm.example.org/v1?key=1", r"'\?'"),
        ("ftp://llm.example.org", "not the address"),
        ("file:///etc/passwd", "not the address"),
        ("./model", "not the address"),
        ("https://", "not the address"),
        ("https://llm.example.org:99999/v1", "not an address"),
        ("https://[::1/v1", "not an address"),
    ],
)
def test_addresses_that_are_refused(address, words):
    with pytest.raises(SubjectError, match=words):
        check_address(address, allow_http=False)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000/v1/", "http://[::1]/v1", "http://localhost:1/v1", "https://a.b/v1"]
)
def test_addresses_that_are_asked(address):
    assert check_address(address, allow_http=False) == address.rstrip("/")
    assert check_address("http://llm.example.org/v1", allow_http=True)


def test_keys_come_from_the_environment_alone(monkeypatch):
    assert read_key(None) is None
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(SubjectError, match="NO_SUCH_KEY is not set"):
        read_key("NO_SUCH_KEY")
    monkeypatch.setenv("SUCH_KEY", "two words\r\nX-Header: 1")
    with pytest.raises(SubjectError, match="cannot be a key") as caught:
        read_key("SUCH_KEY")
    assert "two words" not in caught.value.message
    monkeypatch.setenv("SUCH_KEY", f" {KEY}\n")
    assert read_key("SUCH_KEY") == KEY


_CHOICE = {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"a": -1.0}]}


@pytest.mark.parametrize(
    ("read", "choice"),
    [
        (read_completion, None),
        (read_completion, []),
        (read_completion, {"text": 5}),
        (read_completion, {"text": None}),
        (read_message, {"message": "hello"}),
        (read_message, {"message": {"content": ["hello"]}}),
        (read_echo, {"logprobs": None}),
        (read_echo, {"logprobs": _CHOICE | {"tokens": [1]}}),
        (read_echo, {"logprobs": _CHOICE | {"token_logprobs": [-1.0, -2.0]}}),
        (read_echo, {"logprobs": _CHOICE | {"token_logprobs": ["-1"]}}),
        (read_echo, {"logprobs": _CHOICE | {"token_logprobs": [True]}}),
        (read_echo, {"logprobs": _CHOICE | {"token_logprobs": [0.7]}}),
        (read_echo, {"logprobs": _CHOICE | {"top_logprobs": [[-1.0]]}}),
        (read_echo, {"logprobs": _CHOICE | {"top_logprobs": [{"a": None, "b": "x"}]}}),
        (read_echo, {"logprobs": _CHOICE | {"top_logprobs": None}}),
    ],
)
def test_answers_of_a_wrong_shape_are_named(read, choice):
    with pytest.raises(EndpointError, match="cannot be read"):
        read({"choices": [choice] if choice is not None else "many"})
    with pytest.raises(EndpointError, match="not one choice"):
        read({"choices": [{"text": ""}, {"text": ""}]})


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (None, "model.endpoint is missing"),
        (EndpointSpec(model=NAME, budget=EndpointBudget(money=1.0)), "there is no price"),
        (EndpointSpec(model=NAME, tokenizer="nowhere"), "there is no tokenizer"),
        (EndpointSpec(model=NAME, key_env="NO_SUCH_KEY"), "NO_SUCH_KEY is not set"),
        (EndpointSpec(model=NAME, retries=0, timeout_s=1.0), "no connection"),
    ],
)
def test_a_subject_that_cannot_be_asked_is_said_before_anything_is_observed(endpoint, words, tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    nobody = Fixed(object())
    with serving(nobody):
        pass
    spec = ModelSpec(adapter="completion-endpoint", path=nobody.address, endpoint=endpoint)
    with pytest.raises(SubjectError, match=words) as caught:
        CompletionEndpointAdapter().stand_ins(spec, tmp_path)
    assert caught.value.hint


def test_waits_have_an_upper_end():
    assert asking_module.LONGEST_WAIT < asking_module.LONGEST_ASKED
