"""The form of messages between operator and workers: runs one way, events the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pecan_operator.errors import UserError
from pecan_operator.records import EventKind, RunKey, RunMessage, WorkerEvent

FINISHED_STATES = frozenset({"succeeded", "failed", "cancelled", "lost", "released", "refused"})
_TEXTS = ("worker", "queue", "workflow", "run", "folder", "state", "reason", "started_at", "finished_at", "at")
_KNOWN = frozenset({"event", "attempt", "exit_code", *_TEXTS})


def run_body(message: RunMessage) -> bytes:
    """What PEcAn's own workers understand: the folder, nothing else."""
    return json.dumps({"folder": message.folder}).encode()


def run_headers(message: RunMessage) -> dict[str, Any]:
    """What our worker needs besides the folder."""
    return {
        "workflow": str(message.key.workflow_id),
        "run": message.key.run_id,
        "attempt": message.attempt,
        "outdir": message.outdir,
        "expect": list(message.expect),
        "generation": message.generation,
    }


def cancel_command(workflow_id: int, generation: int) -> dict[str, Any]:
    """What tells workers to end the runs of a workflow that were published in this retry generation or before."""
    return {"command": "cancel", "workflow": str(workflow_id), "generation": generation}


def is_own(headers: Mapping[str, Any] | None) -> bool:
    """Whether a message of a model queue is the operator's, by its headers."""
    return {"workflow", "run", "attempt"} <= (headers or {}).keys()


def parse_event(body: bytes) -> WorkerEvent:
    """An event of a worker. Raises UserError when it is none; unknown fields are kept in `extra`."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise _bad("it is not JSON") from None
    if not isinstance(event, dict):
        raise _bad("it is not a JSON object")
    kind = _text(event, "event")
    if kind not in list(EventKind):
        raise _bad(f"event is {kind!r}")
    state = _text(event, "state")
    if kind == EventKind.FINISHED and state not in FINISHED_STATES:
        raise _bad(f"state is {state!r}")
    return WorkerEvent(
        kind=EventKind(kind),
        worker=_required(event, "worker"),
        queue=_required(event, "queue"),
        key=_key(event),
        attempt=_whole(event, "attempt") or 0,
        folder=_text(event, "folder"),
        state=state,
        exit_code=_whole(event, "exit_code"),
        reason=_text(event, "reason"),
        started_at=_time(event, "started_at"),
        finished_at=_time(event, "finished_at"),
        at=_time(event, "at"),
        extra={name: value for name, value in event.items() if name not in _KNOWN},
    )


def dead_event(body: bytes, message_id: str | None, headers: Mapping[str, Any] | None) -> WorkerEvent:
    """A run message that the broker gave up (too many deliveries), as the event that its attempt is lost.

    The key is None when the message is not the operator's.
    """
    headers = headers or {}
    key, attempt, folder = None, 0, None
    workflow, run, number = headers.get("workflow"), headers.get("run"), headers.get("attempt")
    if isinstance(workflow, str) and _is_id(workflow) and isinstance(run, str) and isinstance(number, int):
        key, attempt = RunKey(int(workflow), run), number
    try:
        content = json.loads(body)
        folder = content.get("folder") if isinstance(content, dict) else None
    except (ValueError, RecursionError):
        pass
    queue, why = _first_death(headers)
    return WorkerEvent(
        kind=EventKind.FINISHED,
        worker="broker",
        queue=queue,
        key=key,
        attempt=attempt,
        folder=folder if isinstance(folder, str) else None,
        state="lost",
        reason=f"the broker gave up message {message_id or '(without id)'} of queue {queue}: {why}",
        at=datetime.now(UTC),
    )


def _first_death(headers: Mapping[str, Any]) -> tuple[str, str]:
    """Queue and reason in the header that RabbitMQ adds to a dead letter."""
    deaths = headers.get("x-death")
    death = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping) else {}
    return str(death.get("queue", "unknown")), str(death.get("reason", "unknown reason"))


def _key(event: Mapping[str, Any]) -> RunKey | None:
    workflow, run = _text(event, "workflow"), _text(event, "run")
    if workflow is None and run is None:
        return None
    if workflow is None or not _is_id(workflow) or not run:
        raise _bad(f"workflow {workflow!r} and run {run!r} name no run")
    return RunKey(int(workflow), run)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _required(event: Mapping[str, Any], name: str) -> str:
    value = _text(event, name)
    if not value:
        raise _bad(f"{name} is missing")
    return value


def _text(event: Mapping[str, Any], name: str) -> str | None:
    value = event.get(name)
    if value is not None and not isinstance(value, str):
        raise _bad(f"{name} is {value!r}, not text")
    return None if value is None else _storable(value)


def _storable(text: str) -> str:
    """Without what PostgreSQL takes in no text, and what a model may well have printed last."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _whole(event: Mapping[str, Any], name: str) -> int | None:
    value = event.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise _bad(f"{name} is {value!r}, not a whole number")
    return value


def _time(event: Mapping[str, Any], name: str) -> datetime | None:
    value = _text(event, name)
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _bad(f"{name} is {value!r}, not an ISO 8601 time") from None


def _bad(problem: str) -> UserError:
    return UserError("BadEvent", f"a worker's event cannot be read: {problem}")
