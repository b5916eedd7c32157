"""What the cluster holds from its start: the DNS service, the storage class, and the rights of our own components."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local_cluster.settings import DNS_SERVICE_ADDRESS, DOMAIN, PAUSE_IMAGE, PROVISIONER, STORAGE_CLASS

Manifest = Mapping[str, Any]
DNS_PORTS = (("dns", "UDP"), ("dns-tcp", "TCP"))
DNS_CHECK = "dns-check"


def initial_objects(node_address: str) -> str:
    """The manifests, as one JSON list for `kubectl apply`."""
    items = [
        *_dns_service(node_address),
        *_dns_rights(),
        _cluster_role_binding("pecan-local:provisioner", "system:persistent-volume-provisioner"),
        _storage_class(),
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def dns_check_pod() -> str:
    """A pod that succeeds once the API server's name resolves in it."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": DNS_CHECK, "namespace": "kube-system"},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": DNS_CHECK,
                        "image": PAUSE_IMAGE,
                        "imagePullPolicy": "Never",
                        "args": ["resolve", f"kubernetes.default.svc.{DOMAIN}"],
                    }
                ],
            },
        }
    )


def _dns_service(node_address: str) -> list[Manifest]:
    name = {"name": "kube-dns", "namespace": "kube-system"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**name, "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}},
        "spec": {
            "clusterIP": DNS_SERVICE_ADDRESS,
            "ports": [{"name": port, "protocol": protocol, "port": 53} for port, protocol in DNS_PORTS],
        },
    }
    # CoreDNS is a process of the node, not a pod: its address is given instead of a selector.
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**name, "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [node_address], "conditions": {"ready": True}}],
        "ports": [{"name": port, "protocol": protocol, "port": 53} for port, protocol in DNS_PORTS],
    }
    return [service, endpoints]


def _dns_rights() -> list[Manifest]:
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "pecan-local:coredns"},
        "rules": rules,
    }
    return [role, _cluster_role_binding("pecan-local:coredns", "pecan-local:coredns")]


def _cluster_role_binding(user: str, role: str) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def _storage_class() -> Manifest:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        # As in kind: a claim that no pod uses stays unbound.
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }
