"""prepare: run folders, BETY's rows and the plan; killed and repeated, the same."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pecan_executor import prepare as prepare_module
from pecan_executor.files import WorkflowFolder
from pecan_executor.folder import make_folder
from pecan_executor.plan import read_plan
from pecan_executor.prepare import prepare
from pecan_executor.register import register
from pecan_executor.sampling import draw_members
from pecan_operator.core.pecanxml import Input, SensitivityAnalysis, Settings, Site, render
from pecan_operator.errors import UserError

SCHEMA = json.loads((Path(__file__).parents[3] / "model-images" / "base" / "pecan-run-1.schema.json").read_text())
NORTH = Site("north", "Loobos", 52.17, 5.74)


def tree(folder: WorkflowFolder) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder.path)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.path.rglob("*")
        if path.is_file()
    }


def test_writes_what_a_run_needs(settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
    plans = prepare(settings, folder, bety)
    assert [plan.member for plan in plans] == [1, 2, 3, 4]
    first = plans[0]
    assert first.expect == ["1999.nc", "2000.nc"]
    assert (first.run_id, first.bety_run_id, first.outdir) == ("9000", 9000, str(folder.out / "9000"))
    assert Path(first.outdir).is_dir()
    config = json.loads((Path(first.folder) / "config.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(config)
    assert config["pfts"][0]["traits"] == draw_members(settings)[0].traits["conifer"]
    assert config["inputs"]["met"] == {"path": str(folder.data / "met" / "Loobos"), "format": "cf"}
    assert folder.run_list.read_text().split() == ["9000", "9001", "9002", "9003"]
    assert read_plan(folder) == plans
    readme = dict(line.split(": ", 1) for line in (Path(first.folder) / "README.txt").read_text().splitlines())
    assert {key.strip(): value for key, value in readme.items()} | {"rundir": "", "outdir": ""} == {
        "runtype": "ensemble",
        "workflow id": "99000000001",
        "ensemble id": "50",
        "run": "1/4",
        "run id": "9000",
        "pft names": "conifer",
        "model": "DALEC",
        "model id": "99000000002",
        "site": "Loobos",
        "site  id": "NL-Loo",
        "met data": str(folder.data / "met" / "Loobos"),
        "start date": "1999-12-01",
        "end date": "2000-12-31",
        "hostname": "docker",
        "rundir": "",
        "outdir": "",
    }


def test_job_runs_the_models_command_with_the_run_folder(
    settings: Settings, folder: WorkflowFolder, bety: Any, tmp_path: Path
) -> None:
    command = tmp_path / "the model"
    command.write_text('#!/bin/sh\necho "$# $1"\nexit 7\n')
    command.chmod(0o755)
    (plan, *_) = prepare(replace(settings, model=replace(settings.model, binary=str(command))), folder, bety)
    done = subprocess.run(["./job.sh"], cwd=plan.folder, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (f"1 {plan.folder}\n", 7)


def test_samples_are_kept_as_a_table(settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
    prepare(settings, folder, bety)
    with (folder.path / "ensemble.samples.50.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    drawn = [member.traits["conifer"]["SLA"] for member in draw_members(settings)]
    assert [float(row["conifer.SLA"]) for row in rows] == drawn
    assert {row["seed"] for row in rows} == {"7"}


def test_every_site_gets_every_member_also_two_of_one_name_and_place(
    settings: Settings, folder: WorkflowFolder, bety: Any
) -> None:
    plans = prepare(replace(settings, sites=(*settings.sites, NORTH)), folder, bety)
    assert [(plan.member, plan.site_id) for plan in plans[:3]] == [(1, "NL-Loo"), (1, "north"), (2, "NL-Loo")]
    assert len(bety.site_ids) == 1
    assert bety.parameter_lists[:3] == ["ensemble=1,site=NL-Loo", "ensemble=1,site=north", "ensemble=2,site=NL-Loo"]
    assert len({plan.run_id for plan in plans}) == 8
    configs = [json.loads((Path(plan.folder) / "config.json").read_text()) for plan in plans[:2]]
    assert configs[0]["pfts"] == configs[1]["pfts"], "a member has the same parameters at every site"


def test_parameter_lists_are_those_of_pecan(settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
    elsewhere = replace(NORTH, name="North", lat=55.0)
    both = replace(settings, sensitivity_analysis=SensitivityAnalysis(("GPP",), sigma=(-1.0, 0.0)))
    prepare(replace(both, sites=(*settings.sites, elsewhere)), folder, bety)
    of_analysis, of_ensemble = bety.parameter_lists[:4], bety.parameter_lists[4:]
    assert of_analysis == ["quantile=MEDIAN,trait=all,pft=conifer"] * 2 + ["quantile=15.866,trait=SLA,pft=conifer"] * 2
    assert of_ensemble == [f"ensemble={member}" for member in (1, 2, 3, 4) for _ in range(2)]


def test_a_workflow_of_one_site_has_it_in_bety(settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
    prepare(settings, folder, bety)
    assert bety.places == {settings.workflow_id: 700}


def test_a_workflow_of_many_sites_has_none_in_bety(settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
    prepare(replace(settings, sites=(*settings.sites, NORTH)), folder, bety)
    assert bety.places == {}


@pytest.mark.parametrize("writes", [1, 3, 7])
def test_killed_half_way_and_repeated_it_is_the_same(
    settings: Settings, folder: WorkflowFolder, bety: Any, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    calls = 0
    original = prepare_module.write_run

    def killed(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > writes:
            raise KeyboardInterrupt
        original(*args)

    both = replace(settings, sites=(*settings.sites, NORTH))
    monkeypatch.setattr(prepare_module, "write_run", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(both, folder, bety)
    assert not folder.plan.exists()
    monkeypatch.undo()
    plans = prepare(both, folder, bety)
    whole = tree(folder)
    assert len(bety.run_ids) == 8
    assert prepare(both, folder, bety) == plans
    assert tree(folder) == whole


def test_a_repeat_does_not_touch_files_that_a_worker_may_be_reading(
    settings: Settings, folder: WorkflowFolder, bety: Any
) -> None:
    (plan, *_) = prepare(settings, folder, bety)
    files = [Path(plan.folder) / name for name in ("config.json", "job.sh", "README.txt")]
    before = [file.stat().st_ino for file in files]
    prepare(settings, folder, bety)
    assert [file.stat().st_ino for file in files] == before


def test_preparing_costs_as_much_as_there_are_runs(settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
    """A ratio within one run: four times the runs take far less than sixteen times the time."""

    def seconds(size: int) -> float:
        start = time.process_time()
        prepare(replace(settings, ensemble=replace(settings.ensemble, size=size)), folder, bety)
        return time.process_time() - start

    seconds(1)
    few, many = seconds(75), seconds(300)
    print(f"MEASURED {300 / many:.0f} runs prepared in a second of processor time")
    assert many < 10 * few


def test_missing_input_is_named(settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
    met = folder.data / "met"
    with pytest.raises(
        UserError, match=r"inputs\.met: .*/nothing does not exist, neither as a file nor as nothing\.<year>"
    ):
        prepare(replace(settings, inputs={"met": Input((str(met / "nothing"),))}), folder, bety)
    (met / "Loobos.2000.nc").unlink()
    with pytest.raises(UserError, match=r"Loobos\.2000\.nc does not exist, but the run needs that year"):
        prepare(settings, folder, bety)
    assert not bety.run_ids


def test_register_hands_on_the_plan(settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
    plans = prepare(settings, folder, bety)
    given: list[Any] = []

    class Ledger:
        def register_runs(self, workflow_id: int, runs: Any) -> int:
            given.append((workflow_id, runs))
            return len(runs)

    assert register(1, folder, Ledger()) == 4
    assert given == [(1, plans)]


class TestFolder:
    @pytest.fixture
    def source(self, settings: Settings, tmp_path: Path) -> Path:
        path = tmp_path / "pecan.xml"
        path.write_text(render(settings))
        return path

    def test_is_writable_by_its_group_and_hands_it_on(
        self, settings: Settings, folder: WorkflowFolder, source: Path
    ) -> None:
        before = os.umask(0o002)
        try:
            make_folder(folder, source, settings.workflow_id, "uid-1")
            make_folder(folder, source, settings.workflow_id, "uid-1")
        finally:
            os.umask(before)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder.path, folder.run, folder.out)}
        assert modes == {folder.path.name: 0o2775, "run": 0o2775, "out": 0o2775}
        assert folder.settings.read_text() == source.read_text()

    def test_of_another_workflow_is_refused(self, settings: Settings, folder: WorkflowFolder, source: Path) -> None:
        make_folder(folder, source, settings.workflow_id, "uid-1")
        with pytest.raises(UserError, match="belongs to another PecanWorkflow \\(uid uid-1\\)"):
            make_folder(folder, source, settings.workflow_id, "uid-2")

    def test_settings_of_another_workflow_are_refused(
        self, settings: Settings, folder: WorkflowFolder, source: Path
    ) -> None:
        with pytest.raises(UserError, match="workflow/id is 99000000001, this workflow is 5"):
            make_folder(folder, source, 5, "uid-1")
        assert not folder.path.exists()
