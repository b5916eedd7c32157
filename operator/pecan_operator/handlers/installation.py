"""What the operator holds of each namespace with a platform: its database, its broker and its run loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pecan_operator.clients.amqp import Broker
from pecan_operator.clients.bety import Bety
from pecan_operator.clients.database import Database
from pecan_operator.clients.ledger import Ledger
from pecan_operator.clients.management import Management
from pecan_operator.clients.notifications import Notifications
from pecan_operator.core.model import DataVolume, Pulling
from pecan_operator.errors import NotYet
from pecan_operator.handlers.patrol import Cluster
from pecan_operator.handlers.runs import RunLoop
from pecan_operator.handlers.workqueue import Key
from pecan_operator.records import Epoch

RABBITMQ_VHOST = "pecan"
LOOP_SILENT_SECONDS = 300.0
# How long whoever needs a new installation waits for its broker; a connection takes a tenth of that.
CONNECT_SECONDS = 1.0


@dataclass(frozen=True)
class Connections:
    """A ready platform: the credentials of the operator, and what children of models and workflows refer to.

    `ledger` and `rabbitmq` are the decoded Secrets of those names.
    """

    platform: str
    platform_uid: str
    hostname: str
    ledger: Mapping[str, str] = field(repr=False)
    rabbitmq: Mapping[str, str] = field(repr=False)
    ledger_secret: str
    bety_secret: str
    worker_secret: str
    worker_secret_version: str
    data: DataVolume
    pulling: Pulling


class Installation:
    """The open connections of one namespace."""

    def __init__(
        self,
        namespace: str,
        connections: Connections,
        enqueue: Callable[[Key, float], None],
        cluster: Cluster,
        epoch: Epoch | None,
    ) -> None:
        given = connections.ledger
        self.connections = connections
        self.database = Database(
            host=given["PGHOST"],
            port=given["PGPORT"],
            user=given["PGUSER"],
            password=given["PGPASSWORD"],
            dbname=given["PGDATABASE"],
        )
        self.ledger = Ledger(self.database, epoch)
        self.bety = Bety(self.database)
        self.broker = Broker(connections.rabbitmq["uri"], on_wake=lambda: self.loop.wake())
        self.management = Management(
            connections.rabbitmq["management-uri"],
            connections.rabbitmq["username"],
            connections.rabbitmq["password"],
            RABBITMQ_VHOST,
        )
        self.loop = RunLoop(namespace, self.database, self.ledger, self.broker, cluster, enqueue)
        self.notifications = Notifications(self.database, self.loop.wake)
        self._started = threading.Event()

    def start(self) -> None:
        """Returns when the broker is connected, or has had its time to."""
        self.broker.start()
        self.loop.start()
        self.notifications.start()
        self.broker.wait_connected(CONNECT_SECONDS)
        self._started.set()

    def wait_started(self) -> None:
        self._started.wait(2 * CONNECT_SECONDS)

    def stop(self) -> None:
        self.notifications.stop()
        self.loop.stop()
        self.broker.stop()
        self.database.close()


class Installations:
    """One Installation a namespace, replaced when its credentials change. Thread-safe."""

    def __init__(
        self, enqueue: Callable[[Key, float], None], cluster: Cluster, epoch: Callable[[], Epoch | None] = lambda: None
    ) -> None:
        """`epoch` is asked once the process leads."""
        self._enqueue = enqueue
        self._cluster = cluster
        self._epoch = epoch
        self._lock = threading.Lock()
        self._by_namespace: dict[str, Installation] = {}

    def ensure(self, namespace: str, connections: Connections) -> bool:
        """Open or replace the namespace's connections; True when something changed."""
        with self._lock:
            present = self._by_namespace.get(namespace)
            if present is not None and present.connections == connections:
                return False
            replacement = Installation(namespace, connections, self._enqueue, self._cluster, self._epoch())
            self._by_namespace[namespace] = replacement
        if present is not None:
            present.stop()
        replacement.start()
        return True

    def get(self, namespace: str) -> Installation:
        """The namespace's installation; one that is being opened is waited for, lest its broker be taken for away.

        Raises:
            NotYet: there is no ready PecanPlatform in the namespace.
        """
        with self._lock:
            present = self._by_namespace.get(namespace)
        if present is None:
            raise NotYet(
                "PlatformNotReady",
                f"namespace {namespace} has no ready PecanPlatform: look at `kubectl get pecanplatforms -n {namespace}`",
            )
        present.wait_started()
        return present

    def remove(self, namespace: str, platform_uid: str | None = None) -> None:
        """The platform is gone: its workers give back what they hold, and the connections are closed."""
        with self._lock:
            present = self._by_namespace.get(namespace)
            if present is None or platform_uid not in (None, present.connections.platform_uid):
                return
            del self._by_namespace[namespace]
        present.loop.release_all()
        present.stop()

    def all(self) -> dict[str, Installation]:
        with self._lock:
            return dict(self._by_namespace)

    def stalled(self) -> str | None:
        """In one line which run loop has not turned for five minutes; None when all turn."""
        for namespace, installation in self.all().items():
            silent = time.monotonic() - installation.loop.beat
            if silent > LOOP_SILENT_SECONDS:
                return f"the run loop of namespace {namespace} has not turned for {silent:.0f} s"
        return None

    def stop(self) -> None:
        """All of them at the same time, for the next operator waits."""
        threads = [threading.Thread(target=each.stop, daemon=True) for each in self.all().values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
