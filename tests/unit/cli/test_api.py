"""What the plugin says to an API server, over real HTTP and WebSockets, and what it makes of the answers."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml
from cli_fakes import FakeChannel
from kube_server import DISCOVERY, Api, serve

from kubectl_pecan.api import KubeApi, connect, refusal
from kubectl_pecan.copying import Action, download, upload
from kubectl_pecan.errors import CliError, ExitCode
from kubectl_pecan.volume import Volume

MODEL = {"apiVersion": "pecanproject.org/v1alpha1", "kind": "PecanModel", "metadata": {"name": "dalec"}, "spec": {}}
PATH = "/apis/pecanproject.org/v1alpha1/namespaces/forest/pecanmodels"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Api, str]]:
    assert "/apis/pecanproject.org/v1alpha1" in DISCOVERY
    api = Api()
    with serve(api) as address:
        yield api, address


@pytest.fixture
def api(server: tuple[Api, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    # The dynamic client keeps what it discovered in a file of the temporary directory.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fresh = Api()
    server[0].requests, server[0].answer, server[0].program = fresh.requests, fresh.answer, fresh.program
    return server[0]


@pytest.fixture
def kube(server: tuple[Api, str], api: Api) -> KubeApi:
    return KubeApi(kubernetes.client.ApiClient(configuration(server[1])), "forest")


def configuration(address: str) -> Any:
    made = kubernetes.client.Configuration()
    made.host, made.retries = address, False
    return made


def test_verbs(kube: KubeApi, api: Api) -> None:
    api.answer = lambda request: (200, {"items": [MODEL]} if request.path == PATH else MODEL)
    assert kube.get("PecanModel", "dalec") == MODEL
    assert (api.last.method, api.last.path) == ("GET", f"{PATH}/dalec")
    assert kube.list("PecanModel", {"a": "b", "c": "d"}) == [MODEL]
    assert api.last.query == {"labelSelector": "a=b,c=d"}
    kube.create(MODEL, dry_run=True)
    assert (api.last.method, api.last.path, api.last.body) == ("POST", PATH, MODEL)
    assert api.last.query == {"fieldManager": "kubectl-pecan", "dryRun": "All"}
    kube.patch("PecanModel", "dalec", {"suspend": True})
    assert (api.last.method, api.last.path) == ("PATCH", f"{PATH}/dalec")
    assert (api.last.content_type, api.last.body) == ("application/merge-patch+json", {"spec": {"suspend": True}})
    kube.delete("PecanModel", "dalec")
    assert (api.last.method, api.last.body) == ("DELETE", {"propagationPolicy": "Background"})


def test_what_is_gone_is_deleted(kube: KubeApi, api: Api) -> None:
    api.refuse(404)
    kube.delete("PecanModel", "dalec")
    api.refuse(403)
    with pytest.raises(CliError, match="you may not delete PecanModel dalec"):
        kube.delete("PecanModel", "dalec")


@pytest.mark.parametrize(
    ("status", "verb", "code", "says"),
    [
        (401, "get", ExitCode.FORBIDDEN, "log in again"),
        (403, "patch", ExitCode.FORBIDDEN, "you may not patch PecanModel dalec in namespace forest: because"),
        (404, "get", ExitCode.NOT_FOUND, "there is no PecanModel dalec in namespace forest"),
        (409, "create", ExitCode.INVALID, "exists already"),
        (422, "create", ExitCode.INVALID, "refused to create PecanModel dalec: because"),
        (429, "get", ExitCode.UNAVAILABLE, "could not get PecanModel dalec"),
        (500, "get", ExitCode.UNAVAILABLE, "could not get PecanModel dalec"),
        (None, "get", ExitCode.UNAVAILABLE, "could not get PecanModel dalec"),
    ],
)
def test_refusal(status: int | None, verb: str, code: ExitCode, says: str) -> None:
    error = refusal(status, json.dumps({"message": "because"}), verb, "PecanModel dalec", "forest")
    assert error.code is code
    assert says in error.message
    assert refusal(status, "<html>", verb, "PecanModel dalec", "forest").code is code


def test_refusals_of_the_server_are_told(kube: KubeApi, api: Api) -> None:
    api.refuse(422, "spec.type is\nwrong")
    with pytest.raises(CliError) as caught:
        kube.create(MODEL)
    assert caught.value.message == "the API server refused to create PecanModel dalec: spec.type is wrong"


def test_a_cluster_without_the_operator(kube: KubeApi, api: Api) -> None:
    with pytest.raises(CliError, match="knows no PecanPlatform: pecan-operator is not installed") as caught:
        kube.get("PecanPlatform", "pecan")
    assert caught.value.code is ExitCode.NOT_FOUND


def test_a_cluster_that_does_not_answer(api: Api) -> None:
    dead = KubeApi(kubernetes.client.ApiClient(configuration("http://127.0.0.1:1")), "forest")
    with pytest.raises(CliError, match=r"cluster at http://127\.0\.0\.1:1 does not answer") as caught:
        dead.get("PecanModel", "dalec")
    assert caught.value.code is ExitCode.UNAVAILABLE


class Program(FakeChannel):
    """The program in the pod, behind a WebSocket."""

    def answers(self) -> bytes:
        data = b"".join(self._answers)
        self._answers.clear()
        return data


def test_files_go_through_exec(kube: KubeApi, api: Api, tmp_path: Path) -> None:
    root, local = tmp_path / "data", tmp_path / "local"
    root.mkdir()
    local.write_bytes(bytes(range(256)) * 1500)
    commands: list[list[str]] = []

    def program(command: list[str]) -> Program:
        commands.append(command)
        return Program(root)

    api.program = program
    with kube.run("data-x", ("python3", "-c", "print(1 + 1)")) as channel:
        volume = Volume(channel)
        assert upload(volume, local, "/data/met/file", False, lambda _: None) is Action.COPY
        assert download(volume, "/data/met/file", tmp_path / "back", False, lambda _: None) is Action.COPY
    assert (tmp_path / "back").read_bytes() == local.read_bytes()
    assert commands == [["python3", "-c", "print(1 + 1)"]]
    # Other calls of the same client are no WebSockets for it.
    assert kube.get("PecanModel", "dalec")


def test_what_has_been_read_is_not_kept(kube: KubeApi, api: Api, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(8_000_000))
    api.program = lambda _: Program(tmp_path)
    with kube.run("data-x", ("true",)) as channel:
        volume = Volume(channel)
        volume.read("/data/file", 0)
        tracemalloc.start()
        try:
            offset = 0
            while data := volume.read("/data/file", offset):
                offset += len(data)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert offset == 8_000_000
    assert kept < 4_000_000


def test_ctrl_c_while_exec_is_opened_is_no_fault_of_the_cluster(
    kube: KubeApi, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(kubernetes.stream.ws_client, "create_websocket", interrupt)
    with pytest.raises(KeyboardInterrupt):
        kube.run("data-x", ("true",))


def test_a_session_that_ends_is_told(kube: KubeApi, api: Api) -> None:
    class Ending(Program):
        def send(self, data: bytes) -> None:
            raise ConnectionError

    api.program = lambda _: Ending(Path())
    with kube.run("data-x", ("true",)) as channel, pytest.raises(CliError, match="pod data-x broke") as caught:
        Volume(channel).entries("/data")
    assert caught.value.code is ExitCode.UNAVAILABLE


def test_exec_that_is_refused(kube: KubeApi, api: Api) -> None:
    api.refuse(403)
    with pytest.raises(CliError, match="pods/exec is needed") as caught:
        kube.run("data-x", ("true",))
    assert caught.value.code is ExitCode.FORBIDDEN
    api.refuse(500)
    with pytest.raises(CliError, match="could not be opened") as caught:
        kube.run("data-x", ("true",))
    assert caught.value.code is ExitCode.UNAVAILABLE


@pytest.fixture
def kubeconfig(tmp_path: Path, server: tuple[Api, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    contexts = [
        {"name": "home", "context": {"cluster": "one", "user": "me", "namespace": "forest"}},
        {"name": "bare", "context": {"cluster": "one", "user": "me"}},
    ]
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "home",
        "contexts": contexts,
        "clusters": [{"name": "one", "cluster": {"server": server[1]}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    monkeypatch.setattr(kubernetes.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    return path


def test_connect_takes_the_namespace_of_the_context(kubeconfig: Path, api: Api) -> None:
    api.answer = lambda _: (200, {"items": []})
    assert connect(None, None).namespace == "forest"
    assert connect(None, "bare").namespace == "default"
    assert connect("sea", None).namespace == "sea"
    assert connect(None, None).list("PecanModel") == []


def test_every_request_says_who_asks(kubeconfig: Path, api: Api, tmp_path: Path) -> None:
    api.answer = lambda _: (200, {"items": []})
    api.program = lambda _: Program(tmp_path)
    api.authorizations.clear()
    cluster = connect(None, None)
    cluster.list("PecanModel")
    with cluster.run("data-x", ("true",)) as channel:
        Volume(channel).entries("/data")
    assert len(api.authorizations) > 1
    assert set(api.authorizations) == {"Bearer secret"}


def test_wrong_kubeconfigs(kubeconfig: Path) -> None:
    with pytest.raises(CliError, match="has no context away; it has: home, bare"):
        connect(None, "away")
    for text in ("a: [", "{}", "contexts: 3"):
        kubeconfig.write_text(text)
        with pytest.raises(CliError) as caught:
            connect(None, None)
        assert caught.value.code is ExitCode.UNAVAILABLE
