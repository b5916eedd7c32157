#!/usr/bin/env python3
"""The worker of one model: takes a run from the model's queue, runs its job.sh, reports, takes the next.

One file, standard library and pika (Python >= 3.8, pika >= 1.0), so that it can be mounted into any model image. It
takes PEcAn's messages ({"folder": "/data/.../run/<id>"}) and leaves PEcAn's answer (rabbitmq.out); the operator's own
messages carry the run's identity in headers, and their outcome is also told as events on the queue `pecan.events`.
Attempt numbers of a run only grow.

Files in the run's folder:
    .pecan-claim         who runs it, since when that process is up, and a counter renewed while it lives: never two at once
    .started             what the output folder held before the first attempt; a new attempt removes everything else
    job.log              output of the job
    .pecan-result.json   how the last attempt ended, there before anybody is told
    rabbitmq.out         PEcAn's form of it: the Python repr of the end of the output, then OK or ERROR

Environment (times in seconds):
    RABBITMQ_URI                amqp://guest:guest@rabbitmq/%2F
    PECAN_WORKER                name in events and claims: the pod's name (the host name); no two workers at a time have
                                the same, for one takes claims of its name that it did not make for those of a dead one
    PECAN_DATA                  /data; folders outside it are refused
    PECAN_MODEL_INFO            /work/model.json; the queue is <type>_<version> of it
    PECAN_QUEUE                 any; the queue it must be, so that no image serves the queue of another model
    APPLICATION                 ./job.sh; a shell command, run in the folder
    PECAN_RUN_TIMEOUT_SECONDS   86400; then the job is stopped and has failed
    PECAN_GRACE_SECONDS         run timeout + 60; from SIGTERM to SIGKILL (terminationGracePeriodSeconds)
    PECAN_RELEASE_SECONDS       20; that long before the grace period ends a running job is given back
    PECAN_UNREACHABLE_SECONDS   30; a broker that long away after SIGTERM: the job is given back at once
    PECAN_STOP_SECONDS          5; from SIGTERM to SIGKILL for a job that is to stop
    PECAN_FOLDER_SECONDS        30; a folder that is not there is looked for that long (file systems cache absence)
    PECAN_RENEW_SECONDS         5; between two renewals of the claim
    PECAN_STALE_SECONDS         15; a claim that long without renewal belongs to a dead worker, if that is not known before
    PECAN_HEARTBEAT_SECONDS     5; between two announcements on the exchange `models`
    PECAN_TELL_SECONDS          0.05; a job that ends sooner is told of only when it has ended
    PECAN_PAUSE_SECONDS         60; after a `release` command no new run is taken for that long, nor after the answer to
                                `retire`, which a job that ends within that time may delay
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import logging
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, Awaitable, Callable, Mapping, NamedTuple, Sequence, TypeVar

if __name__ == "__main__":
    # Process 1 never gets a signal it has no handler for; from here on none is missed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import AMQPError

EVENTS_QUEUE = "pecan.events"
CONTROL_EXCHANGE = "pecan.control"
HEARTBEAT_EXCHANGE = "models"

CLAIM = ".pecan-claim"
STARTED = ".started"
LOG = "job.log"
RESULT = ".pecan-result.json"
ANSWER = "rabbitmq.out"

# Outputs of an earlier run that make a model skip its work: SIPNET, ED2, BASGRA.
SKIP_FILES = ("sipnet.out", "history.xml", "results.csv")
# What PEcAn's own worker also does on request: build software, or run a command that the message brings along.
REFUSED_KEYS = ("rebuild", "pecan_xml", "custom_application")

SIMPLE_COMMAND = re.compile(r"[\w./-]+( [\w./=,:-]+)*")
TAIL_BYTES = 64 * 1024
REASON_LENGTH = 500
CANCELLED_KEPT = 10_000
GONE_KEPT = 1_000
RECONNECT_SECONDS = (0.1, 10.0)
AMQP_HEARTBEAT_SECONDS = 30
SWITCH_SECONDS = 0.0005

T = TypeVar("T")


def log(what: str, **fields: Any) -> None:
    """Writes one JSON line to standard output; fields that are None are left out."""
    line = {"at": utc_now(), "log": what, **{name: value for name, value in fields.items() if value is not None}}
    print(json.dumps(line), flush=True)


def utc_now() -> str:
    """Now in UTC, ISO 8601 with microseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def read_time(text: Any) -> datetime | None:
    """A moment in ISO 8601; None when it is none, or does not say in which time zone."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        return None
    return None if moment.tzinfo is None else moment


def shorten(text: str) -> str:
    """`text` cut to the length of a reason; the end is kept because it says what went wrong."""
    text = " ".join(text.split())
    return text if len(text) <= REASON_LENGTH else "…" + text[1 - REASON_LENGTH :]


class BadSettings(Exception):
    """The environment or model.json cannot be used; the text says which and why."""


@dataclass(frozen=True)
class Settings:
    """What the environment says; the module's docstring describes each. `since`: when this process began."""

    uri: str
    worker: str
    since: str
    data: str
    model_info: str
    application: str
    run_timeout_seconds: float
    grace_seconds: float
    release_seconds: float
    unreachable_seconds: float
    stop_seconds: float
    folder_seconds: float
    renew_seconds: float
    stale_seconds: float
    heartbeat_seconds: float
    tell_seconds: float
    pause_seconds: float

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Raises BadSettings when a value cannot be used."""

        def seconds(name: str, default: float) -> float:
            text = environment.get(name) or str(default)
            try:
                value = float(text)
            except ValueError:
                value = -1.0
            if not 0 < value < float("inf"):
                raise BadSettings(f"{name} is {text!r}: give a number of seconds above 0")
            return value

        uri = environment.get("RABBITMQ_URI") or "amqp://guest:guest@rabbitmq/%2F"
        try:
            if not uri.startswith(("amqp://", "amqps://")):
                raise ValueError("no AMQP scheme")
            pika.URLParameters(uri)
        except Exception:
            raise BadSettings("RABBITMQ_URI must look like amqp://user:password@host:port/vhost") from None
        run_timeout = seconds("PECAN_RUN_TIMEOUT_SECONDS", 86400)
        return cls(
            uri=uri,
            worker=environment.get("PECAN_WORKER") or socket.gethostname(),
            since=utc_now(),
            data=environment.get("PECAN_DATA") or "/data",
            model_info=environment.get("PECAN_MODEL_INFO") or "/work/model.json",
            application=environment.get("APPLICATION") or "./job.sh",
            run_timeout_seconds=run_timeout,
            grace_seconds=seconds("PECAN_GRACE_SECONDS", run_timeout + 60),
            release_seconds=seconds("PECAN_RELEASE_SECONDS", 20),
            unreachable_seconds=seconds("PECAN_UNREACHABLE_SECONDS", 30),
            stop_seconds=seconds("PECAN_STOP_SECONDS", 5),
            folder_seconds=seconds("PECAN_FOLDER_SECONDS", 30),
            renew_seconds=seconds("PECAN_RENEW_SECONDS", 5),
            stale_seconds=seconds("PECAN_STALE_SECONDS", 15),
            heartbeat_seconds=seconds("PECAN_HEARTBEAT_SECONDS", 5),
            tell_seconds=seconds("PECAN_TELL_SECONDS", 0.05),
            pause_seconds=seconds("PECAN_PAUSE_SECONDS", 60),
        )


def read_model(path: str, queue: str | None = None) -> dict[str, Any]:
    """model.json of the image. Raises BadSettings when it is not there, lacks what PEcAn requires, or is another model's
    than that of `queue`.
    """
    try:
        with open(path, encoding="utf-8") as file:
            model = json.load(file)
    except (OSError, ValueError) as error:
        raise BadSettings(f"{path} cannot be read: {error}") from None
    missing = [
        name
        for name in ("name", "type", "version", "binary")
        if not (isinstance(model, dict) and isinstance(model.get(name), str) and model[name])
    ]
    if missing:
        raise BadSettings(f"{path}: {', '.join(missing)} must be given, as text")
    if queue and queue != f"{model['type']}_{model['version']}":
        raise BadSettings(
            f"the image has type {model['type']}, revision {model['version']} ({path}), but is to serve queue {queue}: "
            "correct type and revision, or the image, of the PecanModel"
        )
    return dict(model)


@dataclass(frozen=True)
class Message:
    """One message of a model queue. Without headers it is a run that others published: no identity, attempt 0.

    `problem` says why it can never be run.
    """

    folder: str | None = None
    outdir: str | None = None
    expect: tuple[str, ...] = ()
    workflow: str | None = None
    run: str | None = None
    attempt: int = 0
    generation: int = 0
    redelivered: bool = False
    problem: str | None = None

    @property
    def key(self) -> tuple[str, str] | None:
        return None if self.workflow is None or self.run is None else (self.workflow, self.run)

    def is_same_attempt(self, other: Message) -> bool:
        return (self.folder, self.key, self.attempt) == (other.folder, other.key, other.attempt)


def parse_message(body: bytes, headers: Mapping[str, Any] | None, redelivered: bool = False) -> Message:
    """The message as far as it can be read; never raises, `problem` says what is wrong with it."""
    message = Message(redelivered=redelivered)
    headers = headers or {}
    workflow, run = headers.get("workflow"), headers.get("run")
    if workflow is not None or run is not None:
        if not (isinstance(workflow, str) and isinstance(run, str) and workflow and run):
            return replace(message, problem="headers workflow and run must both be text")
        message = replace(message, workflow=workflow, run=run)
        attempt = headers.get("attempt")
        if isinstance(attempt, bool) or not isinstance(attempt, int) or attempt < 1:
            return replace(message, problem="header attempt must be a whole number of at least 1")
        generation = headers.get("generation", 0)
        if isinstance(generation, bool) or not isinstance(generation, int) or generation < 0:
            return replace(message, problem="header generation must be a whole number of at least 0")
        message = replace(message, attempt=attempt, generation=generation)

    try:
        content = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return replace(message, problem=f"the message is not JSON: {error}")
    if not isinstance(content, dict):
        return replace(message, problem='the message is not a JSON object such as {"folder": "/data/..."}')
    folder = content.get("folder")
    if isinstance(folder, str) and "\0" not in folder:
        message = replace(message, folder=folder)
    refused = [key for key in REFUSED_KEYS if key in content]
    if refused:
        return replace(message, problem=f"{', '.join(refused)} not served: this worker only runs the job of a folder")
    if message.folder is None or not os.path.isabs(message.folder):
        return replace(message, problem='"folder" must be the absolute path of a run folder')

    if message.key is None:
        return replace(message, outdir=pecan_outdir(message.folder))
    outdir, expect = headers.get("outdir"), headers.get("expect", [])
    if not (isinstance(outdir, str) and os.path.isabs(outdir) and "\0" not in outdir):
        return replace(message, problem="header outdir must be an absolute path")
    if not (isinstance(expect, list) and all(isinstance(name, str) and is_inside_name(name) for name in expect)):
        return replace(message, problem="header expect must list file names below outdir")
    return replace(message, outdir=outdir, expect=tuple(expect))


def pecan_outdir(folder: str) -> str | None:
    """PEcAn's place for the output of <workflow>/run/<id>: <workflow>/out/<id>; None for any other folder."""
    parent, run = os.path.split(os.path.normpath(folder))
    workflow, name = os.path.split(parent)
    return os.path.join(workflow, "out", run) if name == "run" else None


def is_inside_name(name: str) -> bool:
    parts = name.split("/")
    return not os.path.isabs(name) and "\0" not in name and all(part not in ("", ".", "..") for part in parts)


class Outcome(NamedTuple):
    """How a message was answered. State: succeeded, failed, cancelled, lost, released or refused."""

    state: str
    exit_code: int | None = None
    reason: str | None = None
    started_at: str | None = None
    finished_at: str | None = None


CANCELLED = Outcome("cancelled", reason="the workflow was cancelled")


class Look(enum.Enum):
    """What stands in the way of running a message."""

    MISSING = "the folder is not there"
    HELD = "another worker has claimed the folder"
    CLAIMED = "nothing: the folder is ours"


def replace_file(path: str, content: bytes) -> None:
    """Writes a file so that readers see the old or the whole new one. Raises OSError."""
    temporary = path + ".part"
    with open(temporary, "wb", buffering=0) as file:
        file.write(content)
    os.replace(temporary, path)


def read_file(path: str) -> bytes | None:
    """The content of a small file, None when there is none. Raises OSError for any other trouble."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        return None


def read_object(path: str) -> dict[str, Any] | None:
    """A JSON object from a file; None when there is none or it is damaged."""
    return parse_object(read_file(path))


def parse_object(content: bytes | None) -> dict[str, Any] | None:
    try:
        value = json.loads(content) if content else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class Claim:
    """The file that says which attempt runs in a folder. Every method may raise OSError.

    It is renewed in place, through a descriptor whose content was just read: an attempt that lost its claim while its
    worker stood still cannot write over that of its successor.
    """

    def __init__(self, folder: str, worker: str, since: str, message: Message) -> None:
        self.path = os.path.join(folder, CLAIM)
        self._token = uuid.uuid4().hex
        self._counter = 0
        self._content = {
            "token": self._token,
            "worker": worker,
            "since": since,
            "workflow": message.workflow,
            "run": message.run,
            "attempt": message.attempt,
        }

    def take(self) -> bool:
        """False when somebody has claimed the folder."""
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o664)
        except FileExistsError:
            return False
        try:
            os.write(descriptor, self._encoded())
        finally:
            os.close(descriptor)
        return True

    def renew(self) -> bool:
        """False when the claim is not ours any more."""
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            if not self._is_ours(os.read(descriptor, 4096)):
                return False
            self._counter += 1
            os.pwrite(descriptor, self._encoded(), 0)
            return True
        finally:
            os.close(descriptor)

    def read(self) -> bytes | None:
        """Whoever's claim it is, as written; None when there is none."""
        return read_file(self.path)

    def is_owned(self) -> bool:
        return self._is_ours(self.read())

    def release(self) -> None:
        if self.is_owned():
            os.unlink(self.path)

    def remove(self, seen: bytes) -> bool:
        """Removes the claim of a dead worker, if it still reads as it was `seen`."""
        aside = f"{self.path}.{self._token}"
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return False
        if read_file(aside) == seen:
            os.unlink(aside)
            return True
        # The claim changed hands since it was seen: put it back, unless the folder has been claimed anew.
        if os.path.exists(self.path):
            os.unlink(aside)
        else:
            os.rename(aside, self.path)
        return False

    def _encoded(self) -> bytes:
        return json.dumps({**self._content, "counter": self._counter}).encode()

    def _is_ours(self, content: bytes | None) -> bool:
        return content is not None and self._token.encode() in content


class Process:
    """A command in a process group of its own: run by one thread, stopped from any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: Any = None
        self._group: int | None = None
        self._ended = False
        self.stopped_as: str | None = None

    def start(self, command: str, folder: str, log_path: str, environment: Mapping[str, str]) -> bool:
        """Starts a shell command. False when it was stopped before. Raises OSError when it cannot start."""
        with open(log_path, "wb") as output, self._lock:
            if self.stopped_as is not None:
                self._ended = True
                return False
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", shell_command(command)],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._group = self._process.pid
        return True

    def wait(self) -> None:
        """Waits for its end; what it left running may go on."""
        reap_others(self._process.pid)

    def reap(self) -> int:
        """After its end: kills what it left running. Its exit code, 128 + n after signal n."""
        with self._lock:
            # The leader is not reaped yet, so its number cannot belong to another group.
            self._signal(signal.SIGKILL)
            _, status = os.waitpid(self._process.pid, 0)
            self._group, self._ended = None, True
        code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        self._process.returncode = code
        return code

    def stop(self, state: str) -> bool:
        """Asks the whole group to end; `state` says why. False when it has ended or was asked before."""
        with self._lock:
            if self._ended or self.stopped_as is not None:
                return False
            self.stopped_as = state
            self._signal(signal.SIGTERM)
            return True

    def kill(self) -> None:
        with self._lock:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._group, number)


def shell_command(command: str) -> str:
    """A simple command takes the shell's place: then it is the one that gets the signals, and its exit that counts."""
    return f"exec {command}" if SIMPLE_COMMAND.fullmatch(command) else command


def reap_others(leader: int) -> None:
    """Waits until `leader` has ended, without reaping it; orphans that come to process 1 are reaped on the way."""
    while True:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        if ended is None or ended.si_pid == leader:
            return
        os.waitpid(ended.si_pid, 0)


def reap_orphans() -> None:
    """Reaps what jobs left behind. Only while no job runs, since it would take the job's own status."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


class Memory:
    """What the container's cgroup tells of memory, under version 2 or 1; below `root`."""

    def __init__(self, root: str = "/sys/fs/cgroup") -> None:
        self._root = root
        self._kills = self._read_kills()

    def ran_out(self) -> bool:
        """Whether the kernel has killed for want of memory since this was last asked; False when it does not tell."""
        before, self._kills = self._kills, self._read_kills()
        return before is not None and self._kills is not None and self._kills > before

    def limit_mib(self) -> int | None:
        """What the container may have; None when there is no limit or it is not told."""
        text = self._read("memory.max") or self._read("memory/memory.limit_in_bytes")
        # Version 1 says the largest number of pages when there is no limit.
        return int(text) >> 20 if text.strip().isdigit() and int(text) < 1 << 62 else None

    def _read_kills(self) -> int | None:
        text = self._read("memory.events") or self._read("memory/memory.oom_control")
        counter = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
        return int(counter.group(1)) if counter else None

    def _read(self, name: str) -> str:
        try:
            return (read_file(os.path.join(self._root, name)) or b"").decode("utf-8", "replace")
        except OSError:
            return ""


class Attempt:
    """The files and the process of one message. Its methods block; they are called in a thread."""

    def __init__(self, settings: Settings, message: Message, memory: Memory) -> None:
        assert message.folder is not None
        self.message = message
        self.process = Process()
        self.started_at: str | None = None
        self._settings = settings
        self._memory = memory
        self._folder = message.folder
        self.claim = Claim(message.folder, settings.worker, settings.since, message)

    def look(self) -> Look | Outcome:
        """Claims the folder if nothing stands in the way; an Outcome when the message needs no run (any more).

        Raises OSError.
        """
        problem = self._misplaced()
        if problem:
            return Outcome("refused", reason=problem)
        if not os.path.isdir(self._folder):
            # Opening what it should be in makes an NFS client ask the server anew.
            with contextlib.suppress(OSError):
                os.close(os.open(os.path.dirname(self._folder), os.O_RDONLY))
            return Look.MISSING
        answer = self._answer_on_file()
        if answer:
            return answer
        if not self.claim.take():
            return self._superseded(parse_object(self.claim.read()) or {}) or Look.HELD
        answer = self._answer_on_file()
        if answer:
            self.claim.release()
            return answer
        return Look.CLAIMED

    def expire(self, seen: bytes, how: str | None = None) -> Outcome | None:
        """Removes the claim of a dead worker; `how` it ended, if known. Raises OSError.

        An Outcome when the claim was of this very attempt, which is lost then.
        """
        claim = parse_object(seen) or {}
        if not self.claim.remove(seen):
            return None
        if self.message.key is None or not self._is_of_this_run(claim) or claim.get("attempt") != self.message.attempt:
            return None
        end = f"was ended ({how})" if how else "disappeared"
        reason = shorten(f"worker {claim.get('worker')} {end} while it ran this")
        outcome = Outcome("lost", reason=reason, finished_at=utc_now())
        self._write_result(outcome)
        return outcome

    def run(self, on_end: Callable[[], None]) -> Outcome:
        """Runs the job to its end and writes the result. The folder must be claimed. Never raises OSError."""
        self.started_at = utc_now()
        outcome = self._run(on_end)._replace(started_at=self.started_at, finished_at=utc_now())
        try:
            if not self.claim.is_owned():
                return outcome._replace(state="lost", reason="another worker has taken the claim of this run")
            if outcome.state == "released":
                self._remove_leftovers()
            elif outcome.state != "lost":
                self._write_result(outcome)
            self.claim.release()
        except OSError as error:
            if outcome.state == "succeeded":
                return outcome._replace(state="failed", reason=shorten(f"the result cannot be written: {error}"))
            log("files", folder=self._folder, reason=str(error))
        return outcome

    def forget_result(self) -> None:
        """After a run without identity is answered and acknowledged: the next message for its folder is a new run."""
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._folder, RESULT))

    def _run(self, on_end: Callable[[], None]) -> Outcome:
        log_path = os.path.join(self._folder, LOG)
        code: int | None = None
        environment = {name: value for name, value in os.environ.items() if name != "RABBITMQ_URI"}
        try:
            for name in (RESULT, ANSWER):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._folder, name))
            self._remove_leftovers()
            if self.process.start(self._settings.application, self._folder, log_path, environment):
                self.process.wait()
                on_end()
                code = self.process.reap()
        except OSError as error:
            return Outcome("failed", reason=shorten(f"the job cannot start: {error}"))
        stopped = self.process.stopped_as
        if stopped == "timeout":
            limit = self._settings.run_timeout_seconds
            return Outcome("failed", code, f"stopped: it ran longer than its limit of {limit:g} s")
        if stopped == "cancelled":
            return CANCELLED._replace(exit_code=code)
        if stopped is not None:
            return Outcome(stopped, code, "the claim could not be renewed" if stopped == "lost" else "given back")
        if code != 0:
            return Outcome("failed", code, self._why(code))
        missing = self._missing_outputs()
        if missing:
            return Outcome("failed", code, shorten(f"the job ended well but did not write {', '.join(missing)}"))
        return Outcome("succeeded", code)

    def _why(self, code: int | None) -> str:
        """The exit code and the last line of the output, or of the model's logfile.txt when the job said nothing."""
        how = f"job ended with exit code {code}"
        # Asked for after any failure, or the next job would be blamed for what was killed in this one.
        ran_out = self._memory.ran_out()
        if code == 128 + signal.SIGKILL and ran_out:
            limit = self._memory.limit_mib()
            how = "OOMKilled: the job needed more memory than the container may have"
            return how if limit is None else f"{how} (limit {limit} MiB)"
        if code is not None and code > 128:
            with contextlib.suppress(ValueError):
                how = f"job was killed by {signal.Signals(code - 128).name}"
        logs = [os.path.join(self._folder, LOG)]
        if self.message.outdir:
            logs.append(os.path.join(self.message.outdir, "logfile.txt"))
        for path in logs:
            lines = read_tail(path, 4096).decode("utf-8", "replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), None)
            if last:
                return shorten(f"{how}: {last}")
        return how

    def _misplaced(self) -> str | None:
        """Why the folders may not be used; checked on the real paths, since everything below outdir may be removed."""
        data = os.path.realpath(self._settings.data)
        folder = os.path.realpath(self._folder)
        if not is_below(folder, data):
            return shorten(f"folder {self._folder} is not below {self._settings.data}")
        if self.message.outdir is not None:
            outdir = os.path.realpath(self.message.outdir)
            if not is_below(outdir, data):
                return shorten(f"outdir {self.message.outdir} is not below {self._settings.data}")
            if outdir == folder or is_below(folder, outdir):
                return shorten(f"outdir {self.message.outdir} must not contain the run folder {self._folder}")
        return None

    def _is_of_this_run(self, record: Mapping[str, Any]) -> bool:
        return (record.get("workflow"), record.get("run")) == (self.message.workflow, self.message.run)

    def _superseded(self, record: Mapping[str, Any]) -> Outcome | None:
        attempt = record.get("attempt")
        if self.message.key is None or not self._is_of_this_run(record) or not isinstance(attempt, int):
            return None
        if attempt <= self.message.attempt:
            return None
        return Outcome("refused", reason=f"attempt {attempt} of this run has begun already")

    def _answer_on_file(self) -> Outcome | None:
        """What an earlier delivery of this message, or any success of its run, has left."""
        result = read_object(os.path.join(self._folder, RESULT))
        if result is None or not self._is_of_this_run(result):
            return None
        if self.message.key is None:
            # Kept from the end of the job to the acknowledgement only: anything else with this folder is a new run.
            return stored_outcome(result) if self.message.redelivered else None
        if result.get("state") == "succeeded" or result.get("attempt") == self.message.attempt:
            return stored_outcome(result)
        return self._superseded(result)

    def _write_result(self, outcome: Outcome) -> None:
        message = self.message
        result = {
            "workflow": message.workflow,
            "run": message.run,
            "attempt": message.attempt,
            "worker": self._settings.worker,
            **outcome._asdict(),
        }
        replace_file(os.path.join(self._folder, RESULT), json.dumps(result).encode())
        output = read_tail(os.path.join(self._folder, LOG), TAIL_BYTES)
        verdict = "OK" if outcome.state == "succeeded" else "ERROR"
        replace_file(os.path.join(self._folder, ANSWER), f"{output!r}\n{verdict}\n".encode())

    def _missing_outputs(self) -> Sequence[str]:
        outdir = self.message.outdir
        if outdir is None:
            return ()
        return [name for name in self.message.expect if not os.path.isfile(os.path.join(outdir, name))]

    def _remove_leftovers(self) -> None:
        """Brings the output folder back to what it was before the first attempt, or notes what that is."""
        outdir, note = self.message.outdir, os.path.join(self._folder, STARTED)
        noted = parse_started(read_file(note))
        if outdir is None:
            return
        if noted is None:
            if self.message.key is None:
                for name in SKIP_FILES:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(outdir, name))
            replace_file(note, json.dumps(sorted(names_below(outdir))).encode())
            return
        for name in sorted(names_below(outdir) - noted, reverse=True):
            path = os.path.join(outdir, name)
            if os.path.isdir(path) and not os.path.islink(path):
                os.rmdir(path)
            else:
                os.unlink(path)


def is_below(path: str, folder: str) -> bool:
    """Both are real paths."""
    return path.startswith(folder.rstrip("/") + "/")


def parse_started(content: bytes | None) -> set[str] | None:
    """The names in a `.started` file; None when there is none or it is damaged."""
    try:
        names = json.loads(content) if content else None
    except (ValueError, RecursionError):
        return None
    return set(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def names_below(folder: str) -> set[str]:
    """Relative names of all files and folders below one; a folder sorts before what it contains."""
    names: set[str] = set()
    for parent, folders, files in os.walk(folder):
        names.update(os.path.relpath(os.path.join(parent, name), folder) for name in folders + files)
    return names


def read_tail(path: str, length: int) -> bytes:
    """The last `length` bytes of a file; nothing when it cannot be read."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - length))
            return file.read(length)
    except OSError:
        return b""


def stored_outcome(result: Mapping[str, Any]) -> Outcome:
    return Outcome(
        state=str(result.get("state")),
        exit_code=result.get("exit_code"),
        reason=result.get("reason"),
        started_at=result.get("started_at"),
        finished_at=result.get("finished_at"),
    )


class Disconnected(Exception):
    """The connection this was meant for is gone; the broker delivers what was not acknowledged again."""


class Recalled(Exception):
    """The message is to be given back before its run has begun."""


class Delivery:
    """A message and the channel it came by."""

    def __init__(self, session: Session, tag: int, message: Message) -> None:
        self.session = session
        self.message = message
        self._tag = tag
        session.in_hand.add(self)
        self._recalled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_wanted(self) -> bool:
        return not (self._recalled.done() or self.session.closed.done())

    def recall(self) -> None:
        """Asks whoever waits with it to give it back."""
        resolve(self._recalled, None)

    def wake(self) -> None:
        """Lets whoever waits with it look again."""
        resolve(self._woken, None)

    def check(self) -> None:
        """Raises Disconnected or Recalled when its run must not begin."""
        if self.session.closed.done():
            raise Disconnected
        if self._recalled.done():
            raise Recalled

    async def wait(self, seconds: float) -> None:
        """Waits, but no longer than its run is wanted. Raises Disconnected or Recalled."""
        self._woken = asyncio.get_running_loop().create_future()
        await first_of(self._woken, self._recalled, self.session.closed, timeout=seconds)
        self.check()

    def acknowledge(self) -> None:
        self.session.in_hand.discard(self)
        self.session.settle(lambda channel: channel.basic_ack(self._tag))

    def give_back(self) -> None:
        self.session.in_hand.discard(self)
        self.session.settle(lambda channel: channel.basic_nack(self._tag, requeue=True))


class Session:
    """One connection to the broker, from opening to its end.

    A closed channel or a cancelled consumer ends it too: pika raises nothing for either and would wait for ever.
    """

    def __init__(self, settings: Settings, queue: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._queue = queue
        self._connection: Any = None
        self._work: Any = None
        self._side: Any = None
        self._consumer: str | None = None
        self._on_empty: Callable[[], object] | None = None
        self._published = 0
        self._unconfirmed: dict[int, asyncio.Future[bool]] = {}
        self._returned: set[str] = set()
        self.in_hand: set[Delivery] = set()
        self.closed: asyncio.Future[str] = self._loop.create_future()

    @property
    def is_asking(self) -> bool:
        """Whether a message may come."""
        return self._consumer is not None or self._on_empty is not None

    async def open(self, on_control: Callable[[bytes], None]) -> None:
        """Connects and declares what the worker needs. Raises Disconnected."""
        parameters = pika.URLParameters(self._settings.uri)
        if parameters.heartbeat is None:
            parameters.heartbeat = AMQP_HEARTBEAT_SECONDS
        parameters.client_properties = {"connection_name": self._settings.worker}
        opened = self._loop.create_future()
        self._connection = AsyncioConnection(
            parameters,
            on_open_callback=lambda connection: resolve(opened, connection),
            on_open_error_callback=lambda _, error: self._end(error),
            on_close_callback=lambda _, error: self._end(error),
            custom_ioloop=self._loop,
        )
        await self._or_closed(opened)
        self._work = await self._open_channel()
        self._side = await self._open_channel()
        self._work.add_on_cancel_callback(lambda _: self._end(f"the broker cancelled the consumer of {self._queue}"))
        self._work.add_callback(lambda _: self._on_nothing(), [pika.spec.Basic.GetEmpty], one_shot=False)
        self._work.add_on_return_callback(lambda _, __, properties, ___: self._returned.add(properties.message_id))
        await self._reply(partial(self._work.confirm_delivery, self._on_confirm))
        await self._reply(self._work.basic_qos, prefetch_count=1)
        await self._reply(self._work.queue_declare, queue=self._queue, durable=True)
        await self._reply(
            self._side.exchange_declare, exchange=HEARTBEAT_EXCHANGE, exchange_type="fanout", durable=True
        )
        # These two are the operator's: a worker may only see whether they are there.
        await self._reply(self._work.queue_declare, queue=EVENTS_QUEUE, passive=True)
        await self._reply(self._side.exchange_declare, exchange=CONTROL_EXCHANGE, passive=True)
        control = (await self._reply(self._side.queue_declare, queue="", exclusive=True)).method.queue
        await self._reply(self._side.queue_bind, queue=control, exchange=CONTROL_EXCHANGE)
        await self._reply(
            self._side.basic_consume,
            queue=control,
            on_message_callback=lambda _, __, ___, body: on_control(body),
            auto_ack=True,
        )

    async def close(self) -> None:
        """Leaves in order; what was published before has reached the broker then."""
        if self._connection is not None and not self.closed.done():
            with contextlib.suppress(AMQPError):
                self._connection.close()
            await first_of(self.closed, timeout=0.5)

    def subscribe(self, on_delivery: Callable[[Delivery], None]) -> None:
        """Takes one message of the model's queue, as soon as there is one."""

        def deliver(_: Any, method: Any, properties: Any, body: bytes) -> None:
            self.unsubscribe()
            on_delivery(self._delivery(method, properties, body))

        def consume(channel: Any) -> None:
            self._consumer = channel.basic_consume(self._queue, deliver)

        self.settle(consume)

    def fetch(self, on_delivery: Callable[[Delivery], None], on_empty: Callable[[], object]) -> None:
        """Takes one message of the model's queue now, whatever others are in hand; or tells that there is none."""

        def deliver(_: Any, method: Any, properties: Any, body: bytes) -> None:
            self._on_empty = None
            on_delivery(self._delivery(method, properties, body))

        def get(channel: Any) -> None:
            channel.basic_get(self._queue, deliver)
            self._on_empty = on_empty

        self.settle(get)

    def _on_nothing(self) -> None:
        on_empty, self._on_empty = self._on_empty, None
        if on_empty is not None:
            on_empty()

    def _delivery(self, method: Any, properties: Any, body: bytes) -> Delivery:
        return Delivery(self, method.delivery_tag, parse_message(body, properties.headers, method.redelivered))

    def unsubscribe(self) -> None:
        """Takes no more; a message on its way is given back by pika."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            self.settle(lambda channel: channel.basic_cancel(consumer))

    def publish_event(self, event: Mapping[str, Any]) -> asyncio.Future[bool]:
        """Sends a persistent event; answers whether the broker has it in a queue, and never when the session ends."""
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._published += 1
        properties = pika.BasicProperties(
            content_type="application/json", delivery_mode=2, message_id=str(self._published)
        )
        self._unconfirmed[self._published] = answer
        body = json.dumps(event).encode()
        self.settle(lambda channel: channel.basic_publish("", EVENTS_QUEUE, body, properties, mandatory=True))
        return answer

    async def confirm(self, answer: asyncio.Future[bool]) -> None:
        """Waits until the broker has a published event in a queue. Raises Disconnected, also when it refuses."""
        if not await self._or_closed(answer):
            self._end(f"the broker did not take an event into {EVENTS_QUEUE}")
            raise Disconnected

    def announce(self, heartbeat: bytes) -> None:
        if self._side is not None and not self.closed.done():
            with contextlib.suppress(AMQPError):
                self._side.basic_publish(HEARTBEAT_EXCHANGE, "", heartbeat)

    def settle(self, action: Callable[[Any], None]) -> None:
        """Does something on the work channel, or nothing when it is gone: the broker has taken everything back then."""
        if not self.closed.done():
            with contextlib.suppress(AMQPError):
                action(self._work)

    async def _open_channel(self) -> Any:
        opened = self._loop.create_future()
        try:
            channel = self._connection.channel(on_open_callback=lambda channel: resolve(opened, channel))
            channel.add_on_close_callback(lambda _, error: self._end(error))
        except AMQPError as error:
            self._end(error)
        return await self._or_closed(opened)

    async def _reply(self, method: Callable[..., Any], **arguments: Any) -> Any:
        reply = self._loop.create_future()
        try:
            method(callback=lambda frame: resolve(reply, frame), **arguments)
        except AMQPError as error:
            self._end(error)
        return await self._or_closed(reply)

    async def _or_closed(self, answer: asyncio.Future[T]) -> T:
        await first_of(answer, self.closed)
        if not answer.done():
            raise Disconnected(self.closed.result())
        return answer.result()

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        accepted = isinstance(method, pika.spec.Basic.Ack)
        last = method.delivery_tag
        for tag in [tag for tag in self._unconfirmed if tag <= last] if method.multiple else [last]:
            answer = self._unconfirmed.pop(tag, None)
            was_returned = str(tag) in self._returned
            self._returned.discard(str(tag))
            if answer is not None:
                resolve(answer, accepted and not was_returned)

    def _end(self, why: BaseException | str) -> None:
        if self.closed.done():
            return
        self.closed.set_result(str(why) or type(why).__name__)
        self._consumer = self._on_empty = None
        with contextlib.suppress(AMQPError):
            self._connection.close()


async def first_of(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:
    """Waits until one of them is done, or `timeout` seconds."""
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


def resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


@dataclass
class Running:
    """The job this worker runs and the delivery that will be answered at its end: a later one after a reconnection.

    From `is_ending` on the next message is asked for; it waits until this job is `over`.
    """

    attempt: Attempt
    delivery: Delivery
    over: asyncio.Future[None]
    is_ending: bool = False

    def is_again(self, delivery: Delivery) -> bool:
        """Whether a delivery is that of this job, come again since its connection was lost."""
        was_lost = self.delivery.session.closed.done()
        return was_lost and self.attempt.message.is_same_attempt(delivery.message)


class Deaths:
    """Which claims are certainly of dead workers, without waiting for them to go stale."""

    def __init__(self, worker: str, since: str) -> None:
        self._worker = worker
        self._since = since
        self._ended: dict[tuple[str, datetime], str | None] = {}

    def note(self, worker: Any, at: Any, reason: Any) -> None:
        """The container of `worker` ended `at` that time, by the clock of its node. What makes no sense is ignored."""
        moment = read_time(at)
        if not isinstance(worker, str) or moment is None:
            return
        self._ended[worker, moment] = reason if isinstance(reason, str) and reason else None
        while len(self._ended) > GONE_KEPT:
            del self._ended[next(iter(self._ended))]

    def is_dead(self, claim: Mapping[str, Any]) -> bool:
        """Whether the process that made the claim has ended for certain."""
        worker, since = claim.get("worker"), claim.get("since")
        return self._end(claim) is not None or (worker == self._worker and since != self._since)

    def how(self, claim: Mapping[str, Any]) -> str | None:
        """What is known of why that process ended."""
        end = self._end(claim)
        return None if end is None else self._ended[end]

    def _end(self, claim: Mapping[str, Any]) -> tuple[str, datetime] | None:
        """The first end of this worker that was told for a time after the process began."""
        worker, since = claim.get("worker"), read_time(claim.get("since"))
        if since is None or (worker, claim.get("since")) == (self._worker, self._since):
            return None
        ends = [end for end in self._ended if end[0] == worker and since <= end[1]]
        return min(ends, default=None)


class Worker:
    """Joins the connection, the files and the job; one job at a time."""

    def __init__(self, settings: Settings, model: Mapping[str, Any]) -> None:
        self._settings = settings
        self._queue = f"{model['type']}_{model['version']}"
        self._heartbeat = json.dumps(
            {"id": str(uuid.uuid4()), "hostname": socket.gethostname(), "queue": self._queue, "model_info": model}
        ).encode()
        self._session: Session | None = None
        self._disconnected_at = time.monotonic()
        self._leaving = asyncio.Event()
        self._paused_until = 0.0
        self._to_retire_until = 0.0
        self._running: Running | None = None
        self._waiting: set[Delivery] = set()
        self._serving: dict[asyncio.Task[None], Delivery] = {}
        self._cancelled: dict[str, int] = {}
        self._untold: list[Mapping[str, Any]] = []
        self._deaths = Deaths(settings.worker, settings.since)
        self._memory = Memory()

    async def run(self) -> None:
        """Serves the queue until SIGTERM or SIGINT; further ones change nothing."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leave)
        helpers = [loop.create_task(self._stay_connected()), loop.create_task(self._announce())]
        await self._leaving.wait()
        helpers.append(loop.create_task(self._leave_in_time()))
        while self._serving:
            await asyncio.wait(self._serving)
        for helper in helpers:
            helper.cancel()
        if self._session is not None:
            self._session.publish_event(self._event("stopped"))
            await self._session.close()
        log("stopped", queue=self._queue)

    def _leave(self) -> None:
        if self._leaving.is_set():
            return
        log("leaving", queue=self._queue)
        self._leaving.set()
        self._take_no_more()

    async def _leave_in_time(self) -> None:
        """Gives the running job back shortly before the grace period ends, or when the broker stays away."""
        began = time.monotonic()
        latest = began + max(0.0, self._settings.grace_seconds - self._settings.release_seconds)
        while self._running is not None:
            now = time.monotonic()
            give_up = latest
            if self._session is None:
                give_up = min(latest, max(began, self._disconnected_at) + self._settings.unreachable_seconds)
            if now >= give_up:
                self._stop(self._running.attempt, "released")
                return
            await asyncio.sleep(min(1.0, give_up - now))

    async def _stay_connected(self) -> None:
        shortest, longest = RECONNECT_SECONDS
        pause = shortest
        while True:
            session = Session(self._settings, self._queue)
            began = time.monotonic()
            try:
                await session.open(self._on_control)
                log("connected", queue=self._queue)
                self._session = session
                self._tell_again()
                self._come_back()
                reason = await asyncio.shield(session.closed)
            except Disconnected as error:
                reason = str(error)
            except Exception as error:
                # Whatever it is, a worker that tries again is better than one that does nothing.
                reason = repr(error)
                await session.close()
            if self._session is not None:
                self._session, self._disconnected_at = None, time.monotonic()
            # A connection that held for a while says that the broker is well: no reason to keep it waiting.
            pause = shortest if time.monotonic() - began > longest else min(pause * 2, longest)
            log("disconnected", reason=shorten(reason), retry_seconds=pause)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def _announce(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_seconds)
            if self._session is not None:
                self._session.announce(self._heartbeat)
            if self._running is None:
                reap_orphans()

    @property
    def _is_away(self) -> bool:
        """Whether this worker takes no messages, for a time or for good."""
        return self._leaving.is_set() or time.monotonic() < self._paused_until

    def _subscribe(self) -> bool:
        """Has a message come when there is one; one is enough, but that of a lost connection may come again.

        False when nothing was to be done.
        """
        session = self._session
        if session is None or session.is_asking or session.in_hand or self._is_away:
            return False
        session.subscribe(self._on_delivery)
        return True

    def _come_back(self) -> None:
        """Subscribes after it was away, and says so."""
        if self._subscribe() and self._session is not None and self._running is None:
            self._session.publish_event(self._event("ready"))

    def _fetch_next(self, running: Running) -> None:
        """A job has ended: asks for the next message while its result is written and told.

        No further than that: with two answers on their way, the next message comes when both are acknowledged.
        """
        running.is_ending = True
        session = self._session
        is_staying = not (self._is_away or self._is_to_retire)
        if session is not None and not session.is_asking and is_staying and len(self._serving) < 2:
            session.fetch(self._on_delivery, self._subscribe)

    def _take_no_more(self) -> None:
        if self._session is not None:
            self._session.unsubscribe()
        for delivery in self._waiting:
            delivery.recall()

    def _on_control(self, body: bytes) -> None:
        """Obeys `cancel` of a workflow, `release` of this queue or all, `retire` and `resume` of this worker, `report`,
        and `gone` of another worker; ignores anything else."""
        command = parse_object(body) or {}
        if command.get("command") == "cancel" and isinstance(command.get("workflow"), str):
            generation = command.get("generation")
            self._cancel(command["workflow"], generation if isinstance(generation, int) else 0)
        elif command.get("command") == "release" and command.get("queue") in (None, self._queue):
            self._release()
        elif command.get("command") == "report":
            self._report()
        elif command.get("command") == "gone":
            self._deaths.note(command.get("worker"), command.get("at"), command.get("reason"))
            for delivery in self._waiting:
                delivery.wake()
        elif command.get("command") in ("retire", "resume"):
            workers = command.get("workers")
            if isinstance(workers, list) and self._settings.worker in workers:
                if command["command"] == "retire":
                    self._to_retire_until = time.monotonic() + self._settings.pause_seconds
                    self._retire()
                else:
                    self._resume()

    def _report(self) -> None:
        """Tells again what it does, for an operator that may have missed it."""
        if self._running is not None:
            self._tell_started(self._running)
        elif self._session is not None and self._session.is_asking and not self._serving:
            self._session.publish_event(self._event("ready"))

    def _cancel(self, workflow: str, generation: int) -> None:
        """Runs that are published after a retry, in a later generation, are not meant."""
        self._cancelled[workflow] = max(generation, self._cancelled.get(workflow, 0))
        while len(self._cancelled) > CANCELLED_KEPT:
            del self._cancelled[next(iter(self._cancelled))]
        if self._running is not None and self._is_cancelled(self._running.attempt.message):
            self._stop(self._running.attempt, "cancelled")

    def _is_cancelled(self, message: Message) -> bool:
        return message.workflow is not None and self._cancelled.get(message.workflow, -1) >= message.generation

    @property
    def _is_to_retire(self) -> bool:
        """Whether its pod is to be ended. After a long job that is forgotten: it may have become untrue."""
        return time.monotonic() < self._to_retire_until

    def _retire(self) -> None:
        """Takes nothing more and says so; who is busy does it later."""
        if not self._is_to_retire or self._running is not None or self._serving or self._session is None:
            return
        self._to_retire_until = 0.0
        self._pause()
        self._session.publish_event(self._event("retired"))

    def _resume(self) -> None:
        self._paused_until = self._to_retire_until = 0.0
        self._come_back()

    def _pause(self) -> None:
        self._paused_until = time.monotonic() + self._settings.pause_seconds
        asyncio.get_running_loop().call_later(self._settings.pause_seconds + 0.01, self._come_back)
        self._take_no_more()

    def _release(self) -> None:
        log("released", queue=self._queue, pause_seconds=self._settings.pause_seconds)
        self._pause()
        if self._running is not None:
            self._stop(self._running.attempt, "released")

    def _stop(self, attempt: Attempt, state: str) -> None:
        if attempt.process.stop(state):
            log("stopping the job", folder=attempt.message.folder, why=state)
            asyncio.get_running_loop().call_later(self._settings.stop_seconds, attempt.process.kill)

    def _on_delivery(self, delivery: Delivery) -> None:
        running = self._running
        if running is not None and running.is_again(delivery):
            log("adopted", folder=delivery.message.folder)
            running.delivery = delivery
            self._tell_started(running)
        elif self._is_away or (running is not None and not running.is_ending):
            # Another worker will be quicker; ours comes back here, or is answered from its result.
            delivery.give_back()
        else:
            task = asyncio.get_running_loop().create_task(self._serve(delivery))
            self._serving[task] = delivery
            task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        del self._serving[task]
        if not task.cancelled() and task.exception() is not None:
            log("error", reason=repr(task.exception()))
        self._retire()
        if self._running is None:
            self._subscribe()

    async def _serve(self, delivery: Delivery) -> None:
        """Brings one delivery to its end: answered and acknowledged, given back, or left to the broker."""
        try:
            try:
                await self._handle(delivery)
            except (Recalled, Disconnected):
                raise
            except Exception as error:
                # A fault of this program must neither lose the message nor hold it for ever.
                reason = shorten(f"fault in the worker: {error!r}")
                await self._answer(delivery, Outcome("failed", reason=reason))
        except Recalled:
            delivery.give_back()
        except Disconnected:
            log("left to the broker", folder=delivery.message.folder)

    async def _handle(self, delivery: Delivery) -> None:
        """Raises Recalled or Disconnected when the delivery ends otherwise than by an answer."""
        message = delivery.message
        if message.problem or message.folder is None:
            await self._answer(delivery, Outcome("refused", reason=shorten(message.problem or "no folder")))
            return
        attempt = Attempt(self._settings, message, self._memory)
        self._waiting.add(delivery)
        try:
            if self._running is not None:
                await self._running.over
            await self._answered_before(delivery)
            outcome = await self._claim(delivery, attempt)
        except OSError as error:
            outcome = Outcome("failed", reason=shorten(f"the run folder cannot be used: {error}"))
        finally:
            self._waiting.discard(delivery)
        if outcome is None:
            await self._execute(delivery, attempt)
        else:
            await self._answer(delivery, outcome)

    async def _answered_before(self, delivery: Delivery) -> None:
        """Waits for the answer to a former message with the same folder: until then its result must stay there."""
        former = [
            task
            for task, other in self._serving.items()
            if other is not delivery and other.message.folder == delivery.message.folder
        ]
        if former:
            await asyncio.wait(former)

    async def _claim(self, delivery: Delivery, attempt: Attempt) -> Outcome | None:
        """Waits for the folder and for its claim. None when the folder is ours; otherwise how the message is answered.

        Raises Disconnected, Recalled and OSError.
        """
        message, settings = delivery.message, self._settings
        began = time.monotonic()
        seen: bytes | None = None
        seen_at = began
        while True:
            found = await in_thread(attempt.look)
            now = time.monotonic()
            if isinstance(found, Outcome):
                return found
            if found is Look.CLAIMED:
                if not delivery.is_wanted or self._is_cancelled(message):
                    await in_thread(attempt.claim.release)
                    delivery.check()
                    return CANCELLED
                return None
            if found is Look.MISSING:
                if self._is_cancelled(message):
                    return CANCELLED
                if now - began >= settings.folder_seconds:
                    return Outcome("failed", reason=shorten(f"folder {message.folder} is not there"))
                await delivery.wait(settings.folder_seconds / 30)
                continue
            content = await in_thread(attempt.claim.read) or b""
            claim = parse_object(content) or {}
            # Only the time between two readings counts: the first one's end, the second one's begin.
            is_stale = content == seen and now - seen_at >= settings.stale_seconds
            if content != seen:
                seen, seen_at = content, time.monotonic()
                log("held", folder=message.folder, by=claim.get("worker"))
            if is_stale or self._deaths.is_dead(claim):
                outcome = await in_thread(partial(attempt.expire, content, self._deaths.how(claim)))
                if outcome is not None:
                    return outcome
                delivery.check()
                continue
            await delivery.wait(settings.stale_seconds / 15)

    async def _execute(self, delivery: Delivery, attempt: Attempt) -> None:
        loop = asyncio.get_running_loop()
        running = self._running = Running(attempt, delivery, loop.create_future())
        renewing = loop.create_task(self._renew(running))
        timer = loop.call_later(self._settings.run_timeout_seconds, self._stop, attempt, "timeout")

        telling = loop.call_later(self._settings.tell_seconds, self._tell_started, running)

        def on_end() -> None:
            loop.call_soon_threadsafe(self._fetch_next, running)

        try:
            outcome = await in_thread(partial(attempt.run, on_end))
        finally:
            for waiting in (renewing, timer, telling):
                waiting.cancel()
            self._running = None
            resolve(running.over, None)
        await self._answer(running.delivery, outcome)
        if attempt.message.key is None:
            await in_thread(attempt.forget_result)

    async def _renew(self, running: Running) -> None:
        """Keeps the claim fresh. Who cannot, and has lost its message too, stops: another worker may begin."""
        attempt = running.attempt
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(self._settings.renew_seconds)
            try:
                if not await asyncio.wait_for(in_thread(attempt.claim.renew), self._settings.renew_seconds):
                    self._stop(attempt, "lost")
                    return
                renewed_at = time.monotonic()
            except (OSError, asyncio.TimeoutError) as error:
                log("claim not renewed", folder=attempt.message.folder, reason=repr(error))
            late = time.monotonic() - renewed_at > self._settings.stale_seconds - self._settings.renew_seconds
            if late and running.delivery.session.closed.done():
                self._stop(attempt, "lost")
                return

    def _tell_started(self, running: Running) -> None:
        message = running.attempt.message
        if self._session is not None:
            started_at = running.attempt.started_at or utc_now()
            self._session.publish_event(self._event("started", message, started_at=started_at))
        log("started", folder=message.folder, attempt=message.attempt)

    async def _answer(self, delivery: Delivery, outcome: Outcome) -> None:
        """Tells how a message ended, then acknowledges it. Raises Disconnected: then the answer is on file."""
        message, session = delivery.message, delivery.session
        event = self._event("finished", message, **outcome._asdict())
        told = session.publish_event(event)
        log("finished", folder=message.folder, attempt=message.attempt, state=outcome.state, reason=outcome.reason)
        try:
            await session.confirm(told)
        except Disconnected:
            if outcome.state not in ("lost", "released"):
                self._untold.append(event)
                self._tell_again()
            raise
        if outcome.state == "released":
            delivery.give_back()
        else:
            delivery.acknowledge()

    def _tell_again(self) -> None:
        """Tells what may not have been heard on a lost connection: its message may come late, behind the next job."""
        if self._session is None or self._session.closed.done() or not self._untold:
            return
        for event in self._untold:
            self._session.publish_event(event)
        self._untold.clear()
        if self._running is not None:
            self._tell_started(self._running)

    def _event(self, kind: str, message: Message | None = None, **fields: Any) -> dict[str, Any]:
        event = {"event": kind, "worker": self._settings.worker, "queue": self._queue, "at": utc_now(), **fields}
        if message is not None:
            event.update(workflow=message.workflow, run=message.run, attempt=message.attempt, folder=message.folder)
        return event


def in_thread(function: Callable[[], T]) -> Awaitable[T]:
    return asyncio.get_running_loop().run_in_executor(None, function)


def main() -> int:
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    os.umask(0o002)
    # The thread with the files and the one with the connection take turns many times a run; neither is to wait long.
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        settings = Settings.from_environment(os.environ)
        model = read_model(settings.model_info, os.environ.get("PECAN_QUEUE"))
    except BadSettings as error:
        print(f"worker: {error}", file=sys.stderr)
        return 2

    async def serve() -> None:
        await Worker(settings, model).run()

    asyncio.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
