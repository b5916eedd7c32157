"""A pecan.xml as PEcAn's users write it becomes the settings of a workflow, or is refused with a sentence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pecan_executor.settings import parse
from pecan_executor.usersettings import read_user_settings
from pecan_operator.core.pecanxml import (
    SAMPLING_METHODS,
    Ensemble,
    Input,
    Model,
    Pft,
    Prior,
    SensitivityAnalysis,
    Settings,
    Site,
    render,
)
from pecan_operator.core.userxml import DEEPEST, MOST_BYTES, Ours
from pecan_operator.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = yaml.safe_load((ROOT / "examples/workflows/loobos-pecanxml.yaml").read_text())["spec"]["pecanXml"]
OURS = Ours(
    workflow_id=99000000001,
    folder="/data/workflows/PEcAn_99000000001",
    hostname="docker",
    queue="DALEC_ev",
    model=Model(99000000002, "DALEC", "ev", "/work/run"),
    base_dir="/data/met/loobos",
)
GOOD: str = EXAMPLE["inline"]
RUN = GOOD[GOOD.index("<run>") + 5 : GOOD.index("</run>")]
MULTI = GOOD.replace("pecan>", "pecan.multi>").replace(
    RUN,
    f"<settings.1>{RUN}</settings.1><settings.2>{RUN.replace('NL-Loo', 'north').replace('52.17', '53.07')}</settings.2>",
)


def read(text: str | bytes, **ours: Any) -> Settings:
    return read_user_settings(text, replace(OURS, **ours)).settings


def test_pecans_demo_becomes_a_workflow() -> None:
    user = read_user_settings(GOOD, OURS)
    assert user.settings == Settings(
        workflow_id=99000000001,
        folder="/data/workflows/PEcAn_99000000001",
        hostname="docker",
        queue="DALEC_ev",
        model=Model(99000000002, "DALEC", "ev", "/work/run"),
        sites=(Site("NL-Loo", "Loobos", 52.17, 5.74),),
        start_date=date(1998, 1, 1),
        end_date=date(1998, 12, 31),
        inputs={"met": Input(("/data/met/loobos/Loobos",))},
        pfts=(
            Pft(
                "temperate.coniferous",
                {"SLA": Prior("gamma", 25.0, 5.0), "leaf_turnover_rate": Prior("gamma", 30.0, 40.0)},
                {
                    "wood_turnover_rate": 0.012,
                    "leaf_carbon_content": 0.2,
                    "wood_carbon_content": 6.0,
                    "root_carbon_content": 0.2,
                    "litter_carbon_content": 0.1,
                    "soil_carbon_content": 8.0,
                },
            ),
        ),
        ensemble=Ensemble(10, ("NPP", "NEE")),
        stop_on_error=False,
        sensitivity_analysis=SensitivityAnalysis(("NPP",), (-1.0, 1.0)),
    )
    assert user.ignored == ("run/inputs/met/source",)


def test_what_is_ours_does_not_come_from_the_user() -> None:
    rendered = render(read(GOOD))
    for theirs in ("99000000003", "database", "uri", "localhost", "source"):
        assert theirs not in rendered


def test_several_sites() -> None:
    user = read_user_settings(MULTI, OURS)
    assert [(site.id, site.lat) for site in user.settings.sites] == [("NL-Loo", 52.17), ("north", 53.07)]
    assert user.settings.inputs == {"met": Input(("/data/met/loobos/Loobos",))}
    assert user.ignored == ("run/inputs/met/source",), "each is named once"


@pytest.mark.parametrize(
    ("old", "new", "field", "value"),
    [
        ("1998/12/31</end", "1998-12-31 23:59:59</end", "end_date", date(1998, 12, 31)),
        ("1998/01/01</start", "1998-1-1 00:00:00</start", "start_date", date(1998, 1, 1)),
        ("<size>10</size>", "", "stop_on_error", False),
        ("<size>10</size>", "", "ensemble", Ensemble(1, ("NPP", "NEE"))),
        ("</run>", "<stop_on_error>TRUE</stop_on_error></run>", "stop_on_error", True),
        ("<delete.raw>FALSE", "<delete.raw>TRUE", "delete_raw", True),
        ("<path>Loobos", "<path>../other/./Loobos", "inputs", {"met": Input(("/data/met/other/Loobos",))}),
        (
            "<path>Loobos</path>",
            "<path><path1>a</path1><path2>/data/b</path2></path>",
            "inputs",
            {"met": Input(("/data/met/loobos/a", "/data/b"))},
        ),
        (
            "<path>Loobos</path>",
            "<path><path>a</path><path>b</path></path><id></id>",
            "inputs",
            {"met": Input(("/data/met/loobos/a", "/data/met/loobos/b"))},
        ),
        (
            "</inputs>",
            "<soil>soil.nc</soil></inputs>",
            "inputs",
            {"met": Input(("/data/met/loobos/Loobos",)), "soil": Input(("/data/met/loobos/soil.nc",))},
        ),
        (
            "</site>",
            "<site.pft>temperate.coniferous</site.pft></site>",
            "sites",
            (Site("NL-Loo", "Loobos", 52.17, 5.74),),
        ),
        ("<name>Loobos</name>", "", "sites", (Site("NL-Loo", "NL-Loo", 52.17, 5.74),)),
        ("<name>Loobos", "<name>Loobos \n  forest", "sites", (Site("NL-Loo", "Loobos forest", 52.17, 5.74),)),
    ],
)
def test_as_pecan_understands_it(old: str, new: str, field: str, value: Any) -> None:
    assert getattr(read(GOOD.replace(old, new)), field) == value


def test_sites_may_be_called_as_newer_pecan_calls_them() -> None:
    newer = re.sub(r"settings\.([12])", r"site.\1", MULTI)
    assert newer != MULTI
    assert read(newer) == read(MULTI)


def test_a_way_to_sample_an_input_that_is_not_there_is_ignored_by_name() -> None:
    for text in (GOOD, MULTI):
        many = text.replace("<samplingspace>", "<samplingspace><vegetation><method>looping</method></vegetation>")
        assert many != text
        user = read_user_settings(many, OURS)
        assert user.settings == read(text)
        assert set(user.ignored) == {"ensemble/samplingspace/vegetation", "run/inputs/met/source"}
    there = many.replace("<inputs>", "<inputs><vegetation>veg.css</vegetation>")
    assert read(there).inputs["vegetation"].method == "looping"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<run>", "<run><site><id>third</id><lat>1</lat><lon>2</lon></site>", "run/site is beside run/settings.1"),
        ("<run>", "<run><inputs><met><path>a</path></met></inputs>", "run/inputs is beside run/settings.1"),
        ("</run>", "<stop_on_error>TRUE</stop_on_error></run>", "run/stop_on_error is beside run/settings.1"),
        ("</settings.1><settings.2>", "<settings.2>", "run/settings.2 is inside run/settings.1: .* beside the other"),
    ],
)
def test_no_site_is_lost(old: str, new: str, message: str) -> None:
    wrong = MULTI.replace(old, new)
    if "inside" in message:
        wrong = wrong.replace("</settings.2>", "</settings.2></settings.1>")
    with pytest.raises(UserError, match=r"line \d+: " + message):
        read(wrong)


def test_what_has_no_effect_may_stand_beside_the_sites() -> None:
    beside = MULTI.replace("<run>", "<run><inputs/><dbfiles>/a</dbfiles><ic>1</ic>")
    assert read(beside) == read(MULTI)
    assert "run/ic" in read_user_settings(beside, OURS).ignored


def test_empty_nodes_are_not_worth_naming() -> None:
    assert read_user_settings(GOOD.replace("<model>", "<model><options/><edin> </edin>"), OURS).ignored == (
        "run/inputs/met/source",
    )


def test_variables_of_the_sensitivity_analysis_are_those_of_the_ensemble_that_has_none() -> None:
    without = GOOD.replace("<variable>NPP</variable>\n    <variable>NEE</variable>", "")
    assert without != GOOD
    assert read(without).ensemble.variables == ("NPP",)


SENSITIVITY = GOOD[GOOD.index("<sensitivity.analysis>") : GOOD.index("</sensitivity.analysis>") + 23]
ENSEMBLE = GOOD[GOOD.index("<ensemble>") : GOOD.index("</ensemble>") + 11]


def test_a_single_run_stops_on_error() -> None:
    one = GOOD.replace("<size>10", "<size>1")
    assert (read(one.replace(SENSITIVITY, "")).stop_on_error, read(one).stop_on_error) == (True, False)


def test_a_sensitivity_analysis_may_stand_alone() -> None:
    alone = read(GOOD.replace(ENSEMBLE, ""), seed=5)
    assert (alone.ensemble, alone.stop_on_error) == (None, False)
    assert alone.sensitivity_analysis == SensitivityAnalysis(("NPP",), (-1.0, 1.0), seed=5)
    with pytest.raises(UserError, match=r"neither ensemble nor sensitivity\.analysis"):
        read(GOOD.replace(ENSEMBLE, "").replace(SENSITIVITY, ""))


def test_runs_of_a_sensitivity_analysis_whose_traits_are_in_files_do_not_stop_each_other() -> None:
    priors = GOOD[GOOD.index("<priors>") : GOOD.index("</priors>") + 9]
    text = GOOD.replace(ENSEMBLE, "").replace(priors, "<posterior.files>post</posterior.files>")
    assert read(text).stop_on_error is False


def test_a_seed_of_its_own_wins_over_that_of_the_uid() -> None:
    assert read(GOOD, seed=5).ensemble == Ensemble(10, ("NPP", "NEE"), seed=5)
    assert read(GOOD.replace("<size>10", "<seed>7</seed><size>10"), seed=5).ensemble == Ensemble(
        10, ("NPP", "NEE"), seed=7
    )


def test_files_of_traits_are_paths() -> None:
    text = GOOD.replace("<priors>", "<posterior.files>post</posterior.files><priors><csv>../p.csv</csv>")
    (pft,) = read(text).pfts
    assert (pft.posterior_files, pft.priors_csv) == ("/data/met/loobos/post", "/data/met/p.csv")


def test_a_single_member_at_two_sites_is_not_a_single_run() -> None:
    assert read(MULTI.replace("<size>10", "<size>1")).stop_on_error is False


def stopping(*flags: str) -> str:
    """Two sites, each with a stop_on_error of its own or none."""
    first, second = (f"<stop_on_error>{flag}</stop_on_error>" if flag else "" for flag in flags)
    return MULTI.replace("</settings.1>", f"{first}</settings.1>").replace("</settings.2>", f"{second}</settings.2>")


@pytest.mark.parametrize(
    ("flags", "stops"),
    [(("TRUE", "TRUE"), True), (("TRUE", "T"), True), (("FALSE", ""), False), (("", "F"), False), (("", ""), False)],
)
def test_sites_stop_together(flags: tuple[str, str], stops: bool) -> None:
    assert read(stopping(*flags)).stop_on_error is stops


@pytest.mark.parametrize("flags", [("TRUE", "FALSE"), ("FALSE", "TRUE"), ("TRUE", ""), ("", "TRUE")])
def test_sites_that_stop_differently_are_refused_unless_the_field_says_it(flags: tuple[str, str]) -> None:
    with pytest.raises(UserError, match=r"run/settings\.2/stop_on_error is another .* or spec\.stopOnError"):
        read(stopping(*flags))
    for said in (True, False):
        assert read(stopping(*flags), stop_on_error=said).stop_on_error is said


def test_a_seed_that_does_not_count_is_named() -> None:
    seeded = SENSITIVITY.replace("<quantiles>", "<seed>3</seed><quantiles>")
    assert seeded != SENSITIVITY
    user = read_user_settings(GOOD.replace(SENSITIVITY, seeded), replace(OURS, seed=5))
    assert "sensitivity.analysis/seed" in user.ignored
    assert user.settings.ensemble == read(GOOD, seed=5).ensemble
    alone = read_user_settings(GOOD.replace(SENSITIVITY, seeded).replace(ENSEMBLE, ""), replace(OURS, seed=5))
    assert "sensitivity.analysis/seed" not in alone.ignored
    assert alone.settings.sensitivity_analysis is not None
    assert alone.settings.sensitivity_analysis.seed == 3


def test_fields_of_the_workflow_win() -> None:
    text = GOOD.replace("</run>", "<stop_on_error>TRUE</stop_on_error></run>")
    assert read(text, stop_on_error=False).stop_on_error is False
    assert read(text, delete_raw=True).delete_raw is True


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</pecan>", "", r"line \d+ is not well-formed XML: no element found"),
        ("<pecan>", "<pecan><", "line 2 is not well-formed XML"),
        ("<pecan>", '<!DOCTYPE p [<!ENTITY e "x"><!ENTITY f "&e;&e;">]><pecan>', "entity or a document type"),
        ("<pecan>", '<!DOCTYPE p SYSTEM "http://localhost/p.dtd"><pecan>', "entity or a document type"),
        ('version="1.0"', 'version="1.0" encoding="ISO-8859-1"', "declares the encoding ISO-8859-1: save it as UTF-8"),
        ("pecan>", "settings>", "starts with <settings>, not with <pecan> or <pecan.multi>"),
        ("<info>", "<meta.analysis/><info>", "line 3: meta.analysis is not supported: give its result as pft/priors"),
        ("<info>", "<assim.batch/><info>", "assim.batch is not supported: remove the node"),
        ("<info>", "<state.data.assimilation/><info>", "state.data.assimilation is not supported"),
        ("<model>", "<model><prerun>rm -r /data</prerun>", "model/prerun is not supported: it is code of your own"),
        ("<model>", "<model><postrun/>", "model/postrun is not supported: it is code of your own"),
        ("<host>", "<host><prerun/>", "host/prerun is not supported: it is code of your own"),
        ("<pfts>", "<sitegroup><id>1</id></sitegroup><pfts>", "sitegroup is not supported: BETY's groups"),
        ("<lat>52.17</lat>", "", r"line \d+: run/site has no lat: the light executor looks no sites up in BETY"),
        ("<path>Loobos</path>", "", "run/inputs/met has source but no path: .* downloads and converts nothing"),
        ("DALEC</type>", "ED2</type>", "model/type is 'ED2', but the model of modelRef has 'DALEC'"),
        ("ev</revision>", "r136</revision>", "model/revision is 'r136'"),
        ("<model>", "<model><binary>/usr/local/bin/sipnet</binary>", "model/binary is '/usr/local/bin/sipnet'"),
        ("NL-Loo", "../../etc", "run/site/id: must be a text of letters.*, not '../../etc'"),
        ("<path>Loobos", "<path>../../../etc/passwd", "run/inputs/met/path: must be an absolute path under /data"),
        ("<path>Loobos", "<path>/home/carya/met", "must be an absolute path under /data.*not '/home/carya/met'"),
        ("<name>temperate.coniferous", "<name>temperate coniferous", "pfts/pft/name: must be the name of a PFT"),
        ("NEE</variable>", "NEE,GPP</variable>", "ensemble/variable: must be a PEcAn name"),
        ("<trait>SLA", "<trait>9SLA", "pfts/pft/priors/9SLA: must be a PEcAn name"),
        ("<size>10", "<size>100001", "ensemble/size: .* less than or equal to 100000"),
        ("<size>10", "<size>1_000", "ensemble/size must be a whole number of at least 1, not '1_000'"),
        ("<size>10", "<size>１０", "ensemble/size must be a whole number of at least 1, not '１０'"),
        ("<lat>52.17", "<lat>5_2.17", "run/site/lat must be a number from -90 to 90, not '5_2.17'"),
        ("</ensemble>", "<seed>2147483648</seed></ensemble>", "ensemble/seed: .* less than or equal to"),
        (
            "</sensitivity.analysis>",
            "<seed>99999999999999999999</seed></sensitivity.analysis>",
            "sensitivity.analysis/seed: .* less than or equal to",
        ),
        ("1998/12/31</end", "1998/01/01</end", "run/end.date must be after run/start.date"),
        ("1998/12/31</end", "1998/12/31 12:00:00</end", "run/end.date must be a day"),
        ("1998/12/31</end", "3998/12/31</end", "run/end.date 3998-12-31 must be in a year from 1000 to 2999"),
        ("</inputs>", "<soil/></inputs>", "run/inputs/soil/path is empty"),
        ("</site>", "<site.pft><pft.name>grass</pft.name></site.pft></site>", "site.pft does not name all PFTs"),
        (
            "<method>sampling",
            "<parent>soil</parent><method>sampling",
            "samplingspace/met/parent 'soil' must be an input",
        ),
        ("<sigma>1", "<sigma>7", "sensitivity.analysis/quantiles/sigma must be a number from -4 to 4, not '7'"),
        ("<quantiles>", "<perpft>TRUE</perpft><quantiles>", "sensitivity.analysis/perpft TRUE is not supported"),
        (
            "<sigma>-1</sigma>\n      <sigma>1</sigma>",
            "<sigma>0</sigma><quantile>0.5</quantile>",
            "sensitivity.analysis/quantiles has the median alone: give another sigma or quantile",
        ),
        (
            "<priors>",
            "<posterior.files>/etc</posterior.files><priors>",
            "posterior.files: must be an absolute path under /data",
        ),
        ("<info>", "<multisettings><multisettings>ensemble</multisettings></multisettings><info>", "is ensemble: only"),
    ],
)
def test_refused_with_a_sentence(old: str, new: str, message: str) -> None:
    wrong = GOOD.replace(old, new)
    assert wrong != GOOD
    with pytest.raises(UserError, match=message) as error:
        read(wrong)
    assert error.value.reason == "BadSettings"


def test_an_input_of_bety_is_refused() -> None:
    wrong = GOOD.replace("<source>CRUNCEP</source>", "<id>5</id>").replace("<path>Loobos</path>", "")
    with pytest.raises(UserError, match="run/inputs/met has id but no path: the light executor looks no inputs up"):
        read(wrong)


def test_a_pft_whose_priors_would_come_from_bety_is_refused() -> None:
    wrong = GOOD[: GOOD.index("<constants>")] + GOOD[GOOD.index("</pft>") :]
    with pytest.raises(UserError, match=r"pfts/pft has no priors, posterior\.files or constants: .* BETY; give one"):
        read(wrong)


def test_too_many_runs_are_refused() -> None:
    with pytest.raises(UserError, match=r"asks for 200010 runs at 2 site\(s\); 100000 is the most"):
        read(MULTI.replace("<size>10", "<size>100000"))  # and 1 + 2 traits x 2 quantiles at each site


def test_a_relative_path_needs_a_place_to_begin() -> None:
    with pytest.raises(UserError, match=r"line \d+: run/inputs/met/path 'Loobos' is relative: set pecanXml.baseDir"):
        read(GOOD, base_dir=None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD.encode("utf-16"), "is not UTF-8 text"),
        (GOOD.replace("Loobos</name>", "Löbos</name>").encode("latin-1"), "is not UTF-8 text"),
        (b"<pecan>" + b" " * MOST_BYTES + b"</pecan>", "has more than 1048576 bytes"),
        ("<pecan>" + "é" * (MOST_BYTES // 2) + "</pecan>", "has more than 1048576 bytes"),
        ("<pecan>" + "<a>" * 300_000, f"nested more than {DEEPEST} deep"),
        ("<pecan>\ud800</pecan>", "half of a character"),
        (b"", "no element found"),
        (b"\0", "not well-formed"),
    ],
)
def test_files_that_are_no_settings(data: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(data)


def test_a_byte_order_mark_and_blank_lines_before_the_declaration_do_not_matter() -> None:
    assert read(b"\xef\xbb\xbf" + GOOD.encode()) == read("\n  \n" + GOOD) == read(GOOD)


def test_what_completes_a_file_goes_through_json() -> None:
    assert Ours.from_json(json.dumps(asdict(OURS))) == OURS


def test_the_operator_needs_no_numpy_for_it() -> None:
    script = "import sys, pecan_operator.handlers.workflow; sys.exit('numpy' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


names = st.from_regex(r"[A-Za-z][A-Za-z0-9_.]{0,8}", fullmatch=True)
ids = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,6}[A-Za-z0-9])?", fullmatch=True)
words = st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=6), min_size=1, max_size=3)
paths = st.lists(ids, min_size=1, max_size=3).map(lambda parts: "/data/" + "/".join(parts))
positive = st.floats(1e-6, 1e6)
priors = st.one_of(
    st.builds(Prior, st.just("unif"), st.floats(-1e6, 0), positive),
    st.builds(Prior, st.sampled_from(["norm", "lnorm", "gamma", "beta", "weibull"]), positive, positive),
    st.builds(Prior, st.sampled_from(["exp", "chisq", "t", "pois"]), positive),
    st.builds(Prior, st.sampled_from(["binom", "nbinom"]), st.integers(1, 99).map(float), st.floats(0.01, 1)),
)
sites = st.builds(Site, ids, words.map(" ".join), st.floats(-90, 90), st.floats(-180, 180))
methods = st.sampled_from(["sampling", "looping"])
inputs = st.builds(Input, st.lists(paths, min_size=1, max_size=3, unique=True).map(tuple), methods)
pfts = st.builds(
    Pft,
    ids,
    st.dictionaries(names, priors, min_size=1, max_size=3),
    st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    *[st.one_of(st.none(), paths)] * 3,
)
tags = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True).filter(lambda tag: tag != "parameters")
variables = st.lists(names, min_size=1, max_size=3, unique=True).map(tuple)
seeds = st.one_of(st.none(), st.integers(0, 2**31 - 1))


@st.composite
def structured(draw: Any) -> Settings:
    """Settings as the fields of a PecanWorkflow can ask for them."""
    days = st.dates(date(1000, 1, 1), date(2999, 12, 31))
    start, end = sorted(draw(st.lists(days, min_size=2, max_size=2, unique=True)))
    given_inputs = draw(st.dictionaries(tags, inputs, max_size=2)) | {"met": draw(inputs)}
    followers = {
        tag: replace(choice, parent="met")
        for tag, choice in given_inputs.items()
        if tag != "met" and len(choice.paths) == len(given_inputs["met"].paths) and draw(st.booleans())
    }
    years = {
        "start_year": draw(st.sampled_from([None, start.year])),
        "end_year": draw(st.sampled_from([None, end.year])),
    }
    ensemble = Ensemble(
        size=draw(st.integers(1, 30_000)),
        variables=draw(variables),
        sampling_method=draw(st.sampled_from(SAMPLING_METHODS)),
        seed=draw(seeds),
        **years,
    )
    analysis = SensitivityAnalysis(
        variables=draw(variables),
        sigma=draw(st.lists(st.floats(-4, 4).filter(bool), min_size=1, max_size=3).map(tuple)),
        quantile=draw(st.lists(st.floats(0.00001, 0.99999), max_size=3).map(tuple)),
        seed=draw(seeds),
        **years,
    )
    # a seed of the analysis is no field beside an ensemble
    both = (ensemble, replace(analysis, seed=None))
    ensemble, analysis = draw(st.sampled_from([both, (ensemble, None), (None, analysis)]))
    return Settings(
        workflow_id=OURS.workflow_id,
        folder=OURS.folder,
        hostname=OURS.hostname,
        queue=OURS.queue,
        model=OURS.model,
        sites=tuple(draw(st.lists(sites, min_size=1, max_size=3, unique_by=lambda site: site.id))),
        start_date=start,
        end_date=end,
        inputs=given_inputs | followers if ensemble else {"met": Input((draw(paths),))},
        pfts=tuple(draw(st.lists(pfts, min_size=1, max_size=2, unique_by=lambda pft: pft.name))),
        ensemble=ensemble,
        stop_on_error=draw(st.booleans()),
        delete_raw=draw(st.booleans()),
        sensitivity_analysis=analysis,
    )


@limits(max_examples=60, deadline=None)
@given(structured())
def test_the_fields_and_the_pecan_xml_they_are_rendered_to_ask_for_the_same(settings: Settings) -> None:
    rendered = render(settings)
    user = read_user_settings(rendered, OURS)
    assert user.settings == settings
    assert user.ignored == ()
    assert render(parse(rendered)) == render(user.settings) == rendered
