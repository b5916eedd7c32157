"""Writes of progress: often enough to be of use, seldom enough for any number of runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.core.progress import Written, progress_wait, shape
from pecan_operator.records import RunCounts


def counts(total: int, over: int, running: int = 0) -> RunCounts:
    return RunCounts(planned=total - over - running, running=running, succeeded=over)


@pytest.mark.parametrize(
    ("total", "before", "after", "seconds", "wait"),
    [
        pytest.param(100, 0, 1, 5.0, 0.0, id="one per cent and a second"),
        pytest.param(100, 0, 1, 0.25, 0.75, id="one per cent, but too soon"),
        pytest.param(10_000, 0, 99, 5.0, 5.0, id="less than one per cent waits for ten seconds"),
        pytest.param(10_000, 0, 100, 5.0, 0.0, id="one per cent of many"),
        pytest.param(3, 0, 1, 2.0, 0.0, id="few runs"),
        pytest.param(10_000, 0, 1, 10.0, 0.0, id="ten seconds are long enough"),
    ],
)
def test_when_it_is_written(total: int, before: int, after: int, seconds: float, wait: float) -> None:
    written = Written(counts(total, before), at=100.0, began=100.0)
    assert progress_wait(written, counts(total, after), 100.0 + seconds) == wait


def test_started_runs_are_told_although_none_has_ended() -> None:
    written = Written(counts(10, 0), at=0.0, began=0.0)
    assert progress_wait(written, counts(10, 0, running=2), 4.0) == 6.0


@given(st.sampled_from([10, 500, 10_000, 100_000]), st.floats(5.0, 7 * 86_400.0))
def test_no_workflow_takes_more_than_120_writes(total: int, duration: float) -> None:
    """Runs end evenly; the handler looks whenever it may write, and is told the exact wait."""
    now, writes = 0.0, 0
    written = Written(counts(total, 0), 0.0, 0.0)
    while now < duration:
        over = int(total * now / duration)
        wait = progress_wait(written, counts(total, over), now)
        if wait > 0:
            now += max(min(wait, duration / 400), 1e-3)
            continue
        written = Written(counts(total, over), now, 0.0)
        writes += 1
        now += min(1.0, duration / 400)
    assert writes <= 120


def test_the_shape_leaves_out_what_moves() -> None:
    def status(over: int, **more: object) -> dict[str, object]:
        conditions = [
            {"type": "Ready", "status": "False", "reason": "Running", "message": f"{over} succeeded"},
            {"type": "ModelReady", "status": "False", "reason": "X", "message": "why"},
        ]
        return {
            "phase": "Running",
            "runs": {"succeeded": over},
            "progress": f"{over}/9",
            "conditions": conditions,
            **more,
        }

    assert shape(status(1)) == shape(status(2))
    assert shape(status(1)) != shape(status(2, phase="Analysing"))
    assert shape(status(1)) != shape(status(1, finishedAt="2024"))
    other = status(1)
    other["conditions"][1]["message"] = "another"  # type: ignore[index]
    assert shape(status(1)) != shape(other)
    assert shape({}) == {"conditions": []}
