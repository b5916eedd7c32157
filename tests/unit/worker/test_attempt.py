"""What a message needs, given what lies in its folder, and what a run leaves there."""

from __future__ import annotations

import json
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.assets import worker
from pecan_operator.assets.worker import Attempt, Look, Memory, Message, Outcome, Process, Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "wf" / "run" / "1"
    folder.mkdir(parents=True)
    outdir(folder).mkdir(parents=True)
    return folder


def outdir(folder: Path) -> Path:
    return folder.parents[1] / "out" / folder.name


def settings(folder: Path, **values: str) -> Settings:
    return Settings.from_environment({"PECAN_DATA": str(folder.parents[2]), "PECAN_WORKER": "me", **values})


def message(of: Path, attempt: int = 1, **values: Any) -> Message:
    base = Message(str(of), str(outdir(of)), workflow="7", run="1", attempt=attempt)
    return replace(base, **values)


def keyless(folder: Path, redelivered: bool = False) -> Message:
    return Message(str(folder), str(outdir(folder)), redelivered=redelivered)


def attempt(folder: Path, of: Message | None = None, **values: str) -> Attempt:
    return Attempt(settings(folder, **values), of or message(folder), Memory(str(folder)))


def leave_result(folder: Path, state: str, attempt: int = 1, workflow: str | None = "7", run: str | None = "1") -> None:
    result = {"workflow": workflow, "run": run, "attempt": attempt, "state": state, "exit_code": 0}
    (folder / ".pecan-result.json").write_text(json.dumps(result))


def job(folder: Path, script: str) -> None:
    (folder / "job.sh").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "job.sh").chmod(0o755)


def nothing() -> None:
    """What nobody waits for."""


def run(folder: Path, script: str = "true", of: Message | None = None, **values: str) -> Outcome:
    job(folder, script)
    this = attempt(folder, of, **values)
    assert this.look() is Look.CLAIMED
    return this.run(nothing)


ANSWERS = [
    # on file, message -> state of the answer, None: it is run
    ("succeeded", 1, 1, "succeeded"),
    ("succeeded", 1, 2, "succeeded"),
    ("succeeded", 2, 1, "succeeded"),
    ("failed", 1, 1, "failed"),
    ("lost", 1, 1, "lost"),
    ("cancelled", 1, 1, "cancelled"),
    ("failed", 1, 2, None),
    ("lost", 1, 2, None),
    ("cancelled", 1, 2, None),
    ("failed", 2, 1, "refused"),
]


@pytest.mark.parametrize(("state", "stored", "asked", "answer"), ANSWERS)
def test_a_result_on_file_answers(folder: Path, state: str, stored: int, asked: int, answer: str | None) -> None:
    leave_result(folder, state, stored)
    found = attempt(folder, message(folder, asked)).look()
    if answer is None:
        assert found is Look.CLAIMED
    else:
        assert isinstance(found, Outcome)
        assert found.state == answer
        assert not (folder / ".pecan-claim").exists()


@pytest.mark.parametrize("other", [{"workflow": "8"}, {"run": "2"}, {"workflow": None, "run": None}])
def test_a_result_of_another_run_answers_nothing(folder: Path, other: dict[str, Any]) -> None:
    leave_result(folder, "succeeded", **other)
    assert attempt(folder).look() is Look.CLAIMED


def test_a_damaged_result_answers_nothing(folder: Path) -> None:
    (folder / ".pecan-result.json").write_text('{"state": "succ')
    assert attempt(folder).look() is Look.CLAIMED


@pytest.mark.parametrize(("redelivered", "is_answered"), [(True, True), (False, False)])
def test_a_run_without_identity_is_answered_only_when_delivered_again(
    folder: Path, redelivered: bool, is_answered: bool
) -> None:
    leave_result(folder, "failed", attempt=0, workflow=None, run=None)
    found = attempt(folder, keyless(folder, redelivered)).look()
    assert isinstance(found, Outcome) is is_answered


def test_a_claimed_folder_is_held(folder: Path) -> None:
    assert attempt(folder).look() is Look.CLAIMED
    assert attempt(folder).look() is Look.HELD
    assert attempt(folder, message(folder, 2)).look() is Look.HELD
    assert attempt(folder, keyless(folder)).look() is Look.HELD


def test_a_message_older_than_the_claim_is_refused(folder: Path) -> None:
    attempt(folder, message(folder, 2)).look()
    found = attempt(folder, message(folder, 1)).look()
    assert isinstance(found, Outcome)
    assert found.state == "refused"


def test_a_stale_claim_of_the_same_attempt_is_lost(folder: Path) -> None:
    attempt(folder).look()
    successor = attempt(folder)
    lost = successor.expire(successor.claim.read() or b"")
    assert lost is not None
    assert (lost.state, "me" in (lost.reason or "")) == ("lost", True)
    assert (folder / "rabbitmq.out").read_text() == "b''\nERROR\n"
    again = attempt(folder).look()
    assert isinstance(again, Outcome)
    assert again.state == "lost"
    assert attempt(folder, message(folder, 2)).look() is Look.CLAIMED


@pytest.mark.parametrize("of", [lambda folder: message(folder, 2), keyless])
def test_a_stale_claim_of_other_work_is_only_removed(folder: Path, of: Any) -> None:
    attempt(folder).look()
    successor = attempt(folder, of(folder))
    assert successor.expire(successor.claim.read() or b"") is None
    assert successor.look() is Look.CLAIMED


def test_a_claim_without_content_is_not_an_attempt(folder: Path) -> None:
    (folder / ".pecan-claim").touch()
    successor = attempt(folder)
    assert successor.look() is Look.HELD
    assert successor.expire(b"") is None
    assert successor.look() is Look.CLAIMED


def test_a_missing_folder_is_missing(folder: Path) -> None:
    gone = folder.parent / "2"
    assert attempt(folder, message(folder, folder=str(gone))).look() is Look.MISSING


def test_places_that_may_not_be_used(folder: Path, tmp_path: Path) -> None:
    data = folder.parents[2]
    (data / "link").symlink_to(tmp_path)
    bad = [
        {"folder": "/etc"},
        {"folder": str(data)},
        {"folder": str(data / ".." / "x")},
        {"folder": str(data / "link")},
        {"outdir": "/etc"},
        {"outdir": str(data / "link" / "x")},
        {"outdir": str(folder)},
        {"outdir": str(folder.parent)},
        {"outdir": str(data)},
    ]
    for values in bad:
        found = attempt(folder, message(folder, **values)).look()
        assert isinstance(found, Outcome), values
        assert found.state == "refused", values


def test_a_data_folder_that_is_itself_a_link_is_fine(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder.parents[2])
    assert attempt(folder, PECAN_DATA=str(tmp_path / "link")).look() is Look.CLAIMED


def test_a_run_leaves_result_answer_and_no_claim(folder: Path) -> None:
    outcome = run(folder, 'echo "it\'s done"')
    assert outcome.state == "succeeded"
    assert (folder / "rabbitmq.out").read_text() == 'b"it\'s done\\n"\nOK\n'
    result = json.loads((folder / ".pecan-result.json").read_text())
    assert (result["workflow"], result["run"], result["attempt"], result["worker"]) == ("7", "1", 1, "me")
    assert Outcome(**{name: result[name] for name in Outcome._fields}) == outcome
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [".pecan-result.json", ".started", "job.log", "job.sh", "rabbitmq.out"]
    )


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ("exit 65", 65, "job ended with exit code 65"),
        ("echo one; echo two; echo; exit 1", 1, "job ended with exit code 1: two"),
        ("kill -9 $$", 137, "job was killed by SIGKILL"),
        ("exit 200", 200, "job ended with exit code 200"),
    ],
)
def test_a_failure_says_how_it_ended(folder: Path, script: str, code: int, reason: str) -> None:
    assert run(folder, script)[:3] == ("failed", code, reason)


def test_a_silent_job_speaks_through_the_models_log(folder: Path) -> None:
    (outdir(folder) / "logfile.txt").write_text("begin\nnegative snow\n")
    assert run(folder, "exit 1").reason == "job ended with exit code 1: negative snow"


def test_a_job_that_cannot_be_spawned_has_failed(folder: Path) -> None:
    this = attempt(folder)
    assert this.look() is Look.CLAIMED
    (folder / "job.log").mkdir()
    outcome = this.run(nothing)
    assert outcome.state == "failed"
    assert "cannot start" in (outcome.reason or "")
    assert not (folder / ".pecan-claim").exists()


def test_a_success_that_cannot_be_written_is_none(folder: Path) -> None:
    job(folder, "mkdir .pecan-result.json.part")
    this = attempt(folder)
    this.look()
    outcome = this.run(nothing)
    assert outcome.state == "failed"
    assert "cannot be written" in (outcome.reason or "")


def test_who_lost_his_claim_writes_nothing(folder: Path) -> None:
    outcome = run(folder, "rm .pecan-claim")
    assert outcome.state == "lost"
    assert not (folder / ".pecan-result.json").exists()
    assert not (folder / "rabbitmq.out").exists()


names = st.sampled_from(["a", "b", "sub/a", "sub/b", "sub/deep/a", "README.txt"])


def write(folder: Path, files: set[str]) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


@given(before=st.sets(names), left=st.sets(names))
def test_a_new_attempt_finds_exactly_what_was_there_at_first(
    tmp_path_factory: pytest.TempPathFactory, before: set[str], left: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("data") / "wf" / "run" / "1"
    folder.mkdir(parents=True)
    outdir(folder).mkdir(parents=True)
    write(outdir(folder), before)
    first = worker.names_below(str(outdir(folder)))
    attempt(folder)._remove_leftovers()
    write(outdir(folder), left)
    attempt(folder)._remove_leftovers()
    assert worker.names_below(str(outdir(folder))) == first


def test_links_among_leftovers_are_removed_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    attempt(folder)._remove_leftovers()
    (outdir(folder) / "link").symlink_to(tmp_path / "precious")
    attempt(folder)._remove_leftovers()
    assert list(outdir(folder).iterdir()) == []
    assert (tmp_path / "precious" / "file").exists()


def test_a_released_run_is_as_if_it_never_began(folder: Path) -> None:
    job(folder, f"touch {outdir(folder)}/half; echo > begun; exec sleep 60")
    this = attempt(folder)
    this.look()
    ended: list[Outcome] = []
    thread = threading.Thread(target=lambda: ended.append(this.run(nothing)))
    thread.start()
    deadline = time.monotonic() + 5
    while not (folder / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert this.process.stop("released")
    thread.join(5)
    assert ended[0].state == "released"
    assert list(outdir(folder).iterdir()) == []
    assert not (folder / ".pecan-claim").exists()
    assert attempt(folder).look() is Look.CLAIMED


def test_a_process_stopped_before_it_began_never_runs(tmp_path: Path) -> None:
    process = Process()
    assert process.stop("cancelled")
    assert not process.start("touch ran", str(tmp_path), str(tmp_path / "log"), {})
    assert not (tmp_path / "ran").exists()


def test_only_the_first_reason_to_stop_counts(tmp_path: Path) -> None:
    process = Process()
    assert process.start("echo > on; exec sleep 60", str(tmp_path), str(tmp_path / "log"), {})
    deadline = time.monotonic() + 5
    while not (tmp_path / "on").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.stop("cancelled")
    assert not process.stop("timeout")
    process.wait()
    assert process.reap() == 128 + signal.SIGTERM
    assert process.stopped_as == "cancelled"
    assert not process.stop("released")


@pytest.mark.parametrize(
    ("command", "run_as"),
    [
        ("./job.sh", "exec ./job.sh"),
        ("Rscript run.R --id=5", "exec Rscript run.R --id=5"),
        ("cd x; ./job.sh", "cd x; ./job.sh"),
        ("A=1 ./job.sh", "A=1 ./job.sh"),
        ("./job.sh > log", "./job.sh > log"),
    ],
)
def test_a_simple_command_replaces_the_shell(command: str, run_as: str) -> None:
    assert worker.shell_command(command) == run_as


def container(root: Path, version: int, kills: int | None, limit: str) -> Memory:
    """What a cgroup of a version looks like below `root`."""
    (root / "memory").mkdir(parents=True, exist_ok=True)
    events = "" if kills is None else f"oom_kill {kills}\n"
    if version == 2:
        (root / "memory.events").write_text(f"low 0\noom 9\n{events}oom_group_kill 0\n")
        (root / "memory.max").write_text(f"{limit}\n")
    else:
        (root / "memory" / "memory.oom_control").write_text(f"oom_kill_disable 0\nunder_oom 0\n{events}")
        (root / "memory" / "memory.limit_in_bytes").write_text(f"{limit}\n")
    return Memory(str(root))


OUT_OF_MEMORY = "OOMKilled: the job needed more memory than the container may have"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("script", "before", "after", "limit", "reason"),
    [
        ("kill -9 $$", 0, 1, str(512 << 20), f"{OUT_OF_MEMORY} (limit 512 MiB)"),
        ("kill -9 $$", 3, 4, "max", OUT_OF_MEMORY),
        ("kill -9 $$", 3, 4, "9223372036854771712", OUT_OF_MEMORY),
        ("kill -9 $$", 4, 4, "max", "job was killed by SIGKILL"),
        ("kill -9 $$", None, None, "max", "job was killed by SIGKILL"),
        ("kill -11 $$", 0, 1, "max", "job was killed by SIGSEGV"),
        ("exit 137", 0, 1, str(1 << 20), f"{OUT_OF_MEMORY} (limit 1 MiB)"),
        ("exit 1", 0, 1, "max", "job ended with exit code 1"),
    ],
)
def test_the_kernel_is_asked_why_a_job_was_killed(
    folder: Path,
    tmp_path: Path,
    version: int,
    script: str,
    before: int | None,
    after: int | None,
    limit: str,
    reason: str,
) -> None:
    memory = container(tmp_path / "cgroup", version, before, limit)
    job(folder, script)
    this = Attempt(settings(folder), message(folder), memory)
    this.look()
    outcome = this.run(lambda: container(tmp_path / "cgroup", version, after, limit) and None)
    assert (outcome.state, outcome.reason) == ("failed", reason)


def test_a_kill_in_an_earlier_job_is_not_laid_to_a_later_one(folder: Path, tmp_path: Path) -> None:
    memory = container(tmp_path / "cgroup", 2, 0, "max")
    reasons = []
    for number, script in enumerate(("exit 1", "kill -9 $$"), start=1):
        job(folder, script)
        this = Attempt(settings(folder), message(folder, attempt=number), memory)
        this.look()
        container(tmp_path / "cgroup", 2, 1, "max")
        reasons.append(this.run(nothing).reason)
    assert reasons == ["job ended with exit code 1", "job was killed by SIGKILL"]
