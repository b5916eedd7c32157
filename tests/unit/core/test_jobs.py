import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from objects import DATA, PULLING, workflow_object

from pecan_operator.api.base import Resources
from pecan_operator.api.workflow import PecanWorkflow
from pecan_operator.core import jobs, pecanxml, rframework
from pecan_operator.core.rframework import RExecutor
from pecan_operator.core.userxml import Ours
from pecan_operator.records import WorkflowRow

OBJECT = workflow_object(metadata={"uid": "uid-loobos"})
WORKFLOW = PecanWorkflow.parse(OBJECT)
ROW = WorkflowRow(
    workflow_id=99_000_000_001, uid="uid-loobos", namespace="forest", name="loobos", queue="DALEC_ev",
    folder="/data/workflows/PEcAn_99000000001", folder_policy="Delete", priority=0, max_parallel=None, max_attempts=3,
    stop_on_error=True, suspended=False, accepted_at=datetime(2024, 5, 1, tzinfo=UTC), prepared_at=None,
    analysed_at=None, cancelled_at=None, cancel_reason=None, finished_at=None, outcome=None, message=None, results={},
    retry_generation=2,
)  # fmt: skip
SITE = jobs.Site(
    executor_image="registry.example/executor:1", data=DATA, pulling=PULLING, bety_secret="pecan-bety",
    ledger_secret="pecan-ledger",
    r=RExecutor("pecan/executor:1", Resources(limits={"memory": "4Gi"}), "docker", "pecan-amqp"),
)  # fmt: skip
TOLD = {"operator": {"version": "0.1.0"}}
MODEL = pecanxml.Model(id=99_000_000_007, type="DALEC", revision="ev", binary="/work/run")


def labels(component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "pecan",
        "app.kubernetes.io/managed-by": "pecan-operator",
        "app.kubernetes.io/component": component,
        "pecanproject.org/workflow": "loobos",
    }


def container(name: str, step: str, secret: str | None, settings: bool = False) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}]
    if settings:
        mounts.append({"name": "settings", "mountPath": "/etc/pecan", "readOnly": True})
    env = [{"name": "PECAN_PROVENANCE", "value": json.dumps(TOLD)}] if step in ("folder", "resume") else []
    return {
        "name": name,
        "image": "registry.example/executor:1",
        "imagePullPolicy": "IfNotPresent",
        "args": [step],
        "env": [
            {"name": "PECAN_WORKFLOW_ID", "value": "99000000001"},
            {"name": "PECAN_WORKFLOW_UID", "value": "uid-loobos"},
            {"name": "PECAN_FOLDER", "value": "/data/workflows/PEcAn_99000000001"},
            {"name": "HOME", "value": "/tmp"},
            *env,
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
        **({"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}),
    }


def job(component: str, containers: list[dict[str, Any]], name: str, owned: bool) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "forest", "labels": labels(component)}
    volumes: list[dict[str, Any]] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "pecan-data"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if owned:
        metadata["annotations"] = {"pecanproject.org/retry-generation": "2"}
        metadata["ownerReferences"] = [
            {
                "apiVersion": "pecanproject.org/v1alpha1",
                "kind": "PecanWorkflow",
                "name": "loobos",
                "uid": "uid-loobos",
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ]
    if component == "prepare":
        volumes.append({"name": "settings", "configMap": {"name": "loobos-settings"}})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 3,
            "activeDeadlineSeconds": 21600,
            "ttlSecondsAfterFinished": 3600,
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [65]}},
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": {
                "metadata": {"labels": labels(component)},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 1001,
                        "runAsGroup": 1002,
                        "fsGroup": 1002,
                        "fsGroupChangePolicy": "OnRootMismatch",
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "imagePullSecrets": [{"name": "registry"}],
                    "restartPolicy": "Never",
                    "initContainers": containers[:-1],
                    "containers": containers[-1:],
                    "volumes": volumes,
                },
            },
        },
    }


def test_the_job_that_prepares() -> None:
    assert jobs.prepare_job(WORKFLOW, OBJECT, ROW, SITE, TOLD) == job(
        "prepare",
        [
            container("folder", "folder", None, settings=True),
            container("framework", "prepare", "pecan-bety"),
            container("register", "register", "pecan-ledger"),
        ],
        "loobos-prepare",
        owned=True,
    )


def test_the_job_that_analyses() -> None:
    assert jobs.analyse_job(WORKFLOW, OBJECT, ROW, SITE, TOLD) == job(
        "analyse",
        [
            container("resume", "resume", "pecan-ledger"),
            container("framework", "analyse", None),
            container("report", "report", "pecan-ledger"),
        ],
        "loobos-analyse",
        owned=True,
    )


@pytest.mark.parametrize(
    ("uid", "generation", "current"),
    [("uid-loobos", 2, True), ("uid-loobos", 3, False), ("uid-of-a-namesake", 2, False)],
)
def test_a_job_is_known_by_its_workflow_and_its_retry_generation(uid: str, generation: int, current: bool) -> None:
    made = jobs.analyse_job(WORKFLOW, OBJECT, ROW, SITE, TOLD)
    assert jobs.is_current(made, uid, generation) is current


def test_a_job_of_before_there_were_retries_is_of_generation_0() -> None:
    made = jobs.analyse_job(WORKFLOW, OBJECT, ROW, SITE, TOLD)
    del made["metadata"]["annotations"]
    assert jobs.is_current(made, "uid-loobos", 0)
    assert not jobs.is_current(made, "uid-loobos", 1)


def test_the_job_that_cleans_up_outlives_its_workflow() -> None:
    made = jobs.cleanup_job(ROW, SITE)
    assert made == job("cleanup", [container("cleanup", "cleanup", None)], "loobos-cleanup99000000001", owned=False)
    assert "ownerReferences" not in made["metadata"]


@pytest.mark.parametrize("framework", ["light", "pecan"])
@pytest.mark.parametrize("build", [jobs.prepare_job, jobs.analyse_job])
def test_no_password_is_written_anywhere(build: Any, framework: str) -> None:
    text = json.dumps(build(WORKFLOW, OBJECT, replace(ROW, framework=framework), SITE, TOLD)).lower()
    assert "password" not in text.replace("$pgpassword", "")
    assert "amqp://" not in text


def test_only_the_steps_that_need_a_role_get_it() -> None:
    made = jobs.prepare_job(WORKFLOW, OBJECT, ROW, SITE, TOLD)
    pod = made["spec"]["template"]["spec"]
    roles = {each["name"]: each.get("envFrom") for each in [*pod["initContainers"], *pod["containers"]]}
    assert roles["folder"] is None
    assert roles["framework"] == [{"secretRef": {"name": "pecan-bety"}}]


def test_settings_say_what_the_workflow_says() -> None:
    made = jobs.settings(WORKFLOW, ROW, MODEL, "docker")
    assert (made.workflow_id, made.folder, made.queue) == (99_000_000_001, ROW.folder, "DALEC_ev")
    assert made.model == MODEL
    assert [(site.id, site.name, site.lat, site.lon) for site in made.sites] == [("NL-Loo", "Loobos", 52.17, 5.74)]
    assert (made.start_date.isoformat(), made.end_date.isoformat()) == ("1997-01-01", "1999-12-31")
    assert made.inputs["met"].paths == ["/data/met/loobos/Loobos"]
    (pft,) = made.pfts
    assert pft.priors["leaf_turnover_rate"] == pecanxml.Prior(distn="unif", parama=0.6, paramb=1.4)
    assert pft.constants == {"SLA": 4.3}
    assert (made.ensemble.size, made.ensemble.seed, list(made.ensemble.variables)) == (4, 1, ["GPP"])
    # The ledger's word counts: it was decided when the workflow was accepted.
    assert made.stop_on_error is True


def analysis_of(**spec: Any) -> pecanxml.SensitivityAnalysis | None:
    workflow = PecanWorkflow.parse(workflow_object(**spec))
    return jobs.settings(workflow, ROW, MODEL, "docker").sensitivity_analysis


def test_a_sensitivity_analysis_takes_the_ensembles_variables_and_pecans_quantiles() -> None:
    assert analysis_of() is None
    assert analysis_of(sensitivityAnalysis={}) == pecanxml.SensitivityAnalysis(["GPP"], [-3, -2, -1, 0, 1, 2, 3], [])
    given = {"quantiles": {"quantile": [0.05, 0.95]}, "variables": ["NEE"], "startYear": 1998, "endYear": 1999}
    assert analysis_of(sensitivityAnalysis=given) == pecanxml.SensitivityAnalysis(["NEE"], [], [0.05, 0.95], 1998, 1999)


def test_a_sensitivity_analysis_may_stand_alone() -> None:
    obj = workflow_object(sensitivityAnalysis={"variables": ["NEE"]})
    del obj["spec"]["ensemble"]
    made = jobs.settings(PecanWorkflow.parse(obj), ROW, MODEL, "docker")
    assert made.ensemble is None
    assert made.sensitivity_analysis
    assert made.sensitivity_analysis.seed == pecanxml.seed_of(obj["metadata"]["uid"])
    assert "<sensitivity.analysis>" in pecanxml.render(made)


@pytest.mark.parametrize("seed", [0, 7])
def test_a_sensitivity_analysis_that_stands_alone_has_a_seed_of_its_own(seed: int) -> None:
    obj = workflow_object(sensitivityAnalysis={"variables": ["NEE"], "seed": seed})
    del obj["spec"]["ensemble"]
    workflow = PecanWorkflow.parse(obj)
    made = jobs.settings(workflow, ROW, MODEL, "docker")
    assert made.sensitivity_analysis
    assert made.sensitivity_analysis.seed == seed == jobs.seed(workflow), "status.seed is the latter"


def settings_of(**spec: Any) -> pecanxml.Settings:
    return jobs.settings(
        PecanWorkflow.parse(workflow_object(metadata={"uid": "uid-loobos"}, **spec)), ROW, MODEL, "docker"
    )


def test_a_seed_that_is_not_given_follows_from_the_uid() -> None:
    made = settings_of(ensemble={"size": 4, "variables": ["GPP"], "samplingMethod": "sobol"})
    assert (made.ensemble.seed, made.ensemble.sampling_method) == (pecanxml.seed_of("uid-loobos"), "sobol")
    assert settings_of(ensemble={"size": 4, "variables": ["GPP"], "seed": 0}).ensemble.seed == 0


def test_settings_name_the_files_of_a_pft_and_the_parent_of_an_input() -> None:
    files = {"csv": "/data/p.csv", "posteriorFiles": "/data/pft/conifer", "samplesCsv": "/data/s.csv"}
    inputs = {"met": {"paths": ["/data/a", "/data/b"]}, "soil": {"paths": ["/data/c", "/data/d"], "parent": "met"}}
    made = settings_of(pfts=[{"name": "conifer", "priors": files}], inputs=inputs)
    (pft,) = made.pfts
    assert (pft.priors_csv, pft.posterior_files, pft.samples_csv) == ("/data/p.csv", "/data/pft/conifer", "/data/s.csv")
    assert (made.inputs["soil"].parent, made.inputs["met"].parent) == ("met", None)


def test_settings_have_the_sites_own_paths_or_the_path_of_their_table() -> None:
    own = {"id": "NL-Loo", "name": "Loobos", "lat": 52, "lon": 5, "inputs": {"met": {"paths": ["/data/met/own"]}}}
    (site,) = settings_of(sites=[own]).sites
    assert site.inputs == {"met": ["/data/met/own"]}
    obj = workflow_object(sitesCsv="/data/sites.csv")
    del obj["spec"]["sites"]
    made = jobs.settings(PecanWorkflow.parse(obj), ROW, MODEL, "docker")
    assert (list(made.sites), made.sites_csv) == ([], "/data/sites.csv")
    assert "<sites.csv>/data/sites.csv</sites.csv>" in pecanxml.render(made)


def test_settings_are_mounted_by_the_name_of_their_config_map() -> None:
    made = jobs.settings_config(WORKFLOW, OBJECT, "<pecan/>")
    assert made["metadata"]["name"] == "loobos-settings"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-loobos"
    assert made["data"] == {"pecan.xml": "<pecan/>"}


def given_as(**source: str) -> PecanWorkflow:
    """The workflow with a pecan.xml instead of fields."""
    kept = {"modelRef": {"name": "dalec"}, "pecanXml": source}
    return PecanWorkflow.parse({**OBJECT, "spec": kept})


@pytest.mark.parametrize(
    ("source", "base_dir"),
    [
        ({"path": "/data/projects/almond/pecan.xml"}, "/data/projects/almond"),
        ({"path": "/data/projects/almond/pecan.xml", "baseDir": "/data/met"}, "/data/met"),
        ({"inline": "<pecan/>", "baseDir": "/data/met"}, "/data/met"),
        ({"inline": "<pecan/>"}, None),
    ],
)
def test_relative_paths_begin_in_base_dir_or_beside_the_file(source: dict[str, str], base_dir: str | None) -> None:
    assert jobs.ours(given_as(**source), ROW, MODEL, "DALEC_ev", "docker").base_dir == base_dir


def test_a_file_on_the_data_volume_is_read_by_the_step_folder_only() -> None:
    workflow = given_as(path="/data/almond/pecan.xml")
    ours = jobs.ours(workflow, ROW, MODEL, "DALEC_ev", "docker")
    config = jobs.settings_config(workflow, OBJECT, ours)
    assert list(config["data"]) == ["ours.json"]
    assert Ours.from_json(config["data"]["ours.json"]) == ours
    assert (ours.workflow_id, ours.folder, ours.queue, ours.model) == (ROW.workflow_id, ROW.folder, "DALEC_ev", MODEL)
    pod = jobs.prepare_job(workflow, OBJECT, ROW, SITE, TOLD)["spec"]["template"]["spec"]
    steps = [each["args"] for each in [*pod["initContainers"], *pod["containers"]]]
    assert steps == [["folder", "--pecan-xml", "/data/almond/pecan.xml"], ["prepare"], ["register"]]


def test_what_a_pecan_xml_that_is_read_here_asks_for_does_not_change_the_job() -> None:
    inline = jobs.prepare_job(given_as(inline="<pecan/>"), OBJECT, ROW, SITE, TOLD)
    assert inline == jobs.prepare_job(WORKFLOW, OBJECT, ROW, SITE, TOLD)


# --- with PEcAn's R ---------------------------------------------------------------------------------------------------

R_ROW = replace(ROW, framework="pecan")
BETY_TOO = [{"secretRef": {"name": "pecan-ledger"}}, {"prefix": "BETY_", "secretRef": {"name": "pecan-bety"}}]


@pytest.mark.parametrize(
    ("build", "names", "arguments"),
    [
        (
            jobs.prepare_job,
            ["folder", "stages", "framework", "register"],
            [["folder", "--framework", "pecan"], ["stages"], None, ["register", "--framework", "pecan"]],
        ),
        (
            jobs.analyse_job,
            ["resume", "stages", "framework", "report"],
            [["resume", "--framework", "pecan"], ["stages"], None, ["report", "--framework", "pecan"]],
        ),
    ],
)
def test_r_stands_between_our_steps(build: Any, names: list[str], arguments: list[Any]) -> None:
    spec = build(WORKFLOW, OBJECT, R_ROW, SITE, TOLD)["spec"]
    assert spec["backoffLimit"] == 0
    assert "podFailurePolicy" not in spec
    pod = spec["template"]["spec"]
    assert [len(pod["initContainers"]), len(pod["containers"])] == [3, 1]
    first, sidecar, r, last = [*pod["initContainers"], *pod["containers"]]
    assert [each["name"] for each in (first, sidecar, r, last)] == names
    assert [each.get("args") for each in (first, sidecar, r, last)] == arguments
    assert [each.get("restartPolicy") for each in (first, sidecar, r, last)] == [None, "Always", None, None]
    assert {each["image"] for each in (first, sidecar, last)} == {"registry.example/executor:1"}
    assert first["envFrom"] == BETY_TOO
    assert {"RABBITMQ_URI", "PECAN_PROVENANCE"} <= {each["name"] for each in first["env"]}
    assert sidecar["envFrom"] == last["envFrom"] == [{"secretRef": {"name": "pecan-ledger"}}]
    passed = rframework.PREPARE if build is jobs.prepare_job else rframework.ANALYSE
    assert r == rframework.framework_container(passed, ROW.folder, SITE.r, "pecan-bety", "IfNotPresent")
    assert not [each["name"] for each in r["env"] if each["name"].startswith("PECAN_")]


@pytest.mark.parametrize(
    ("of_workflow", "of_job"), [(None, 7 * 86400), (3600, 7 * 86400), (7 * 86400 + 1, 7 * 86400 + 1)]
)
def test_a_job_with_r_ends_after_a_week_or_with_a_deadline_that_is_later(of_workflow: int | None, of_job: int) -> None:
    """An earlier deadline may still be raised while R is at work: the operator sees to it."""
    spec = WORKFLOW.spec.model_copy(update={"deadline_seconds": of_workflow})
    job = jobs.prepare_job(WORKFLOW.model_copy(update={"spec": spec}), OBJECT, R_ROW, SITE, TOLD)
    assert job["spec"]["activeDeadlineSeconds"] == of_job


def test_the_clean_up_is_the_same_for_r() -> None:
    assert jobs.cleanup_job(R_ROW, SITE) == jobs.cleanup_job(ROW, SITE)
