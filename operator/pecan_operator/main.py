"""The operator's commands: run (the default), database, crds."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Sequence

from pecan_operator.api.crdgen import crds
from pecan_operator.clients.kube import Kube, Manifest, connect
from pecan_operator.core import labels
from pecan_operator.core.workflow import slim
from pecan_operator.errors import OperatorError
from pecan_operator.handlers import metrics
from pecan_operator.handlers.boundary import Boundary
from pecan_operator.handlers.children import Children
from pecan_operator.handlers.cluster import Cluster
from pecan_operator.handlers.context import Context
from pecan_operator.handlers.health import serve
from pecan_operator.handlers.installation import Installations
from pecan_operator.handlers.leader import Leader, leave_when_superseded, new_identity
from pecan_operator.handlers.store import Store
from pecan_operator.handlers.watching import CHILDREN, KINDS, watch
from pecan_operator.handlers.workqueue import WorkQueue
from pecan_operator.settings import Settings, read_settings

LONGEST_RECONCILE_SECONDS = 300.0
CRD_DEADLINE_SECONDS = 60.0
USED_KINDS = (
    *((labels.API_VERSION, kind) for kind in KINDS),
    *((f"{group}/{version}".lstrip("/"), kind) for group, version, _, kind in CHILDREN),
    *(("v1", kind) for kind in ("Service", "ConfigMap", "Secret", "Event")),
)
# How long the next operator is kept waiting for what this one is in the middle of.
STOP_SECONDS = 0.5
_log = logging.getLogger("pecan_operator")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pecan-operator", description="Run PEcAn on Kubernetes.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="watch the cluster and do the work (the default)")
    commands.add_parser("database", help="make or mend the platform's database, once")
    commands.add_parser("crds", help="apply the custom resource definitions, once")
    command = parser.parse_args(arguments).command or "run"
    try:
        if command == "database":
            from pecan_operator.database.job import main as database

            return database()
        settings = read_settings()
        logging.basicConfig(
            level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stdout
        )
        if command == "crds":
            apply_crds(connect(), crds())
            return 0
        return run(settings)
    except OperatorError as error:
        print(f"pecan-operator: {error}", file=sys.stderr)  # noqa: T201
        return 1


def apply_crds(kube: Kube, definitions: Sequence[Manifest]) -> None:
    """Apply definitions and wait until each is served.

    Raises:
        OperatorError: refused, or not established within a minute.
    """
    for definition in definitions:
        kube.apply(definition)
    deadline = time.monotonic() + CRD_DEADLINE_SECONDS
    for definition in definitions:
        name = definition["metadata"]["name"]
        while not _is_established(kube, name):
            if time.monotonic() > deadline:
                raise OperatorError("NotEstablished", f"CustomResourceDefinition {name} is not served after 60 s")
            time.sleep(0.2)


def bring_up_to_date(kube: Kube, definitions: Sequence[Manifest]) -> None:
    """Apply definitions; where older ones are served, beside the work, which one that follows another is to begin at once.

    Raises:
        OperatorError: one is not served yet, and cannot be.
    """
    if not all(_is_established(kube, definition["metadata"]["name"]) for definition in definitions):
        apply_crds(kube, definitions)
        return

    def beside() -> None:
        try:
            apply_crds(kube, definitions)
        except OperatorError as error:
            _log.warning("definitions are not brought up to date: %s", error)

    threading.Thread(target=beside, name="definitions", daemon=True).start()


def run(settings: Settings) -> int:
    """Wait for the Lease, then work until a signal comes; the process ends by itself when the Lease is lost."""
    stop = _stop_on_signal()
    leave_when_superseded()
    kube = connect()
    leader = Leader(connect(for_lease=True), settings.namespace, settings.lease_name, new_identity())
    store = Store(lambda kind, obj: slim(obj) if kind == "PecanWorkflow" else obj)
    queue = WorkQueue(lambda key: boundary.handle(key))

    installations = Installations(queue.add, Cluster(kube, store), leader.epoch)
    context = Context(kube, Children(kube), settings, store, installations, queue.add)
    boundary = Boundary(context)
    metrics.expose(kube, installations.all)

    def healthy() -> str | None:
        if boundary.monitor.is_hung():
            return "a watch has shown nothing new although the API server lists newer objects"
        if queue.longest_running_seconds() > LONGEST_RECONCILE_SECONDS:
            return f"a reconcile has been going on for {queue.longest_running_seconds():.0f} s"
        return installations.stalled()

    def ready() -> str | None:
        # One that waits is ready: a rolling update waits for it before the leader is told to end.
        return None if boundary.synced.is_set() or leader.waits() else "the first listing has not been done"

    serve(settings.health_port, healthy, ready)
    # Made before it waits: from the Lease on every tenth of a second counts.
    definitions = crds() if settings.apply_crds else []
    kube.discover(USED_KINDS)
    leader.start()
    if not leader.wait(stop):
        leader.release()
        return 0
    # Beside the watches, which take their time to close and write nothing.
    ending = threading.Thread(target=_give_over, args=(stop, queue, installations, leader), name="ending")
    ending.start()
    try:
        bring_up_to_date(kube, definitions)
        queue.start()
        threading.Thread(target=boundary.resync_forever, args=(stop,), name="resync", daemon=True).start()
        watch(store, queue.add, settings.watch_namespaces, stop)
    finally:
        stop.set()
        ending.join()
    return 0


def _stop_on_signal() -> threading.Event:
    """Set by SIGTERM and SIGINT. They are blocked in every thread but the one that waits for them."""
    stop = threading.Event()
    signals = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def wait() -> None:
        signal.sigwait(signals)
        stop.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return stop


def _give_over(stop: threading.Event, queue: WorkQueue, installations: Installations, leader: Leader) -> None:
    """Once `stop` is set: end what writes, and give the Lease back, also when something does not end in time."""
    stop.wait()
    writers = [threading.Thread(target=each.stop, daemon=True) for each in (queue, installations)]
    for writer in writers:
        writer.start()
    until = time.monotonic() + STOP_SECONDS
    for writer in writers:
        writer.join(max(0.0, until - time.monotonic()))
    leader.release()


def _is_established(kube: Kube, name: str) -> bool:
    found = kube.read("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, name)
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)


if __name__ == "__main__":
    sys.exit(main())
