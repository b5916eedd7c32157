"""The same work on many items in several processes: results in order, and no more of them in memory than are taken."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pecan_operator.errors import Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")
Contra = TypeVar("Contra", contravariant=True)

MOST_PROCESSES = 8
FEWEST_ITEMS = 100
"""For each process: with fewer, starting it takes longer than it saves."""

_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def cpus(limit: Path = _CPU_LIMIT) -> int:
    """CPUs that this process may use: those it may run on, and no more than its container is given (cgroup v2)."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = limit.read_text().split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        # no cgroup of its own, or `max`: no limit
        return allowed


def processes_for(items: int) -> int:
    """How many processes are worth their start."""
    return max(1, min(cpus(), MOST_PROCESSES, items // FEWEST_ITEMS))


def in_order(work: Callable[[Item], Result], items: Sequence[Item], processes: int) -> Iterator[Result]:
    """The results of `work` on each item, made in forked processes when there are several.

    A process that is ahead waits until its result is taken. Raises what `work` raises, and Unavailable when a process is
    killed.
    """
    if processes < 2:
        yield from map(work, items)
        return
    context = get_context("fork")
    with ExitStack() as stack:
        pipes: list[Connection] = []
        for number in range(processes):
            ours, theirs = context.Pipe(duplex=False)
            child = context.Process(target=_send, args=(theirs, work, items[number::processes]), daemon=True)
            child.start()
            theirs.close()
            stack.callback(_end, child, ours)
            pipes.append(ours)
        for at in range(len(items)):
            try:
                answer: Result | _Raised = pipes[at % processes].recv()
            except EOFError:
                raise Unavailable(
                    "ProcessKilled", "a process that reads outputs was killed: is there enough memory?"
                ) from None
            if isinstance(answer, _Raised):
                raise answer.error
            yield answer


def _send(pipe: Connection, work: Callable[[Item], Result], items: Sequence[Item]) -> None:
    try:
        for item in items:
            pipe.send(work(item))
    except BrokenPipeError:
        # nobody takes the rest
        return
    except Exception as error:
        pipe.send(_Raised(error))


@dataclass(frozen=True)
class _Raised:
    error: Exception


class Writer(Protocol[Contra]):
    """What is entered, takes items one after the other, and finishes its files when it is left without an error."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *error: Any) -> None: ...

    def add(self, item: Contra) -> None: ...


class Apart(Generic[Item]):
    """A writer that works in a forked process of its own. Its errors are raised here, at the latest when it is left."""

    def __init__(self, writer: Writer[Item]) -> None:
        self._writer = writer

    def __enter__(self) -> Apart[Item]:
        context = get_context("fork")
        items, self._items = context.Pipe(duplex=False)
        # a pipe of its own: what a socket holds is lost with it
        self._end, end = context.Pipe(duplex=False)
        ours = (self._items, self._end)
        self._child = context.Process(target=_serve, args=(ours, items, end, self._writer), daemon=True)
        self._child.start()
        items.close()
        end.close()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self._send(None)
                self._raise_error()
        finally:
            # without None the writer ends as after an error
            self._items.close()
            self._child.join()
            self._end.close()

    def add(self, item: Item) -> None:
        """Hand over an item; waits while the process has enough to do."""
        self._send(item)

    def _send(self, item: Item | None) -> None:
        try:
            self._items.send(item)
        except BrokenPipeError:
            self._raise_error()

    def _raise_error(self) -> None:
        try:
            error = self._end.recv()
        except EOFError:
            raise Unavailable("ProcessKilled", "a process that draws was killed: is there enough memory?") from None
        if error is not None:
            raise error


def _serve(others: Sequence[Connection], items: Connection, end: Connection, writer: Writer[Any]) -> None:
    for pipe in others:
        pipe.close()
    try:
        with writer:
            for item in iter(items.recv, None):
                writer.add(item)
    except EOFError:
        # the other side has failed, and says so itself
        return
    except Exception as error:
        end.send(error)
    else:
        end.send(None)


def _end(child: BaseProcess, pipe: Connection) -> None:
    pipe.close()
    child.terminate()
    child.join()
