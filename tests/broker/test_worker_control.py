"""What the worker does when it is told: commands and signals."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

WAIT = "echo $$ > pid\nwhile [ ! -e go ]; do sleep 0.05; done"


def starts(folder: Path) -> int:
    journal = folder / "journal"
    return len(journal.read_text().splitlines()) if journal.exists() else 0


def test_cancel_stops_the_job_and_answers_the_rest(model: Any) -> None:
    running, queued, other = (model.run(WAIT, run=run) for run in ("1", "2", "3"))
    model.worker()
    model.publish(running)
    model.wait_for("started")
    model.publish(queued)
    model.publish(other, workflow="8")
    model.control(command="cancel", workflow="7")
    event = model.finished(running)
    assert (event["state"], event["exit_code"]) == ("cancelled", 128 + signal.SIGTERM)
    assert model.finished(queued)["state"] == "cancelled"
    assert starts(queued) == 0
    assert (running / "rabbitmq.out").read_text().endswith("\nERROR\n")
    model.wait_for("started", folder=str(other))
    (other / "go").touch()
    assert model.finished(other)["state"] == "succeeded"


def test_what_is_published_after_a_retry_runs_although_its_workflow_was_cancelled_before(model: Any) -> None:
    stopped, anew = (model.run(job, run=run) for job, run in ((WAIT, "1"), ("true", "2")))
    model.worker()
    model.publish(stopped, generation=1)
    while not (stopped / "pid").exists():
        time.sleep(0.01)
    model.control(command="cancel", workflow="7", generation=0)
    model.control(command="cancel", workflow="7", generation=1)
    assert model.finished(stopped)["state"] == "cancelled"
    (stopped / "go").touch()
    model.publish(stopped, attempt=2, generation=2)
    model.publish(anew, generation=2)
    assert model.finished(anew)["state"] == "succeeded"
    assert model.finished(stopped, attempt=2)["state"] == "succeeded"
    assert (starts(stopped), starts(anew)) == (2, 1)


def test_cancel_kills_a_job_that_does_not_listen(model: Any) -> None:
    folder = model.run("trap '' TERM\ntouch ready\nwhile :; do sleep 0.1; done")
    model.worker()
    model.publish(folder)
    while not (folder / "ready").exists():
        time.sleep(0.01)
    model.control(command="cancel", workflow="7")
    assert model.finished(folder)["exit_code"] == 128 + signal.SIGKILL


def test_release_gives_the_job_back_and_pauses(model: Any) -> None:
    folder = model.run('touch "$OUT/half"\n' + WAIT)
    worker = model.worker()
    model.publish(folder)
    while not (folder / "pid").exists():
        time.sleep(0.01)
    model.control(command="release", queue="OTHER_git")
    model.control(command="nonsense")
    model.control(command="release", queue=model.queue)
    assert model.finished(folder)["state"] == "released"
    assert not (folder / ".pecan-claim").exists()
    assert not (folder / ".pecan-result.json").exists()
    assert list(model.outdir(folder).iterdir()) == []
    model.wait_for_ready_messages(1)
    (folder / "go").touch()
    assert model.wait_for("finished", state="succeeded")["attempt"] == 1
    assert starts(folder) == 2
    assert worker.process.poll() is None


def test_an_idle_worker_retires_and_takes_nothing_until_it_resumes(model: Any) -> None:
    worker = model.worker(PECAN_PAUSE_SECONDS="60")
    name = model.wait_for("ready")["worker"]
    model.control(command="retire", workers=["another"])
    model.control(command="retire", workers=["another", name])
    model.wait_for("retired", worker=name)
    folder = model.run("true")
    model.publish(folder)
    time.sleep(0.5)
    assert starts(folder) == 0
    assert model.ready_messages() == 1
    model.control(command="resume", workers=[name])
    assert model.finished(folder)["state"] == "succeeded"
    assert worker.process.poll() is None


def test_a_retired_worker_that_is_not_ended_comes_back(model: Any) -> None:
    model.worker(PECAN_PAUSE_SECONDS="0.5")
    name = model.wait_for("ready")["worker"]
    model.control(command="retire", workers=[name])
    model.wait_for("retired")
    model.wait_for("ready", count=2)
    folder = model.run("true")
    model.publish(folder)
    assert model.finished(folder)["state"] == "succeeded"


def test_a_busy_worker_retires_after_its_run(model: Any) -> None:
    folders = [model.run(WAIT), model.run("true", "2")]
    model.worker(PECAN_TELL_SECONDS="0.001")
    name = model.wait_for("ready")["worker"]
    for folder in folders:
        model.publish(folder)
    model.wait_for("started")
    model.control(command="retire", workers=[name])
    model.control(command="report")
    model.wait_for("started", count=2)
    assert model.told("retired") == []
    (folders[0] / "go").touch()
    assert model.finished(folders[0])["state"] == "succeeded"
    model.wait_for("retired", worker=name)
    time.sleep(0.3)
    assert (starts(folders[1]), model.ready_messages()) == (0, 1)
    model.control(command="resume", workers=[name])
    assert model.finished(folders[1])["state"] == "succeeded"


@pytest.mark.parametrize(("pause", "commands"), [("60", ["retire", "resume"]), ("0.3", ["retire"])])
def test_a_busy_worker_that_may_stay_takes_the_next_run(model: Any, pause: str, commands: list[str]) -> None:
    """It has been told so, or the wish is old by the time its run ends."""
    folders = [model.run(WAIT), model.run("true", "2")]
    model.worker(PECAN_PAUSE_SECONDS=pause)
    name = model.wait_for("ready")["worker"]
    for folder in folders:
        model.publish(folder)
    model.wait_for("started")
    for command in commands:
        model.control(command=command, workers=[name])
    time.sleep(0.5)
    (folders[0] / "go").touch()
    assert model.finished(folders[1])["state"] == "succeeded"
    assert model.told("retired") == []


def test_report_is_answered_with_what_it_does(model: Any) -> None:
    folder = model.run(WAIT)
    model.worker()
    model.wait_for("ready")
    model.control(command="report")
    model.wait_for("ready", count=2)
    model.publish(folder)
    model.wait_for("started")
    model.control(command="report")
    model.wait_for("started", count=2)
    (folder / "go").touch()
    model.finished(folder)


def test_an_idle_worker_leaves_at_once(model: Any) -> None:
    worker = model.worker()
    model.wait_for("ready")
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert time.monotonic() - began < 1
    model.wait_for("stopped")


def test_a_busy_worker_finishes_its_job_and_takes_no_more(model: Any) -> None:
    folder, other = model.run(WAIT, run="1"), model.run("true", run="2")
    worker = model.worker()
    model.publish(folder)
    model.wait_for("started")
    model.publish(other)
    worker.signal(signal.SIGTERM)
    time.sleep(0.3)
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGINT)
    time.sleep(0.3)
    assert worker.process.poll() is None
    (folder / "go").touch()
    assert worker.wait() == 0
    assert model.finished(folder)["state"] == "succeeded"
    model.wait_for("stopped")
    assert starts(other) == 0
    model.wait_for_ready_messages(1)


def test_the_job_is_given_back_before_the_grace_period_ends(model: Any) -> None:
    folder = model.run(WAIT)
    worker = model.worker(PECAN_GRACE_SECONDS="1", PECAN_RELEASE_SECONDS="0.6")
    model.publish(folder)
    model.wait_for("started")
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert 0.4 <= time.monotonic() - began < 1.5
    assert model.finished(folder)["state"] == "released"
    model.wait_for_ready_messages(1)
    assert not (folder / ".pecan-claim").exists()


def test_the_job_is_given_back_when_the_broker_is_gone_for_good(model: Any, proxy: Any) -> None:
    folder = model.run(WAIT)
    worker = model.worker(port=proxy.port, PECAN_UNREACHABLE_SECONDS="0.5")
    model.publish(folder)
    model.wait_for("started")
    proxy.close()
    time.sleep(0.7)
    assert worker.process.poll() is None
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert not (folder / ".pecan-claim").exists()
    assert not (folder / ".pecan-result.json").exists()


def test_a_message_held_for_another_worker_is_given_back(model: Any) -> None:
    folder = model.run(WAIT)
    (folder / ".pecan-claim").write_text('{"worker": "someone", "counter": 1}')
    worker = model.worker(PECAN_STALE_SECONDS="60")
    model.publish(folder)
    while not worker.lines("held"):
        time.sleep(0.02)
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert time.monotonic() - began < 1
    assert model.told("finished") == []
    model.wait_for_ready_messages(1)


def test_a_busy_worker_holds_no_other_message(model: Any) -> None:
    first, second, third = (model.run(WAIT, run=run) for run in ("1", "2", "3"))
    model.worker()
    for folder in (first, second, third):
        model.publish(folder)
    for folder, waiting in ((first, 2), (second, 1), (third, 0)):
        model.wait_for("started", folder=str(folder))
        time.sleep(0.3)
        assert model.ready_messages() == waiting
        (folder / "go").touch()
    assert model.finished(third)["state"] == "succeeded"


def test_an_idle_worker_that_was_busy_retires_and_takes_nothing(model: Any) -> None:
    model.worker(PECAN_PAUSE_SECONDS="60")
    folder, other = model.run("true", run="1"), model.run("true", run="2")
    model.publish(folder)
    model.finished(folder)
    time.sleep(0.3)
    model.control(command="retire", workers=["worker-a"])
    model.wait_for("retired")
    model.publish(other)
    time.sleep(0.5)
    assert model.ready_messages() == 1
    model.control(command="resume", workers=["worker-a"])
    assert model.finished(other)["state"] == "succeeded"
