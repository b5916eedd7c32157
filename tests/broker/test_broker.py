"""The operator's connection against a real broker: publishing, events, counting, reconnecting."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest

from pecan_operator.clients.amqp import Broker
from pecan_operator.clients.management import Management
from pecan_operator.core.platform.rabbitmq import VHOST
from pecan_operator.errors import Unavailable, UserError
from pecan_operator.records import EventKind, RunKey, RunMessage


def runs(queue: str, count: int, workflow: int = 7) -> list[RunMessage]:
    return [
        RunMessage(RunKey(workflow, str(number)), 1, queue, f"/data/run/{number}", f"/data/out/{number}", ("a.nc",))
        for number in range(count)
    ]


def connect(uri: str, **options: Any) -> Broker:
    broker = Broker(uri, **options)
    broker.start()
    assert broker.wait_connected(10.0)
    return broker


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def broker(rabbit: Any) -> Iterator[Broker]:
    broker = connect(rabbit.uri("pecan-operator"))
    while (batch := broker.take_events(timeout=0.1)).token:
        broker.ack(batch)
    yield broker
    broker.stop()
    assert not broker.connected


def test_publishes_thousands_and_counts_them(rabbit: Any, broker: Broker) -> None:
    broker.declare_queues(["PUBLISH_git"])
    messages = runs("PUBLISH_git", 5000)
    began = time.monotonic()
    result = broker.publish(messages)
    seconds = time.monotonic() - began
    print(f"published {len(messages) / seconds:.0f} messages/s")
    assert rabbit.api("GET", f"queues/{VHOST}/PUBLISH_git")["type"] == "quorum"
    assert sorted(result.confirmed, key=lambda m: int(m.key.run_id)) == messages
    assert (result.returned, result.unknown) == ([], [])
    assert broker.ready(["PUBLISH_git", "NOWHERE_git", "pecan"]) == {
        "PUBLISH_git": 5000,
        "NOWHERE_git": None,
        "pecan": 0,
    }
    broker.recall("PUBLISH_git")
    assert broker.ready(["PUBLISH_git"]) == {"PUBLISH_git": 0}
    broker.delete_queue("PUBLISH_git")
    assert not broker.exists("PUBLISH_git")


@pytest.fixture
def channel(rabbit: Any) -> Iterator[Any]:
    """What a worker or anybody else would use."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbit.uri()))
    yield connection.channel()
    connection.close()


def tell(channel: Any, worker: str) -> None:
    channel.basic_publish(
        "", "pecan.events", json.dumps({"event": "ready", "worker": worker, "queue": "TOLD_git"}).encode()
    )


def told(broker: Broker, count: int) -> tuple[list[str], Any]:
    """Names of the workers in the next `count` events, and the last batch."""
    names: list[str] = []
    batch = None
    deadline = time.monotonic() + 10
    while len(names) < count:
        assert time.monotonic() < deadline
        taken = broker.take_events(timeout=0.2)
        names += [event.worker for event in taken.events if event.queue == "TOLD_git"]
        batch = taken if taken.token else batch
    return names, batch


def test_messages_for_a_queue_that_does_not_exist_come_back(broker: Broker) -> None:
    broker.declare_queues(["HERE_git"])
    here, gone = runs("HERE_git", 3), runs("GONE_git", 2, workflow=8)
    result = broker.publish([gone[0], *here, gone[1]])
    assert (result.confirmed, result.returned, result.unknown) == (here, gone, [])
    broker.delete_queue("HERE_git")
    broker.delete_queue("HERE_git")
    broker.recall("HERE_git")


def test_only_our_own_waiting_messages_are_recalled(broker: Broker, channel: Any) -> None:
    broker.declare_queues(["MIXED_git"])
    broker.publish(runs("MIXED_git", 3))
    channel.basic_get("MIXED_git")
    for number in range(4):
        channel.basic_publish("", "MIXED_git", json.dumps({"folder": f"/data/web/{number}"}).encode())
    broker.publish(runs("MIXED_git", 1500, workflow=8))
    wait_for(lambda: broker.ready(["MIXED_git"]) == {"MIXED_git": 1506})
    began = time.monotonic()
    broker.recall("MIXED_git")
    print(f"recalled 1502 messages in {time.monotonic() - began:.2f} s")
    wait_for(lambda: broker.ready(["MIXED_git"]) == {"MIXED_git": 4})
    folders = [json.loads(channel.basic_get("MIXED_git", auto_ack=True)[2])["folder"] for _ in range(4)]
    assert sorted(folders) == [f"/data/web/{number}" for number in range(4)]
    broker.recall("MIXED_git")
    assert broker.connected
    broker.delete_queue("MIXED_git")


def test_a_message_has_all_a_worker_needs(broker: Broker, channel: Any) -> None:
    broker.declare_queues(["FORM_git"])
    (message,) = runs("FORM_git", 1)
    broker.publish([message])
    _, properties, body = channel.basic_get("FORM_git", auto_ack=True)
    assert json.loads(body) == {"folder": "/data/run/0"}
    assert (properties.delivery_mode, properties.content_type, properties.message_id) == (
        2,
        "application/json",
        "7.0.1",
    )
    assert properties.headers["expect"] == ["a.nc"]
    broker.delete_queue("FORM_git")


def test_nothing_to_publish_is_no_work(broker: Broker) -> None:
    assert broker.publish([]).confirmed == []
    assert broker.ready([]) == {}


def test_it_says_goodbye(rabbit: Any) -> None:
    def broken_off() -> int:
        return int(rabbit.log.read_text().count("client unexpectedly closed TCP connection"))

    before = broken_off()
    for _ in range(5):
        connect(rabbit.uri("pecan-operator")).stop()
    # The server's log is written a little later.
    time.sleep(0.5)
    assert broken_off() == before


def test_events_come_in_order_and_again_until_acknowledged(rabbit: Any, channel: Any) -> None:
    woken = threading.Event()
    first = connect(rabbit.uri("pecan-operator"), on_wake=woken.set)
    woken.clear()
    for number in range(10):
        tell(channel, f"w{number}")
    names, _ = told(first, 10)
    assert names == [f"w{number}" for number in range(10)]
    assert woken.is_set()
    first.stop()
    second = connect(rabbit.uri("pecan-operator"))
    names, batch = told(second, 10)
    assert sorted(names) == [f"w{number}" for number in range(10)]
    second.ack(batch)
    second.stop()
    third = connect(rabbit.uri("pecan-operator"))
    tell(channel, "after")
    names, batch = told(third, 1)
    assert names == ["after"]
    third.ack(batch)
    third.stop()


def test_a_lost_connection_is_made_again_and_old_tokens_are_worth_nothing(
    rabbit: Any, proxy: Any, channel: Any
) -> None:
    broker = connect(rabbit.uri("pecan-operator", proxy.port))
    tell(channel, "early")
    _, batch = told(broker, 1)
    proxy.close()
    wait_for(lambda: not broker.connected)
    with pytest.raises(Unavailable):
        broker.ready(["pecan"])
    assert broker.last_error
    proxy.open()
    wait_for(lambda: broker.connected)
    assert broker.connections == 2
    assert broker.last_error is None
    broker.ack(batch)
    names, batch = told(broker, 1)
    assert names == ["early"]
    broker.ack(batch)
    broker.stop()


def test_a_connection_lost_in_the_middle_of_publishing_leaves_no_message_out(rabbit: Any, proxy: Any) -> None:
    broker = connect(rabbit.uri("pecan-operator", proxy.port))
    broker.declare_queues(["CUT_git"])
    messages = runs("CUT_git", 20_000)
    cut = threading.Timer(0.3, proxy.cut)
    cut.start()
    result = broker.publish(messages)
    cut.join()
    assert len(result.confirmed) + len(result.unknown) == 20_000
    assert result.returned == []
    wait_for(lambda: broker.connections == 2 and broker.connected)
    wait_for(lambda: (broker.ready(["CUT_git"])["CUT_git"] or 0) >= len(result.confirmed))
    broker.delete_queue("CUT_git")
    broker.stop()


def test_a_queue_with_other_properties_is_a_users_error(broker: Broker, channel: Any) -> None:
    channel.queue_declare("ODD_git", durable=True, arguments={"x-max-length": 5})
    with pytest.raises(UserError, match="ODD_git"):
        broker.declare_queues(["ODD_git"])
    assert broker.connected
    broker.declare_topology()
    broker.delete_queue("ODD_git")


def test_what_the_broker_gives_up_comes_as_a_lost_attempt(broker: Broker, channel: Any) -> None:
    broker.declare_queues(["POISON_git"])
    broker.publish(runs("POISON_git", 1))
    for _ in range(30):
        method, _, _ = channel.basic_get("POISON_git")
        if method is not None:
            channel.basic_nack(method.delivery_tag, requeue=True)
        time.sleep(0.01)
    dead = []
    deadline = time.monotonic() + 10
    while not dead and time.monotonic() < deadline:
        batch = broker.take_events(timeout=0.2)
        dead += batch.dead
        broker.ack(batch)
    (event,) = dead
    assert (event.kind, event.state, event.key, event.attempt) == (EventKind.FINISHED, "lost", RunKey(7, "0"), 1)
    assert event.queue == "POISON_git"
    broker.delete_queue("POISON_git")


def test_commands_reach_every_listener(broker: Broker, channel: Any) -> None:
    queues = [channel.queue_declare("", exclusive=True).method.queue for _ in range(2)]
    for queue in queues:
        channel.queue_bind(queue, "pecan.control")
    broker.control({"command": "cancel", "workflow": "7"})
    for queue in queues:
        wait_for(lambda queue=queue: channel.queue_declare(queue, passive=True).method.message_count)
        _, _, body = channel.basic_get(queue, auto_ack=True)
        assert json.loads(body) == {"command": "cancel", "workflow": "7"}


def test_management_with_the_operators_rights(rabbit: Any, broker: Broker) -> None:
    management = Management(rabbit.management_uri, "pecan-operator", "broker-test", VHOST)
    assert "pecan.events" in management.queue_totals()
