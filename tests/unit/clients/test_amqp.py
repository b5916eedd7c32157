"""The parts of the broker's client that need no broker."""

from __future__ import annotations

import asyncio
import json
import random
import time

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.clients import amqp
from pecan_operator.clients.amqp import Broker, EventBatch
from pecan_operator.errors import Unavailable
from pecan_operator.records import RunKey, RunMessage


def message(number: int) -> RunMessage:
    return RunMessage(RunKey(7, str(number)), 1, "Q", f"/run/{number}", f"/out/{number}", ())


@given(
    fates=st.lists(st.sampled_from(["confirmed", "returned", "refused", "silent"]), max_size=30),
    seed=st.integers(),
    is_grouped=st.booleans(),
)
def test_every_message_ends_in_exactly_one_list(fates: list[str], seed: int, is_grouped: bool) -> None:
    async def publish() -> None:
        messages = [message(number) for number in range(len(fates))]
        publication = amqp._Publication(messages)
        for tag in range(1, len(messages) + 1):
            publication.sent(tag, publication.waiting.popleft())
        for tag, fate in enumerate(fates, 1):
            if fate == "returned":
                publication.sent_back(messages[tag - 1].message_id)
        answered = [(tag, fate) for tag, fate in enumerate(fates, 1) if fate != "silent"]
        if is_grouped and answered and all(fate in ("confirmed", "returned") for fate in fates):
            publication.answered(answered[-1][0], True, True)
        else:
            random.Random(seed).shuffle(answered)
            for tag, fate in answered:
                publication.answered(tag, False, fate != "refused")
        result = publication.result()
        expected = {
            "confirmed": result.confirmed,
            "returned": result.returned,
        }
        for name, found in expected.items():
            assert {m.key.run_id for m in found} == {str(n) for n, fate in enumerate(fates) if fate == name}
        assert {m.key.run_id for m in result.unknown} == {
            str(n) for n, fate in enumerate(fates) if fate in ("refused", "silent")
        }
        assert len(result.confirmed) + len(result.returned) + len(result.unknown) == len(messages)
        assert publication.done.done() is (bool(fates) and "silent" not in fates)

    asyncio.run(publish())


def test_what_was_not_sent_is_unknown() -> None:
    async def publish() -> None:
        publication = amqp._Publication([message(1), message(2)])
        publication.sent(1, publication.waiting.popleft())
        publication.answered(1, False, True)
        assert not publication.done.done()
        assert publication.result() == amqp.PublishResult([message(1)], [], [message(2)])

    asyncio.run(publish())


@pytest.fixture
def broker() -> Broker:
    """Never started."""
    return Broker("amqp://user:hidden@127.0.0.1:1/pecan")


def test_nothing_is_known_without_a_connection(broker: Broker) -> None:
    assert not broker.connected
    assert not broker.wait_connected(0.01)
    with pytest.raises(Unavailable, match="not connected yet"):
        broker.ready(["Q"])
    with pytest.raises(Unavailable):
        broker.publish([message(1)])
    with pytest.raises(Unavailable):
        broker.declare_queues(["Q"])
    broker.control({"command": "cancel", "workflow": "7"})
    broker.ack(EventBatch())


def test_events_are_taken_in_order_and_nonsense_is_only_acknowledged(broker: Broker) -> None:
    for tag in range(1, 6):
        event = {"event": "ready", "worker": f"w{tag}", "queue": "Q"}
        body = b"nonsense" if tag == 3 else json.dumps(event).encode()
        broker._on_message(tag, "pecan.events", pika.BasicProperties(), body)
    broker._on_message(6, "pecan.dead", pika.BasicProperties(message_id="7.1.1"), b"{}")
    first, second = broker.take_events(limit=3), broker.take_events(limit=10)
    assert [event.worker for event in first.events] == ["w1", "w2"]
    assert first.token == (None, 3)
    assert [event.worker for event in second.events] == ["w4", "w5"]
    assert [event.state for event in second.dead] == ["lost"]
    assert second.token == (None, 6)
    began = time.monotonic()
    assert broker.take_events(timeout=0.05) == EventBatch()
    assert time.monotonic() - began >= 0.05


def test_events_of_a_lost_connection_are_forgotten(broker: Broker) -> None:
    broker._on_message(1, "pecan.events", pika.BasicProperties(), b'{"event": "ready", "worker": "w", "queue": "Q"}')
    broker._go("cut")
    assert broker.take_events(timeout=0) == EventBatch()
    assert broker.last_error == "cut"


def test_an_unreachable_broker_is_told_without_its_password(broker: Broker) -> None:
    woken: list[bool] = []
    broker._on_wake = lambda: woken.append(broker.connected)
    broker.start()
    deadline = time.monotonic() + 5
    while broker.last_error is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "hidden" not in broker.last_error
    assert (broker.connected, broker.connections, woken) == (False, 0, [])
    broker.stop()
    broker.stop()
