"""The Kubernetes client over real HTTP, against a server that answers as a test says."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator

import kubernetes
import pytest
from kube_server import DISCOVERY, Api, serve, served

from pecan_operator.clients import kube as kube_module
from pecan_operator.clients.kube import REQUEST_TIMEOUT_SECONDS, Kube, connect
from pecan_operator.errors import NotYet, Unavailable, UserError

MODEL = {
    "apiVersion": "pecanproject.org/v1alpha1",
    "kind": "PecanModel",
    "metadata": {"name": "dalec", "namespace": "forest", "uid": "u1"},
}
CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "namespace": "forest"},
    "data": {"a": "b"},
}


@pytest.fixture(scope="module", autouse=True)
def _discovery_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The dynamic client keeps what it discovered in a file of the temporary directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("discovery")))
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Api, str]]:
    api = Api()
    with serve(api) as address:
        yield api, address


def client_of(address: str, timeout_seconds: tuple[float, float] = REQUEST_TIMEOUT_SECONDS) -> Kube:
    configuration = kubernetes.client.Configuration()
    configuration.host = address
    configuration.retries = False
    return Kube(kubernetes.client.ApiClient(configuration), timeout_seconds)


@pytest.fixture(scope="module")
def module_kube(server: tuple[Api, str]) -> Kube:
    return client_of(server[1])


@pytest.fixture
def api(server: tuple[Api, str]) -> Api:
    made = Api()
    server[0].requests, server[0].answer = made.requests, made.answer
    return server[0]


@pytest.fixture
def kube(module_kube: Kube, api: Api) -> Kube:
    module_kube.requests.clear()
    return module_kube


def test_apply_is_server_side_by_one_manager_and_takes_conflicts_over(kube: Kube, api: Api) -> None:
    assert kube.apply(CONFIG) == CONFIG
    assert (api.last.method, api.last.path) == ("PATCH", "/api/v1/namespaces/forest/configmaps/settings")
    assert api.last.content_type == "application/apply-patch+yaml"
    assert api.last.query == {"fieldManager": "pecan-operator", "force": "true"}
    assert api.last.body == CONFIG
    assert kube.requests == {("patch", "ConfigMap"): 1}


def test_create(kube: Kube, api: Api) -> None:
    assert kube.create(CONFIG) == CONFIG
    assert (api.last.method, api.last.path) == ("POST", "/api/v1/namespaces/forest/configmaps")
    assert api.last.query["fieldManager"] == "pecan-operator"


def test_what_exists_is_not_created(kube: Kube, api: Api) -> None:
    api.refuse(409, 'configmaps "settings" already exists')
    assert kube.create(CONFIG) is None


def test_replace_puts_what_was_read_and_changed(kube: Kube, api: Api) -> None:
    read = {**CONFIG, "metadata": {**CONFIG["metadata"], "resourceVersion": "7"}}
    api.answer = lambda _: (200, read)
    assert kube.replace(read) == read
    assert (api.last.method, api.last.path) == ("PUT", "/api/v1/namespaces/forest/configmaps/settings")
    assert api.last.body == read


@pytest.mark.parametrize("status", [404, 409])
def test_what_has_changed_meanwhile_is_not_replaced(kube: Kube, api: Api, status: int) -> None:
    api.answer = lambda _: (status, {})
    assert kube.replace(CONFIG) is None


def test_replace_that_is_forbidden_is_told(kube: Kube, api: Api) -> None:
    api.answer = lambda _: (403, {"message": "leases is forbidden"})
    with pytest.raises(UserError, match="refused to replace ConfigMap settings: leases is forbidden"):
        kube.replace(CONFIG)


def test_read(kube: Kube, api: Api) -> None:
    api.answer = lambda _: (200, CONFIG)
    assert kube.read("v1", "ConfigMap", "forest", "settings") == CONFIG
    assert (api.last.method, api.last.path) == ("GET", "/api/v1/namespaces/forest/configmaps/settings")
    assert kube.requests == {("get", "ConfigMap"): 1}


def test_what_is_absent_is_none(kube: Kube, api: Api) -> None:
    api.refuse(404)
    assert kube.read("v1", "ConfigMap", "forest", "settings") is None
    assert kube.list("v1", "ConfigMap", "forest") == []
    assert kube.patch("v1", "ConfigMap", "forest", "settings", {}) is None
    kube.delete("v1", "ConfigMap", "forest", "settings")
    kube.apply_status(MODEL, {"phase": "Ready"})


def test_list_by_labels_says_what_each_item_is(kube: Kube, api: Api) -> None:
    api.answer = lambda _: (200, {"items": [{"metadata": {"name": "a"}}]})
    found = kube.list("v1", "Pod", "forest", {"a": "b", "c/d": "e"})
    assert found == [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}]
    assert api.last.path == "/api/v1/namespaces/forest/pods"
    assert api.last.query == {"labelSelector": "a=b,c/d=e"}
    kube.list("v1", "Pod", None)
    assert (api.last.path, api.last.query) == ("/api/v1/pods", {})


def test_delete_in_the_background_and_only_that_very_object(kube: Kube, api: Api) -> None:
    kube.delete("v1", "ConfigMap", "forest", "settings", uid="u9")
    assert api.last.method == "DELETE"
    assert api.last.body == {"propagationPolicy": "Background", "preconditions": {"uid": "u9"}}
    api.refuse(409, "the UID in the precondition does not match")
    kube.delete("v1", "ConfigMap", "forest", "settings", uid="u9")


def test_patch_is_a_merge(kube: Kube, api: Api) -> None:
    change = {"metadata": {"annotations": {"cost": None}}}
    assert kube.patch("v1", "Pod", "forest", "worker-1", change) == change
    assert (api.last.method, api.last.content_type) == ("PATCH", "application/merge-patch+json")
    assert api.last.path == "/api/v1/namespaces/forest/pods/worker-1"


def test_status_is_applied_whole_to_that_very_object(kube: Kube, api: Api) -> None:
    kube.apply_status(MODEL, {"phase": "Ready"})
    assert api.last.path == "/apis/pecanproject.org/v1alpha1/namespaces/forest/pecanmodels/dalec/status"
    assert api.last.content_type == "application/apply-patch+yaml"
    assert api.last.body == {**MODEL, "status": {"phase": "Ready"}}
    api.refuse(409, "uid mismatch")
    kube.apply_status(MODEL, {"phase": "Ready"})


def test_an_equal_status_is_not_written(kube: Kube, api: Api) -> None:
    kube.apply_status({**MODEL, "status": {"phase": "Ready"}}, {"phase": "Ready"})
    assert api.requests == []
    assert kube.requests == {}


def test_an_event_is_about_its_object(kube: Kube, api: Api) -> None:
    kube.event(MODEL, "Warning", "Failed", "x" * 5000)
    body = api.last.body
    assert api.last.path == "/api/v1/namespaces/forest/events"
    assert body["involvedObject"] == {
        "apiVersion": "pecanproject.org/v1alpha1", "kind": "PecanModel", "name": "dalec", "namespace": "forest", "uid": "u1",
    }  # fmt: skip
    assert (body["type"], body["reason"], len(body["message"])) == ("Warning", "Failed", 1024)
    assert body["metadata"]["generateName"] == "dalec."


@pytest.mark.parametrize("status", [403, 409, 422, 429, 500, 503])
def test_an_event_that_cannot_be_told_is_no_failure(kube: Kube, api: Api, status: int) -> None:
    api.refuse(status)
    kube.event(MODEL, "Normal", "Running", "runs")


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422])
def test_what_is_refused_is_told_with_the_api_servers_words(kube: Kube, api: Api, status: int) -> None:
    api.refuse(status, "spec.replicas: Invalid value: -1")
    with pytest.raises(
        UserError, match=r"refused to patch ConfigMap settings: spec\.replicas: Invalid value: -1"
    ) as refused:
        kube.apply(CONFIG)
    assert refused.value.reason == "RefusedByKubernetes"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_unavailable(kube: Kube, api: Api, status: int) -> None:
    api.refuse(status)
    for call in (
        lambda: kube.apply(CONFIG),
        lambda: kube.create(CONFIG),
        lambda: kube.read("v1", "ConfigMap", "forest", "settings"),
        lambda: kube.delete("v1", "ConfigMap", "forest", "settings"),
        lambda: kube.apply_status(MODEL, {"phase": "Ready"}),
    ):
        with pytest.raises(Unavailable) as away:
            call()
        assert away.value.reason == "KubernetesUnavailable"


@pytest.mark.parametrize("body", [b"<html>no</html>", b"", b'{"message": null}', b"[]"])
def test_an_answer_that_is_no_status_is_told_by_its_reason(kube: Kube, api: Api, body: bytes) -> None:
    api.answer = lambda _: (403, body)
    with pytest.raises(UserError, match="the API server refused to get ConfigMap settings"):
        kube.read("v1", "ConfigMap", "forest", "settings")


def test_an_answer_that_is_no_json_is_no_answer(kube: Kube, api: Api) -> None:
    api.answer = lambda _: (200, b"<html>a login page</html>")
    with pytest.raises(Unavailable, match="did not answer"):
        kube.read("v1", "ConfigMap", "forest", "settings")


def test_a_kind_that_is_not_served_comes_later(kube: Kube, api: Api) -> None:
    with pytest.raises(NotYet) as missing:
        kube.read("pecanproject.org/v1alpha1", "PecanWorkflow", "forest", "loobos")
    assert missing.value.reason == "KindNotServed"
    assert "PecanWorkflow loobos" in missing.value.message


def test_a_kind_that_has_come_is_found(kube: Kube, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    found = served(("pecanmodels", "PecanModel"), ("pecanplatforms", "PecanPlatform"))
    with pytest.raises(NotYet):
        kube.read("pecanproject.org/v1alpha1", "PecanPlatform", "forest", "pecan")
    monkeypatch.setitem(DISCOVERY, "/apis/pecanproject.org/v1alpha1", found)
    api.answer = lambda _: (200, {"kind": "PecanPlatform"})
    assert kube.read("pecanproject.org/v1alpha1", "PecanPlatform", "forest", "pecan") == {"kind": "PecanPlatform"}


def test_a_server_that_is_not_there_is_unavailable() -> None:
    kube = client_of("https://127.0.0.1:1")
    with pytest.raises(Unavailable) as away:
        kube.read("v1", "ConfigMap", "forest", "settings")
    assert away.value.reason == "KubernetesUnavailable"


def test_a_client_for_a_lease_is_told_soon_and_asks_once(
    server: tuple[Api, str], api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = kubernetes.client.Configuration()
    configuration.host = server[1]
    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)
    monkeypatch.setattr(kubernetes.client.Configuration, "_default", configuration)
    monkeypatch.setattr(kube_module, "LEASE_TIMEOUT_SECONDS", (0.5, 0.05))
    waiting = threading.Event()
    api.answer = lambda _: (200, waiting.wait(2.0))
    with pytest.raises(Unavailable, match="did not answer"):
        connect(for_lease=True).replace(CONFIG)
    waiting.set()
    assert len(api.requests) == 1


def test_an_answer_that_does_not_come_is_unavailable(server: tuple[Api, str], api: Api) -> None:
    waiting = threading.Event()
    api.answer = lambda _: (200, waiting.wait(2.0))
    with pytest.raises(Unavailable, match="did not answer"):
        client_of(server[1], (0.5, 0.02)).read("v1", "ConfigMap", "forest", "settings")
    waiting.set()


def test_metadata_comes_in_pages(kube: Kube, api: Api) -> None:
    pages = {
        None: {"metadata": {"continue": "next"}, "items": [{"metadata": {"name": "a"}}]},
        "next": {"metadata": {}, "items": [{"metadata": {"name": "b"}}]},
    }
    api.answer = lambda request: (200, pages[request.query.get("continue")])
    found = list(kube.list_metadata("v1", "ConfigMap", "forest"))
    assert [each["name"] for each in found] == ["a", "b"]
    assert api.last.query["limit"] == "500"


def test_metadata_of_none_is_none(kube: Kube, api: Api) -> None:
    """The API server writes null for an empty list of metadata."""
    api.answer = lambda _: (200, {"metadata": {}, "items": None})
    assert list(kube.list_metadata("v1", "ConfigMap", "forest")) == []


def test_what_is_not_served_is_passed_over_when_kinds_are_looked_up(kube: Kube, api: Api) -> None:
    kube.discover([("v1", "ConfigMap"), ("nobody.example/v1", "Nothing")])
    assert kube.requests == {}
    assert kube.read("v1", "ConfigMap", "forest", "settings") is not None
