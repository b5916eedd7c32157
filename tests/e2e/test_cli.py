"""kubectl pecan as a user gives it who has Kubernetes' role `edit` in one namespace, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import config
from kubernetes.client import ApiClient, CoreV1Api
from support import RBAC, wait
from workflow_support.manifests import Manifest, journal_workflow
from workflow_support.site import Site

PLUGIN = Path(sys.executable).with_name("kubectl-pecan")
MINE = {"app.kubernetes.io/managed-by": "kubectl-pecan"}
NAME = "by-cli"
MEMBERS = 4
TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class User:
    """Someone with a kubeconfig of their own."""

    kubeconfig: Path
    folder: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(PLUGIN), *arguments],
            cwd=self.folder,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self, *arguments: str, seconds: float = 180.0) -> Said:
        """What a command prints, and its exit code."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=seconds)
        assert "Traceback" not in err
        return Said(process.returncode, out, err)

    def json(self, *arguments: str) -> Any:
        """What a command that goes well says as JSON."""
        said = self.says(*arguments, "-o", "json")
        assert said.code == 0, said
        return json.loads(said.out)


def user_of(site: Site, admin: Path, role: str, folder: Path) -> User:
    """A service account with a role in the namespace, as a kubeconfig of its token."""
    name = f"cli-{role}"
    site.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    site.apply(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": site.namespace}],
        }
    )
    client: ApiClient = config.new_client_from_config(str(admin))
    request = {"spec": {"expirationSeconds": TOKEN_SECONDS}}
    token = CoreV1Api(client).create_namespaced_service_account_token(name, site.namespace, request).status.token
    cluster: dict[str, Any] = {"server": client.configuration.host}
    if client.configuration.ssl_ca_cert:
        cluster["certificate-authority"] = str(client.configuration.ssl_ca_cert)
    else:
        cluster["insecure-skip-tls-verify"] = True
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "mine",
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "me", "user": {"token": token}}],
        "contexts": [{"name": "mine", "context": {"cluster": "it", "user": "me", "namespace": site.namespace}}],
    }
    path = folder / f"{role}.kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return User(path, folder)


@pytest.fixture(scope="module")
def user(site: Site, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> User:
    return user_of(site, kubeconfig, "edit", tmp_path_factory.mktemp("edit"))


@pytest.fixture(scope="module")
def onlooker(site: Site, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> User:
    return user_of(site, kubeconfig, "view", tmp_path_factory.mktemp("view"))


def write(user: User, manifest: Manifest) -> str:
    file = f"{manifest['metadata']['name']}.yaml"
    (user.folder / file).write_text(yaml.safe_dump(manifest))
    return file


def jobs(site: Site) -> list[str]:
    """The plugin's Jobs that are there."""
    return [job["metadata"]["name"] for job in site.kube.list("batch/v1", "Job", site.namespace, MINE)]


def wait_no_jobs(site: Site, seconds: float = 30.0) -> None:
    wait(lambda: not jobs(site), seconds, lambda: jobs(site))


@pytest.fixture
def finished(site: Site, model: str, user: User) -> Manifest:
    """A workflow that a user has submitted and watched, one of whose runs has failed."""
    orders = {"picked_every": float(MEMBERS), "picked_exit_code": 65.0}
    file = write(user, journal_workflow(NAME, MEMBERS, orders))
    said = user.says("submit", file, "--watch")
    assert said.code == 0, said
    lines = said.out.splitlines()
    assert lines[0] == f"PecanWorkflow {NAME} is made in namespace {site.namespace}"
    assert lines[-1].startswith(f"Succeeded  {MEMBERS}/{MEMBERS}  ")
    return site.read("PecanWorkflow", NAME)


def test_from_submit_to_results(site: Site, user: User, finished: Manifest) -> None:
    folder = finished["status"]["folder"]
    table = user.says("results", NAME)
    assert table.code == 0
    assert table.out.split()[:4] == ["SITE", "VARIABLE", "YEAR", "N"]
    assert f"{MEMBERS - 1} of {MEMBERS} runs are in these numbers" in table.out

    copies = user.json("results", NAME, "--to", "results")["files"]
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (user.folder / "results").iterdir()}
    theirs = [line.split() for line in site.sh(f"cd {folder} && sha256sum ensemble.* pecan.xml").splitlines()]
    assert {name: digest for digest, name in theirs}.items() <= sums.items()
    assert {each["action"] for each in copies} == {"copied"}
    again = user.json("results", NAME, "--to", "results")["files"]
    assert {each["action"] for each in again} == {"there already"}

    failed = next(run for run in site.runs(finished["status"]["workflowId"]) if run.state == "failed")
    log = user.says("logs", failed.run_id, "--workflow", NAME)
    assert log.code == 0
    assert "told to end with 65\n" in log.out
    assert user.says("logs", failed.run_id).out == log.out
    assert user.says("logs", "nowhere").code == 3

    (png,) = user.json("plot", NAME, "--to", "figures")
    assert (user.folder / png["file"]).read_bytes().startswith(b"\x89PNG")
    assert user.says("render", NAME).out == site.sh(f"cat {folder}/pecan.xml")
    wait_no_jobs(site)


def test_upload_and_ls(site: Site, user: User) -> None:
    content = os.urandom(3_000_000)
    (user.folder / "weather.1998.nc").write_bytes(content)
    (copied,) = user.json("upload", "weather.1998.nc", "--to", "met/mine")
    assert copied == {"file": "/data/met/mine/weather.1998.nc", "size": len(content), "action": "copied"}
    digest = hashlib.sha256(content).hexdigest()
    assert site.sh("sha256sum /data/met/mine/weather.1998.nc").split()[0] == digest
    assert site.sh("ls -A /data/met/mine").split() == ["weather.1998.nc"]
    assert "there already" in user.says("upload", "weather.1998.nc", "--to", "met/mine").out
    (entry,) = user.json("ls", "met/mine")
    assert (entry["name"], entry["size"]) == ("weather.1998.nc", len(content))
    (user.folder / "weather.1998.nc").write_bytes(b"another")
    assert user.says("upload", "weather.1998.nc", "--to", "met/mine").code == 7
    assert user.says("ls", "/etc").code == 7
    wait_no_jobs(site)


def test_cancel_is_told_to_who_watches(site: Site, model: str, user: User) -> None:
    file = write(user, journal_workflow("by-cli-cancelled", 2, {"gate": 1.0}))
    assert user.says("submit", file).code == 0
    site.wait_executing(site.workflow_id("by-cli-cancelled"))
    watching = user.start("watch", "by-cli-cancelled")
    said = user.says("cancel", "by-cli-cancelled")
    assert said.code == 0, said
    out, err = watching.communicate(timeout=60)
    assert watching.returncode == 6, (out, err)
    assert "is Cancelled" in err
    assert user.says("retry", "by-cli-cancelled").code == 7


def test_what_is_up_is_told(site: Site, model: str, user: User) -> None:
    said = user.says("platform")
    assert said.code == 0
    rows = {line.split()[0]: line.split()[1] for line in said.out.splitlines()[2:]}
    assert rows == dict.fromkeys(("platform", "Data", "Postgres", "RabbitMQ", "Database"), "True")
    assert model in user.says("models").out


def test_who_may_only_look(onlooker: User) -> None:
    assert onlooker.says("platform").code == 0
    for command in (("cancel", "nothing"), ("ls",)):
        said = onlooker.says(*command)
        # There is no such workflow to be looked at, and no pod may be made.
        assert said.code == (3 if command[0] == "cancel" else 4), said


def test_a_wrong_manifest_is_refused_before_it_is_sent(user: User) -> None:
    wrong = journal_workflow("by-cli-wrong", 1, {})
    wrong["spec"]["ensemble"]["sise"] = 1
    said = user.says("submit", write(user, wrong))
    assert (said.code, said.err.count("\n")) == (7, 1)
    assert "spec.ensemble.sise" in said.err


@pytest.mark.parametrize(
    ("number", "seconds"),
    [(signal.SIGINT, 30.0), pytest.param(signal.SIGKILL, 240.0, marks=pytest.mark.full)],
)
def test_the_pod_goes_however_the_plugin_ends(site: Site, user: User, number: int, seconds: float) -> None:
    (user.folder / "large").write_bytes(os.urandom(300_000_000))
    process = user.start("upload", "large", "--to", "met/mine", "--replace")
    wait(lambda: site.exists("/data/met/mine/.large.*.part"), 60, lambda: jobs(site))
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == (130 if number is signal.SIGINT else -number)
    wait_no_jobs(site, seconds)
    # What has arrived is gone on with.
    (copied,) = user.json("upload", "large", "--to", "met/mine", "--replace")
    assert copied["action"] == "resumed"
    site.sh("rm /data/met/mine/large")
