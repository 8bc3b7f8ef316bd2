"""A server of the OpenAI interface on loopback: it answers with a real model of this project, or fails as it is told."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.subjects.capability import SampleRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "tiny-lm"


@dataclass
class Failing:
    """An answer that is sent instead of the right one."""

    status: int = 200
    body: bytes = b'{"error": {"code": "busy"}}'
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    length: int | None = None
    """Content-Length, where it does not fit the body."""
    drip: float = 0.0
    """Seconds before each byte."""


class Served:
    """What a server knows, does and was asked.

    Args:
        model: The model that answers, None: every question fails with 404.
        echo: It repeats texts with log-probabilities.
        ids: It takes token ids.
        completions: It continues texts; else it only chats.
        top_k: It draws among the k likeliest.
    """

    def __init__(
        self, model: Any, *, echo: bool = True, ids: bool = True, completions: bool = True, top_k: bool = True
    ) -> None:
        self.model = model
        self.echo, self.ids, self.completions, self.top_k = echo, ids, completions, top_k
        self.failures: list[Failing] = []
        """Sent first, one for each question."""
        self.failing: Callable[[int], Failing | None] = lambda _number: None
        """Which question fails, by its number from 0."""
        self.name = NAME
        self.fingerprint: str | None = "fp_1"
        self.told: dict[str, Any] = {"id": NAME, "object": "model", "created": 1, "owned_by": "tests"}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.keys: list[str | None] = []
        self.lock = threading.Lock()
        self.address = ""

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and answer to a question."""
        if self.model is None or body.get("model") != NAME:
            return 404, {"error": {"code": "model_not_found"}}
        if path == "/v1/chat/completions":
            head = self.model.encode([body["messages"][-1]["content"]])[0]
            said = self._continued(head, body)
            choice: dict[str, Any] = {"message": {"role": "assistant", "content": self.model.decode(said.tolist())}}
        elif path == "/v1/completions" and self.completions:
            prompt = body["prompt"]
            if isinstance(prompt, list):
                if not self.ids:
                    return 422, {"error": {"code": "bad_prompt"}}
                head = np.array(prompt, dtype=np.int32)
            else:
                lead = [] if self.model.begin is None else [self.model.begin]
                head = np.concatenate([lead, self.model.encode([prompt])[0]]).astype(np.int32)
            if ("top_k" in body and not self.top_k) or (body.get("echo") and not self.echo):
                return 400, {"error": {"code": "unknown_parameter"}}
            said = self._continued(head, body)
            whole = np.concatenate([head, said]).astype(np.int32) if body.get("echo") else said
            choice = {"text": self.model.decode(whole.tolist())}
            if "logprobs" in body and self.echo:
                choice["logprobs"] = self._logprobs(head, whole, body)
        else:
            return 404, {"detail": "Not Found"}
        choice |= {"index": 0, "finish_reason": "length"}
        with self.lock:
            number = len(self.asked)
        found = {"id": f"cmpl-{number}", "created": 1_700_000_000 + number, "object": "text_completion"}
        found |= {"model": self.name, "choices": [choice]}
        if self.fingerprint is not None:
            found["system_fingerprint"] = self.fingerprint
        usage = {"prompt_tokens": len(head), "completion_tokens": len(said), "total_tokens": len(head) + len(said)}
        return 200, found | {"usage": usage}

    def _continued(self, head: Any, body: dict[str, Any]) -> Any:
        count = int(body.get("max_tokens", 16))
        if body.get("temperature", 1.0) == 0.0:
            return self.model.continue_greedily([head], count)[0]
        request = SampleRequest(count, body.get("top_k"), (body["temperature"],))
        return self.model.sample([head], [body.get("seed", 0)], request)[0]

    def _logprobs(self, head: Any, whole: Any, body: dict[str, Any]) -> dict[str, Any]:
        """Return the log-probabilities of the whole softmax, as any server computes them."""
        strings = [self.model.decode([number]) for number in whole.tolist()]
        scores: list[float | None] = []
        top: list[dict[str, float] | None] = []
        begin = 0 if body.get("echo") else len(head)
        sequence = whole if body.get("echo") else np.concatenate([head, whole]).astype(np.int32)
        table = softmax_rows(self.model, sequence)
        for place in range(begin, len(sequence)):
            if place == 0:
                scores.append(None)
                top.append(None)
                continue
            row = table[place - 1]
            scores.append(float(row[sequence[place]]))
            best = np.argsort(-row, kind="stable")[: int(body["logprobs"])]
            entry = {self.model.decode([int(number)]) or f"<{number}>": float(row[number]) for number in best}
            entry[strings[place - begin]] = float(row[sequence[place]])
            top.append(entry)
        return {"tokens": strings, "token_logprobs": scores, "top_logprobs": top, "text_offset": [0] * len(strings)}


def softmax_rows(model: Any, ids: Any) -> Any:
    """Return log p of every token after each place, from the model's own logits; shape [tokens, vocabulary]."""
    import torch

    with torch.inference_mode():
        logits = model._model(input_ids=torch.tensor(ids[None].astype(np.int64))).logits[0]
        return logits.double().log_softmax(dim=-1).numpy()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(Failing(200, json.dumps({"object": "list", "data": [self.served.told]}).encode()))
        else:
            self._send(Failing(404))

    def do_POST(self) -> None:
        served = self.served
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with served.lock:
            served.keys.append(self.headers.get("Authorization"))
            failure = served.failures.pop(0) if served.failures else served.failing(len(served.asked))
            served.asked.append((self.path, body))
        if failure is None:
            status, answer = served.answer(self.path, body)
            failure = Failing(status, json.dumps(answer).encode())
        self._send(failure)

    def _send(self, failure: Failing) -> None:
        self.send_response(failure.status)
        self.send_header("Content-Type", failure.kind)
        self.send_header("Content-Length", str(len(failure.body) if failure.length is None else failure.length))
        for name, value in failure.headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            if not failure.drip:
                self.wfile.write(failure.body)
            for number in range(len(failure.body) if failure.drip else 0):
                threading.Event().wait(failure.drip)
                self.wfile.write(failure.body[number : number + 1])
        if failure.length is not None:
            self.close_connection = True


@contextlib.contextmanager
def serving(served: Served) -> Iterator[Served]:
    """Serve on a free port of loopback."""
    handler = type("Handler", (_Handler,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    served.address = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
