"""Depths of queues as the broker said last."""

from __future__ import annotations

from collections import deque

import pytest
from fakes import FakeBroker

from pecan_operator.errors import Unavailable
from pecan_operator.handlers.depths import Depths


def made(*queues: str) -> tuple[FakeBroker, Depths]:
    broker = FakeBroker()
    broker.queues.update({queue: deque() for queue in queues})
    return broker, Depths("forest", broker, lambda: 0.0)  # type: ignore[arg-type]


def test_what_changed_is_told_once() -> None:
    broker, depths = made("A", "B")
    assert depths.of("A") is None
    assert depths.look(["A", "B"], set()) == {"A", "B"}
    assert depths.look(["A", "B"], set()) == set()
    broker.queues["A"].append("message")  # type: ignore[arg-type]
    assert depths.look(["A", "B"], set()) == {"A"}
    assert depths.known() == {"A": 1, "B": 0}


def test_a_queue_that_does_not_exist_is_empty_and_one_not_served_is_forgotten() -> None:
    _, depths = made()
    depths.look(["A"], set())
    assert depths.of("A") == 0
    depths.look(["B"], set())
    assert depths.known() == {"B": 0}


def test_a_broker_that_is_away_leaves_what_was_known_until_it_is_forgotten() -> None:
    broker, depths = made("A")
    depths.look(["A"], set())
    broker.go_away()
    with pytest.raises(Unavailable):
        depths.look(["A"], set())
    assert depths.of("A") == 0
    depths.forget()
    assert depths.of("A") is None
