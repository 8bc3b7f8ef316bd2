"""Asks a server within what may be spent: recorded answers first, then patience, a pace and a limit."""

from __future__ import annotations

import math
import threading
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

from auditor.core.record import canonical_bytes, digest_of
from auditor.core.seeds import generator
from auditor.errors import AuditorError, BudgetError, EndpointError
from auditor.subjects.endpoint.exchanges import Attempt, Exchanges

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from auditor.core.subject import EndpointSpec
    from auditor.subjects.endpoint.transport import Reply

FIRST_WAIT = 0.5
"""Seconds before a request is asked again for the first time; each further wait is twice as long."""
LONGEST_WAIT = 60.0
"""Seconds: no wait of our own is longer,"""
LONGEST_ASKED = 300.0
"""and a server that asks for a longer one is left alone until the audit is run again."""
FEW = 2
"""How often a status of 500 is asked again where it may be a refusal."""
KEPT = ("choices", "model", "object", "system_fingerprint")
"""What of an answer is evidence."""
LOGGED = ("id", "created", "system_fingerprint", "usage")
"""What of an answer differs from run to run, or says what was done for it."""
_TRANSIENT = {408, 409, 425, 429}
_SHORTEST_KEY = 6


class Transport(Protocol):
    """What sends a request."""

    def send(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """Return what the server answers."""
        ...


class Asking:
    """A server that is asked; threads may ask at once.

    Args:
        spec: How it is asked, and what may be spent.
        transport: What sends requests.
        key: The key, to be blotted out wherever an answer repeats it.
        clock: Seconds that only grow.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        spec: EndpointSpec,
        transport: Transport,
        key: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Ask nothing yet."""
        self.exchanges = Exchanges()
        self.spec = spec
        self._transport = transport
        self._key = key
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._next = -math.inf
        self._underway, self._reserved = 0, 0.0
        self._given_up: AuditorError | None = None
        self._identity: dict[str, Any] = {}

    @property
    def seen(self) -> dict[str, Any]:
        """What the answers so far say of the model: its name, and its fingerprint where that is to stay."""
        return dict(self._identity)

    def get(self, path: str) -> Any:  # noqa: ANN401  (any JSON value)
        """Return what the server says of itself under a path; None where it has no such page, or one that is broken.

        Raises:
            EndpointError: It does not answer, or refuses the key.
        """
        reply = self._patiently("GET", path, None, digest_of({"path": path}), 0.0, may_refuse=True)
        if reply.status >= 400 and reply.status not in {401, 402, 403}:
            return None
        self._refuse_failure(reply, path)
        return self._blotted(reply.value)

    def try_to(self, path: str, body: Mapping[str, Any], tokens: tuple[int, int]) -> dict[str, Any] | None:
        """Return the answer as `ask` does, None if the server refuses such a question for good.

        Raises:
            BudgetError: What may be spent is spent.
            EndpointError: The server refuses the key, or does not answer.
        """
        return self._ask(path, body, tokens, may_refuse=True)

    def ask(self, path: str, body: Mapping[str, Any], tokens: tuple[int, int]) -> dict[str, Any]:
        """Return the answer to a question, from what is recorded if it was asked before.

        Args:
            path: Path behind the server's address.
            body: The question.
            tokens: Most tokens that are sent and that come back, for the price.

        Raises:
            BudgetError: What may be spent is spent.
            EndpointError: The server does not answer, refuses, or another model answers.
        """
        found = self._ask(path, body, tokens, may_refuse=False)
        if found is None:  # a refusal was raised
            raise AssertionError
        return found

    def _ask(
        self, path: str, body: Mapping[str, Any], tokens: tuple[int, int], *, may_refuse: bool
    ) -> dict[str, Any] | None:
        request = {"path": path, "body": dict(body)}
        digest = digest_of(request)
        known = self.exchanges.answer(digest)
        if known is not None:
            return dict(known)
        sent, most = canonical_bytes(dict(body)), self._price(*tokens)
        reply = self._patiently("POST", path, sent, digest, most, may_refuse=may_refuse)
        spent = reply.status in {401, 402, 403} or _code(reply) == "insufficient_quota"
        if may_refuse and reply.status >= 400 and not spent:
            return None
        self._refuse_failure(reply, path)
        whole = self._blotted(reply.value)
        answer = {name: whole[name] for name in KEPT if name in whole}
        self._same_model(answer)
        self.exchanges.keep(digest, request, answer)
        return answer

    def _patiently(
        self, method: str, path: str, body: bytes | None, digest: str, most: float, *, may_refuse: bool = False
    ) -> Reply:
        """Return the first reply that asking again would not change.

        Some servers fail where they should refuse: a status of 500 that stays is a refusal where one may be.

        Raises:
            EndpointError: The server failed too often.
        """
        reply = self._once(method, path, body, digest, most)
        for attempt in range(self.spec.retries):
            if may_refuse and reply.status == 500 and attempt >= FEW:
                break
            if not _may_pass(reply):
                break
            self._sleep(self._wait(reply, attempt, digest))
            reply = self._once(method, path, body, digest, most)
        if not _may_pass(reply) or (may_refuse and reply.status >= 500):
            return reply
        words = reply.fault or f"status {reply.status}"
        msg = f"{path}: the server failed {self.spec.retries + 1} times, last: {words}"
        raise self._give_up(EndpointError(msg, hint="What was answered is kept: run the same command again later."))

    def _once(self, method: str, path: str, body: bytes | None, digest: str, most: float) -> Reply:
        if self._given_up is not None:
            raise self._given_up
        self._reserve(most)
        cost = most
        began = self._clock()
        try:
            reply = self._transport.send(method, path, body)
            said = reply.value if isinstance(reply.value, dict) else {}
            if 200 <= reply.status < 300 and not reply.fault:
                cost = self._settled(said.get("usage"), most)
            elif not reply.unread:
                cost = 0.0
            marks = {name: said[name] for name in LOGGED if name in said}
            seconds = round(self._clock() - began, 6)
            self.exchanges.log(Attempt(digest, reply.status, reply.fault, seconds, cost, self._blotted(marks)))
            return reply
        finally:
            with self._lock:
                self._underway -= 1
                self._reserved -= most

    def _reserve(self, most: float) -> None:
        """Set aside a call and its highest price, and wait for its turn.

        Raises:
            BudgetError: There is not enough left.
        """
        budget = self.spec.budget
        with self._lock:
            calls = self.exchanges.calls + self._underway
            if budget.calls is not None and calls >= budget.calls:
                msg = f"the budget of {budget.calls:,} calls is spent"
                raise BudgetError(msg, hint="Raise model.endpoint.budget.calls; what was answered is kept.")
            spent = self.exchanges.cost + self._reserved
            if budget.money is not None and spent + most > budget.money:
                msg = f"the budget of {budget.money:g} is spent but for {max(budget.money - spent, 0.0):.4g}"
                raise BudgetError(msg, hint="Raise model.endpoint.budget.money; what was answered is kept.")
            self._underway += 1
            self._reserved += most
            now = self._clock()
            turn = max(now, self._next)
            if self.spec.requests_per_minute is not None:
                self._next = turn + 60.0 / self.spec.requests_per_minute
        if turn > now:
            self._sleep(turn - now)

    def _price(self, prompt: float, completion: float) -> float:
        price = self.spec.price
        return 0.0 if price is None else (prompt * price.prompt + completion * price.completion) / 1000.0

    def _settled(self, usage: Any, most: float) -> float:  # noqa: ANN401
        """Return what an answer cost by its own count of tokens, or the most where it gives no sound one."""
        counts = [
            usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")
        ]
        sound = [count for count in counts if type(count) is int and 0 <= count < 2**31]
        return self._price(*sound) if len(sound) == len(counts) else most

    def _wait(self, reply: Reply, attempt: int, digest: str) -> float:
        """Return the seconds to wait, at least what the server asks for.

        Raises:
            EndpointError: It asks for more than a run waits.
        """
        asked = _retry_after(reply.headers)
        if asked > LONGEST_ASKED:
            msg = f"the server asks to wait {asked:,.0f} s"
            hint = "What was answered is kept: run the same command again after that time."
            raise self._give_up(EndpointError(msg, hint=hint))
        own = min(FIRST_WAIT * 2.0**attempt, LONGEST_WAIT)
        # Clients that failed together must not come back together; which wait is drawn, the question decides.
        jitter = float(generator(0, "back-off", digest, str(attempt)).uniform(0.5, 1.0))
        return max(own * jitter, asked)

    def _refuse_failure(self, reply: Reply, path: str) -> None:
        if 200 <= reply.status < 300 and not reply.fault and isinstance(reply.value, dict):
            return
        if reply.status in {401, 403}:
            msg = f"{path}: the server refuses the key (status {reply.status})"
            raise self._give_up(EndpointError(msg, hint="Check the variable that model.endpoint.key_env names."))
        if reply.status == 402 or _code(reply) == "insufficient_quota":
            msg = f"{path}: the server says that its account is spent"
            raise self._give_up(BudgetError(msg, hint="Pay it up; what was answered is kept."))
        words = reply.fault or (f"status {reply.status}" if reply.status >= 300 else "the answer is no JSON object")
        msg = f"{path}: the server cannot be used: {words}"
        raise EndpointError(msg, hint="Is model.path the address up to /v1, and does the server know this model?")

    def _same_model(self, answer: Mapping[str, Any]) -> None:
        """Refuse an answer of another model than the one before.

        Raises:
            EndpointError: The server names another model, or another fingerprint that was to stay.
        """
        marks = self.marks(answer)
        with self._lock:
            before = self._identity = self._identity or marks
        if marks != before:
            what = "another model" if marks["model"] != before["model"] else "another system fingerprint"
            msg = f"the server answers with {what} than before: what it says now cannot be put beside what it said"
            hint = "Audit it again in a new folder. If it runs on unlike machines: model.endpoint.fingerprint: any."
            raise self._give_up(EndpointError(msg, hint=hint))

    def marks(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of an answer names the model."""
        model, mark = (answer.get(name) for name in ("model", "system_fingerprint"))
        fixed = self.spec.fingerprint == "fixed"
        return {
            "model": model if isinstance(model, str) else None,
            "system_fingerprint": mark if fixed and isinstance(mark, str) else None,
        }

    def _give_up(self, error: AuditorError) -> AuditorError:
        """Remember that asking on is of no use in this run, and return why."""
        self._given_up = error
        return error

    def _blotted(self, value: Any) -> Any:  # noqa: ANN401
        """Return a JSON value without the key, which a server may repeat in its answers."""
        if self._key is None or len(self._key) < _SHORTEST_KEY:
            return value
        if isinstance(value, str):
            return value.replace(self._key, "[key]")
        if isinstance(value, list):
            return [self._blotted(item) for item in value]
        if isinstance(value, dict):
            return {self._blotted(name): self._blotted(item) for name, item in value.items()}
        return value


def _may_pass(reply: Reply) -> bool:
    """Return whether the same request may be answered better a little later."""
    if _code(reply) == "insufficient_quota" or "certificate" in reply.fault:
        return False
    broken = bool(reply.fault) and 200 <= reply.status < 300
    return broken or reply.status == 0 or reply.status in _TRANSIENT or (reply.status >= 500 and reply.status != 501)


def _code(reply: Reply) -> str:
    error = reply.value.get("error") if isinstance(reply.value, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds a server asks to wait, as a number or as a date beside its own; 0 where it does not ask.

    Source: RFC 9110, section 10.2.3.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until, now = (parsedate_to_datetime(words) for words in (text, headers["date"]))
        return max((until - now).total_seconds(), 0.0)
    except (KeyError, TypeError, ValueError):
        return 0.0
