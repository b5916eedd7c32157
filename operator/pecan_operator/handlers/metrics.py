"""What the operator measures of itself, for Prometheus; what is only worth knowing when asked is read then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pecan_operator.clients.kube import Kube
from pecan_operator.errors import OperatorError

if TYPE_CHECKING:
    from pecan_operator.handlers.installation import Installation

_QUEUE = ("namespace", "queue")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

PUBLISHED = Counter("pecan_operator_runs_published", "Runs the broker has confirmed.", _QUEUE)
RUNS = Counter(
    "pecan_operator_run_changes",
    "Changes of runs by the state they came to: succeeded, failed, ...",
    (*_QUEUE, "state"),
)
DECISIONS = Histogram(
    "pecan_operator_decision_seconds",
    "From the moment more work was seen to the changed number of replicas.",
    ("namespace",),
    buckets=_SECONDS,
)
RECONCILES = Histogram("pecan_operator_reconcile_seconds", "How long a reconcile took.", ("kind",), buckets=_SECONDS)
RECONCILE_ERRORS = Counter(
    "pecan_operator_reconcile_errors", "Reconciles that did not come to their end, by reason.", ("kind", "reason")
)
BROKER_REQUESTS = Counter(
    "pecan_operator_broker_requests", "Questions to the broker about the depth of a queue.", ("namespace",)
)


class Observed(Collector):
    """What is read when it is asked for: gauges of every model queue, and requests to the API server, watches left out.

    What is unknown is left out, never zero.
    """

    def __init__(self, kube: Kube, installations: Callable[[], Mapping[str, Installation]]) -> None:
        self._kube = kube
        self._installations = installations

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "pecan_operator_api_requests", "Requests to the API server, watches left out.", labels=("verb", "kind")
        )
        for (verb, kind), number in list(self._kube.requests.items()):
            requests.add_metric((verb, kind), number)
        yield requests
        yield from self._queues()

    def _queues(self) -> Iterator[Metric]:
        outstanding = _gauge("outstanding", "Runs that can be published, are published or run.")
        ready = _gauge("ready", "Messages that wait in the queue.")
        unacked = _gauge("unacked", "Messages in the hands of workers; up to 5 s old.")
        desired = _gauge("replicas_desired", "Workers that were decided on last.")
        busy = _gauge("workers_busy", "Workers with a run in hand.")
        for namespace, installation in self._installations().items():
            held = _held(installation)
            for queue, (view, replicas) in installation.loop.views().items():
                where = (namespace, queue)
                if view.counts is not None and view.ready is not None:
                    in_hand = view.counts.queued + view.counts.running
                    outstanding.add_metric(where, view.counts.publishable + max(in_hand, view.ready))
                if view.ready is not None:
                    ready.add_metric(where, view.ready)
                if queue in held:
                    unacked.add_metric(where, held[queue])
                desired.add_metric(where, replicas)
                busy.add_metric(where, sum(1 for since in view.workers.values() if since is None))
        yield from (outstanding, ready, unacked, desired, busy)


def expose(kube: Kube, installations: Callable[[], Mapping[str, Installation]]) -> None:
    """Have /metrics tell of the queues and of the API server too."""
    REGISTRY.register(Observed(kube, installations))


def _gauge(name: str, what: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pecan_operator_{name}", what, labels=_QUEUE)


def _held(installation: Installation) -> dict[str, int]:
    try:
        return {queue: unacked for queue, (_, unacked) in installation.management.queue_totals().items()}
    except OperatorError:
        return {}
