"""A proxy before the API server whose watches can fall silent, as behind a broken load balancer."""

from __future__ import annotations

import http.server
import ssl
import threading
import urllib.error
import urllib.request

from support import Cluster


class HalfDeaf(http.server.BaseHTTPRequestHandler):
    """Passes calls on to the API server; from a signal on, watches show nothing more."""

    server: Proxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def do_PUT(self) -> None:
        self._pass_on()

    def do_PATCH(self) -> None:
        self._pass_on()

    def do_DELETE(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        watching = "watch=true" in self.path
        if watching and self.server.deaf.is_set():
            self._pretend_to_watch()
            return
        length = int(self.headers.get("Content-Length") or 0)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "accept-encoding")}
        request = urllib.request.Request(
            self.server.target + self.path, self.rfile.read(length) or None, headers, method=self.command
        )
        try:
            answer = urllib.request.urlopen(request, context=self.server.tls, timeout=400)
        except urllib.error.HTTPError as error:
            answer = error
        self.send_response(answer.status or 502)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        if watching:
            self._begin_stream()
            for line in answer:
                if self.server.deaf.is_set():
                    break
                self._write_chunk(line)
            self._fall_silent()
        else:
            body = answer.read()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _pretend_to_watch(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self._begin_stream()
        self._fall_silent()

    def _begin_stream(self) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _write_chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _fall_silent(self) -> None:
        self.close_connection = True
        while not self.server.over.wait(0.5):
            if not self.server.deaf.is_set():
                return

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test prints what matters."""


class Proxy(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(("127.0.0.1", 0), HalfDeaf)
        given = cluster.client.configuration
        self.target = given.host
        self.tls = ssl.create_default_context(cafile=given.ssl_ca_cert)
        if given.cert_file:
            self.tls.load_cert_chain(given.cert_file, given.key_file)
        self.deaf = threading.Event()
        self.over = threading.Event()
