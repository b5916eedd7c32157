"""Holding the Lease: one of several operators works, the others wait for it."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from pecan_operator.clients.kube import Manifest
from pecan_operator.core.leader import (
    API_VERSION,
    KIND,
    Action,
    Standing,
    Terms,
    decide_action,
    held_lease,
    holder_of,
    new_lease,
    released_lease,
    transitions_of,
)
from pecan_operator.errors import OperatorError, Superseded
from pecan_operator.records import Epoch

WATCH_SECONDS = 0.1
RELEASE_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Leases(Protocol):
    """What is needed of a client that is told soon when there is no answer; see clients/kube.py."""

    def read(self, api_version: str, kind: str, namespace: str | None, name: str) -> Manifest | None: ...

    def create(self, manifest: Manifest) -> Manifest | None: ...

    def replace(self, manifest: Manifest) -> Manifest | None: ...


def new_identity() -> str:
    """The pod's name, and which process of it."""
    return f"{socket.gethostname()}_{secrets.token_hex(4)}"


def leave(why: str) -> None:
    """End the process without another step: another one may be the leader already."""
    _log.error("%s: this process ends", why)
    os._exit(1)


def leave_when_superseded() -> None:
    """Have a thread that is stopped by `Superseded` end the process."""
    otherwise = threading.excepthook

    def ended(thread: threading.ExceptHookArgs) -> None:
        if isinstance(thread.exc_value, Superseded):
            leave(str(thread.exc_value))
        otherwise(thread)

    threading.excepthook = ended


class Leader:
    """A candidate for the Lease, and its holder once it has it. A holder that is not sure of it any more calls `leave`.

    One thread keeps the Lease, another one looks that this is not too slow.
    """

    def __init__(
        self,
        leases: Leases,
        namespace: str,
        name: str,
        identity: str,
        terms: Terms = Terms(),  # noqa: B008
        leave: Callable[[str], None] = leave,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._leases = leases
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._terms = terms
        self._leave = leave
        self._clock = clock
        self._now = now
        self._standing = Standing(since=clock())
        self._is_fresh = False
        self._told: str | None = None
        self._turning = threading.Lock()
        self._leading = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> None:
        for work in (self._keep, self._watch):
            threading.Thread(target=work, name=f"leader-{work.__name__}", daemon=True).start()

    def wait(self, stop: threading.Event) -> bool:
        """Whether the process has become the leader; False when `stop` is set before."""
        while not stop.is_set():
            if self._leading.wait(0.05):
                return True
        return False

    def leads(self) -> bool:
        return self._standing.leads(self._clock(), self._terms)

    def waits(self) -> bool:
        """Whether it has seen that another one holds the Lease."""
        return holder_of(self._standing.lease) not in ("", self._identity)

    def epoch(self) -> Epoch:
        """Which leader this is, of all that have held the Lease."""
        lease = self._standing.lease or {}
        return Epoch(lease["metadata"]["uid"], transitions_of(lease))

    def release(self) -> None:
        """Give the Lease back, or leave off waiting for it. Call it when nothing writes any more."""
        self._stopping.set()
        if not self._turning.acquire(timeout=RELEASE_SECONDS):
            return
        lease = self._standing.lease
        if self._standing.renewed is None or lease is None:
            return
        self._standing = Standing()
        try:
            given_back = self._leases.replace(released_lease(lease, self._now()))
        except OperatorError as error:
            _log.warning("Lease %s could not be given back: %s", self._name, error)
        else:
            _log.info("Lease %s %s", self._name, "is given back" if given_back else "was another's already")

    def turn(self) -> float:
        """One look at the Lease and what follows from it. Returns the seconds until the next turn."""
        try:
            return self._turn()
        except OperatorError as error:
            self._tell(logging.WARNING, f"Lease {self._name}: {error}")
        except Exception:
            _log.exception("Lease %s", self._name)
        self._is_fresh = False
        return self._terms.look_seconds if self._leading.is_set() else self._terms.renew_seconds

    def _turn(self) -> float:
        if not self._is_fresh:
            lease = self._leases.read(API_VERSION, KIND, self._namespace, self._name)
            self._standing = self._standing.saw(lease, self._clock())
        action = decide_action(self._standing, self._identity, self._clock(), self._terms)
        if action is Action.WAIT:
            holder = holder_of(self._standing.lease)
            self._tell(logging.INFO, f"Lease {self._name} is held by {holder}: this process waits for it")
        elif action is Action.LOST:
            self._leave(f"Lease {self._name} is lost to {holder_of(self._standing.lease) or 'nobody'}")
        else:
            self._write()
        return self._terms.renew_seconds if self._is_fresh else self._terms.look_seconds

    def _write(self) -> None:
        lease = self._standing.lease
        sent = self._clock()
        # What comes of it is unknown until the answer is here.
        self._is_fresh = False
        if lease is None:
            made = self._leases.create(new_lease(self._namespace, self._name, self._identity, self._now(), self._terms))
        else:
            made = self._leases.replace(held_lease(lease, self._identity, self._now(), self._terms))
        if made is None:
            return
        self._standing = self._standing.holds(made, sent)
        self._is_fresh = True
        if not self._leading.is_set():
            self._leading.set()
            self._tell(logging.INFO, f"Lease {self._name} is ours; it has changed hands {transitions_of(made)} times")

    def _tell(self, level: int, text: str) -> None:
        if text != self._told:
            _log.log(level, text)
            self._told = text

    def _keep(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            with self._turning:
                if self._stopping.is_set():
                    return
                pause = self.turn()

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_SECONDS):
            if self._leading.is_set() and not self.leads() and not self._stopping.is_set():
                self._leave(f"Lease {self._name} could not be renewed in time")
