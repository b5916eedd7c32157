"""The parts of the local cluster that only compute."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

SOURCE = Path(__file__).resolve().parents[3] / "hack" / "local-cluster"
sys.path.insert(0, str(SOURCE))

from local_cluster.binaries import module_version  # noqa: E402
from local_cluster.cgroups import hierarchies  # noqa: E402
from local_cluster.images import (  # noqa: E402
    archive_format,
    archive_references,
    loading_times,
    normalized,
    obsolete,
    repository,
)
from local_cluster.network import LINK_CANDIDATES, free_network  # noqa: E402
from local_cluster.node import foreign_mounts  # noqa: E402
from local_cluster.report import ClusterError, run, wait_until  # noqa: E402
from local_cluster.settings import POD_NETWORK, SERVICE_NETWORK, instance_from_environment  # noqa: E402


@pytest.mark.parametrize(
    ("given_name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("postgis/postgis:17-3.5", "docker.io/postgis/postgis:17-3.5"),
        ("pecan.local/operator:0123", "pecan.local/operator:0123"),
        ("localhost/pause:local", "localhost/pause:local"),
        ("registry:5000/a/b", "registry:5000/a/b:latest"),
    ],
)
def test_image_names_are_those_that_containerd_looks_up(given_name: str, full: str) -> None:
    assert normalized(given_name) == full
    assert normalized(full) == full


def test_the_latest_five_tags_of_a_repository_are_kept() -> None:
    operators = {f"pecan.local/operator:{number}": 100 + number for number in range(7)}
    loaded_at = {"pecan.local/operator:unlabelled": 0, **operators, "pecan.local/operators:1": 1}
    dropped = obsolete(loaded_at, ["pecan.local/operator:6"])
    assert dropped == ["pecan.local/operator:1", "pecan.local/operator:0", "pecan.local/operator:unlabelled"]
    assert repository("localhost:5000/operator") == "localhost:5000/operator"


def test_loading_times_are_read_from_the_table_of_images() -> None:
    listing = """REF TYPE DIGEST SIZE PLATFORMS LABELS
pecan.local/a:1 application/x sha256:1 1.0 MiB linux/amd64 io.cri-containerd.image=managed,pecan-local/loaded-at=17
pecan.local/b:1 application/x sha256:2 1.0 MiB linux/amd64 -
sha256:1 application/x sha256:1 1.0 MiB linux/amd64 io.cri-containerd.image=managed
"""
    assert loading_times(listing) == {"pecan.local/a:1": 17, "pecan.local/b:1": 0}


def write_archive(path: Path, files: dict[str, object]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            data = json.dumps(content).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def test_names_are_read_from_both_kinds_of_archive(tmp_path: Path) -> None:
    note = {"org.opencontainers.image.ref.name": "pecan.local/a:1"}
    oci = write_archive(tmp_path / "oci.tar", {"index.json": {"manifests": [{"annotations": note}]}})
    docker = write_archive(tmp_path / "docker.tar", {"manifest.json": [{"RepoTags": ["pecan.local/b:2"]}]})
    assert (archive_format(oci), archive_references(oci)) == ("oci", ["pecan.local/a:1"])
    assert (archive_format(docker), archive_references(docker)) == ("docker", ["pecan.local/b:2"])


def test_what_is_no_image_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no tar")
    nameless = write_archive(tmp_path / "nameless.tar", {"index.json": {"manifests": [{}]}})
    other = write_archive(tmp_path / "other.tar", {"data.json": {}})
    for archive, words in (
        (text, "no image archive"),
        (nameless, "no name"),
        (other, "neither an OCI nor a Docker"),
        (tmp_path / "absent.tar", "cannot be read"),
    ):
        with pytest.raises(ClusterError, match=words) as error:
            archive_references(archive)
        assert "\n" not in str(error.value)


@given(st.lists(st.sampled_from(LINK_CANDIDATES), max_size=40))
def test_the_link_never_overlaps_a_route(taken: list[IPv4Network]) -> None:
    chosen = free_network(taken)
    assert not any(chosen.overlaps(network) for network in [*taken, POD_NETWORK, SERVICE_NETWORK])


def test_a_machine_with_routes_to_everything_is_told_so() -> None:
    with pytest.raises(ClusterError, match="routes to every network"):
        free_network([IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12")])


def test_cgroup_mounts_are_found_in_both_versions() -> None:
    mounts = "\n".join(
        [
            "tmpfs /sys/fs/cgroup tmpfs rw 0 0",
            "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0",
            "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0",
            "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0",
        ]
    )
    assert hierarchies(mounts) == [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/unified")]


def test_mounts_of_other_containers_are_released_innermost_first_and_ours_are_not() -> None:
    mounts = "\n".join(
        [
            "overlay / overlay rw 0 0",
            "/dev/sda /cache ext4 rw 0 0",
            "overlay /build/merged overlay rw 0 0",
            "proc /build/merged/proc proc rw 0 0",
            "nsfs /run/docker/netns/1 nsfs rw 0 0",
        ]
    )
    assert foreign_mounts(mounts, Path("/cache/state/log")) == [
        "/run/docker/netns/1",
        "/build/merged/proc",
        "/build/merged",
    ]


@pytest.mark.parametrize("name", ["Pecan", "a" * 16, "-x", "x-", "a/b", "a.b", ""])
def test_a_name_that_no_interface_can_have_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PECAN_LOCAL_CLUSTER", name)
    with pytest.raises(ClusterError, match="PECAN_LOCAL_CLUSTER"):
        instance_from_environment()


def test_the_cache_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PECAN_LOCAL_CLUSTER", raising=False)
    monkeypatch.delenv("PECAN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert instance_from_environment().state == tmp_path / "xdg/pecan-operator/local-cluster/pecan-local/state"
    monkeypatch.setenv("PECAN_CACHE", str(tmp_path / "own"))
    assert instance_from_environment().state == tmp_path / "own/local-cluster/pecan-local/state"


def test_versions_come_from_the_module_file() -> None:
    assert module_version("k8s.io/kubernetes").startswith("v1.34.")
    assert module_version("helm.sh/helm/v3").startswith("v3.")
    with pytest.raises(ClusterError, match="does not require"):
        module_version("example.org/absent")


def test_a_failed_wait_says_what_why_and_where_to_read(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))

    def refuse() -> bool:
        raise ClusterError("connection refused")

    with pytest.raises(ClusterError) as error:
        wait_until("etcd", refuse, seconds=0.05, log=log, every=0.01)
    text = str(error.value)
    assert text.startswith(f"etcd: not within 0 s (connection refused); see {log}")
    assert "line 99" in text
    assert "line 80" not in text


def test_commands_that_fail_or_hang_are_reported_in_one_line() -> None:
    with pytest.raises(ClusterError, match=r"failed with 3: wrong") as failed:
        run(["sh", "-c", "echo wrong >&2; exit 3"])
    assert "\n" not in str(failed.value)
    with pytest.raises(ClusterError, match="did not end within"):
        run(["sleep", "5"], seconds=0.1)
    with pytest.raises(ClusterError, match="cannot be run"):
        run(["/no/such/program"])
    assert run(["cat"], stdin="text") == "text"
