"""prerun and postrun of a pecan.xml: refused or run as the platform says, and what they do in a run's job.sh."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
import yaml

from pecan_executor.files import WorkflowFolder
from pecan_executor.prepare import prepare
from pecan_executor.settings import parse
from pecan_executor.usersettings import read_user_settings
from pecan_operator.core import rsettings
from pecan_operator.core.nodes import NODES, Verdict
from pecan_operator.core.pecanxml import POSTRUN, PRERUN, Model, Settings, render
from pecan_operator.core.userxml import MOST_CODE, Ours
from pecan_operator.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
GOOD = yaml.safe_load((ROOT / "examples/workflows/loobos-pecanxml.yaml").read_text())["spec"]["pecanXml"]["inline"]
OURS = Ours(1, "/data/workflows/PEcAn_1", "docker", "DALEC_ev", Model(2, "DALEC", "ev", "/work/run"), "/data/met")
ALLOWED = replace(OURS, user_code=True)
PLACES = (*PRERUN, *POSTRUN)
PRIORS = re.compile("<priors>.*?</priors>", re.DOTALL)
ADOPT: dict[str, Callable[[str, Ours], object]] = {
    "light": read_user_settings,
    "pecan": lambda text, ours: rsettings.adopt(PRIORS.sub("", text), ours),
}
CODE = "export A='1'\nif [ 1 -lt 2 ] && [ 2 '>' 1 ]; then\n\techo \"$A\"\nfi"


def with_code(place: str, content: str) -> str:
    parent, tag = place.split("/")
    before, end, after = GOOD.rpartition(f"</{parent}>")
    return f"{before}<{tag}>{content}</{tag}>{end}{after}"


def test_the_table_has_these_nodes() -> None:
    assert {node.path for node in NODES if node.verdict is Verdict.CODE} == set(PLACES)


@pytest.mark.parametrize("framework", ADOPT)
@pytest.mark.parametrize("place", PLACES)
def test_code_is_refused_unless_the_platform_runs_it(place: str, framework: str) -> None:
    with pytest.raises(UserError, match=rf"line \d+: {place} is not supported: .* spec\.userCode of the PecanPlatform"):
        ADOPT[framework](with_code(place, escape(CODE)), OURS)
    ADOPT[framework](with_code(place, escape(CODE)), ALLOWED)


@pytest.mark.parametrize("framework", ADOPT)
@pytest.mark.parametrize("ours", [OURS, ALLOWED])
@pytest.mark.parametrize("place", ["model/job.sh", "model/jobtemplate"])
def test_another_job_is_refused_by_every_platform(place: str, ours: Ours, framework: str) -> None:
    with pytest.raises(UserError, match=f"{place} is not supported: "):
        ADOPT[framework](with_code(place, "module load x"), ours)


@pytest.mark.parametrize("place", PLACES)
def test_code_comes_through_the_file_that_is_run_as_it_was(place: str) -> None:
    settings = read_user_settings(with_code(place, escape(CODE)), ALLOWED).settings
    assert settings.code == {place: CODE}
    assert parse(render(settings)) == settings
    assert read_user_settings(render(settings), ALLOWED).settings.code == {place: CODE}


@pytest.mark.parametrize("place", PLACES)
def test_an_empty_node_is_no_code(place: str) -> None:
    assert read_user_settings(with_code(place, " \n "), ALLOWED).settings.code == {}


@pytest.mark.parametrize("framework", ADOPT)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<cmd>module load x</cmd>", "model/prerun holds nodes, but must be lines of shell"),
        ("x" * (MOST_CODE + 1), "has more than 16384 characters: put it into a script on the data volume"),
        ("a&#13;b", "holds a control character"),
    ],
    ids=["nodes", "long", "control"],
)
def test_what_is_no_code_is_refused(content: str, message: str, framework: str) -> None:
    with pytest.raises(UserError, match=message):
        ADOPT[framework](with_code("model/prerun", content), ALLOWED)


def test_code_is_not_given_twice() -> None:
    twice = with_code("model/prerun", "a").replace("<prerun>", "<prerun>b</prerun><prerun>")
    with pytest.raises(UserError, match="model/prerun is given 2 times"):
        read_user_settings(twice, ALLOWED)


# --- job.sh -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[("./job.sh",), ("bash", "--posix", "job.sh")], ids=["sh", "bash"])
def job(
    settings: Settings, folder: WorkflowFolder, bety: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[..., tuple[int, str, str]]:
    """Runs job.sh of a run with a model that ends with an exit code: exit code, output, errors. A model's image may have
    bash for its sh."""
    model = tmp_path / "the model"
    model.write_text('#!/bin/sh\necho "model ${A-unset}"\nexit "$(cat "$0.exit")"\n')
    model.chmod(0o755)

    def run(code: dict[str, str], exit_code: int = 0) -> tuple[int, str, str]:
        model.with_name("the model.exit").write_text(str(exit_code))
        given = replace(settings, model=replace(settings.model, binary=str(model)), code=code)
        plan = prepare(given, folder, bety)[0]
        done = subprocess.run(request.param, cwd=plan.folder, capture_output=True, text=True, check=False)
        names = {plan.folder: "RUNDIR", plan.outdir: "OUTDIR"}
        out = done.stdout
        for path, name in names.items():
            out = out.replace(path, name)
        return done.returncode, out, done.stderr

    return run


Job = Callable[..., tuple[int, str, str]]


def said_by_the_model(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("model ")]


def test_without_code_job_is_the_models_command(settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
    plan = prepare(settings, folder, bety)[0]
    assert (Path(plan.folder) / "job.sh").read_text() == f"#!/bin/sh\nexec /work/run {plan.folder}\n"


def test_code_runs_around_the_model_in_pecans_order_in_one_shell_in_the_runs_folder(job: Job) -> None:
    code = {
        "host/postrun": 'echo "host/postrun $A"',
        "model/postrun": "echo model/postrun @OUTDIR@",
        "host/prerun": "echo host/prerun $A; A=2",
        "model/prerun": "echo model/prerun @RUNDIR@ $(pwd)\nexport A=1",
    }
    said = "model/prerun RUNDIR RUNDIR\nhost/prerun 1\nmodel 2\nmodel/postrun OUTDIR\nhost/postrun 2\n"
    assert job(code) == (0, said, "")


@pytest.mark.parametrize("place", PRERUN)
@pytest.mark.parametrize(
    ("lines", "exit_code"),
    [
        ("false\ntrue", 1),
        ("cat /no/such/file", 1),
        ("no-such-command", 127),
        ("exit 65", 65),
        ("exit 0", 1),
        ("cat <<END\nwithout an end", 1),
    ],
)
def test_a_prerun_that_fails_ends_the_run_before_the_model(job: Job, place: str, lines: str, exit_code: int) -> None:
    ended, out, errors = job({place: lines, "model/postrun": "echo postrun"})
    assert ended == exit_code
    assert not said_by_the_model(out)
    assert "postrun" not in out.splitlines()
    assert errors.splitlines()[-1].startswith(f"{place} of pecan.xml ended the job with exit code ")


@pytest.mark.parametrize("lines", ["if true", "echo 'half a text", ")"])
def test_what_is_no_shell_fails_the_run_before_the_model(job: Job, lines: str) -> None:
    ended, out, errors = job({"model/prerun": lines})
    assert ended != 0
    assert not said_by_the_model(out)
    assert errors


@pytest.mark.parametrize("exit_code", [1, 3, 65, 127])
@pytest.mark.parametrize("code", [{}, {"model/prerun": "A=1"}, dict.fromkeys(PLACES, "echo code")])
def test_the_exit_code_is_that_of_a_model_that_fails(job: Job, code: dict[str, str], exit_code: int) -> None:
    ended, out, errors = job(code, exit_code)
    assert (ended, errors) == (exit_code, "")
    assert said_by_the_model(out) == out.splitlines()[-1:]


@pytest.mark.parametrize("place", POSTRUN)
def test_a_postrun_that_fails_fails_the_run(job: Job, place: str) -> None:
    said = f"{place} of pecan.xml ended the job with exit code 4\n"
    assert job({place: "(exit 4)\necho never"}) == (4, "model unset\n", said)


def test_a_postrun_may_end_the_job_well(job: Job) -> None:
    assert job({"model/postrun": "echo done\nexit 0\n"})[:2] == (0, "model unset\ndone\n")


def test_a_prerun_that_has_come_to_its_end_is_not_blamed_for_the_model(job: Job) -> None:
    assert job({"model/prerun": "set -e\ntrue && false || true", "model/postrun": "true"}, 9)[::2] == (9, "")
