"""The examples as a user applies them, one after the other; the platform is that of the other tests."""

from __future__ import annotations

import pytest
from support import example, wait
from workflow_support.site import Site

VARIABLES = ("GPP", "LAI", "NEE")


@pytest.fixture(scope="module")
def folder(site: Site) -> str:
    """The folder of the workflow at two sites, after its end."""
    for path in ("models/dalec.yaml", "demo/weather.yaml"):
        site.apply(example(path))
    site.apply(example("data-pod.yaml"))
    wait(
        lambda: bool(
            (site.kube.read("batch/v1", "Job", site.namespace, "loobos-weather") or {})["status"].get("succeeded")
        ),
        60,
        lambda: site.kube.read("batch/v1", "Job", site.namespace, "loobos-weather"),
    )
    site.apply(example("workflows/two-sites.yaml"))
    status = site.wait_finished("two-sites")
    assert status["phase"] == "Succeeded", status
    return str(status["folder"])


def test_both_sites_and_their_mean_are_in_the_table(site: Site, folder: str) -> None:
    lines = site.run("pecan-data", "pecan-executor", "table", folder).splitlines()
    rows = [line.split()[:4] for line in lines[1:]]
    assert rows == [
        [place, variable, "1998", "10"] for variable in VARIABLES for place in ("NL-Loo", "NL-Loo-north", "all")
    ]


def test_the_data_pod_sees_the_results(site: Site, folder: str) -> None:
    names = site.run("pecan-data", "ls", folder).split()
    for variable in VARIABLES:
        assert [name for name in names if name.startswith("ensemble.analysis.") and f".{variable}." in name]
    assert "pecan.xml" in names


def test_messages_tell_where_things_are(site: Site, folder: str) -> None:
    assert site.condition("two-sites", "Ready")["message"] == "20 of 20 runs succeeded"
    assert site.condition("two-sites", "Prepared")["message"] == f"20 runs in {folder}/run"
    assert site.condition("two-sites", "Analysed")["message"] == f"the results are in {folder}"


def test_an_image_of_another_model_is_told(site: Site) -> None:
    model = example("models/dalec.yaml", name="dalec-mistaken")
    model["spec"].update(revision="v2", scaling={"minReplicas": 1, "maxReplicas": 1})
    site.apply(model)
    try:
        wait(
            lambda: (
                "correct type and revision"
                in (site.condition("dalec-mistaken", "Ready", "PecanModel")["message"] or "")
            ),
            60,
            lambda: site.status("dalec-mistaken", "PecanModel"),
        )
    finally:
        site.delete("PecanModel", "dalec-mistaken")
