"""The worker's decisions about deliveries, with a session that only notes what is done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import spec

from pecan_operator.assets.worker import (
    Attempt,
    Delivery,
    Disconnected,
    Memory,
    Message,
    Outcome,
    Running,
    Session,
    Settings,
    Worker,
)

MODEL = {"name": "Sipnet", "type": "SIPNET", "version": "git", "binary": "/bin/sipnet"}


class NotedSession:
    """Takes every event; notes what is published and settled."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.events: list[Mapping[str, Any]] = []
        self.settled: list[str] = []
        self.in_hand: set[Delivery] = set()
        self.is_asking = True

    def publish_event(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)

    async def confirm(self, answer: None) -> None:
        if self.closed.done():
            raise Disconnected

    def unsubscribe(self) -> None:
        self.is_asking = False

    def subscribe(self, on_delivery: Callable[[Delivery], None]) -> None:
        self.is_asking = True

    def settle(self, action: Callable[[Any], None]) -> None:
        action(
            SimpleNamespace(
                basic_ack=lambda tag: self.settled.append("ack"),
                basic_nack=lambda tag, requeue: self.settled.append("give back"),
            )
        )


def in_loop(test: Callable[[Worker, Any, Settings], Awaitable[None]], data: Path) -> None:
    async def body() -> None:
        settings = Settings.from_environment({"PECAN_DATA": str(data), "PECAN_WORKER": "me"})
        worker, session = Worker(settings, MODEL), NotedSession()
        worker._session = session  # type: ignore[assignment]
        await test(worker, session, settings)

    asyncio.run(body())


def message(data: Path, run: str = "1") -> Message:
    folder = data / "run" / run
    folder.mkdir(parents=True, exist_ok=True)
    return Message(str(folder), str(data / "out" / run), workflow="7", run=run, attempt=1)


def test_a_fault_of_the_worker_is_told_and_the_message_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(worker: Worker, session: Any, settings: Settings) -> None:
        def fault(attempt: Attempt) -> None:
            raise ZeroDivisionError("oops")

        monkeypatch.setattr(Attempt, "look", fault)
        await worker._serve(Delivery(session, 1, message(tmp_path)))
        (event,) = session.events
        assert (event["event"], event["state"], event["run"]) == ("finished", "failed", "1")
        assert "oops" in event["reason"]
        assert session.settled == ["ack"]

    in_loop(test, tmp_path)


def test_its_own_job_is_adopted_once_its_connection_is_lost(tmp_path: Path) -> None:
    async def test(worker: Worker, session: Any, settings: Settings) -> None:
        mine = message(tmp_path)
        lost = NotedSession()
        running = begin(worker, settings, Delivery(lost, 1, mine))  # type: ignore[arg-type]
        doubled = Delivery(session, 2, mine)
        worker._on_delivery(doubled)
        assert running.delivery is not doubled
        lost.closed.set_result("cut")
        again = Delivery(session, 3, replace(mine, redelivered=True))
        worker._on_delivery(again)
        assert running.delivery is again
        assert [event["event"] for event in session.events] == ["started"]

    in_loop(test, tmp_path)


def begin(worker: Worker, settings: Settings, delivery: Delivery) -> Running:
    over = asyncio.get_running_loop().create_future()
    worker._running = Running(Attempt(settings, delivery.message, Memory()), delivery, over)
    return worker._running


def test_a_busy_worker_gives_back_what_is_not_its_own(tmp_path: Path) -> None:
    async def test(worker: Worker, session: Any, settings: Settings) -> None:
        lost = NotedSession()
        lost.closed.set_result("cut")
        mine = message(tmp_path)
        running = begin(worker, settings, Delivery(lost, 1, mine))  # type: ignore[arg-type]
        worker._on_delivery(Delivery(session, 1, replace(mine, attempt=2)))
        assert session.settled == ["give back"]
        assert running.delivery.session is lost  # type: ignore[comparison-overlap]

    in_loop(test, tmp_path)


@pytest.mark.parametrize(("state", "told"), [("succeeded", ["finished", "started"]), ("lost", []), ("released", [])])
def test_what_was_told_on_a_lost_connection_is_told_again_if_it_is_on_file(
    tmp_path: Path, state: str, told: list[str]
) -> None:
    async def test(worker: Worker, session: Any, settings: Settings) -> None:
        lost = NotedSession()
        lost.closed.set_result("cut")
        delivery = Delivery(lost, 1, message(tmp_path, run="1"))  # type: ignore[arg-type]
        begin(worker, settings, Delivery(lost, 2, message(tmp_path, run="2")))  # type: ignore[arg-type]
        with pytest.raises(Disconnected):
            await worker._answer(delivery, Outcome(state))
        assert [event["event"] for event in session.events] == told
        assert (lost.settled, session.settled) == ([], [])

    in_loop(test, tmp_path)


def test_what_was_told_on_a_lost_connection_waits_for_the_next_one(tmp_path: Path) -> None:
    async def test(worker: Worker, session: Any, settings: Settings) -> None:
        session.closed.set_result("cut")
        with pytest.raises(Disconnected):
            await worker._answer(Delivery(session, 1, message(tmp_path)), Outcome("succeeded"))
        after = NotedSession()
        worker._session = after  # type: ignore[assignment]
        for _ in range(2):
            worker._tell_again()
        assert [(event["event"], event["run"]) for event in after.events] == [("finished", "1")]

    in_loop(test, tmp_path)


def test_a_delivery_of_a_closed_session_is_never_begun(tmp_path: Path) -> None:
    async def test(worker: Worker, session: Any, settings: Settings) -> None:
        session.closed.set_result("cut")
        await worker._serve(Delivery(session, 1, message(tmp_path)))
        assert (session.events, session.settled) == ([], [])
        assert list((tmp_path / "run" / "1").iterdir()) == []

    in_loop(test, tmp_path)


def test_a_recalled_delivery_is_given_back(tmp_path: Path) -> None:
    async def test(worker: Worker, session: Any, settings: Settings) -> None:
        delivery = Delivery(session, 1, message(tmp_path))
        delivery.recall()
        await worker._serve(delivery)
        assert (session.events, session.settled) == ([], ["give back"])
        assert list((tmp_path / "run" / "1").iterdir()) == []

    in_loop(test, tmp_path)


@pytest.mark.parametrize(
    "command", [b"", b"[]", b"{}", b'{"command": "cancel"}', b'{"command": "cancel", "workflow": 7}', b"\xff"]
)
def test_a_command_that_says_nothing_changes_nothing(tmp_path: Path, command: bytes) -> None:
    async def test(worker: Worker, session: Any, settings: Settings) -> None:
        worker._on_control(command)
        assert session.is_asking
        assert session.events == []

    in_loop(test, tmp_path)


@pytest.mark.parametrize(
    ("cancelled", "published", "wanted"),
    [([0], 0, False), ([0], 1, True), ([1], 0, False), ([1, 0], 1, False), ([None], 0, False), ([None], 1, True)],
)
def test_a_cancel_is_about_what_was_published_until_then(
    tmp_path: Path, cancelled: list[int | None], published: int, wanted: bool
) -> None:
    async def test(worker: Worker, session: Any, settings: Settings) -> None:
        for generation in cancelled:
            about = {} if generation is None else {"generation": generation}
            worker._on_control(json.dumps({"command": "cancel", "workflow": "7", **about}).encode())
        retried = replace(message(tmp_path), generation=published)
        attempt = Attempt(settings, retried, Memory(str(tmp_path)))
        outcome = await worker._claim(Delivery(session, 1, retried), attempt)
        assert (outcome is None) is wanted
        assert attempt.claim.is_owned() is wanted

    in_loop(test, tmp_path)


def test_remembered_cancellations_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pecan_operator.assets.worker.CANCELLED_KEPT", 3)

    async def test(worker: Worker, session: Any, settings: Settings) -> None:
        for workflow in range(5):
            worker._on_control(f'{{"command": "cancel", "workflow": "{workflow}"}}'.encode())
        assert list(worker._cancelled) == ["2", "3", "4"]

    in_loop(test, tmp_path)


@given(
    count=st.integers(1, 8),
    returned=st.sets(st.integers(1, 8)),
    answers=st.lists(st.tuples(st.integers(1, 8), st.booleans(), st.booleans()), max_size=8),
)
def test_confirms_reach_the_events_they_are_for(
    count: int, returned: set[int], answers: list[tuple[int, bool, bool]]
) -> None:
    async def body() -> None:
        session = Session(Settings.from_environment({}), "Q")
        session._work = SimpleNamespace(basic_publish=lambda *_, **__: None)
        waiting = {tag: session.publish_event({}) for tag in range(1, count + 1)}
        session._returned.update(str(tag) for tag in returned if tag <= count)
        expected: dict[int, bool] = {}
        for tag, multiple, accepted in answers:
            method = (spec.Basic.Ack if accepted else spec.Basic.Nack)(delivery_tag=tag, multiple=multiple)
            session._on_confirm(SimpleNamespace(method=method))
            for each in range(1, tag + 1) if multiple else (tag,):
                if each <= count:
                    expected.setdefault(each, accepted and each not in returned)
        assert {tag: answer.result() for tag, answer in waiting.items() if answer.done()} == expected

    asyncio.run(body())
