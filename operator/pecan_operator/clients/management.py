"""RabbitMQ's management API, for what AMQP does not tell: how many messages workers hold."""

from __future__ import annotations

import base64
import json
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from pecan_operator.errors import Unavailable

TIMEOUT_SECONDS = 5.0


class Management:
    """Every method raises Unavailable when the API does not answer or refuses."""

    def __init__(self, uri: str, username: str, password: str, vhost: str) -> None:
        """`uri` as http://<host>:<port>, with a path if the API is behind one."""
        self._uri = uri.rstrip("/")
        self._vhost = quote(vhost, safe="")
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}"}

    def queue_totals(self) -> dict[str, tuple[int, int]]:
        """Messages ready and unacknowledged of each queue; up to 5 s old for quorum queues."""
        queues = self._get(f"queues/{self._vhost}?disable_stats=true&enable_queue_totals=true")
        return {
            queue["name"]: (int(queue.get("messages_ready", 0)), int(queue.get("messages_unacknowledged", 0)))
            for queue in queues
        }

    def _get(self, path: str) -> Any:
        request = Request(f"{self._uri}/api/{path}", headers=self._headers)
        try:
            with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except HTTPError as error:
            detail = error.read(500).decode("utf-8", "replace")
            raise Unavailable("BrokerUnavailable", f"RabbitMQ refuses GET {path}: {error.code} {detail}") from None
        except (OSError, HTTPException, ValueError) as error:
            raise Unavailable("BrokerUnavailable", f"RabbitMQ's management API does not answer: {error}") from None
