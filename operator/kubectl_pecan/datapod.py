"""The short-lived pod at the data volume: what it is made of, and that it always goes."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kubectl_pecan.api import Api, Manifest
from kubectl_pecan.errors import CliError, ExitCode
from kubectl_pecan.volume import DATA, Volume

DEADLINE_SECONDS = 24 * 3600
TTL_SECONDS = 60
START_SECONDS = 180.0
PROGRAM = Path(__file__).with_name("pod_program.py")
# The program is in the environment, for an argument of `exec` travels in a URL. Isolated (-I): the pod works in /data,
# and a file there must not be taken for a module.
SESSION = ("python3", "-I", "-c", "import os; exec(os.environ['PECAN_PROGRAM'])")
_JOB_NAME = "batch.kubernetes.io/job-name"
_CHECK_LABELS = {"app.kubernetes.io/managed-by": "pecan-operator", "app.kubernetes.io/component": "data"}
_CHECK_NAME = re.compile(r".*-datacheck[0-9a-f]+")
_POD_FIELDS = ("automountServiceAccountToken", "enableServiceLinks", "securityContext", "imagePullSecrets", "volumes")
_CONTAINER_FIELDS = ("image", "imagePullPolicy", "securityContext", "volumeMounts")


def platform_of(platforms: Sequence[Manifest]) -> Manifest:
    """The platform of a namespace: the oldest. Raises CliError when there is none."""
    if not platforms:
        raise CliError(ExitCode.NOT_FOUND, "this namespace has no PecanPlatform: choose another with -n")
    return min(platforms, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))


def check_job_of(platform: Manifest, jobs: Sequence[Manifest]) -> Manifest:
    """The Job by which the operator has tried the data volume; its pod says image, user and volume.

    Raises CliError when there is none yet.
    """
    mine = [job for job in jobs if _is_check_of(platform, job)]
    if not mine:
        raise CliError(
            ExitCode.NOT_READY,
            f"PecanPlatform {platform['metadata']['name']} has no data volume yet: `kubectl pecan platform` says why",
        )
    return max(mine, key=lambda job: str(job["metadata"]["creationTimestamp"]))


def _is_check_of(platform: Manifest, job: Manifest) -> bool:
    """Whether a Job is the operator's check of the claim that is the platform's /data now, and nobody's lookalike."""
    metadata, pod = job["metadata"], job["spec"]["template"]["spec"]
    controllers = {owner["uid"] for owner in metadata.get("ownerReferences") or [] if owner.get("controller")}
    claims = {
        each["name"]: (each.get("persistentVolumeClaim") or {}).get("claimName") for each in pod.get("volumes") or []
    }
    mounts = [
        {each["mountPath"]: claims.get(each["name"]) for each in container.get("volumeMounts") or []}
        for container in pod["containers"]
    ]
    claim = (platform.get("status") or {}).get("dataClaim")
    return (
        controllers == {platform["metadata"]["uid"]}
        and (metadata.get("labels") or {}).items() >= _CHECK_LABELS.items()
        and _CHECK_NAME.fullmatch(metadata["name"]) is not None
        and claim is not None
        and [each.get(DATA) for each in mounts] == [claim]
    )


def data_job(check: Mapping[str, Any], name: str) -> Manifest:
    """A pod like that of the operator's own check, as a Job, so that the object goes too when nobody deletes it."""
    template = check["spec"]["template"]["spec"]
    (container,) = template["containers"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "kubectl-pecan"}},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": TTL_SECONDS,
            "template": {
                "spec": {
                    **{field: template[field] for field in _POD_FIELDS if field in template},
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 1,
                    "containers": [
                        {
                            **{field: container[field] for field in _CONTAINER_FIELDS if field in container},
                            "name": "data",
                            "command": [*SESSION, "wait"],
                            "env": [{"name": "PECAN_PROGRAM", "value": PROGRAM.read_text()}],
                            "workingDir": DATA,
                            "resources": {
                                "requests": {"cpu": "10m", "memory": "32Mi"},
                                "limits": {"memory": "256Mi"},
                            },
                        }
                    ],
                },
            },
        },
    }


def trouble(pods: Sequence[Mapping[str, Any]]) -> str:
    """Why the pod does not run, as its status says it."""
    for pod in pods:
        status = pod.get("status") or {}
        for container in status.get("containerStatuses") or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                return f"{waiting['reason']}: {waiting.get('message') or 'no message'}"
        for condition in status.get("conditions") or []:
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return f"{condition.get('reason')}: {condition.get('message')}"
        if status.get("phase") in ("Failed", "Succeeded"):
            return f"it ended: {status.get('message') or status['phase']}"
        return "its container is being made"
    return "no pod was made, perhaps for a quota or policy of the namespace"


def running(pods: Sequence[Mapping[str, Any]]) -> str | None:
    """The name of the pod whose container runs."""
    for pod in pods:
        states = [each.get("state") or {} for each in (pod.get("status") or {}).get("containerStatuses") or []]
        if states and all("running" in state for state in states):
            return str(pod["metadata"]["name"])
    return None


@contextmanager
def data_volume(api: Api, sleep: Callable[[float], None] = time.sleep) -> Iterator[Volume]:
    """A session at the namespace's data volume; its pod is removed at the end, whatever the end."""
    platform = platform_of(api.list("PecanPlatform"))
    check = check_job_of(platform, api.list("Job", _CHECK_LABELS))
    name = f"kubectl-pecan-{secrets.token_hex(4)}"
    api.create(data_job(check, name))
    try:
        with api.run(_wait_pod(api, name, sleep), SESSION) as channel:
            yield Volume(channel)
    finally:
        # Without an answer to this the pod still ends by itself, as no session keeps it, and the Job after it.
        with suppress(CliError):
            api.delete("Job", name)


def _wait_pod(api: Api, job: str, sleep: Callable[[float], None]) -> str:
    step, waited, pods = 0.3, 0.0, list[Manifest]()
    while waited < START_SECONDS:
        pods = api.list("Pod", {_JOB_NAME: job})
        pod = running(pods)
        if pod is not None:
            return pod
        if any((each.get("status") or {}).get("phase") in ("Failed", "Succeeded") for each in pods):
            break
        sleep(step)
        waited += step
    raise CliError(
        ExitCode.NOT_READY, f"the pod at the data volume did not start within {waited:.0f} s: {trouble(pods)}"
    )
