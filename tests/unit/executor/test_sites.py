"""Tables of sites, and inputs of the sites' own: from the workflow's fields to the runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pecan_executor import sites
from pecan_executor.analyse import _met_caveats
from pecan_executor.files import WorkflowFolder
from pecan_executor.folder import make_folder
from pecan_executor.prepare import prepare
from pecan_executor.settings import parse
from pecan_executor.sites import with_sites
from pecan_operator.core.pecanxml import Ensemble, Input, Settings, Site, inputs_at, render
from pecan_operator.errors import UserError

from .outcomes import outcome

TABLE = """id,name,lat,lon,met
NL-Loo,Loobos,52.17,5.74,
US-NR1,Niwot Ridge,40.03,-105.55,/data/met/niwot/US-NR1
"""


def read_sites(path: Path) -> tuple[Site, ...]:
    return sites.read_sites(path, path.parent)


@pytest.fixture
def table(folder: WorkflowFolder) -> Path:
    path = folder.data / "sites.csv"
    path.write_text(TABLE)
    return path


def test_sites_with_and_without_paths_of_their_own(table: Path) -> None:
    assert read_sites(table) == (
        Site("NL-Loo", "Loobos", 52.17, 5.74),
        Site("US-NR1", "Niwot Ridge", 40.03, -105.55, {"met": ("/data/met/niwot/US-NR1",)}),
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("lat,lon", "latitude,lon", " has no column lat: a table of sites has id, name, lat, lon"),
        ("lon,met", "lon,lon", " has the column 'lon' twice"),
        ("lon,met", "lon,Met", " row 3, Met: must be a PEcAn input tag in lower case"),
        ("52.17", "92.17", " row 2, lat: input should be less than or equal to 90, not '92.17'"),
        ("52.17", "north", " row 2, lat: 'north' is not a finite number"),
        ("52.17", "52_17", " row 2, lat: '52_17' is not a finite number"),
        ("52.17", "５２", " row 2, lat: '５２' is not a finite number"),
        ("52.17", "", " row 2, lat: input should be a valid number"),
        ("Niwot Ridge", "", " row 3, name: string should have at least 1 character"),
        ("US-NR1,N", "NL-Loo,N", " row 3: the id NL-Loo is that of row 2 too"),
        ("US-NR1,N", "US/NR1,N", " row 3, id: must be a text of letters"),
        ("/data/met/niwot/US-NR1", "../met", " row 3, met: must be an absolute path under /data"),
        (",5.74,", ",5.74", " row 2 has 4 values, the header 5"),
        (TABLE[TABLE.index("\n") :], "\n", " has no rows below its header"),
        (TABLE, "", " is empty: its first line names the columns"),
    ],
)
def test_a_wrong_table_is_named_with_file_and_row(table: Path, old: str, new: str, says: str) -> None:
    assert old in TABLE
    table.write_text(TABLE.replace(old, new))
    with pytest.raises(UserError, match=re.escape(f"{table}{says}")):
        read_sites(table)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist: put it on the data volume"):
        read_sites(tmp_path / "sites.csv")


_LINES = st.lists(
    st.text(st.sampled_from('0123456789.-,"\n\r;eNa/ \x00é\u2028')) | st.sampled_from(TABLE.splitlines()), max_size=6
)


@given(lines=_LINES, header=st.booleans())
@limits(max_examples=300)
def test_any_text_is_sites_or_a_refusal(tmp_path_factory: Any, lines: list[str], header: bool) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "sites.csv"
    path.write_text("\n".join([*(["id,name,lat,lon,met"] if header else []), *lines]), newline="")
    if outcome(read_sites, path) == "read":
        read = read_sites(path)
        assert all(-90 <= site.lat <= 90 and -180 <= site.lon <= 180 for site in read)
        assert len({site.id for site in read}) == len(read)


def test_the_folder_has_the_sites_in_its_pecan_xml(settings: Settings, folder: WorkflowFolder, table: Path) -> None:
    source = folder.data / "rendered.xml"
    source.write_text(render(replace(settings, sites=(), sites_csv=str(table))))
    for _ in range(2):
        made = make_folder(folder, source, settings.workflow_id, "uid-1")
    assert parse(folder.settings.read_text()) == made
    assert made.sites_csv is None
    assert [inputs_at(made, site)["met"].paths for site in made.sites] == [
        settings.inputs["met"].paths,
        ("/data/met/niwot/US-NR1",),
    ]


class Killed(BaseException):
    pass


def test_a_table_that_is_edited_between_two_attempts(
    settings: Settings, folder: WorkflowFolder, table: Path, bety: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is in BETY the table as it is now counts, afterwards the one that the rows were made of."""
    table.write_text("id,name,lat,lon\nNL-Loo,Loobos,52.17,5.74\n")
    source = folder.data / "rendered.xml"
    source.write_text(render(replace(settings, sites=(), sites_csv=str(table))))

    def made() -> Settings:
        return make_folder(folder, source, settings.workflow_id, "uid-1")

    assert [site.id for site in made().sites] == ["NL-Loo"]
    table.write_text("id,name,lat,lon\na,A,1,2\nb,B,3,4\n")
    assert [site.id for site in made().sites] == ["a", "b"]

    def killed(*_: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("pecan_executor.prepare.write_run", killed)
        with pytest.raises(Killed):
            prepare(made(), folder, bety)
    before = dict(bety.run_ids)
    assert len(before) == 8
    table.write_text("id,name,lat,lon\nb,Other,3,4\nc,C,5,6\n")
    plans = prepare(made(), folder, bety)
    assert bety.run_ids == before
    assert [plan.bety_run_id for plan in plans] == list(before.values())
    table.unlink()
    assert [site.id for site in made().sites] == ["a", "b"]
    assert prepare(made(), folder, bety) == plans


def test_what_another_workflow_registered_is_not_taken(
    settings: Settings, folder: WorkflowFolder, table: Path, bety: Any
) -> None:
    table.write_text("id,name,lat,lon\na,A,1,2\n")
    source = folder.data / "rendered.xml"
    source.write_text(render(replace(settings, sites=(), sites_csv=str(table))))
    prepare(make_folder(folder, source, settings.workflow_id, "uid-1"), folder, bety)
    with pytest.raises(UserError, match="belongs to another PecanWorkflow"):
        make_folder(folder, source, settings.workflow_id, "uid-2")


def test_the_weather_of_all_sites_may_be_in_the_table(settings: Settings, table: Path) -> None:
    table.write_text(TABLE.replace("5.74,", "5.74,/data/met/loobos/Loobos"))
    given = parse(render(replace(settings, sites=(), inputs={}, sites_csv=str(table))))
    assert (given.sites, given.inputs) == ((), {})
    made = parse(render(with_sites(given, table.parent)))
    assert [inputs_at(made, site) for site in made.sites] == [
        {"met": Input(("/data/met/loobos/Loobos",))},
        {"met": Input(("/data/met/niwot/US-NR1",))},
    ]


def test_a_site_without_weather_is_named(settings: Settings, table: Path) -> None:
    filled = with_sites(replace(settings, sites=(), inputs={}, sites_csv=str(table)), table.parent)
    with pytest.raises(UserError, match="site NL-Loo has no input met, site US-NR1 has: give it to all"):
        render(filled)


def test_a_table_that_names_no_weather_needs_that_of_the_workflow(settings: Settings, table: Path) -> None:
    table.write_text("id,name,lat,lon\nNL-Loo,Loobos,52.17,5.74\n")
    assert with_sites(replace(settings, sites=(), sites_csv=str(table)), table.parent).sites == settings.sites
    with pytest.raises(UserError, match=r"has no path in a column met, and the workflow no inputs\.met"):
        with_sites(replace(settings, sites=(), inputs={}, sites_csv=str(table)), table.parent)


def test_a_site_with_fewer_paths_is_named(settings: Settings, table: Path) -> None:
    two = replace(settings, sites=(), inputs={"met": Input(("/a", "/b"))}, sites_csv=str(table))
    with pytest.raises(UserError, match=re.escape("site US-NR1 has 1 path(s) of the input met, site NL-Loo 2")):
        render(with_sites(two, table.parent))


def test_too_many_runs_are_told_with_the_table(settings: Settings, table: Path) -> None:
    large = replace(settings, sites=(), sites_csv=str(table), ensemble=Ensemble(50_001, ("GPP",)))
    with pytest.raises(UserError, match="has 2 sites, 100002 runs in all, but a workflow may have 100000"):
        with_sites(large, table.parent)
    fits = replace(large, ensemble=Ensemble(50_000, ("GPP",)))
    assert len(with_sites(fits, table.parent).sites) == 2


def two_places(settings: Settings, data: Path) -> Settings:
    """Two sites, each with two files of weather of its own."""
    for name in ("a", "b", "c", "d"):
        (data / name).touch()
    north = Site("north", "North", 60.0, 5.0, {"met": (str(data / "c"), str(data / "d"))})
    inputs = {"met": Input((str(data / "a"), str(data / "b")), "looping")}
    return replace(settings, sites=(*settings.sites, north), inputs=inputs)


def test_a_member_has_the_path_of_the_same_number_at_every_site(
    settings: Settings, folder: WorkflowFolder, bety: Any
) -> None:
    given = two_places(settings, folder.data)
    assert parse(render(given)) == given
    plans = prepare(given, folder, bety)
    taken = {
        (plan.member, plan.site_id): Path(
            json.loads((Path(plan.folder) / "config.json").read_text())["inputs"]["met"]["path"]
        ).name
        for plan in plans
    }
    assert taken == {
        (member, site): names[(member - 1) % 2]
        for member in range(1, 5)
        for site, names in (("NL-Loo", "ab"), ("north", "cd"))
    }
    readme = (Path(plans[1].folder) / "README.txt").read_text()
    assert f"met data    : {folder.data / 'c'}\n" in readme


def test_weather_that_a_single_site_lacks_is_named(settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
    given = two_places(settings, folder.data)
    (folder.data / "d").unlink()
    with pytest.raises(UserError, match=r"inputs\.met: .*/d does not exist"):
        prepare(given, folder, bety)
    assert not bety.run_ids


def test_caveats_of_the_weather_of_every_site_are_told(settings: Settings, folder: WorkflowFolder) -> None:
    from netCDF4 import Dataset

    given = two_places(settings, folder.data)
    for name in ("a", "d"):
        with Dataset(folder.data / name, "w") as dataset:
            dataset.caveats = f"of {name}"
    assert list(_met_caveats(given)) == ["of a", "of d"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("/c</path1>", "/c</path1><path3>/x</path3>", "inputs/met has 3 path(s), the first site's 2"),
        ("/b</path2>", "/a</path2>", "differs from that of the first site, which has the same path twice"),
    ],
)
def test_sites_of_a_pecan_xml_that_do_not_agree(
    settings: Settings, folder: WorkflowFolder, old: str, new: str, says: str
) -> None:
    text = render(two_places(settings, folder.data))
    assert text.count(old) == 1
    with pytest.raises(UserError, match=re.escape(says)):
        parse(text.replace(old, new))


def test_an_input_at_one_site_of_a_pecan_xml_only(settings: Settings, folder: WorkflowFolder) -> None:
    first, second = render(two_places(settings, folder.data)).split("<settings.2>")
    with pytest.raises(UserError, match=r"settings\.2/inputs/soil is not at every site"):
        parse(f"{first}<settings.2>{second.replace('<inputs>', '<inputs><soil><path>/s</path></soil>')}")
