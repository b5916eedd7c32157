"""Bring the cluster up, take it down, and say how it is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from local_cluster import binaries, images, machine, network
from local_cluster.components import CONTAINERD_SOCKET, server_url, write_plan
from local_cluster.objects import DNS_CHECK, dns_check_pod, initial_objects
from local_cluster.pki import make_pki
from local_cluster.report import ClusterError, run, step, wait_until
from local_cluster.settings import Instance

LOCK_SECONDS = 1800
# A component that has ended is started again by the node itself.
RECOVERY_SECONDS = 20
# A Unix socket's address holds 108 bytes; the longest one below the state directory is the kubelet's.
LONGEST_STATE_PATH = 108 - len("/kubelet/device-plugins/kubelet.sock") - 1


def why_impossible(instance: Instance) -> str | None:
    """The reason why the cluster cannot run on this machine, in one line; None if it can."""
    if len(str(instance.state)) > LONGEST_STATE_PATH:
        return f"{instance.state} is too long a path for the sockets in it: set PECAN_CACHE to a shorter one"
    cold = not binaries.binaries_directory(instance).exists()
    return machine.why_impossible(instance, cold) or binaries.why_not_installable(instance)


def up(instance: Instance) -> None:
    """Bring the cluster up, from whatever state it is in; one that works is left as it is."""
    if reason := why_impossible(instance):
        raise ClusterError(reason)
    with locked(instance):
        if _still_works(instance):
            step(f"{instance.name} is up already")
            return
        log = instance.directory / "build.log"
        log.write_bytes(b"")
        binaries.install_packages(log)
        programs = binaries.build(instance, log)
        if machine.restore(instance):
            step("what an earlier run left has been cleared")
        try:
            _start(instance, programs)
        except BaseException:
            machine.stop_node(instance)
            raise
    step(f"{instance.name} is up: export KUBECONFIG={instance.kubeconfig}")


def down(instance: Instance) -> None:
    """End the cluster and put the machine back as it was; binaries and loaded images stay in the cache."""
    with locked(instance):
        found = machine.restore(instance)
    step(f"{instance.name} is down" if found else f"{instance.name} was not up")


def is_ready(instance: Instance) -> bool:
    """Whether the API server answers and the node is ready."""
    try:
        return _node_is_ready(instance)
    except ClusterError:
        return False


def load(instance: Instance, archives: Sequence[Path]) -> None:
    """Load images from OCI or Docker archives into the running cluster."""
    ctr = _ctr(instance)
    for archive in archives:
        step(f"loaded {', '.join(images.load(ctr, archive))}")


def image_names(instance: Instance) -> list[str]:
    """The images that pods of the running cluster can use."""
    return images.listed(_ctr(instance))


def program(instance: Instance, name: str) -> Path:
    """Where `kubectl` or `helm` is, in the version of the cluster."""
    return binaries.binaries_directory(instance) / name


@contextlib.contextmanager
def locked(instance: Instance) -> Iterator[None]:
    """One command at a time changes an instance; a killed one lets go.

    Raises:
        ClusterError: another command holds the instance for half an hour.
    """
    instance.directory.mkdir(parents=True, exist_ok=True)
    with (instance.directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            step(f"another command is changing {instance.name}: waiting for it")

            def acquired() -> bool:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
                return False

            wait_until(f"the other command on {instance.name} to end", acquired, seconds=LOCK_SECONDS)
        yield


def _still_works(instance: Instance) -> bool:
    if not instance.complete.exists() or machine.find_node(instance).init is None:
        return False
    try:
        wait_until("node to be ready", lambda: _node_is_ready(instance), seconds=RECOVERY_SECONDS)
    except ClusterError as error:
        step(f"{instance.name} is running but does not work, so it is started afresh: {error}")
        return False
    return True


def _start(instance: Instance, programs: Path) -> None:
    for directory in (instance.state, instance.logs, instance.volumes, instance.state / "cni-results"):
        directory.mkdir(mode=0o755, parents=True)
    link = network.choose_link()
    make_pki(instance, link.node_address)
    write_plan(instance, programs, programs / "pause.tar", link.node_address)
    machine.prepare(instance)
    step("certificates and configuration written")

    ended, lives = os.pipe()
    try:
        process = machine.start_node(instance, (lives,))
        os.close(lives)
        lives = -1
        log = instance.logs / "node.log"
        wait_until("node's first process", lambda: machine.find_node(instance).init, seconds=10, log=log, every=0.02)
        init = machine.find_node(instance).init
        if init is None or process.stdin is None:
            raise ClusterError("the node's first process ended at once", log)
        network.connect(instance, link, init)
        network.start_egress(init, ended, instance.logs / "egress.log")
        try:
            with process.stdin as go:
                go.write(b"go\n")
        except BrokenPipeError as error:
            raise ClusterError("the node's first process ended at once", log) from error
    finally:
        os.close(ended)
        if lives >= 0:
            os.close(lives)
    step("node started in namespaces of its own")
    _wait_until_it_works(instance, link.node_address)
    instance.complete.touch()


def _wait_until_it_works(instance: Instance, node_address: str) -> None:
    kubectl = _kubectl(instance)

    def node_ended() -> bool:
        return machine.find_node(instance).init is None

    def api_ready() -> bool:
        return node_ended() or run([*kubectl, "get", "--raw=/readyz"], seconds=15) == "ok"

    wait_until("API server", api_ready, seconds=90, log=instance.logs / "kube-apiserver.log")
    if node_ended():
        raise ClusterError("the node's first process ended", instance.logs / "node.log")
    step(f"API server ready at {server_url(node_address)}")
    run([*kubectl, "apply", "--filename=-"], stdin=initial_objects(node_address))
    wait_until("node to become ready", lambda: _node_is_ready(instance), seconds=90, log=instance.logs / "kubelet.log")
    step("node ready")
    wait_until(
        "default service account",
        lambda: run([*kubectl, "--namespace=kube-system", "get", "serviceaccount", "default"]),
        seconds=60, log=instance.logs / "kube-controller-manager.log",
    )  # fmt: skip
    run([*kubectl, "apply", "--filename=-"], stdin=dns_check_pod())
    pod = [*kubectl, "--namespace=kube-system", "get", "pod", DNS_CHECK, "--output=jsonpath={.status.phase}"]
    wait_until("names in a pod", lambda: _succeeded(run(pod)), seconds=60, log=instance.logs / "coredns.log")
    run([*kubectl, "--namespace=kube-system", "delete", "pod", DNS_CHECK, "--wait=false"])
    step("names resolve from a pod")


def _succeeded(phase: str) -> bool:
    if phase == "Failed":
        raise ClusterError("the pod that looks up the API server's name failed")
    return phase == "Succeeded"


def _node_is_ready(instance: Instance) -> bool:
    answer = run([*_kubectl(instance), "get", "node", instance.name, "--output=json"], seconds=15)
    conditions = json.loads(answer)["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _kubectl(instance: Instance) -> list[str]:
    return [str(program(instance, "kubectl")), f"--kubeconfig={instance.kubeconfig}", "--request-timeout=10s"]


def _ctr(instance: Instance) -> list[str]:
    init = machine.find_node(instance).init
    if init is None:
        raise ClusterError(f"{instance.name} is not up: `hack/cluster up` first")
    inside = ["nsenter", f"--target={init}", "--mount"]
    return [*inside, "ctr", f"--address={CONTAINERD_SOCKET}", f"--namespace={images.NAMESPACE}"]


def end_on_signals() -> None:
    """Let a termination request end the program as an exception, so that what was begun is cleared."""

    def end(number: int, _: object) -> None:
        raise ClusterError(f"ended by signal {number}")

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, end)
