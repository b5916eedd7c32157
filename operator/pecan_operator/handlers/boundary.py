"""Where keys meet handlers, and the periodic look at everything that no event announces."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from pecan_operator.core import labels
from pecan_operator.errors import OperatorError
from pecan_operator.handlers import metrics
from pecan_operator.handlers.context import Context
from pecan_operator.handlers.model import ModelHandler
from pecan_operator.handlers.platform_handler import PlatformHandler
from pecan_operator.handlers.store import WatchMonitor
from pecan_operator.handlers.watching import KINDS
from pecan_operator.handlers.workflow import WorkflowHandler
from pecan_operator.handlers.workqueue import Key

RESYNC_SECONDS = 30.0
FULL_RESYNC_SECONDS = 300.0
# Listing very many objects takes no more than a hundredth of the time.
REST_FACTOR = 100.0
# Nor does looking at all of them keep what has changed waiting.
LOOKS_A_SECOND = 50
# A namespace's models and workflows are looked at when its platform is open: before, they could say only that it is not.
PLATFORM_FIRST_SECONDS = 1.0
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
        full_at = -FULL_RESYNC_SECONDS
        while not stop.is_set():
            began = time.monotonic()
            full = began - full_at >= FULL_RESYNC_SECONDS
            try:
                self.resync(full)
                self.synced.set()
                full_at = began if full else full_at
            except OperatorError as error:
                _log.warning("resync: %s", error)
            except Exception:
                _log.exception("resync failed")
            rest = min(max(RESYNC_SECONDS, REST_FACTOR * (time.monotonic() - began)), FULL_RESYNC_SECONDS)
            stop.wait(rest if self.synced.is_set() else 2.0)

    def resync(self, full: bool) -> None:
        """List the kinds: what the watch missed is taken up, what is gone is put away."""
        listed: dict[str, str] = {}
        seen: dict[str, str] = {}
        for kind in KINDS:
            self._compare(kind, full, listed, seen)
        self.monitor.observe(listed, seen, time.monotonic())
        for namespace, installation in self._context.installations.all().items():
            try:
                self._workflows.put_away_absent(namespace, installation)
            except OperatorError as error:
                _log.warning("namespace %s: %s", namespace, error)

    def _is_open(self, key: Key) -> bool:
        return key.kind == "PecanPlatform" or key.namespace in self._context.installations.all()

    def _compare(self, kind: str, full: bool, listed: dict[str, str], seen: dict[str, str]) -> None:
        """Adds resourceVersion by uid: of what is `listed`, and of what the watch has `seen`."""
        kube, store = self._context.kube, self._context.store
        present: set[Key] = set()
        for space in self._context.settings.watch_namespaces or (None,):
            for metadata in kube.list_metadata(labels.API_VERSION, kind, space):
                key = Key(kind, metadata["namespace"], metadata["name"])
                present.add(key)
                listed[metadata["uid"]] = metadata["resourceVersion"]
                is_new = store.get(kind, key.namespace, key.name) is None and self._context.find(key) is not None
                if is_new:
                    self._context.enqueue(key, 0.0 if self._is_open(key) else PLATFORM_FIRST_SECONDS)
                elif full:
                    self._context.enqueue(key, len(listed) / LOOKS_A_SECOND)
        for obj in store.list(kind):
            key = Key(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
            if key not in present and kube.read(labels.API_VERSION, kind, key.namespace, key.name) is None:
                store.drop(kind, key.namespace, key.name)
                self._context.enqueue(key, 0.0)
            else:
                seen[obj["metadata"]["uid"]] = obj["metadata"]["resourceVersion"]
