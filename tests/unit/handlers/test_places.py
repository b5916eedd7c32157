"""Places for Jobs: never too many, everybody's turn comes, in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.handlers.places import Places
from pecan_operator.handlers.workqueue import Key


def key(number: int, namespace: str = "forest") -> Key:
    return Key("PecanWorkflow", namespace, f"w{number}")


class Room:
    def __init__(self, number: int) -> None:
        self.woken: list[Key] = []
        self.places = Places(number, lambda each, _: self.woken.append(each))


def test_those_beyond_the_number_wait_and_are_called_in_their_order() -> None:
    room = Room(2)
    assert room.places.take(key(1), (1, 0, 1))
    assert room.places.take(key(2), (1, 0, 2))
    assert not room.places.take(key(3), (1, 0, 3))
    assert not room.places.take(key(4), (1, -5, 4))
    assert not room.places.take(key(5), (0, 0, 5))
    room.places.leave(key(1))
    assert room.woken == [key(5)]
    assert not room.places.take(key(3), (1, 0, 3))
    assert room.places.take(key(5), (0, 0, 5))
    room.places.leave(key(2))
    assert room.woken[-1] == key(4)


def test_one_that_has_its_place_keeps_it() -> None:
    room = Room(1)
    assert room.places.take(key(1), (1, 0, 1))
    assert not room.places.take(key(2), (0, 0, 2))
    assert room.places.take(key(1), (1, 0, 1))


def test_one_that_goes_while_it_waits_keeps_nobody_from_the_place() -> None:
    room = Room(1)
    assert room.places.take(key(1), (1, 0, 1))
    assert not room.places.take(key(2), (1, 0, 2))
    assert not room.places.take(key(3), (1, 0, 3))
    room.places.leave(key(2))
    room.places.leave(key(1))
    assert room.woken == [key(3)]
    assert room.places.take(key(3), (1, 0, 3))


def test_jobs_that_were_at_work_before_a_start_count() -> None:
    room = Room(1)
    room.places.hold(key(1))
    assert not room.places.take(key(2), (1, 0, 2))
    room.places.leave(key(1))
    assert room.woken == [key(2)]


def test_namespaces_do_not_meet() -> None:
    room = Room(1)
    assert room.places.take(key(1, "one"), (1, 0, 1))
    assert room.places.take(key(1, "two"), (1, 0, 1))


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 0)), max_size=25), st.randoms())
def test_everybody_has_a_turn_and_never_too_many_at_once(
    number: int, ranks: list[tuple[int, int]], dice: object
) -> None:
    """Each key is looked at when it is new and when it is called; a Job ends at any moment."""
    room = Room(number)
    at_work: set[Key] = set()
    done: set[Key] = set()
    due = [key(n) for n in range(len(ranks))]
    dice.shuffle(due)  # type: ignore[attr-defined]
    for _ in range(500):
        if due:
            now = due.pop(0)
            if now not in at_work | done and room.places.take(now, (*ranks[int(now.name[1:])], int(now.name[1:]))):
                at_work.add(now)
                assert len(at_work) <= number
        elif at_work:
            over = dice.choice(sorted(at_work))  # type: ignore[attr-defined]
            at_work.remove(over)
            done.add(over)
            room.places.leave(over)
        due += room.woken
        room.woken.clear()
    assert len(done) == len(ranks)
