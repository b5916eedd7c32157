"""Which of several operators works: the one that holds the Lease, as long as it is sure of that.

Clocks of two machines are never compared: what the Lease says of times is for readers. A candidate takes over when it has
seen the Lease unchanged for its whole duration. The leader counts from when it *sent* its last renewal and gives up a
margin earlier, so that it has gone by then whatever answers were late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

API_VERSION = "coordination.k8s.io/v1"
KIND = "Lease"
Lease = Mapping[str, Any]


@dataclass(frozen=True)
class Terms:
    """How long a Lease holds, how much earlier its holder gives up, how often it renews, how often others look."""

    duration_seconds: int = 6
    margin_seconds: float = 1.0
    renew_seconds: float = 1.0
    look_seconds: float = 0.25


class Action(StrEnum):
    ACQUIRE = "acquire"
    RENEW = "renew"
    WAIT = "wait"
    LOST = "lost"


@dataclass(frozen=True)
class Standing:
    """What a process knows; times are of its own monotonic clock.

    `lease` is the Lease as last seen (None: there is none) and `since` from when on it has been so. `renewed` is when the
    request was sent by which the process last became or stayed the holder; None while it does not lead.
    """

    lease: Lease | None = None
    since: float = 0.0
    renewed: float | None = None

    def saw(self, lease: Lease | None, now: float) -> Standing:
        """The answer to a read; `now` is when it came."""
        same = lease is not None and self.lease is not None and _version(lease) == _version(self.lease)
        return replace(self, lease=lease, since=self.since if same else now)

    def holds(self, lease: Lease, sent: float) -> Standing:
        """The answer to a write that named this process, sent at `sent`."""
        return Standing(lease, since=sent, renewed=sent)

    def leads(self, now: float, terms: Terms) -> bool:
        """Whether the process may act as the leader. One that led and does not any more has to end at once."""
        return self.renewed is not None and now - self.renewed < terms.duration_seconds - terms.margin_seconds


def decide_action(standing: Standing, identity: str, now: float, terms: Terms) -> Action:
    """What to do about the Lease. An unanswered write may have made the process the holder: then it renews."""
    holder = holder_of(standing.lease)
    if standing.renewed is not None:
        return Action.RENEW if holder == identity and standing.leads(now, terms) else Action.LOST
    if holder == identity:
        return Action.RENEW
    if holder == "":
        return Action.ACQUIRE
    spec = (standing.lease or {})["spec"]
    duration = max(terms.duration_seconds, spec.get("leaseDurationSeconds") or 0)
    return Action.ACQUIRE if now - standing.since >= duration else Action.WAIT


def holder_of(lease: Lease | None) -> str:
    """Empty when nobody holds it."""
    return ((lease or {}).get("spec") or {}).get("holderIdentity") or ""


def transitions_of(lease: Lease) -> int:
    return int((lease.get("spec") or {}).get("leaseTransitions") or 0)


def new_lease(namespace: str, name: str, identity: str, now: datetime, terms: Terms) -> dict[str, Any]:
    """The Lease where there was none."""
    metadata = {"name": name, "namespace": namespace}
    bare = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata}
    return {**bare, "spec": {**_held(identity, now, terms), "acquireTime": _time(now), "leaseTransitions": 0}}


def held_lease(lease: Lease, identity: str, now: datetime, terms: Terms) -> dict[str, Any]:
    """The Lease acquired or renewed; its transitions count the changes of holder."""
    spec = {**(lease.get("spec") or {}), **_held(identity, now, terms)}
    if holder_of(lease) != identity:
        spec |= {"acquireTime": _time(now), "leaseTransitions": transitions_of(lease) + 1}
    return {**lease, "spec": spec}


def released_lease(lease: Lease, now: datetime) -> dict[str, Any]:
    """The Lease given back: the next candidate that looks takes it."""
    return {**lease, "spec": {**lease["spec"], "holderIdentity": "", "renewTime": _time(now)}}


def _held(identity: str, now: datetime, terms: Terms) -> dict[str, Any]:
    return {"holderIdentity": identity, "leaseDurationSeconds": terms.duration_seconds, "renewTime": _time(now)}


def _version(lease: Lease) -> tuple[str, str]:
    return lease["metadata"]["uid"], lease["metadata"]["resourceVersion"]


def _time(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
