"""The operator's part of provenance.json."""

from __future__ import annotations

from typing import Any

import pytest
from objects import model_object, workflow_object

from pecan_operator.api.model import PecanModel
from pecan_operator.api.workflow import PecanWorkflow
from pecan_operator.core import provenance

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def pod(container: str, image_id: str | None) -> dict[str, Any]:
    return {
        "status": {"containerStatuses": [{"name": container, "imageID": image_id}, {"name": "other", "imageID": B}]}
    }


@pytest.mark.parametrize(
    ("image_id", "found"),
    [
        (f"registry.example/dalec@{A}", [A]),
        (f"docker-pullable://registry.example:5000/a/dalec@{A}", [A]),
        (f"docker://{A}", [A]),
        (A, [A]),
        ("", []),
        (None, []),
        ("registry.example/dalec:1", []),
        (A[:-1], []),
    ],
)
def test_a_digest_is_what_the_node_reports(image_id: str | None, found: list[str]) -> None:
    assert provenance.digests([pod("worker", image_id)], "worker") == found


def test_each_digest_is_there_once_and_pods_may_have_no_status_yet() -> None:
    pods: list[dict[str, Any]] = [pod("worker", B), {}, {"status": {}}, pod("worker", f"x@{A}"), pod("worker", B)]
    assert provenance.digests(pods, "worker") == [A, B]


def test_what_is_told() -> None:
    found = provenance.told(
        PecanWorkflow.parse(workflow_object()),
        PecanModel.parse(model_object()),
        "registry.example/executor:1",
        "0.1.0",
        prepare_pods=[pod("register", A)],
        worker_pods=[pod("worker", f"x@{A}")],
    )
    assert found == {
        "workflow": {"namespace": "forest", "name": "loobos"},
        "model": {
            "name": "dalec", "type": "DALEC", "revision": "ev", "image": "registry.example/dalec:1", "digests": [A],
        },
        "executor": {"image": "registry.example/executor:1", "digests": [A]},
        "operator": {"version": "0.1.0"},
    }  # fmt: skip


def test_a_model_that_is_gone_has_its_name() -> None:
    workflow = PecanWorkflow.parse(workflow_object())
    found = provenance.told(workflow, None, "executor", "0.1.0", prepare_pods=[], worker_pods=[pod("worker", A)])
    assert found["model"] == {"name": "dalec"}
