"""Where benchmarks measure: a namespace with a platform, models that cost nothing, the ledger and the broker within reach.

All moments are time.monotonic() of this process, which reaches database and broker through `kubectl port-forward`.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from report import Figure, one
from support import API_VERSION, ROOT, Cluster, Release, sampled, wait
from watching import Watched
from workflow_support.manifests import Manifest, built_image, data_pod, resource
from workflow_support.site import PLATFORM, Site

from pecan_operator.clients.database import Database
from pecan_operator.clients.ledger import Ledger

NAMESPACE = "pecan-bench"
MET = "/data/bench/met"
NOWHERE = {"pecanproject.org/bench": "no-node-has-this"}
THREADS = 8
_POD = "bench"


class Place:
    """The namespace of the benchmarks. `close` deletes it unless it is to be kept for the next time."""

    def __init__(self, kubeconfig: Path, namespace: str = NAMESPACE) -> None:
        self.namespace = namespace
        self._kubeconfig = kubeconfig
        self.cluster = Cluster(kubeconfig)
        self.kube = self.cluster.kube
        self._forwards: list[subprocess.Popen[str]] = []
        self._names = 0

    def open(self) -> None:
        """Make what is not there yet."""
        wait(lambda: self._is_usable(), 180, lambda: f"namespace {self.namespace} is still being deleted")
        self.site.apply(resource("PecanPlatform", PLATFORM, {"storage": {"data": {"size": "5Gi"}}}))
        self.cluster.wait_ready("PecanPlatform", self.namespace, PLATFORM)
        pod = data_pod(_POD, built_image("operator"), f"{PLATFORM}-data")
        uri = {"secretKeyRef": {"name": f"{PLATFORM}-rabbitmq", "key": "uri"}}
        pod["spec"]["containers"][0]["env"] = [{"name": "RABBITMQ_URI", "valueFrom": uri}]
        self.kube.create({**pod, "metadata": {"name": _POD, "namespace": self.namespace}})
        self.kubectl("wait", "--for=condition=Ready", f"pod/{_POD}", "--timeout=120s")
        self.sh(f"mkdir -p /data/bench && touch {MET}")
        self.clear()

    def clear(self) -> None:
        """Put away what a benchmark has left that was broken off."""
        self.delete_all("PecanWorkflow")
        self.delete_all("PecanModel")
        listed = self.site.broker("list_queues", "-p", "pecan", "name", "messages", "--no-table-headers")
        for queue, messages in (line.split("\t") for line in listed.splitlines()):
            if queue.startswith("BENCH_") and messages != "0":
                self.site.broker("purge_queue", "-p", "pecan", queue)

    def _is_usable(self) -> bool:
        found = self.kube.read("v1", "Namespace", None, self.namespace)
        if found is None:
            self.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
            return True
        return "deletionTimestamp" not in found["metadata"]

    def close(self, keep: bool) -> None:
        for forward in self._forwards:
            forward.terminate()
        if not keep:
            self.kube.delete("v1", "Namespace", None, self.namespace)

    # ways in

    @cached_property
    def site(self) -> Site:
        return Site(self._kubeconfig, self.namespace, outside=self.namespace)

    @cached_property
    def release(self) -> Release:
        """The operator of `make install`."""
        labels = {"app.kubernetes.io/component": "operator", "app.kubernetes.io/instance": "pecan"}
        found = self.kube.list("apps/v1", "Deployment", None, labels)
        assert len(found) == 1, f"{len(found)} releases named pecan are installed: run `make install` first"
        return Release(self._kubeconfig, self.cluster, "pecan", found[0]["metadata"]["namespace"])

    @cached_property
    def database(self) -> Database:
        """The platform's database as the operator sees it."""
        given = self._secret(f"{PLATFORM}-ledger")
        return Database(
            host="127.0.0.1",
            port=self._forward(f"{PLATFORM}-postgres-0", int(given["PGPORT"])),
            user=given["PGUSER"],
            password=given["PGPASSWORD"],
            dbname=given["PGDATABASE"],
        )

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.database)

    @cached_property
    def broker_uri(self) -> str:
        uri = self._secret(f"{PLATFORM}-rabbitmq")["uri"]
        port = self._forward(f"{PLATFORM}-rabbitmq-0", 5672)
        return re.sub(r"@[^/]+", f"@127.0.0.1:{port}", uri)

    def _secret(self, name: str) -> dict[str, str]:
        secret = self.kube.read("v1", "Secret", self.namespace, name)
        assert secret is not None, f"there is no Secret {name}"
        return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}

    def _forward(self, pod: str, port: int) -> int:
        """A local port that leads to one of a pod."""
        command = self._kubectl("port-forward", f"pod/{pod}", f":{port}")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._forwards.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert found, f"port-forward to {pod}: {said.strip()}"
        return int(found[1])

    def _kubectl(self, *arguments: str) -> list[str]:
        program = ROOT / ".build" / "bin" / "kubectl"
        return [str(program), f"--kubeconfig={self._kubeconfig}", f"--namespace={self.namespace}", *arguments]

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        done = subprocess.run(self._kubectl(*arguments), input=given, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"kubectl {arguments[0]}: {done.stderr.strip()[-500:]}"
        return done.stdout

    def python(self, script: str, *arguments: str, pod: str = _POD) -> str:
        """What a Python script prints in a pod; by default one with the operator's code, the broker's address and /data."""
        return self.kubectl("exec", "-i", pod, "--", "python3", "-", *arguments, given=script)

    def sh(self, script: str) -> str:
        return self.kubectl("exec", _POD, "--", "sh", "-c", script)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement in the ledger's database."""
        with self.database.transaction() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def database_second(self) -> float:
        """What must be added to epoch seconds of the database's clock to have time.monotonic()."""
        before = time.monotonic()
        ((now,),) = self.query("SELECT extract(epoch FROM clock_timestamp())::float8")
        return (before + time.monotonic()) / 2 - float(now)

    def watch(self, plural: str, value: Callable[[Manifest], Any], api_version: str = API_VERSION) -> Watched:
        return Watched(self.cluster.client, api_version, plural, self.namespace, value)

    def watch_replicas(self) -> Watched:
        """Deployments; the value is what they ask for."""
        return self.watch("deployments", lambda obj: obj["spec"].get("replicas"), "apps/v1")

    def each(self, act: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """As fast as one client with eight threads."""
        with ThreadPoolExecutor(THREADS) as threads:
            return list(threads.map(act, items))

    # what is in it

    def create(self, manifest: Manifest) -> Manifest:
        """Create an object of the namespace that is not there yet."""
        made = self.kube.create({**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}})
        assert made is not None, f"{manifest['kind']} {manifest['metadata']['name']} is there already"
        return made

    def unique(self, word: str) -> str:
        """A name that was not used before, also not in an earlier process."""
        self._names += 1
        return f"{word}-{int(time.time())}-{self._names}"

    def model(self, workers: int = 0, **given: Any) -> int:
        """Apply the model that runs, BENCH_1, with so many warm workers, and wait for them; returns its id in BETY."""
        return self.apply_model("bench", "1", scaling={"minReplicas": workers, "maxReplicas": max(workers, 1)}, **given)

    def apply_model(self, name: str, revision: str, scaling: Manifest, sleep: str = "", **spec: Any) -> int:
        """Apply a model and wait until it is registered and has its least number of workers; returns its id in BETY."""
        asked = {"idleSeconds": 10, **scaling}
        env = [{"name": "BENCH_SLEEP", "value": sleep}] if sleep else []
        given = {
            "type": "BENCH",
            "revision": revision,
            "image": built_image("model-bench"),
            "run": {"timeoutSeconds": 60, "maxAttempts": 3},
            "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
            "scaling": asked,
            "env": env,
            **spec,
        }
        self.site.apply(resource("PecanModel", name, given))
        self.cluster.wait_ready("PecanModel", self.namespace, name)
        if asked.get("minReplicas"):
            self._wait_workers(name, asked["minReplicas"])
        return int(self.site.status(name, "PecanModel")["modelId"])

    def _wait_workers(self, name: str, workers: int) -> None:
        def warm() -> bool:
            deployment = self.kube.read("apps/v1", "Deployment", self.namespace, f"{name}-worker") or {"status": {}}
            status, model = deployment["status"], self.site.status(name, "PecanModel")
            counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")]
            observed = status.get("observedGeneration") == deployment["metadata"]["generation"]
            return observed and {*counts, model.get("readyReplicas")} == {workers} and not model.get("busyWorkers")

        wait(warm, 180, lambda: f"{workers} workers: {self.site.status(name, 'PecanModel')}")

    def workers(self) -> list[str]:
        """Pods of the model that runs, those that are going left out."""
        pods = self.site.pods("worker", "bench")
        return [pod["metadata"]["name"] for pod in pods if not pod["metadata"].get("deletionTimestamp")]

    def delete_all(self, kind: str, seconds: float = 300.0) -> None:
        """Delete all objects of one of our kinds, and wait until what they have started is gone."""
        names = [each["metadata"]["name"] for each in self.kube.list(API_VERSION, kind, self.namespace)]
        self.each(lambda name: self.site.delete(kind, name), names)
        open_workflows = "SELECT count(*) FROM pecan_operator.workflow WHERE finished_at IS NULL"
        if kind == "PecanWorkflow":
            wait(lambda: self.query(open_workflows) == [(0,)], seconds, lambda: "deleted workflows are not put away")
        if kind == "PecanModel":
            wait(lambda: not self.site.pods("worker"), seconds, lambda: "workers of deleted models are still there")

    # what the operator and the database cost

    def metrics(self) -> dict[str, float]:
        """The operator's metrics as they are written, with their labels; and by name, added up over their labels."""
        pod = self.release.pod()
        ports = {each["name"]: each["containerPort"] for each in pod["spec"]["containers"][0]["ports"]}
        name = pod["metadata"]["name"]
        code, text = self.cluster.get(self.release.namespace, name, ports["health"], "/metrics")
        assert code == 200, f"/metrics of {name} answers {code}"
        found: dict[str, float] = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                labelled, value = line.rsplit(" ", 1)
                for key in {labelled, labelled.partition("{")[0]}:
                    found[key] = found.get(key, 0.0) + float(value)
        return found

    def requests(self, before: dict[str, float], after: dict[str, float], seconds: float) -> list[Figure]:
        """What the operator has asked of others between two looks at its metrics, where it has metrics of that."""
        rates = {name: (value - before.get(name, 0.0)) / seconds for name, value in after.items()}
        verbs: Counter[str] = Counter()
        for name, rate in rates.items():
            if found := re.fullmatch(r'pecan_operator_api_requests_total\{.*verb="(\w+)".*\}', name):
                verbs[found[1]] += rate
        figures = [one(f"API requests, {verb}", "1/s", rate) for verb, rate in sorted(verbs.items())]
        if "pecan_operator_broker_requests_total" in rates:
            figures.append(one("broker requests", "1/s", rates["pecan_operator_broker_requests_total"]))
        return figures

    def operator_memory(self) -> AbstractContextManager[list[float]]:
        """Resident MB of the operator, looked at each half second."""
        return sampled(lambda: self.metrics()["process_resident_memory_bytes"] / 1e6, 0.5)

    def database_seconds(self) -> float:
        """Seconds that PostgreSQL has been executing statements of all its clients in this database."""
        self.query("SELECT pg_stat_force_next_flush()")
        ((milliseconds,),) = self.query("SELECT active_time FROM pg_stat_database WHERE datname = current_database()")
        return float(milliseconds) / 1e3

    def versions(self) -> dict[str, str]:
        """Of all that takes part."""
        with self.database.transaction() as cursor:
            cursor.execute("SHOW server_version")
            postgresql = str(cursor.fetchone()[0])  # type: ignore[index]
        image = self.release.pod()["spec"]["containers"][0]["image"]
        return {
            "kubernetes": json.loads(self.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"],
            "rabbitmq": self.site.broker("version").strip(),
            "postgresql": postgresql.split()[0],
            "pecan-operator": f"{metadata.version('pecan-operator')} ({image.rpartition(':')[2]})",
        }
