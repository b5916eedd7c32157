"""This machine: what it must offer, the node's processes on it, and putting everything back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local_cluster import cgroups, network
from local_cluster.node import CNI_RESULTS
from local_cluster.report import ClusterError, wait_until
from local_cluster.settings import SOURCE, Instance

GIB = 1 << 30
DISK_COLD, DISK_WARM = 12 * GIB, 3 * GIB
MEMORY_NEEDED = 3 * GIB
# The kubelet sets these for the whole machine.
MACHINE_SYSCTLS = ("kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "kernel/keys/root_maxkeys",
                   "kernel/keys/root_maxbytes")  # fmt: skip


@dataclass(frozen=True)
class Node:
    """The node's processes: `outer` waits outside the namespaces, `init` is process 1 inside."""

    outer: int | None
    init: int | None


def why_impossible(instance: Instance, cold: bool) -> str | None:
    """The reason why no cluster can run here, in one line; `cold` when the binaries are still to be built."""
    if sys.platform != "linux":
        return "the local cluster needs Linux; with Docker, `kind` is used instead"
    if os.geteuid() != 0:
        return "the local cluster needs root (namespaces, mounts, cgroups); with Docker, `kind` is used instead"
    if missing := cgroups.missing_controllers():
        return f"this machine offers no cgroup controller {', '.join(sorted(missing))}"
    if not Path("/dev/kmsg").exists():
        return "this machine has no /dev/kmsg, which the kubelet reads"
    existing = next(path for path in (instance.cache, *instance.cache.parents) if path.exists())
    free, needed = shutil.disk_usage(existing).free, DISK_COLD if cold else DISK_WARM
    if free < needed:
        return f"{existing} has {free / GIB:.1f} GiB free, the local cluster needs {needed / GIB:.0f} GiB"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < MEMORY_NEEDED:
        return f"this machine has {memory / GIB:.1f} GiB memory, the local cluster needs {MEMORY_NEEDED / GIB:.0f} GiB"
    return None


def find_node(instance: Instance) -> Node:
    """The node of this instance, found by its command line: no file can go stale.

    Another copy of the project, or another Python, may have started it; its state directory is what tells it apart.
    """
    outer = init = None
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            if len(words) < 3 or words[-2:] != ["node", str(instance.state)] or Path(words[-3]).name != SOURCE.name:
                continue
            if Path(words[0]).name == "unshare":
                outer = int(directory.name)
            else:
                init = int(directory.name)
    return Node(outer, init)


def start_node(instance: Instance, pass_fds: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """Start the node's first process, which waits for a line on its standard input."""
    with (instance.logs / "node.log").open("ab") as log:
        return subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "--kill-child",
             sys.executable, SOURCE, "node", instance.state],
            stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=pass_fds, start_new_session=True,
        )  # fmt: skip


def stop_node(instance: Instance) -> bool:
    """Kill the node, and with it every process in it; whether there was one.

    Raises:
        ClusterError: it is still there after 30 s.
    """
    if find_node(instance) == Node(None, None):
        return False

    def gone() -> bool:
        node = find_node(instance)
        for pid in (node.init, node.outer):
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return node == Node(None, None)

    wait_until("the node's processes to end", gone, seconds=30)
    return True


def restore(instance: Instance) -> bool:
    """Stop the node and put the machine back as it was; loaded images stay. Whether there was anything to do."""
    was_running = stop_node(instance)
    network.disconnect(instance, ours=was_running or instance.state.exists())
    cgroups.remove_root(instance.name)
    _restore_sysctls(instance)
    existed = instance.state.exists()
    shutil.rmtree(instance.state, ignore_errors=True)
    if instance.state.exists():
        shutil.rmtree(instance.state)
    # containerd's record of pods that no longer exist.
    for kind in ("sandboxes", "containers"):
        shutil.rmtree(instance.containerd_root / "io.containerd.grpc.v1.cri" / kind, ignore_errors=True)
    return was_running or existed


def prepare(instance: Instance) -> None:
    """Make what the node needs on the machine, after noting what is to be put back."""
    record = instance.directory / "sysctl.json"
    if not record.exists():
        values = {name: path.read_text().strip() for name in MACHINE_SYSCTLS if (path := _sysctl(name)).exists()}
        partial = record.with_suffix(".new")
        partial.write_text(json.dumps(values, indent=1))
        partial.rename(record)
    # Only a place to mount over: the directory stays empty. Removing it would unmount it in another instance.
    CNI_RESULTS.mkdir(parents=True, exist_ok=True)
    if not _sysctl("net/bridge/bridge-nf-call-iptables").exists() or "overlay" not in _file_systems():
        for module in ("br_netfilter", "overlay"):
            with contextlib.suppress(FileNotFoundError):
                subprocess.run(["modprobe", module], capture_output=True, check=False)
    if not _sysctl("net/bridge/bridge-nf-call-iptables").exists():
        raise ClusterError("this machine's kernel has no br_netfilter, which Kubernetes services need")
    cgroups.make_root(instance.name)


def _restore_sysctls(instance: Instance) -> None:
    record = instance.directory / "sysctl.json"
    if not record.exists():
        return
    for name, value in _entries(record):
        path = _sysctl(name)
        if path.read_text().strip() != value:
            path.write_text(value)
    record.unlink()


def _entries(record: Path) -> Iterator[tuple[str, str]]:
    yield from json.loads(record.read_text()).items()


def _sysctl(name: str) -> Path:
    return Path("/proc/sys", name)


def _file_systems() -> str:
    return Path("/proc/filesystems").read_text()
