"""Which claims are of dead workers for certain."""

from __future__ import annotations

from typing import Any

import pytest

from pecan_operator.assets import worker
from pecan_operator.assets.worker import Deaths

MINE = "2026-03-01T12:00:00.000000Z"


def claim(name: Any, since: Any) -> dict[str, Any]:
    return {"worker": name, "since": since, "attempt": 1}


def deaths(*words: tuple[Any, Any, Any]) -> Deaths:
    deaths = Deaths("me", MINE)
    for word in words:
        deaths.note(*word)
    return deaths


TWO = (("you", "2026-03-01T10:00:00Z", "OOMKilled"), ("you", "2026-03-01T11:00:00Z", "Error"))


@pytest.mark.parametrize(
    ("of", "is_dead", "how"),
    [
        (claim("me", MINE), False, None),
        (claim("me", "2026-03-01T11:59:59.000000Z"), True, None),
        (claim("me", None), True, None),
        (claim("you", "2026-03-01T09:00:00.000000Z"), True, "OOMKilled"),
        (claim("you", "2026-03-01T10:00:00.000000Z"), True, "OOMKilled"),
        (claim("you", "2026-03-01T10:00:00.000001Z"), True, "Error"),
        (claim("you", "2026-03-01T12:00:00.000000+01:00"), True, "Error"),
        (claim("you", "2026-03-01T11:00:00.000001Z"), False, None),
        (claim("another", "2026-03-01T09:00:00.000000Z"), False, None),
        (claim("you", None), False, None),
        (claim("you", "yesterday"), False, None),
        (claim("you", "2026-03-01T09:00:00"), False, None),
        (claim(["you"], "2026-03-01T09:00:00Z"), False, None),
        ({}, False, None),
    ],
)
def test_certain_deaths(of: dict[str, Any], is_dead: bool, how: str | None) -> None:
    known = deaths(*TWO)
    assert (known.is_dead(of), known.how(of)) == (is_dead, how)


def test_nobody_takes_himself_for_dead() -> None:
    known = deaths(("me", "2026-03-01T13:00:00Z", "Error"))
    assert not known.is_dead(claim("me", MINE))
    assert known.is_dead(claim("me", "2026-03-01T11:00:00.000000Z"))


@pytest.mark.parametrize(
    "word",
    [
        (None, "2026-03-01T13:00:00Z", None),
        (7, "2026-03-01T13:00:00Z", None),
        ("you", None, None),
        ("you", 7, None),
        ("you", "2026-03-01T13:00:00", None),
        ("you", "now", None),
    ],
)
def test_a_word_without_sense_changes_nothing(word: tuple[Any, Any, Any]) -> None:
    assert not deaths(word).is_dead(claim("you", "2026-03-01T09:00:00Z"))


def test_a_death_without_reason_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for reason in (None, "", 7):
        known = deaths(("you", "2026-03-01T13:00:00Z", reason))
        assert known.is_dead(claim("you", "2026-03-01T09:00:00Z"))
        assert known.how(claim("you", "2026-03-01T09:00:00Z")) is None


def test_remembered_words_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "GONE_KEPT", 3)
    known = deaths(*((f"w{number}", "2026-03-01T13:00:00Z", None) for number in range(5)))
    dead = [number for number in range(5) if known.is_dead(claim(f"w{number}", "2026-03-01T09:00:00Z"))]
    assert dead == [2, 3, 4]
