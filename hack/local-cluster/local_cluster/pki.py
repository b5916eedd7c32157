"""The cluster's own certificate authorities, the certificates they sign, and kubeconfig files."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local_cluster.report import run
from local_cluster.settings import API_SERVICE_ADDRESS, DOMAIN, Instance

DAYS_VALID = 3650
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


@dataclass(frozen=True)
class Identity:
    """A certificate to sign: who it is for, and the names a server answers to (none: it is a client only)."""

    name: str
    user: str
    group: str | None = None
    server_names: tuple[str, ...] = ()


def client_identities(node: str) -> list[Identity]:
    """The users that the components are; the names are those that Kubernetes' default RBAC rules are bound to."""
    return [
        Identity("admin", "kubernetes-admin", "system:masters"),
        Identity("controller-manager", "system:kube-controller-manager"),
        Identity("scheduler", "system:kube-scheduler"),
        Identity("proxy", "system:kube-proxy"),
        Identity("kubelet", f"system:node:{node}", "system:nodes"),
        Identity("coredns", "pecan-local:coredns"),
        Identity("provisioner", "pecan-local:provisioner"),
        Identity("apiserver-to-kubelet", "kube-apiserver-kubelet-client", "system:masters"),
    ]


def make_pki(instance: Instance, node_address: str) -> None:
    """Write authorities, certificates, keys and the key that signs service account tokens."""
    directory = instance.pki
    directory.mkdir(parents=True, mode=0o700)
    api_names = (
        "DNS:kubernetes",
        "DNS:kubernetes.default",
        "DNS:kubernetes.default.svc",
        f"DNS:kubernetes.default.svc.{DOMAIN}",
        "DNS:localhost",
        "IP:127.0.0.1",
        f"IP:{API_SERVICE_ADDRESS}",
        f"IP:{node_address}",
    )
    _make_authority(directory, "ca")
    _make_authority(directory, "etcd-ca")
    for identity in client_identities(instance.name):
        _sign(directory, "ca", identity)
    _sign(directory, "ca", Identity("apiserver", "kube-apiserver", server_names=api_names))
    _sign(
        directory,
        "ca",
        Identity("kubelet-server", instance.name, server_names=(f"DNS:{instance.name}", f"IP:{node_address}")),
    )
    _sign(directory, "etcd-ca", Identity("etcd", "etcd", server_names=("DNS:localhost", "IP:127.0.0.1")))
    _sign(directory, "etcd-ca", Identity("apiserver-to-etcd", "kube-apiserver"))
    run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
         directory / "service-account.key"]
    )  # fmt: skip
    run(
        ["openssl", "pkey", "-in", directory / "service-account.key", "-pubout", "-out",
         directory / "service-account.pub"]
    )  # fmt: skip


def kubeconfig(pki: Path, identity: str, server: str, context: str) -> str:
    """A kubeconfig file, as JSON (which is YAML too), that holds the certificates themselves."""

    def encoded(file: str) -> str:
        return base64.b64encode((pki / file).read_bytes()).decode()

    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": context, "cluster": {"server": server, "certificate-authority-data": encoded("ca.crt")}}
            ],
            "users": [
                {
                    "name": context,
                    "user": {
                        "client-certificate-data": encoded(f"{identity}.crt"),
                        "client-key-data": encoded(f"{identity}.key"),
                    },
                }
            ],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "current-context": context,
        },
        indent=1,
    )


def _make_authority(directory: Path, name: str) -> None:
    extensions = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature")
    _request(directory, name, f"/CN=pecan-local-{name}", extensions)


def _sign(directory: Path, authority: str, identity: Identity) -> None:
    usage = "clientAuth,serverAuth" if identity.server_names else "clientAuth"
    extensions = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        f"extendedKeyUsage={usage}",
        # Python 3.13 refuses a certificate that does not name its issuer's key.
        "authorityKeyIdentifier=keyid",
    ]
    if identity.server_names:
        extensions.append(f"subjectAltName={','.join(identity.server_names)}")
    subject = (f"/O={identity.group}" if identity.group else "") + f"/CN={identity.user}"
    signer = ("-CA", str(directory / f"{authority}.crt"), "-CAkey", str(directory / f"{authority}.key"))
    _request(directory, identity.name, subject, extensions, signer)


def _request(directory: Path, name: str, subject: str, extensions: Sequence[str], signer: Sequence[str] = ()) -> None:
    key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
    additions = [word for extension in extensions for word in ("-addext", extension)]
    # An empty configuration: the machine's own would add extensions of its choice.
    run(
        ["openssl", "req", "-config", "/dev/null", "-x509", "-days", str(DAYS_VALID), "-sha256", *NEW_KEY, *signer,
         "-subj", subject, *additions, "-keyout", key, "-out", certificate]
    )  # fmt: skip
    key.chmod(0o600)
