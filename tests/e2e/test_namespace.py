"""A namespace with a platform and busy workers goes when it is deleted, with the operator there and without it."""

from __future__ import annotations

import pytest
from support import Cluster, Release, example, wait

GONE_SECONDS = 90.0
WORKERS_SECONDS = 90.0
# As others would publish it, for a job that does not go when it is told to.
BUSY = """
import os, pathlib, pika, time
run = pathlib.Path("/data/workflows/PEcAn_1/run/1")
run.mkdir(parents=True)
job = run / "job.sh"
job.write_text("#!/bin/sh\\ntrap '' TERM\\nwhile true; do sleep 1; done\\n")
job.chmod(0o755)
connection = pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URI"]))
connection.channel().basic_publish("", "DALEC_ev", f'{{"folder": "{run}"}}'.encode())
connection.close()
until = time.monotonic() + 30
while not (run / ".started").exists() and time.monotonic() < until:
    time.sleep(0.2)
print("busy" if (run / ".started").exists() else "the job was not started")
"""


@pytest.fixture
def busy(cluster: Cluster, release: Release, namespace: str) -> str:
    """A namespace with a platform and a worker that runs a job without end."""
    cluster.kube.apply(example("platform.yaml", namespace=namespace))
    model = example("models/dalec.yaml", namespace=namespace)
    model["spec"]["scaling"] = {"minReplicas": 1, "maxReplicas": 1}
    model["spec"]["run"]["timeoutSeconds"] = 86400
    cluster.kube.apply(model)
    cluster.wait_ready("PecanPlatform", namespace, "pecan")
    make_busy(cluster, namespace)
    return namespace


def make_busy(cluster: Cluster, namespace: str) -> None:
    def works() -> bool:
        pods = cluster.pods(namespace, component="worker")
        return bool(pods) and pods[0]["status"]["phase"] == "Running"

    def tell() -> str:
        states = [pod["status"].get("containerStatuses") for pod in cluster.pods(namespace, component="worker")]
        return f"{cluster.status('PecanModel', namespace, 'dalec')} {states}"

    wait(works, WORKERS_SECONDS, tell)
    (worker,) = cluster.pods(namespace, component="worker")
    said = cluster.run(namespace, worker["metadata"]["name"], "python3", "-c", BUSY)
    assert said.strip() == "busy", said


def delete(cluster: Cluster, namespace: str) -> float:
    """Seconds until a deleted namespace was gone."""

    def left() -> str:
        pods = [pod["metadata"]["name"] for pod in cluster.kube.list("v1", "Pod", namespace)]
        found = cluster.kube.read("v1", "Namespace", None, namespace) or {}
        return f"pods {pods}, {found.get('status')}"

    cluster.kube.delete("v1", "Namespace", None, namespace)
    return wait(lambda: cluster.is_gone(namespace), GONE_SECONDS, left)


def test_a_namespace_with_a_busy_worker_goes_while_the_operator_is_gone(
    cluster: Cluster, release: Release, busy: str
) -> None:
    with release.stopped():
        print(f"gone after {delete(cluster, busy):.1f} s")


@pytest.mark.full
def test_a_namespace_with_a_busy_worker_goes_while_the_operator_is_there(
    cluster: Cluster, release: Release, busy: str
) -> None:
    print(f"gone after {delete(cluster, busy):.1f} s")
    pod = release.pod()
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    assert cluster.get(release.namespace, pod["metadata"]["name"], 8080, "healthz") == (200, "ok\n")
