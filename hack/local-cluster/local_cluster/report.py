"""What the user sees: one line a step, one line when something is wrong."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

STARTED = time.monotonic()
LOG_LINES_SHOWN = 15


class ClusterError(Exception):
    """Something the user has to know or do; the message is one line, with the log that tells more if there is one."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log

    def __str__(self) -> str:
        message = super().__str__()
        if self.log is None or not self.log.exists():
            return message
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return "\n".join([f"{message}; see {self.log}, which ends:", *(f"  {line[:400]}" for line in lines)])


def step(message: str) -> None:
    """Print one line of progress with the seconds since the program began."""
    print(f"[{time.monotonic() - STARTED:4.0f}s] {message}", file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | Path | None = None,
    seconds: float = 60,
    environment: Mapping[str, str] | None = None,
) -> str:
    """The standard output of a command, whose standard input is a text or the content of a file.

    Raises:
        ClusterError: it cannot be started, fails, or takes longer than `seconds`.
    """
    shown = " ".join(str(word) for word in command[:6])
    try:
        with stdin.open("rb") if isinstance(stdin, Path) else tempfile.TemporaryFile() as source:
            if isinstance(stdin, str):
                source.write(stdin.encode())
                source.seek(0)
            result = subprocess.run(
                [str(word) for word in command],
                stdin=source,
                capture_output=True,
                text=True,
                timeout=seconds,
                env=environment,
                check=False,
            )
    except OSError as error:
        raise ClusterError(f"`{shown}` cannot be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{shown}` did not end within {seconds:.0f} s") from error
    if result.returncode != 0:
        reason = " / ".join((result.stderr or result.stdout).strip().splitlines()[-3:])
        raise ClusterError(f"`{shown}` failed with {result.returncode}: {reason}")
    return result.stdout


def run_logged(
    command: Sequence[str | Path],
    log: Path,
    what: str,
    *,
    seconds: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a long command with its output in `log`, saying every 30 s that it is still at work.

    Raises:
        ClusterError: it cannot be started, fails, or takes longer than `seconds`.
    """
    began = time.monotonic()
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=environment,
            )
        except OSError as error:
            raise ClusterError(f"{what} cannot be started: {error}") from error
        try:
            while True:
                try:
                    status = process.wait(timeout=30)
                    break
                except subprocess.TimeoutExpired:
                    elapsed = time.monotonic() - began
                    if elapsed > seconds:
                        raise ClusterError(f"{what} did not end within {seconds:.0f} s", log) from None
                    step(f"{what}: still at work after {elapsed:.0f} s")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if status != 0:
        raise ClusterError(f"{what} failed with {status}", log)


def wait_until(
    what: str, test: Callable[[], object], *, seconds: float, log: Path | None = None, every: float = 0.25
) -> None:
    """Call `test` until it returns something true; a `ClusterError` that it raises counts as not yet.

    Raises:
        ClusterError: the deadline has passed; it says what was waited for, the last reason, and the log to read.
    """
    deadline = time.monotonic() + seconds
    reason = ""
    while True:
        try:
            if test():
                return
        except ClusterError as error:
            reason = f" ({error})"
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {seconds:.0f} s{reason}", log)
        time.sleep(every)
