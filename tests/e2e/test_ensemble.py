"""A small ensemble of DALEC on real weather, from `kubectl apply` to results, and what it leaves where."""

from __future__ import annotations

import json
import time
from datetime import date

import pytest
from support import example, wait
from workflow_support.manifests import Manifest
from workflow_support.site import Site

MEMBERS = 12
NAME = "loobos"
YEARLY = ("GPP", "NEE")


@pytest.fixture(scope="module")
def finished(site: Site) -> Manifest:
    """The workflow after its end, and how long it took, printed."""
    site.apply(example("demo/weather.yaml"))
    dalec = example("models/dalec.yaml")
    dalec["spec"]["scaling"] = {"maxReplicas": 3, "idleSeconds": 10}
    site.apply(dalec)
    site.wait_job("loobos-weather")
    wait(
        lambda: site.condition("dalec", "Ready", "PecanModel")["status"] == "True",
        30,
        lambda: site.status("dalec", "PecanModel"),
    )
    workflow = example("workflows/loobos-ensemble.yaml", name=NAME)
    workflow["spec"].update(start="1998-01-01", end="1998-12-31")
    workflow["spec"]["ensemble"]["size"] = MEMBERS
    begin = time.monotonic()
    site.apply(workflow)
    site.wait_finished(NAME)
    print(f"MEASURED {MEMBERS} members of DALEC from apply to Succeeded: {time.monotonic() - begin:.1f} s")
    return site.read("PecanWorkflow", NAME)


def test_status_says_what_happened(finished: Manifest) -> None:
    status = finished["status"]
    assert status["phase"] == "Succeeded"
    assert status["observedGeneration"] == finished["metadata"]["generation"]
    assert status["progress"] == f"{MEMBERS}/{MEMBERS}"
    assert status["runs"] == {
        **dict.fromkeys(("planned", "queued", "running", "failed", "cancelled"), 0),
        "total": MEMBERS,
        "succeeded": MEMBERS,
    }
    assert status["folder"] == f"/data/workflows/PEcAn_{status['workflowId']}"
    assert finished["metadata"]["creationTimestamp"] <= status["startedAt"] <= status["finishedAt"]
    assert status["conditions"][0]["type"] == "Ready"
    told = {condition["type"]: (condition["status"], condition["message"]) for condition in status["conditions"]}
    assert set(told) == {"Ready", "Accepted", "Prepared", "RunsFinished", "AllRunsSucceeded", "Analysed"}
    assert {status for status, _ in told.values()} == {"True"}
    assert told["AllRunsSucceeded"][1] == f"{MEMBERS}/{MEMBERS}"
    assert len(json.dumps(status)) < 16 * 1024


def test_results_are_a_forest(finished: Manifest) -> None:
    results = finished["status"]["results"]
    assert (results["runs"], results["used"], results["omitted"]) == (MEMBERS, MEMBERS, 0)
    yearly = {row["variable"]: row for row in results["yearly"]}
    assert set(yearly) == set(YEARLY)
    gpp, nee = yearly["GPP"], yearly["NEE"]
    assert (gpp["year"], gpp["site"], gpp["n"], gpp["units"]) == (1998, "NL-Loo", MEMBERS, "g C m-2 yr-1")
    assert 500 < gpp["mean"] < 2000
    assert -1000 < nee["mean"] < 500
    for row in (gpp, nee):
        assert row["q2.5"] < row["q50"] < row["q97.5"]
        assert row["sd"] > 0
    assert any("not calibrated" in caveat for caveat in results["caveats"])


def test_files_are_those_of_pecan(site: Site, finished: Manifest) -> None:
    folder = finished["status"]["folder"]
    files = set(site.sh(f"cd {folder} && find . -type f").splitlines())
    run_ids = site.sh(f"cat {folder}/run/runs.txt").split()
    assert len(set(run_ids)) == MEMBERS
    expected = {"./pecan.xml", "./pecan.CHECKED.xml", "./pecan.CONFIGS.xml", "./STATUS", "./provenance.json"}
    for run_id in run_ids:
        expected |= {f"./run/{run_id}/{name}" for name in ("config.json", "job.sh", "README.txt", "rabbitmq.out")}
        expected |= {f"./out/{run_id}/{name}" for name in ("1998.nc", "1998.nc.var", "logfile.txt")}
    assert expected <= files, sorted(expected - files)
    assert not [name for name in files if name.endswith((".pecan-claim", ".part"))]
    for variable in YEARLY:
        for suffix in (".csv", ".nc", ".pdf", ".png"):
            of_variable = [name for name in files if variable in name and name.endswith(suffix)]
            assert of_variable, f"no {suffix} of {variable}: {sorted(files)}"
    answers = site.sh(f"tail -q -n 1 {folder}/run/*/rabbitmq.out").split()
    assert answers == ["OK"] * MEMBERS
    config = json.loads(site.sh(f"cat {folder}/run/{run_ids[0]}/config.json"))
    assert (config["schema"], config["run_id"]) == ("pecan-run/1", run_ids[0])


def test_stages_are_those_of_pecan(site: Site, finished: Manifest) -> None:
    lines = [line.split("\t") for line in site.sh(f"cat {finished['status']['folder']}/STATUS").splitlines()]
    assert [line[0] for line in lines] == ["TRAIT", "CONFIG", "MODEL", "OUTPUT", "ENSEMBLE", "FINISHED"]
    assert {line[3] for line in lines} == {"DONE"}
    assert all(line[1] <= line[2] for line in lines)


def test_provenance_names_what_made_the_results(site: Site, finished: Manifest) -> None:
    folder = finished["status"]["folder"]
    told = json.loads(site.sh(f"cat {folder}/provenance.json"))
    assert told["pecan.xml"]["sha256"] == site.sh(f"sha256sum {folder}/pecan.xml").split()[0]
    assert told["seed"] == finished["status"]["seed"]
    assert (told["model"]["type"], told["model"]["revision"]) == ("DALEC", "ev")
    assert told["operator"]["version"] == told["executor"]["version"]
    assert told["executor"]["digests"], told


def test_no_password_is_on_the_data_volume(site: Site, finished: Manifest) -> None:
    assert "password" not in site.sh(f"cat {finished['status']['folder']}/pecan.xml").lower()


def test_bety_has_the_workflow_and_its_runs(site: Site, finished: Manifest) -> None:
    workflow_id = finished["status"]["workflowId"]
    (workflow,) = site.query(f"SELECT * FROM workflows WHERE id = {workflow_id}")
    assert workflow["folder"] == finished["status"]["folder"]
    assert workflow["hostname"] == "docker"
    assert workflow["site_id"] is not None
    assert workflow["started_at"] <= workflow["finished_at"]
    assert (workflow["start_date"][:10], workflow["end_date"][:10]) == ("1998-01-01", "1998-12-31")
    runs = site.query(
        "SELECT runs.*, ensembles.runtype, sites.sitename FROM runs JOIN ensembles ON ensembles.id = ensemble_id"
        f" JOIN sites ON sites.id = runs.site_id WHERE workflow_id = {workflow_id}"
    )
    assert len(runs) == MEMBERS
    assert {(run["runtype"], run["sitename"]) for run in runs} == {("ensemble", "Loobos")}
    assert all(run["started_at"] <= run["finished_at"] for run in runs)
    assert all(date.fromisoformat(run["start_time"][:10]) == date(1998, 1, 1) for run in runs)
    (model,) = site.query(
        "SELECT model_name, revision, modeltypes.name AS type FROM models"
        f" JOIN modeltypes ON modeltypes.id = modeltype_id WHERE models.id = {workflow['model_id']}"
    )
    assert (model["type"], model["revision"]) == ("DALEC", "ev")
    # Of several models with one binary on a machine BETY lets one, the first, have the row.
    binaries = site.query(
        "SELECT container_type FROM dbfiles JOIN machines ON machines.id = machine_id"
        " WHERE hostname = 'docker' AND file_path = '/work' AND file_name = 'run'"
    )
    assert binaries == [{"container_type": "Model"}]


def test_each_run_was_executed_once(site: Site, finished: Manifest) -> None:
    runs = site.runs(finished["status"]["workflowId"])
    assert [run.state for run in runs] == ["succeeded"] * MEMBERS
    assert [run.attempt for run in runs] == [1] * MEMBERS
    assert sorted(run.member for run in runs) == list(range(1, MEMBERS + 1))


def test_workers_leave_when_there_is_no_work(site: Site, finished: Manifest) -> None:
    # After two bursts in a row idle workers stay four times idleSeconds; then their pods end.
    seconds = wait(lambda: not site.workers("dalec"), 60, lambda: site.status("dalec", "PecanModel"))
    print(f"MEASURED no worker pod {seconds:.1f} s after the tests before (idleSeconds 10)")
    wait(
        lambda: site.status("dalec", "PecanModel").get("phase") == "Idle",
        10,
        lambda: site.status("dalec", "PecanModel"),
    )
