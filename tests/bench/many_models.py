"""1,000 (short: 200) models of which 20 get work: from the confirm of a message to one worker more, and what the operator
asks of API server and broker meanwhile. No node takes their pods. A model's first message finds it idle, its next ones
active."""

from __future__ import annotations

import time

from place import NOWHERE, Place
from report import Figure, one
from work import publish_plain

ACTIVE = 20
IDLE_SECONDS = 10.0


def measure(place: Place, long: bool) -> list[Figure]:
    names = [f"many-{number}" for number in range(1000 if long else 200)]
    begin = time.monotonic()
    place.each(lambda name: place.apply_model(name, name, {"maxReplicas": 100}, nodeSelector=NOWHERE), names)
    made = time.monotonic() - begin
    idle: list[float] = []
    active: list[float] = []
    with place.watch_replicas() as watched:
        for turn in range(1, 6 if long else 4):
            for name in names[:ACTIVE]:
                seen = len(watched.changes)
                confirmed = publish_plain(place.broker_uri, f"BENCH_{name}", ["/data/bench/none/run/1"])
                reached = watched.wait(
                    lambda change, name=name, turn=turn: change.name == f"{name}-worker" and change.value == turn,
                    60,
                    f"{turn} replicas of {name}",
                    seen,
                )
                (idle if turn == 1 else active).append(reached.at - confirmed)
    before, begin = place.metrics(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    after, seconds = place.metrics(), time.monotonic() - begin
    cpu = after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
    place.clear()
    figures = [
        one(f"{len(names):,} models: until all are ready", "s", made),
        Figure(f"{len(names):,} models: message for an idle one to a worker", "s", idle),
        Figure(f"{len(names):,} models: message for an active one to a worker more", "s", active),
        one(f"{len(names):,} models: operator's share of a core", "%", 100 * cpu / seconds),
        *place.requests(before, after, seconds),
    ]
    if decisions := after.get("pecan_operator_decision_seconds_count"):
        mean = after["pecan_operator_decision_seconds_sum"] / decisions
        figures.append(one("mean of pecan_operator_decision_seconds", "s", mean))
    return figures
