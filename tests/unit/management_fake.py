"""As much of RabbitMQ's management API as PEcAn's R calls, without a broker behind it."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeManagement:
    """Who is let in, and what was asked: method, path, body. There is every queue but `absent`."""

    port: int
    user: str = "pecan"
    password: str = "secret"
    routed: bool = True
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, authorization: str, body: Any) -> tuple[int, Any]:
        """Status and body of an answer."""
        self.asked.append((method, path, body))
        if authorization != "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode():
            return 401, {"error": "not_authorized"}
        return (404, {"error": "Object Not Found"}) if path.endswith("/absent") else (200, {"routed": self.routed})


class _Handler(BaseHTTPRequestHandler):
    management: FakeManagement

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        code, told = self.management.answer(self.command, self.path, self.headers["Authorization"], body)
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is printed."""


@contextmanager
def fake_management() -> Iterator[FakeManagement]:
    """The API on a port of its own."""
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.management = FakeManagement(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield handler.management
        server.shutdown()
