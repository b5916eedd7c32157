"""The one link between this machine and the node's own network namespace, and the way out for the pods.

Nothing of the machine's own network is changed: no forwarding, no address translation, no firewall rule. The link is a
pair of virtual interfaces that disappears with the node; the way out is a user-space process that does too.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from local_cluster.report import ClusterError, run, wait_until
from local_cluster.settings import POD_NETWORK, SERVICE_NETWORK, Instance

POD_BRIDGE = "pods0"
# slirp4netns' own defaults.
EGRESS_NETWORK = IPv4Network("10.0.2.0/24")
EGRESS_DNS_ADDRESS = str(EGRESS_NETWORK[3])
LINK_CANDIDATES = tuple(
    network for block in ("10.253.0.0/24", "172.30.253.0/24") for network in IPv4Network(block).subnets(new_prefix=30)
)


@dataclass(frozen=True)
class Link:
    """The four addresses shared by the machine and the node."""

    network: IPv4Network

    @property
    def machine_address(self) -> str:
        """This machine's end."""
        return str(self.network[1])

    @property
    def node_address(self) -> str:
        """The node's end."""
        return str(self.network[2])


def free_network(taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first candidate that overlaps none of `taken` nor the cluster's own networks.

    Raises:
        ClusterError: every candidate is taken.
    """
    all_taken = [*taken, POD_NETWORK, SERVICE_NETWORK, EGRESS_NETWORK]
    for candidate in LINK_CANDIDATES:
        if not any(candidate.overlaps(network) for network in all_taken):
            return candidate
    raise ClusterError("this machine has routes to every network that the cluster could use (10.253.0.0/24, ...)")


def routed_networks() -> list[IPv4Network]:
    """Where this machine has routes to; the default route, which covers everything, left out."""
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]) or "[]")
    destinations = [str(route["dst"]) for route in routes if route.get("dst", "default") != "default"]
    return [network for text in destinations if (network := IPv4Network(text, strict=False)).prefixlen > 0]


def choose_link() -> Link:
    """A link on addresses that this machine has no route to."""
    return Link(free_network(routed_networks()))


def interface_exists(name: str) -> bool:
    """Whether this machine has a network interface of that name."""
    return Path("/sys/class/net", name).exists()


def connect(instance: Instance, link: Link, node_pid: int) -> None:
    """Make the pair of interfaces and give both ends their addresses."""
    prefix = link.network.prefixlen
    run(["ip", "link", "add", instance.name, "type", "veth", "peer", "name", "eth0", "netns", str(node_pid)])
    run(["ip", "addr", "add", f"{link.machine_address}/{prefix}", "dev", instance.name])
    run(["ip", "link", "set", instance.name, "up"])
    inside = ["nsenter", "--net", f"--target={node_pid}", "ip"]
    run([*inside, "link", "set", "lo", "up"])
    run([*inside, "addr", "add", f"{link.node_address}/{prefix}", "dev", "eth0"])
    run([*inside, "link", "set", "eth0", "up"])


def disconnect(instance: Instance, ours: bool) -> None:
    """Wait for the link to disappear, as it does some moments after the node; one that stays is removed if it is `ours`.

    The kernel takes a network namespace down when the last socket in it is closed, which can be long after the last
    process.

    Raises:
        ClusterError: it stays and is not ours, so it belongs to a cluster with other files and the same name.
    """

    def gone() -> bool:
        return not interface_exists(instance.name)

    what = f"network interface {instance.name}, perhaps of a cluster under another PECAN_CACHE, to disappear"
    try:
        wait_until(what, gone, seconds=5 if ours else 15)
    except ClusterError:
        if not ours:
            raise
        with contextlib.suppress(ClusterError):
            run(["ip", "link", "delete", instance.name])
        wait_until(what, gone, seconds=10)


def start_egress(node_pid: int, node_lives: int, log: Path) -> None:
    """Start the user-space router; it ends when `node_lives`, a file descriptor, is closed by the node's end.

    Raises:
        ClusterError: it does not come up within 10 s.
    """
    ready, said_ready = os.pipe()
    try:
        with log.open("ab") as output:
            subprocess.Popen(
                ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", f"--exit-fd={node_lives}",
                 f"--ready-fd={said_ready}", str(node_pid), "tap0"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(node_lives, said_ready),
                start_new_session=True,
            )  # fmt: skip
        os.close(said_ready)
        said_ready = -1
        if os.read(ready, 1) != b"1":
            raise ClusterError("slirp4netns gave the node no way out", log)
    finally:
        os.close(ready)
        if said_ready >= 0:
            os.close(said_ready)
