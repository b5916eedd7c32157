"""How fast a workflow goes, and when it will be through."""

from __future__ import annotations

from itertools import accumulate

import pytest
from cli_fakes import condition, workflow
from hypothesis import given
from hypothesis import strategies as st

from kubectl_pecan.progress import STATES, Counts, Pace, duration, has_ended, rate_words
from pecan_operator.core.workflow import is_over


def pace(*looks: tuple[float, int]) -> Pace:
    made = Pace()
    for time, finished in looks:
        made.add(time, finished)
    return made


@pytest.mark.parametrize(
    ("looks", "rate"),
    [
        ([], None),
        ([(0, 5)], None),
        ([(0, 5), (10, 5)], None),
        ([(0, 0), (10, 20)], 2.0),
        ([(0, 0), (10, 20), (20, 20), (40, 20)], 0.5),
        # Of the last minute, when enough finished in it: what came before counts no more.
        ([(0, 0), (100, 1000), (160, 1060), (170, 1070)], 1.0),
        # Long runs: fewer than ten in a minute, so further back.
        ([(0, 0), (3600, 4), (7200, 8)], 8 / 7200),
        # A retry has taken finished runs up again.
        ([(0, 0), (10, 100), (20, 90), (30, 95)], 0.5),
    ],
)
def test_rate(looks: list[tuple[float, int]], rate: float | None) -> None:
    assert pace(*looks).rate == (None if rate is None else pytest.approx(rate))


def test_seconds_left() -> None:
    assert pace((0, 0), (10, 20)).seconds_left(100) == pytest.approx(50)
    assert pace((0, 0), (10, 0)).seconds_left(100) is None


@given(st.lists(st.tuples(st.floats(0.1, 5000), st.integers(0, 50)), min_size=2, max_size=100))
def test_the_rate_lies_between_the_slowest_and_the_fastest_step(steps: list[tuple[float, int]]) -> None:
    times = list(accumulate(seconds for seconds, _ in steps))
    finished = list(accumulate(number for _, number in steps))
    made = pace(*zip(times, finished, strict=True))
    rates = [number / seconds for seconds, number in steps[1:]]
    if made.rate is None:
        assert sum(number for _, number in steps[1:]) == 0 or rates[-1] == 0
    else:
        assert min(rates) * 0.999 <= made.rate <= max(rates) * 1.001


@given(st.integers(1, 5), st.integers(200, 2000))
def test_looks_that_are_kept_are_few(rate: int, looks: int) -> None:
    made = pace(*((float(at), at * rate) for at in range(looks)))
    assert len(made._seen) <= 70
    assert made.rate == pytest.approx(rate)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0:00:00"), (59.6, "0:01:00"), (4000, "1:06:40"), (90000, "1 d 01:00:00")]
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("rate", "said"),
    [(None, "-"), (12.345, "12.3 runs/s"), (0.5, "30 runs/min"), (0.001, "3.6 runs/h"), (1e-5, "0.864 runs/d")],
)
def test_rate_words(rate: float | None, said: str) -> None:
    assert rate_words(rate) == said


@given(st.lists(st.integers(0, 100_000), min_size=6, max_size=6), st.integers(6, 80))
def test_a_bar_is_shared_by_the_states_there_are(numbers: list[int], width: int) -> None:
    counts = Counts(sum(numbers), *numbers)
    cells = counts.cells(width)
    assert set(cells) == {state for state, number in zip(STATES, numbers, strict=True) if number}
    assert sum(cells.values()) == (width if any(numbers) else 0)
    for state, number in cells.items():
        share = getattr(counts, state) * width / sum(numbers)
        assert 1 <= number <= max(1, share + 1)


def test_counts() -> None:
    runs = {"total": 10, "succeeded": 3, "failed": 1, "running": 2, "queued": 1, "planned": 3}
    counts = Counts.of({"status": {"runs": runs}})
    assert (counts.finished, counts.open) == (4, 6)
    assert counts.words() == "3 succeeded, 1 failed, 2 running, 1 queued, 3 planned"
    assert Counts.of({}).words() == "no runs yet"


def test_an_end_of_before_a_retry_is_none() -> None:
    over = workflow("loobos", "Failed", "none succeeded", finishedAt="2026-05-01T08:00:00Z")
    assert has_ended(over)
    over["metadata"]["generation"] += 1
    assert not has_ended(over)
    assert not has_ended(workflow("loobos", "Running", "4 running"))


ENDS = [
    (phase, ready, generation, retried)
    for phase in ("Running", "Succeeded", "Failed", "Cancelled")
    for ready in (phase, "OldJob")
    for generation in (0, 1)
    for retried in (None, "Waiting", "Retried", "DeadlineOver")
]


@pytest.mark.parametrize(("phase", "ready", "generation", "retried"), ENDS)
def test_the_end_is_what_the_operator_takes_for_it(
    phase: str, ready: str, generation: int, retried: str | None
) -> None:
    found = workflow("loobos", phase, "said", finishedAt="2026-05-01T08:00:00Z", spec={"retryGeneration": generation})
    conditions = [condition("Ready", "False", ready, "said")]
    if retried is not None:
        conditions.append(condition("Retried", "False", retried, "said"))
    found["status"]["conditions"] = conditions
    assert has_ended(found) is is_over(found)


def test_a_retry_that_is_still_to_begin_is_no_end() -> None:
    """The operator has seen the new generation, but waits for the old Job's pods: phase and finishedAt are the old ones."""
    waits = workflow("loobos", "Failed", "said", finishedAt="2026-05-01T08:00:00Z", spec={"retryGeneration": 1})
    waits["status"]["conditions"] = [condition("Ready", "False", "OldJob", "the pods of Job are being removed")]
    assert not has_ended(waits)
