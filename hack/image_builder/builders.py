"""The two ways to build an image: Docker, and buildah where no image registry can be reached."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from .content import DEBIAN_IMAGE, DEBIAN_SUITE, Image

LOG_LINES_SHOWN = 25
# Layers of earlier builds speed up the next ones; from this many on they are dropped all at once.
UNUSED_LAYERS_KEPT = 400
# What Debian's own slim images leave out and set, so that Dockerfiles behave alike on both bases.
DEBIAN_DPKG_OPTIONS = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
    "force-unsafe-io",
)
DEBIAN_APT_OPTIONS = (
    'Acquire::Languages "none";',
    'APT::Keep-Downloaded-Packages "false";',
    'Binary::apt-get::APT::Keep-Downloaded-Packages "false";',
    'Dir::Cache::pkgcache "";',
    'Dir::Cache::srcpkgcache "";',
)


class ImageError(Exception):
    """Something a user can put right; its text says what and how."""


class Builder(Protocol):
    """Something that builds images from Dockerfiles and writes them as archives."""

    name: str

    def prepare(self) -> None:
        """Install or fetch what every build needs."""

    def build(self, root: Path, image: Image, ref: str, base_ref: str, log: Path) -> None:
        """Build one image of the repository `root` and tag it `ref`."""

    def save(self, ref: str, archive: Path, log: Path) -> None:
        """Write an image as a docker archive."""

    def remove_others(self, ref: str) -> None:
        """Remove older tags of the same image."""

    def tidy(self) -> None:
        """Keep the layers of earlier builds from growing without end."""


def run(command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command, its output to `log`.

    Raises:
        ImageError: it fails; the log's end is in the text.
    """
    with log.open("a") as output:
        output.write(f"$ {' '.join(map(str, command))}\n")
        output.flush()
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=env, check=False).returncode
    if status:
        end = "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
        raise ImageError(f"{Path(command[0]).name} failed with status {status}; see {log}, which ends:\n{end}")


def answer(command: Sequence[str], env: Mapping[str, str] | None = None) -> list[str] | None:
    """The lines a command prints, or None if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    return None if done.returncode else done.stdout.splitlines()


def build_options(root: Path, image: Image, ref: str, base_ref: str) -> list[str]:
    """The arguments that docker build and buildah bud share."""
    context = root / image.context
    target = ["--target", image.target] if image.target else []
    base = ["--build-arg", f"BASE={base_ref}"] if base_ref else []
    return ["--file", str(context / image.dockerfile), *target, *base, "--tag", ref, str(context)]


class Docker:
    """Builds with the Docker engine."""

    name = "docker"

    @staticmethod
    def works() -> bool:
        """Whether an engine answers and has, or can pull, the Debian base."""
        if not shutil.which("docker") or answer(["docker", "info"]) is None:
            return False
        has_base = answer(["docker", "image", "inspect", DEBIAN_IMAGE]) is not None
        return has_base or answer(["docker", "pull", "--quiet", DEBIAN_IMAGE]) is not None

    def prepare(self) -> None:
        """Nothing: Docker pulls the base itself."""

    def build(self, root: Path, image: Image, ref: str, base_ref: str, log: Path) -> None:
        """Build one image with BuildKit, whose cache mounts the Dockerfiles use."""
        env = {**os.environ, "DOCKER_BUILDKIT": "1"}
        run(["docker", "build", *build_options(root, image, ref, base_ref)], log, env)

    def save(self, ref: str, archive: Path, log: Path) -> None:
        """Write an image as a docker archive."""
        run(["docker", "save", "--output", archive, ref], log)

    def remove_others(self, ref: str) -> None:
        """Remove older tags of the same image."""
        repository = ref.rsplit(":", 1)[0]
        listed = answer(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository]) or []
        for old in set(listed) - {ref}:
            answer(["docker", "image", "rm", old])

    def tidy(self) -> None:
        """Nothing: Docker bounds its build cache itself."""


class Buildah:
    """Builds with buildah in a storage of our own, on a Debian base made by mmdebstrap. Needs root."""

    name = "buildah"
    tools = ("buildah", "mmdebstrap")
    packages = (*tools, "debian-archive-keyring", "ca-certificates")

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.storage = cache / "storage"

    @cached_property
    def command(self) -> list[str]:
        """buildah on our storage. What must not outlive a reboot (mounts) goes to /run."""
        run_root = Path("/run/pecan-images") / hashlib.sha256(str(self.storage).encode()).hexdigest()[:8]
        return ["buildah", "--root", str(self.storage), "--runroot", str(run_root)]

    @cached_property
    def env(self) -> dict[str, str]:
        """The environment of buildah; chroot isolation needs neither namespaces nor a container runtime."""
        temporary = self.cache / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        registries = self.cache / "registries.conf"
        registries.write_text('unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n')
        return {
            **os.environ,
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(temporary),
            "CONTAINERS_REGISTRIES_CONF": str(registries),
        }

    def prepare(self) -> None:
        """Install the tools and make the Debian base, if missing."""
        if os.geteuid() != 0:
            raise ImageError("there is no Docker engine here that can pull images, and building without it needs root")
        log = self.cache / "prepare.log"
        log.unlink(missing_ok=True)
        if missing := [tool for tool in self.tools if not shutil.which(tool)]:
            if not shutil.which("apt-get"):
                raise ImageError(f"{' and '.join(missing)} missing, and this is no Debian to install them on: do it")
            apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
            env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            run([*apt, "update"], log, env)
            run([*apt, "install", "-y", "--no-install-recommends", *self.packages], log, env)
        if not answer([*self.command, "images", "--quiet", DEBIAN_IMAGE], self.env):
            self._make_debian(log)

    def _make_debian(self, log: Path) -> None:
        context = self.cache / "debian"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir(parents=True)
        apt_conf = context / "apt.conf"
        apt_conf.write_text("".join(f"{option}\n" for option in DEBIAN_APT_OPTIONS))
        options = [f"--dpkgopt={option}" for option in DEBIAN_DPKG_OPTIONS]
        # With those settings apt's own clean-up no longer sees the caches that installing the base has left.
        hooks = [f"copy-in {apt_conf} /etc/apt/apt.conf.d", 'rm -f "$1"/var/cache/apt/*.bin']
        options += [f"--customize-hook={hook}" for hook in hooks]
        # Killed, mmdebstrap leaves its work behind: here the next attempt removes it.
        env = {**os.environ, "TMPDIR": str(context)}
        run(["mmdebstrap", "--variant=minbase", *options, DEBIAN_SUITE, context / "root.tar"], log, env)
        (context / "Dockerfile").write_text('FROM scratch\nADD root.tar /\nCMD ["bash"]\n')
        run([*self.command, "bud", "--quiet", "--tag", DEBIAN_IMAGE, context], log, self.env)
        shutil.rmtree(context)

    @cached_property
    def pip_volumes(self) -> list[str]:
        """Mounts that make pip trust what this host trusts and use its index: proxies and mirrors work unnamed."""
        bundle = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
        if not Path(bundle).is_file():
            return []
        settings = {"cert": "/run/host-ca.crt", "disable-pip-version-check": "true"}
        for variable, key in (("PIP_INDEX_URL", "index-url"), ("PIP_EXTRA_INDEX_URL", "extra-index-url")):
            if value := os.environ.get(variable):
                settings[key] = value
        config = self.cache / "pip.conf"
        # An index's address may hold a password.
        config.touch(mode=0o600)
        config.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
        return ["--volume", f"{Path(bundle).resolve()}:/run/host-ca.crt:ro", "--volume", f"{config}:/etc/pip.conf:ro"]

    def build(self, root: Path, image: Image, ref: str, base_ref: str, log: Path) -> None:
        """Build one image; the docker format is the one that keeps STOPSIGNAL everywhere."""
        options = ["--layers", "--pull-never", "--network", "host", "--format", "docker", *self.pip_volumes]
        run([*self.command, "bud", *options, *build_options(root, image, ref, base_ref)], log, self.env)

    def save(self, ref: str, archive: Path, log: Path) -> None:
        """Write an image as a docker archive: its layers are plain tar, quick to write and to load."""
        run([*self.command, "push", "--quiet", ref, f"docker-archive:{archive}:{ref}"], log, self.env)

    def remove_others(self, ref: str) -> None:
        """Remove older tags of the same image."""
        repository = ref.rsplit(":", 1)[0]
        query = ["images", "--format", "{{.Name}}:{{.Tag}}", "--filter", f"reference={repository}"]
        for old in set(answer([*self.command, *query], self.env) or []) - {ref}:
            answer([*self.command, "rmi", old], self.env)

    def tidy(self) -> None:
        """Drop the layers of earlier builds when they are many; the next build is then a cold one."""
        unused = answer([*self.command, "images", "--quiet", "--filter", "dangling=true"], self.env) or []
        if len(unused) > UNUSED_LAYERS_KEPT:
            answer([*self.command, "rmi", "--prune"], self.env)

    def clean(self) -> None:
        """Delete all containers, images and layers."""
        for arguments in (["rm", "--all"], ["rmi", "--all", "--force"]):
            answer([*self.command, *arguments], self.env)
