"""The namespace that all tests of workflows share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import API_VERSION, wait

from workflow_support.manifests import MODEL, Manifest, journal_model, resource
from workflow_support.site import PLATFORM, Site


@pytest.fixture(scope="session")
def site(kubeconfig: Path, crds: None, make_namespace: Callable[[], str]) -> Site:
    """A namespace that admits restricted pods only, with a ready platform."""
    return ready_site(kubeconfig, make_namespace, {})


def ready_site(kubeconfig: Path, make_namespace: Callable[[], str], platform: Manifest) -> Site:
    """The same, of a namespace whose platform has further fields."""
    made = Site(kubeconfig, make_namespace(), outside=make_namespace())
    labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    made.kube.patch("v1", "Namespace", None, made.namespace, labels)
    small = {"data": {"size": "1Gi"}}
    made.apply(resource("PecanPlatform", PLATFORM, {"storage": small, **platform}))
    print(f"platform ready after {made.wait_platform():.1f} s")
    made.sh("mkdir -p /data/journal && touch /data/journal/met")
    return made


@pytest.fixture
def model(site: Site) -> Iterator[str]:
    """The journal model; whatever a test has left of workflows and of its settings is put away afterwards."""
    site.apply(journal_model())
    yield MODEL
    for workflow in site.kube.list(API_VERSION, "PecanWorkflow", site.namespace):
        site.delete("PecanWorkflow", workflow["metadata"]["name"])
    wait(
        lambda: not site.query("SELECT 1 FROM pecan_operator.workflow WHERE finished_at IS NULL"),
        60,
        lambda: site.query("SELECT name, cancelled_at FROM pecan_operator.workflow WHERE finished_at IS NULL"),
    )
