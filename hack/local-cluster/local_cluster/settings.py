"""Where an instance of the cluster keeps its files, and the addresses it uses."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from local_cluster.report import ClusterError

SOURCE = Path(__file__).resolve().parent.parent
INSTANCE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,13}[a-z0-9])?")

POD_NETWORK = IPv4Network("10.244.0.0/16")
SERVICE_NETWORK = IPv4Network("10.96.0.0/16")
API_SERVICE_ADDRESS = str(SERVICE_NETWORK[1])
DNS_SERVICE_ADDRESS = str(SERVICE_NETWORK[10])
DOMAIN = "cluster.local"
PAUSE_IMAGE = "localhost/pause:local"
STORAGE_CLASS = "local-path"
PROVISIONER = "pecan-local/local-path"


@dataclass(frozen=True)
class Instance:
    """One cluster on this machine: `name` is its node, its kubectl context, its network interface and its cgroup."""

    name: str
    cache: Path

    @property
    def directory(self) -> Path:
        """Everything that belongs to this instance alone."""
        return self.cache / self.name

    @property
    def state(self) -> Path:
        """What one life of the cluster needs: certificates, etcd, volumes, logs. Wiped when it ends."""
        return self.directory / "state"

    @property
    def containerd_root(self) -> Path:
        """containerd's own files. They outlive the cluster, so that images are loaded once."""
        return self.directory / "containerd"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def config(self) -> Path:
        """Configuration files of the components."""
        return self.state / "config"

    @property
    def logs(self) -> Path:
        """One log file a component."""
        return self.state / "log"

    @property
    def volumes(self) -> Path:
        """The directories behind the persistent volumes."""
        return self.state / "volumes"

    @property
    def kubeconfig(self) -> Path:
        """Credentials of the cluster's administrator."""
        return self.state / "admin.kubeconfig"

    @property
    def plan(self) -> Path:
        """What the node's first process has to start, as JSON."""
        return self.config / "node.json"

    @property
    def complete(self) -> Path:
        """Exists once `up` has seen everything work."""
        return self.state / "complete"

    @property
    def binaries_cache(self) -> Path:
        """One directory for each set of binaries that was built."""
        return self.cache / "bin"


def instance_from_environment() -> Instance:
    """The instance that the environment names.

    `PECAN_CACHE` moves all files; `PECAN_LOCAL_CLUSTER` names an instance other than `pecan-local`, which runs beside
    it and shares the binaries.

    Raises:
        ClusterError: the name cannot be the name of a network interface and of a node.
    """
    name = os.environ.get("PECAN_LOCAL_CLUSTER", "pecan-local")
    if not INSTANCE_NAME.fullmatch(name):
        raise ClusterError(
            f"PECAN_LOCAL_CLUSTER={name!r} is no name for a cluster: 1 to 15 lower-case letters, digits and '-'"
        )
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("PECAN_CACHE") or user_cache / "pecan-operator")
    return Instance(name=name, cache=cache.resolve() / "local-cluster")
