"""A namespace with a platform, as a user, a cluster's owner and its own database see it."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.client import CoreV1Api
from kubernetes.dynamic import DynamicClient
from kubernetes.stream import stream
from support import API_VERSION, PLATFORM_SECONDS, wait

from pecan_operator.clients.kube import Kube
from pecan_operator.core import labels
from pecan_operator.core.status import find
from workflow_support.journal import Execution, overlaps, parse_journal
from workflow_support.manifests import MODEL, QUEUE, Manifest, data_pod, node_pod

PLATFORM = "pecan"
FINISHED = ("Succeeded", "Failed", "Cancelled")
_OPERATOR = {"app.kubernetes.io/component": "operator", "app.kubernetes.io/instance": "pecan"}
_KILL = """
import os, pathlib, signal, sys
uid, what = sys.argv[1], sys.argv[2].encode()
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if uid in (process / "cgroup").read_text().replace("_", "-") and what in (process / "cmdline").read_bytes():
            os.kill(int(process.name), signal.SIGKILL)
            print("killed", process.name)
    except OSError:
        pass
"""


@dataclass(frozen=True)
class Run:
    """A run as the ledger has it; those of a sensitivity analysis are no member."""

    run_id: str
    member: int | None
    state: str
    attempt: int
    exit_code: int | None
    worker: str | None
    last_error: str | None


class Failed(AssertionError):
    """A command in a pod did not end well."""


class Site:
    """Everything tests do to and ask of one namespace. `outside` is a namespace where privileged pods are admitted."""

    def __init__(self, kubeconfig: Path, namespace: str, outside: str) -> None:
        self._kubeconfig = str(kubeconfig)
        client = config.new_client_from_config(self._kubeconfig)
        self.kube = Kube(client)
        self.namespace = namespace
        self._outside = outside
        self._dynamic = DynamicClient(client)

    # what a user does

    def apply(self, manifest: Manifest) -> None:
        kind = self._dynamic.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
        kind.server_side_apply(
            body=manifest, namespace=self.namespace, field_manager="pecan-test", force_conflicts=True
        )

    def patch(self, kind: str, name: str, **spec: Any) -> None:
        self.kube.patch(API_VERSION, kind, self.namespace, name, {"spec": spec})

    def delete(self, kind: str, name: str) -> None:
        self.kube.delete(API_VERSION, kind, self.namespace, name)

    def read(self, kind: str, name: str) -> Manifest:
        found = self.kube.read(API_VERSION, kind, self.namespace, name)
        assert found is not None, f"{kind} {name} does not exist"
        return found

    def status(self, name: str, kind: str = "PecanWorkflow") -> Manifest:
        return self.read(kind, name).get("status") or {}

    def condition(self, name: str, condition: str, kind: str = "PecanWorkflow") -> Manifest:
        return find(self.status(name, kind), condition) or {"status": None, "reason": None, "message": None}

    def wait_phase(self, name: str, *phases: str, seconds: float = 60.0) -> str:
        wait(lambda: self.status(name).get("phase") in phases, seconds, lambda: f"{phases}: {self._told(name)}")
        return str(self.status(name)["phase"])

    def wait_finished(self, name: str, seconds: float = 120.0) -> Manifest:
        """The status of a workflow that has ended."""
        wait(lambda: self.status(name).get("finishedAt"), seconds, lambda: self._told(name))
        status = self.status(name)
        assert status["phase"] in FINISHED
        return status

    def _told(self, name: str) -> str:
        told = {
            "workflow": self.status(name),
            "model": self.kube.read(API_VERSION, "PecanModel", self.namespace, MODEL),
        }
        told["model"] = (told["model"] or {}).get("status")
        return json.dumps(told, indent=1)

    def workflow_id(self, name: str, seconds: float = 15.0) -> int:
        wait(lambda: self.status(name).get("workflowId"), seconds, lambda: self._told(name))
        return int(self.status(name)["workflowId"])

    def pods(self, component: str, owner: str | None = None, kind: str = "PecanModel") -> list[Manifest]:
        """Pods of a component, those that are being deleted too."""
        selector = {"app.kubernetes.io/component": component}
        if owner is not None:
            selector = labels.selector(kind, owner, component)
        return self.kube.list("v1", "Pod", self.namespace, selector)

    def workers(self, model: str = MODEL) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods("worker", model)]

    # what goes wrong in a cluster

    def kill_pod(self, name: str, namespace: str | None = None) -> None:
        """Delete a pod without any grace."""
        api = CoreV1Api(config.new_client_from_config(self._kubeconfig))
        api.delete_namespaced_pod(name, namespace or self.namespace, grace_period_seconds=0)

    def kill_worker_process(self, pod: str) -> None:
        """SIGKILL to the worker in a pod, from outside its container; the container is started again in its place."""
        self.kill_process(pod, "worker.py", self.namespace)

    def kill_process(self, pod: str, what: str, namespace: str) -> float:
        """SIGKILL to the processes of a pod with that in their command line; returns the time of day just before."""
        uid = self.kube.read("v1", "Pod", namespace, pod)["metadata"]["uid"]  # type: ignore[index]
        node_pod, before = self._node_pod, time.time()
        said = self.run(node_pod, "python3", "-c", _KILL, uid, what, namespace=self._outside)
        assert "killed" in said, f"no process of {pod} was found"
        return before

    def kill_operator(self) -> str:
        """Delete the operator's pod without any grace; returns its name."""
        pods = self.kube.list("v1", "Pod", None, _OPERATOR)
        assert pods, "there is no operator pod"
        for pod in pods:
            self.kill_pod(pod["metadata"]["name"], pod["metadata"]["namespace"])
        return str(pods[0]["metadata"]["name"])

    def wait_operator(self, other_than: str, seconds: float = 60.0) -> float:
        """Seconds until another operator pod is ready."""

        def is_ready() -> bool:
            return any(
                pod["metadata"]["name"] != other_than
                and (find(pod.get("status"), "Ready") or {}).get("status") == "True"
                for pod in self.kube.list("v1", "Pod", None, _OPERATOR)
            )

        return wait(is_ready, seconds, lambda: "no operator is ready")

    def cut_connections(self, pod: str) -> int:
        """Close the AMQP connections of a worker at the broker; returns how many."""
        listed = self.broker("list_connections", "pid", "client_properties", "--no-table-headers")
        pids = [line.split("\t")[0] for line in listed.splitlines() if pod in line]
        for pid in pids:
            self.broker("close_connection", pid, "test")
        return len(pids)

    # what is known within

    def run(self, pod: str, *command: str, given: str | None = None, namespace: str | None = None) -> str:
        """What a command prints in the container of a pod. Raises Failed when it does not end well."""
        api = CoreV1Api(config.new_client_from_config(self._kubeconfig))
        session = stream(
            api.connect_get_namespaced_pod_exec,
            pod,
            namespace or self.namespace,
            command=list(command),
            stderr=True,
            stdout=True,
            stdin=False,
            _preload_content=False,
        )
        session.run_forever(timeout=30)
        output, errors = session.read_stdout(), session.read_stderr()
        code = session.returncode
        session.close()
        if code != 0:
            raise Failed(f"{command[0]} in {pod} ended with {code}: {errors or output}")
        return str(output)

    def broker(self, *arguments: str) -> str:
        return self.run(f"{PLATFORM}-rabbitmq-0", "rabbitmqctl", "--quiet", *arguments)

    def publish(self, message: Manifest) -> None:
        """What PEcAn's R code does: a message by the broker's management API, as the user of the workers."""
        password = self.secret(f"{PLATFORM}-amqp")["password"]
        program = (
            "import json, sys, urllib.request as r, base64;"
            "user = base64.b64encode(sys.argv[1].encode()).decode();"
            "url = f'http://{sys.argv[2]}:15672/api/exchanges/pecan/amq.default/publish';"
            "asked = r.Request(url, sys.argv[3].encode(), {'Authorization': f'Basic {user}'});"
            "assert json.load(r.urlopen(asked, timeout=10))['routed']"
        )
        given = (f"pecan:{password}", f"{PLATFORM}-rabbitmq", json.dumps(message))
        self.run(self._data_pod, "python3", "-c", program, *given)

    def messages(self, queue: str = QUEUE) -> int:
        """Messages of a queue, those that are not acknowledged too."""
        listed = self.broker("list_queues", "-p", "pecan", "name", "messages", "--no-table-headers")
        return next(int(count) for name, count in (line.split("\t") for line in listed.splitlines()) if name == queue)

    def wait_no_messages(self, queue: str = QUEUE) -> None:
        """The broker's totals of a quorum queue lag by 5 s."""
        wait(lambda: self.messages(queue) == 0, 10, lambda: f"{self.messages(queue)} messages are in {queue}")

    def query(self, statement: str) -> list[Manifest]:
        """Rows of a SELECT in the database bety."""
        rows: list[Manifest] = json.loads(
            self.execute(f"SELECT coalesce(json_agg(rows), '[]') FROM ({statement}) AS rows")
        )
        return rows

    def execute(self, statements: str) -> str:
        """What psql prints of statements in the database bety, one transaction of the superuser's."""
        command = ("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "bety", "-c")
        return self.run(f"{PLATFORM}-postgres-0", *command, statements)

    def secret(self, name: str) -> dict[str, str]:
        """The values of a Secret."""
        found = self.kube.read("v1", "Secret", self.namespace, name) or {}
        return {key: b64decode(value).decode() for key, value in found["data"].items()}

    def runs(self, workflow_id: int) -> list[Run]:
        """The ledger's runs of a workflow, in their order."""
        columns = ", ".join(Run.__dataclass_fields__)
        rows = self.query(
            f"SELECT {columns} FROM pecan_operator.run WHERE workflow_id = {workflow_id} ORDER BY position"
        )
        return [Run(**row) for row in rows]

    @cached_property
    def _executor_image(self) -> str:
        deployments = self.kube.list("apps/v1", "Deployment", None, _OPERATOR)
        environment = deployments[0]["spec"]["template"]["spec"]["containers"][0]["env"]
        return str(next(one["value"] for one in environment if one["name"] == "PECAN_IMAGE_EXECUTOR"))

    @cached_property
    def _data_pod(self) -> str:
        self.apply(data_pod("look", self._executor_image, f"{PLATFORM}-data"))
        self._wait_pod("look", self.namespace)
        return "look"

    @cached_property
    def _node_pod(self) -> str:
        self.kube.create(
            {
                **(pod := node_pod("node", self._executor_image)),
                "metadata": {**pod["metadata"], "namespace": self._outside},
            }
        )
        self._wait_pod("node", self._outside)
        return "node"

    def _wait_pod(self, name: str, namespace: str) -> None:
        def is_ready() -> bool:
            pod = self.kube.read("v1", "Pod", namespace, name) or {}
            return (find(pod.get("status"), "Ready") or {}).get("status") == "True"

        wait(is_ready, 60, lambda: self.kube.read("v1", "Pod", namespace, name))

    def sh(self, script: str) -> str:
        """What a shell script prints that sees /data."""
        return self.run(self._data_pod, "sh", "-c", script)

    def journal(self, workflow_id: int) -> list[Execution]:
        """What has been executed of a workflow so far."""
        return parse_journal(self.sh(f"cat /data/journal/{workflow_id}.jsonl 2>/dev/null || true"))

    def open_gate(self, workflow_id: int) -> None:
        self.sh(f"touch /data/journal/{workflow_id}.open")

    def exists(self, path: str) -> bool:
        return self.sh(f"test -e {path} && echo yes || true").strip() == "yes"

    def wait_platform(self) -> float:
        def is_ready() -> bool:
            return self.condition(PLATFORM, "Ready", "PecanPlatform")["status"] == "True"

        return wait(is_ready, PLATFORM_SECONDS, lambda: json.dumps(self.status(PLATFORM, "PecanPlatform"), indent=1))

    def wait_job(self, name: str, seconds: float = 60.0) -> None:
        """Until a Job of the namespace has succeeded."""

        def look() -> Manifest:
            return self.kube.read("batch/v1", "Job", self.namespace, name) or {}

        wait(lambda: bool((look().get("status") or {}).get("succeeded")), seconds, look)

    def wait_executing(self, workflow_id: int, count: int = 1, seconds: float = 60.0) -> list[Execution]:
        """The executions that are under way, when there are at least so many."""
        found: list[Execution] = []

        def enough() -> bool:
            found[:] = [execution for execution in self.journal(workflow_id) if execution.exit_code is None]
            return len(found) >= count

        wait(enough, seconds, lambda: f"{len(found)} of {count} are executed; {self.runs(workflow_id)}")
        return list(found)


def check_converged(runs: Iterable[Run], executions: Iterable[Execution], what: str) -> int:
    """What holds after every kill: each run succeeded once, was never executed twice at a time, and is counted so.

    Returns the number of repeated executions, and prints the counts.
    """
    runs, executions = list(runs), list(executions)
    repeated = len(executions) - len(runs)
    attempts = sum(run.attempt for run in runs)
    print(
        f"COUNTED {what}: {len(runs)} runs, {len(executions)} executions, {repeated} repeated,"
        f" {attempts - len(runs)} attempts beyond the first, most executions of one run at a time:"
        f" {2 if overlaps(executions) else 1}"
    )
    assert [run for run in runs if run.state != "succeeded"] == []
    succeeded = [execution.run for execution in executions if execution.exit_code == 0]
    assert sorted(succeeded) == sorted(run.run_id for run in runs)
    assert overlaps(executions) == []
    for run in runs:
        last = [execution for execution in executions if execution.run == run.run_id][-1]
        assert (last.exit_code, last.attempt) == (0, run.attempt)
    return repeated
