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
    ("GET", "/api/policies/pecan/limits"): (200, {"name": "limits", "priority": 10}),
    ("PUT", "/api/policies/pecan/queue-A_1"): (201, None),
    ("PUT", "/api/policies/gone/queue-A_1"): (404, {"error": "Object Not Found"}),
    ("PUT", "/api/policies/pecan/bad"): (400, {"reason": "Validation failed"}),
    ("DELETE", "/api/policies/pecan/limits"): (204, None),
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

    do_GET = do_PUT = do_DELETE = answer  # noqa: N815

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


def test_a_policy_is_for_queues_and_has_its_priority(server: Any) -> None:
    client(server).apply_policy("queue-A_1", "^A_1$", {"delivery-limit": 20}, priority=10)
    assert server.seen[-1] == (
        "PUT",
        "/api/policies/pecan/queue-A_1",
        {"pattern": "^A_1$", "definition": {"delivery-limit": 20}, "priority": 10, "apply-to": "queues"},
    )


def test_a_policy_that_is_not_there_is_none(server: Any) -> None:
    assert client(server).read_policy("limits") == {"name": "limits", "priority": 10}
    assert client(server).read_policy("nothing") is None
    client(server).delete_policy("limits")
    client(server).delete_policy("nothing")


def test_totals_of_the_queues(server: Any) -> None:
    assert client(server).queue_totals() == {"A_1": (3, 2), "B_1": (0, 0)}


def test_refusals_are_told_without_the_password(server: Any) -> None:
    with pytest.raises(Unavailable, match="Validation failed"):
        client(server).apply_policy("bad", "^A$", {})
    with pytest.raises(Unavailable, match="404"):
        client(server, vhost="gone").apply_policy("queue-A_1", "^A$", {})
    with pytest.raises(Unavailable, match="404"):
        client(server, vhost="gone").queue_totals()
    with pytest.raises(Unavailable, match="401") as caught:
        client(server, password="wrong-password").queue_totals()
    assert "wrong-password" not in str(caught.value)


def test_an_api_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        Management("http://127.0.0.1:1", "user", "pass", "pecan").queue_totals()
