"""2,000 runs at once on an idle model: time until its Deployment asks for 20 workers. No node takes their pods.

*Ours* are a workflow's runs, from the commit of their registration; *others'* are plain messages, from the last confirm.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from place import NOWHERE, Place
from report import Figure
from support import wait
from watching import Watched
from work import Planned, publish_plain, purge

RUNS, WORKERS, MODELS = 2000, 20, 20


def measure(place: Place, long: bool) -> list[Figure]:
    names = [f"up-{number}" for number in range(MODELS)]
    ids = place.each(lambda name: place.apply_model(name, name, {"maxReplicas": WORKERS}, nodeSelector=NOWHERE), names)
    samples: dict[str, list[float]] = {"ours": [], "others'": []}
    with place.watch_replicas() as watched:
        for turn in range(2 * (100 if long else 20)):
            name, model_id = names[turn % MODELS], ids[turn % MODELS]
            queue = f"BENCH_{name}"
            _wait_idle(place, name)
            # Settled: what the last repeat left to do for the API server is over.
            time.sleep(0.5)
            if turn % 2:
                samples["others'"].append(_seconds(watched, name, lambda queue=queue: _publish(place, queue)))
            else:
                planned = Planned(place, queue, model_id)
                planned.plan(RUNS)
                samples["ours"].append(_seconds(watched, name, planned.register))
                planned.drop()
            purge(place.broker_uri, queue)
    place.delete_all("PecanModel")
    return [Figure(f"2,000 {whose} to 20 replicas", "s", seconds) for whose, seconds in samples.items()]


def _publish(place: Place, queue: str) -> float:
    return publish_plain(place.broker_uri, queue, [f"/data/bench/none/run/{number}" for number in range(RUNS)])


def _seconds(watched: Watched, name: str, publish: Callable[[], float]) -> float:
    begin = len(watched.changes)
    published = publish()
    reached = watched.wait(
        lambda change: change.name == f"{name}-worker" and change.value == WORKERS,
        60,
        f"{WORKERS} replicas of {name}",
        begin,
    )
    return reached.at - published


def _wait_idle(place: Place, name: str) -> None:
    def replicas() -> int:
        deployment = place.kube.read("apps/v1", "Deployment", place.namespace, f"{name}-worker")
        return -1 if deployment is None else deployment["spec"].get("replicas", 1)

    wait(lambda: replicas() == 0, 90, lambda: f"{name} still asks for {replicas()} replicas")
