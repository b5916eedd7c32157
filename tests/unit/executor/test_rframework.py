"""Our steps around PEcAn's R: a clean folder, the runs R wrote, STATUS between its passes, what it left."""

from __future__ import annotations

import json
import stat
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pecan_executor import main as main_module
from pecan_executor.files import WorkflowFolder
from pecan_executor.main import main
from pecan_executor.plan import read_plan, read_states
from pecan_executor.provenance import write_provenance
from pecan_executor.rframework.folder import fields_xml, make_folder, user_xml
from pecan_executor.rframework.register import register
from pecan_executor.rframework.report import report
from pecan_executor.rframework.resume import resume
from pecan_executor.rframework.stage import CONVERSION, report_stages
from pecan_operator.core import rsettings
from pecan_operator.core.pecanxml import Ensemble, Input, Model, Pft, Settings, Site
from pecan_operator.core.rsettings import Services
from pecan_operator.core.userxml import Ours
from pecan_operator.errors import Unavailable, UserError
from pecan_operator.records import RunDescription, RunPlan, RunState

from .rfiles import save

WORKFLOW_ID = 99_000_000_001
UID = "uid-1"
SERVICES = Services(
    {"PGHOST": "db", "PGPORT": "5432", "PGUSER": "bety", "PGPASSWORD": "secret", "PGDATABASE": "bety"},
    "amqp://pecan:hidden@broker:5672/pecan",
)
ROTATED = Services({**SERVICES.bety, "PGHOST": "db2", "PGPASSWORD": "new"}, "amqp://pecan:newer@broker:5672/pecan")
T = "2026-06-01 12:00:00"
AFTER_CONFIG = f"TRAIT\t{T}\t{T}\tDONE\t\nCONFIG\t{T}\t{T}\tDONE\t\nADVANCED\t{T}"


class Ledger:
    """What our steps say to the ledger."""

    def __init__(self) -> None:
        self.prepared = False
        self.stages: list[str | None] = []
        self.registered: list[RunPlan] = []
        self.settings: dict[str, Any] = {}
        self.results: Mapping[str, Any] = {}
        self.states: list[tuple[RunPlan, RunState, int, int | None, str | None]] = []
        self.last: datetime | None = datetime(2026, 6, 2, 3, 4, 5, tzinfo=UTC)
        self.fails = 0

    def is_prepared(self, workflow_id: int) -> bool:
        return self.prepared

    def report_stage(self, workflow_id: int, stage: str | None) -> None:
        if self.fails:
            self.fails -= 1
            raise Unavailable("DatabaseUnavailable", "gone")
        self.stages.append(stage)

    def report_settings(self, workflow_id: int, **given: Any) -> None:
        self.settings = given

    def register_runs(self, workflow_id: int, runs: Sequence[RunPlan]) -> int:
        self.registered = list(runs)
        return len(runs)

    def run_states(self, workflow_id: int) -> list[tuple[RunPlan, RunState, int, int | None, str | None]]:
        return self.states

    def last_run_finished_at(self, workflow_id: int) -> datetime | None:
        return self.last

    def report_analysis(self, workflow_id: int, results: Mapping[str, Any]) -> None:
        self.results = results


class BetyOfR:
    """Knows site 772, and the runs it is given."""

    def __init__(self, *runs: RunDescription) -> None:
        self.runs = list(runs)
        self.forgotten: list[int] = []
        self.sites: list[tuple[str, float, float]] = []

    def forget_runs(self, workflow_id: int) -> None:
        self.forgotten.append(workflow_id)

    def has_site(self, site_id: int, *, lat: float | None, lon: float | None) -> bool:
        return site_id == 772 and lat in (None, 40.03) and lon in (None, -105.5)

    def site(self, *, name: str, lat: float, lon: float) -> int:
        self.sites.append((name, lat, lon))
        return 99_000_000_000 + len(self.sites)

    def described_runs(self, workflow_id: int) -> list[RunDescription]:
        return self.runs


@pytest.fixture
def r_settings(folder: WorkflowFolder) -> Settings:
    from datetime import date

    return Settings(
        workflow_id=WORKFLOW_ID,
        folder=str(folder.path),
        hostname="docker",
        queue="SIPNET_git",
        model=Model(99_000_000_007, "SIPNET", "git", "/usr/local/bin/sipnet.git"),
        sites=(Site("772", "Niwot", 40.03, -105.5), Site("NL-Loo", "Loobos", 52.17, 5.74)),
        start_date=date(1999, 1, 1),
        end_date=date(2000, 12, 31),
        inputs={"met": Input((str(folder.data / "met" / "Loobos"),))},
        pfts=(Pft("temperate.coniferous", constants={"SLA": 4.0}),),
        ensemble=Ensemble(2, ("NPP",)),
        stop_on_error=False,
    )


@pytest.fixture
def xml(r_settings: Settings) -> str:
    """Without a meta-analysis, as of a user whose PFTs name their posteriors in BETY."""
    root = ET.fromstring(rsettings.render(r_settings))
    root.remove(root.find("meta.analysis"))
    return ET.tostring(root, encoding="unicode")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def make(
    folder: WorkflowFolder, xml: str, ledger: Ledger, bety: BetyOfR, ignored: tuple[str, ...] | None = None
) -> bool:
    return make_folder(folder, xml, ignored, WORKFLOW_ID, UID, SERVICES, ledger, bety)


# --- folder -----------------------------------------------------------------------------------------------------------


def test_the_folder_has_pecan_xml_and_nothing_else(folder: WorkflowFolder, xml: str, ledger: Ledger) -> None:
    bety = BetyOfR()
    assert make(folder, xml, ledger, bety)
    assert {path.name for path in folder.path.iterdir()} == {"pecan.xml", ".pecan-workflow"}
    assert stat.S_IMODE(folder.settings.stat().st_mode) == 0o640
    root = ET.parse(folder.settings).getroot()
    assert root.findtext("database/bety/password") == "secret"
    assert root.findtext("host/rabbitmq/uri") == SERVICES.rabbitmq_uri
    assert [node.text for node in root.iterfind("run//site/id")] == ["772", "99000000001"]
    assert bety.sites == [("Loobos", 52.17, 5.74)]


@pytest.mark.parametrize("site_id", ["772", str(10**30)])
def test_an_id_of_another_place_is_not_taken_for_bety_s(
    site_id: str, folder: WorkflowFolder, xml: str, ledger: Ledger
) -> None:
    bety = BetyOfR()
    make(folder, xml.replace("<id>NL-Loo</id>", f"<id>{site_id}</id>"), ledger, bety)
    assert bety.sites == [("Loobos", 52.17, 5.74)]


def test_a_site_of_bety_needs_no_place(folder: WorkflowFolder, xml: str, ledger: Ledger) -> None:
    root = ET.fromstring(xml)
    for site in root.iterfind("run//site"):
        for node in list(site):
            site.remove(node)
        site.append(ET.fromstring("<id>772</id>"))
    bety = BetyOfR()
    make(folder, ET.tostring(root, encoding="unicode"), ledger, bety)
    assert bety.sites == []


def test_what_an_earlier_try_left_is_gone(folder: WorkflowFolder, xml: str, ledger: Ledger) -> None:
    make(folder, xml, ledger, BetyOfR())
    for name in ("STATUS", ".RData", "pecan.CHECKED.xml", "pecan.CONFIGS.xml", "workflow.Rout"):
        (folder.path / name).write_text("old")
    for name in ("run/5", "out/5"):
        (folder.path / name).mkdir(parents=True)
    bety = BetyOfR()
    make(folder, xml, ledger, bety)
    assert {path.name for path in folder.path.iterdir()} == {"pecan.xml", ".pecan-workflow", "workflow.Rout"}
    assert bety.forgotten == [WORKFLOW_ID]
    assert ledger.stages == [None, None]


def test_a_prepared_workflow_is_left_alone(folder: WorkflowFolder, xml: str, ledger: Ledger) -> None:
    make(folder, xml, ledger, BetyOfR())
    (folder.run / "5").mkdir(parents=True)
    ledger.prepared = True
    bety = BetyOfR()
    before = folder.settings.read_bytes()
    assert not make(folder, xml.replace("TRUE", "FALSE"), ledger, bety)
    assert (folder.run / "5").exists()
    assert folder.settings.read_bytes() == before
    assert bety.forgotten == []


def test_without_bety_nothing_is_looked_for_there(folder: WorkflowFolder, xml: str, ledger: Ledger) -> None:
    root = ET.fromstring(xml)
    database = root.find("database")
    assert database is not None
    root.remove(database)
    bety = BetyOfR()
    make(folder, ET.tostring(root, encoding="unicode"), ledger, bety)
    assert (bety.forgotten, bety.sites) == ([], [])
    assert "secret" not in folder.settings.read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<id>99000000001</id>", "<id>5</id>", "workflow/id is 5, this workflow is 99000000001"),
        ("/met/Loobos", "/met/Niwot", "met/Niwot does not exist: put it on the data volume"),
        ("/met/Loobos", "/met/L**", "met/L** does not exist: put it on the data volume"),
        ("/met/Loobos", "/met/[L]oobos", "met/[L]oobos does not exist: put it on the data volume"),
        ("<lat>52.17</lat>", "", "BETY has no site of the id 'NL-Loo', and without lat and lon none is added"),
        ("<id>NL-Loo</id>", f"<id>{10**30}</id><lat>91</lat>", "lat is '91', which is not between -90 and 90 degrees"),
        ("<lat>52.17</lat>", "<lat>north</lat>", "lat is 'north', which is not between -90 and 90 degrees"),
        ("<lon>5.74</lon>", "<lon>nan</lon>", "lon is 'nan', which is not between -180 and 180 degrees"),
    ],
)
def test_settings_that_cannot_do_are_refused_before_r_begins(
    old: str, new: str, said: str, folder: WorkflowFolder, xml: str, ledger: Ledger
) -> None:
    assert old in xml
    with pytest.raises(UserError) as refused:
        make(folder, xml.replace(old, new), ledger, BetyOfR())
    assert said in refused.value.message


def test_another_workflows_folder_is_not_taken(folder: WorkflowFolder, xml: str, ledger: Ledger) -> None:
    make(folder, xml, ledger, BetyOfR())
    with pytest.raises(UserError, match="belongs to another PecanWorkflow"):
        make_folder(folder, xml, None, WORKFLOW_ID, "uid-2", SERVICES, ledger, BetyOfR())


def test_sites_come_from_their_table(folder: WorkflowFolder, r_settings: Settings, tmp_path: Path) -> None:
    table = folder.data / "sites.csv"
    table.write_text("id,name,lat,lon\na,A,1,2\nb,B,3,4\n")
    source = tmp_path / "pecan.xml"
    source.write_text(rsettings.render(replace(r_settings, sites=(), sites_csv=str(table))))
    root = ET.fromstring(fields_xml(source, folder.data))
    assert [node.text for node in root.iterfind("run//site/name")] == ["A", "B"]
    assert [node.findtext("iter") for node in root.iterfind("meta.analysis")] == ["3000"]
    assert root.findtext("database/dbfiles") == "/data/dbfiles"
    assert root.findtext("host/name") == "localhost"


def test_a_users_file_on_the_data_volume(folder: WorkflowFolder, xml: str, tmp_path: Path, ledger: Ledger) -> None:
    source = folder.data / "mine.xml"
    source.write_text(
        xml.replace("<ensemble>", "<ensemble><seed>4</seed>").replace("<outdir>", "<info>x</info><outdir>")
    )
    ours = tmp_path / "ours.json"
    model = Model(99_000_000_007, "SIPNET", "git", "/usr/local/bin/sipnet.git")
    ours.write_text(json.dumps(asdict(Ours(WORKFLOW_ID, str(folder.path), "docker", "SIPNET_git", model))))
    text, ignored = user_xml(source, ours, folder.data)
    assert ignored == ("ensemble/seed",)
    make(folder, text, ledger, BetyOfR(), ignored)
    assert json.loads(folder.ignored.read_text()) == ["ensemble/seed"]


def test_code_of_a_users_file_is_left_to_r_where_the_platform_runs_it(
    folder: WorkflowFolder, xml: str, tmp_path: Path
) -> None:
    source, ours = folder.data / "mine.xml", tmp_path / "ours.json"
    source.write_text(xml.replace("</model>", "<postrun>cp x y</postrun></model>"))
    model = Model(99_000_000_007, "SIPNET", "git", "/usr/local/bin/sipnet.git")
    given = Ours(WORKFLOW_ID, str(folder.path), "docker", "SIPNET_git", model)
    ours.write_text(json.dumps(asdict(given)))
    with pytest.raises(UserError, match=r"model/postrun is not supported: .* spec\.userCode"):
        user_xml(source, ours, folder.data)
    ours.write_text(json.dumps(asdict(replace(given, user_code=True))))
    text, ignored = user_xml(source, ours, folder.data)
    assert (ET.fromstring(text).findtext("model/postrun"), ignored) == ("cp x y", ())


# --- register ---------------------------------------------------------------------------------------------------------


def after_r(folder: WorkflowFolder, *run_ids: str, status: str = AFTER_CONFIG) -> None:
    """What R's first pass leaves."""
    for run_id in run_ids:
        (folder.run / run_id).mkdir(parents=True)
        (folder.run / run_id / "job.sh").write_text("#!/bin/bash\n")
    folder.run.mkdir(exist_ok=True)
    folder.run_list.write_text("".join(f"{run_id}\n" for run_id in run_ids))
    folder.status.write_text(status)
    (folder.path / "pecan.CONFIGS.xml").write_bytes(folder.settings.read_bytes())


@pytest.fixture
def made(folder: WorkflowFolder, xml: str, ledger: Ledger) -> WorkflowFolder:
    make(folder, xml, ledger, BetyOfR())
    return folder


def test_runs_are_registered_in_rs_order_with_what_bety_says(made: WorkflowFolder, ledger: Ledger) -> None:
    after_r(made, "12", "13", "11")
    bety = BetyOfR(
        RunDescription(11, "ensemble", "ensemble=1", 772, "Niwot", 1999, 2000),
        RunDescription(12, "sensitivity analysis", "quantile=MEDIAN,trait=all,pft=c", 772, "Niwot", 1999, 1999),
        RunDescription(13, "sensitivity analysis", "quantile=2.275,trait=SLA,pft=c", 772, "Niwot", 1999, 1999),
    )
    assert register(WORKFLOW_ID, made, ledger, bety) == 3
    median, varied, member = ledger.registered
    assert (median.run_id, median.run_type, median.trait, median.expect) == ("12", "sensitivity", None, ["1999.nc"])
    assert (varied.quantile, varied.trait, varied.pft) == ("2.275", "SLA", "c")
    assert (member.member, member.run_type, member.expect) == (1, "ensemble", ["1999.nc", "2000.nc"])
    assert (member.site_id, member.site_name, member.bety_run_id) == ("772", "Niwot", 11)
    assert (member.folder, member.outdir) == (str(made.run / "11"), str(made.out / "11"))
    assert read_plan(made) == ledger.registered
    assert ledger.settings == {}


def test_status_says_that_models_are_at_work(made: WorkflowFolder, ledger: Ledger) -> None:
    after_r(made, "ENS-00001-772")
    register(WORKFLOW_ID, made, ledger, BetyOfR())
    once = made.status.read_text().split("\n")
    assert [line.split("\t")[0] for line in once] == ["TRAIT", "CONFIG", "ADVANCED", "MODEL"]
    assert once[2].startswith(f"ADVANCED\t{T}\t")
    assert once[2].endswith("\tDONE\t")
    assert once[3].count("\t") == 1
    register(WORKFLOW_ID, made, ledger, BetyOfR())
    assert made.status.read_text().split("\n") == once


def test_runs_that_bety_has_not_are_described_by_their_readme(made: WorkflowFolder, ledger: Ledger) -> None:
    after_r(made, "SA-SLA-2.275-772", "ENS-00002-772", "ENS-00003-772")
    (made.run / "SA-SLA-2.275-772" / "README.txt").write_text(
        "runtype     : sensitivity analysis\npft name    : c\nquantile    : 2.275\ntrait       : SLA\n"
        "site        : Niwot\nsite  id    : 772\nstart date  : 2000-01-01\nend date    : 2000-12-31\n"
    )
    (made.run / "ENS-00002-772" / "README.txt").write_text("runtype     : ensemble\nrun         : 2/2\n")
    register(WORKFLOW_ID, made, ledger, BetyOfR())
    varied, member, bare = ledger.registered
    assert (varied.run_type, varied.quantile, varied.trait, varied.pft) == ("sensitivity", "2.275", "SLA", "c")
    assert (varied.site_id, varied.site_name, varied.expect) == ("772", "Niwot", ["2000.nc"])
    assert (member.member, member.site_id, member.expect) == (2, "772", ["1999.nc", "2000.nc"])
    assert (bare.run_type, bare.member, bare.bety_run_id) == ("ensemble", None, None)


def test_what_the_operator_could_not_read_is_reported(made: WorkflowFolder, ledger: Ledger) -> None:
    made.ignored.write_text('["ensemble/seed"]')
    after_r(made, "11")
    register(WORKFLOW_ID, made, ledger, BetyOfR())
    assert ledger.settings == {
        "start_date": "1999-01-01", "end_date": "2000-12-31", "stop_on_error": False, "ignored": ["ensemble/seed"],
    }  # fmt: skip


def test_copies_of_the_settings_are_closed_to_others(made: WorkflowFolder, ledger: Ledger) -> None:
    after_r(made, "11")
    (made.path / "pecan.CONFIGS.xml").chmod(0o664)
    register(WORKFLOW_ID, made, ledger, BetyOfR())
    assert stat.S_IMODE((made.path / "pecan.CONFIGS.xml").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("", "STATUS does not say that TRAIT is done"),
        (f"TRAIT\t{T}\t{T}\tDONE\t\nCONFIG\t{T}", "STATUS does not say that CONFIG is done"),
        (f"TRAIT\t{T}\t{T}\tDONE\t\nCONFIG\t{T}\t{T}\tERROR\t\n", "STATUS does not say that CONFIG is done"),
        (f"TRAIT\t{T}\t{T}\tDONE\t\nCONFIG\t{T}\t{T}\tDONE\t\n", "not after it had written the runs"),
    ],
)
def test_r_that_ended_early_is_found_out(made: WorkflowFolder, ledger: Ledger, status: str, said: str) -> None:
    after_r(made, "11", status=status)
    with pytest.raises(UserError) as refused:
        register(WORKFLOW_ID, made, ledger, BetyOfR())
    assert said in refused.value.message
    assert ledger.registered == []


def test_meta_is_wanted_where_there_is_a_meta_analysis(made: WorkflowFolder, ledger: Ledger) -> None:
    made.settings.write_text(
        made.settings.read_text().replace("<outdir>", "<meta.analysis><iter>9</iter></meta.analysis><outdir>")
    )
    after_r(made, "11")
    with pytest.raises(UserError, match="STATUS does not say that META is done"):
        register(WORKFLOW_ID, made, ledger, BetyOfR())


@pytest.mark.parametrize("text", ["11\n12\n", "11\n../11\n"])
def test_a_run_without_job_is_found_out(made: WorkflowFolder, ledger: Ledger, text: str) -> None:
    after_r(made, "11")
    made.run_list.write_text(text)
    with pytest.raises(UserError, match=r"job\.sh: see workflow\.Rout"):
        register(WORKFLOW_ID, made, ledger, BetyOfR())


# --- resume -----------------------------------------------------------------------------------------------------------


def ran(folder: WorkflowFolder, ledger: Ledger) -> None:
    after_r(folder, "11", "12")
    register(WORKFLOW_ID, folder, ledger, BetyOfR())
    ok, failed = ledger.registered
    ledger.states = [(ok, RunState.SUCCEEDED, 1, 0, None), (failed, RunState.FAILED, 3, 1, "no")]
    for plan in ledger.registered:
        Path(plan.outdir).mkdir(parents=True)
        (Path(plan.outdir) / "1999.nc").touch()


@pytest.mark.parametrize("meta", [False, True])
@pytest.mark.parametrize(
    "more",
    [
        "",
        f"\nOUTPUT\t{T}",
        f"\nOUTPUT\t{T}\t{T}\tDONE\t\nENSEMBLE\t{T}\t{T}\tERROR\t\n",
        f"OUTPUT\t{T}\n\t{T}\tERROR\t\n",
    ],
)
def test_status_has_the_lines_up_to_model_and_none_after(
    made: WorkflowFolder, ledger: Ledger, meta: bool, more: str
) -> None:
    ran(made, ledger)
    names = ["TRAIT", "CONFIG", "ADVANCED", "MODEL"]
    if meta:
        names.insert(1, "META")
        text = made.settings.read_text().replace("<outdir>", "<meta.analysis><iter>9</iter></meta.analysis><outdir>")
        made.settings.write_text(text)
        made.status.write_text(made.status.read_text().replace("CONFIG", f"META\t{T}\t{T}\tDONE\t\nCONFIG"))
    resume(WORKFLOW_ID, made, ledger, SERVICES)
    made.status.write_text(made.status.read_text().rstrip("\n") + more)
    (made.path / ".RData").touch()
    resume(WORKFLOW_ID, made, ledger, SERVICES)
    lines = made.status.read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == names
    assert all(line.split("\t")[3:] == ["DONE", ""] and len(line.split("\t")[1]) == 19 for line in lines)
    assert lines[-1].split("\t")[2] == "2026-06-02 03:04:05"
    assert made.status.read_text().endswith("\n")
    assert not (made.path / ".RData").exists()


def test_a_password_that_was_changed_meanwhile_is_in_all_copies(made: WorkflowFolder, ledger: Ledger) -> None:
    ran(made, ledger)
    for name in ("pecan.CHECKED.xml", "pecan.METProcess.xml", "pecan.TRAIT.xml"):
        (made.path / name).write_bytes(made.settings.read_bytes())
    assert resume(WORKFLOW_ID, made, ledger, ROTATED) == 1
    copies = [made.settings, *made.saved_settings()]
    assert len(copies) == 5
    for file in copies:
        text = file.read_text()
        assert "secret" not in text
        assert "hidden" not in text
        assert ET.fromstring(text).findtext("database/bety/password") == "new"
        assert ET.fromstring(text).findtext("database/bety/host") == "db2"
        assert ET.fromstring(text).findtext("host/rabbitmq/uri") == ROTATED.rabbitmq_uri
        assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_half_written_copy_goes_unless_r_needs_it(made: WorkflowFolder, ledger: Ledger) -> None:
    ran(made, ledger)
    half = made.path / "pecan.pda1.xml"
    half.write_text("<pecan><database><bety><password>secret</pass")
    resume(WORKFLOW_ID, made, ledger, ROTATED)
    assert not half.exists()
    (made.path / "pecan.CONFIGS.xml").write_text("<pecan><run>")
    with pytest.raises(UserError, match=r"pecan\.CONFIGS\.xml: pecan\.xml is not well-formed XML"):
        resume(WORKFLOW_ID, made, ledger, ROTATED)


def test_output_of_failed_runs_is_set_aside(made: WorkflowFolder, ledger: Ledger) -> None:
    ran(made, ledger)
    resume(WORKFLOW_ID, made, ledger, SERVICES)
    assert (made.out / "11" / "1999.nc").exists()
    assert (made.out / "12" / "failed" / "1999.nc").exists()
    assert read_states(made)["12"].state is RunState.FAILED


# --- report -----------------------------------------------------------------------------------------------------------


def test_what_r_left_is_named(made: WorkflowFolder, ledger: Ledger) -> None:
    ran(made, ledger)
    resume(WORKFLOW_ID, made, ledger, SERVICES)
    for name in ("ensemble.analysis.7.NPP.1999.2000.pdf", "sensitivity.results.8.NPP.1999.2000.Rdata", "samples.Rdata"):
        (made.path / name).touch()
    with pytest.raises(UserError, match="STATUS does not say FINISHED"):
        report(WORKFLOW_ID, made, ledger)
    with made.status.open("a") as file:
        file.write(f"OUTPUT\t{T}\t{T}\tDONE\t\nFINISHED\t{T}\t{T}\tDONE\t\n")
    report(WORKFLOW_ID, made, ledger)
    assert (ledger.results["runs"], ledger.results["used"]) == (2, 1)
    assert ledger.results["files"] == [
        "ensemble.analysis.7.NPP.1999.2000.pdf", "sensitivity.results.8.NPP.1999.2000.Rdata",
    ]  # fmt: skip


@pytest.fixture
def finished(made: WorkflowFolder, ledger: Ledger) -> WorkflowFolder:
    ran(made, ledger)
    resume(WORKFLOW_ID, made, ledger, SERVICES)
    made.status.write_text(f"FINISHED\t{T}\t{T}\tDONE\t\n")
    return made


@pytest.mark.parametrize("form", ["list", "vector"])
def test_the_members_means_that_r_computed_are_told(finished: WorkflowFolder, ledger: Ledger, form: str) -> None:
    means = [1.0, 2.0, float("nan"), 4.0, 5.0]
    output = {str(n): np.array([mean]) for n, mean in enumerate(means)} if form == "list" else np.array(means)
    save(finished.path / "ensemble.output.7.soil.NPP.1999.2000.Rdata", ensemble__output=output)
    results = report(WORKFLOW_ID, finished, ledger)
    assert results["ensemble"] == [
        {
            "variable": "soil.NPP", "ensembleId": "7", "startYear": 1999, "endYear": 2000, "n": 4, "mean": 3.0,
            "sd": 1.82574, "q2.5": 1.075, "q50": 3.0, "q97.5": 4.925,
        }
    ]  # fmt: skip
    assert results["caveats"] == []


def test_what_of_r_cannot_be_read_is_a_caveat(finished: WorkflowFolder, ledger: Ledger) -> None:
    (finished.path / "ensemble.output.7.NEE.1999.2000.Rdata").write_bytes(b"RDX3\nX\n\x00")
    save(finished.path / "ensemble.output.7.NPP.1999.2000.Rdata", ensemble__output=np.array(["a"]))
    save(finished.path / "ensemble.output.7.Qle.1999.2000.Rdata", ensemble__output=np.array([np.nan]))
    results = report(WORKFLOW_ID, finished, ledger)
    assert results["ensemble"] == []
    damaged, text, empty = results["caveats"]
    assert "NEE.1999.2000.Rdata cannot be read as RData" in damaged
    assert "NPP.1999.2000.Rdata: ensemble.output holds more than numbers" in text
    assert empty == "Qle: no member has a value"


def test_what_is_reported_stays_small(finished: WorkflowFolder, ledger: Ledger) -> None:
    for number in range(200):
        (finished.path / f"ensemble.ts.{number:03}.{'x' * 60}.Rdata").touch()
    for number in range(20):
        name = f"ensemble.output.{99_000_000_000 + number}.{'v' * 32}.1999.2000.Rdata"
        save(finished.path / name, ensemble__output=np.array([1.23456789, 2.3456789]))
    results = report(WORKFLOW_ID, finished, ledger)
    assert len(json.dumps(results)) < 4096
    assert len(results["files"]) + results["omitted"] == 220


# --- stages -----------------------------------------------------------------------------------------------------------


def test_the_stage_is_told_when_it_changes(folder: WorkflowFolder, ledger: Ledger) -> None:
    folder.path.mkdir(parents=True)
    looks = iter(
        [None, f"TRAIT\t{T}", f"TRAIT\t{T}", f"TRAIT\t{T}\t{T}\tDONE\t\n", f"TRAIT\t{T}\t{T}\tDONE\t\nCONFIG\t{T}"]
    )

    def is_over(_: float) -> bool:
        try:
            text = next(looks)
        except StopIteration:
            return True
        if text is not None:
            folder.status.write_text(text)
        return False

    report_stages(WORKFLOW_ID, folder, ledger, is_over)
    assert ledger.stages == [CONVERSION, "TRAIT", "CONFIG"]


def test_a_database_that_is_away_is_told_later(folder: WorkflowFolder, ledger: Ledger) -> None:
    folder.path.mkdir(parents=True)
    ledger.fails = 2
    looks = iter([False, False, False, True])
    report_stages(WORKFLOW_ID, folder, ledger, lambda _: next(looks))
    assert ledger.stages == [CONVERSION]


# --- the command ------------------------------------------------------------------------------------------------------


def test_provenance_has_no_seed_and_a_hash_that_a_new_password_leaves(made: WorkflowFolder, ledger: Ledger) -> None:
    told = json.dumps(
        {
            "workflow": {},
            "model": {"name": "sipnet"},
            "executor": {},
            "operator": {},
            "r": {"image": "pecan/executor:1"},
        }
    )
    write_provenance(made, WORKFLOW_ID, UID, told, for_r=True)
    before = json.loads(made.provenance.read_text())
    assert before["seed"] is None
    assert before["model"] == {"type": "SIPNET", "revision": "git", "name": "sipnet", "digests": []}
    assert before["r"] == {"image": "pecan/executor:1", "digests": []}
    ran(made, ledger)
    resume(WORKFLOW_ID, made, ledger, ROTATED)
    write_provenance(made, WORKFLOW_ID, UID, told, for_r=True)
    assert json.loads(made.provenance.read_text())["pecan.xml"] == before["pecan.xml"]
    assert "secret" not in made.provenance.read_text()


def test_the_steps_want_the_connections_of_r(
    folder: WorkflowFolder, xml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    source = tmp_path / "pecan.xml"
    source.write_text(xml)
    values = {"PECAN_FOLDER": str(folder.path), "PECAN_WORKFLOW_ID": str(WORKFLOW_ID), "PECAN_WORKFLOW_UID": UID}
    given = {"PGHOST": "db", "PGPORT": "1", "PGUSER": "u", "PGPASSWORD": "p", "PGDATABASE": "d"}
    for name, value in {**values, **given}.items():
        monkeypatch.setenv(name, value)
    assert main(["folder", "--framework", "pecan", "--settings", str(source)]) == 65
    assert "the environment variable BETY_PGHOST is not set" in capsys.readouterr().err
    for name, value in given.items():
        monkeypatch.setenv(f"BETY_{name}", value)
    assert main(["folder", "--framework", "pecan", "--settings", str(source)]) == 65
    assert "the environment variable RABBITMQ_URI is not set" in capsys.readouterr().err
    assert not folder.path.exists()


def test_the_reporter_ends_when_it_is_told_to() -> None:
    assert "stages" not in main_module.STAGED, "it must not mark a stage as failed"
