"""pecan.CHECKED.xml and pecan.CONFIGS.xml: what they say, and that they can be given again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring

from pecan_executor import settings as pecan_settings
from pecan_executor.files import WorkflowFolder
from pecan_executor.folder import make_folder
from pecan_executor.prepare import prepare
from pecan_executor.usersettings import read_user_settings
from pecan_operator.core.pecanxml import SensitivityAnalysis, Settings, render
from pecan_operator.core.userxml import Ours


@pytest.fixture
def both(settings: Settings) -> Settings:
    return replace(settings, sensitivity_analysis=SensitivityAnalysis(("GPP",)))


def made(settings: Settings, folder: WorkflowFolder, bety: Any, tmp_path: Path) -> None:
    source = tmp_path / "pecan.xml"
    source.write_text(render(settings))
    make_folder(folder, source, settings.workflow_id, "uid-1")
    prepare(settings, folder, bety)


def test_checked_is_what_was_checked(both: Settings, folder: WorkflowFolder, bety: Any, tmp_path: Path) -> None:
    made(both, folder, bety, tmp_path)
    assert (folder.path / "pecan.CHECKED.xml").read_text() == folder.settings.read_text()


def test_configs_names_the_ensembles_that_r_looks_for(
    both: Settings, folder: WorkflowFolder, bety: Any, tmp_path: Path
) -> None:
    made(both, folder, bety, tmp_path)
    path = folder.path / "pecan.CONFIGS.xml"
    root = fromstring(path.read_text())
    ids = {runtype: str(found) for (_, runtype), found in bety.ensembles.items()}
    assert root.findtext("ensemble/ensemble.id") == ids["ensemble"]
    assert root.findtext("sensitivity.analysis/ensemble.id") == ids["sensitivity analysis"]
    assert pecan_settings.read(path) == pecan_settings.read(folder.settings)


def test_an_analysis_alone_has_one_id(both: Settings, folder: WorkflowFolder, bety: Any, tmp_path: Path) -> None:
    made(replace(both, ensemble=None), folder, bety, tmp_path)
    assert (folder.path / "pecan.CONFIGS.xml").read_text().count("<ensemble.id>50</ensemble.id>") == 1


@pytest.mark.parametrize("name", ["pecan.CHECKED.xml", "pecan.CONFIGS.xml"])
def test_a_saved_file_can_be_given_again(
    name: str, both: Settings, folder: WorkflowFolder, bety: Any, tmp_path: Path
) -> None:
    made(both, folder, bety, tmp_path)
    ours = Ours(
        workflow_id=both.workflow_id, folder=both.folder, hostname=both.hostname, queue=both.queue, model=both.model,
        base_dir=None, stop_on_error=None, delete_raw=False, seed=None,
    )  # fmt: skip

    def on_data(path: Path) -> str:
        return path.read_text().replace(str(folder.data), "/data")

    user = read_user_settings(on_data(folder.path / name), ours)
    expected = replace(pecan_settings.parse(on_data(folder.settings)), folder=both.folder)
    assert (user.settings, list(user.ignored)) == (expected, [])
