"""Files that a user names are read on the data volume and nowhere else, whatever links are there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pecan_executor import datafiles
from pecan_executor.datafiles import data_folder, inside, open_data_file
from pecan_executor.files import WorkflowFolder
from pecan_executor.folder import adopt_pecan_xml, make_folder
from pecan_executor.prepare import prepare
from pecan_executor.traits import read_traits
from pecan_operator.core.pecanxml import Input, Pft, Settings, render
from pecan_operator.core.userxml import Ours
from pecan_operator.errors import UserError

SECRET = "PGPASSWORD=open-sesame"


@pytest.fixture
def link(folder: WorkflowFolder, tmp_path: Path) -> Path:
    """A link on the data volume to a file beside it that nobody may read."""
    (tmp_path / "environ").write_text(SECRET)
    link = folder.data / "link.Rdata"
    link.symlink_to(tmp_path / "environ")
    return link


def adopted(settings: Settings, link: Path) -> None:
    ours = link.parent / "ours.json"
    ours.write_text(json.dumps(asdict(Ours(1, settings.folder, "docker", "DALEC_ev", settings.model))))
    adopt_pecan_xml(WorkflowFolder(Path(settings.folder)), link, ours, settings.workflow_id, "uid-1")


def prepared(settings: Settings, path: str) -> None:
    bety: Any = None
    prepare(replace(settings, inputs={"met": Input((path,))}), WorkflowFolder(Path(settings.folder)), bety)


def prepared_at_a_site(settings: Settings, path: str) -> None:
    bety: Any = None
    own = replace(settings.sites[0], id="own", inputs={"met": (path,)})
    prepare(replace(settings, sites=(*settings.sites, own)), WorkflowFolder(Path(settings.folder)), bety)


def made_of_a_table(settings: Settings, link: Path) -> None:
    source = link.parent / "rendered.xml"
    source.write_text(render(replace(settings, sites=(), sites_csv=str(link))))
    make_folder(WorkflowFolder(Path(settings.folder)), source, settings.workflow_id, "uid-1")


READERS: dict[str, Callable[[Settings, Path], object]] = {
    "priors.csv": lambda settings, link: read_traits(of(settings, priors_csv=str(link))),
    "samplesCsv": lambda settings, link: read_traits(of(settings, samples_csv=str(link))),
    "posteriorFiles": lambda settings, link: read_traits(of(settings, posterior_files=str(link))),
    "a folder of them": lambda settings, link: read_traits(of(settings, posterior_files=str(link.parent))),
    "pecanXml.path": adopted,
    "inputs": lambda settings, link: prepared(settings, str(link)),
    "inputs of a site": lambda settings, link: prepared_at_a_site(settings, str(link)),
    "sitesCsv": made_of_a_table,
}


def of(settings: Settings, **files: str) -> Settings:
    return replace(settings, pfts=(Pft("conifer", {}, {}, **files),))  # type: ignore[arg-type]


@pytest.mark.parametrize("what", READERS)
def test_a_link_out_of_the_data_volume_is_not_followed(what: str, settings: Settings, link: Path) -> None:
    with pytest.raises(UserError) as refused:
        READERS[what](settings, link)
    says = "is a link that leads out of the data volume: put the file itself on the data volume"
    assert refused.value.message == f"{link} {says}"


def test_nor_is_a_folder_that_is_one_or_a_year_of_the_weather(settings: Settings, link: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "trait.mcmc.Rdata").write_text(SECRET)
    (link.parent / "folder").symlink_to(outside)
    with pytest.raises(UserError, match=r"data/folder is a link that leads out"):
        read_traits(of(settings, posterior_files=str(link.parent / "folder")))
    with pytest.raises(UserError, match=r"data/folder/trait.mcmc.Rdata is a link that leads out"):
        read_traits(of(settings, posterior_files=str(link.parent / "folder" / "trait.mcmc.Rdata")))
    year = link.parent / "met" / "Loobos.2000.nc"
    year.unlink()
    year.symlink_to(tmp_path / "environ")
    with pytest.raises(UserError, match=r"met/Loobos.2000.nc is a link that leads out"):
        prepared(settings, str(link.parent / "met" / "Loobos"))


def test_the_environment_of_the_step_is_not_read(settings: Settings, folder: WorkflowFolder) -> None:
    path = folder.data / "x.csv"
    path.symlink_to("/proc/self/environ")
    with pytest.raises(UserError, match="leads out of the data volume"):
        read_traits(of(settings, priors_csv=str(path)))


def test_links_that_stay_below_the_data_volume_are_followed(folder: WorkflowFolder, tmp_path: Path) -> None:
    file = folder.data / "met" / "Loobos.2000.nc"
    link = folder.data / "latest"
    link.symlink_to("met")
    file.write_text("weather")
    with open_data_file(link / file.name, folder.data) as opened:
        assert opened.read() == b"weather"
    assert data_folder(link, folder.data) == ["Loobos.1999.nc", "Loobos.2000.nc"]
    assert data_folder(link / file.name, folder.data) is None
    # the data volume itself may be reached through a link
    (tmp_path / "mounted").symlink_to(folder.data)
    assert inside(tmp_path / "mounted" / "latest", tmp_path / "mounted") == file.parent


def test_a_link_to_itself_is_no_file(folder: WorkflowFolder) -> None:
    loop = folder.data / "loop"
    loop.symlink_to(loop)
    with pytest.raises(UserError, match="loop does not exist"):
        read(loop, folder.data)


def read(path: Path, data: Path) -> bytes:
    with open_data_file(path, data) as file:
        return file.read()


@pytest.mark.parametrize("kind", ["folder", "pipe", "nothing", "below a file"])
def test_what_is_no_file_is_named_at_once(folder: WorkflowFolder, kind: str) -> None:
    path = folder.data / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "below a file":
        path.touch()
        path = path / "y"
    with pytest.raises(UserError, match=f"{path} (is not a file|does not exist)"):
        read(path, folder.data)


@pytest.mark.parametrize("swapped", ["latest", "latest/deep", "latest/deep/secret"])
def test_a_link_that_comes_after_the_check_is_not_followed(
    folder: WorkflowFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    for top, text in ((folder.data, "mine"), (tmp_path / "outside", SECRET)):
        (top / "latest" / "deep").mkdir(parents=True)
        (top / "latest" / "deep" / "secret").write_text(text)
    path = folder.data / "latest" / "deep" / "secret"
    assert read(path, folder.data) == b"mine"
    checked = inside

    def swap(path: Path, data: Path) -> Path:
        found = checked(path, data)
        (data / swapped).rename(tmp_path / "away")
        (data / swapped).symlink_to(tmp_path / "outside" / swapped)
        return found

    monkeypatch.setattr(datafiles, "inside", swap)
    with pytest.raises(UserError, match="does not exist: put it on the data volume"):
        read(path, folder.data)


def test_a_file_that_may_not_be_read_is_named(folder: WorkflowFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.data / "x").touch()
    there = os.open

    def refuse(name: Any, flags: int, **more: Any) -> int:
        if name == "x":
            raise PermissionError(13, "Permission denied", name)
        return there(name, flags, **more)

    monkeypatch.setattr(datafiles.os, "open", refuse)
    with pytest.raises(PermissionError) as caught:
        read(folder.data / "x", folder.data)
    assert caught.value.filename == str(folder.data / "x")
