"""Rounds of questions: bounded, and nobody is forgotten."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.core.rounds import ACTIVE_EACH, IDLE_EACH, NEW_EACH, next_round


def rounds(queues: list[str], active: set[str], number: int) -> list[list[str]]:
    asked: dict[str, float | None] = dict.fromkeys(queues)
    made = []
    for moment in range(number):
        chosen = next_round(asked, active)
        asked.update(dict.fromkeys(chosen, float(moment)))
        made.append(chosen)
    return made


def test_few_queues_are_asked_about_each_time() -> None:
    queues = [f"q{number}" for number in range(IDLE_EACH)]
    assert all(sorted(chosen) == sorted(queues) for chosen in rounds(queues, {"q3"}, 5))


def test_new_queues_come_first() -> None:
    assert next_round({"old": 1.0, "new": None}, set())[0] == "new"


@pytest.mark.parametrize(("queues", "active"), [(1000, 20), (1000, 500), (5, 0), (0, 0)])
def test_a_thousand_cost_no_more_than_the_bound(queues: int, active: int) -> None:
    names = [f"q{number:04}" for number in range(queues)]
    busy = set(names[:active])
    first = math.ceil(queues / NEW_EACH)
    made = rounds(names, busy, first + 60)
    for chosen in made:
        assert len(chosen) == len(set(chosen)) <= NEW_EACH + ACTIVE_EACH + IDLE_EACH
    for chosen in made[first:]:
        assert len(chosen) <= ACTIVE_EACH + IDLE_EACH
        if active <= ACTIVE_EACH:
            assert busy <= set(chosen)
    assert {queue for chosen in made for queue in chosen} == set(names)


@given(st.integers(0, 200), st.sets(st.integers(0, 199)))
def test_every_queue_has_its_turn_in_time(queues: int, active: set[int]) -> None:
    names = [f"q{number}" for number in range(queues)]
    busy = {f"q{number}" for number in active} & set(names)
    longest = 1 + max(math.ceil(len(busy) / ACTIVE_EACH), math.ceil((queues - len(busy)) / IDLE_EACH))
    made = rounds(names, busy, 2 * longest + 2)
    for start in range(len(made) - longest):
        seen = {queue for chosen in made[start : start + longest] for queue in chosen}
        assert seen == set(names)
