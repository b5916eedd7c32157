"""The installed operator itself: its rights, its probes, its pod, and what it does about older CRDs and a hung watch."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from half_deaf import Proxy
from support import (
    API_VERSION,
    GROUP,
    OPERATOR_AT_HOME,
    OPERATOR_IN_A_NAMESPACE,
    PLURALS,
    ROOT,
    Cluster,
    Release,
    older_crd,
    rights,
    wait,
)

from pecan_operator.errors import UserError

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
MAX_MEMORY_MIB = 256.0
BUSY_SECONDS = 5.0
# From the first listing that shows what the watch does not, with a listing each 30 s.
HUNG_SECONDS = 60.0 + 2 * 30.0 + 15.0


def test_the_operator_has_the_rights_it_needs_and_no_other(cluster: Cluster, release: Release, namespace: str) -> None:
    crds = {"resources": ("customresourcedefinitions",), "group": "apiextensions.k8s.io"}
    of_our_crds = [rights("get", "patch", name=f"{plural}.{GROUP}", **crds) for plural in PLURALS]
    expected = OPERATOR_IN_A_NAMESPACE | rights("create", **crds) | set().union(*of_our_crds)
    assert cluster.rights_of(release.account, namespace) == expected
    assert cluster.rights_of(release.account, release.namespace) == expected | OPERATOR_AT_HOME


@pytest.mark.parametrize(
    ("role", "verbs"), [("view", {"get", "list", "watch"}), ("edit", set(VERBS)), ("admin", set(VERBS))]
)
def test_what_users_may_do_with_the_kinds(
    cluster: Cluster, release: Release, namespace: str, role: str, verbs: set[str]
) -> None:
    user = f"pecan-{role}"
    cluster.bind(namespace, role, user)
    wait(lambda: cluster.can(user, "list", "pecanplatforms", namespace), 10, lambda: f"{role} is not aggregated")
    for plural in PLURALS:
        assert {verb for verb in VERBS if cluster.can(user, verb, plural, namespace)} == verbs
        # The status is the operator's.
        assert not cluster.can(user, "patch", f"{plural}/status", namespace)
        assert cluster.can(user, "get", f"{plural}/status", namespace)
    assert cluster.can(user, "patch", "pecanmodels/scale", namespace) == ("patch" in verbs)
    assert not cluster.can(user, "get", "pecanplatforms", "default")


def test_an_editor_makes_a_workflow_and_a_viewer_reads_it(cluster: Cluster, release: Release, namespace: str) -> None:
    for role in ("view", "edit"):
        cluster.bind(namespace, role, f"pecan-{role}")
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "PecanModel",
        "metadata": {"name": "dalec", "namespace": namespace},
        "spec": {"type": "DALEC", "revision": "ev", "image": "pecan.invalid/dalec:1"},
    }
    wait(lambda: cluster.can("pecan-edit", "create", "pecanmodels", namespace), 10, lambda: "edit may not")
    editor, viewer = cluster.impersonate("pecan-edit"), cluster.impersonate("pecan-view")
    editor.apply(manifest)
    assert viewer.read(API_VERSION, "PecanModel", namespace, "dalec") is not None
    with pytest.raises(UserError, match=r'"dalec" is forbidden'):
        viewer.delete(API_VERSION, "PecanModel", namespace, "dalec")
    editor.delete(API_VERSION, "PecanModel", namespace, "dalec")
    assert viewer.list(API_VERSION, "PecanModel", namespace) == []


def test_the_probes_answer(cluster: Cluster, release: Release) -> None:
    pod = release.pod()["metadata"]["name"]
    assert cluster.get(release.namespace, pod, 8080, "healthz") == (200, "ok\n")
    assert cluster.get(release.namespace, pod, 8080, "readyz") == (200, "ok\n")
    assert cluster.get(release.namespace, pod, 8080, "else")[0] == 404
    status, metrics = cluster.get(release.namespace, pod, 8080, "metrics")
    assert status == 200
    assert "process_resident_memory_bytes" in metrics
    print(f"{sum(1 for line in metrics.splitlines() if line and not line.startswith('#'))} series")


PROBE = f"""
import time, urllib.request
until, slowest, answers = time.monotonic() + {BUSY_SECONDS}, 0.0, 0
while time.monotonic() < until:
    begin = time.monotonic()
    urllib.request.urlopen("http://127.0.0.1:8080/healthz", timeout=5).read()
    slowest, answers = max(slowest, time.monotonic() - begin), answers + 1
    time.sleep(0.1)
print(answers, round(slowest, 3))
"""


def test_a_busy_api_server_does_not_make_the_operator_look_hung(
    cluster: Cluster, release: Release, namespace: str
) -> None:
    pod = release.pod()
    stop = threading.Event()
    calls = itertools.count()

    def load() -> None:
        while not stop.is_set():
            cluster.kube.list("v1", "Pod", None)
            next(calls)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        said = cluster.run(release.namespace, pod["metadata"]["name"], "python3", "-c", PROBE).split()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    answers, slowest = int(said[0]), float(said[1])
    print(f"{answers} answers while {next(calls)} lists went on; the slowest took {slowest:.3f} s")
    assert answers > 5
    assert slowest < 5
    assert release.pod()["metadata"]["uid"] == pod["metadata"]["uid"]


def test_the_pod_is_restricted_reads_only_and_is_small(cluster: Cluster, release: Release) -> None:
    pod = release.pod()
    name = pod["metadata"]["name"]
    # The API server answers with a warning when a pod of the namespace would not be let in.
    assert cluster.warnings_of_label(release.namespace, "pod-security.kubernetes.io/enforce", "restricted") == []
    said = cluster.run(release.namespace, name, "sh", "-c", "id -u; touch /app 2>&1; touch /tmp/it && echo tmp")
    uid, refusal, writable = said.split("\n")[:3]
    assert int(uid) > 0
    assert "Read-only file system" in refusal
    assert writable == "tmp"
    lines = cluster.run(release.namespace, name, "cat", "/proc/1/status").splitlines()
    figures = dict(line.split(":", 1) for line in lines if ":" in line)
    assert figures["CapEff"].strip() == "0000000000000000"
    assert figures["NoNewPrivs"].strip() == "1"
    resident = int(figures["VmRSS"].split()[0]) / 1024
    print(f"operator: {resident:.0f} MiB resident, {figures['Threads'].strip()} threads")
    assert resident < MAX_MEMORY_MIB


def test_a_starting_operator_brings_older_crds_up_to_date(cluster: Cluster, release: Release) -> None:
    with older_crd(cluster, "pecanmodels", "priorityClassName") as is_back:
        before = release.pod()["metadata"]
        cluster.kube.delete("v1", "Pod", release.namespace, before["name"], before["uid"])
        took = wait(is_back, 60, lambda: "the CRD is the older one still")
        print(f"the CRD was up to date {took:.1f} s after the pod was deleted")
        assert release.pod()["metadata"]["uid"] != before["uid"]


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    made = Proxy(cluster)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.over.set()
    made.shutdown()


@pytest.fixture
def second_operator(proxy: Proxy, namespace: str, tmp_path: Path) -> Iterator[Callable[[], tuple[int, str]]]:
    """An operator of this work tree for one namespace, behind the proxy; called, it answers for its health."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kubeconfig: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "proxy",
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{proxy.server_port}"}}],
        "users": [{"name": "proxy", "user": {}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    environment = {
        **os.environ,
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "PECAN_WATCH_NAMESPACES": namespace,
        "PECAN_APPLY_CRDS": "false",
        "PECAN_HEALTH_PORT": str(port),
        "PYTHONPATH": str(ROOT / "operator"),
    }
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pecan_operator.main", "run"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )

    def health() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    try:
        wait(lambda: health()[0] == 200, 30, lambda: (tmp_path / "log").read_text()[-2000:])
        yield health
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.full
def test_a_hung_watch_is_told_from_a_quiet_one(
    cluster: Cluster, proxy: Proxy, second_operator: Callable[[], tuple[int, str]], namespace: str
) -> None:
    model = {
        "apiVersion": API_VERSION,
        "kind": "PecanModel",
        "metadata": {"name": "dalec", "namespace": namespace},
        "spec": {"type": "DALEC", "revision": "ev", "image": "pecan.invalid/dalec:1"},
    }
    cluster.kube.apply(model)
    time.sleep(65)
    assert second_operator() == (200, "ok\n"), "a watch with nothing to show is not hung"
    proxy.deaf.set()
    cluster.kube.patch(API_VERSION, "PecanModel", namespace, "dalec", {"spec": {"suspend": True}})
    took = wait(lambda: second_operator()[0] == 503, HUNG_SECONDS, lambda: second_operator())
    print(f"a hung watch was told after {took:.0f} s")
    assert "watch" in second_operator()[1]
    proxy.deaf.clear()
    took = wait(lambda: second_operator()[0] == 200, 150, lambda: second_operator())
    print(f"and a repaired one {took:.0f} s after its repair")
