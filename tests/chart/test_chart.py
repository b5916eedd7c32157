"""The chart as helm renders it: rights, security, namespaced mode, values that are refused."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pecan_operator.core.pods import restricted_container
from pecan_operator.settings import DEFAULTS, read_settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "pecan-operator"
KINDS = ["pecanplatforms", "pecanmodels", "pecanworkflows"]
FULL_NAME = "pecan-pecan-operator"
CLUSTER_NAME = f"pecan-system-{FULL_NAME}"

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]


def helm_template(tmp_path: Path, values: Manifest, *more: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    command = [ROOT / "hack" / "helm", "template", "pecan", CHART, "--namespace", "pecan-system"]
    command += ["--kube-version", "1.34.0", "--values", file, *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """The rendered objects for some values."""

    def rendered(*more: str, **values: Any) -> list[Manifest]:
        done = helm_template(tmp_path, values, *more)
        assert done.returncode == 0, done.stderr
        return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]

    return rendered


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """What helm says of values it refuses."""

    def refused(**values: Any) -> str:
        done = helm_template(tmp_path, values)
        assert done.returncode != 0
        return done.stderr

    return refused


def pick(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    (found,) = [m for m in manifests if m["kind"] == kind and name in (None, m["metadata"]["name"])]
    return found


def kinds_and_names(manifests: list[Manifest]) -> set[tuple[str, str]]:
    return {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}


def is_hook(manifest: Manifest) -> bool:
    return "helm.sh/hook" in (manifest["metadata"].get("annotations") or {})


def rights(role: Manifest) -> dict[tuple[str, str], set[str]]:
    """The verbs by (group, resource), without rules for single names."""
    given: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        if "resourceNames" not in rule:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    given.setdefault((group, resource), set()).update(rule["verbs"])
    return given


def environment(deployment: Manifest) -> dict[str, str]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def test_what_an_install_makes(render):
    installed = [manifest for manifest in render() if not is_hook(manifest)]
    assert kinds_and_names(installed) == {
        ("ServiceAccount", FULL_NAME),
        ("Deployment", FULL_NAME),
        ("ClusterRole", CLUSTER_NAME),
        ("ClusterRoleBinding", CLUSTER_NAME),
        ("ClusterRole", f"{CLUSTER_NAME}-view"),
        ("ClusterRole", f"{CLUSTER_NAME}-edit"),
        ("Role", f"{FULL_NAME}-leader"),
        ("RoleBinding", f"{FULL_NAME}-leader"),
    }
    cluster_wide = ("ClusterRole", "ClusterRoleBinding")
    assert all(m["metadata"]["namespace"] == "pecan-system" for m in installed if m["kind"] not in cluster_wide)


def test_the_rights_of_the_operator(render):
    read, write = {"get", "list", "watch"}, {"create", "patch", "delete"}
    expected = {("pecanproject.org", kind): read for kind in KINDS}
    expected |= {("pecanproject.org", f"{kind}/status"): {"get", "patch"} for kind in KINDS}
    expected |= {
        ("apps", "deployments"): read | write,
        ("apps", "statefulsets"): read | write,
        ("batch", "jobs"): read | write,
        ("", "services"): write | {"get", "list"},
        ("", "configmaps"): write | {"get", "list"},
        ("", "secrets"): write | {"get", "list"},
        ("", "persistentvolumeclaims"): read | {"create", "patch"},
        ("", "pods"): read | {"patch"},
        ("", "events"): {"list", "create", "patch"},
    }
    manifests = render()
    role = pick(manifests, "ClusterRole", CLUSTER_NAME)
    assert rights(role) == expected | {("apiextensions.k8s.io", "customresourcedefinitions"): {"create"}}
    assert rights(pick(manifests, "Role")) == {("coordination.k8s.io", "leases"): {"get", "create", "update", "patch"}}
    assert pick(manifests, "ClusterRoleBinding", CLUSTER_NAME)["subjects"] == [
        {"kind": "ServiceAccount", "name": FULL_NAME, "namespace": "pecan-system"}
    ]


def test_only_our_own_crds_can_be_changed(render):
    named = [rule for rule in pick(render(), "ClusterRole", CLUSTER_NAME)["rules"] if "resourceNames" in rule]
    assert named == [
        {
            "apiGroups": ["apiextensions.k8s.io"],
            "resources": ["customresourcedefinitions"],
            "resourceNames": [f"{kind}.pecanproject.org" for kind in KINDS],
            "verbs": ["get", "patch"],
        }
    ]


def test_in_namespaced_mode_there_are_roles_in_those_namespaces_and_nothing_wider(render):
    manifests = render(watchNamespaces=["forest", "meadow"])
    assert not [m for m in manifests if is_hook(m)]
    wide = [m for m in manifests if m["kind"].startswith("Cluster")]
    assert kinds_and_names(wide) == {("ClusterRole", f"{CLUSTER_NAME}-view"), ("ClusterRole", f"{CLUSTER_NAME}-edit")}
    roles = {m["metadata"]["namespace"]: m for m in manifests if m["kind"] == "Role"}
    assert set(roles) == {"pecan-system", "forest", "meadow"}
    assert roles["forest"]["rules"] == roles["meadow"]["rules"]
    assert ("apiextensions.k8s.io", "customresourcedefinitions") not in rights(roles["forest"])
    everywhere = rights(pick(render(), "ClusterRole", CLUSTER_NAME))
    del everywhere["apiextensions.k8s.io", "customresourcedefinitions"]
    assert rights(roles["forest"]) == everywhere
    for binding in (m for m in manifests if m["kind"] == "RoleBinding"):
        assert binding["roleRef"]["kind"] == "Role"
        assert binding["subjects"][0]["namespace"] == "pecan-system"
    given = environment(pick(manifests, "Deployment"))
    assert given["PECAN_WATCH_NAMESPACES"] == "forest,meadow"
    assert given["PECAN_APPLY_CRDS"] == "false"


def test_without_rbac_there_is_none(render):
    manifests = render(rbac={"create": False, "aggregate": False})
    assert kinds_and_names([m for m in manifests if not is_hook(m)]) == {
        ("ServiceAccount", FULL_NAME),
        ("Deployment", FULL_NAME),
    }


def test_users_get_the_kinds_by_their_roles_in_a_namespace(render):
    manifests = render()
    view = pick(manifests, "ClusterRole", f"{CLUSTER_NAME}-view")
    edit = pick(manifests, "ClusterRole", f"{CLUSTER_NAME}-edit")
    aggregated = "rbac.authorization.k8s.io/aggregate-to-"
    reaches = [
        {k.removeprefix(aggregated) for k in m["metadata"]["labels"] if k.startswith(aggregated)} for m in (view, edit)
    ]
    assert reaches == [{"view", "edit", "admin"}, {"edit", "admin"}]
    assert {verb for verbs in rights(view).values() for verb in verbs} == {"get", "list", "watch"}
    writing = {"create", "update", "patch", "delete", "deletecollection"}
    expected = {("pecanproject.org", kind): writing for kind in KINDS}
    assert rights(edit) == expected | {("pecanproject.org", "pecanmodels/scale"): {"update", "patch"}}


def test_pods_are_restricted(render):
    manifests = render(crds={"manage": True})
    pods = [m["spec"]["template"]["spec"] for m in manifests if m["kind"] in ("Deployment", "Job")]
    assert len(pods) == 2
    for pod in pods:
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        (container,) = pod["containers"]
        assert container["securityContext"] == restricted_container()
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
        assert pod["volumes"] == [{"name": "tmp", "emptyDir": {}}]
        assert pod["enableServiceLinks"] is False
        assert container["resources"] == {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        }


def test_probes_ask_the_operator_itself(render):
    (container,) = pick(render(), "Deployment")["spec"]["template"]["spec"]["containers"]
    port = {each["name"]: each["containerPort"] for each in container["ports"]}
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        asked = container[probe]["httpGet"]
        assert (asked["path"], port[asked["port"]]) == (path, 8080)


def test_the_selector_finds_the_operators_pods_only(render):
    manifests = render()
    deployment = pick(manifests, "Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    hook = pick(manifests, "Job")
    assert not selector.items() <= hook["spec"]["template"]["metadata"]["labels"].items()


def test_by_default_the_operator_gets_its_published_settings(render):
    given = environment(pick(render(), "Deployment"))
    assert set(given) | {"PECAN_OPERATOR_NAMESPACE"} == set(DEFAULTS)
    assert given.pop("PECAN_LEASE_NAME") == FULL_NAME
    assert read_settings({**given, "PECAN_OPERATOR_NAMESPACE": "default"}) == read_settings({})


def test_images_and_settings_reach_the_operator(render):
    manifests = render(
        image={"repository": "mirror/operator", "tag": "2", "pullPolicy": "Always"},
        images={
            "executor": "mirror/executor:2",
            "pecanExecutor": "mirror/pecan-executor:2",
            "postgres": "mirror/postgis:2",
            "rabbitmq": "mirror/rabbitmq:2",
        },
        imagePullSecrets=[{"name": "one"}, {"name": "two"}],
        logLevel="DEBUG",
    )
    deployment = pick(manifests, "Deployment")
    settings = read_settings(environment(deployment))
    assert (settings.images.operator, settings.images.executor) == ("mirror/operator:2", "mirror/executor:2")
    assert settings.images.pecan_executor == "mirror/pecan-executor:2"
    assert (settings.images.postgres, settings.images.rabbitmq) == ("mirror/postgis:2", "mirror/rabbitmq:2")
    assert (settings.images.pull_policy, settings.images.pull_secrets) == ("Always", ("one", "two"))
    assert settings.log_level == "DEBUG"
    for pod in (deployment["spec"]["template"]["spec"], pick(manifests, "Job")["spec"]["template"]["spec"]):
        assert pod["containers"][0]["image"] == "mirror/operator:2"
        assert pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]


def test_where_and_how_the_operator_runs_can_be_said(render):
    toleration = {"key": "dedicated", "operator": "Exists"}
    manifests = render(
        nodeSelector={"kubernetes.io/arch": "amd64"},
        tolerations=[toleration],
        podAnnotations={"a": "b"},
        podLabels={"team": "forest"},
        priorityClassName="high",
        replicas=2,
        serviceAccount={"create": False, "name": "mine"},
    )
    deployment = pick(manifests, "Deployment")
    template = deployment["spec"]["template"]
    assert deployment["spec"]["replicas"] == 2
    assert template["metadata"]["annotations"] == {"a": "b"}
    assert template["metadata"]["labels"]["team"] == "forest"
    assert template["spec"]["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert template["spec"]["tolerations"] == [toleration]
    assert template["spec"]["priorityClassName"] == "high"
    assert template["spec"]["serviceAccountName"] == "mine"
    assert ("ServiceAccount", "mine") not in kinds_and_names(manifests)
    assert pick(manifests, "ClusterRoleBinding", CLUSTER_NAME)["subjects"][0]["name"] == "mine"


def test_an_operator_is_replaced_by_one_that_is_ready_and_two_are_apart(render):
    affinity = {"nodeAffinity": {}}
    one, two, said = (
        pick(render(**values), "Deployment")["spec"]
        for values in ({}, {"replicas": 2}, {"replicas": 2, "affinity": affinity})
    )
    assert one["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert "affinity" not in one["template"]["spec"]
    (wish,) = two["template"]["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert wish["podAffinityTerm"] == {"topologyKey": "kubernetes.io/hostname", "labelSelector": two["selector"]}
    assert said["template"]["spec"]["affinity"] == affinity


def test_releases_of_one_namespace_have_leases_of_their_own(render):
    (first,) = [environment(m) for m in render() if m["kind"] == "Deployment"]
    (other,) = [environment(m) for m in render(fullnameOverride="other") if m["kind"] == "Deployment"]
    assert (first["PECAN_LEASE_NAME"], other["PECAN_LEASE_NAME"]) == (FULL_NAME, "other")


def test_the_hook_brings_the_crds_up_to_date_and_leaves_nothing(render):
    hooks = [manifest for manifest in render() if is_hook(manifest)]
    assert [hook["kind"] for hook in hooks] == ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Job"]
    for hook in hooks:
        assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
        assert hook["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    account, role, binding, job = hooks
    assert set(rights(role)) == {("apiextensions.k8s.io", "customresourcedefinitions")}
    assert binding["subjects"][0]["name"] == account["metadata"]["name"]
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["crds"]
    weights = [int(hook["metadata"]["annotations"]["helm.sh/hook-weight"]) for hook in hooks]
    assert max(weights[:3]) < weights[3]


def test_the_crds_may_be_left_to_others(render):
    manifests = render(crds={"manage": False})
    assert not [m for m in manifests if is_hook(m)]
    assert environment(pick(manifests, "Deployment"))["PECAN_APPLY_CRDS"] == "false"
    assert ("apiextensions.k8s.io", "customresourcedefinitions") not in rights(
        pick(manifests, "ClusterRole", CLUSTER_NAME)
    )


def test_the_crds_of_the_chart_are_those_of_the_project(render):
    crds = [m for m in render("--include-crds") if m["kind"] == "CustomResourceDefinition"]
    ours = [yaml.safe_load(file.read_text()) for file in (ROOT / "crds").glob("*.yaml")]
    assert sorted(crd["metadata"]["name"] for crd in crds) == sorted(f"{kind}.pecanproject.org" for kind in KINDS)
    assert sorted(crds, key=str) == sorted(ours, key=str)


def test_a_platform_of_the_release_is_kept_when_it_goes(render):
    spec = {"hostname": "pecan.example.org", "storage": {"data": {"size": "1Ti"}}}
    manifests = render(platform={"create": True, "name": "lab", "spec": spec})
    platform = pick(manifests, "PecanPlatform")
    assert (platform["metadata"]["name"], platform["spec"]) == ("lab", spec)
    assert platform["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    # Older CRDs may be there from before: they have to be ours before the platform is made.
    assert pick(manifests, "Job")["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"logLevle": "INFO"}, "logLevle"),
        ({"image": {"name": "x"}}, "name"),
        ({"images": {"bety": "x"}}, "bety"),
        ({"crds": {"install": True}}, "install"),
        ({"rbac": {"clusterWide": True}}, "clusterWide"),
        ({"serviceAccount": {"automount": True}}, "automount"),
        ({"resources": {"memory": "1Gi"}}, "memory"),
        ({"platform": {"enabled": True}}, "enabled"),
        ({"imagePullSecrets": [{"name": "a", "namespace": "b"}]}, "namespace"),
    ],
)
def test_unknown_keys_are_refused_by_name(refusal, values, key):
    assert f"additional properties '{key}' not allowed" in refusal(**values)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"logLevel": "LOUD"}, "logLevel"),
        ({"replicas": -1}, "replicas"),
        ({"imagePullSecrets": ["registry"]}, "imagePullSecrets"),
        ({"watchNamespaces": ["Not_A_Namespace"]}, "watchNamespaces"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"platform": {"create": "yes"}}, "create"),
    ],
)
def test_wrong_values_are_refused_by_field(refusal, values, field):
    assert field in refusal(**values)


def test_a_platform_where_nobody_looks_is_refused(refusal):
    said = refusal(platform={"create": True}, watchNamespaces=["forest"])
    assert "pecan-system, which is not one of watchNamespaces" in said


def test_every_value_is_described_and_in_the_schema():
    text = (CHART / "values.yaml").read_text()
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())

    def compare(values: Manifest, within: Manifest) -> None:
        assert within["additionalProperties"] is False
        assert set(values) <= set(within["properties"])
        for key, value in values.items():
            inner = within["properties"][key]
            if isinstance(value, dict) and "properties" in inner:
                compare(value, inner)

    compare(yaml.safe_load(text), schema)


def test_names_stay_within_what_kubernetes_takes(tmp_path):
    values = {"fullnameOverride": "x" * 60, "watchNamespaces": ["forest"]}
    done = helm_template(tmp_path, values)
    assert all(
        len(m["metadata"]["name"]) <= 63 for m in yaml.safe_load_all(done.stdout) if m and m["kind"] != "ClusterRole"
    )
