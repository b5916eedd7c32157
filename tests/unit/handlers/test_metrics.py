"""What /metrics tells."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fakes import World
from objects import NAMESPACE, model_object, workflow_object
from prometheus_client import CollectorRegistry, generate_latest

from pecan_operator.errors import Unavailable
from pecan_operator.handlers.metrics import Observed


def scraped(installations: dict[str, Any], requests: dict[tuple[str, str], int] | None = None) -> list[str]:
    kube = SimpleNamespace(requests=requests or {})
    registry = CollectorRegistry()
    registry.register(Observed(kube, lambda: installations))  # type: ignore[arg-type]
    return generate_latest(registry).decode().splitlines()


def at_work(monkeypatch: pytest.MonkeyPatch, totals: Any) -> World:
    world = World(runs=30)
    world.kube.put(model_object(scaling={"maxReplicas": 3}))
    world.kube.put(workflow_object())
    world.run_until(lambda: len(world.workers) == 3 and len(world.broker.published) > 6)
    monkeypatch.setattr(world.management, "queue_totals", totals)
    return world


def test_the_queues_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    world = at_work(monkeypatch, lambda: {"DALEC_ev": (4, 3)})
    told = scraped(world.installations.all(), {("get", "Pod"): 7})
    where = f'{{namespace="{NAMESPACE}",queue="DALEC_ev"}}'
    counts = world.ledger.queue_counts()["DALEC_ev"]
    assert f"pecan_operator_outstanding{where} {float(counts.publishable + counts.queued + counts.running)}" in told
    assert f"pecan_operator_unacked{where} 3.0" in told
    assert f"pecan_operator_replicas_desired{where} 3.0" in told
    assert f"pecan_operator_workers_busy{where} 3.0" in told
    assert 'pecan_operator_api_requests_total{kind="Pod",verb="get"} 7.0' in told


def test_what_is_unknown_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> None:
        raise Unavailable("BrokerUnavailable", "no answer")

    world = at_work(monkeypatch, silent)
    world.broker.go_away()
    world.turn()
    told = "\n".join(line for line in scraped(world.installations.all()) if not line.startswith("#"))
    assert "outstanding" not in told
    assert "ready" not in told
    assert "unacked" not in told
    assert "replicas_desired" in told
