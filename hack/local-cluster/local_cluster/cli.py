"""The commands of `python3 hack/local-cluster`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from local_cluster import lifecycle, machine, node
from local_cluster.report import ClusterError
from local_cluster.settings import Instance, instance_from_environment


def main(arguments: Sequence[str]) -> int:
    """Run one command; 0 if it did what was asked, 1 with a message otherwise."""
    parser = argparse.ArgumentParser(prog="hack/local-cluster", description="Kubernetes without a registry.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring the cluster up")
    commands.add_parser("down", help="end it and put the machine back as it was; images and binaries stay cached")
    commands.add_parser("status", help="say how it is; exit status 0 if it is ready")
    commands.add_parser("images", help="list the images that pods can use")
    load = commands.add_parser("load", help="load images from OCI or Docker archives")
    load.add_argument("archives", nargs="+", type=Path)
    # The node's own first process: started by `up`, of no use by hand.
    commands.add_parser("node").add_argument("state", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "node":
        return node.main(options.state / "config" / "node.json")
    try:
        instance = instance_from_environment()
        lifecycle.end_on_signals()
        if options.command == "up":
            lifecycle.up(instance)
        elif options.command == "down":
            lifecycle.down(instance)
        elif options.command == "status":
            return _status(instance)
        elif options.command == "images":
            print("\n".join(lifecycle.image_names(instance)))
        else:
            lifecycle.load(instance, options.archives)
    except ClusterError as error:
        print(f"local cluster: {error}", file=sys.stderr)
        return 1
    return 0


def _status(instance: Instance) -> int:
    if machine.find_node(instance).init is None:
        print(f"{instance.name} is not up")
        return 1
    if not lifecycle.is_ready(instance):
        print(f"{instance.name} is running but not ready; its logs are in {instance.logs}")
        return 1
    print(f"{instance.name} is ready; export KUBECONFIG={instance.kubeconfig}")
    return 0
