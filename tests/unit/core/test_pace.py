"""Turns spread over time, whoever asks and however often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.core.pace import Pace


@pytest.mark.parametrize("at_once", [1, 10])
@given(pauses=st.lists(st.floats(0.0, 0.2), min_size=50, max_size=200))
def test_no_more_than_so_many_a_second_but_for_those_at_once(at_once: int, pauses: list[float]) -> None:
    pace, now, taken = Pace(20, at_once), 1000.0, []
    for pause in pauses:
        now += pause
        wait = pace.wait(now)
        if wait == 0.0:
            taken.append(now)
        else:
            assert 0 < wait <= 0.05
    for moment in taken:
        assert sum(1 for each in taken if moment <= each < moment + 1.0) <= 20 + at_once - 1


def test_after_a_rest_some_come_at_once() -> None:
    pace = Pace(20, at_once=3)
    assert [pace.wait(7.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert pace.wait(7.0) == pytest.approx(0.05)
    assert [pace.wait(7.05), pace.wait(7.05) > 0] == [0.0, True]
    assert [pace.wait(60.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.05)]
