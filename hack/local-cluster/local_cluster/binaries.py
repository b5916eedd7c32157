"""What the cluster runs: Debian's container tools, and Kubernetes built from its Go modules."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from local_cluster.images import write_pause_archive
from local_cluster.report import ClusterError, run, run_logged, step
from local_cluster.settings import SOURCE, Instance

# A program of each package, to see whether it is there.
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/portmap": "containernetworking-plugins",
    "iptables": "iptables",
    "ip": "iproute2",
    "openssl": "openssl",
    "slirp4netns": "slirp4netns",
    "unshare": "util-linux",
    "mount": "mount",
}
PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "coredns",
    "provisioner",
)
GO_NEEDED = (1, 24)
BUILD_SECONDS, PACKAGE_SECONDS = 3600, 600


def module_version(module: str) -> str:
    """The version that go.mod requires of a module."""
    found = re.search(rf"^\s*{re.escape(module)} (v\S+)( // indirect)?$", (SOURCE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise ClusterError(f"{SOURCE / 'go.mod'} does not require {module}")
    return found[1]


def binaries_directory(instance: Instance) -> Path:
    """Where this source's binaries are or will be: a directory named by the hash of what they are built from."""
    digest = hashlib.sha256()
    for file in sorted([SOURCE / "go.mod", SOURCE / "go.sum", *SOURCE.rglob("*.go")]):
        digest.update(f"{file.relative_to(SOURCE)}\0".encode() + file.read_bytes())
    return instance.binaries_cache / digest.hexdigest()[:16]


def missing_packages() -> list[str]:
    """The Debian packages of which a program is missing."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return sorted({package for program, package in PACKAGES.items() if shutil.which(program, path=search) is None})


def why_not_installable(instance: Instance) -> str | None:
    """The reason why packages or binaries that are missing cannot be had here, in one line."""
    if (packages := missing_packages()) and shutil.which("apt-get") is None:
        return f"the local cluster needs {', '.join(packages)}, and there is no apt-get to install them"
    if binaries_directory(instance).exists():
        return None
    if shutil.which("go") is None:
        return f"the local cluster is built from source: install Go {GO_NEEDED[0]}.{GO_NEEDED[1]} or newer (go.dev/dl)"
    version = re.match(r"go(\d+)\.(\d+)", run(["go", "env", "GOVERSION"]).strip())
    if version is None or (int(version[1]), int(version[2])) < GO_NEEDED:
        return f"Go {GO_NEEDED[0]}.{GO_NEEDED[1]} or newer is needed, this is {version[0] if version else 'unknown'}"
    return None


def install_packages(log: Path) -> None:
    """Install the Debian packages that are missing."""
    packages = missing_packages()
    if not packages:
        return
    step(f"installing {', '.join(packages)}")
    install = ("install", "--no-install-recommends", *packages)
    try:
        _apt_get(log, *install)
    except ClusterError:
        _apt_get(log, "update")
        _apt_get(log, *install)
    if still_missing := missing_packages():
        raise ClusterError(f"installed, but without their programs: {', '.join(still_missing)}", log)


def _apt_get(log: Path, *words: str) -> None:
    command = ["apt-get", "-q", "-y", f"-oDPkg::Lock::Timeout={PACKAGE_SECONDS}", *words]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    deadline = time.monotonic() + PACKAGE_SECONDS
    while True:
        begin = log.stat().st_size
        try:
            run_logged(command, log, f"apt-get {words[0]}", seconds=PACKAGE_SECONDS, environment=environment)
            return
        except ClusterError:
            # The option above waits for one of apt's two locks only.
            locked_out = b"Could not get lock" in log.read_bytes()[begin:]
            if not locked_out or time.monotonic() > deadline:
                raise
        time.sleep(3)


def build(instance: Instance, log: Path) -> Path:
    """The directory with all binaries, built if this source has not been built before."""
    target = binaries_directory(instance)
    with _locked(instance.binaries_cache / "lock"):
        if target.exists():
            return target
        step(f"building Kubernetes {module_version('k8s.io/kubernetes')} from its Go modules: about 10 minutes, once")
        partial = target.with_suffix(".new")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _build_all(partial, log)
        partial.rename(target)
        for other in instance.binaries_cache.iterdir():
            if other.is_dir() and other != target and time.time() - other.stat().st_mtime > 14 * 86400:
                shutil.rmtree(other)
    return target


def _build_all(directory: Path, log: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("GOOS", "GOARCH", "GOWORK")}
    environment |= {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false"}
    kubernetes, helm = module_version("k8s.io/kubernetes"), module_version("helm.sh/helm/v3")
    # Without their versions clients and kubelet take each other for incompatible.
    versions = [
        f"k8s.io/component-base/version.gitVersion={kubernetes}",
        f"k8s.io/client-go/pkg/version.gitVersion={kubernetes}",
    ]
    _compile(".", directory / "kubernetes", versions, log, environment)
    helm_version = f"helm.sh/helm/v3/internal/version.version={helm}"
    _compile("helm.sh/helm/v3/cmd/helm", directory / "helm", [helm_version], log, environment)
    _compile("./pause", directory / "pause", [], log, environment)
    for program in PROGRAMS:
        (directory / program).symlink_to("kubernetes")
    write_pause_archive(directory / "pause", directory / "pause.tar")


def _compile(package: str, output: Path, variables: list[str], log: Path, environment: Mapping[str, str]) -> None:
    linker = " ".join(["-s", "-w", *(f"-X {variable}" for variable in variables)])
    run_logged(
        ["go", "build", "-ldflags", linker, "-o", output, package], log, f"building {output.name}",
        seconds=BUILD_SECONDS, cwd=SOURCE, environment=environment,
    )  # fmt: skip
    step(f"{output.name} built")


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
