"""A model of others, WOFOST, by its examples. It is run where its image has been built: hack/images build model-wofost."""

from __future__ import annotations

import json

import pytest
from support import ROOT, example
from workflow_support.site import Site

REFERENCES = ROOT / ".build" / "images.json"


@pytest.fixture(scope="module")
def folder(site: Site) -> str:
    """The folder of the example's workflow, after its end."""
    if "model-wofost" not in json.loads(REFERENCES.read_text()):
        pytest.skip("the image model-wofost is built when it is asked for: hack/images build model-wofost")
    for path in ("models/wofost.yaml", "demo/wofost-weather.yaml", "data-pod.yaml"):
        site.apply(example(path))
    site.wait_job("wofost-weather")
    site.apply(example("workflows/wofost-ensemble.yaml"))
    status = site.wait_finished("wofost-ensemble", 300)
    assert status["phase"] == "Succeeded", status
    return str(status["folder"])


def test_every_member_has_grown(site: Site, folder: str) -> None:
    assert site.condition("wofost-ensemble", "Ready")["message"] == "40 of 40 runs succeeded"
    lines = site.run("pecan-data", "pecan-executor", "table", folder).splitlines()
    rows = [line.split()[:4] for line in lines[1:]]
    assert rows == [["ES-31031", name, "2000", "40"] for name in ("CropYield", "LAI", "NPP", "TotLivBiom")]


def test_every_log_tells_the_season(site: Site, folder: str) -> None:
    log = site.run("pecan-data", "sh", "-c", f"cat {folder}/out/*/logfile.txt | grep -c '^season: emerged 2000-01-01'")
    assert int(log) == 40
