from datetime import UTC, datetime, timedelta, timezone

import pytest

from pecan_operator.core.status import MESSAGE_MAX, Condition, conditions, find, timestamp

T0 = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
T1 = T0 + timedelta(minutes=1)


def test_times_are_utc_with_whole_seconds() -> None:
    assert timestamp(T0) == "2024-05-01T12:00:00Z"
    assert timestamp(T0.astimezone(timezone(timedelta(hours=5)))) == "2024-05-01T12:00:00Z"


def test_a_new_condition_begins_now() -> None:
    assert conditions([], [Condition("Ready", True, "Ready", "all well")], 3, T0) == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "all well",
            "observedGeneration": 3,
            "lastTransitionTime": "2024-05-01T12:00:00Z",
        }
    ]


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [(True, True, False), (False, False, False), (None, None, False), (True, False, True), (None, True, True)],
)
def test_the_transition_time_moves_only_with_the_status(before: bool | None, after: bool | None, moved: bool) -> None:
    previous = conditions([], [Condition("Ready", before, "Then", "then")], 1, T0)
    (now,) = conditions(previous, [Condition("Ready", after, "Now", "now")], 2, T1)
    assert now["lastTransitionTime"] == timestamp(T1 if moved else T0)
    assert (now["reason"], now["message"], now["observedGeneration"]) == ("Now", "now", 2)


def test_order_is_kept_and_what_is_not_said_any_more_goes() -> None:
    previous = conditions([], [Condition("Old", True, "Old"), Condition("B", True, "B")], 1, T0)
    found = conditions(previous, [Condition("B", True, "B"), Condition("A", None, "A")], 1, T1)
    assert [(each["type"], each["status"]) for each in found] == [("B", "True"), ("A", "Unknown")]


def test_a_long_message_is_cut() -> None:
    (made,) = conditions([], [Condition("Ready", False, "Bad", "x" * 5000)], 1, T0)
    assert len(made["message"]) == MESSAGE_MAX
    assert made["message"].endswith("…")


def test_finding_a_condition() -> None:
    status = {"conditions": conditions([], [Condition("A", True, "A"), Condition("B", False, "B")], 1, T0)}
    found = find(status, "B")
    assert found is not None
    assert found["reason"] == "B"
    assert find(status, "C") is None
    assert find(None, "A") is None
    assert find({}, "A") is None
