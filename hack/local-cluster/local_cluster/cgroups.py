"""The control groups below which the kubelet puts every pod: made before it starts, removed when all is gone."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

from local_cluster.report import ClusterError, wait_until

CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
NEEDED_CONTROLLERS = {"cpu", "memory", "pids", "cpuset"}


def hierarchies(mounts: str) -> list[Path]:
    """The mount points of cgroup file systems in the text of /proc/mounts, each once."""
    rows = [line.split() for line in mounts.splitlines()]
    return list(dict.fromkeys(Path(row[1]) for row in rows if len(row) > 2 and row[2] in ("cgroup", "cgroup2")))


def mounted_hierarchies() -> list[Path]:
    """The cgroup hierarchies of this machine."""
    return hierarchies(Path("/proc/mounts").read_text())


def missing_controllers() -> set[str]:
    """The controllers that the kubelet needs and this machine does not offer."""
    offered: set[str] = set()
    for mount in mounted_hierarchies():
        controllers = mount / "cgroup.controllers"
        if controllers.exists():
            offered.update(controllers.read_text().split())
        else:
            offered.update(mount.name.split(","))
    return NEEDED_CONTROLLERS - offered


def make_root(name: str) -> None:
    """Make the group `name` in every hierarchy and let its children use every controller."""
    for mount in mounted_hierarchies():
        group = mount / name
        group.mkdir(exist_ok=True)
        for file in CPUSET_FILES:
            # Version 1 starts a group without processors and memory, and refuses processes in it.
            if (group / file).exists() and not (group / file).read_text().strip():
                (group / file).write_text((mount / file).read_text())
        for parent in (mount, group):
            if (parent / "cgroup.subtree_control").exists():
                for controller in (parent / "cgroup.controllers").read_text().split():
                    with contextlib.suppress(OSError):  # those a machine cannot hand down, it keeps
                        (parent / "cgroup.subtree_control").write_text(f"+{controller}")


def remove_root(name: str) -> None:
    """Remove the group `name` and all below it.

    Raises:
        ClusterError: a process stays in one of them for 20 s.
    """
    for mount in mounted_hierarchies():
        group = mount / name
        wait_until(f"control group {group} to become empty", partial(_removed, group), seconds=20)


def _removed(group: Path) -> bool:
    if not group.exists():
        return True
    try:
        for path in sorted((entry for entry in group.rglob("*") if entry.is_dir()), reverse=True):
            path.rmdir()
        group.rmdir()
    except OSError as error:
        raise ClusterError(f"{error.strerror}: {error.filename}") from error
    return True
