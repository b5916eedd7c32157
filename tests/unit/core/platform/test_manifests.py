"""Whole manifests, compared with what is written down in expected/; and what changes them."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.core.platform import SERVICES, Kept
from pecan_operator.core.platform.base import decode, short_hash
from pecan_operator.core.platform.data import CHECK_SCRIPT, TIMED_SCRIPT, data_claim_name
from pecan_operator.core.platform.rabbitmq import definitions

BY_COMPONENT = {service.component: service for service in SERVICES}


def rendered(service: Any, platform: Any, kept: Kept) -> list[dict[str, Any]]:
    passwords = iter(["password-1", "password-2", "password-3"])
    claim = service.claim(platform)
    return [
        *service.generate(platform, lambda: next(passwords)),
        *([claim] if claim else []),
        *service.manifests(platform, kept),
    ]


def readable(manifest: dict[str, Any]) -> dict[str, Any]:
    return {**manifest, "data": decode(manifest)} if manifest["kind"] == "Secret" else manifest


@pytest.mark.parametrize("component", BY_COMPONENT)
def test_manifests_are_as_written_down(component, make_platform, kept, expected):
    made = [readable(manifest) for manifest in rendered(BY_COMPONENT[component], make_platform(), kept)]
    assert made == expected(component)


def all_of(platform: Any, kept: Kept) -> list[dict[str, Any]]:
    return [manifest for service in SERVICES for manifest in rendered(service, platform, kept)]


def pods_of(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [m["spec"]["template"]["spec"] for m in manifests if m["kind"] in ("StatefulSet", "Job")]


def test_every_pod_is_restricted_and_has_no_way_to_the_api_server(make_platform, kept):
    pods = pods_of(all_of(make_platform(), kept))
    assert len(pods) == 4
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert "serviceAccountName" not in pod
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]) == {"requests", "limits"}


def test_no_password_stands_in_anything_but_secrets(make_platform, kept):
    passwords = [value for secret in kept.secrets.values() for value in secret.values()]
    for manifest in all_of(make_platform(), kept):
        if manifest["kind"] != "Secret":
            assert not [password for password in passwords if password in str(manifest)]


def test_retained_data_has_no_owner_and_all_else_has(make_platform, kept):
    for manifest in all_of(make_platform(), kept):
        data = manifest["kind"] == "PersistentVolumeClaim" or (
            manifest["kind"] == "Secret" and not manifest["metadata"]["name"].endswith("-definitions")
        )
        assert ("ownerReferences" not in manifest["metadata"]) == data


def test_with_delete_everything_has_an_owner(make_platform, kept):
    for manifest in all_of(make_platform(dataPolicy="Delete"), kept):
        assert [reference["uid"] for reference in manifest["metadata"]["ownerReferences"]] == ["0c"]


def test_settings_of_the_platform_reach_the_manifests(make_platform, kept):
    platform = make_platform(
        pull_secrets=("operators", "mine"),
        hostname="pecan.example.org",
        localServer=7,
        images={"pullPolicy": "Always", "pullSecrets": [{"name": "mine"}]},
        storage={"data": {"storageClassName": "nfs", "size": "2Ti", "uid": 5000, "gid": 6000}},
        postgres={"image": "my/postgis:1", "resources": {"limits": {"memory": "8Gi"}}, "storage": {"size": "50Gi"}},
        rabbitmq={"image": "my/rabbitmq:1", "storage": {"storageClassName": "fast", "size": "20Gi"}},
    )
    manifests = all_of(platform, kept)
    pods = pods_of(manifests)
    assert [pod["imagePullSecrets"] for pod in pods] == [[{"name": "mine"}, {"name": "operators"}]] * 4
    assert [pod["containers"][0]["imagePullPolicy"] for pod in pods] == ["Always"] * 4
    check, postgres, rabbitmq, database = (pod["containers"][0] for pod in pods)
    assert (postgres["image"], rabbitmq["image"]) == ("my/postgis:1", "my/rabbitmq:1")
    assert postgres["resources"] == {"limits": {"memory": "8Gi"}}
    assert (check["image"], pods[0]["securityContext"]["runAsUser"]) == ("ex:1", 5000)
    assert pods[0]["securityContext"]["fsGroup"] == 6000
    environment = {each["name"]: each.get("value") for each in database["env"]}
    assert (environment["PECAN_HOSTNAME"], environment["PECAN_LOCAL_SERVER"]) == ("pecan.example.org", "7")
    claims = {m["metadata"]["name"]: m["spec"] for m in manifests if m["kind"] == "PersistentVolumeClaim"}
    assert {name: spec["resources"]["requests"]["storage"] for name, spec in claims.items()} == {
        "pecan-data": "2Ti",
        "pecan-postgres": "50Gi",
        "pecan-rabbitmq": "20Gi",
    }
    assert {name: spec.get("storageClassName") for name, spec in claims.items()} == {
        "pecan-data": "nfs",
        "pecan-postgres": None,
        "pecan-rabbitmq": "fast",
    }


def test_a_claim_of_the_user_is_mounted_and_none_is_made(make_platform, kept):
    platform = make_platform(storage={"data": {"existingClaim": "lab-data"}})
    assert data_claim_name(platform) == "lab-data"
    assert BY_COMPONENT["data"].claim(platform) is None
    (job,) = BY_COMPONENT["data"].manifests(platform, kept)
    assert job["spec"]["template"]["spec"]["volumes"][0] == {
        "name": "data",
        "persistentVolumeClaim": {"claimName": "lab-data"},
    }


def jobs(platform: Any, kept: Kept) -> list[str]:
    return [m["metadata"]["name"] for m in all_of(platform, kept) if m["kind"] == "Job"]


def test_jobs_run_again_for_another_volume_or_password(make_platform, kept):
    check, database = jobs(make_platform(), kept)
    assert (check[:-8], database[:-8]) == ("pecan-datacheck", "pecan-database")
    emptied = Kept(kept.secrets, {**kept.claims, "data": "another"})
    assert jobs(make_platform(), emptied) != [check, database]
    assert jobs(make_platform(), emptied)[1] == database
    for other in (
        Kept(kept.secrets, {**kept.claims, "postgres": "another"}),
        Kept({**kept.secrets, "bety": {"PGPASSWORD": "changed by hand"}}, kept.claims),
    ):
        assert jobs(make_platform(), other)[0] == check
        assert jobs(make_platform(), other)[1] != database


def test_changed_credentials_replace_the_broker_but_not_the_database(make_platform, kept):
    changed = Kept({**kept.secrets, "amqp": {"password": "rotated"}, "postgres": {"password": "rotated"}}, kept.claims)
    for component, differs in (("rabbitmq", True), ("postgres", False)):
        before, after = (
            next(m for m in BY_COMPONENT[component].manifests(make_platform(), k) if m["kind"] == "StatefulSet")
            for k in (kept, changed)
        )
        assert (before != after) is differs


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=32, max_size=32))
def test_definitions_are_the_same_at_each_reconcile_and_hide_the_passwords(password):
    made = definitions(password, password[::-1])
    assert made == definitions(password, password[::-1])
    assert password not in str(made)
    assert password[::-1] not in str(made)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(), max_size=4))
def test_short_hash_is_one_word_that_ignores_order(value):
    assert short_hash(value) == short_hash(dict(reversed(value.items())))
    assert len(short_hash(value)) == 8
    int(short_hash(value), 16)


def run_check(folder: Any, script: str = CHECK_SCRIPT) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", TIMED_SCRIPT.replace(" 60 ", " 1 "), "check", script.replace("/data", str(folder))]
    environment = {"HOSTNAME": "pod", "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_the_check_makes_the_folders_and_leaves_nothing_else(tmp_path):
    for _ in range(2):
        done = run_check(tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["dbfiles", "workflows"]
        assert (tmp_path / "workflows").stat().st_mode & 0o7777 == 0o2775


def test_the_check_says_in_its_last_line_what_failed_and_what_to_do(tmp_path):
    (tmp_path / "workflows").write_text("in the way")
    done = run_check(tmp_path)
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith(f"making {tmp_path}/workflows on {tmp_path} as user ")
    assert "chown" in said


def test_the_check_does_not_wait_for_a_volume_that_does_not_answer(tmp_path):
    done = run_check(tmp_path, "sleep 60")
    assert done.returncode == 124
    assert done.stderr.startswith("/data did not answer within")
