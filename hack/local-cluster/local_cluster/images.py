"""Images: the pause image that every pod needs, and those that the user loads from archives."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from local_cluster.report import ClusterError, run
from local_cluster.settings import PAUSE_IMAGE

NAMESPACE = "k8s.io"
IMPORT_SECONDS = 900
TAGS_KEPT = 5
LOADED_LABEL = "pecan-local/loaded-at"


def normalized(reference: str) -> str:
    """The full name by which containerd looks an image up: `busybox` is `docker.io/library/busybox:latest`."""
    registry, slash, rest = reference.partition("/")
    if not slash:
        full = f"docker.io/library/{reference}"
    elif registry == "localhost" or "." in registry or ":" in registry:
        full = reference
    else:
        full = f"docker.io/{registry}/{rest}"
    return full if ":" in full.rpartition("/")[2] else f"{full}:latest"


def repository(reference: str) -> str:
    """An image's full name without tag or digest."""
    head, slash, last = reference.rpartition("/")
    return f"{head}{slash}{last.partition('@')[0].partition(':')[0]}"


def archive_format(archive: Path) -> str:
    """Whether an archive is in the `oci` or in the `docker` format.

    Raises:
        ClusterError: it cannot be read or is neither.
    """
    formats = {"index.json": "oci", "manifest.json": "docker"}
    for member, name in formats.items():
        if _json_member(archive, member) is not None:
            return name
    raise ClusterError(f"{archive} is neither an OCI nor a Docker archive: no {' and no '.join(formats)} in it")


def archive_references(archive: Path) -> list[str]:
    """The names that an OCI or Docker archive gives the images in it.

    Raises:
        ClusterError: it cannot be read, is no such archive, or names no image.
    """
    if archive_format(archive) == "oci":
        index: Any = _json_member(archive, "index.json")
        notes = [manifest.get("annotations", {}) for manifest in index.get("manifests", [])]
        names = [
            note.get("io.containerd.image.name") or note.get("org.opencontainers.image.ref.name") for note in notes
        ]
        references = [name for name in names if name]
    else:
        manifests: Any = _json_member(archive, "manifest.json")
        references = [tag for manifest in manifests for tag in manifest.get("RepoTags") or []]
    if not references:
        raise ClusterError(f"{archive} gives its image no name: write it with a tag, as in oci-archive:FILE:NAME:TAG")
    return references


def obsolete(loaded_at: Mapping[str, int], loaded: Iterable[str]) -> list[str]:
    """Images of the same repositories as those just loaded, but for the latest few: pods may still ask for these."""
    dropped: list[str] = []
    for name in sorted({repository(reference) for reference in loaded}):
        tags = [reference for reference in loaded_at if repository(reference) == name]
        dropped += sorted(tags, key=lambda reference: loaded_at[reference], reverse=True)[TAGS_KEPT:]
    return dropped


def loading_times(listing: str) -> dict[str, int]:
    """When each image was loaded, in seconds since 1970, from the table of `ctr images ls`; 0 where it does not say."""
    times: dict[str, int] = {}
    for row in listing.splitlines()[1:]:
        columns = row.split()
        labels = dict(label.split("=", 1) for label in columns[-1].split(",") if "=" in label)
        if not _is_digest(columns[0]):
            times[columns[0]] = int(labels.get(LOADED_LABEL, "0"))
    return times


def load(ctr: Sequence[str], archive: Path) -> list[str]:
    """Import an archive, give its images their full names, drop what they replace; return those names."""
    written = archive_references(archive)
    # Through standard input: the node does not see what has been mounted on the machine after its own start.
    run([*ctr, "images", "import", "-"], stdin=archive, seconds=IMPORT_SECONDS)
    loaded = [normalized(reference) for reference in written]
    for given, full in zip(written, loaded, strict=True):
        if given != full and given in listed(ctr):
            run([*ctr, "images", "tag", "--force", given, full])
            run([*ctr, "images", "rm", given])
    present = listed(ctr)
    if missing := [name for name in loaded if name not in present]:
        raise ClusterError(f"{archive} was imported, but containerd knows no {', '.join(missing)}")
    for name in loaded:
        run([*ctr, "images", "label", name, f"{LOADED_LABEL}={time.time():.0f}"])
    if dropped := obsolete(loading_times(run([*ctr, "images", "ls"])), loaded):
        run([*ctr, "images", "rm", *dropped])
    return loaded


def listed(ctr: Sequence[str]) -> list[str]:
    """The names of all images, without the digests under which the same ones are known too."""
    return sorted(name for name in run([*ctr, "images", "ls", "--quiet"]).split() if not _is_digest(name))


def _is_digest(name: str) -> bool:
    return "@" in name or name.startswith("sha256:")


def write_pause_archive(program: Path, archive: Path) -> None:
    """A Docker archive of an image that holds one program."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.mode, entry.size = 0o755, program.stat().st_size
        with program.open("rb") as content:
            tar.addfile(entry, content)
    diff_id = "sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()
    image = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]
    files = {
        "config.json": json.dumps(image).encode(),
        "layer.tar": layer.getvalue(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(archive, mode="w") as tar:
        for name, content_bytes in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content_bytes)
            tar.addfile(entry, io.BytesIO(content_bytes))


def _architecture() -> str:
    return run(["go", "env", "GOARCH"]).strip()


def _json_member(archive: Path, name: str) -> object:
    try:
        with tarfile.open(archive) as tar:
            for candidate in (name, f"./{name}"):
                if candidate in tar.getnames() and (file := tar.extractfile(candidate)) is not None:
                    return json.load(file)
    except tarfile.TarError as error:
        raise ClusterError(f"{archive} is no image archive: it is not a whole tar file") from error
    except (OSError, ValueError) as error:
        raise ClusterError(f"{archive} cannot be read as an image archive: {error}") from error
    return None
