"""The operator's commands: run (the default), database, crds."""

from __future__ import annotations

import argparse
import logging
import sys
import threading
import time
from collections.abc import Sequence

from pecan_operator.api.crdgen import crds
from pecan_operator.clients.kube import Kube, connect
from pecan_operator.core.workflow import slim
from pecan_operator.errors import OperatorError
from pecan_operator.handlers import metrics
from pecan_operator.handlers.boundary import Boundary
from pecan_operator.handlers.children import Children
from pecan_operator.handlers.cluster import Cluster
from pecan_operator.handlers.context import Context
from pecan_operator.handlers.health import serve
from pecan_operator.handlers.installation import Installations
from pecan_operator.handlers.store import Store
from pecan_operator.handlers.watching import watch
from pecan_operator.handlers.workqueue import WorkQueue
from pecan_operator.settings import Settings, read_settings

LONGEST_RECONCILE_SECONDS = 300.0
CRD_DEADLINE_SECONDS = 60.0
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
            apply_crds(connect())
            return 0
        return run(settings)
    except OperatorError as error:
        print(f"pecan-operator: {error}", file=sys.stderr)  # noqa: T201
        return 1


def apply_crds(kube: Kube) -> None:
    """Apply the definitions and wait until each is served.

    Raises:
        OperatorError: refused, or not established within a minute.
    """
    for definition in crds():
        kube.apply(definition)
    deadline = time.monotonic() + CRD_DEADLINE_SECONDS
    for definition in crds():
        name = definition["metadata"]["name"]
        while not _is_established(kube, name):
            if time.monotonic() > deadline:
                raise OperatorError("NotEstablished", f"CustomResourceDefinition {name} is not served after 60 s")
            time.sleep(0.2)


def run(settings: Settings) -> int:
    kube = connect()
    if settings.apply_crds:
        apply_crds(kube)
    store = Store(lambda kind, obj: slim(obj) if kind == "PecanWorkflow" else obj)
    queue = WorkQueue(lambda key: boundary.handle(key))

    installations = Installations(queue.add, Cluster(kube, store))
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
        return None if boundary.synced.is_set() else "the first listing has not been done"

    server = serve(settings.health_port, healthy, ready)
    queue.start()
    stop = threading.Event()
    threading.Thread(target=boundary.resync_forever, args=(stop,), name="resync", daemon=True).start()
    try:
        watch(store, queue.add, settings.watch_namespaces)
    finally:
        stop.set()
        queue.stop()
        installations.stop()
        server.shutdown()
    return 0


def _is_established(kube: Kube, name: str) -> bool:
    found = kube.read("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, name)
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)


if __name__ == "__main__":
    sys.exit(main())
