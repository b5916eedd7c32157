"""Where keys meet handlers, and the periodic look at everything that no event announces."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from pecan_operator.core import labels
from pecan_operator.errors import OperatorError
from pecan_operator.handlers import metrics
from pecan_operator.handlers.context import Context, Object, key_of
from pecan_operator.handlers.model import ModelHandler
from pecan_operator.handlers.platform_handler import PlatformHandler
from pecan_operator.handlers.store import WatchMonitor
from pecan_operator.handlers.watching import KINDS
from pecan_operator.handlers.workflow import WorkflowHandler
from pecan_operator.handlers.workqueue import Key

RESYNC_SECONDS = 30.0
FULL_RESYNC_EVERY = 10
_log = logging.getLogger(__name__)


class Boundary:
    """Dispatches keys; every 30 s compares the watches with a listing, and every 5 minutes has everything looked at."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._workflows = WorkflowHandler(context)
        self._handlers: dict[str, Callable[[Key], None]] = {
            "PecanPlatform": PlatformHandler(context, self._workflows.put_away_absent).reconcile,
            "PecanModel": ModelHandler(context).reconcile,
            "PecanWorkflow": self._workflows.reconcile,
        }
        self.monitor = WatchMonitor()
        self.synced = threading.Event()

    def handle(self, key: Key) -> None:
        with metrics.RECONCILES.labels(key.kind).time():
            try:
                self._handlers[key.kind](key)
            except Exception as error:
                reason = error.reason if isinstance(error, OperatorError) else type(error).__name__
                metrics.RECONCILE_ERRORS.labels(key.kind, reason).inc()
                raise

    def resync_forever(self, stop: threading.Event) -> None:
        turn = 0
        while not stop.is_set():
            try:
                self.resync(full=turn % FULL_RESYNC_EVERY == 0)
                self.synced.set()
                turn += 1
            except OperatorError as error:
                _log.warning("resync: %s", error)
            except Exception:
                _log.exception("resync failed")
            stop.wait(RESYNC_SECONDS if self.synced.is_set() else 2.0)

    def resync(self, full: bool) -> None:
        """List the kinds: what the watch missed is taken up, what is gone is put away."""
        namespaces = self._context.settings.watch_namespaces or (None,)
        listed: list[Object] = []
        for kind in KINDS:
            found = [obj for space in namespaces for obj in self._context.kube.list(labels.API_VERSION, kind, space)]
            listed += found
            self._compare(kind, found, full)
        seen = {
            obj["metadata"]["uid"]: obj["metadata"]["resourceVersion"]
            for kind in KINDS
            for obj in self._context.store.list(kind)
        }
        versions = {obj["metadata"]["uid"]: obj["metadata"]["resourceVersion"] for obj in listed}
        self.monitor.observe(versions, seen, time.monotonic())
        for namespace, installation in self._context.installations.all().items():
            try:
                self._workflows.put_away_absent(namespace, installation)
            except OperatorError as error:
                _log.warning("namespace %s: %s", namespace, error)

    def _compare(self, kind: str, found: Sequence[Object], full: bool) -> None:
        present = {key_of(obj) for obj in found}
        for obj in found:
            known = self._context.store.get(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
            if known is None:
                self._context.store.put(kind, obj)
            if full or known is None:
                self._context.enqueue(key_of(obj), 0.0)
        for obj in self._context.store.list(kind):
            key = Key(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
            if (
                key not in present
                and self._context.kube.read(labels.API_VERSION, kind, key.namespace, key.name) is None
            ):
                self._context.store.drop(kind, key.namespace, key.name)
                self._context.enqueue(key, 0.0)
