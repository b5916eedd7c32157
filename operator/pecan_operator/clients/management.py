"""RabbitMQ's management API, as far as AMQP cannot do it: policies, and totals with what workers hold."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from pecan_operator.errors import Unavailable

TIMEOUT_SECONDS = 5.0
NOT_FOUND = 404


class Management:
    """Every method raises Unavailable when the API does not answer or refuses."""

    def __init__(self, uri: str, username: str, password: str, vhost: str) -> None:
        """`uri` as http://<host>:<port>, with a path if the API is behind one."""
        self._uri = uri.rstrip("/")
        self._vhost = quote(vhost, safe="")
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def apply_policy(self, name: str, pattern: str, definition: Mapping[str, Any], priority: int = 0) -> None:
        """Limits for the queues whose name matches `pattern`; of several policies only that of highest priority counts."""
        policy = {"pattern": pattern, "definition": definition, "priority": priority, "apply-to": "queues"}
        self._request("PUT", f"policies/{self._vhost}/{quote(name, safe='')}", policy)

    def read_policy(self, name: str) -> dict[str, Any] | None:
        """None when there is none of that name."""
        policy = self._request("GET", f"policies/{self._vhost}/{quote(name, safe='')}", may_be_absent=True)
        return policy if isinstance(policy, dict) else None

    def delete_policy(self, name: str) -> None:
        """A policy that does not exist is fine."""
        self._request("DELETE", f"policies/{self._vhost}/{quote(name, safe='')}", may_be_absent=True)

    def queue_totals(self) -> dict[str, tuple[int, int]]:
        """Messages ready and unacknowledged of each queue; up to 5 s old for quorum queues."""
        queues = self._request("GET", f"queues/{self._vhost}?disable_stats=true&enable_queue_totals=true")
        return {
            queue["name"]: (int(queue.get("messages_ready", 0)), int(queue.get("messages_unacknowledged", 0)))
            for queue in queues
        }

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, may_be_absent: bool = False
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self._uri}/api/{path}", data=data, method=method, headers=self._headers)
        try:
            with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                content = answer.read()
                return json.loads(content) if content else None
        except HTTPError as error:
            if error.code == NOT_FOUND and may_be_absent:
                return None
            detail = error.read(500).decode("utf-8", "replace")
            raise Unavailable("BrokerUnavailable", f"RabbitMQ refuses {method} {path}: {error.code} {detail}") from None
        except (OSError, HTTPException, ValueError) as error:
            raise Unavailable("BrokerUnavailable", f"RabbitMQ's management API does not answer: {error}") from None
