"""Which queues the broker is asked about next, so that many models cost no more than a few."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Set

NEW_EACH = 200
ACTIVE_EACH = 30
IDLE_EACH = 20


def next_round(asked: Mapping[str, float | None], active: Set[str]) -> list[str]:
    """The queues of one round: those never asked about, then the active and the idle ones that have waited longest.

    `asked` says when each queue was asked about last; `active` are those with work. A queue is asked about at the latest
    after (idle queues / IDLE_EACH) rounds, and each round asks about NEW_EACH + ACTIVE_EACH + IDLE_EACH at most.
    """
    new = [queue for queue, moment in asked.items() if moment is None][:NEW_EACH]
    known = {queue: moment for queue, moment in asked.items() if moment is not None}
    busy = heapq.nsmallest(ACTIVE_EACH, known.keys() & active, key=lambda queue: (known[queue], queue))
    idle = heapq.nsmallest(IDLE_EACH, known.keys() - active, key=lambda queue: (known[queue], queue))
    return [*new, *busy, *idle]
