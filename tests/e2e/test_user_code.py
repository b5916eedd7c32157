"""Code of users in a pecan.xml, on a platform that refuses it and then runs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import wait
from workflow_support.manifests import MODEL, Manifest, resource
from workflow_support.site import PLATFORM, Site

PECAN_XML = """
<pecan>
  <pfts><pft><name>orders</name><constants><sleep_seconds>0</sleep_seconds></constants></pft></pfts>
  <ensemble><size>2</size><variable>GPP</variable></ensemble>
  <model><prerun>{prerun}</prerun><postrun>{postrun}</postrun></model>
  <run>
    <site><id>NL-Loo</id><name>Loobos</name><lat>52.17</lat><lon>5.74</lon></site>
    <inputs><met><path>/data/journal/met</path></met></inputs>
    <start.date>1998-01-01</start.date><end.date>1998-12-31</end.date>
  </run>
</pecan>
"""


@pytest.fixture(autouse=True)
def as_before(site: Site, model: str) -> Iterator[None]:
    """The platform refuses code again afterwards."""
    yield
    site.patch("PecanPlatform", PLATFORM, userCode="Refuse")


def with_code(name: str, prerun: str, postrun: str) -> Manifest:
    text = PECAN_XML.format(prerun=prerun, postrun=postrun)
    return resource("PecanWorkflow", name, {"modelRef": {"name": MODEL}, "pecanXml": {"inline": text}})


def test_code_runs_once_the_platform_runs_it(site: Site) -> None:
    site.apply(with_code("coded", "export CODE=ran", 'echo "$CODE" > @OUTDIR@/code.txt'))
    wait(lambda: site.condition("coded", "Ready")["reason"] == "BadSettings", 15, lambda: site.status("coded"))
    assert "spec.userCode" in site.condition("coded", "Ready")["message"]
    assert "workflowId" not in site.status("coded")
    site.patch("PecanPlatform", PLATFORM, userCode="Run")
    assert site.wait_finished("coded")["phase"] == "Succeeded"
    workflow_id = site.workflow_id("coded")
    assert site.sh(f"cat /data/workflows/PEcAn_{workflow_id}/out/*/code.txt").split() == ["ran", "ran"]


def test_a_prerun_that_says_bad_data_fails_the_run_for_good(site: Site) -> None:
    site.patch("PecanPlatform", PLATFORM, userCode="Run")
    site.apply(with_code("broken", "exit 65", "true"))
    assert site.wait_finished("broken")["phase"] == "Failed"
    workflow_id = site.workflow_id("broken")
    assert {run.attempt for run in site.runs(workflow_id)} == {1}
    assert site.journal(workflow_id) == []
    logs = site.sh(f"tail -qn1 /data/workflows/PEcAn_{workflow_id}/run/*/job.log").splitlines()
    assert logs == ["model/prerun of pecan.xml ended the job with exit code 65"] * 2
