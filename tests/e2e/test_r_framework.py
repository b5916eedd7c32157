"""PEcAn's R framework in its three steps, by a stand-in of PEcAn's image that is strict about what it is given.

It leaves behind what R does, and runs no R: the documentation lists what has not been tried with the published image.
"""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from kubernetes.client.exceptions import ApiException
from support import API_VERSION, ROOT, example, wait
from workflow_support.fixtures import ready_site
from workflow_support.manifests import QUEUE, Manifest, journal_model, resource
from workflow_support.r_framework import (
    PFT,
    bety_rows,
    open_stage,
    r_model,
    r_platform,
    r_workflow,
    stage_at_work,
    wait_held,
)
from workflow_support.site import PLATFORM, Failed, Site, check_converged

MEMBERS = 4
COPIES = ("pecan.CHECKED.xml", "pecan.METProcess.xml", "pecan.TRAIT.xml", "pecan.CONFIGS.xml")
COMPONENTS = {"TRAIT": "prepare", "CONFIG": "prepare", "OUTPUT": "analyse"}
ERRORS = {
    ("severe", "CONFIG"): ("Prepared", "R failed in stage CONFIG", "SEVERE", "The stage CONFIG was told to fail"),
    ("severe", "CONVERSIONS"): ("Prepared", "R failed in input conversion", "The stage CONVERSIONS was told to fail"),
    ("stop", "TRAIT"): ("Prepared", "R failed in stage TRAIT", "subscript out of bounds"),
    ("severe", "ENSEMBLE"): ("Analysed", "R failed in stage ENSEMBLE", "The stage ENSEMBLE was told to fail"),
}
"""What R is told, and the condition and words by which its end is told."""
DEMO_2 = ROOT / "examples" / "pecanxml" / "sipnet-demo2.xml"


@pytest.fixture(scope="module")
def place(kubeconfig: Path, crds: None, make_namespace: Callable[[], str]) -> Site:
    """A namespace with framework pecan, the journal model as R's, and a PFT of it in BETY."""
    made = ready_site(kubeconfig, make_namespace, r_platform())
    made.execute(bety_rows("JOURNAL", PFT))
    made.apply(r_model())
    return made


@pytest.fixture(scope="module")
def posterior_id(place: Site) -> int:
    """The posterior that BETY has of the PFT."""
    query = "SELECT min(posteriors.id) AS id FROM posteriors JOIN pfts ON pfts.id = pft_id WHERE name = "
    (row,) = place.query(f"{query}'{PFT}'")
    return int(row["id"])


@pytest.fixture(scope="module", autouse=True)
def begun(place: Site, posterior_id: int) -> None:
    """The workflows that need not wait for each other."""
    place.apply(r_workflow("three-steps", MEMBERS))
    held = [("hold", stage) for stage in ("CONVERSIONS", *COMPONENTS)]
    place.apply(r_workflow("killed", 3, posterior_id=posterior_id, standin=held))
    for order in ERRORS:
        place.apply(r_workflow("-".join(order).lower(), 2, posterior_id=posterior_id, standin=[order]))


def passwords(place: Site) -> set[str]:
    return {place.secret(f"{PLATFORM}-bety")["PGPASSWORD"], place.secret(f"{PLATFORM}-amqp")["password"]}


def stages(place: Site, folder: str) -> list[str]:
    """The stages of STATUS, all of them done."""
    text = place.sh(f"cat {folder}/STATUS")
    lines = [line.split("\t") for line in text.splitlines()]
    assert text.endswith("\n")
    assert {tuple(line[3:]) for line in lines} == {("DONE", "")}, lines
    assert all(line[1] <= line[2] for line in lines)
    return [line[0] for line in lines]


@pytest.fixture(scope="module")
def finished(place: Site) -> Manifest:
    """The status of a workflow with a meta-analysis, after its end."""
    status = place.wait_finished("three-steps")
    assert status["phase"] == "Succeeded", status
    return status


def test_status_counts_the_runs_of_r(place: Site, finished: Manifest) -> None:
    assert (finished["progress"], finished["runs"]["succeeded"]) == (f"{MEMBERS}/{MEMBERS}", MEMBERS)
    told = {each["type"]: each for each in finished["conditions"]}
    assert told["Ready"]["message"] == f"{MEMBERS} of {MEMBERS} runs succeeded"
    assert told["Prepared"]["message"] == f"{MEMBERS} runs in {finished['folder']}/run"
    assert not [password for password in passwords(place) if password in json.dumps(finished)]


def test_results_are_r_s_numbers(finished: Manifest) -> None:
    """The test model writes 1e-8 times the number of the member."""
    (row,) = finished["results"]["ensemble"]
    assert (row["variable"], row["startYear"], row["endYear"], row["n"]) == ("GPP", 1998, 1998, MEMBERS)
    assert row["mean"] == pytest.approx(1e-8 * (1 + MEMBERS) / 2)
    assert (finished["results"]["used"], finished["results"]["caveats"]) == (MEMBERS, [])


def test_stages_are_in_r_s_order(place: Site, finished: Manifest) -> None:
    assert stages(place, finished["folder"]) == [
        *("TRAIT", "META", "CONFIG", "ADVANCED", "MODEL", "OUTPUT", "ENSEMBLE", "FINISHED")
    ]


def test_files_are_as_r_leaves_them(place: Site, finished: Manifest) -> None:
    folder = finished["folder"]
    files = set(place.sh(f"cd {folder} && find . -type f -o -type l").splitlines())
    run_ids = place.sh(f"cat {folder}/run/runs.txt").split()
    (row,) = place.query(f"SELECT id FROM ensembles WHERE workflow_id = {finished['workflowId']}")
    stem = f"{row['id']}.GPP.1998.1998"
    expected = {"./pecan.xml", "./STATUS", "./workflow.R", "./workflow.Rout", "./workflow2.Rout", "./samples.Rdata"}
    expected |= {f"./{copy}" for copy in COPIES}
    expected |= {f"./ensemble.output.{stem}.Rdata", f"./ensemble.analysis.{stem}.pdf", f"./pft/{PFT}/post.distns.Rdata"}
    for run_id in run_ids:
        expected |= {f"./run/{run_id}/{name}" for name in ("job.sh", "README.txt", "rabbitmq.out")}
        expected |= {f"./out/{run_id}/{name}" for name in ("1998.nc", "1998.nc.var", "logfile.txt", "README.txt")}
    assert expected <= files, sorted(expected - files)
    assert place.sh(f"tail -q -n 1 {folder}/run/*/rabbitmq.out").split() == ["OK"] * MEMBERS


def test_files_with_passwords_are_nobody_else_s(place: Site, finished: Manifest) -> None:
    folder = finished["folder"]
    held = [f"grep -lr -e {password} {folder} || true" for password in passwords(place)]
    files = sorted(set(place.sh(" ; ".join(held)).split()))
    assert f"{folder}/pecan.xml" in files
    modes = dict(line.split()[::-1] for line in place.sh(f"stat -c '%a %n' {' '.join(files)}").splitlines())
    assert modes[f"{folder}/pecan.xml"] == "640"
    assert {name for name, mode in modes.items() if not mode.endswith("0")} == set()


def test_bety_has_the_rows_that_r_writes(place: Site, finished: Manifest) -> None:
    workflow_id = finished["workflowId"]
    (workflow,) = place.query(f"SELECT * FROM workflows WHERE id = {workflow_id}")
    assert workflow["folder"] == finished["folder"]
    assert workflow["finished_at"] is not None
    rows = place.query(
        "SELECT runs.*, runtype, sitename FROM runs JOIN ensembles ON ensembles.id = ensemble_id"
        f" JOIN sites ON sites.id = runs.site_id WHERE workflow_id = {workflow_id} ORDER BY runs.id"
    )
    assert [row["parameter_list"] for row in rows] == [f"ensemble={member}" for member in range(1, MEMBERS + 1)]
    assert {(row["runtype"], row["sitename"]) for row in rows} == {("ensemble", "Loobos")}
    assert all(row["started_at"] <= row["finished_at"] for row in rows)
    found = place.query(
        "SELECT count(*) FROM posteriors_ensembles JOIN ensembles ON ensembles.id = ensemble_id"
        f" WHERE workflow_id = {workflow_id}"
    )
    assert found == [{"count": 1}]


def test_each_run_of_r_was_executed_once(place: Site, finished: Manifest) -> None:
    runs = place.runs(finished["workflowId"])
    assert [run.member for run in runs] == list(range(1, MEMBERS + 1))
    assert check_converged(runs, place.journal(finished["workflowId"]), "three steps of R") == 0


def pod_of(place: Site, name: str, component: str, other_than: str = "") -> str:
    """The pod of a workflow's Job, when there is one that is another."""

    def names() -> list[str]:
        found = place.pods(component, name, "PecanWorkflow")
        return [pod["metadata"]["name"] for pod in found if pod["metadata"]["name"] != other_than]

    wait(lambda: bool(names()), 60, lambda: place.status(name))
    return str(names()[0])


def check_as_without_a_kill(place: Site, name: str, members: int, what: str) -> None:
    """A workflow whose R did not come to its end at once has ended as one whose R did."""
    status = place.wait_finished(name)
    assert status["phase"] == "Succeeded", status
    workflow_id = status["workflowId"]
    runs = place.runs(workflow_id)
    assert check_converged(runs, place.journal(workflow_id), what) == 0
    assert [run.attempt for run in runs] == [1] * members
    found = place.query(
        "SELECT count(DISTINCT ensembles.id) AS ensembles, count(*) AS runs FROM runs JOIN ensembles"
        f" ON ensembles.id = ensemble_id WHERE workflow_id = {workflow_id}"
    )
    assert found == [{"ensembles": 1, "runs": members}]
    assert stages(place, status["folder"]) == [
        *("TRAIT", "CONFIG", "ADVANCED", "MODEL", "OUTPUT", "ENSEMBLE", "FINISHED")
    ]
    folders = place.sh(f"cd {status['folder']}/out && ls").split()
    assert sorted(folders) == sorted(run.run_id for run in runs)


def test_r_killed_in_each_of_its_passes_begins_anew(place: Site) -> None:
    workflow_id = place.workflow_id("killed")
    wait_held(place, workflow_id, "CONVERSIONS")
    wait_told(place, "killed", "Prepared", "input conversion")
    open_stage(place, workflow_id, "CONVERSIONS")
    for stage, component in COMPONENTS.items():
        wait_held(place, workflow_id, stage)
        assert stage_at_work(place, f"/data/workflows/PEcAn_{workflow_id}") == stage
        if stage == "TRAIT":
            wait_told(place, "killed", "Prepared", stage)
        killed = pod_of(place, "killed", component)
        place.kill_pod(killed)
        pod_of(place, "killed", component, other_than=killed)
        open_stage(place, workflow_id, stage)
    check_as_without_a_kill(place, "killed", 3, "R's pod killed in three stages")


def wait_told(place: Site, name: str, condition: str, words: str, seconds: float = 30.0) -> None:
    """The stage that R is in is looked up every 10 s."""

    def message() -> str:
        return str(place.condition(name, condition)["message"])

    wait(lambda: words in message(), seconds, message)


@pytest.mark.full
def test_the_operator_and_r_s_process_killed_in_each_stage_cost_nothing(place: Site, posterior_id: int) -> None:
    """R itself is killed by SIGKILL this time, and while nobody looks."""
    holds = [("hold", stage) for stage in COMPONENTS]
    place.apply(r_workflow("headless", 3, posterior_id=posterior_id, standin=holds))
    workflow_id = place.workflow_id("headless")
    for stage, component in COMPONENTS.items():
        wait_held(place, workflow_id, stage)
        pod = pod_of(place, "headless", component)
        operator = place.kill_operator()
        place.kill_process(pod, "/usr/local/bin/R", place.namespace)
        place.wait_operator(operator)
        pod_of(place, "headless", component, other_than=pod)
        open_stage(place, workflow_id, stage)
    check_as_without_a_kill(place, "headless", 3, "the operator and R killed in three stages")


@pytest.mark.full
def test_r_that_is_killed_time_and_again_ends_the_workflow(place: Site, posterior_id: int) -> None:
    place.apply(r_workflow("doomed", 2, posterior_id=posterior_id, standin=[("hold", "CONFIG")]))
    killed = ""

    def kill_another() -> bool:
        nonlocal killed
        for pod in place.pods("prepare", "doomed", "PecanWorkflow"):
            if pod["metadata"]["name"] != killed and not pod["metadata"].get("deletionTimestamp"):
                killed = pod["metadata"]["name"]
                with suppress(ApiException):
                    place.kill_pod(killed)
        return bool(place.status("doomed").get("finishedAt"))

    wait(kill_another, 240, lambda: place.status("doomed"))
    assert place.status("doomed")["phase"] == "Failed"
    assert "after 5 other tries" in place.condition("doomed", "Ready")["message"]
    assert place.runs(place.workflow_id("doomed")) == []


@pytest.mark.parametrize("order", ERRORS)
def test_what_r_says_of_its_error_is_told(place: Site, order: tuple[str, str]) -> None:
    name, (condition, *says) = "-".join(order).lower(), ERRORS[order]
    status = place.wait_finished(name)
    assert status["phase"] == "Failed"
    for told in ("Ready", condition):
        message = place.condition(name, told)["message"]
        assert all(words in message for words in says), message
    # R would say the same again
    (row,) = place.query(f"SELECT losses FROM pecan_operator.workflow WHERE name = '{name}'")
    assert row == {"losses": 0}
    assert len(place.runs(status["workflowId"])) == (2 if condition == "Analysed" else 0)
    assert not [password for password in passwords(place) if password in json.dumps(status)]


@pytest.mark.full
def test_a_failed_step_is_done_again_by_a_retry(place: Site) -> None:
    """Once what made it fail is put right; both begin clean, else the stand-in would refuse them."""
    names = {"severe-config": "CONFIG", "severe-ensemble": "ENSEMBLE"}
    for name, stage in names.items():
        open_stage(place, place.wait_finished(name)["workflowId"], stage)
        place.patch("PecanWorkflow", name, retryGeneration=1)
    for name in names:
        place.wait_phase(name, "Succeeded", seconds=120)
        check_as_without_a_kill(place, name, 2, "R failed, and was begun again by a retry")


def test_a_workflow_that_is_cancelled_while_r_is_at_work_ends(place: Site, posterior_id: int) -> None:
    place.apply(r_workflow("cancelled", 2, posterior_id=posterior_id, standin=[("hold", "CONFIG")]))
    workflow_id = place.workflow_id("cancelled")
    wait_held(place, workflow_id, "CONFIG")
    place.patch("PecanWorkflow", "cancelled", cancel=True)
    place.wait_phase("cancelled", "Cancelled", seconds=30)
    gone = wait(
        lambda: not place.pods("prepare", "cancelled", "PecanWorkflow"), 60, lambda: place.pods("prepare", "cancelled")
    )
    print(f"MEASURED R's pod gone {gone:.1f} s after the workflow was cancelled")
    assert place.runs(workflow_id) == []


def test_a_model_that_r_writes_no_runs_for_is_refused_before_anything_is_written(place: Site) -> None:
    plain = journal_model()
    plain["metadata"]["name"] = "plain"
    plain["spec"]["revision"] = "2"
    place.apply(plain)
    workflow = r_workflow("mismatched", 2)
    workflow["spec"]["modelRef"]["name"] = "plain"
    place.apply(workflow)
    wait(
        lambda: place.condition("mismatched", "Ready")["reason"] == "FrameworkMismatch",
        20,
        lambda: place.status("mismatched"),
    )
    message = place.condition("mismatched", "Ready")["message"]
    assert "interface run" in message
    assert "framework is pecan" in message
    assert place.query("SELECT 1 FROM pecan_operator.workflow WHERE name = 'mismatched'") == []
    assert place.pods("prepare", "mismatched", "PecanWorkflow") == []
    place.delete("PecanWorkflow", "mismatched")
    place.delete("PecanModel", "plain")


def test_a_model_of_r_is_refused_by_the_light_framework(site: Site) -> None:
    model = r_model()
    model["metadata"]["name"] = "of-r"
    model["spec"]["revision"] = "3"
    site.apply(model)
    workflow = r_workflow("lightless", 2)
    workflow["spec"]["modelRef"]["name"] = "of-r"
    site.apply(workflow)
    wait(
        lambda: site.condition("lightless", "Ready")["reason"] == "FrameworkMismatch",
        20,
        lambda: site.status("lightless"),
    )
    assert "interface pecan" in site.condition("lightless", "Ready")["message"]
    site.delete("PecanWorkflow", "lightless")
    site.delete("PecanModel", "of-r")


@pytest.fixture(scope="module")
def niwot(place: Site) -> Site:
    """PEcAn's Demo 2 by its example, and by its pecan.xml on the data volume. Its model's image is PEcAn's own: the runs are
    written, none is started.
    """
    place.apply(example("models/sipnet.yaml"))
    place.execute(bety_rows("SIPNET", "temperate.coniferous"))
    place.sh("mkdir -p /data/sites/niwot && touch /data/sites/niwot/niwot.clim")
    place.sh(f"cat > /data/sites/niwot/demo2.xml <<'XML'\n{DEMO_2.read_text()}\nXML")
    on_the_volume = {"modelRef": {"name": "sipnet"}, "pecanXml": {"path": "/data/sites/niwot/demo2.xml"}}
    of_example = example("workflows/niwot-demo2-r.yaml")["spec"]
    for name, spec in {"by-example": of_example, "on-the-volume": on_the_volume}.items():
        place.apply(resource("PecanWorkflow", name, {**spec, "suspend": True}))
    return place


# the median, and of each of two traits so many quantiles
@pytest.mark.parametrize(("name", "of_sensitivity"), [("by-example", 1 + 2 * 2), ("on-the-volume", 1 + 2 * 6)])
def test_demo_2_of_pecan_is_prepared(niwot: Site, name: str, of_sensitivity: int) -> None:
    wait(
        lambda: niwot.condition(name, "Prepared")["status"] == "True",
        60,
        lambda: (niwot.status(name), niwot.sh("tail -n 30 /data/workflows/PEcAn_*/workflow.Rout || true")),
    )
    assert niwot.status(name)["runs"]["total"] == 100 + of_sensitivity
    workflow_id = niwot.workflow_id(name)
    runs = niwot.runs(workflow_id)
    assert [run.member for run in runs] == [None] * of_sensitivity + list(range(1, 101))
    job = niwot.sh(f"cat /data/workflows/PEcAn_{workflow_id}/run/{runs[0].run_id}/job.sh")
    assert "\n/usr/local/bin/sipnet.git " in job
    niwot.delete("PecanWorkflow", name)


def rotate_passwords(place: Site) -> None:
    """New passwords of the roles that R and the workers have, in their Secrets; returns when both services want them."""
    bety, amqp = f"{PLATFORM}-bety", f"{PLATFORM}-amqp"
    old, new = place.secret(amqp), f"rotated{secrets.token_hex(12)}"
    uri = old["RABBITMQ_URI"].replace(f":{old['password']}@", f":{new}@")
    assert uri != old["RABBITMQ_URI"]
    for name, values in ((bety, {"PGPASSWORD": new}), (amqp, {"password": new, "RABBITMQ_URI": uri})):
        data = {key: b64encode(value.encode()).decode() for key, value in values.items()}
        place.kube.patch("v1", "Secret", place.namespace, name, {"data": data})
    # The operator watches no Secrets: it looks at them each time it looks at the platform, at the latest after 30 s.
    look = {"metadata": {"annotations": {"pecan-test/rotated": new[-8:]}}}
    place.kube.patch(API_VERSION, "PecanPlatform", place.namespace, PLATFORM, look)

    def are_wanted() -> bool:
        role = f"host=127.0.0.1 dbname=bety user=bety password={new}"
        try:
            place.run(f"{PLATFORM}-postgres-0", "psql", "-X", "-c", "SELECT 1", role)
            place.broker("authenticate_user", "pecan", new)
        except (Failed, ApiException):
            return False
        return True

    seconds = wait(are_wanted, 120, lambda: place.status(PLATFORM, "PecanPlatform"))
    print(
        f"MEASURED new passwords are wanted after {seconds:.1f} s, the platform is ready {place.wait_platform():.1f} s later"
    )


@pytest.mark.full
def test_passwords_changed_between_the_steps_reach_r(place: Site, posterior_id: int) -> None:
    """The second pass needs both: it publishes runs of its own too, as a data assimilation does."""
    more = "<assim.batch><n.knot>2</n.knot></assim.batch>"
    place.apply(r_workflow("rotated", 3, posterior_id=posterior_id, more=more, suspend=True))
    place.wait_phase("rotated", "Suspended")
    old = passwords(place)
    rotate_passwords(place)
    assert not old & passwords(place)
    place.patch("PecanWorkflow", "rotated", suspend=False)
    status = place.wait_finished("rotated", 180)
    assert status["phase"] == "Succeeded", status
    folder, workflow_id = status["folder"], status["workflowId"]
    for password in old:
        assert place.sh(f"grep -l {password} {folder}/pecan*.xml || true") == ""
    for password in passwords(place):
        assert len(place.sh(f"grep -l {password} {folder}/pecan*.xml").split()) == 1 + len(COPIES)
    assert stages(place, folder)[-3:] == ["ENSEMBLE", "PDA", "FINISHED"]

    # the runs of the assimilation are nobody's in the ledger, and were executed all the same
    runs, executions = place.runs(workflow_id), place.journal(workflow_id)
    assert (len(runs), status["runs"]["total"]) == (3, 3)
    assert place.condition("rotated", "Ready")["message"] == "3 of 3 runs succeeded"
    own = {run.run_id for run in runs}
    others = [execution for execution in executions if execution.run not in own]
    assert [execution.exit_code for execution in others] == [0, 0]
    assert check_converged(runs, [each for each in executions if each.run in own], "passwords changed") == 0
    assert len(place.sh(f"cat {folder}/run/runs.txt").split()) == 2
    place.wait_no_messages(QUEUE)
