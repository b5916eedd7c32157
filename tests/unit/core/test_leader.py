from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pecan_operator.core.leader import (
    Action,
    Standing,
    Terms,
    decide_action,
    held_lease,
    holder_of,
    new_lease,
    released_lease,
    transitions_of,
)

TERMS = Terms(duration_seconds=6, margin_seconds=1.0)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def lease(holder: str | None, version: int = 1, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "pecan", "uid": "u", "resourceVersion": str(version)},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 6, "leaseTransitions": 4, **spec},
    }


@pytest.mark.parametrize(
    ("seen", "still_seconds", "action"),
    [
        (None, 0.0, Action.ACQUIRE),
        (lease(""), 0.0, Action.ACQUIRE),
        (lease(None), 0.0, Action.ACQUIRE),
        (lease("other"), 0.0, Action.WAIT),
        (lease("other"), 5.99, Action.WAIT),
        (lease("other"), 6.0, Action.ACQUIRE),
        # An operator of another version may have longer ones; a shorter one is not believed.
        (lease("other", leaseDurationSeconds=15), 14.9, Action.WAIT),
        (lease("other", leaseDurationSeconds=15), 15.0, Action.ACQUIRE),
        (lease("other", leaseDurationSeconds=1), 5.9, Action.WAIT),
        (lease("me"), 0.0, Action.RENEW),
    ],
)
def test_a_candidate(seen: dict[str, Any] | None, still_seconds: float, action: Action) -> None:
    standing = Standing().saw(seen, 100.0)
    assert decide_action(standing, "me", 100.0 + still_seconds, TERMS) is action


@pytest.mark.parametrize(
    ("seen", "silent_seconds", "action"),
    [
        (lease("me"), 0.0, Action.RENEW),
        (lease("me"), 4.99, Action.RENEW),
        (lease("me"), 5.0, Action.LOST),
        (lease("other"), 0.0, Action.LOST),
        (lease(""), 0.0, Action.LOST),
        (None, 0.0, Action.LOST),
    ],
)
def test_a_leader(seen: dict[str, Any] | None, silent_seconds: float, action: Action) -> None:
    standing = Standing().holds(lease("me"), 100.0).saw(seen, 100.0 + silent_seconds)
    assert decide_action(standing, "me", 100.0 + silent_seconds, TERMS) is action


def test_a_lease_stands_still_from_when_it_was_first_seen_so() -> None:
    standing = Standing().saw(lease("other", 1), 10.0).saw(lease("other", 1), 14.0)
    assert standing.since == 10.0
    assert standing.saw(lease("other", 2), 15.0).since == 15.0
    assert standing.saw({**lease("other", 1), "metadata": {"uid": "v", "resourceVersion": "1"}}, 15.0).since == 15.0
    assert standing.saw(None, 15.0).since == 15.0


def test_whether_it_leads() -> None:
    assert not Standing().leads(0.0, TERMS)
    standing = Standing().holds(lease("me"), 100.0)
    assert standing.leads(104.9, TERMS)
    assert not standing.leads(105.0, TERMS)


def test_transitions_count_the_changes_of_holder() -> None:
    first = new_lease("pecan-system", "pecan", "a", NOON, TERMS)
    assert first["apiVersion"] == "coordination.k8s.io/v1"
    assert first["metadata"] == {"name": "pecan", "namespace": "pecan-system"}
    assert first["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 6,
        "acquireTime": "2026-06-01T12:00:00.000000Z",
        "renewTime": "2026-06-01T12:00:00.000000Z",
        "leaseTransitions": 0,
    }
    later = NOON.replace(minute=5)
    renewed = held_lease(first, "a", later, TERMS)
    assert renewed["spec"] == {**first["spec"], "renewTime": "2026-06-01T12:05:00.000000Z"}
    taken = held_lease(renewed, "b", later, TERMS)
    assert (holder_of(taken), transitions_of(taken)) == ("b", 1)
    assert taken["spec"]["acquireTime"] == "2026-06-01T12:05:00.000000Z"
    free = released_lease(taken, later)
    assert (holder_of(free), transitions_of(free)) == ("", 1)
    assert transitions_of(held_lease(free, "b", later, TERMS)) == 2


def test_what_others_have_written_into_the_lease_stays() -> None:
    read = {**lease("other"), "kind": "Lease"}
    read["metadata"]["labels"] = {"team": "forest"}
    made = held_lease(read, "me", NOON, TERMS)
    assert made["metadata"] == read["metadata"]
    assert made["kind"] == "Lease"
