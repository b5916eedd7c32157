"""The claim file: one owner at a time, whatever the order of steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pecan_operator.assets.worker import CLAIM, Claim, Message

MESSAGE = Message(folder="/data/run/1", workflow="7", run="1", attempt=2)
SINCE = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
def claims(tmp_path: Path) -> tuple[Claim, Claim]:
    return Claim(str(tmp_path), "a", SINCE, MESSAGE), Claim(str(tmp_path), "b", SINCE, MESSAGE)


def test_only_one_takes_it(claims: tuple[Claim, Claim]) -> None:
    first, second = claims
    assert first.take()
    assert not second.take()
    assert first.is_owned()
    assert not second.is_owned()
    first.release()
    assert second.take()


def test_it_says_who_and_each_renewal_shows(claims: tuple[Claim, Claim]) -> None:
    first, _ = claims
    first.take()
    contents = [first.read()]
    for _ in range(12):
        assert first.renew()
        contents.append(first.read())
    assert len(set(contents)) == 13
    said = json.loads(contents[-1] or b"")
    assert said["since"] == SINCE
    assert (said["worker"], said["workflow"], said["run"], said["attempt"], said["counter"]) == ("a", "7", "1", 2, 12)


def test_nobody_releases_or_renews_what_is_not_his(claims: tuple[Claim, Claim]) -> None:
    first, second = claims
    assert not first.renew()
    second.take()
    before = second.read()
    assert not first.renew()
    first.release()
    assert second.read() == before


def test_a_stale_claim_is_removed_and_its_owner_notices(claims: tuple[Claim, Claim]) -> None:
    first, second = claims
    first.take()
    assert second.remove(first.read() or b"")
    assert not first.is_owned()
    assert not first.renew()
    assert second.take()
    assert not first.renew()
    assert second.is_owned()


def test_a_claim_renewed_since_it_was_seen_stays(claims: tuple[Claim, Claim], tmp_path: Path) -> None:
    first, second = claims
    first.take()
    seen = first.read() or b""
    first.renew()
    assert not second.remove(seen)
    assert first.is_owned()
    assert [path.name for path in tmp_path.iterdir()] == [CLAIM]


def test_a_claim_that_is_gone_needs_no_removal(claims: tuple[Claim, Claim]) -> None:
    assert not claims[0].remove(b"seen")
