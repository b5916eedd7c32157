"""What all our pods have in common: the restricted Pod Security Standard, a read-only root, no API server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Manifest = dict[str, Any]


def restricted_pod(uid: int, gid: int, pull_secrets: Iterable[str] = ()) -> Manifest:
    """The fields of a pod specification that keep it within the `restricted` standard, for one uid and gid.

    The group also owns the volumes. Their files are given to it once, not at each start: PostgreSQL and Erlang refuse
    files that others can read, and a large /data would take minutes.
    """
    names = [{"name": name} for name in pull_secrets]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": uid,
            "runAsGroup": gid,
            "fsGroup": gid,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **({"imagePullSecrets": names} if names else {}),
    }


def restricted_container() -> Manifest:
    """The security context of a container within the `restricted` standard, with a read-only root."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def secret_variable(name: str, secret: str, key: str) -> Manifest:
    """An environment variable from a key of a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
