"""Whose runs are published next, when more wait than the window takes."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from pecan_operator.records import Backlog


def allocate(backlogs: Sequence[Backlog], slots: int) -> dict[int, int]:
    """How many runs of each workflow to publish into `slots` places.

    Weighted max-min fairness on what is in flight: each place goes to the workflow with the fewest runs in flight for its
    weight, which is 1 + priority, as long as it has planned runs and its maxParallel allows. Ties go to the older workflow.
    """
    heap: list[tuple[float, int, int]] = []
    room: dict[int, int] = {}
    weight: dict[int, int] = {}
    for backlog in backlogs:
        limit = backlog.planned
        if backlog.max_parallel is not None:
            limit = min(limit, backlog.max_parallel - backlog.in_flight)
        if limit <= 0:
            continue
        room[backlog.workflow_id] = limit
        weight[backlog.workflow_id] = 1 + backlog.priority
        heap.append(((backlog.in_flight + 1) / (1 + backlog.priority), backlog.workflow_id, backlog.in_flight + 1))
    heapq.heapify(heap)
    given: dict[int, int] = {}
    while slots > 0 and heap:
        _, workflow_id, in_flight = heapq.heappop(heap)
        given[workflow_id] = given.get(workflow_id, 0) + 1
        slots -= 1
        if given[workflow_id] < room[workflow_id]:
            heapq.heappush(heap, ((in_flight + 1) / weight[workflow_id], workflow_id, in_flight + 1))
    return given
