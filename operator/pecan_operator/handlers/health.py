"""GET /healthz, /readyz and /metrics of the operator."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import generate_latest

Check = Callable[[], str | None]


def serve(port: int, healthy: Check, ready: Check) -> ThreadingHTTPServer:
    """Answer in a thread. A check returns None, or in one line what is wrong (answered with 503)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, generate_latest(), "text/plain; version=0.0.4; charset=utf-8")
                return
            check = {"/healthz": healthy, "/readyz": ready}.get(self.path)
            if check is None:
                self._answer(404, b"not found\n")
                return
            wrong = check()
            self._answer(200 if wrong is None else 503, f"{wrong or 'ok'}\n".encode())

        def _answer(self, code: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes are not worth a line."""

    server = ThreadingHTTPServer(("", port), Handler)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
