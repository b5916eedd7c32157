"""Messages between operator and workers, in both directions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.errors import UserError
from pecan_operator.messages import dead_event, is_own, parse_event, run_body, run_headers
from pecan_operator.records import EventKind, RunKey, RunMessage

FINISHED = {
    "event": "finished",
    "worker": "sipnet-1",
    "queue": "SIPNET_git",
    "workflow": "99000000001",
    "run": "ENS-00001-772",
    "attempt": 2,
    "folder": "/data/workflows/PEcAn_99000000001/run/ENS-00001-772",
    "state": "failed",
    "exit_code": 65,
    "reason": "no parameter SLA",
    "started_at": "2026-11-22T10:00:00.125Z",
    "finished_at": "2026-11-22T11:00:01+01:00",
    "at": "2026-11-22T10:00:02",
}


def test_an_event_is_read_with_times_in_utc() -> None:
    event = parse_event(json.dumps({**FINISHED, "node": "n1"}).encode())
    assert event.kind is EventKind.FINISHED
    assert event.key == RunKey(99000000001, "ENS-00001-772")
    assert (event.attempt, event.state, event.exit_code, event.reason) == (2, "failed", 65, "no parameter SLA")
    assert event.started_at == datetime(2026, 11, 22, 10, 0, 0, 125000, UTC)
    assert event.finished_at == datetime(2026, 11, 22, 10, 0, 1, tzinfo=UTC)
    assert event.at == datetime(2026, 11, 22, 10, 0, 2, tzinfo=UTC)
    assert event.extra == {"node": "n1"}


def test_an_event_without_a_run_has_no_key() -> None:
    event = parse_event(b'{"event": "ready", "worker": "w", "queue": "q", "workflow": null, "run": null}')
    assert (event.kind, event.key, event.attempt) == (EventKind.READY, None, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"event": "dancing"}, "dancing"),
        ({"event": ["finished"]}, "event is"),
        ({"worker": None}, "worker is missing"),
        ({"queue": 5}, "queue is 5"),
        ({"workflow": "seven"}, "seven"),
        ({"workflow": None}, "name no run"),
        ({"run": ""}, "name no run"),
        ({"workflow": "9" * 40}, "name no run"),
        ({"attempt": "2"}, "attempt"),
        ({"attempt": True}, "attempt"),
        ({"state": None}, "state is None"),
        ({"state": "tired"}, "tired"),
        ({"exit_code": 1.5}, "exit_code"),
        ({"at": "yesterday"}, "yesterday"),
    ],
)
def test_a_wrong_event_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_event(json.dumps({**FINISHED, **change}).encode())


@given(
    st.binary()
    | st.dictionaries(st.sampled_from(sorted(FINISHED)), st.text() | st.integers()).map(
        lambda event: json.dumps({**FINISHED, **event}).encode()
    )
)
def test_nonsense_never_raises_anything_else(body: bytes) -> None:
    try:
        event = parse_event(body)
    except UserError:
        return
    assert event.worker
    assert event.queue


def test_the_body_is_what_pecans_own_workers_take() -> None:
    message = RunMessage(RunKey(7, "1"), 3, "SIPNET_git", "/data/run/1", "/data/out/1", ("2001.nc",), generation=4)
    assert json.loads(run_body(message)) == {"folder": "/data/run/1"}
    assert run_headers(message) == {
        "workflow": "7",
        "run": "1",
        "attempt": 3,
        "outdir": "/data/out/1",
        "expect": ["2001.nc"],
        "generation": 4,
    }


def test_a_dead_letter_is_a_lost_attempt() -> None:
    message = RunMessage(RunKey(7, "1"), 3, "SIPNET_git", "/data/run/1", "/data/out/1", ())
    death = {"x-death": [{"queue": "SIPNET_git", "reason": "delivery_limit", "count": 1}]}
    event = dead_event(run_body(message), message.message_id, {**run_headers(message), **death})
    assert (event.key, event.attempt, event.state) == (RunKey(7, "1"), 3, "lost")
    assert (event.queue, event.folder) == ("SIPNET_git", "/data/run/1")
    assert "7.1.3" in (event.reason or "")
    assert "delivery_limit" in (event.reason or "")


@given(
    body=st.binary(),
    headers=st.none()
    | st.dictionaries(st.sampled_from(["workflow", "run", "attempt", "x-death"]), st.text() | st.none()),
)
def test_any_dead_letter_can_be_told(body: bytes, headers: dict[str, Any] | None) -> None:
    assert dead_event(body, None, headers).state == "lost"


def test_what_the_database_cannot_store_is_left_out() -> None:
    body = json.dumps({**FINISHED, "reason": "read \0\0 of drivers \ud800"}).encode()
    assert parse_event(body).reason == "read  of drivers ?"


def test_our_own_messages_are_known_by_their_headers() -> None:
    assert is_own(run_headers(RunMessage(RunKey(7, "1"), 3, "SIPNET_git", "/data/run/1", "/data/out/1", ())))
    assert not is_own(None)
    assert not is_own({"workflow": "7"})
