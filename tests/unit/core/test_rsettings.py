"""R's pecan.xml: from fields, from a user's, with and without the connections of services."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from objects import workflow_object

from pecan_operator.api.workflow import PecanWorkflow
from pecan_operator.core import pecanxml, rsettings
from pecan_operator.core.pecanxml import POSTRUN, PRERUN, Ensemble, Input, Model, Pft, Settings, Site
from pecan_operator.core.rsettings import Asked, Services
from pecan_operator.core.userxml import Ours
from pecan_operator.errors import UserError

MODEL = Model(99_000_000_007, "SIPNET", "git", "/usr/local/bin/sipnet.git")
OURS = Ours(99_000_000_001, "/data/workflows/PEcAn_99000000001", "docker", "SIPNET_git", MODEL)
SERVICES = Services(
    {"PGHOST": "db.forest.svc", "PGPORT": "5432", "PGUSER": "bety", "PGPASSWORD": "secret", "PGDATABASE": "bety"},
    "amqp://pecan:hidden@broker:5672/pecan",
)
SETTINGS = Settings(
    workflow_id=99_000_000_001,
    folder="/data/workflows/PEcAn_99000000001",
    hostname="docker",
    queue="SIPNET_git",
    model=MODEL,
    sites=(Site("772", "Niwot", 40.03, -105.5),),
    start_date=date(2004, 1, 1),
    end_date=date(2004, 12, 31),
    inputs={"met": Input(("/data/sites/niwot/niwot.clim",))},
    pfts=(Pft("temperate.coniferous", posterior_files="/data/posteriors/conifer"),),
    ensemble=Ensemble(10, ("NPP",), seed=7),
    stop_on_error=False,
    sensitivity_analysis=pecanxml.SensitivityAnalysis(("NPP",), seed=8),
)
DEMO = (Path(__file__).parents[3] / "examples" / "pecanxml" / "sipnet-demo2.xml").read_text()


def text_of(xml: str, path: str) -> str | None:
    return ET.fromstring(xml).findtext(path)


def test_fields_become_what_pecan_reads() -> None:
    xml = rsettings.render(SETTINGS)
    root = ET.fromstring(xml)
    assert root.findtext("host/name") == "localhost"
    assert root.findtext("host/rabbitmq/queue") == "SIPNET_git"
    assert root.findtext("outdir") == OURS.folder
    assert root.findtext("workflow/id") == "99000000001"
    assert [root.findtext(f"model/{tag}") for tag in ("id", "type", "revision", "binary")] == [
        "99000000007", "SIPNET", "git", "/usr/local/bin/sipnet.git",
    ]  # fmt: skip
    assert root.findtext("database/dbfiles") == "/data/dbfiles"
    assert root.findtext("pfts/pft/posterior.files") == "/data/posteriors/conifer"
    assert root.findall(".//seed") == []
    assert root.findtext("ensemble/samplingspace/parameters/method") == "uniform"


def test_pfts_with_posterior_files_are_run_without_bety_where_r_has_no_posterior_of_them() -> None:
    root = ET.fromstring(rsettings.render(SETTINGS))
    assert root.findtext("database/bety/write") == "FALSE"
    assert root.find("meta.analysis") is None


@pytest.mark.parametrize(
    "pfts", [(Pft("temperate.coniferous"),), (Pft("temperate.coniferous"), Pft("soil", posterior_files="/data/soil"))]
)
def test_pfts_with_priors_of_bety_go_through_pecans_meta_analysis(pfts: tuple[Pft, ...]) -> None:
    root = ET.fromstring(rsettings.render(replace(SETTINGS, pfts=pfts)))
    assert root.findtext("database/bety/write") == "TRUE"
    assert root.findtext("meta.analysis/iter") == "3000"
    assert root.findtext("meta.analysis/random.effects/on") == "FALSE"


def test_several_sites_stay_pecans_multisettings() -> None:
    sites = (*SETTINGS.sites, Site("b", "B", 1.0, 2.0))
    root = ET.fromstring(rsettings.render(replace(SETTINGS, sites=sites)))
    assert root.tag == "pecan.multi"
    assert root.findtext("database/bety/driver") == "PostgreSQL"
    assert root.findtext("run/settings.2/site/id") == "b"


def pft(**given: Any) -> PecanWorkflow:
    return PecanWorkflow.parse(workflow_object(pfts=[{"name": "conifer", **given}]))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"traits": {"SLA": {"distn": "unif", "parama": 1, "paramb": 2}}}, "traits"),
        ({"priors": {"csv": "/data/priors.csv"}}, "priors.csv"),
        ({"priors": {"samplesCsv": "/data/samples.csv"}}, "priors.samplesCsv"),
    ],
)
def test_priors_that_r_does_not_know_are_refused(given: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError) as refused:
        rsettings.check_fields(pft(**given).spec)
    assert refused.value.reason == "NotForR"
    assert f"pfts conifer: {named} cannot be used with framework pecan" in refused.value.message


def test_posterior_files_and_constants_are_for_r_and_a_seed_has_no_effect() -> None:
    assert rsettings.check_fields(pft(priors={"posteriorFiles": "/data/p"}, constants={"SLA": 1.0}).spec) == (
        "ensemble/seed",
    )


# --- a user's ---------------------------------------------------------------------------------------------------------


def test_pecans_demo_goes_to_r_as_it_is_but_for_what_is_ours() -> None:
    adopted = rsettings.adopt(DEMO, OURS)
    given, made = ET.fromstring(DEMO), ET.fromstring(adopted.xml)
    for part in ("pfts", "meta.analysis", "ensemble", "sensitivity.analysis", "run"):
        assert ET.tostring(_plain(made.find(part))) == ET.tostring(_plain(given.find(part))), part
    assert adopted.ignored == ()
    assert made.findtext("database/bety/write") == "TRUE"
    assert made.findtext("model/binary") == MODEL.binary
    assert made.findtext("outdir") == OURS.folder
    assert made.find("info") is None


def _plain(node: ET.Element | None) -> ET.Element:
    assert node is not None
    for each in node.iter():
        each.text, each.tail = (each.text or "").strip(), None
    return node


def demo(addition: str) -> str:
    return DEMO.replace("</pecan>", f"{addition}</pecan>")


def test_what_light_refuses_is_left_to_r() -> None:
    xml = rsettings.adopt(demo("<assim.batch><iter>9</iter></assim.batch><sitegroup><id>5</id></sitegroup>"), OURS).xml
    assert text_of(xml, "assim.batch/iter") == "9"
    assert text_of(xml, "sitegroup/id") == "5"


def test_sources_that_r_downloads_are_left_to_it() -> None:
    met = "<met><source>CRUNCEP</source><output>SIPNET</output></met>"
    xml = rsettings.adopt(
        DEMO.replace("<path>/data/sites/niwot/niwot.clim</path>", "<source>CRUNCEP</source>"), OURS
    ).xml
    assert text_of(xml, "run/inputs/met/source") == "CRUNCEP"
    assert met not in xml


@pytest.mark.parametrize(
    ("addition", "named"),
    [
        ("<host><prerun>rm -rf /data</prerun></host>", "host/prerun is not supported"),
        ("<model><job.sh>module load x</job.sh></model>", "model/job.sh is not supported"),
        ("<model><postrun>x</postrun></model>", "only where spec.userCode of the PecanPlatform is Run"),
        ("<model><jobtemplate>/data/x</jobtemplate></model>", "model/jobtemplate is not supported"),
        ("<model><binary_args>-s; rm -rf /data</binary_args></model>", "model/binary_args may hold nothing but"),
        ("<model><binary_args>$(id)</binary_args></model>", "model/binary_args may hold nothing but"),
        ("<model><binary_args>-s\nid</binary_args></model>", "model/binary_args may hold nothing but"),
        ("<pfts><pft><priors><csv>/data/x</csv></priors></pft></pfts>", "takes priors from BETY or posterior.files"),
        ("<model><type>ED2</type></model>", "model/type is 'ED2', but the model of modelRef has 'SIPNET'"),
    ],
)
def test_code_of_the_users_own_and_what_r_does_not_know_is_refused(addition: str, named: str) -> None:
    with pytest.raises(UserError, match=r"pecan\.xml line ") as refused:
        rsettings.adopt(demo(addition), OURS)
    assert named in refused.value.message


@pytest.mark.parametrize("place", [*PRERUN, *POSTRUN])
def test_code_is_left_to_r_where_the_platform_runs_it(place: str) -> None:
    parent, tag = place.split("/")
    text = demo(f"<{parent}><{tag}>module load x\nexport A='&lt;1'</{tag}></{parent}>")
    with pytest.raises(UserError, match=f"{place} is not supported: .* spec.userCode"):
        rsettings.adopt(text, OURS)
    xml = rsettings.adopt(text, replace(OURS, user_code=True)).xml
    assert text_of(xml, place) == "module load x\nexport A='<1'"
    assert text_of(xml, "host/name") == "localhost"


def test_plain_arguments_of_the_model_are_r_s() -> None:
    made = ET.fromstring(rsettings.adopt(demo("<model><binary_args> -s --n=1 </binary_args></model>"), OURS).xml)
    assert made.findtext("model/binary_args") == " -s --n=1 "


def test_nodes_of_another_workflow_are_dropped() -> None:
    saved = (
        "<settings.info><checked>TRUE</checked></settings.info><rundir>/elsewhere</rundir><outdir>/elsewhere</outdir>"
    )
    text = demo(saved).replace("<name>temperate.coniferous</name>", "<name>c</name><outdir>/data/old/pft/c</outdir>")
    made = ET.fromstring(rsettings.adopt(text, OURS).xml)
    assert made.find("settings.info") is None
    assert made.find("rundir") is None
    assert made.find("pfts/pft/outdir") is None
    assert [node.text for node in made.findall("outdir")] == [OURS.folder]


def test_without_a_database_none_is_added_and_its_own_is_never_kept() -> None:
    without = DEMO.replace(DEMO[DEMO.index("<database>") : DEMO.index("</database>") + 11], "")
    assert ET.fromstring(rsettings.adopt(without, OURS).xml).find("database") is None
    mine = "<bety><write>FALSE</write><password>mine</password><host>there</host><driver>Postgres</driver></bety>"
    xml = rsettings.adopt(without.replace("</pecan>", f"<database>{mine}</database></pecan>"), OURS).xml
    assert "mine" not in xml
    assert "there" not in xml
    assert text_of(xml, "database/bety/write") == "FALSE"
    assert text_of(xml, "database/bety/driver") == "Postgres"
    assert not rsettings.writes_bety(ET.fromstring(xml))


def test_paths_are_made_absolute() -> None:
    text = DEMO.replace("/data/sites/niwot/niwot.clim", "niwot.clim")
    with pytest.raises(UserError, match=r"pecanXml\.baseDir"):
        rsettings.adopt(text, OURS)
    xml = rsettings.adopt(text, replace(OURS, base_dir="/data/mine")).xml
    assert text_of(xml, "run/inputs/met/path") == "/data/mine/niwot.clim"


def test_what_the_workflow_says_wins() -> None:
    xml = rsettings.adopt(DEMO, replace(OURS, delete_raw=True, stop_on_error=True)).xml
    assert text_of(xml, "model/delete.raw") == "TRUE"
    assert text_of(xml, "run/stop_on_error") == "TRUE"
    assert rsettings.asked(xml, None).stop_on_error is True


# --- what it asks for -------------------------------------------------------------------------------------------------


def test_the_ledger_learns_the_days_of_all_sites() -> None:
    assert rsettings.asked(rsettings.adopt(DEMO, OURS).xml, None) == Asked("2004-01-01", "2004-12-31", False)
    several = (
        "<pecan.multi><run>"
        "<settings.1><start.date>2001/2/3</start.date><end.date>2002-01-01 00:00:00</end.date></settings.1>"
        "<settings.2><start.date>2000-05-01</start.date><end.date>2003-01-01</end.date></settings.2></run></pecan.multi>"
    )
    assert rsettings.asked(several, False) == Asked("2000-05-01", "2003-01-01", False)


@pytest.mark.parametrize(
    ("ensemble", "run", "stop"),
    [
        ("", "", True),
        ("<ensemble><size>1</size></ensemble>", "", True),
        ("<ensemble/>", "", True),
        ("<ensemble><size>2</size></ensemble>", "", False),
        ("<ensemble><size>2</size></ensemble>", "<stop_on_error>true</stop_on_error>", True),
        ("", "<stop_on_error>FALSE</stop_on_error>", False),
    ],
)
def test_stop_on_error_follows_pecans_rule_unless_the_workflow_says(ensemble: str, run: str, stop: bool) -> None:
    days = "<start.date>2001-01-01</start.date><end.date>2001-12-31</end.date>"
    xml = f"<pecan>{ensemble}<run>{days}{run}</run></pecan>"
    assert rsettings.asked(xml, None).stop_on_error is stop
    assert rsettings.asked(xml, not stop).stop_on_error is not stop


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("", "has no run/start.date"),
        ("<start.date>2001-01-01</start.date>", "has no run/end.date"),
        ("<start.date>soon</start.date>", "'soon' does not begin with a day"),
    ],
)
def test_days_that_are_missing_or_wrong_are_refused(run: str, said: str) -> None:
    with pytest.raises(UserError, match=r"pecan\.xml") as refused:
        rsettings.asked(f"<pecan><run>{run}</run></pecan>", None)
    assert said in refused.value.message


# --- services ---------------------------------------------------------------------------------------------------------


def test_connections_are_put_in_and_replaced_and_taken_out() -> None:
    bare = rsettings.render(SETTINGS)
    full = rsettings.with_services(bare, SERVICES)
    assert text_of(full, "database/bety/password") == "secret"
    assert text_of(full, "database/bety/host") == "db.forest.svc"
    assert text_of(full, "database/bety/user") == "bety"
    assert text_of(full, "database/bety/dbname") == "bety"
    assert text_of(full, "host/rabbitmq/uri") == SERVICES.rabbitmq_uri
    rotated = replace(
        SERVICES, bety={**SERVICES.bety, "PGPASSWORD": "new"}, rabbitmq_uri="amqp://pecan:newer@b:5672/pecan"
    )
    again = rsettings.with_services(full, rotated)
    assert "secret" not in again
    assert "hidden" not in again
    assert text_of(again, "database/bety/password") == "new"
    assert rsettings.with_services(again, SERVICES) == full
    assert rsettings.without_services(full) == rsettings.without_services(again) == rsettings.without_services(bare)
    assert "secret" not in rsettings.without_services(full)


def test_a_copy_without_database_gets_none() -> None:
    bare = "<pecan><host><name>localhost</name><rabbitmq><queue>q</queue></rabbitmq></host></pecan>"
    full = rsettings.with_services(bare, SERVICES)
    assert "secret" not in full
    assert text_of(full, "host/rabbitmq/uri") == SERVICES.rabbitmq_uri


def test_services_do_not_show_what_they_hold() -> None:
    assert repr(SERVICES) == "Services()"
