"""The components of the cluster: their configuration files, their arguments, and the order in which they start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from local_cluster.images import NAMESPACE
from local_cluster.network import EGRESS_DNS_ADDRESS, POD_BRIDGE
from local_cluster.pki import kubeconfig
from local_cluster.settings import (
    DNS_SERVICE_ADDRESS,
    DOMAIN,
    PAUSE_IMAGE,
    POD_NETWORK,
    PROVISIONER,
    SERVICE_NETWORK,
    Instance,
)

API_PORT = 6443
ETCD_URL = "https://127.0.0.1:2379"
CNI_PLUGINS = Path("/usr/lib/cni")
# Only seen inside the node, whose /run is its own.
CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")
CONTAINERD_STATE = Path("/run/containerd")
ISSUER = f"https://kubernetes.default.svc.{DOMAIN}"


def server_url(node_address: str) -> str:
    """Where the API server answers, from this machine and from inside the node."""
    return f"https://{node_address}:{API_PORT}"


def write_plan(instance: Instance, binaries: Path, pause_archive: Path, node_address: str) -> None:
    """Write every configuration file and the plan for the node's first process."""
    instance.config.mkdir(parents=True)
    _write_configuration(instance, node_address)
    ctr = ["ctr", "--address", str(CONTAINERD_SOCKET), "--namespace", NAMESPACE]
    plan = {
        "hostname": instance.name,
        "logs": str(instance.logs),
        "cni_results": str(instance.state / "cni-results"),
        "containerd": {
            "name": "containerd",
            "argv": ["containerd", "--config", str(instance.config / "containerd.toml")],
            "socket": str(CONTAINERD_SOCKET),
            "list_containers": [*ctr, "containers", "ls", "--quiet"],
            "remove_containers": [*ctr, "containers", "rm"],
            "import_pause": [*ctr, "images", "import", str(pause_archive)],
        },
        "components": [
            {"name": name, "argv": [str(binaries / name), *(_flag(key, value) for key, value in flags.items())]}
            for name, flags in _components(instance, node_address).items()
        ],
    }
    instance.plan.write_text(json.dumps(plan, indent=1))


def _flag(name: str, value: object) -> str:
    return f"--{name}={value}" if len(name) > 1 else f"-{name}={value}"


def _components(instance: Instance, node_address: str) -> Mapping[str, Mapping[str, object]]:
    pki, config = instance.pki, instance.config
    return {
        "etcd": {
            "name": "etcd",
            "data-dir": instance.state / "etcd",
            "listen-client-urls": ETCD_URL,
            "advertise-client-urls": ETCD_URL,
            "listen-peer-urls": "http://127.0.0.1:0",
            "client-cert-auth": "true",
            "trusted-ca-file": pki / "etcd-ca.crt",
            "cert-file": pki / "etcd.crt",
            "key-file": pki / "etcd.key",
            # The cluster does not outlive the machine's power, so nothing is gained by waiting for the disk.
            "unsafe-no-fsync": "true",
            "auto-compaction-retention": "1h",
        },
        "kube-apiserver": {
            "advertise-address": node_address,
            "secure-port": API_PORT,
            "etcd-servers": ETCD_URL,
            "etcd-cafile": pki / "etcd-ca.crt",
            "etcd-certfile": pki / "apiserver-to-etcd.crt",
            "etcd-keyfile": pki / "apiserver-to-etcd.key",
            "client-ca-file": pki / "ca.crt",
            "tls-cert-file": pki / "apiserver.crt",
            "tls-private-key-file": pki / "apiserver.key",
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            "service-cluster-ip-range": SERVICE_NETWORK,
            "service-account-issuer": ISSUER,
            "service-account-signing-key-file": pki / "service-account.key",
            "service-account-key-file": pki / "service-account.pub",
            "kubelet-certificate-authority": pki / "ca.crt",
            "kubelet-client-certificate": pki / "apiserver-to-kubelet.crt",
            "kubelet-client-key": pki / "apiserver-to-kubelet.key",
            # The node's name is not in any DNS that the API server asks: exec and logs go to its address.
            "kubelet-preferred-address-types": "InternalIP",
            "event-ttl": "6h",
            "profiling": "false",
            "shutdown-watch-termination-grace-period": "0s",
        },
        "kube-controller-manager": {
            "kubeconfig": config / "controller-manager.kubeconfig",
            "authentication-kubeconfig": config / "controller-manager.kubeconfig",
            "authorization-kubeconfig": config / "controller-manager.kubeconfig",
            "bind-address": "127.0.0.1",
            "leader-elect": "false",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": pki / "service-account.key",
            "root-ca-file": pki / "ca.crt",
            "cluster-signing-cert-file": pki / "ca.crt",
            "cluster-signing-key-file": pki / "ca.key",
            "allocate-node-cidrs": "true",
            "cluster-cidr": POD_NETWORK,
            # One node has the whole pod network.
            "node-cidr-mask-size": POD_NETWORK.prefixlen,
            "profiling": "false",
        },
        "kube-scheduler": {
            "kubeconfig": config / "scheduler.kubeconfig",
            "authentication-kubeconfig": config / "scheduler.kubeconfig",
            "authorization-kubeconfig": config / "scheduler.kubeconfig",
            "bind-address": "127.0.0.1",
            "leader-elect": "false",
            "profiling": "false",
        },
        "kubelet": {
            "config": config / "kubelet.json",
            "kubeconfig": config / "kubelet.kubeconfig",
            "root-dir": instance.state / "kubelet",
            "hostname-override": instance.name,
            "node-ip": node_address,
        },
        "kube-proxy": {"config": config / "kube-proxy.json"},
        "coredns": {"conf": config / "Corefile"},
        "provisioner": {
            "kubeconfig": config / "provisioner.kubeconfig",
            "name": PROVISIONER,
            "root": instance.volumes,
            "node": instance.name,
        },
    }


def _write_configuration(instance: Instance, node_address: str) -> None:
    config, url = instance.config, server_url(node_address)
    for identity in ("controller-manager", "scheduler", "proxy", "kubelet", "coredns", "provisioner"):
        file = config / f"{identity}.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(kubeconfig(instance.pki, identity, url, instance.name))
    instance.kubeconfig.touch(mode=0o600)
    instance.kubeconfig.write_text(kubeconfig(instance.pki, "admin", url, instance.name))
    resolv_conf = config / "resolv.conf"
    resolv_conf.write_text(f"nameserver {EGRESS_DNS_ADDRESS}\n")
    (config / "Corefile").write_text(_corefile(config / "coredns.kubeconfig"))
    (config / "containerd.toml").write_text(_containerd_configuration(instance))
    (config / "kubelet.json").write_text(json.dumps(_kubelet_configuration(instance, resolv_conf), indent=1))
    (config / "kube-proxy.json").write_text(json.dumps(_proxy_configuration(instance), indent=1))
    network = config / "cni"
    network.mkdir()
    (network / "10-pecan-local.conflist").write_text(json.dumps(_network_configuration(instance), indent=1))


def _corefile(kubeconfig_file: Path) -> str:
    return f""".:53 {{
    errors
    health 127.0.0.1:8080
    ready 127.0.0.1:8181
    cache 30
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig_file}
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    forward . {EGRESS_DNS_ADDRESS}
}}
"""


def _containerd_configuration(instance: Instance) -> str:
    return f"""version = 2
root = "{instance.containerd_root}"
state = "{CONTAINERD_STATE}"

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
# Lowering a process's OOM score takes a capability that not every virtual machine's root has.
restrict_oom_score_adj = true
# A profile would be loaded into the machine's kernel and stay there.
disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{instance.config / "cni"}"
"""


def _kubelet_configuration(instance: Instance, resolv_conf: Path) -> Mapping[str, object]:
    pki = instance.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{instance.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_SERVICE_ADDRESS],
        "clusterDomain": DOMAIN,
        "resolvConf": str(resolv_conf),
        "podLogsDir": str(instance.logs / "pods"),
        "volumePluginDir": str(instance.state / "volume-plugins"),
        "maxPods": 250,
        # The machine's disk is shared with everything else on it: a fixed share in use is no reason to drop images or
        # pods. `load` removes old images.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "500Mi"},
        "enforceNodeAllocatable": [],
    }


def _proxy_configuration(instance: Instance) -> Mapping[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": str(POD_NETWORK),
        "hostnameOverride": instance.name,
        "clientConnection": {"kubeconfig": str(instance.config / "proxy.kubeconfig")},
        # Belongs to the machine, which the node may not change.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "0s"},
    }


def _network_configuration(instance: Instance) -> Mapping[str, object]:
    return {
        "cniVersion": "0.4.0",
        "name": "pecan-local",
        "plugins": [
            {
                "type": "bridge",
                "bridge": POD_BRIDGE,
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(instance.state / "cni-addresses"),
                    "ranges": [[{"subnet": str(POD_NETWORK)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
