"""The operator's connection against a real broker: publishing, events, counting, reconnecting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from pecan_operator.clients.amqp import Broker
from pecan_operator.records import RunKey, RunMessage


def runs(queue: str, count: int, workflow: int = 7) -> list[RunMessage]:
    return [
        RunMessage(RunKey(workflow, str(number)), 1, queue, f"/data/run/{number}", f"/data/out/{number}", ("a.nc",))
        for number in range(count)
    ]


@pytest.fixture
def broker(rabbit: Any) -> Iterator[Broker]:
    broker = Broker(rabbit.uri("pecan-operator"))
    broker.start()
    deadline = time.monotonic() + 10
    while not broker.connected:
        assert time.monotonic() < deadline, broker.last_error
        time.sleep(0.01)
    while (batch := broker.take_events(timeout=0.1)).token:
        broker.ack(batch)
    yield broker
    broker.stop()
    assert not broker.connected


def test_publishes_thousands_and_counts_them(broker: Broker) -> None:
    broker.declare_queues(["PUBLISH_git"])
    messages = runs("PUBLISH_git", 5000)
    began = time.monotonic()
    result = broker.publish(messages)
    seconds = time.monotonic() - began
    print(f"published {len(messages) / seconds:.0f} messages/s")
    assert sorted(result.confirmed, key=lambda m: int(m.key.run_id)) == messages
    assert (result.returned, result.unknown) == ([], [])
    assert broker.ready(["PUBLISH_git", "NOWHERE_git", "pecan"]) == {"PUBLISH_git": 5000, "NOWHERE_git": None, "pecan": 0}
    broker.recall("PUBLISH_git")
    assert broker.ready(["PUBLISH_git"]) == {"PUBLISH_git": 0}
    broker.delete_queue("PUBLISH_git")
    assert not broker.exists("PUBLISH_git")
