"""The pecan.xml of the SIPNET example is the one of PEcAn's Demo 2, and is about the model of the example beside it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml
from defusedxml.ElementTree import parse

from pecan_operator.api.model import PecanModel

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SETTINGS = parse(EXAMPLES / "pecanxml" / "sipnet-demo2.xml").getroot()


def texts(path: str) -> list[str | None]:
    return [node.text for node in SETTINGS.findall(path)]


def test_it_is_the_model_of_the_example() -> None:
    manifest = yaml.safe_load((EXAMPLES / "models" / "sipnet.yaml").read_text())
    model = PecanModel.parse({**manifest, "metadata": {"namespace": "pecan", "uid": "1", **manifest["metadata"]}})
    assert texts("model/type") == [model.spec.type]
    assert texts("model/revision") == [model.spec.revision]
    assert texts("host/rabbitmq/queue") == [model.spec.queue]


def test_it_is_a_year_at_niwot_ridge() -> None:
    assert SETTINGS.tag == "pecan"
    assert texts("run/site/id") == ["772"]
    days = [date.fromisoformat(str(text)) for name in ("start.date", "end.date") for text in texts(f"run/{name}")]
    assert days == [date(2004, 1, 1), date(2004, 12, 31)]
    assert texts("pfts/pft/name") == ["temperate.coniferous"]


@pytest.mark.parametrize("analysis", ["ensemble", "sensitivity.analysis"])
def test_npp_and_nee_are_analysed(analysis: str) -> None:
    assert texts(f"{analysis}/variable") == ["NPP", "NEE"]


def test_sensitivity_is_three_sigma_to_both_sides() -> None:
    sigmas = [float(str(text)) for text in texts("sensitivity.analysis/quantiles/sigma")]
    assert sigmas == [-3, -2, -1, 1, 2, 3]  # PEcAn adds the median


def test_it_carries_no_secret_and_nothing_of_the_platform() -> None:
    for node in ("outdir", "workflow", "database/bety/password", "database/bety/host", "host/rabbitmq/uri"):
        assert not texts(node)
