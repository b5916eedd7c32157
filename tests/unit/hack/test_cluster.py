"""Which cluster `hack/cluster` chooses, and what it says when none is possible."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "hack" / "cluster"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module, with its files in a folder of their own and an empty PATH."""
    loader = importlib.machinery.SourceFileLoader("hack_cluster", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    build = tmp_path / "build"
    for name, path in {
        "BUILD": build, "KUBECONFIG": build / "kubeconfig", "ENVIRONMENT": build / "cluster.env",
        "PUSHED": build / "pushed-images", "TOOLS": build / "bin",
    }.items():  # fmt: skip
        monkeypatch.setattr(module, name, path)
    for variable in ("CLUSTER", "REGISTRY", "PECAN_LOCAL_CLUSTER"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("PECAN_CACHE", str(tmp_path / "cache"))
    return module


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, str], None]:
    """Put a shell script on the PATH."""

    def write(name: str, body: str) -> None:
        file = tmp_path / "path" / name
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)

    return write


Program = Callable[[str, str], None]


def test_kind_is_used_where_docker_can_pull(cluster: ModuleType, program: Program) -> None:
    for name in ("docker", "kind", "kubectl", "helm"):
        program(name, "exit 0")
    assert cluster.choose() == ("kind", "Docker works and can pull")


@pytest.mark.parametrize(
    ("docker", "words"),
    [
        ("echo no daemon >&2; exit 1", "Docker does not work"),
        ('[ "$1" = info ] && exit 0; echo no route >&2; exit 1', "cannot pull"),
    ],
)
def test_our_own_is_used_where_docker_cannot_and_the_reason_is_said(
    cluster: ModuleType, program: Program, monkeypatch: pytest.MonkeyPatch, docker: str, words: str
) -> None:
    for name in ("kind", "kubectl", "helm"):
        program(name, "exit 0")
    program("docker", docker)
    monkeypatch.setattr(cluster, "why_not_local", lambda: None)
    kind, reason = cluster.choose()
    assert kind == "local"
    assert words in reason


def test_nothing_is_changed_where_no_cluster_is_possible(
    cluster: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cluster.lifecycle.machine.os, "geteuid", lambda: 1000)
    assert cluster.main(["up"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "there is no Docker" in line
    assert "root" in line
    assert not (tmp_path / "build").exists()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"CLUSTER": "current"}, "set REGISTRY="),
        ({"CLUSTER": "current", "REGISTRY": "r.example/x"}, "neither skopeo nor docker"),
        ({"CLUSTER": "minikube"}, "none of current, kind, local"),
        ({"CLUSTER": "kind"}, "there is no Docker"),
    ],
)
def test_a_wish_that_cannot_be_met_ends_in_one_line(
    cluster: ModuleType,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    words: str,
) -> None:
    program("kubectl", "echo my-context")
    program("helm", "exit 0")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cluster.main(["up"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_the_current_context_is_copied_and_images_are_pushed_to_the_registry(
    cluster: ModuleType, program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program("kubectl", 'case "$*" in "config current-context") echo lab;; *) echo "kubeconfig of $*";; esac')
    program("helm", "exit 0")
    program("skopeo", f'echo "$@" >> {tmp_path}/pushed')
    monkeypatch.setenv("CLUSTER", "current")
    monkeypatch.setenv("REGISTRY", "r.example/lab/")
    assert cluster.main(["up"]) == 0
    assert cluster.KUBECONFIG.stat().st_mode & 0o777 == 0o600
    assert cluster.recorded() == {
        "CLUSTER_KIND": "current", "KUBECONFIG": str(cluster.KUBECONFIG), "CONTEXT": "lab", "REGISTRY": "r.example/lab",
    }  # fmt: skip
    monkeypatch.setattr(cluster, "archive_references", lambda _: ["pecan.local/operator:1"])
    monkeypatch.setattr(cluster, "archive_format", lambda _: "oci")
    assert cluster.main(["load", "operator.tar"]) == 0
    pushed = (tmp_path / "pushed").read_text()
    assert "oci-archive:operator.tar:pecan.local/operator:1 docker://r.example/lab/operator:1" in pushed
    assert cluster.images() == ["pecan.local/operator:1", "r.example/lab/operator:1"]
    assert cluster.main(["down"]) == 0
    assert not cluster.KUBECONFIG.exists()


def test_another_kind_is_not_started_beside_one_that_is_up(
    cluster: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.BUILD.mkdir()
    cluster.ENVIRONMENT.write_text("CLUSTER_KIND=kind\n")
    monkeypatch.setattr(cluster, "why_not_local", lambda: None)
    assert cluster.main(["up"]) == 1
    assert "hack/cluster down" in capsys.readouterr().err


def test_commands_that_need_a_cluster_say_so(cluster: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["env"], ["images"], ["load", "x.tar"]):
        assert cluster.main(words) == 1
        assert "hack/cluster up" in capsys.readouterr().err
