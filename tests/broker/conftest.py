"""A RabbitMQ server of this test session's own: loopback ports, temporary folders, gone afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import pytest

from pecan_operator.core.platform.rabbitmq import VHOST, WORKER_USER
from pecan_operator.core.platform.rabbitmq import definitions as platform_definitions

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
PASSWORD = "broker-test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.broker)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def wait_until(condition: Callable[[], object], seconds: float = 10, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


@dataclass(frozen=True)
class Rabbit:
    """Where the server listens; its users are the platform's, and `test`."""

    port: int
    management_port: int
    log: Path

    def uri(self, user: str = "test", port: int | None = None) -> str:
        return f"amqp://{user}:{PASSWORD}@127.0.0.1:{port or self.port}/{VHOST}"

    @property
    def management_uri(self) -> str:
        return f"http://127.0.0.1:{self.management_port}"

    def api(self, method: str, path: str, body: object = None) -> object:
        """Calls the management API; None for an empty answer."""
        manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        manager.add_password(None, self.management_uri, "test", PASSWORD)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.management_uri}/api/{path}", data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with opener.open(request, timeout=10) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def close_connections(self, name: str) -> None:
        """Has the broker close the connections of a worker; waits until the API shows them."""
        found: list[str] = []

        def seen() -> bool:
            connections: Any = self.api("GET", "connections?columns=name,client_properties")
            found[:] = [
                connection["name"]
                for connection in connections
                if connection.get("client_properties", {}).get("connection_name") == name
            ]
            return bool(found)

        wait_until(seen, 10, f"a connection of {name} in the management API")
        for connection in found:
            self.api("DELETE", f"connections/{urllib.parse.quote(connection)}")


def definitions() -> dict[str, Any]:
    """What the platform's own server loads, and a user that may do what a test needs besides."""
    content = platform_definitions(PASSWORD, PASSWORD)
    # 3.10, Debian 12's, knows neither negative limits, nor consumer timeouts in policies, nor policies for quorum queues
    # only, and names the default type of queues elsewhere.
    content["policies"] = [
        {
            **policy,
            "apply-to": "queues",
            "definition": {key: value for key, value in policy["definition"].items() if key != "consumer-timeout"},
        }
        for policy in content["policies"]
        if policy["definition"].get("delivery-limit") != -1
    ]
    content["vhosts"] = [{**vhost, **vhost.get("metadata", {})} for vhost in content["vhosts"]]
    content["users"].append({"name": "test", "password": PASSWORD, "tags": "administrator"})
    content["permissions"].append({"user": "test", "vhost": VHOST, "configure": ".*", "write": ".*", "read": ".*"})
    return content


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    epmd = shutil.which("epmd")
    if epmd is None or not Path(SERVER).exists():
        pytest.skip("no RabbitMQ server here: install Debian's package rabbitmq-server")
    folder = tmp_path_factory.mktemp("rabbitmq")
    log = folder / "server.log"
    server = Rabbit(port=free_port(), management_port=free_port(), log=log)
    (folder / "enabled_plugins").write_text("[rabbitmq_management].")
    (folder / "definitions.json").write_text(json.dumps(definitions()))
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{server.port}\n"
        f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {server.management_port}\n"
        f"load_definitions = {folder / 'definitions.json'}\nloopback_users = none\nlog.console.level = warning\n"
    )
    epmd_port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "pecan-test@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
    }

    def answers() -> bool:
        with suppress(OSError):
            return server.api("GET", f"aliveness-test/{VHOST}") == {"status": "ok"}
        return False

    with (
        running([epmd, "-port", str(epmd_port), "-address", "127.0.0.1"], environment, folder / "epmd.log"),
        running([SERVER], environment, log),
    ):
        try:
            wait_until(answers, 90, "an answer of the RabbitMQ server")
        except AssertionError:
            pytest.fail(f"the RabbitMQ server does not start:\n{log.read_text()[-3000:]}")
        yield server


# Another Python, with another pika, to run the worker with: it has to do with what a model image has.
WORKER_PYTHON = os.environ.get("PECAN_WORKER_PYTHON", sys.executable)
WORKER = Path(__file__).parents[2] / "model-images" / "base" / "worker.py"
QUICK = {
    "PECAN_RENEW_SECONDS": "0.2",
    "PECAN_STALE_SECONDS": "0.8",
    "PECAN_HEARTBEAT_SECONDS": "0.3",
    "PECAN_STOP_SECONDS": "0.5",
    "PECAN_FOLDER_SECONDS": "1.5",
    "PECAN_PAUSE_SECONDS": "0.8",
    "PECAN_TELL_SECONDS": "0.001",
}


class WorkerProcess:
    """A worker in a process of its own, as a pod has it."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.python = WORKER_PYTHON
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 10) -> int:
        return self.process.wait(seconds)

    def lines(self, what: str) -> list[dict[str, object]]:
        """What it logged of one kind."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["log"] == what]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Model:
    """A model's queue, its data folder, its workers, and what they said; each test has its own."""

    def __init__(self, rabbit: Rabbit, folder: Path, name: str) -> None:
        self.rabbit = rabbit
        self.queue = f"{name}_git"
        self.data = folder / "data"
        self.workers: list[WorkerProcess] = []
        self.events: list[dict[str, object]] = []
        self.model_info = folder / "model.json"
        self._folder = folder
        self.data.mkdir()
        self.model_info.write_text(json.dumps({"name": name, "type": name, "version": "git", "binary": "/bin/true"}))
        self._connection = pika.BlockingConnection(pika.URLParameters(rabbit.uri()))
        self._channel = self._connection.channel()
        for queue in (self.queue, "pecan.events"):
            self._channel.queue_declare(queue, durable=True)
        self._channel.queue_purge("pecan.events")
        self._channel.exchange_declare("models", "fanout", durable=True)
        self._channel.exchange_declare("pecan.control", "fanout", durable=True)
        self._channel.basic_consume("pecan.events", self._on_event, auto_ack=True)
        self.heartbeats = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(self.heartbeats, "models")

    def _on_event(self, _: object, __: object, ___: object, body: bytes) -> None:
        event = json.loads(body)
        if event["queue"] == self.queue:
            self.events.append(event)

    def run(self, job: str, run: str = "1", workflow: str = "7") -> Path:
        """A run folder with a job.sh; its output goes to $OUT, one line a start to `journal`."""
        folder = self.data / "workflows" / f"PEcAn_{workflow}" / "run" / run
        out = self.outdir(folder)
        folder.mkdir(parents=True)
        out.mkdir(parents=True)
        (folder / "job.sh").write_text(f"#!/bin/sh\nOUT={out}\necho started >> journal\n{job}\n")
        (folder / "job.sh").chmod(0o755)
        return folder

    @staticmethod
    def outdir(folder: Path) -> Path:
        return folder.parents[1] / "out" / folder.name

    def publish(
        self, folder: Path, attempt: int = 1, expect: Sequence[str] = (), workflow: str = "7", **headers: object
    ) -> None:
        """The operator's message for a run."""
        known = {
            "workflow": workflow,
            "run": folder.name,
            "attempt": attempt,
            "outdir": str(self.outdir(folder)),
            "expect": list(expect),
        }
        self.publish_body(json.dumps({"folder": str(folder)}).encode(), {**known, **headers})

    def publish_body(self, body: bytes, headers: dict[str, object] | None = None) -> None:
        properties = pika.BasicProperties(delivery_mode=2, headers=headers)
        self._channel.basic_publish("", self.queue, body, properties)

    def control(self, **command: object) -> None:
        self._channel.basic_publish("pecan.control", "", json.dumps(command).encode())

    def worker(
        self,
        name: str = "worker-a",
        port: int | None = None,
        connected: bool = True,
        prefix: Sequence[str] = (),
        **environment: str,
    ) -> WorkerProcess:
        """Starts a worker and waits until it is connected."""
        worker = WorkerProcess(
            name,
            [*prefix, WORKER_PYTHON, str(WORKER)],
            {
                "PATH": os.environ["PATH"],
                "RABBITMQ_URI": self.rabbit.uri(WORKER_USER, port),
                "PECAN_WORKER": name,
                "PECAN_DATA": str(self.data),
                "PECAN_MODEL_INFO": str(self.model_info),
                **QUICK,
                **environment,
            },
            self._folder / f"{name}-{len(self.workers)}.log",
        )
        self.workers.append(worker)
        if connected:
            wait_until(lambda: worker.lines("connected"), 15, f"connection of {name}")
        return worker

    def told(self, kind: str, **fields: object) -> list[dict[str, object]]:
        """The events of one kind so far that have these fields."""
        self._connection.process_data_events(0)
        return [
            event
            for event in self.events
            if event["event"] == kind and all(event.get(name) == value for name, value in fields.items())
        ]

    def wait_for(self, kind: str, count: int = 1, seconds: float = 10, **fields: object) -> dict[str, object]:
        """Waits for an event; returns the last of them."""
        deadline = time.monotonic() + seconds
        while len(found := self.told(kind, **fields)) < count:
            logs = "\n".join(f"{worker.name}:\n{worker.log.read_text()}" for worker in self.workers)
            assert time.monotonic() < deadline, f"no {kind} {fields} within {seconds} s\n{self.events}\n{logs}"
            self._connection.process_data_events(0.02)
        return found[-1]

    def finished(self, folder: Path, attempt: int = 1, **options: Any) -> dict[str, object]:
        return self.wait_for("finished", folder=str(folder), attempt=attempt, **options)

    def delete_queue(self) -> None:
        self._channel.queue_delete(self.queue)

    def ready_messages(self) -> int:
        return int(self._channel.queue_declare(self.queue, passive=True).method.message_count)

    def wait_for_ready_messages(self, count: int) -> None:
        wait_until(lambda: self.ready_messages() == count, 5, f"{count} waiting messages")

    def heartbeat(self) -> tuple[object, dict[str, object]] | None:
        _, properties, body = self._channel.basic_get(self.heartbeats, auto_ack=True)
        return None if body is None else (properties, json.loads(body))

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        with suppress(pika.exceptions.AMQPError):
            self._channel.queue_delete(self.queue)
            self._connection.close()


@pytest.fixture
def model(rabbit: Rabbit, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Model]:
    name = f"M{abs(hash(request.node.nodeid)) % 10**10}"
    model = Model(rabbit, tmp_path, name)
    yield model
    model.close()


BASIC_ACK = bytes([0, 60, 0, 80])


class Proxy:
    """A TCP way to the broker that can be cut and closed, and can keep the broker's confirms to itself."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._open = True
        self.passes_confirms = True
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Breaks the connections there are."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Breaks the connections and refuses new ones."""
        self._open = False
        self.cut()

    def open(self) -> None:
        self._open = True

    def end(self) -> None:
        self.close()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if not self._open:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._target))
                self._pairs.append((near, far))
                for source, sink, read in ((near, far, self._read_any), (far, near, self._read_frame)):
                    threading.Thread(target=self._pump, args=(source, sink, read), daemon=True).start()

    @staticmethod
    def _read_any(source: socket.socket) -> bytes:
        return source.recv(65536)

    def _read_frame(self, source: socket.socket) -> bytes:
        """The next frame of the broker's that may pass; empty at the end."""
        while True:
            head = source.recv(7, socket.MSG_WAITALL)
            frame = head + (source.recv(int.from_bytes(head[3:7], "big") + 1, socket.MSG_WAITALL) if head else b"")
            if self.passes_confirms or not (frame[:1] == b"\x01" and frame[7:11] == BASIC_ACK):
                return frame

    def _pump(self, source: socket.socket, sink: socket.socket, read: Callable[[socket.socket], bytes]) -> None:
        with suppress(OSError):
            while data := read(source):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(rabbit: Rabbit) -> Iterator[Proxy]:
    proxy = Proxy(rabbit.port)
    yield proxy
    proxy.end()
