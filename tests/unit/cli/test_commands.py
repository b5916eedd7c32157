"""Every command, with what goes right and what goes wrong, and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_fakes import Clock, FakeApi, Run, condition, model, platform, workflow
from objects import workflow_object
from typer.testing import CliRunner

from kubectl_pecan import app as shared
from kubectl_pecan.commands import results as results_module
from kubectl_pecan.commands import workflows
from kubectl_pecan.errors import EXIT_CODES, CliError, ExitCode
from kubectl_pecan.main import app

XML = "<pecan><model><type>DALEC</type></model></pecan>"
FOLDER = "/data/workflows/PEcAn_99000000001"
YEARLY = {
    "site": "NL-Loo",
    "variable": "GPP",
    "units": "g C m-2 yr-1",
    "year": 1998,
    "n": 12,
    "mean": 1239.714,
    "sd": 92.05,
    "q2.5": 1007.94,
    "q50": None,
    "q97.5": 1.34179,
}
RESULTS = {"runs": 12, "used": 11, "omitted": 3, "caveats": ["Not the site's weather."], "yearly": [YEARLY]}

NAMES = {  # every command with arguments that do for it
    "submit": ("loobos.yaml",),
    "watch": ("loobos",),
    "cancel": ("loobos",),
    "retry": ("loobos",),
    "suspend": ("loobos",),
    "resume": ("loobos",),
    "logs": ("99000000007",),
    "results": ("loobos",),
    "plot": ("loobos",),
    "render": ("loobos",),
    "ls": (),
    "upload": ("loobos.yaml", "--to", "met"),
    "models": (),
    "platform": (),
}
FIRST_ASKED = {
    "submit": ("create", "PecanWorkflow"),
    "resume": ("patch", "PecanWorkflow"),
    "logs": ("list", "PecanWorkflow"),
    "ls": ("list", "PecanPlatform"),
    "upload": ("list", "PecanPlatform"),
    "models": ("list", "PecanModel"),
    "platform": ("list", "PecanPlatform"),
}


@pytest.fixture(autouse=True)
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A right manifest in the working directory."""
    monkeypatch.chdir(tmp_path)
    made = workflow_object("loobos")
    made["metadata"] = {"name": "loobos"}
    path = tmp_path / "loobos.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def running(done: int = 40, **more: Any) -> dict[str, Any]:
    counts = {"succeeded": done, "running": 4, "planned": 100 - 4 - done}
    return workflow("loobos", "Running", f"{done} succeeded of 100", counts, startedAt="2026-05-01T08:00:00Z", **more)


def ended(phase: str = "Succeeded", **more: Any) -> dict[str, Any]:
    return workflow(
        "loobos",
        phase,
        "12 of 12 runs succeeded",
        {"succeeded": 12},
        **{"folder": FOLDER, "startedAt": "2026-05-01T08:00:00Z", "finishedAt": "2026-05-01T08:01:00Z", **more},
    )


# all commands


def commands() -> set[str]:
    return {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}


def test_all_commands_are_here() -> None:
    assert commands() == set(NAMES)


@pytest.mark.parametrize("name", [*NAMES, "met from-csv", "met check"])
def test_help_has_an_example(run: Run, name: str) -> None:
    said = run(*name.split(), "--help")
    assert said.code == 0
    assert f"Example:\n    kubectl pecan {name}" in said.out
    for option in ("-o, --output", *(() if name.startswith("met") else ("-n, --namespace", "--context"))):
        assert option in said.out


@pytest.mark.parametrize("name", NAMES)
def test_forbidden(run: Run, api: FakeApi, name: str) -> None:
    asked = FIRST_ASKED.get(name, ("get", "PecanWorkflow"))
    api.refused[asked] = 403
    said = run(name, *NAMES[name])
    assert said.code == ExitCode.FORBIDDEN
    assert said.err.startswith(f"error: you may not {asked[0]} {asked[1]}")
    assert "in namespace forest" in said.err


@pytest.mark.parametrize("name", NAMES)
def test_no_cluster(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/config")
    said = run(name, *NAMES[name])
    assert said.code == ExitCode.UNAVAILABLE
    assert "no cluster is configured" in said.err


@pytest.mark.parametrize("name", sorted(name for name, given in NAMES.items() if given == ("loobos",)))
def test_no_such_workflow(run: Run, api: FakeApi, name: str) -> None:
    said = run(name, *NAMES[name])
    assert (said.code, said.err) == (
        ExitCode.NOT_FOUND,
        "error: there is no PecanWorkflow loobos in namespace forest\n",
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_of_ours_is_a_line(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no\nidea")

    monkeypatch.setattr(shared, "connect", fail)
    said = run(name, *NAMES[name])
    assert (said.code, said.err) == (1, "error: unexpected RuntimeError: no idea. PECAN_DEBUG=1 shows where\n")
    monkeypatch.setenv("PECAN_DEBUG", "1")
    assert isinstance(CliRunner().invoke(app, [name, *NAMES[name]]).exception, RuntimeError)


def test_ctrl_c(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shared, "connect", interrupt)
    assert run("models").code == ExitCode.INTERRUPTED


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_text("no")
    with subprocess.Popen(
        [sys.executable, "-c", "from kubectl_pecan.main import main; main()", "met", "check", "a.nc", "-o", "json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_wrong_usage(run: Run) -> None:
    assert run("watch").code == ExitCode.USAGE
    assert run("wacth").code == ExitCode.USAGE
    assert run("watch", "loobos", "-o", "yaml").code == ExitCode.USAGE


def test_every_exit_code_is_explained() -> None:
    assert set(EXIT_CODES) == set(ExitCode)


def test_the_namespace_is_the_users(run: Run, api: FakeApi) -> None:
    assert "namespace sea has no PecanModel" in run("models", "-n", "sea").err


# submit


def test_submit_a_manifest(run: Run, api: FakeApi) -> None:
    said = run("submit", "loobos.yaml")
    assert (said.code, said.out) == (0, "PecanWorkflow loobos is made in namespace forest\n")
    assert api.created[0]["metadata"] == {"name": "loobos"}
    said = run("submit", "loobos.yaml")
    assert said.code == ExitCode.INVALID
    assert "exists already" in said.err
    assert run("submit", "loobos.yaml", "--name", "again", "-o", "json").json()["metadata"]["name"] == "again"


def test_submit_takes_the_file_as_kubectl_does(run: Run, api: FakeApi) -> None:
    assert run("submit", "-f", "loobos.yaml").code == 0
    assert run("submit", "--filename", "loobos.yaml", "--name", "again").code == 0
    assert [each["metadata"]["name"] for each in api.created] == ["loobos", "again"]
    for wrong in ((), ("loobos.yaml", "-f", "loobos.yaml")):
        done = CliRunner().invoke(app, ["submit", *wrong])
        assert done.exit_code == ExitCode.USAGE
        assert "give one FILE" in done.stderr


def test_version(run: Run) -> None:
    said = run("--version")
    assert said.code == 0
    assert said.out == f"kubectl pecan {metadata.version('pecan-operator')}\n"


def test_submit_dry_run_makes_nothing(run: Run, api: FakeApi) -> None:
    assert "would be made" in run("submit", "loobos.yaml", "--dry-run", "--watch").out
    assert not api.created


def test_submit_a_pecan_xml(run: Run, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "pecan.xml").write_text(XML)
    assert "no PecanModel is for <model> DALEC" in run("submit", "pecan.xml").err
    api.objects.append(model("dalec", "Idle", "no work"))
    assert run("submit", "pecan.xml", "--name", "demo").code == 0
    assert api.created[0]["spec"] == {"modelRef": {"name": "dalec"}, "pecanXml": {"inline": XML}}
    assert run("submit", "pecan.xml", "--name", "other", "--model", "sipnet").code == 0
    assert api.created[1]["spec"]["modelRef"] == {"name": "sipnet"}
    assert run("submit", "pecan.xml", "--name", "third", "--base-dir", "/data/met").code == 0
    assert api.created[2]["spec"]["pecanXml"] == {"inline": XML, "baseDir": "/data/met"}
    said = run("submit", "pecan.xml", "--name", "fourth", "--base-dir", "met")
    assert (said.code, len(api.created)) == (ExitCode.INVALID, 3)
    assert "spec.pecanXml.baseDir: must be /data or a folder under it" in said.err


def test_no_password_is_sent(run: Run, api: FakeApi, tmp_path: Path) -> None:
    api.objects.append(model("dalec", "Idle", "no work"))
    secret = (
        "<pecan><!-- <password>s3cret</password> --><model><type>DALEC</type></model>"
        "<database><bety><user>bety</user><password>s3cret</password></bety></database>"
        "<host><name>localhost</name><rabbitmq><uri>amqp://guest:s3cret@rabbitmq/%2F</uri></rabbitmq></host></pecan>"
    )
    (tmp_path / "pecan.xml").write_text(secret)
    done = CliRunner().invoke(app, ["submit", "pecan.xml", "-o", "json"])
    assert done.exit_code == 0
    assert "s3cret" not in done.output
    assert done.stderr == "note: left out of what is sent: database/bety/password, host/rabbitmq/uri\n"
    inline = api.created[0]["spec"]["pecanXml"]["inline"]
    assert "s3cret" not in inline
    assert "<user>bety</user>" in inline
    assert json.loads(done.stdout)["spec"]["pecanXml"]["inline"] == inline
    assert (tmp_path / "pecan.xml").read_text() == secret


@pytest.mark.parametrize(
    ("content", "options", "code", "says"),
    [
        ("kind: Pod\napiVersion: v1\n", (), ExitCode.INVALID, "use `kubectl apply` for other kinds"),
        ("<pecan", (), ExitCode.INVALID, "is not XML"),
        (None, ("--model", "x"), ExitCode.USAGE, "--model is for a pecan.xml"),
        (None, ("--base-dir", "/data/x"), ExitCode.USAGE, "--base-dir is for a pecan.xml"),
        ("\x00", (), ExitCode.INVALID, "wrong.yaml"),
    ],
)
def test_submit_a_wrong_file(
    run: Run, api: FakeApi, tmp_path: Path, content: str | None, options: tuple[str, ...], code: int, says: str
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text((tmp_path / "loobos.yaml").read_text() if content is None else content)
    done = CliRunner().invoke(app, ["submit", str(file), *options])
    assert done.exit_code == code
    assert says in done.stderr
    assert not api.created


def test_submit_into_another_namespace_is_refused(run: Run, api: FakeApi, manifest: Path) -> None:
    made = yaml.safe_load(manifest.read_text())
    made["metadata"]["namespace"] = "sea"
    manifest.write_text(yaml.safe_dump(made))
    assert "is for namespace sea" in run("submit", "loobos.yaml").err
    assert run("submit", "loobos.yaml", "-n", "sea").code == 0


def test_submit_and_watch(run: Run, api: FakeApi, clock: Clock) -> None:
    api.looks["loobos"] = [running(), ended()]
    said = run("submit", "loobos.yaml", "--watch")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == ["PecanWorkflow", "Running", "Succeeded"]


# watch


def test_watch_prints_what_has_changed(run: Run, api: FakeApi, clock: Clock) -> None:
    api.objects.append(model("dalec", "Ready", "", {"readyReplicas": 4, "busyWorkers": 3}))
    api.looks["loobos"] = [running(40), running(40), running(60), ended()]
    said = run("watch", "loobos")
    assert said.code == 0
    assert said.out.splitlines() == [
        "Running  40/100  40 succeeded of 100",
        "Running  60/100  60 succeeded of 100, 10 runs/s, 0:00:04 left",
        "Succeeded  12/12  12 of 12 runs succeeded",
    ]


def test_watch_in_a_pipe_says_nothing_of_workers_alone(run: Run, api: FakeApi, clock: Clock) -> None:
    busy = model("dalec", "Ready", "", {"readyReplicas": 4})
    other = model("dalec", "Ready", "", {"readyReplicas": 5})
    api.looks["dalec"] = [busy, other, other]
    api.looks["loobos"] = [running(40), running(40), ended()]
    assert len(run("watch", "loobos").out.splitlines()) == 2
    api.looks["dalec"] = [busy, other, other]
    api.looks["loobos"] = [running(40), running(40), ended()]
    assert len(run("watch", "loobos", "-o", "json").out.splitlines()) == 3


def test_watch_json(run: Run, api: FakeApi, clock: Clock) -> None:
    api.objects.append(model("dalec", "Ready", "", {"readyReplicas": 4}))
    api.looks["loobos"] = [running(40), running(60), ended()]
    first, second, last = (json.loads(line) for line in run("watch", "loobos", "-o", "json").out.splitlines())
    assert (first["runsPerSecond"], first["secondsLeft"], first["workers"]) == (None, None, 4)
    assert (second["runsPerSecond"], second["secondsLeft"]) == (20, 2)
    assert last["phase"] == "Succeeded"


@pytest.mark.parametrize("phase", ["Failed", "Cancelled"])
def test_watch_tells_a_bad_end_by_its_code(run: Run, api: FakeApi, clock: Clock, phase: str) -> None:
    api.looks["loobos"] = [ended(phase)]
    said = run("watch", "loobos")
    assert said.code == ExitCode.NOT_SUCCEEDED
    assert f"PecanWorkflow loobos is {phase}: 12 of 12" in said.err


def test_watch_waits_for_a_cluster_that_is_away(run: Run, api: FakeApi, clock: Clock) -> None:
    away = CliError(ExitCode.UNAVAILABLE, "the cluster does not answer")
    api.looks["loobos"] = [running(), *[away] * 30, ended()]
    assert run("watch", "loobos").code == 0
    api.looks["loobos"] = [running(), *[away] * 100]
    assert run("watch", "loobos").code == ExitCode.UNAVAILABLE
    assert clock.now < 1200


def test_watch_on_a_terminal(api: FakeApi, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    made = Console(force_terminal=True, width=90, color_system=None, record=True)
    monkeypatch.setattr(shared, "console", lambda: made)
    api.objects.append(model("dalec", "Ready", "", {"readyReplicas": 4, "busyWorkers": 3}, scaling={"maxReplicas": 8}))
    api.looks["loobos"] = [running(40), running(60), ended()]
    assert CliRunner().invoke(app, ["watch", "loobos"]).exit_code == 0
    text = made.export_text()
    assert "60/100 finished" in text
    assert "20 runs/s" in text
    assert "4 of at most 8, 3 busy" in text


def test_watch_on_a_terminal_that_can_only_write_lines(
    api: FakeApi, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    monkeypatch.setenv("TERM", "dumb")
    made = Console(force_terminal=True, width=90, color_system=None, record=True)
    monkeypatch.setattr(shared, "console", lambda: made)
    api.looks["loobos"] = [running(40), running(60), ended()]
    assert CliRunner().invoke(app, ["watch", "loobos"]).exit_code == 0
    assert [line.split()[0] for line in made.export_text().splitlines()] == ["Running", "Running", "Succeeded"]


# cancel, retry, suspend, resume


@pytest.mark.parametrize(
    ("command", "spec"),
    [
        (("cancel",), {"cancel": True}),
        (("suspend",), {"suspend": True}),
        (("resume",), {"suspend": False}),
        (("retry",), {"retryGeneration": 1}),
        (("retry", "--max-attempts", "5"), {"retryGeneration": 1, "retry": {"maxAttempts": 5}}),
    ],
)
def test_changes(run: Run, api: FakeApi, command: tuple[str, ...], spec: dict[str, Any]) -> None:
    found = running()
    api.objects.append(found)
    before = dict(found["spec"])
    said = run(command[0], "loobos", *command[1:])
    assert said.code == 0
    assert "loobos" in said.out
    assert found["spec"] == {**before, **spec}
    assert run(command[0], "loobos", "-o", "json").json()["kind"] == "PecanWorkflow"


def test_retry_raises_the_generation(run: Run, api: FakeApi) -> None:
    found = ended("Failed", spec={"retryGeneration": 2})
    api.objects.append(found)
    assert "retryGeneration 3" in run("retry", "loobos").out
    assert found["spec"]["retryGeneration"] == 3


@pytest.mark.parametrize("command", ["cancel", "suspend"])
def test_what_has_ended_cannot_be_stopped(run: Run, api: FakeApi, command: str) -> None:
    api.objects.append(ended())
    said = run(command, "loobos")
    assert said.code == ExitCode.INVALID
    assert "has ended (Succeeded)" in said.err


def test_a_workflow_without_failed_runs_is_not_retried(run: Run, api: FakeApi) -> None:
    found = ended("Succeeded")
    api.objects.append(found)
    said = run("retry", "loobos")
    assert said.code == ExitCode.INVALID
    assert "no run of it has failed" in said.err
    assert "retryGeneration" not in found["spec"]
    found["status"]["runs"] = {"total": 12, "succeeded": 11, "failed": 1}
    assert run("retry", "loobos").code == 0


def test_a_cancelled_workflow_is_not_retried(run: Run, api: FakeApi) -> None:
    api.objects.append(ended("Cancelled", spec={"cancel": True}))
    assert run("retry", "loobos").code == ExitCode.INVALID


def test_a_right_to_look_is_none_to_change(run: Run, api: FakeApi) -> None:
    api.objects.append(running())
    api.refused["patch", "PecanWorkflow"] = 403
    for command in ("cancel", "retry", "suspend", "resume"):
        assert run(command, "loobos").code == ExitCode.FORBIDDEN


# logs


@pytest.fixture
def folder(data: Path) -> Path:
    """The workflow's folder, with results and runs."""
    made = data / "workflows" / "PEcAn_99000000001"
    for name, content in {
        "run/99000000007/job.log": "one line\n",
        "run/99000000007/.pecan-result.json": "{}",
        "run/99000000008/config.json": "{}",
        "out/99000000007/1998.nc": "netcdf",
        "ensemble.analysis.99000000001.GPP.1998.1998.png": "a picture of GPP",
        "ensemble.analysis.99000000001.GPP.1998.1998.pdf": "pages of GPP",
        "ensemble.analysis.99000000001.NEE.1998.1998.png": "a picture of NEE",
        "ensemble.members.99000000001.csv": "run,site\n",
        "pft/conifer/sensitivity.analysis.99000000002.GPP.1998.1998.png": "curves of GPP",
        "pecan.xml": "<pecan/>\n",
        ".hidden": "",
    }.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(content)
    return made


def test_logs(run: Run, api: FakeApi, folder: Path) -> None:
    api.objects += [ended(), workflow("new", "Pending", "waits")]
    assert run("logs", "99000000007").out == "one line\n"
    assert run("logs", "99000000007", "-w", "loobos", "-o", "json").json() == {
        "run": "99000000007",
        "file": f"{FOLDER}/run/99000000007/job.log",
        "log": "one line\n",
    }
    assert not api.pods_left()


def test_logs_that_are_followed(
    run: Run, api: FakeApi, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.objects.append(running(folder=FOLDER))
    log, result = (folder / "run/99000000007" / name for name in ("job.log", ".pecan-result.json"))
    result.unlink()

    def sleep(_seconds: float) -> None:
        with log.open("a") as file:
            file.write("another\n")
        result.write_text('{"state": "succeeded"}')

    monkeypatch.setattr(clock, "sleep", sleep)
    assert run("logs", "99000000007", "--follow").out == "one line\nanother\n"


def test_logs_are_followed_into_the_next_attempt(
    run: Run, api: FakeApi, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.objects.append(running(folder=FOLDER))
    log, result = (folder / "run/99000000007" / name for name in ("job.log", ".pecan-result.json"))
    result.write_text('{"state": "failed"}')
    steps = [
        lambda: (result.unlink(), log.write_text("again\n")),
        lambda: result.write_text('{"state": "succeeded"}'),
        lambda: None,
    ]
    monkeypatch.setattr(clock, "sleep", lambda _: steps.pop(0)())
    assert run("logs", "99000000007", "--follow").out == "one line\nagain\n"


@pytest.mark.parametrize("left", [None, "{}", "no JSON", "[]", '{"state": "failed"}'])
def test_following_ends_with_the_workflow(run: Run, api: FakeApi, folder: Path, clock: Clock, left: str | None) -> None:
    result = folder / "run/99000000007/.pecan-result.json"
    result.unlink() if left is None else result.write_text(left)
    api.objects.append(running(folder=FOLDER))
    api.looks["loobos"] = [running(folder=FOLDER), running(folder=FOLDER), ended("Failed")]
    assert run("logs", "99000000007", "--follow", "-w", "loobos").out == "one line\n"
    assert not api.looks["loobos"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("99",), ExitCode.NOT_FOUND, "has a run 99"),
        (("../x",), ExitCode.INVALID, "is not the id of a run"),
        (("..",), ExitCode.INVALID, "is not the id of a run"),
        (("99000000008",), ExitCode.NOT_READY, "no worker has begun"),
        (("99000000007", "-w", "sea"), ExitCode.NOT_FOUND, "no PecanWorkflow sea"),
        (("99000000007", "-f", "-o", "json"), ExitCode.USAGE, "exclude each other"),
    ],
)
def test_wrong_logs(
    run: Run, api: FakeApi, folder: Path, arguments: tuple[str, ...], code: ExitCode, says: str
) -> None:
    api.objects.append(ended())
    done = CliRunner().invoke(app, ["logs", *arguments])
    assert (done.exit_code, says in done.stderr) == (code, True)
    assert not api.pods_left()


def test_logs_of_a_run_that_several_workflows_have(run: Run, api: FakeApi, folder: Path, data: Path) -> None:
    (data / "workflows" / "PEcAn_2" / "run" / "99000000007").mkdir(parents=True)
    other = ended(folder="/data/workflows/PEcAn_2")
    other["metadata"]["name"] = "other"
    api.objects += [ended(), other]
    assert "choose one with -w: loobos, other" in run("logs", "99000000007").err


# results, plot, render


def test_results(run: Run, api: FakeApi) -> None:
    api.objects.append(ended(results=RESULTS))
    said = run("results", "loobos")
    header, row, *notes = said.out.splitlines()
    assert header.split() == ["SITE", "VARIABLE", "YEAR", "N", "MEAN", "SD", "Q2.5", "Q50", "Q97.5", "UNITS"]
    assert " ".join(row.split()) == "NL-Loo GPP 1998 12 1239.71 92.05 1007.94 - 1.342 g C m-2 yr-1"
    assert notes[0] == "11 of 12 runs are in these numbers"
    assert "3 more rows" in notes[1]
    assert notes[2] == "Not the site's weather."
    # The numbers are in the status: no pod is needed.
    assert not api.created
    assert run("results", "loobos", "-o", "json").json() == {"results": RESULTS, "files": []}


def test_results_of_a_sensitivity_analysis_alone(run: Run, api: FakeApi) -> None:
    analysis = {"ensembleId": "99000000002", "runs": 13, "used": 12, "traits": 2, "traitsLeftOut": 1}
    api.objects.append(
        ended(results={"sensitivityAnalysis": analysis, "runs": 13, "used": 12, "caveats": [], "yearly": []})
    )
    assert run("results", "loobos").out.splitlines() == [
        "12 of 13 runs are in these numbers",
        "1 of 2 traits of the sensitivity analysis are analysed; their numbers are in the CSV files: copy them with --to",
    ]


def test_results_are_copied(run: Run, api: FakeApi, folder: Path, tmp_path: Path) -> None:
    api.objects.append(ended(results=RESULTS))
    first = run("results", "loobos", "--to", "here", "-o", "json").json()["files"]
    assert sorted(path.name for path in (tmp_path / "here").rglob("*") if path.is_file()) == sorted(
        path.name
        for path in (*folder.iterdir(), *(folder / "pft").rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    )
    assert {each["action"] for each in first} == {"copied"}
    (tmp_path / "here" / "pecan.xml").write_text("edited")
    said = run("results", "loobos", "--to", "here")
    assert (said.code, "here/pecan.xml exists and is another file" in said.err) == (ExitCode.INVALID, True)
    assert (tmp_path / "here" / "pecan.xml").read_text() == "edited"
    again = run("results", "loobos", "--to", "here", "--replace", "-o", "json").json()["files"]
    assert [each["file"] for each in again if each["action"] != "there already"] == ["here/pecan.xml"]
    assert "replaced" not in run("results", "loobos", "--to", "here").out
    deep = run("results", "loobos", "--to", "all", "--all", "-o", "json").json()["files"]
    assert "all/out/99000000007/1998.nc" in [each["file"] for each in deep]
    assert not api.pods_left()


def test_a_copy_that_breaks_goes_on(run: Run, api: FakeApi, folder: Path, tmp_path: Path) -> None:
    (folder / "ensemble.ts.nc").write_bytes(bytes(2_000_000))
    api.objects.append(ended(results=RESULTS))
    api.bytes_left = 1_000_000
    assert run("results", "loobos", "--to", "here").code == ExitCode.UNAVAILABLE
    assert not api.pods_left()
    api.bytes_left = None
    files = run("results", "loobos", "--to", "here", "-o", "json").json()["files"]
    assert "resumed" in {each["action"] for each in files}
    assert (tmp_path / "here" / "ensemble.ts.nc").stat().st_size == 2_000_000


@pytest.mark.parametrize("command", ["results", "plot"])
def test_results_that_are_not_there_yet(run: Run, api: FakeApi, command: str) -> None:
    api.objects.append(running())
    said = run(command, "loobos")
    assert said.code == ExitCode.NOT_READY
    assert "has no results (Running): 40 succeeded of 100" in said.err


@pytest.mark.parametrize("command", ["results", "plot"])
@pytest.mark.parametrize("phase", ["Failed", "Cancelled"])
def test_results_that_never_come(run: Run, api: FakeApi, command: str, phase: str) -> None:
    api.objects.append(ended(phase))
    said = run(command, "loobos")
    assert said.code == ExitCode.NOT_SUCCEEDED
    assert f"has no results ({phase}): 12 of 12" in said.err


def test_a_folder_here_that_cannot_be_written(run: Run, api: FakeApi, folder: Path, tmp_path: Path) -> None:
    api.objects.append(ended(results=RESULTS))
    (tmp_path / "here").write_text("a file, and no folder")
    said = run("results", "loobos", "--to", "here")
    assert said.code == ExitCode.UNAVAILABLE
    assert "here" in said.err


def test_runs_can_be_copied_without_results(run: Run, api: FakeApi, folder: Path) -> None:
    assert run("results", "loobos", "--all").code == ExitCode.USAGE
    api.objects.append(ended("Failed"))
    assert run("results", "loobos", "--all", "--to", "all").code == 0


def test_plot(run: Run, api: FakeApi, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(results_module.typer, "launch", opened.append)
    api.objects.append(ended(results=RESULTS))
    files = run("plot", "loobos", "--to", "here", "-o", "json").json()
    assert sorted(each["file"] for each in files) == [
        "here/ensemble.analysis.99000000001.GPP.1998.1998.png",
        "here/ensemble.analysis.99000000001.NEE.1998.1998.png",
        "here/pft/conifer/sensitivity.analysis.99000000002.GPP.1998.1998.png",
    ]
    (only,) = run("plot", "loobos", "--to", "pages", "--variable", "GPP", "--pdf", "-o", "json").json()
    assert only["file"].endswith("GPP.1998.1998.pdf")
    assert run("plot", "loobos", "--variable", "LAI").code == ExitCode.NOT_FOUND
    (tmp_path / only["file"]).write_text("mine")
    assert run("plot", "loobos", "--to", "pages", "--variable", "GPP", "--pdf").code == ExitCode.INVALID
    assert run("plot", "loobos", "--to", "pages", "--variable", "GPP", "--pdf", "--replace").code == 0
    assert (tmp_path / only["file"]).read_text() == "pages of GPP"
    assert not opened


def test_plot_on_a_terminal_opens_it(api: FakeApi, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    opened: list[str] = []
    monkeypatch.setattr(results_module.typer, "launch", opened.append)
    monkeypatch.setattr(shared, "console", lambda: Console(force_terminal=True))
    api.objects.append(ended(results=RESULTS))
    assert CliRunner().invoke(app, ["plot", "loobos", "--variable", "NEE", "--no-open"]).exit_code == 0
    assert not opened
    assert CliRunner().invoke(app, ["plot", "loobos", "--variable", "NEE"]).exit_code == 0
    assert opened == ["ensemble.analysis.99000000001.NEE.1998.1998.png"]


def test_a_workflow_of_hundreds_of_files_does_not_flood_the_terminal(
    run: Run, api: FakeApi, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    for number in range(300):
        (folder / f"ensemble.analysis.7.V{number:03}.1998.1998.png").write_text("png")
    api.objects.append(ended(results=RESULTS))
    said = run("results", "loobos", "--to", "here").out.splitlines()
    files = run("results", "loobos", "--to", "here", "-o", "json").json()["files"]
    assert len(files) > 300
    assert len(said) < 70
    assert f"and {len(files) - 50} more, which -o json names too; in all {len(files)} files of " in said[-1]
    assert said[-1].endswith(f": {len(files)} copied")
    opened: list[str] = []
    monkeypatch.setattr(results_module.typer, "launch", opened.append)
    monkeypatch.setattr(shared, "console", lambda: Console(force_terminal=True))
    assert CliRunner().invoke(app, ["plot", "loobos"]).exit_code == 0
    assert len(opened) == 10


def test_render(run: Run, api: FakeApi, folder: Path) -> None:
    api.objects += [ended(), workflow("new", "Pending", "waits for a platform")]
    assert run("render", "loobos").out == "<pecan/>\n"
    assert run("render", "loobos", "-o", "json").json()["xml"] == "<pecan/>\n"
    said = run("render", "new")
    assert said.code == ExitCode.NOT_READY
    assert "has no folder yet: waits for a platform" in said.err


def test_what_r_leaves_is_named_and_copied_but_for_its_passwords(
    run: Run, api: FakeApi, folder: Path, tmp_path: Path
) -> None:
    secret = "<pecan><database><bety><password>s3cret</password></bety></database></pecan>"
    of_pda = ("pecan.pda99000000012.xml", "pecan.pda99000000012_site.772.xml", "history.pda99000000012.Rdata")
    for name in (
        *("pecan.xml", "pecan.CONFIGS.xml", "workflow.Rout", "workflow.R", "ensemble.output.7.Rdata"),
        *of_pda,
    ):
        (folder / name).write_text(secret)
    found = {"framework": "pecan", "runs": 2, "used": 1, "caveats": ["elsewhere"], "files": ["a.pdf"], "yearly": []}
    row = {"variable": "NPP", "startYear": 1999, "endYear": 2000, "n": 2, "mean": 3.0, "sd": None}
    row |= {"q2.5": 1.075, "q50": 3.0, "q97.5": 4.925}
    api.objects.append(ended(results={**found, "omitted": 3, "ensemble": [row]}))
    header, numbers, *notes = run("results", "loobos").out.splitlines()
    assert header.split() == ["VARIABLE", "YEARS", "N", "MEAN", "SD", "Q2.5", "Q50", "Q97.5"]
    assert numbers.split() == ["NPP", "1999-2000", "2", "3", "-", "1.075", "3", "4.925"]
    assert notes == [
        "1 of 2 runs succeeded", "a.pdf", "3 more files are there: copy them with --to", "elsewhere",
    ]  # fmt: skip
    run("results", "loobos", "--to", "here")
    assert {"workflow.R", "ensemble.output.7.Rdata"} <= {path.name for path in (tmp_path / "here").iterdir()}
    assert not [name for name in ("pecan*.xml", "*.Rout", "history*") if list((tmp_path / "here").glob(name))]
    said = run("render", "loobos").out
    assert "<password" in said
    assert "s3cret" not in said


# ls, upload


def test_ls(run: Run, api: FakeApi, folder: Path) -> None:
    lines = run("ls", "workflows/PEcAn_99000000001").out.splitlines()
    assert lines[0].split() == ["SIZE", "MODIFIED", "NAME"]
    assert "run/" in [line.split()[-1] for line in lines]
    entries = run("ls", FOLDER + "/pecan.xml", "-o", "json").json()
    assert [(each["name"], each["type"], each["size"]) for each in entries] == [("pecan.xml", "file", 9)]
    assert run("ls", "nowhere").code == ExitCode.NOT_FOUND
    assert run("ls", "/etc").code == ExitCode.INVALID
    assert not api.pods_left()


def test_names_that_are_not_utf_8(run: Run, api: FakeApi, data: Path) -> None:
    (data / "met").mkdir()
    Path(os.fsdecode(bytes(data / "met") + b"/caf\xe9.nc")).touch()
    assert run("ls", "met").out.splitlines()[1].endswith(" caf\ufffd.nc")
    (entry,) = run("ls", "met", "-o", "json").json()
    assert entry["name"] == os.fsdecode(b"caf\xe9.nc")


def test_without_a_platform_nothing_can_be_listed(run: Run, api: FakeApi) -> None:
    api.objects = [platform("Pending")]
    assert run("ls").code == ExitCode.NOT_READY
    api.objects = []
    assert run("ls").code == ExitCode.NOT_FOUND


def test_upload(run: Run, api: FakeApi, data: Path, tmp_path: Path) -> None:
    (tmp_path / "met").mkdir()
    (tmp_path / "met" / "a.1998.nc").write_bytes(bytes(300_000))
    said = run("upload", "met", "loobos.yaml", "--to", "my", "-o", "json")
    assert [(each["file"], each["action"]) for each in said.json()] == [
        ("/data/my/met/a.1998.nc", "copied"),
        ("/data/my/loobos.yaml", "copied"),
    ]
    assert (data / "my/met/a.1998.nc").read_bytes() == bytes(300_000)
    assert "there already" in run("upload", "met", "--to", "/data/my").out
    (tmp_path / "loobos.yaml").write_text("another")
    assert run("upload", "loobos.yaml", "--to", "my").code == ExitCode.INVALID
    assert "replaced" in run("upload", "loobos.yaml", "--to", "my", "--replace").out
    assert not api.pods_left()


def test_a_volume_that_cannot_be_written(run: Run, api: FakeApi, data: Path) -> None:
    (data / "my").write_text("a file, and no folder")
    said = run("upload", "loobos.yaml", "--to", "my")
    assert said.code == ExitCode.INVALID
    assert "/data/my" in said.err


@pytest.mark.parametrize("asked", [("create", "Job"), ("list", "Job"), ("list", "Pod")])
def test_rights_that_files_need(run: Run, api: FakeApi, asked: tuple[str, str]) -> None:
    api.refused[asked] = 403
    assert run("ls").code == ExitCode.FORBIDDEN
    assert not api.pods_left()


# models, platform


def test_models(run: Run, api: FakeApi) -> None:
    assert run("models").code == ExitCode.NOT_FOUND
    assert run("models", "-o", "json").json() == []
    api.objects += [
        model("wofost", "Degraded", "image cannot be pulled"),
        model("dalec", "Ready", "4 workers", {"readyReplicas": 4, "busyWorkers": 3, "outstanding": 57}),
    ]
    lines = [line.rstrip() for line in run("models").out.splitlines()]
    assert lines[1].split() == ["dalec", "DALEC_ev", "Ready", "4", "3", "-", "57", "4", "workers"]
    assert lines[2].endswith("image cannot be pulled")


def test_platform_says_what_is_not_up_and_why(run: Run, api: FakeApi) -> None:
    api.objects = [
        platform(
            "Degraded",
            condition("Ready", "False", "PostgresNotReady", "postgres is not ready"),
            condition("PostgresReady", "False", "ImagePullBackOff", "the image cannot be pulled"),
            condition("RabbitMQReady", "True", "Ready", "ready"),
        )
    ]
    lines = [line.split() for line in run("platform").out.splitlines()]
    assert lines[0] == ["pecan", "Degraded", "data", "in", "claim", "pecan-data"]
    assert lines[3] == ["Postgres", "False", "ImagePullBackOff", "the", "image", "cannot", "be", "pulled"]
    assert lines[4][:2] == ["RabbitMQ", "True"]
    api.objects = [platform("Pending")]
    assert "has not looked at it yet" in run("platform").out
    api.objects = []
    assert run("platform").code == ExitCode.NOT_FOUND
    assert run("platform", "-o", "json").json() == []


def test_patience_is_bounded() -> None:
    assert workflows.PATIENCE_SECONDS == 60
