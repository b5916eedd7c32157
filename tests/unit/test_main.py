from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import FakeKube
from kubernetes.config import kube_config

from pecan_operator import main as module
from pecan_operator.errors import OperatorError


def established(kube: FakeKube) -> None:
    """As the API server does a moment after a definition was applied."""

    def serve(kind: str, obj: dict[str, Any], gone: bool) -> None:
        if kind == "CustomResourceDefinition" and "status" not in obj:
            kube.put({**obj, "status": {"conditions": [{"type": "Established", "status": "True"}]}})

    kube.watchers.append(serve)


def test_the_definitions_are_applied_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    established(kube)
    module.apply_crds(kube, module.crds())  # type: ignore[arg-type]
    names = {obj["metadata"]["name"] for obj in kube.of_kind("CustomResourceDefinition")}
    assert names == {f"pecan{kind}.pecanproject.org" for kind in ("platforms", "models", "workflows")}
    assert all(verb == "apply" for verb, _, _ in kube.writes)


def test_a_definition_that_is_not_served_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(0, 1000, 30))
    quick = SimpleNamespace(monotonic=lambda: float(next(moments)), sleep=lambda seconds: None)
    monkeypatch.setattr(module, "time", quick)
    with pytest.raises(OperatorError, match=r"CustomResourceDefinition pecan.*is not served after 60 s"):
        module.apply_crds(FakeKube(), module.crds())  # type: ignore[arg-type]


def test_crds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    established(kube)
    monkeypatch.setattr(module, "connect", lambda: kube)
    assert module.main(["crds"]) == 0
    assert len(kube.objects) == 3


def test_wrong_settings_are_told_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PECAN_HEALTH_PORT", "http")
    assert module.main([]) == 1
    told = capsys.readouterr().err
    assert told.startswith("pecan-operator: PECAN_HEALTH_PORT is 'http'")
    assert told.count("\n") == 1


def test_without_a_cluster_it_says_so_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    assert module.main(["crds"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("pecan-operator: no cluster is configured")
    assert told.count("\n") == 1


def test_an_unknown_command_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        module.main(["deploy"])
    assert left.value.code == 2
    assert "deploy" in capsys.readouterr().err
