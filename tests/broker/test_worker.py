"""What the worker does with messages: runs, answers from file, refusals, attempts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

OUTPUT = 'echo data > "$OUT/2001.nc"'


def starts(folder: Path) -> int:
    """How often job.sh has begun in a folder."""
    journal = folder / "journal"
    return len(journal.read_text().splitlines()) if journal.exists() else 0


def answer(folder: Path) -> tuple[str, str]:
    """The two lines of rabbitmq.out."""
    output, verdict = (folder / "rabbitmq.out").read_text().splitlines()
    return output, verdict


def test_runs_a_job_and_leaves_its_result(model: Any) -> None:
    folder = model.run(f"{OUTPUT}\necho MODEL FINISHED")
    model.worker()
    model.publish(folder, expect=["2001.nc"])
    event = model.finished(folder)
    assert (event["state"], event["exit_code"], event["reason"]) == ("succeeded", 0, None)
    assert (event["workflow"], event["run"], event["worker"]) == ("7", "1", "worker-a")
    assert event["started_at"] <= event["finished_at"] <= event["at"]
    assert [event["event"] for event in model.events] == ["ready", "started", "finished"]
    assert answer(folder) == ("b'MODEL FINISHED\\n'", "OK")
    assert (folder / "job.log").read_text() == "MODEL FINISHED\n"
    assert json.loads((folder / ".pecan-result.json").read_text())["state"] == "succeeded"
    assert json.loads((folder / ".started").read_text()) == []
    assert not (folder / ".pecan-claim").exists()
    model.wait_for_ready_messages(0)


def test_announces_itself_as_pecan_workers_do(model: Any) -> None:
    model.worker()
    seen = []
    deadline = time.monotonic() + 5
    while len(seen) < 2 and time.monotonic() < deadline:
        found = model.heartbeat()
        if found and found[1]["queue"] == model.queue:
            seen.append(found)
    (properties, first), (_, second) = seen
    assert first == second
    assert set(first) == {"id", "hostname", "queue", "model_info"}
    assert first["model_info"] == json.loads(model.model_info.read_text())
    assert properties.delivery_mode != 2


def test_an_error_is_told_with_its_last_line(model: Any) -> None:
    folder = model.run("echo reading\necho 'no parameter SLA' >&2\nexit 3")
    model.worker()
    model.publish(folder)
    event = model.finished(folder)
    assert (event["state"], event["exit_code"]) == ("failed", 3)
    assert event["reason"] == "job ended with exit code 3: no parameter SLA"
    assert answer(folder) == ("b'reading\\nno parameter SLA\\n'", "ERROR")


def test_success_needs_the_expected_outputs(model: Any) -> None:
    folder = model.run(OUTPUT)
    model.worker()
    model.publish(folder, expect=["2001.nc", "2002.nc"])
    event = model.finished(folder)
    assert (event["state"], event["exit_code"]) == ("failed", 0)
    assert "2002.nc" in event["reason"]
    assert "2001.nc" not in event["reason"]
    assert answer(folder)[1] == "ERROR"


def test_a_job_that_cannot_start_has_failed(model: Any) -> None:
    missing, locked = model.run("true", run="1"), model.run("true", run="2")
    (missing / "job.sh").unlink()
    (locked / "job.sh").chmod(0o644)
    model.worker()
    model.publish(missing)
    model.publish(locked)
    assert model.finished(missing)["exit_code"] == 127
    assert model.finished(locked)["exit_code"] == 126
    assert "not found" in model.finished(missing)["reason"]


def test_output_is_streamed_and_its_end_kept(model: Any) -> None:
    folder = model.run("yes 0123456789abcde | head -c 3000000\necho END")
    model.worker()
    model.publish(folder)
    assert model.finished(folder)["state"] == "succeeded"
    assert (folder / "job.log").stat().st_size == 3000004
    line = eval(answer(folder)[0])
    assert len(line) == 64 * 1024
    assert line.endswith(b"END\n")


def test_the_job_sees_neither_credentials_nor_standard_input(model: Any) -> None:
    folder = model.run("env > env\ncat\ntrue")
    worker = model.worker()
    model.publish(folder)
    assert model.finished(folder)["state"] == "succeeded"
    assert "RABBITMQ_URI" not in (folder / "env").read_text()
    assert "broker-test" not in worker.log.read_text()


def test_what_a_job_leaves_running_is_stopped(model: Any) -> None:
    folder = model.run("sleep 300 & echo $! > pid")
    model.worker()
    model.publish(folder)
    assert model.finished(folder)["state"] == "succeeded"
    wait_for_end(int((folder / "pid").read_text()))


def wait_for_end(pid: int) -> None:
    """Until a process is gone or a zombie."""
    deadline = time.monotonic() + 5
    while (stat := Path(f"/proc/{pid}/stat")).exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def test_a_job_out_of_time_is_killed_with_its_children(model: Any) -> None:
    folder = model.run("trap '' TERM\nsleep 300 & echo $! > pid\nwait\nsleep 300")
    model.worker(PECAN_RUN_TIMEOUT_SECONDS="0.5")
    model.publish(folder)
    event = model.finished(folder)
    assert event["state"] == "failed"
    assert event["reason"] == "stopped: it ran longer than its limit of 0.5 s"
    wait_for_end(int((folder / "pid").read_text()))


REFUSED = {
    "not JSON": (b"folder", None, "not JSON"),
    "no UTF-8": (b"\xff\xfe\x00", None, "not JSON"),
    "deeper than any parser goes": (b"[" * 100_000, None, "not JSON"),
    "no object": (b'["folder"]', None, "JSON object"),
    "no folder": (b"{}", None, '"folder"'),
    "relative folder": (b'{"folder": "run/1"}', None, "absolute"),
    "folder is a number": (b'{"folder": 7}', None, "absolute"),
    "folder with a zero byte": (b'{"folder": "/data/\\u0000"}', None, "absolute"),
    "outside": (b'{"folder": "/etc"}', None, "not below"),
    "rebuild": (b'{"folder": "/etc", "rebuild": true}', None, "rebuild"),
    "pecan_xml": (b'{"folder": "/etc", "pecan_xml": "<pecan/>"}', None, "pecan_xml"),
    "custom_application": (b'{"folder": "/etc", "custom_application": "id"}', None, "custom_application"),
    "half a key": (b'{"folder": "/data/1"}', {"workflow": "7"}, "both be text"),
    "bad attempt": (b'{"folder": "/data/1"}', {"workflow": "7", "run": "1", "attempt": 0}, "attempt"),
    "no outdir": (b'{"folder": "/data/1"}', {"workflow": "7", "run": "1", "attempt": 1}, "outdir"),
}


def test_what_cannot_be_run_is_refused_and_the_worker_goes_on(model: Any) -> None:
    model.worker()
    for body, headers, _ in REFUSED.values():
        model.publish_body(body, headers)
    model.wait_for("finished", count=len(REFUSED))
    for (name, (_, _, reason)), event in zip(REFUSED.items(), model.told("finished"), strict=True):
        assert event["state"] == "refused", name
        assert reason in event["reason"], name
    assert model.told("started") == []
    folder = model.run("true")
    model.publish(folder)
    assert model.finished(folder)["state"] == "succeeded"


def test_places_outside_the_data_volume_are_refused(model: Any, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "job.sh").write_text("#!/bin/sh\ntouch ran\n")
    (outside / "job.sh").chmod(0o755)
    link = model.data / "link"
    link.symlink_to(outside)
    folder = model.run("touch ran", run="5")
    model.worker()
    model.publish(link, outdir=str(model.data / "out"))
    model.publish(folder, outdir=str(outside))
    model.publish(folder, attempt=2, outdir=str(folder.parent))
    model.wait_for("finished", count=3)
    assert [event["state"] for event in model.told("finished")] == ["refused"] * 3
    assert not (outside / "ran").exists()
    assert not (folder / "ran").exists()


def test_a_folder_that_appears_late_is_run(model: Any) -> None:
    folder = model.data / "workflows" / "PEcAn_7" / "run" / "1"
    worker = model.worker(PECAN_FOLDER_SECONDS="8")
    model.publish(folder)
    time.sleep(0.6)
    assert model.told("finished") == []
    assert model.run("true") == folder
    assert model.finished(folder)["state"] == "succeeded"
    assert worker.lines("disconnected") == []


def test_a_folder_that_never_appears_has_failed(model: Any) -> None:
    folder = model.data / "nowhere"
    model.worker(PECAN_FOLDER_SECONDS="0.4")
    model.publish(folder, outdir=str(model.data / "out"))
    event = model.finished(folder)
    assert (event["state"], event["reason"]) == ("failed", f"folder {folder} is not there")


def test_a_doubled_message_is_answered_from_the_result(model: Any) -> None:
    folder = model.run("true")
    model.worker()
    model.publish(folder)
    model.publish(folder)
    model.finished(folder, count=2)
    first, second = model.told("finished")
    assert starts(folder) == 1
    assert (second["state"], second["finished_at"]) == ("succeeded", first["finished_at"])


def test_a_success_answers_any_attempt(model: Any) -> None:
    folder = model.run("true")
    model.worker()
    model.publish(folder)
    model.finished(folder)
    model.publish(folder, attempt=2)
    assert model.finished(folder, attempt=2)["state"] == "succeeded"
    assert starts(folder) == 1


def test_a_new_attempt_begins_with_what_was_there_at_first(model: Any) -> None:
    folder = model.run('[ ! -e "$OUT/sub/part" ] || exit 65\nmkdir -p "$OUT/sub"\ntouch "$OUT/sub/part"\n[ -e again ]')
    out = model.outdir(folder)
    (out / "README.txt").write_text("from the preparation")
    model.worker()
    model.publish(folder)
    assert model.finished(folder)["exit_code"] == 1
    (folder / "again").touch()
    model.publish(folder, attempt=2)
    event = model.finished(folder, attempt=2)
    assert (event["state"], starts(folder)) == ("succeeded", 2)
    assert sorted(path.name for path in out.iterdir()) == ["README.txt", "sub"]


def test_an_attempt_that_was_overtaken_is_refused(model: Any) -> None:
    folder = model.run("exit 1")
    model.worker()
    model.publish(folder, attempt=2)
    model.finished(folder, attempt=2)
    model.publish(folder, attempt=1)
    event = model.finished(folder, attempt=1)
    assert (event["state"], starts(folder)) == ("refused", 1)


def test_a_message_with_a_folder_only_is_a_new_run_each_time(model: Any) -> None:
    folder = model.run('[ ! -e "$OUT/sipnet.out" ] || exit 4\ntouch "$OUT/sipnet.out"')
    (model.outdir(folder) / "sipnet.out").touch()
    (folder / "rabbitmq.out").write_text("b''\nERROR\n")
    model.worker()
    for count in (1, 2):
        model.publish_body(json.dumps({"folder": str(folder), "workflowid": "7"}).encode())
        event = model.finished(folder, attempt=0, count=count)
        assert (event["state"], event["workflow"], event["run"]) == ("succeeded", None, None)
        assert starts(folder) == count
        assert answer(folder) == ("b''", "OK")
    model.wait_for("finished", count=2)


def test_two_messages_for_one_folder_are_two_runs(model: Any) -> None:
    folder = model.run("true")
    for _ in range(2):
        model.publish_body(json.dumps({"folder": str(folder)}).encode())
    model.worker()
    model.finished(folder, attempt=0, count=2)
    assert starts(folder) == 2
    model.wait_for_ready_messages(0)


@pytest.fixture
def small_group(model: Any) -> Iterator[Path]:
    """A memory cgroup of 96 MiB, which is gone with the processes in it."""
    group = Path("/sys/fs/cgroup/memory") / str(model.queue)
    try:
        subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=True)
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(96 << 20))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs root and a memory cgroup of version 1")
    yield group
    for worker in model.workers:
        worker.end()
    deadline = time.monotonic() + 5
    while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    group.rmdir()


def test_what_the_kernel_kills_for_want_of_memory_is_told_as_such(model: Any, small_group: Path) -> None:
    enter = f'echo $$ > {small_group}/cgroup.procs && mount --bind {small_group} /sys/fs/cgroup/memory && exec "$@"'
    model.worker(prefix=("unshare", "--mount", "sh", "-c", enter, "sh"))
    eats, killed = model.run("exec tail /dev/zero", run="1"), model.run("kill -9 $$", run="2")
    model.publish(eats)
    event = model.finished(eats)
    assert (event["state"], event["exit_code"]) == ("failed", 137)
    assert event["reason"] == "OOMKilled: the job needed more memory than the container may have (limit 96 MiB)"
    model.publish(killed)
    assert model.finished(killed)["reason"] == "job was killed by SIGKILL"


def test_zombies_of_a_job_are_reaped_by_process_1(model: Any, tmp_path: Path) -> None:
    probe = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("unshare needs root")
    first = model.run("for n in 1 2 3; do setsid sh -c 'sleep 0.2' & done\nsleep 0.5", run="1")
    count = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l > zombies"
    second = model.run(f"sleep 0.5\n{count}", run="2")
    worker = model.worker(prefix=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))
    model.publish(first)
    model.publish(second)
    assert model.finished(second)["state"] == "succeeded"
    assert (second / "zombies").read_text().strip() == "0"
    worker.end()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PECAN_RENEW_SECONDS": "soon"}, "PECAN_RENEW_SECONDS"),
        ({"PECAN_MODEL_INFO": "/nowhere/model.json"}, "/nowhere/model.json"),
        ({"RABBITMQ_URI": "http://user:secret@host"}, "RABBITMQ_URI"),
    ],
)
def test_unusable_settings_are_one_clear_line(model: Any, environment: dict[str, str], said: str) -> None:
    worker = Path(__file__).parents[2] / "model-images" / "base" / "worker.py"
    settings = {"PATH": os.environ["PATH"], "PECAN_MODEL_INFO": str(model.model_info), **environment}
    done = subprocess.run([sys.executable, str(worker)], env=settings, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr


def test_of_a_very_short_job_only_the_end_is_told(model: Any) -> None:
    short, longer = model.run("true", run="short"), model.run("sleep 0.5", run="longer")
    model.publish(short)
    model.publish(longer)
    model.worker(PECAN_TELL_SECONDS="0.25")
    told = model.finished(short)
    assert told["started_at"] <= told["finished_at"]  # type: ignore[operator]
    model.finished(longer)
    assert model.told("started", folder=str(short)) == []
    (began,) = model.told("started", folder=str(longer))
    assert began["started_at"] == model.told("finished", folder=str(longer))[0]["started_at"]
