"""The management API's client against a small server that answers as RabbitMQ does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pecan_operator.clients.management import Management
from pecan_operator.errors import Unavailable

ANSWERS: dict[tuple[str, str], tuple[int, Any]] = {
    ("GET", "/api/queues/pecan?disable_stats=true&enable_queue_totals=true"): (
        200,
        [{"name": "A_1", "messages_ready": 3, "messages_unacknowledged": 2}, {"name": "B_1"}],
    ),
}


class Handler(BaseHTTPRequestHandler):
    seen: list[tuple[str, str, Any]]

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.seen.append((self.command, self.path, body))  # type: ignore[attr-defined]
        code, content = ANSWERS.get((self.command, self.path), (404, {"error": "Object Not Found"}))
        if self.headers.get("Authorization") != "Basic dXNlcjpwYXNz":
            code, content = 401, {"error": "not_authorised"}
        data = b"" if content is None else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def client(server: ThreadingHTTPServer, password: str = "pass", vhost: str = "pecan") -> Management:
    return Management(f"http://127.0.0.1:{server.server_port}/", "user", password, vhost)


def test_totals_of_the_queues(server: Any) -> None:
    assert client(server).queue_totals() == {"A_1": (3, 2), "B_1": (0, 0)}


def test_refusals_are_told_without_the_password(server: Any) -> None:
    with pytest.raises(Unavailable, match="404"):
        client(server, vhost="gone").queue_totals()
    with pytest.raises(Unavailable, match="401") as caught:
        client(server, password="wrong-password").queue_totals()
    assert "wrong-password" not in str(caught.value)


def test_an_api_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        Management("http://127.0.0.1:1", "user", "pass", "pecan").queue_totals()
