"""PEcAn's R as the framework: the shell around it, which models it is for, and what another try may spare."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from objects import model_object

from pecan_operator.api.base import Resources
from pecan_operator.api.model import PecanModel
from pecan_operator.core import rframework
from pecan_operator.core.rframework import RExecutor
from pecan_operator.errors import UserError

PASSWORD, BROKER = "s3cretOfBety", "s3cretOfTheBroker"

# R as a shell script: notes how it was called, and does what the test says.
FAKE_R = """#!/bin/sh
printf '%s\\n' "$*" > called
[ -e .RData ] && echo 'workspace restored' >> called
[ -n "$PECAN_SETTINGS" ] && echo 'PECAN_SETTINGS set' >> called
umask >> called
{
cat ../said
} > "$5"
cp ../status STATUS 2>/dev/null
exit "$(cat ../code)"
"""


class R:
    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "workflow"
        self.folder.mkdir()
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / "R"
        program.write_text(FAKE_R)
        program.chmod(0o755)
        (tmp_path / "workflow.R").write_text("# the image's own\n")
        self._above = tmp_path

    def run(
        self, code: int = 0, said: str = "", status: str | None = None, passed: tuple[str, str] = rframework.PREPARE
    ) -> subprocess.CompletedProcess[str]:
        (self._above / "said").write_text(said)
        (self._above / "code").write_text(str(code))
        if status is not None:
            (self._above / "status").write_text(status)
        script = rframework.SCRIPT.replace("/work/workflow.R", str(self._above / "workflow.R"))
        return subprocess.run(
            ["sh", "-c", script, "framework", *passed],
            cwd=self.folder,
            env={
                "PATH": f"{self._above / 'bin'}:{os.environ['PATH']}",
                "PGPASSWORD": PASSWORD,
                "RABBITMQ_URI": f"amqp://pecan:{BROKER}@broker:5672/pecan",
                "PECAN_SETTINGS": "/somewhere/pecan.xml",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def called(self) -> list[str]:
        return (self.folder / "called").read_text().splitlines()


@pytest.fixture
def r(tmp_path: Path) -> R:
    return R(tmp_path)


# --- the shell --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passed", "arguments"),
    [
        (rframework.PREPARE, "CMD BATCH --advanced workflow.R workflow.Rout"),
        (rframework.ANALYSE, "CMD BATCH --continue workflow.R workflow2.Rout"),
    ],
)
def test_r_is_called_as_pecan_does_without_workspace_or_pecan_settings(
    r: R, passed: tuple[str, str], arguments: str
) -> None:
    (r.folder / ".RData").touch()
    (r.folder / "workflow.R").write_text("# of an earlier image")
    done = r.run(passed=passed)
    assert (done.returncode, done.stderr) == (0, "")
    assert r.called == [arguments, "0007"]
    assert (r.folder / "workflow.R").read_text() == "# the image's own\n"


def test_a_workflow_that_is_prepared_is_not_begun_anew(r: R) -> None:
    (r.folder / "run").mkdir()
    (r.folder / "run" / "plan.jsonl").touch()
    assert r.run(code=1).returncode == 0
    assert not (r.folder / "called").exists()
    r.run(passed=rframework.ANALYSE)
    assert r.called[0].startswith("CMD BATCH --continue"), "the analysis is always done"


def test_an_image_without_workflow_says_so(r: R, tmp_path: Path) -> None:
    (tmp_path / "workflow.R").unlink()
    done = r.run()
    assert done.returncode == 1
    assert "workflow.R" in done.stderr


LOG = """
> settings <- prepare.settings(settings)
2026-06-01 12:00:00.1 INFO   [f] : fine
2026-06-01 12:00:01.2 ERROR  [f] : earlier
"""


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (LOG + "2026-06-01 12:00:02.3 SEVERE [run.write.configs] : no binary \nCalls: a\n",
         "2026-06-01 12:00:02.3 SEVERE [run.write.configs] : no binary"),
        # what is longer than 20 characters, PEcAn's logger wraps
        (LOG + "2026-06-01 12:00:02.3 SEVERE [check] : \n   The model is not\n   registered here \nCalls: a\n",
         "2026-06-01 12:00:02.3 SEVERE [check] : The model is not registered here"),
        (LOG, "2026-06-01 12:00:01.2 ERROR [f] : earlier"),
        ("> x\nError in f(x) : object 'x' not found\nExecution halted\n", "Error in f(x) : object 'x' not found"),
        ("Killed\n", "there is no ERROR or SEVERE line in workflow.Rout"),
        ("", "there is no ERROR or SEVERE line in workflow.Rout"),
        (f"1 ERROR [db] : {PASSWORD} and {BROKER}, {PASSWORD}\n", "1 ERROR [db] : *** and ***, ***"),
        ("x ERRORS are none\n", "there is no ERROR or SEVERE line in workflow.Rout"),
    ],
)  # fmt: skip
def test_r_that_fails_is_quoted_without_passwords(r: R, said: str, expected: str) -> None:
    done = r.run(code=1, said=said, status="TRAIT\t1\t2\tDONE\t\nCONFIG\t3\t4\tERROR\t\n")
    assert done.returncode == 1
    assert " ".join(done.stderr.split()) == f"R failed in stage CONFIG: {expected}"


@pytest.mark.parametrize("before", range(1486, 1500, 4))
def test_what_is_cut_off_leaves_no_part_of_a_password(r: R, before: int) -> None:
    said = "1 ERROR [db] : "
    done = r.run(code=1, said=f"{said:x<{before}}{PASSWORD}\n", status="TRAIT\t1")
    assert PASSWORD[:2] not in done.stderr
    assert len(done.stderr) < 1600


def test_an_earlier_log_is_not_quoted(r: R) -> None:
    (r.folder / "workflow.Rout").write_text("1 ERROR [f] : of before")
    (r.folder.parent / "bin" / "R").write_text("#!/bin/sh\nexit 127\n")
    assert r.run().stderr == "R failed in input conversion: there is no ERROR or SEVERE line in workflow.Rout\n"


@pytest.mark.parametrize(
    ("status", "where"),
    [
        (None, "in input conversion"),
        ("\t2026-06-01 12:00:00\tERROR\t\n", "in input conversion"),
        ("TRAIT\t1", "in stage TRAIT"),
        ("TRAIT\t1\t2\tERROR\t\n", "in stage TRAIT"),
        ("TRAIT\t1\t2\tDONE\t\n", "after stage TRAIT"),
        # an error between two stages: a line of no stage
        ("TRAIT\t1\t2\tDONE\t\n\t3\tERROR\t\n", "after stage TRAIT"),
    ],
)
def test_where_r_failed_follows_from_status(r: R, status: str | None, where: str) -> None:
    assert r.run(code=1, status=status).stderr.startswith(f"R failed {where}: ")


@pytest.mark.parametrize("code", [1, 2, 137])
def test_the_exit_code_is_that_of_r(r: R, code: int) -> None:
    assert r.run(code=code).returncode == code


def test_on_sigterm_r_ends_with_the_shell(r: R, tmp_path: Path) -> None:
    (tmp_path / "bin" / "R").write_text("#!/bin/sh\ntouch began\nexec sleep 600\n")
    script = rframework.SCRIPT.replace("/work/workflow.R", str(tmp_path / "workflow.R"))
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    shell = subprocess.Popen(
        ["sh", "-c", script, "framework", *rframework.PREPARE], cwd=r.folder, env=environment, start_new_session=True
    )
    try:
        while not (r.folder / "began").exists():
            assert shell.poll() is None
        shell.send_signal(signal.SIGTERM)
        assert shell.wait(60) == 143
    finally:
        # in a container the end of process 1 does it
        os.killpg(shell.pid, signal.SIGKILL)


# --- which models -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("framework", "interface"), [("light", "run"), ("pecan", "pecan")])
def test_a_framework_writes_runs_for_models_of_its_interface(framework: str, interface: str) -> None:
    model = PecanModel.parse(model_object(interface=interface, binary="/usr/local/bin/sipnet.git"))
    rframework.check_fits(framework, "pecan", model)


@pytest.mark.parametrize(("framework", "interface"), [("light", "pecan"), ("pecan", "run")])
def test_a_mismatch_names_both_and_what_to_do(framework: str, interface: str) -> None:
    model = PecanModel.parse(model_object(interface=interface, binary="/usr/local/bin/sipnet.git"))
    with pytest.raises(UserError) as refused:
        rframework.check_fits(framework, "north", model)
    assert refused.value.reason == "FrameworkMismatch"
    said = refused.value.message
    assert f"PecanModel dalec has interface {interface}" in said
    assert f"the framework is {framework} (PecanPlatform north)" in said
    assert f"use a platform with framework {'light' if framework == 'pecan' else 'pecan'}" in said


# --- another try ------------------------------------------------------------------------------------------------------

JOB = {"metadata": {"name": "niwot-prepare", "uid": "job-1"}}


def failed_pod(*ended: tuple[str, int, str], created: str = "1", owner: str = "job-1") -> dict[str, Any]:
    names = ["folder", "stages", "framework"]
    return {
        "metadata": {"name": "p", "creationTimestamp": created, "ownerReferences": [{"uid": owner}]},
        "spec": {
            "initContainers": [
                {"name": name, "image": "i", **({"restartPolicy": "Always"} if name == "stages" else {})}
                for name in names
            ],
            "containers": [{"name": "register", "image": "i"}],
        },
        "status": {
            "phase": "Failed",
            "initContainerStatuses": [
                {"name": name, "state": {"terminated": {"exitCode": code, "reason": reason}}}
                for name, code, reason in ended
            ],
        },
    }


@pytest.mark.parametrize(
    ("pods", "lost"),
    [
        ([], True),
        ([failed_pod()], True),
        ([failed_pod(("framework", 1, "Error"))], False),
        ([failed_pod(("framework", 127, "Error"))], False),
        ([failed_pod(("framework", 137, "Error"))], True),
        ([failed_pod(("framework", 143, "Error"))], True),
        # of a node that was started anew
        ([failed_pod(("framework", 255, "Unknown"))], True),
        # R that crashed: SIGABRT, SIGSEGV
        ([failed_pod(("framework", 134, "Error"))], False),
        ([failed_pod(("framework", 139, "Error"))], False),
        ([failed_pod(("framework", 137, "OOMKilled"))], False),
        ([failed_pod(("folder", 65, "Error"))], False),
        ([failed_pod(("folder", 75, "Error"))], True),
        ([failed_pod(("folder", 74, "Error"))], True),
        ([failed_pod(("folder", 137, "OOMKilled"))], False),
        # the sidecar ends because the pod does
        ([failed_pod(("stages", 1, "Error"), ("framework", 137, "Error"))], True),
        ([failed_pod(("stages", 137, "OOMKilled"), ("framework", 1, "Error"))], False),
        # the last pod counts, and only this Job's
        ([failed_pod(("framework", 1, "Error"), created="2"), failed_pod(("framework", 137, "Error"))], False),
        ([failed_pod(("framework", 1, "Error"), owner="job-0")], True),
    ],
)
def test_what_was_killed_is_tried_again_and_what_r_said_is_final(pods: list[dict[str, Any]], lost: bool) -> None:
    assert rframework.is_lost(JOB, pods) is lost


def test_a_job_that_took_too_long_is_not_tried_again() -> None:
    late = {**JOB, "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}}
    assert not rframework.is_lost(late, [])
    assert not rframework.is_lost(late, [failed_pod(("framework", 143, "Error"))])


def test_r_gets_what_pecan_gives_its_executor_and_no_more() -> None:
    container = rframework.framework_container(
        rframework.PREPARE,
        "/data/workflows/PEcAn_1",
        RExecutor("pecan/executor:1", Resources(), "docker", "amqp"),
        "bety",
        "Always",
    )
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment == {
        "TZ": "UTC", "HOME": "/tmp", "FQDN": "docker", "RABBITMQ_URI": None, "RABBITMQ_PREFIX": "/",
        "RABBITMQ_PORT": "15672",
    }  # fmt: skip
    assert container["envFrom"] == [{"secretRef": {"name": "bety"}}]
    assert container["command"][:2] == ["sh", "-c"]
    assert container["command"][3:] == ["framework", "--advanced", "workflow.Rout"]
    assert container["workingDir"] == "/data/workflows/PEcAn_1"
