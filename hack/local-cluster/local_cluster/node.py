"""The first process of the node: it starts the components, starts again those that end, and reaps orphans.

It runs as process 1 of namespaces of its own (processes, mounts, network, host name). When it ends the kernel ends
every process of the node and releases its mounts and its network, so nothing can be left behind.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SECONDS_BEFORE_RESTART = 1.0
CONTAINERD_SECONDS = 30
# Where the library that runs CNI plugins keeps their results; it cannot be told another place.
CNI_RESULTS = Path("/var/lib/cni")
NODE_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # Packets between pods cross a bridge only; kube-proxy's rules must see them all the same.
    "net/bridge/bridge-nf-call-iptables": "1",
}


def main(plan_file: Path) -> int:
    """Run the node until it is killed; the plan is what `components.write_plan` wrote."""
    # `up` writes a line once the network is there; without one it has died, and there is nothing to run.
    if not sys.stdin.readline():
        return 1
    plan = json.loads(plan_file.read_text())
    _enter(plan)
    logs = Path(plan["logs"])
    supervisor = Supervisor(logs)
    containerd = plan["containerd"]
    supervisor.start(containerd)
    _wait_for_socket(Path(containerd["socket"]))
    # Pods of an earlier life: nothing runs in them any more, only their files are left.
    if leftovers := _output(containerd["list_containers"], logs).split():
        _output([*containerd["remove_containers"], *leftovers], logs)
    _output(containerd["import_pause"], logs)
    for component in plan["components"]:
        supervisor.start(component)
    supervisor.run()
    return 0


class Supervisor:
    """Keeps the components running and reaps every process that ends in the node."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[int, dict[str, Any]] = {}

    def start(self, component: dict[str, Any]) -> None:
        """Start one component with its output appended to its log."""
        with (self._logs / f"{component['name']}.log").open("ab") as log:
            process = subprocess.Popen(
                component["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        # Processes are reaped by number below, whoever started them.
        process.returncode = 0
        self._running[process.pid] = component

    def run(self) -> None:
        """Reap and restart for ever."""
        while True:
            pid, status = os.wait()
            component = self._running.pop(pid, None)
            if component is None:
                continue
            how = os.waitstatus_to_exitcode(status)
            print(f"{component['name']} ended with {how}; starting it again", flush=True)
            time.sleep(SECONDS_BEFORE_RESTART)
            self.start(component)


def foreign_mounts(mounts: str, needed: Path) -> list[str]:
    """What other containers on the machine have mounted, in the order to unmount it.

    A new mount namespace starts with a copy of every mount. Held here, they could not be released by their owners.
    `mounts` is the text of /proc/mounts; a file system that `needed` lies on is left.
    """
    rows = [line.split() for line in mounts.splitlines()]
    tops = [Path(row[1]) for row in rows if row[2] in ("overlay", "nsfs") and not needed.is_relative_to(row[1])]
    return [row[1] for row in reversed(rows) if any(Path(row[1]).is_relative_to(top) for top in tops)]


def _enter(plan: dict[str, Any]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    socket.sethostname(plan["hostname"])
    if foreign := foreign_mounts(Path("/proc/mounts").read_text(), Path(plan["logs"])):
        subprocess.run(["umount", "--lazy", *foreign], check=False)
    # Sockets, locks and network namespaces of the node, apart from the machine's.
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for source, target in ((plan["cni_results"], str(CNI_RESULTS)), (plan["logs"], "/var/log")):
        _mount("--bind", source, target)
    _mount("--make-rshared", "/")
    for name, value in NODE_SYSCTLS.items():
        Path("/proc/sys", name).write_text(value)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _output(command: Sequence[str], logs: Path) -> str:
    with (logs / "node.log").open("ab") as log:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, check=True).stdout


def _wait_for_socket(path: Path) -> None:
    deadline = time.monotonic() + CONTAINERD_SECONDS
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as attempt:
            try:
                attempt.connect(str(path))
                return
            except OSError:
                time.sleep(0.1)
    raise SystemExit(f"containerd does not answer at {path} after {CONTAINERD_SECONDS} s")
