"""pecan.xml as the operator writes it: node names are PEcAn's, what is written is what is read."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pecan_executor.settings import parse
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
    seed_of,
)
from pecan_operator.errors import UserError

LOOBOS = Site("NL-Loo", "Loobos", 52.17, 5.74)

SETTINGS = Settings(
    workflow_id=99000000001,
    folder="/data/workflows/PEcAn_99000000001",
    hostname="docker",
    queue="DALEC_ev",
    model=Model(99000000002, "DALEC", "ev", "/work/run"),
    sites=(LOOBOS,),
    start_date=date(1997, 1, 1),
    end_date=date(1999, 12, 31),
    inputs={"met": Input(("/data/met/Loobos",), "looping")},
    pfts=(Pft("conifer", {"SLA": Prior("lnorm", 1.5, 0.2), "age": Prior("exp", 2.0)}, {"leaf_carbon_content": 0.06}),),
    ensemble=Ensemble(100, ("GPP", "NEE"), 1998, 1999, seed=7),
    stop_on_error=False,
)

texts = (
    st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12).map(str.strip).filter(bool)
)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9_.]{0,8}", fullmatch=True)
numbers = st.floats(allow_nan=False, allow_infinity=False)
paths = texts.map(lambda text: "/data/" + text)


@st.composite
def priors(draw: Any) -> Prior:
    low, high = sorted(draw(st.tuples(numbers, numbers).filter(lambda pair: pair[0] != pair[1])))
    positive = st.floats(min_value=1e-6, max_value=1e6)
    return draw(
        st.one_of(
            st.just(Prior("unif", low, high)),
            st.builds(Prior, st.sampled_from(["norm", "lnorm"]), numbers, positive),
            st.builds(Prior, st.sampled_from(["gamma", "beta", "weibull"]), positive, positive),
            st.builds(Prior, st.sampled_from(["exp", "t", "chisq", "pois"]), positive),
            st.builds(Prior, st.sampled_from(["binom", "nbinom"]), st.integers(1, 99).map(float), st.floats(0.01, 1)),
        )
    )


@st.composite
def settings(draw: Any) -> Settings:
    start, end = sorted(draw(st.tuples(st.dates(), st.dates())))
    first, last = sorted(draw(st.tuples(*[st.integers(start.year, end.year)] * 2)))
    sites = st.builds(Site, texts, texts, st.floats(-90, 90), st.floats(-180, 180))
    pfts = st.builds(
        Pft,
        texts,
        st.dictionaries(names, priors(), max_size=4),
        st.dictionaries(names, numbers, max_size=3),
        *[st.one_of(st.none(), paths)] * 3,
    )
    inputs = st.builds(
        Input, st.lists(paths, min_size=1, max_size=3).map(tuple), st.sampled_from(["sampling", "looping"])
    )
    tags = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True).filter(lambda tag: tag != "parameters")
    given = draw(st.dictionaries(tags, inputs, max_size=2)) | {"met": draw(inputs)}
    parent = draw(st.sampled_from(sorted(given)))
    children = {
        tag: replace(choice, parent=parent)
        for tag, choice in given.items()
        if tag != parent and len(choice.paths) == len(given[parent].paths) and draw(st.booleans())
    }
    return Settings(
        workflow_id=draw(st.integers(1, 10**12)),
        folder=draw(paths),
        hostname=draw(texts),
        queue=draw(texts),
        model=draw(st.builds(Model, st.integers(1, 10**12), texts, texts, paths)),
        sites=tuple(draw(st.lists(sites, min_size=1, max_size=3, unique_by=lambda site: site.id))),
        start_date=start,
        end_date=end,
        inputs=given | children,
        pfts=tuple(draw(st.lists(pfts, min_size=1, max_size=2, unique_by=lambda pft: pft.name))),
        ensemble=Ensemble(
            size=draw(st.integers(1, 100_000)),
            variables=tuple(draw(st.lists(names, min_size=1, max_size=3, unique=True))),
            start_year=draw(st.sampled_from([None, first])),
            end_year=draw(st.sampled_from([None, last])),
            sampling_method=draw(st.sampled_from(SAMPLING_METHODS)),
            seed=draw(st.one_of(st.none(), st.integers(0, 2**31 - 1))),
        ),
        stop_on_error=draw(st.booleans()),
        delete_raw=draw(st.booleans()),
        sensitivity_analysis=draw(st.one_of(st.none(), sensitivity_analyses(first, last))),
    )


def sensitivity_analyses(first: int, last: int) -> Any:
    return st.builds(
        SensitivityAnalysis,
        st.lists(names, min_size=1, max_size=3, unique=True).map(tuple),
        st.lists(st.floats(-4, 4).filter(bool), min_size=1, max_size=3).map(tuple),
        st.lists(st.floats(0.00001, 0.99999), max_size=3).map(tuple),
        st.sampled_from([None, first]),
        st.sampled_from([None, last]),
        st.one_of(st.none(), st.integers(0, 2**31 - 1)),
    )


@limits(max_examples=40, deadline=None)
@given(settings())
def test_what_is_rendered_is_what_is_parsed(given_settings: Settings) -> None:
    assert parse(render(given_settings)) == given_settings
    if given_settings.sensitivity_analysis:
        alone = replace(given_settings, ensemble=None, inputs={"met": Input(("/data/a",))})
        assert parse(render(alone)) == alone


def text_of(root: ET.Element, path: str) -> str | None:
    return root.findtext(path)


def test_uses_pecan_node_names() -> None:
    root = ET.fromstring(render(SETTINGS))
    assert root.tag == "pecan"
    expected = {
        "outdir": "/data/workflows/PEcAn_99000000001",
        "pfts/pft/name": "conifer",
        "pfts/pft/constants/leaf_carbon_content": "0.06",
        "pfts/pft/priors/prior/trait": "SLA",
        "pfts/pft/priors/prior/distn": "lnorm",
        "ensemble/size": "100",
        "ensemble/variable": "GPP",
        "ensemble/start.year": "1998",
        "ensemble/samplingspace/parameters/method": "uniform",
        "ensemble/samplingspace/met/method": "looping",
        "model/id": "99000000002",
        "model/type": "DALEC",
        "model/delete.raw": "FALSE",
        "run/site/id": "NL-Loo",
        "run/site/met.start": "1997-01-01",
        "run/inputs/met/path": "/data/met/Loobos",
        "run/start.date": "1997-01-01",
        "run/stop_on_error": "FALSE",
        "host/name": "docker",
        "host/rabbitmq/queue": "DALEC_ev",
        "workflow/id": "99000000001",
    }
    assert {path: text_of(root, path) for path in expected} == expected


def test_a_sensitivity_analysis_has_pecans_nodes() -> None:
    analysis = SensitivityAnalysis(("NEE",), (-1.0, 1.0), (0.25,), 1998, 1999)
    root = ET.fromstring(render(replace(SETTINGS, ensemble=None, sensitivity_analysis=analysis)))
    assert root.find("ensemble") is None
    assert [(node.tag, node.text) for node in root.find("sensitivity.analysis/quantiles") or ()] == [
        ("sigma", "-1.0"),
        ("sigma", "1.0"),
        ("quantile", "0.25"),
    ]
    expected = {"variable": "NEE", "start.year": "1998", "end.year": "1999"}
    assert {tag: text_of(root, f"sensitivity.analysis/{tag}") for tag in expected} == expected


def test_files_of_a_pft_take_pecan_nodes_where_there_are_some() -> None:
    pft = Pft("conifer", {}, {}, "/data/priors.csv", "/data/pft/conifer", "/data/samples.csv")
    root = ET.fromstring(render(replace(SETTINGS, pfts=(pft,))))
    expected = {
        "pfts/pft/posterior.files": "/data/pft/conifer",
        "pfts/pft/priors/csv": "/data/priors.csv",
        "pfts/pft/priors/samples": "/data/samples.csv",
    }
    assert {path: text_of(root, path) for path in expected} == expected


def test_an_input_names_its_parent_in_the_samplingspace() -> None:
    inputs = {"met": Input(("/data/a", "/data/b"), "looping"), "soil": Input(("/data/c", "/data/d"), parent="met")}
    root = ET.fromstring(render(replace(SETTINGS, inputs=inputs)))
    assert text_of(root, "ensemble/samplingspace/soil/parent") == "met"
    assert root.find("ensemble/samplingspace/met/parent") is None


@given(st.uuids().map(str))
def test_a_seed_of_a_uid_is_one_that_a_user_could_write(uid: str) -> None:
    assert 0 <= seed_of(uid) <= 2_147_483_647


def test_seeds_of_uids_are_the_same_in_every_release() -> None:
    assert seed_of("0a8b6a0e-3a52-4d5c-9f0e-6f6f9d6d7c11") == 1516623428


def test_several_sites_take_pecan_multisettings_form() -> None:
    root = ET.fromstring(render(replace(SETTINGS, sites=(LOOBOS, Site("2", "North", 55.0, 5.0)))))
    assert root.tag == "pecan.multi"
    assert [node.tag for node in root.find("run") or ()] == ["settings.1", "settings.2"]
    assert text_of(root, "run/settings.2/site/name") == "North"
    assert text_of(root, "run/settings.2/inputs/met/path") == "/data/met/Loobos"
    assert text_of(root, "multisettings/multisettings") == "run"


def test_several_paths_are_numbered() -> None:
    root = ET.fromstring(render(replace(SETTINGS, inputs={"met": Input(("/data/a", "/data/b"))})))
    assert [(node.tag, node.text) for node in root.find("run/inputs/met/path") or ()] == [
        ("path1", "/data/a"),
        ("path2", "/data/b"),
    ]


def test_carries_no_database_node_and_no_broker_address() -> None:
    root = ET.fromstring(render(SETTINGS))
    assert root.find("database") is None
    assert root.find("host/rabbitmq/uri") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sites": (replace(LOOBOS, name="a\x00b"),)}, "site/name holds a character that XML cannot carry"),
        ({"hostname": "a\rb"}, "host/name holds a character"),
        ({"pfts": (Pft("a", constants={"no way": 1.0}),)}, "constants: 'no way' must be letters"),
        ({"inputs": {"7up": Input(("/data/a",))}}, "run/inputs: '7up'"),
        ({"pfts": (Pft("a", constants={"x": float("nan")}),)}, "constants/x must be a finite number"),
    ],
)
def test_refuses_what_xml_cannot_carry(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        render(replace(SETTINGS, **change))
