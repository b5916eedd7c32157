"""Conditions (Kubernetes API conventions) as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MESSAGE_MAX = 1024


@dataclass(frozen=True)
class Condition:
    """`status` None is Unknown."""

    type: str
    status: bool | None
    reason: str
    message: str = ""


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as metav1.Time is written."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def conditions(
    previous: Sequence[Mapping[str, Any]], current: Iterable[Condition], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The list for `status.conditions`: lastTransitionTime moves only when the status does."""
    before = {condition.get("type"): condition for condition in previous}
    result = []
    for condition in current:
        status = {True: "True", False: "False", None: "Unknown"}[condition.status]
        old = before.get(condition.type)
        since = old["lastTransitionTime"] if old is not None and old.get("status") == status else timestamp(now)
        result.append(
            {
                "type": condition.type,
                "status": status,
                "reason": condition.reason,
                "message": _short(condition.message),
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    return result


def find(status: Mapping[str, Any] | None, condition_type: str) -> Mapping[str, Any] | None:
    """One condition of a status, or None."""
    for condition in (status or {}).get("conditions") or []:
        if condition.get("type") == condition_type:
            found: Mapping[str, Any] = condition
            return found
    return None


def all_but(status: Mapping[str, Any] | None, *condition_types: str) -> list[Condition]:
    """The conditions of a status, as they are, but for some."""
    return [
        Condition(given["type"], {"True": True, "False": False}.get(given["status"]), given["reason"], given["message"])
        for given in (status or {}).get("conditions") or []
        if given["type"] not in condition_types
    ]


def _short(message: str) -> str:
    return message if len(message) <= MESSAGE_MAX else message[: MESSAGE_MAX - 1] + "…"
