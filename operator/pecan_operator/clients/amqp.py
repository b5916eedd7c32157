"""The operator's connection to RabbitMQ: publishes runs, receives what workers say, counts what waits.

One connection in a thread of its own, made again for ever when it is lost; other threads call the methods of `Broker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import AMQPError, ChannelClosedByBroker

from pecan_operator.errors import Unavailable, UserError
from pecan_operator.messages import dead_event, is_own, parse_event, run_body, run_headers
from pecan_operator.records import RunMessage, WorkerEvent

EVENTS_QUEUE = "pecan.events"
DEAD_QUEUE = "pecan.dead"
EXECUTOR_QUEUE = "pecan"
HEARTBEAT_EXCHANGE = "models"
CONTROL_EXCHANGE = "pecan.control"

EVENTS_PREFETCH = 2000
PUBLISH_WINDOW = 1000
RECONNECT_SECONDS = (0.1, 5.0)
HEARTBEAT_SECONDS = 20
BLOCKED_SECONDS = 60.0
ANSWER_SECONDS = 5.0
QUIET_SECONDS = 0.3
NOT_FOUND, PRECONDITION_FAILED = 404, 406

T = TypeVar("T")
_log = logging.getLogger(__name__)
logging.getLogger("pika").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class PublishResult:
    """What became of messages: in a queue; sent back because their queue does not exist; no answer (it may be there)."""

    confirmed: list[RunMessage] = field(default_factory=list)
    returned: list[RunMessage] = field(default_factory=list)
    unknown: list[RunMessage] = field(default_factory=list)


@dataclass(frozen=True)
class EventBatch:
    """Events in their order; `dead` are attempts whose message the broker gave up, as `lost` events.

    `token` is for `Broker.ack`.
    """

    events: list[WorkerEvent] = field(default_factory=list)
    dead: list[WorkerEvent] = field(default_factory=list)
    token: tuple[Any, int] | None = None


class Broker:
    """Thread-safe. Methods raise Unavailable when RabbitMQ does not answer in time."""

    def __init__(self, uri: str, *, on_wake: Callable[[], None] = lambda: None, name: str = "pecan-operator") -> None:
        """`on_wake` is called in the connection's thread when events arrive and when the connection comes or goes."""
        self._uri = uri
        self._name = name
        self._on_wake = on_wake
        self._arrived = threading.Condition()
        self._inbox: deque[tuple[int, WorkerEvent | None, bool]] = deque()
        self._link: _Link | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self.last_error: str | None = None
        self.connections = 0

    @property
    def connected(self) -> bool:
        return self._link is not None

    def wait_connected(self, timeout: float) -> bool:
        with self._arrived:
            return self._arrived.wait_for(lambda: self.connected, timeout)

    def start(self) -> None:
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._stay_connected(started)), name=self._name, daemon=True
        )
        self._thread.start()
        started.wait()

    def stop(self) -> None:
        """Closes the connection; what was published before has reached the broker then."""
        if self._loop is not None and self._stopping is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(5.0)

    def declare_queues(self, names: Iterable[str], timeout: float = 5.0) -> None:
        """Durable and without arguments, as PEcAn's own workers do. Raises UserError when one exists with others."""
        wanted = list(names)
        self._call(lambda link: link.declare_queues(wanted), timeout)

    def declare_topology(self, timeout: float = 5.0) -> None:
        """The queues and exchanges every platform has; each new connection does it by itself."""
        self._call(lambda link: link.declare_topology(), timeout)

    def ready(self, names: Sequence[str], timeout: float = 2.0) -> dict[str, int | None]:
        """Messages waiting in each queue; None where the queue does not exist."""
        return self._call(lambda link: link.ready(names), timeout)

    def exists(self, name: str) -> bool:
        return self.ready([name])[name] is not None

    def recall(self, name: str, timeout: float = 5.0) -> None:
        """Takes the operator's own messages that no worker has out of a queue; what others published stays in it.

        A queue that does not exist is fine.
        """
        self._call(lambda link: link.recall(name), timeout)

    def delete_queue(self, name: str, timeout: float = 5.0) -> None:
        """Deletes a queue and what waits in it; one that does not exist is fine."""
        self._call(lambda link: link.on_queue(name, "queue_delete"), timeout)

    def publish(self, messages: Sequence[RunMessage], timeout: float = 30.0) -> PublishResult:
        """Sends runs to their queues and waits `timeout` seconds for the broker's word on each."""
        return self._call(lambda link: link.publish(messages, timeout), timeout + ANSWER_SECONDS)

    def control(self, command: Mapping[str, Any]) -> None:
        """Tells all workers now connected; says nothing while the broker is away (commands are repeated anyway)."""
        body = json.dumps(command).encode()
        self._later(lambda link: link.control(body))

    def take_events(self, limit: int = 1000, timeout: float = 0.5) -> EventBatch:
        """The next events; waits `timeout` seconds for a first one. They come again until they are acknowledged."""
        with self._arrived:
            if not self._inbox:
                self._arrived.wait(timeout)
            taken = [self._inbox.popleft() for _ in range(min(limit, len(self._inbox)))]
            if not taken:
                return EventBatch()
            return EventBatch(
                events=[event for _, event, is_dead in taken if event is not None and not is_dead],
                dead=[event for _, event, is_dead in taken if event is not None and is_dead],
                token=(self._link, taken[-1][0]),
            )

    def ack(self, batch: EventBatch) -> None:
        """The batch and all before it are recorded. Nothing happens when the connection has changed: they come again."""
        if batch.token is not None:
            origin, tag = batch.token
            self._later(lambda link: link.acknowledge(tag) if link is origin else None)

    def _call(self, action: Callable[[_Link], Coroutine[Any, Any, T]], timeout: float) -> T:
        link, loop = self._link, self._loop
        if link is None or loop is None:
            raise Unavailable(
                "BrokerUnavailable", f"RabbitMQ does not answer: {self.last_error or 'not connected yet'}"
            )
        answer = asyncio.run_coroutine_threadsafe(action(link), loop)
        try:
            return answer.result(timeout)
        except TimeoutError:
            answer.cancel()
            raise Unavailable("BrokerUnavailable", f"RabbitMQ gave no answer within {timeout:g} s") from None
        except _Lost as error:
            raise Unavailable("BrokerUnavailable", f"RabbitMQ does not answer: {error}") from None

    def _later(self, action: Callable[[_Link], None]) -> None:
        def act() -> None:
            if self._link is not None:
                action(self._link)

        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(act)

    async def _stay_connected(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        started.set()
        stopped = self._loop.create_task(self._stopping.wait())
        shortest, longest = RECONNECT_SECONDS
        pause = shortest
        while not stopped.done():
            link = _Link(self._uri, self._name, self._on_message)
            began = time.monotonic()
            try:
                await link.open()
                self._come(link)
                await _first_of(link.closed, stopped)
                await link.close()
            except (_Lost, AMQPError) as error:
                link.end(error)
                await link.close()
            except Exception as error:
                # Whatever it is, the operator without a broker is worse than one that tries again.
                _log.exception("connection to RabbitMQ")
                link.end(error)
                await link.close()
            self._go(link.closed.result() if link.closed.done() else "stopped")
            # A connection that held for a while says that the broker is well: no reason to keep it waiting.
            pause = shortest if time.monotonic() - began > longest else min(pause * 2, longest)
            await _first_of(stopped, timeout=pause * random.uniform(0.5, 1.0))

    def _come(self, link: _Link) -> None:
        with self._arrived:
            self._link = link
            self.connections += 1
            self.last_error = None
            self._arrived.notify_all()
        self._on_wake()

    def _go(self, reason: str) -> None:
        with self._arrived:
            was_connected = self._link is not None
            self._link = None
            self._inbox.clear()
            is_news = was_connected or self.last_error != reason
            self.last_error = reason
        if is_news:
            _log.info("no connection to RabbitMQ: %s", reason)
        if was_connected:
            self._on_wake()

    def _on_message(self, tag: int, queue: str, properties: pika.BasicProperties, body: bytes) -> None:
        event: WorkerEvent | None = None
        is_dead = queue == DEAD_QUEUE
        try:
            event = dead_event(body, properties.message_id, properties.headers) if is_dead else parse_event(body)
        except UserError as error:
            _log.warning("%s: %s", queue, error)
        with self._arrived:
            was_empty = not self._inbox
            self._inbox.append((tag, event, is_dead))
            if was_empty:
                self._arrived.notify_all()
        if was_empty:
            self._on_wake()


class _Lost(Exception):
    """The connection is gone, or cannot be made; the text says why."""


class _Refused(Exception):
    """The broker closed the channel on a request."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.code = error.reply_code if isinstance(error, ChannelClosedByBroker) else 0


class _Publication:
    """Messages on their way, by delivery tag; the broker's answers may come in any order."""

    def __init__(self, messages: Sequence[RunMessage]) -> None:
        self.waiting = deque(messages)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending: dict[int, RunMessage] = {}
        self._returned: set[str] = set()
        self._refused: list[RunMessage] = []
        self._result = PublishResult()

    @property
    def in_flight(self) -> int:
        return len(self._pending)

    def sent(self, tag: int, message: RunMessage) -> None:
        self._pending[tag] = message

    def sent_back(self, message_id: str) -> None:
        self._returned.add(message_id)

    def answered(self, tag: int, multiple: bool, accepted: bool) -> None:
        if multiple:
            # Tags are in the order of sending.
            tags = []
            for pending in self._pending:
                if pending > tag:
                    break
                tags.append(pending)
        else:
            tags = [tag]
        for each in tags:
            message = self._pending.pop(each, None)
            if message is None:
                continue
            if not accepted:
                self._refused.append(message)
            elif message.message_id in self._returned:
                self._result.returned.append(message)
            else:
                self._result.confirmed.append(message)
        if not self.waiting and not self._pending:
            _resolve(self.done, None)

    def result(self) -> PublishResult:
        unknown = [*self._refused, *self._pending.values(), *self.waiting]
        return PublishResult(list(self._result.confirmed), list(self._result.returned), unknown)


class _Link:
    """One connection from opening to its end, used in its event loop only.

    A closed channel (but for the scratch one) or a cancelled consumer ends it: pika raises nothing for either.
    """

    def __init__(
        self, uri: str, name: str, on_message: Callable[[int, str, pika.BasicProperties, bytes], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._uri = uri
        self._name = name
        self._on_message = on_message
        self._connection: Any = None
        self._events: Any = None
        self._output: Any = None
        self._scratch: Any = None
        self._scratch_closed: asyncio.Future[BaseException] = self._loop.create_future()
        self._asking = asyncio.Lock()
        self._publishing = asyncio.Lock()
        self._sent = 0
        self._publication: _Publication | None = None
        self._left: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[str] = self._loop.create_future()

    async def open(self) -> None:
        """Connects, declares what must be there and takes events. Raises _Lost."""
        parameters = pika.URLParameters(self._uri)
        parameters.heartbeat = HEARTBEAT_SECONDS
        parameters.blocked_connection_timeout = BLOCKED_SECONDS
        parameters.client_properties = {"connection_name": self._name}
        opened = self._loop.create_future()
        self._connection = AsyncioConnection(
            parameters,
            on_open_callback=lambda connection: _resolve(opened, connection),
            on_open_error_callback=lambda _, error: self._leave(error),
            on_close_callback=lambda _, error: self._leave(error),
            custom_ioloop=self._loop,
        )
        await self._or_closed(opened)
        try:
            await self.declare_topology()
        except UserError as error:
            self.end(error)
        self._output = await self._open_channel(lambda _, error: self.end(error))
        self._output.add_on_return_callback(self._on_return)
        confirming = self._loop.create_future()
        self._output.confirm_delivery(self._on_confirm, callback=lambda frame: _resolve(confirming, frame))
        await self._or_closed(confirming)
        self._events = await self._open_channel(lambda _, error: self.end(error))
        self._events.add_on_cancel_callback(lambda _: self.end("the broker cancelled the consumer of events"))
        self._events.basic_qos(prefetch_count=EVENTS_PREFETCH)
        for queue in (EVENTS_QUEUE, DEAD_QUEUE):
            self._consume(queue)

    async def close(self) -> None:
        """Leaves in order, waiting a second for the broker's answer."""
        if self._connection is not None:
            with contextlib.suppress(AMQPError):
                self._connection.close()
            # Not for `closed`: the first of its channels that is closed ends the link, and the broker has not answered then.
            await _first_of(self._left, timeout=1.0)

    def _leave(self, error: BaseException | str) -> None:
        _resolve(self._left, None)
        self.end(error)

    async def declare_topology(self) -> None:
        await self.declare_queues((EVENTS_QUEUE, DEAD_QUEUE, EXECUTOR_QUEUE))
        async with self._asking:
            for exchange in (HEARTBEAT_EXCHANGE, CONTROL_EXCHANGE):
                declared = {"exchange": exchange, "exchange_type": "fanout", "durable": True}
                await self._ask_or_explain("exchange_declare", [declared])

    async def declare_queues(self, names: Sequence[str]) -> None:
        """Raises UserError when one exists with other properties, _Lost."""
        async with self._asking:
            await self._ask_or_explain("queue_declare", [{"queue": name, "durable": True} for name in names])

    async def ready(self, names: Sequence[str]) -> dict[str, int | None]:
        async with self._asking:
            found: dict[str, int | None] = {}
            while len(found) < len(set(names)):
                rest = [name for name in dict.fromkeys(names) if name not in found]
                replies, refused = await self._ask("queue_declare", [{"queue": name, "passive": True} for name in rest])
                found.update(
                    {name: int(reply.method.message_count) for name, reply in zip(rest, replies, strict=False)}
                )
                if refused is not None:
                    if refused.code != NOT_FOUND:
                        raise _Lost(str(refused))
                    found[rest[len(replies)]] = None
            return found

    async def on_queue(self, name: str, method: str) -> None:
        async with self._asking:
            _, refused = await self._ask(method, [{"queue": name}])
            if refused is not None and refused.code != NOT_FOUND:
                raise _Lost(str(refused))

    async def recall(self, name: str) -> None:
        """Consumes what waits, acknowledges our own and lets the end of the channel give back the rest."""
        left = (await self.ready([name]))[name] or 0
        if left == 0:
            return
        closed: asyncio.Future[BaseException] = self._loop.create_future()
        channel = await self._open_channel(lambda _, error: _resolve(closed, error))
        heard = asyncio.Event()

        def deliver(_: Any, method: Any, properties: pika.BasicProperties, __: bytes) -> None:
            nonlocal left
            left -= 1
            heard.set()
            if is_own(properties.headers):
                channel.basic_ack(method.delivery_tag)

        try:
            channel.basic_consume(name, deliver)
            while left > 0 and not closed.done():
                heard.clear()
                # Workers may have taken some of it meanwhile.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(heard.wait(), QUIET_SECONDS)
                if not heard.is_set():
                    break
        finally:
            with contextlib.suppress(AMQPError):
                channel.close()
        await _first_of(closed, self.closed)

    async def publish(self, messages: Sequence[RunMessage], timeout: float) -> PublishResult:
        """Sends messages, never more than a window ahead of the answers, until all of these are there or time is up."""
        async with self._publishing:
            publication = _Publication(messages)
            if messages:
                self._publication = publication
                self._send()
                await _first_of(publication.done, self.closed, timeout=timeout)
                self._publication = None
            return publication.result()

    def control(self, body: bytes) -> None:
        with contextlib.suppress(AMQPError):
            self._events.basic_publish(CONTROL_EXCHANGE, "", body)

    def acknowledge(self, tag: int) -> None:
        with contextlib.suppress(AMQPError):
            self._events.basic_ack(tag, multiple=True)

    def _send(self) -> None:
        publication = self._publication
        if publication is None or self.closed.done():
            return
        try:
            while publication.waiting and publication.in_flight < PUBLISH_WINDOW:
                message = publication.waiting.popleft()
                self._sent += 1
                publication.sent(self._sent, message)
                properties = pika.BasicProperties(
                    content_type="application/json",
                    delivery_mode=2,
                    message_id=message.message_id,
                    headers=run_headers(message),
                )
                self._output.basic_publish("", message.queue, run_body(message), properties, mandatory=True)
        except AMQPError as error:
            self.end(error)

    def _on_return(self, _: Any, __: Any, properties: pika.BasicProperties, ___: bytes) -> None:
        if self._publication is not None and properties.message_id is not None:
            self._publication.sent_back(properties.message_id)

    def _on_confirm(self, frame: Any) -> None:
        if self._publication is not None:
            method = frame.method
            accepted = isinstance(method, pika.spec.Basic.Ack)
            self._publication.answered(method.delivery_tag, method.multiple, accepted)
            self._send()

    def _consume(self, queue: str) -> None:
        def deliver(_: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
            self._on_message(method.delivery_tag, queue, properties, body)

        self._events.basic_consume(queue, deliver)

    async def _ask_or_explain(self, method: str, questions: Sequence[Mapping[str, Any]]) -> None:
        _, refused = await self._ask(method, questions)
        if refused is not None and refused.code == PRECONDITION_FAILED:
            raise UserError("QueueConflict", f"RabbitMQ has it with other properties: {refused}; delete it there")
        if refused is not None:
            raise _Lost(str(refused))

    async def _ask(self, method: str, questions: Sequence[Mapping[str, Any]]) -> tuple[list[Any], _Refused | None]:
        """Puts all questions at once on the scratch channel: the replies, up to the one the broker refused."""
        if self._scratch is None or not self._scratch.is_open:
            self._scratch_closed = closed = self._loop.create_future()
            self._scratch = await self._open_channel(lambda _, error: _resolve(closed, error))
        replies: list[asyncio.Future[Any]] = [self._loop.create_future() for _ in questions]
        try:
            for question, reply in zip(questions, replies, strict=True):
                getattr(self._scratch, method)(callback=lambda frame, reply=reply: _resolve(reply, frame), **question)
        except AMQPError as error:
            raise _Lost(str(error)) from None
        for reply in replies:
            await _first_of(reply, self._scratch_closed, self.closed)
            if not reply.done():
                break
        answered = [reply.result() for reply in replies if reply.done()]
        if len(answered) == len(replies):
            return answered, None
        if self.closed.done():
            raise _Lost(self.closed.result())
        return answered, _Refused(self._scratch_closed.result())

    async def _open_channel(self, on_close: Callable[[Any, BaseException], None]) -> Any:
        opened = self._loop.create_future()
        try:
            channel = self._connection.channel(on_open_callback=lambda channel: _resolve(opened, channel))
            channel.add_on_close_callback(on_close)
        except AMQPError as error:
            self.end(error)
        return await self._or_closed(opened)

    async def _or_closed(self, answer: asyncio.Future[T]) -> T:
        await _first_of(answer, self.closed)
        if not answer.done():
            raise _Lost(self.closed.result())
        return answer.result()

    def end(self, why: BaseException | str) -> None:
        """The connection is over; only the first reason counts."""
        if not self.closed.done():
            self.closed.set_result(str(why) or type(why).__name__)
            with contextlib.suppress(AMQPError):
                self._connection.close()


async def _first_of(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)
