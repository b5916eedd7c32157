"""RabbitMQ as R speaks to it: over the management API, whose address R makes of the AMQP URI. Source: PEcAn,
base/remote/R/rabbitmq.R and start_rabbitmq.R.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from r_standin.logger import severe
from r_standin.settings import Settings

ANSWER_SECONDS = 10


class Broker(Protocol):
    """The broker as the stages need it."""

    def check(self) -> None: ...
    def publish(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class Management:
    """The queue of the settings, by the management API at `address`; the virtual host is not decoded."""

    address: str
    user: str
    password: str
    vhost: str
    queue: str

    def check(self) -> None:
        """The user is known there, and the queue is declared."""
        self._ask("GET", f"queues/{self.vhost}/{self.queue}")

    def publish(self, folder: Path) -> None:
        """A persistent message with the folder of a run. R waits for ever for one that no queue takes; here it is severe."""
        self.check()
        message = {
            "properties": {"delivery_mode": 2},
            "routing_key": self.queue,
            "payload": json.dumps({"folder": str(folder)}),
            "payload_encoding": "string",
        }
        answer = self._ask("POST", f"exchanges/{self.vhost}//publish", message)
        if not answer["routed"]:
            raise severe("rabbitmq_post_message", f"no queue took the message for {folder}")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        user = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/api/{path}", data, {"Authorization": f"Basic {user}"})
        request.method = method
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            why = "make sure username/password is correct" if error.code == 401 else error.reason
            raise severe("rabbitmq_send_message", f"error sending message to rabbitmq [{error.code}], {why}") from None
        except OSError as error:
            raise severe(
                "rabbitmq_send_message", f"error sending message to rabbitmq at {self.address}: {error}"
            ) from None


def connect(settings: Settings) -> Broker:
    """The broker of host/rabbitmq, by RABBITMQ_PREFIX and RABBITMQ_PORT as PEcAn's start_rabbitmq reads them."""
    uri, queue = settings.need("host/rabbitmq/uri"), settings.need("host/rabbitmq/queue")
    prefix, port = os.environ.get("RABBITMQ_PREFIX", "").strip("/"), os.environ.get("RABBITMQ_PORT", "15672")
    if not port.isdecimal():
        raise severe("start_rabbitmq", f"RABBITMQ_PORT is {port!r}: the port of the management API, or unset")
    parts = urlsplit(uri)
    credentials = parts.netloc.partition("@")[0].split(":") if "@" in parts.netloc else []
    if parts.scheme not in ("amqp", "amqps") or len(credentials) != 2 or parts.netloc.count("@") != 1:
        raise severe("rabbitmq_parse_uri", "rabbitmq uri is not recognized: amqp://user:password@host/vhost is wanted")
    scheme = parts.scheme.replace("amqp", "http")
    address = f"{scheme}://{parts.hostname}:{port}" + (f"/{prefix}" if prefix else "")
    user, password = credentials
    return Management(address, user, password, parts.path.lstrip("/") or "%2F", queue)
