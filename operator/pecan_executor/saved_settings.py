"""The settings as PEcAn saves them on the way: `pecan.CHECKED.xml` and `pecan.CONFIGS.xml`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from defusedxml.ElementTree import fromstring

from pecan_executor.configs import ENSEMBLE, SENSITIVITY
from pecan_executor.files import WorkflowFolder, write_text
from pecan_operator.core.pecanxml import Settings, as_text, render

_NODES = {ENSEMBLE: "ensemble", SENSITIVITY: "sensitivity.analysis"}


def save_checked(folder: WorkflowFolder, text: str) -> None:
    """pecan.CHECKED.xml: the settings after they were checked and completed, which pecan.xml has been already."""
    write_text(folder.path / "pecan.CHECKED.xml", text)


def save_configs(folder: WorkflowFolder, settings: Settings, ensemble_ids: Mapping[str, int]) -> None:
    """pecan.CONFIGS.xml: the settings with `ensemble.id`, by run type, which R's get.results looks for the runs of."""
    root: ET.Element = fromstring(render(settings))
    for run_type, ensemble_id in ensemble_ids.items():
        node = root.find(_NODES[run_type])
        assert node is not None
        ET.SubElement(node, "ensemble.id").text = str(ensemble_id)
    write_text(folder.path / "pecan.CONFIGS.xml", as_text(root))
