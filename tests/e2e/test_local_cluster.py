"""The local cluster's own life: brought up, killed, taken down. It starts an instance of its own beside the usual one."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "hack" / "local-cluster"
NAME = "pecan-test"
ENVIRONMENT = {**os.environ, "PECAN_LOCAL_CLUSTER": NAME}

pytestmark = [
    pytest.mark.cluster_lifecycle,
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="the local cluster needs Linux and root"),
]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the local cluster to its end."""
    return subprocess.run(
        [sys.executable, str(SOURCE), *words],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


def up() -> str:
    """Bring it up and return its kubeconfig file."""
    result = command("up")
    assert result.returncode == 0, result.stderr
    found = re.search(r"KUBECONFIG=(\S+)", command("status").stdout)
    assert found, "it says that it is up, but status does not"
    return found[1]


def kubectl(kubeconfig: str, *words: str) -> str:
    """The output of kubectl in the version of the cluster."""
    binaries = Path(kubeconfig).parents[2] / "bin"
    program = max(binaries.glob("*/kubectl"), key=lambda path: path.parent.stat().st_mtime)
    return subprocess.run(
        [program, f"--kubeconfig={kubeconfig}", *words], capture_output=True, text=True, timeout=90, check=True
    ).stdout


def host_state() -> dict[str, object]:
    """What the cluster must leave as it was: firewall, interfaces, routes, settings, mounts, control groups, processes."""

    def output(*words: str) -> str:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    settings = ("net/ipv4/ip_forward", "kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory")
    counters = re.compile(r"^#.*\n|\[\d+:\d+\]", re.MULTILINE)
    processes = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return {
        "iptables": counters.sub("", output("iptables-save")) if shutil.which("iptables-save") else "",
        "interfaces": [line.split()[0] for line in output("ip", "-brief", "link").splitlines()],
        "routes": output("ip", "-4", "route"),
        "settings": [Path("/proc/sys", name).read_text() for name in settings],
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if NAME in line],
        "groups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{NAME}")],
        "processes": [process for process in processes if f"/{NAME}/".encode() in process],
    }


@pytest.fixture(autouse=True)
def clean_host() -> Iterator[None]:
    """Begin without the cluster, end without it, and find the machine as it was."""
    assert command("down").returncode == 0
    before = host_state()
    yield
    result = command("down")
    assert result.returncode == 0, result.stderr
    assert host_state() == before


def test_up_twice_keeps_what_runs() -> None:
    """The second `up` changes nothing: what was made in between is still there."""
    kubeconfig = up()
    kubectl(kubeconfig, "create", "namespace", "kept")
    assert up() == kubeconfig
    assert "kept" in kubectl(kubeconfig, "get", "namespaces")


def test_a_killed_component_comes_back() -> None:
    """Every component may die without taking a running pod with it."""
    kubeconfig = up()
    kubectl(kubeconfig, "run", "survivor", "--image=localhost/pause:local", "--image-pull-policy=Never")
    kubectl(kubeconfig, "wait", "--for=condition=Ready", "pod/survivor", "--timeout=60s")
    for component in ("etcd", "kube-apiserver", "kubelet", "containerd"):
        pids = [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if (words := path.read_bytes().decode(errors="replace").split("\0"))
            and Path(words[0]).name == component
            and f"/{NAME}/" in " ".join(words)
        ]
        assert len(pids) == 1, component
        os.kill(pids[0], signal.SIGKILL)
        time.sleep(0.5)
        up()
    kubectl(kubeconfig, "wait", "--for=condition=Ready", "pod/survivor", "--timeout=60s")
    assert "0" in kubectl(
        kubeconfig, "get", "pod", "survivor", "-o=jsonpath={.status.containerStatuses[0].restartCount}"
    )


@pytest.mark.parametrize("seed", range(6))
def test_killed_half_way_comes_up_the_next_time(seed: int) -> None:
    """`up` is killed at a moment that differs from run to run; the next one works and `down` leaves nothing."""
    moment = random.Random(seed).uniform(0.05, 10)
    process = subprocess.Popen([sys.executable, str(SOURCE), "up"], env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    process.kill()
    process.wait()
    up()


@pytest.mark.parametrize("moment", [0.3, 1.0, 4.0])
def test_down_after_a_killed_up(moment: float) -> None:
    """Nothing has to be whole for `down` to clear it; the fixture looks at what is left."""
    process = subprocess.Popen([sys.executable, str(SOURCE), "up"], env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    process.kill()
    process.wait()


def test_down_twice_and_with_pods() -> None:
    """Pods, volumes and all end with the cluster; a second `down` finds nothing to do."""
    kubeconfig = up()
    kubectl(kubeconfig, "create", "deployment", "pods", "--image=localhost/pause:local", "--replicas=5")
    kubectl(kubeconfig, "rollout", "status", "deployment/pods", "--timeout=60s")
    assert command("down").returncode == 0
    assert not Path(kubeconfig).exists()
    second = command("down")
    assert second.returncode == 0
    assert "was not up" in second.stderr


def test_state_of_an_earlier_boot_is_cleared() -> None:
    """After a restart of the machine the files are there and the processes are not."""
    kubeconfig = up()
    kubectl(kubeconfig, "create", "namespace", "before")
    outer = subprocess.run(
        ["pgrep", "--full", f"^unshare .* node .*/{NAME}/state$"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(outer) == 1
    os.kill(int(outer[0]), signal.SIGKILL)
    kubeconfig = up()
    assert "before" not in kubectl(kubeconfig, "get", "namespaces")
