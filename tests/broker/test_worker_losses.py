"""What the worker does when a connection, a worker or the broker's patience is lost."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

WAIT = "echo $$ > pid\nwhile [ ! -e go ]; do sleep 0.05; done"


def kill(worker: Any, *folders: Path) -> None:
    """Ends a worker and the jobs in these folders, as a pod does."""
    worker.signal(signal.SIGKILL)
    worker.wait()
    for folder in folders:
        with suppress(ProcessLookupError):
            os.killpg(int((folder / "pid").read_text()), signal.SIGKILL)


def at(seconds: float = 0) -> str:
    """So many seconds from now, as Kubernetes writes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds").replace("+00:00", "Z")


def starts(folder: Path) -> int:
    journal = folder / "journal"
    return len(journal.read_text().splitlines()) if journal.exists() else 0


def wait_for_file(path: Path, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.01)


def test_a_worker_that_lost_its_connection_goes_on_with_its_job(model: Any, proxy: Any) -> None:
    folder = model.run("while [ ! -e go ]; do sleep 0.05; done")
    worker = model.worker(port=proxy.port)
    model.publish(folder)
    model.wait_for("started")
    proxy.cut()
    model.wait_for("started", count=2)
    assert worker.lines("adopted")
    (folder / "go").touch()
    assert model.finished(folder)["state"] == "succeeded"
    assert starts(folder) == 1
    next_folder = model.run("true", run="2")
    model.publish(next_folder)
    model.finished(next_folder)
    assert len(model.told("finished")) == 2


def test_another_worker_waits_for_the_result_of_the_first(model: Any, proxy: Any) -> None:
    folder, other = model.run("while [ ! -e go ]; do sleep 0.05; done", run="1"), model.run("true", run="2")
    first = model.worker("worker-a", port=proxy.port)
    model.publish(folder)
    model.wait_for("started")
    second = model.worker("worker-b")
    proxy.close()
    deadline = time.monotonic() + 5
    while not second.lines("held"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(1.2)
    assert model.told("finished") == []
    (folder / "go").touch()
    event = model.finished(folder)
    assert (event["state"], event["worker"], starts(folder)) == ("succeeded", "worker-b", 1)
    proxy.open()
    model.publish(other)
    model.finished(other)
    assert len(model.told("finished")) == 2
    assert first.process.poll() is None


def test_a_reconnected_busy_worker_passes_other_work_on(model: Any, proxy: Any) -> None:
    folder, other = model.run("while [ ! -e go ]; do sleep 0.05; done", run="1"), model.run("true", run="2")
    model.worker("worker-a", port=proxy.port)
    model.publish(folder)
    model.wait_for("started")
    second = model.worker("worker-b")
    proxy.close()
    deadline = time.monotonic() + 5
    while not second.lines("held"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    model.publish(other)
    proxy.open()
    time.sleep(1.0)
    assert model.told("finished") == []
    (folder / "go").touch()
    model.finished(folder)
    model.finished(other)
    assert (starts(folder), starts(other)) == (1, 1)


def test_a_job_that_ends_while_the_broker_is_away_is_answered_later(model: Any, proxy: Any) -> None:
    folder = model.run("while [ ! -e go ]; do sleep 0.05; done")
    model.worker(port=proxy.port)
    model.publish(folder)
    model.wait_for("started")
    proxy.close()
    (folder / "go").touch()
    wait_for_file(folder / "rabbitmq.out")
    proxy.open()
    assert model.finished(folder)["state"] == "succeeded"
    assert starts(folder) == 1
    model.wait_for_ready_messages(0)


def test_a_folder_only_message_is_not_run_twice_by_a_lost_connection(model: Any, proxy: Any) -> None:
    folder = model.run("while [ ! -e go ]; do sleep 0.05; done")
    model.worker(port=proxy.port)
    model.publish_body(f'{{"folder": "{folder}"}}'.encode())
    model.wait_for("started")
    proxy.close()
    (folder / "go").touch()
    wait_for_file(folder / "rabbitmq.out")
    proxy.open()
    assert model.finished(folder, attempt=0)["state"] == "succeeded"
    assert starts(folder) == 1


def test_the_attempt_of_a_killed_worker_is_lost_and_the_next_one_runs(model: Any) -> None:
    folder = model.run('echo $$ > pid\ntouch "$OUT/half"\n[ -e go ] || sleep 300')
    first = model.worker("worker-a")
    model.publish(folder)
    wait_for_file(folder / "pid")
    first.signal(signal.SIGKILL)
    first.wait()
    with suppress(ProcessLookupError):
        # In a pod it would have died with process 1.
        os.killpg(int((folder / "pid").read_text()), signal.SIGKILL)
    model.worker("worker-b")
    event = model.finished(folder)
    assert (event["state"], event["worker"]) == ("lost", "worker-b")
    assert "worker-a" in event["reason"]
    model.wait_for_ready_messages(0)
    (folder / "go").touch()
    model.publish(folder, attempt=2)
    assert model.finished(folder, attempt=2)["state"] == "succeeded"
    assert starts(folder) == 2


def test_a_worker_that_stood_still_leaves_the_folder_to_its_successor(model: Any) -> None:
    folder = model.run("echo $$ > pid\nsleep 300")
    first = model.worker("worker-a")
    model.publish(folder)
    wait_for_file(folder / "pid")
    first.signal(signal.SIGSTOP)
    model.rabbit.close_connections("worker-a")
    model.worker("worker-b")
    assert model.finished(folder)["state"] == "lost"
    first.signal(signal.SIGCONT)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{(folder / 'pid').read_text().strip()}").exists():
        assert time.monotonic() < deadline, "the job of the worker that lost its claim goes on"
        time.sleep(0.02)
    other = model.run("true", run="2")
    for attempt in (1, 2, 3):
        model.publish(other, attempt=attempt)
        model.finished(other, attempt=attempt)
    assert len(model.told("finished", run="1")) == 1


def test_a_folder_only_message_of_a_killed_worker_is_run_again(model: Any) -> None:
    folder = model.run("echo $$ > pid\n[ -e go ] || sleep 300")
    first = model.worker("worker-a")
    model.publish_body(f'{{"folder": "{folder}"}}'.encode())
    wait_for_file(folder / "pid")
    first.signal(signal.SIGKILL)
    first.wait()
    os.killpg(int((folder / "pid").read_text()), signal.SIGKILL)
    (folder / "go").touch()
    model.worker("worker-b")
    assert model.finished(folder, attempt=0)["state"] == "succeeded"
    assert starts(folder) == 2


def test_a_deleted_queue_is_declared_again(model: Any) -> None:
    worker = model.worker()
    model.wait_for("ready")
    model.delete_queue()
    model.wait_for("ready", count=2)
    assert worker.lines("disconnected")
    folder = model.run("true")
    model.publish(folder)
    assert model.finished(folder)["state"] == "succeeded"


def test_a_connection_closed_by_the_broker_is_made_again(model: Any) -> None:
    folder = model.run("while [ ! -e go ]; do sleep 0.05; done")
    model.worker()
    model.publish(folder)
    model.wait_for("started")
    model.rabbit.close_connections("worker-a")
    model.wait_for("started", count=2)
    (folder / "go").touch()
    assert model.finished(folder)["state"] == "succeeded"
    assert starts(folder) == 1


def test_a_worker_waits_for_a_broker_that_is_not_there_yet(model: Any, proxy: Any) -> None:
    proxy.close()
    folder = model.run("true")
    model.publish(folder)
    worker = model.worker(port=proxy.port, connected=False)
    deadline = time.monotonic() + 5
    while not worker.lines("disconnected"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    proxy.open()
    assert model.finished(folder)["state"] == "succeeded"


def test_a_run_whose_worker_dies_before_it_could_answer_is_not_run_again(model: Any, proxy: Any) -> None:
    folder = model.run("true")
    proxy.passes_confirms = False
    first = model.worker("worker-a", port=proxy.port)
    model.publish(folder)
    model.finished(folder)
    kill(first)
    model.worker("worker-b")
    event = model.finished(folder, count=2)
    assert (event["state"], event["worker"], starts(folder)) == ("succeeded", "worker-b", 1)
    model.wait_for_ready_messages(0)


def begin_second(model: Any, proxy: Any) -> tuple[Any, Path, Path]:
    """A worker whose second job runs before its answer to the first message is confirmed."""
    former, present = model.run("true", run="1"), model.run(WAIT, run="2")
    proxy.passes_confirms = False
    worker = model.worker("worker-a", port=proxy.port)
    model.publish(former)
    model.publish(present)
    model.wait_for("started", folder=str(present))
    wait_for_file(present / "pid")
    return worker, former, present


def test_a_worker_that_dies_between_two_runs_loses_the_second_only(model: Any, proxy: Any) -> None:
    worker, former, present = begin_second(model, proxy)
    kill(worker, present)
    model.worker("worker-b")
    assert model.finished(former, count=2)["state"] == "succeeded"
    assert model.finished(present)["state"] == "lost"
    assert (starts(former), starts(present)) == (1, 1)
    model.wait_for_ready_messages(0)


def test_a_worker_cut_off_between_two_runs_answers_the_first_and_goes_on(model: Any, proxy: Any) -> None:
    worker, former, present = begin_second(model, proxy)
    proxy.passes_confirms = True
    proxy.cut()
    assert model.finished(former, count=2)["state"] == "succeeded"
    model.wait_for("started", count=2, folder=str(present))
    deadline = time.monotonic() + 5
    while not worker.lines("adopted"):
        assert time.monotonic() < deadline, "the second run is not taken up again"
        time.sleep(0.02)
    (present / "go").touch()
    assert model.finished(present)["state"] == "succeeded"
    assert (starts(former), starts(present)) == (1, 1)
    model.wait_for_ready_messages(0)


def test_no_third_run_begins_while_two_are_unanswered(model: Any, proxy: Any) -> None:
    folders = [model.run("true", run=run) for run in ("1", "2", "3")]
    proxy.passes_confirms = False
    model.worker(port=proxy.port)
    for folder in folders:
        model.publish(folder)
    wait_for_file(folders[1] / "rabbitmq.out")
    time.sleep(0.5)
    assert (model.ready_messages(), starts(folders[2])) == (1, 0)
    proxy.passes_confirms = True
    proxy.cut()
    model.finished(folders[2])
    assert [starts(folder) for folder in folders] == [1, 1, 1]
    model.wait_for_ready_messages(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_may_go_at_any_moment(model: Any, number: signal.Signals) -> None:
    folders = [model.run('touch "$OUT/out"', run=str(run)) for run in range(120)]
    for folder in folders:
        model.publish(folder, expect=["out"])
    ended = 0
    for turn in range(4):
        worker = model.worker(f"worker-{turn}")
        ended = len(model.told("finished"))
        model.wait_for("finished", count=ended + 10 + turn)
        worker.signal(number)
        worker.wait()
    model.worker("worker-z")
    for folder in folders:
        event = model.finished(folder, seconds=20)
        assert event["state"] == "succeeded" or (event["state"], number) == ("lost", signal.SIGKILL), event
        # Killed between claim and start it has not begun.
        assert starts(folder) == 1 or (event["state"] == "lost" and starts(folder) == 0)
    model.wait_for_ready_messages(0)


def test_the_next_process_of_a_worker_knows_at_once_that_the_last_one_is_dead(model: Any) -> None:
    folder, other = model.run(WAIT, run="1"), model.run(WAIT, run="2")
    first = model.worker("worker-a", PECAN_STALE_SECONDS="60")
    model.publish(folder)
    wait_for_file(folder / "pid")
    kill(first, folder)
    model.worker("worker-a", PECAN_STALE_SECONDS="60")
    event = model.finished(folder)
    assert (event["state"], event["reason"]) == ("lost", "worker worker-a disappeared while it ran this")
    model.publish(other)
    wait_for_file(other / "pid")
    (other / "go").touch()
    assert model.finished(other)["state"] == "succeeded"


def test_a_claim_of_a_worker_that_is_told_to_be_gone_is_removed_at_once(model: Any) -> None:
    folder = model.run(WAIT)
    first = model.worker("worker-a")
    model.publish(folder)
    wait_for_file(folder / "pid")
    kill(first, folder)
    second = model.worker("worker-b", PECAN_STALE_SECONDS="60")
    deadline = time.monotonic() + 5
    while not second.lines("held"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    model.control(command="gone", worker="worker-c", at=at(5), reason="OOMKilled")
    model.control(command="gone", worker="worker-a", at=at(-3600), reason="Error")
    model.control(command="gone", worker="worker-a", at="yesterday")
    time.sleep(0.3)
    assert model.told("finished") == []
    model.control(command="gone", worker="worker-a", at=at(5), reason="OOMKilled")
    event = model.finished(folder, seconds=3)
    assert (event["state"], event["worker"]) == ("lost", "worker-b")
    assert event["reason"] == "worker worker-a was ended (OOMKilled) while it ran this"
    model.wait_for_ready_messages(0)


def test_who_was_told_before_waits_for_no_dead_worker(model: Any) -> None:
    folder = model.run("echo $$ > pid\n[ -e go ] || sleep 300")
    first = model.worker("worker-a")
    model.publish_body(f'{{"folder": "{folder}"}}'.encode())
    wait_for_file(folder / "pid")
    model.worker("worker-b", PECAN_STALE_SECONDS="60")
    model.control(command="gone", worker="worker-a", at=at(5), reason="Evicted")
    (folder / "go").touch()
    kill(first, folder)
    assert model.finished(folder, attempt=0)["state"] == "succeeded"
    assert starts(folder) == 2
