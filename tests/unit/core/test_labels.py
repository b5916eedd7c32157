from pecan_operator.core import labels

OWNER = {
    "apiVersion": "pecanproject.org/v1alpha1",
    "kind": "PecanModel",
    "metadata": {"name": "dalec", "namespace": "forest", "uid": "u1"},
}


def test_labels_of_a_child() -> None:
    assert labels.for_model("dalec", "worker") == {
        "app.kubernetes.io/name": "pecan",
        "app.kubernetes.io/managed-by": "pecan-operator",
        "app.kubernetes.io/component": "worker",
        "pecanproject.org/model": "dalec",
    }
    assert labels.for_platform("pecan", "postgres")["pecanproject.org/platform"] == "pecan"
    assert labels.for_workflow("a.b", "prepare")["pecanproject.org/workflow"].startswith("a-b---")


def test_a_selector_is_part_of_the_labels() -> None:
    given = labels.for_workflow("a" * 253, "analyse")
    assert labels.selector("PecanWorkflow", "a" * 253).items() <= given.items()
    assert labels.selector("PecanWorkflow", "a" * 253, "analyse").items() <= given.items()
    assert all(len(value) <= 63 for value in given.values())


def test_an_owner_reference_controls_and_does_not_block() -> None:
    assert labels.owner_reference(OWNER) == {
        "apiVersion": "pecanproject.org/v1alpha1",
        "kind": "PecanModel",
        "name": "dalec",
        "uid": "u1",
        "controller": True,
        "blockOwnerDeletion": False,
    }
