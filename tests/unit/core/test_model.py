import json
from typing import Any

import pytest
from objects import DATA, PULLING, model_object

from pecan_operator.api.model import PecanModel
from pecan_operator.core.model import (
    grace_seconds,
    keep_program,
    worker_deployment,
    worker_name,
    worker_program,
)

OWNER_UID = {"uid": "uid-dalec"}
OWNED = [
    {
        "apiVersion": "pecanproject.org/v1alpha1",
        "kind": "PecanModel",
        "name": "dalec",
        "uid": "uid-dalec",
        "controller": True,
        "blockOwnerDeletion": False,
    }
]
LABELS = {
    "app.kubernetes.io/name": "pecan",
    "app.kubernetes.io/managed-by": "pecan-operator",
    "app.kubernetes.io/component": "worker",
    "pecanproject.org/model": "dalec",
}


def deployment(replicas: int = 3, source: str = "print()", version: str = "v1", **spec: Any) -> dict[str, Any]:
    obj = model_object(metadata=OWNER_UID, **spec)
    return worker_deployment(
        PecanModel.parse(obj),
        obj,
        replicas,
        source=source,
        credentials_secret="pecan-amqp",
        credentials_version=version,
        data=DATA,
        pulling=PULLING,
    )


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (only,) = manifest["spec"]["template"]["spec"]["containers"]
    return only


def test_the_whole_deployment() -> None:
    made = deployment(
        resources={"requests": {"cpu": "100m"}, "limits": {"memory": "512Mi"}}, run={"timeoutSeconds": 300}
    )
    program = made["spec"]["template"]["metadata"]["annotations"].pop("pecanproject.org/program")
    assert len(program) == 16
    assert made == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "dalec-worker", "namespace": "forest", "labels": LABELS, "ownerReferences": OWNED},
        "spec": {
            "replicas": 3,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": {"pecanproject.org/model": "dalec", "app.kubernetes.io/component": "worker"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}},
            "template": {
                "metadata": {
                    "labels": LABELS,
                    "annotations": {
                        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                        "pecanproject.org/credentials": "v1",
                    },
                },
                "spec": {
                    "terminationGracePeriodSeconds": 100,
                    "shareProcessNamespace": True,
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
                    "containers": [
                        {
                            "name": "worker",
                            "image": "registry.example/dalec:1",
                            "imagePullPolicy": "IfNotPresent",
                            "command": ["python3", "/opt/pecan-operator/worker.py"],
                            "workingDir": "/work",
                            "env": [
                                {
                                    "name": "RABBITMQ_URI",
                                    "valueFrom": {"secretKeyRef": {"name": "pecan-amqp", "key": "RABBITMQ_URI"}},
                                },
                                {
                                    "name": "PECAN_WORKER",
                                    "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
                                },
                                {"name": "PECAN_QUEUE", "value": "DALEC_ev"},
                                {"name": "PECAN_RUN_TIMEOUT_SECONDS", "value": "300"},
                                {"name": "PECAN_GRACE_SECONDS", "value": "100"},
                                {"name": "HOME", "value": "/tmp"},
                            ],
                            "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "512Mi"}},
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                            "volumeMounts": [
                                {"name": "data", "mountPath": "/data"},
                                {"name": "worker", "mountPath": "/opt/pecan-operator", "readOnly": True},
                                {"name": "tmp", "mountPath": "/tmp"},
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "data", "persistentVolumeClaim": {"claimName": "pecan-data"}},
                        {"name": "worker", "configMap": {"name": "dalec-worker"}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                },
            },
        },
    }


def test_a_worker_has_no_readiness_probe() -> None:
    assert not {"readinessProbe", "livenessProbe", "startupProbe"} & container(deployment()).keys()


def test_what_a_user_may_add_to_the_pod() -> None:
    made = deployment(
        env=[{"name": "OMP_NUM_THREADS", "value": "1"}, {"name": "HOME", "value": "/data/home"}],
        nodeSelector={"kubernetes.io/arch": "amd64"},
        tolerations=[{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
        priorityClassName="batch",
        imagePullPolicy="Always",
    )
    pod = made["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert pod["tolerations"] == [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["priorityClassName"] == "batch"
    assert container(made)["imagePullPolicy"] == "Always"
    environment = container(made)["env"]
    assert environment[-2:] == [{"name": "HOME", "value": "/data/home"}, {"name": "OMP_NUM_THREADS", "value": "1"}]
    # The API server refuses a name given twice.
    assert len({variable["name"] for variable in environment}) == len(environment)


@pytest.mark.parametrize(
    ("change", "rolls_out"),
    [
        pytest.param({"replicas": 9}, False, id="scaling"),
        pytest.param({"scaling": {"maxReplicas": 99}}, False, id="limits of scaling"),
        pytest.param({"suspend": True}, False, id="suspend"),
        pytest.param({"source": "pass"}, True, id="another worker program"),
        pytest.param({"version": "v2"}, True, id="other credentials"),
        pytest.param({"image": "registry.example/dalec:2"}, True, id="another image"),
        pytest.param({"run": {"timeoutSeconds": 7}}, True, id="another timeout"),
    ],
)
def test_what_replaces_the_pods(change: dict[str, Any], rolls_out: bool) -> None:
    assert (deployment(**change)["spec"]["template"] != deployment()["spec"]["template"]) == rolls_out


def test_a_new_program_alone_does_not_replace_busy_workers() -> None:
    live, desired = deployment(source="old"), deployment(source="new")
    keep_program(desired, live)
    assert desired == live
    desired = deployment(source="new", image="registry.example/dalec:2", version="v2")
    keep_program(desired, live)
    assert desired == deployment(source="old", image="registry.example/dalec:2", version="v2")


@pytest.mark.parametrize(("timeout", "grace"), [(1, 61), (40, 100), (300, 100), (86_400, 100)])
def test_the_grace_period_lets_short_runs_end_and_namespaces_go(timeout: int, grace: int) -> None:
    assert grace_seconds(PecanModel.parse(model_object(run={"timeoutSeconds": timeout}))) == grace


def test_the_selector_never_changes() -> None:
    assert (
        deployment(image="other:1", env=[{"name": "A", "value": "b"}])["spec"]["selector"]
        == deployment()["spec"]["selector"]
    )


def test_the_program_is_mounted_by_the_name_of_its_config_map() -> None:
    obj = model_object(metadata=OWNER_UID)
    model = PecanModel.parse(obj)
    assert worker_program(model, obj, "print('worker')") == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": worker_name(model), "namespace": "forest", "labels": LABELS, "ownerReferences": OWNED},
        "data": {"worker.py": "print('worker')"},
    }


def test_manifests_are_json() -> None:
    json.dumps(deployment())
