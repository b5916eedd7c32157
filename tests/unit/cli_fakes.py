"""A cluster and its data volume without either, for the tests of the kubectl plugin and for the screens in its docs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from objects import model_object, platform_object, workflow_object

from kubectl_pecan import pod_program
from kubectl_pecan.api import refusal
from kubectl_pecan.errors import CliError, ExitCode
from kubectl_pecan.volume import DATA

Object = dict[str, Any]


def condition(kind: str, status: str, reason: str, message: str) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-05-01T08:00:00Z",
    }


def workflow(name: str, phase: str, message: str, runs: Mapping[str, int] | None = None, **more: Any) -> Object:
    """A PecanWorkflow with a status."""
    spec = more.pop("spec", {})
    made = workflow_object(name, **spec)
    made["status"] = {
        "phase": phase,
        "observedGeneration": made["metadata"]["generation"],
        "conditions": [condition("Ready", str(phase == "Succeeded"), phase, message)],
        **({} if runs is None else {"runs": {"total": sum(runs.values()), **runs}}),
        **more,
    }
    return made


def model(name: str, phase: str, message: str, status: Mapping[str, int] | None = None, **spec: Any) -> Object:
    made = model_object(name, **spec)
    ready = condition("Ready", str(phase in ("Ready", "Idle")), phase, message)
    made["status"] = {"phase": phase, **(status or {}), "conditions": [ready]}
    return made


def platform(phase: str, *conditions: Object) -> Object:
    made = platform_object()
    made["status"] = {"phase": phase, "dataClaim": "pecan-data", "conditions": list(conditions)}
    return made


def check_job(owner: Object) -> Object:
    """The operator's own check of the data volume, as the API server shows it."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "pecan-datacheck12345678",
            "creationTimestamp": "2026-05-01T08:00:00Z",
            "labels": {"app.kubernetes.io/managed-by": "pecan-operator", "app.kubernetes.io/component": "data"},
            "ownerReferences": [{"uid": owner["metadata"]["uid"], "controller": True}],
        },
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {"runAsUser": 1001, "runAsNonRoot": True},
                    "containers": [
                        {
                            "name": "check",
                            "image": "registry.example/executor:1",
                            "imagePullPolicy": "IfNotPresent",
                            "command": ["sh"],
                            "securityContext": {"readOnlyRootFilesystem": True},
                            "volumeMounts": [
                                {"name": "data", "mountPath": "/data"},
                                {"name": "tmp", "mountPath": "/tmp"},
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "data", "persistentVolumeClaim": {"claimName": "pecan-data"}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                }
            }
        },
    }


class FakeChannel:
    """The program of the pod, in this process, with a folder in place of /data.

    `bytes_left` is how much may be received before the connection breaks.
    """

    def __init__(self, root: Path, bytes_left: int | None = None) -> None:
        self._root = root
        self._bytes_left = bytes_left
        self._asked = b""
        self._answers: list[bytes] = []

    def send(self, data: bytes) -> None:
        self._asked += data
        while b"\n" in self._asked:
            line, _, rest = self._asked.partition(b"\n")
            request = json.loads(line)
            size = request["bytes"] if request["op"] == "write" else 0
            if len(rest) < size:
                return
            self._asked = rest[size:]
            self._answer(request, rest[:size])

    def _answer(self, request: Object, body: bytes) -> None:
        for key in ("path", "partial"):
            if key in request:
                assert request[key] == DATA or request[key].startswith(f"{DATA}/")
                request[key] = str(self._root) + request[key].removeprefix(DATA)
        answer = pod_program.answer(json.dumps(request).encode(), io.BytesIO(body))
        line, newline, data = answer.partition(b"\n")
        self._answers.append(line.replace(str(self._root).encode(), DATA.encode()) + newline + data)

    def receive(self) -> bytes:
        # As the network does, in pieces that have nothing to do with messages.
        data, self._answers[0] = self._answers[0][:1000], self._answers[0][1000:]
        if not self._answers[0]:
            self._answers.pop(0)
        if self._bytes_left is not None:
            self._bytes_left -= len(data)
            if self._bytes_left < 0:
                raise CliError(ExitCode.UNAVAILABLE, "the connection to pod data broke")
        return data

    def __enter__(self) -> FakeChannel:
        return self

    def __exit__(self, *_: object) -> None:
        return


class FakeApi:
    """Objects of one namespace. `refused` maps (verb, kind) to an HTTP status; `looks` has what later GETs of an object
    show, one after the other; the pods of Jobs run at once unless `pod_status` says otherwise."""

    def __init__(self, root: Path, *objects: Object) -> None:
        self.namespace = "forest"
        self.root = root
        self.objects = list(objects)
        self.refused: dict[tuple[str, str], int] = {}
        self.looks: dict[str, list[Object | CliError]] = {}
        self.created: list[Object] = []
        self.deleted: list[tuple[str, str]] = []
        self.bytes_left: int | None = None
        self.pod_status: Object = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}

    def _check(self, verb: str, kind: str, name: str) -> None:
        if (verb, kind) in self.refused:
            body = json.dumps({"message": f"{kind} is not for you"})
            raise refusal(self.refused[verb, kind], body, verb, f"{kind} {name}".strip(), self.namespace)

    def _find(self, verb: str, kind: str, name: str) -> Object:
        self._check(verb, kind, name)
        for each in self.objects:
            if (each["kind"], each["metadata"]["name"]) == (kind, name):
                return each
        raise refusal(404, None, verb, f"{kind} {name}", self.namespace)

    def get(self, kind: str, name: str) -> Object:
        looks = self.looks.get(name)
        if looks:
            look = looks.pop(0)
            if isinstance(look, CliError):
                raise look
            return look
        return self._find("get", kind, name)

    def list(self, kind: str, selector: Mapping[str, str] | None = None) -> list[Object]:
        self._check("list", kind, "")
        wanted = (selector or {}).items()
        return [
            each
            for each in self.objects
            if each["kind"] == kind and wanted <= (each["metadata"].get("labels") or {}).items()
        ]

    def create(self, manifest: Object, dry_run: bool = False) -> Object:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        self._check("create", kind, name)
        if any((each["kind"], each["metadata"]["name"]) == (kind, name) for each in self.objects):
            raise refusal(409, None, "create", f"{kind} {name}", self.namespace)
        if dry_run:
            return manifest
        self.created.append(manifest)
        self.objects.append(manifest)
        if kind == "Job":
            labels = {"batch.kubernetes.io/job-name": name}
            pod = {"kind": "Pod", "metadata": {"name": f"{name}-x", "labels": labels}, "status": self.pod_status}
            self.objects.append(pod)
        return manifest

    def patch(self, kind: str, name: str, spec: Mapping[str, Any]) -> Object:
        found = self._find("patch", kind, name)
        found["spec"].update(spec)
        return found

    def delete(self, kind: str, name: str) -> None:
        self.deleted.append((kind, name))
        self.objects = [each for each in self.objects if (each["kind"], each["metadata"]["name"]) != (kind, name)]

    def run(self, pod: str, command: Sequence[str]) -> FakeChannel:
        return FakeChannel(self.root, self.bytes_left)

    def pods_left(self) -> Iterable[str]:
        """Jobs of the plugin that were made and not removed."""
        made = {job["metadata"]["name"] for job in self.created if job["kind"] == "Job"}
        return made - {name for _, name in self.deleted}


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Clock:
    """time, as the commands use it: sleeping takes no time but theirs."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


Run = Callable[..., Said]
