import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import FakeKube
from kubernetes.config import kube_config

from pecan_operator import main as module
from pecan_operator.core.leader import holder_of
from pecan_operator.errors import OperatorError
from pecan_operator.settings import read_settings


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


class Operator:
    """`run` in a thread. `stop` is what a signal sets; `watching` is set while it watches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kube = FakeKube()
        established(self.kube)
        self.stop, self.watching = threading.Event(), threading.Event()
        self.checks: list[Callable[[], str | None]] = []
        self.code: int | None = None
        monkeypatch.setattr(module, "connect", lambda for_lease=False: self.kube)
        monkeypatch.setattr(module, "serve", lambda port, *checks: self.checks.extend(checks))
        monkeypatch.setattr(module, "watch", self._watch)
        monkeypatch.setattr(module, "_stop_on_signal", lambda: self.stop)
        monkeypatch.setattr(module, "leave_when_superseded", lambda: None)
        monkeypatch.setattr(module.metrics, "expose", lambda *given: None)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> int | None:
        self.stop.set()
        self._thread.join(10.0)
        return self.code

    def lease(self) -> dict[str, Any] | None:
        return self.kube.get("Lease", "pecan-operator", "default")

    def hold_by_another(self) -> None:
        spec = {"holderIdentity": "another", "leaseDurationSeconds": 6, "leaseTransitions": 3}
        metadata = {"name": "pecan-operator", "namespace": "default"}
        self.kube.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})

    def _watch(self, store: Any, enqueue: Any, namespaces: Any, stop: threading.Event) -> None:
        self.watching.set()
        stop.wait(10.0)

    def _run(self) -> None:
        self.code = module.run(read_settings({}))


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(monkeypatch)


def test_the_holder_of_the_lease_works_and_gives_it_back(operator: Operator) -> None:
    operator.start()
    assert operator.watching.wait(10.0)
    assert holder_of(operator.lease())
    assert len(operator.kube.of_kind("CustomResourceDefinition")) == 3
    assert operator.end() == 0
    assert holder_of(operator.lease()) == ""


def test_one_that_waits_for_the_lease_is_live_and_ready_writes_nothing_and_ends_well(operator: Operator) -> None:
    operator.hold_by_another()
    operator.start()
    assert not operator.watching.wait(0.6)
    assert [check() for check in operator.checks] == [None, None]
    assert operator.kube.writes == []
    assert operator.end() == 0
    assert holder_of(operator.lease()) == "another"
    assert not operator.watching.is_set()


def test_a_leader_is_ready_when_it_has_listed(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = threading.Event()
    monkeypatch.setattr(module.Boundary, "resync", lambda self, full: listed.wait(10.0))
    operator.start()
    assert operator.watching.wait(10.0)
    healthy, ready = operator.checks
    assert (healthy(), ready()) == (None, "the first listing has not been done")
    listed.set()
    for _ in range(1000):
        if ready() is None:
            break
        threading.Event().wait(0.01)
    assert ready() is None
    operator.end()


def test_what_does_not_end_keeps_nobody_waiting(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(module.WorkQueue, "stop", lambda self: hangs.wait(60.0))
    operator.start()
    assert operator.watching.wait(10.0)
    assert operator.end() == 0
    assert holder_of(operator.lease()) == ""
    hangs.set()


def test_watches_that_end_by_themselves_end_the_process_and_give_the_lease_back(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "watch", lambda *given: operator.watching.set())
    operator.start()
    assert operator.watching.wait(10.0)
    operator._thread.join(10.0)
    assert operator.code == 0
    assert holder_of(operator.lease()) == ""


def test_definitions_that_are_served_are_brought_up_to_date_beside_the_work() -> None:
    kube = FakeKube()
    established(kube)
    module.bring_up_to_date(kube, module.crds())  # type: ignore[arg-type]
    assert len(kube.of_kind("CustomResourceDefinition")) == 3
    release, applied = threading.Event(), threading.Event()
    apply = kube.apply

    def slow(manifest: dict[str, Any]) -> dict[str, Any]:
        release.wait(10.0)
        made: dict[str, Any] = apply(manifest)
        applied.set()
        return made

    kube.apply = slow  # type: ignore[method-assign]
    module.bring_up_to_date(kube, module.crds())  # type: ignore[arg-type]
    assert not applied.is_set()
    release.set()
    assert applied.wait(10.0)


def test_the_kinds_that_are_used_are_named_as_the_api_server_does() -> None:
    assert ("apps/v1", "Deployment") in module.USED_KINDS
    assert ("v1", "Pod") in module.USED_KINDS
    assert ("pecanproject.org/v1alpha1", "PecanModel") in module.USED_KINDS
