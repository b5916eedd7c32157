"""An API server that answers as a test says, over real HTTP, and speaks the WebSocket of `exec`."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, Protocol
from urllib.parse import parse_qs, urlsplit


class Program(Protocol):
    """What runs in a pod: gets its standard input, and says what it has answered so far."""

    def send(self, data: bytes) -> None: ...

    def answers(self) -> bytes: ...


VERBS = ["create", "delete", "get", "list", "patch", "update"]


def served(*kinds: tuple[str, str]) -> dict[str, Any]:
    made = [
        {
            "name": name,
            "singularName": "",
            "namespaced": name != "customresourcedefinitions",
            "kind": kind,
            "verbs": VERBS,
        }
        for name, kind in kinds
    ]
    return {
        "kind": "APIResourceList",
        "resources": made + [{**each, "name": f"{each['name']}/status"} for each in made],
    }


DISCOVERY: dict[str, Any] = {
    "/version": {"gitVersion": "v1.34.4"},
    "/apis": {
        "kind": "APIGroupList",
        "groups": [
            {
                "name": "pecanproject.org",
                "versions": [{"version": "v1alpha1"}],
                "preferredVersion": {"version": "v1alpha1"},
            },
        ],
    },
    "/api/v1": served(("configmaps", "ConfigMap"), ("events", "Event"), ("pods", "Pod")),
    "/apis/pecanproject.org/v1alpha1": served(("pecanmodels", "PecanModel")),
}


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    content_type: str
    body: Any


@dataclass
class Api:
    """`answer` gives (status, JSON) for a request; what discovery asks is answered by itself. `program` is what `exec` of a
    command speaks to; None refuses it."""

    answer: Callable[[Request], tuple[int, Any]] = lambda request: (200, request.body or {"items": []})
    requests: list[Request] = field(default_factory=list)
    program: Callable[[list[str]], Program] | None = None
    authorizations: list[str | None] = field(default_factory=list)

    def refuse(self, status: int, message: str = "no") -> None:
        self.answer = lambda _: (status, {"kind": "Status", "message": message, "reason": "Because"})

    @property
    def last(self) -> Request:
        return self.requests[-1]


@contextmanager
def serve(api: Api) -> Iterator[str]:
    """The address of the server."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length)
            parts = urlsplit(self.path)
            api.authorizations.append(self.headers.get("Authorization"))
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if self.headers.get("Upgrade") == "websocket" and api.program is not None:
                self._exec(api.program(parse_qs(parts.query)["command"]))
                return
            if parts.path in DISCOVERY:
                status, found = 200, DISCOVERY[parts.path]
            else:
                request = Request(
                    self.command, parts.path, query, self.headers.get("Content-Type", ""), json.loads(content or "null")
                )
                api.requests.append(request)
                status, found = api.answer(request)
            data = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _exec(self, program: Program) -> None:
            key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
            self.send_header("Sec-WebSocket-Protocol", "v5.channel.k8s.io")
            self.end_headers()
            self.close_connection = True
            while (data := _frame(self.rfile)) is not None:
                assert data[:1] == b"\0"  # standard input
                program.send(data[1:])
                answers = program.answers()
                for start in range(0, len(answers), 30_000):
                    payload = b"\1" + answers[start : start + 30_000]
                    self.wfile.write(b"\x82\x7e" + len(payload).to_bytes(2, "big") + payload)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}"
    finally:
        http.shutdown()
        http.server_close()


def _frame(stream: BinaryIO) -> bytes | None:
    """The content of a client's next frame; None at the end (RFC 6455, section 5.2)."""
    head = stream.read(2)
    if len(head) < 2 or head[0] & 0x0F == 8:
        return None
    length = head[1] & 0x7F
    if length >= 126:
        length = int.from_bytes(stream.read(2 if length == 126 else 8), "big")
    mask, data = stream.read(4), stream.read(length)
    repeated = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")
