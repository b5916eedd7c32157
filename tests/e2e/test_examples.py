"""The examples as a user applies them, one after the other; the platform is that of the other tests."""

from __future__ import annotations

from typing import Any

import pytest
from support import example, wait
from workflow_support.site import Site

VARIABLES = ("GPP", "LAI", "NEE")
STEMS = ("sensitivity.analysis", "variance.decomposition")


@pytest.fixture(scope="module")
def folder(site: Site) -> str:
    """The folder of the workflow at two sites, after its end."""
    for path in ("models/dalec.yaml", "demo/weather.yaml"):
        site.apply(example(path))
    site.apply(example("data-pod.yaml"))
    site.wait_job("loobos-weather")
    site.apply(example("workflows/two-sites.yaml"))
    status = site.wait_finished("two-sites")
    assert status["phase"] == "Succeeded", status
    return str(status["folder"])


def test_both_sites_and_their_mean_are_in_the_table(site: Site, folder: str) -> None:
    lines = site.run("pecan-data", "pecan-executor", "table", folder).splitlines()
    rows = [line.split()[:4] for line in lines[1:]]
    assert rows == [
        [place, variable, "1998", "10"] for variable in VARIABLES for place in ("NL-Loo", "NL-Loo-north", "all")
    ]


def test_the_data_pod_sees_the_results(site: Site, folder: str) -> None:
    names = site.run("pecan-data", "ls", folder).split()
    for variable in VARIABLES:
        assert [name for name in names if name.startswith("ensemble.analysis.") and f".{variable}." in name]
    assert "pecan.xml" in names


def test_messages_tell_where_things_are(site: Site, folder: str) -> None:
    assert site.condition("two-sites", "Ready")["message"] == "20 of 20 runs succeeded"
    assert site.condition("two-sites", "Prepared")["message"] == f"20 runs in {folder}/run"
    assert site.condition("two-sites", "Analysed")["message"] == f"the results are in {folder}"


@pytest.fixture(scope="module")
def sensitivity(site: Site, folder: str) -> dict[str, Any]:
    """The status of the sensitivity analysis, after its end; the model and the weather are there by `folder`."""
    site.apply(example("workflows/loobos-sensitivity.yaml"))
    status = site.wait_finished("loobos-sensitivity")
    assert status["phase"] == "Succeeded", status
    return status


def test_a_sensitivity_analysis_is_counted_in_the_status(sensitivity: dict[str, Any]) -> None:
    assert (sensitivity["runs"]["total"], sensitivity["progress"]) == (57, "57/57")
    counts = dict(sensitivity["results"]["sensitivityAnalysis"])
    assert counts.pop("ensembleId").isdecimal()
    assert counts == {"runs": 37, "used": 37, "traits": 6, "traitsLeftOut": 0}


def test_a_sensitivity_analysis_has_pecans_files(site: Site, sensitivity: dict[str, Any]) -> None:
    folder, number = sensitivity["folder"], sensitivity["results"]["sensitivityAnalysis"]["ensembleId"]
    names = set(site.run("pecan-data", "ls", folder, f"{folder}/pft/temperate.coniferous").split())
    for variable in ("GPP", "NEE"):
        years = f"{number}.{variable}.1997.1998"
        pictures = {f"{stem}.{years}.{suffix}" for stem in STEMS for suffix in ("pdf", "png")}
        assert pictures | {f"sensitivity.results.{years}.csv", f"sensitivity.output.{years}.csv"} <= names
    assert f"sensitivity.samples.{number}.csv" in names
    first = site.run("pecan-data", "head", "-n", "1", f"{folder}/run/runs.txt").strip()
    readme = site.run("pecan-data", "cat", f"{folder}/run/{first}/README.txt")
    assert "runtype     : sensitivity analysis\n" in readme
    assert "quantile    : MEDIAN\n" in readme


def test_the_shares_of_all_traits_are_in_the_table(site: Site, sensitivity: dict[str, Any]) -> None:
    text = site.run("pecan-data", "pecan-executor", "table", sensitivity["folder"])
    rows = [line.split() for line in text.split("\n\n")[1].splitlines()[1:]]
    assert [row[:3] for row in rows] == [
        ["NL-Loo", variable, "temperate.coniferous"] for variable in ("GPP", "NEE") for _ in range(6)
    ]
    for variable in ("GPP", "NEE"):
        shares = [float(row[-1]) for row in rows if row[1] == variable]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=0.01)


@pytest.fixture(scope="module")
def adopted(site: Site, folder: str) -> str:
    """The folder of the workflow that is given as a pecan.xml, after its end."""
    site.apply(example("workflows/loobos-pecanxml.yaml"))
    status = site.wait_finished("loobos-pecanxml")
    assert status["phase"] == "Succeeded", status
    return str(status["folder"])


def test_a_pecan_xml_is_run_and_what_has_no_effect_is_named(site: Site, adopted: str) -> None:
    assert site.condition("loobos-pecanxml", "Ready")["message"] == "15 of 15 runs succeeded"
    ignored = site.condition("loobos-pecanxml", "SettingsIgnored")
    assert ignored["message"] == "nodes of pecan.xml that have no effect: run/inputs/met/source"
    written = site.run("pecan-data", "cat", f"{adopted}/pecan.xml")
    assert f"<outdir>{adopted}</outdir>" in written
    assert "<path>/data/met/loobos/Loobos</path>" in written
    assert "<database>" not in written


def on_the_volume(name: str, path: str) -> dict[str, Any]:
    """A workflow whose pecan.xml is a file on the data volume."""
    manifest = example("workflows/loobos-pecanxml.yaml", name=name)
    manifest["spec"]["pecanXml"] = {"path": path}
    return manifest


def test_the_pecan_xml_of_a_folder_can_be_run_from_there(site: Site, adopted: str) -> None:
    site.apply(on_the_volume("loobos-again", f"{adopted}/pecan.xml"))
    status = site.wait_finished("loobos-again")
    assert status["phase"] == "Succeeded", status
    assert status["progress"] == "15/15"
    (row,) = site.query(f"SELECT start_date::text, end_date::text FROM workflows WHERE id = {status['workflowId']}")
    assert row == {"start_date": "1998-01-01 00:00:00", "end_date": "1998-12-31 00:00:00"}


def test_a_pecan_xml_that_is_not_there_is_told(site: Site, adopted: str) -> None:
    site.apply(on_the_volume("loobos-nowhere", "/data/nowhere/pecan.xml"))
    status = site.wait_finished("loobos-nowhere")
    assert status["phase"] == "Failed", status
    says = site.condition("loobos-nowhere", "Prepared")["message"]
    assert "/data/nowhere/pecan.xml does not exist: put it on the data volume" in says


def test_an_image_of_another_model_is_told(site: Site) -> None:
    model = example("models/dalec.yaml", name="dalec-mistaken")
    model["spec"].update(revision="v2", scaling={"minReplicas": 1, "maxReplicas": 1})
    site.apply(model)
    try:
        wait(
            lambda: (
                "correct type and revision"
                in (site.condition("dalec-mistaken", "Ready", "PecanModel")["message"] or "")
            ),
            60,
            lambda: site.status("dalec-mistaken", "PecanModel"),
        )
    finally:
        site.delete("PecanModel", "dalec-mistaken")


def test_priors_and_samples_in_files(site: Site, folder: str) -> None:
    site.apply(example("demo/priors.yaml"))
    site.wait_job("loobos-priors")
    site.apply(example("workflows/prior-table.yaml"))
    status = site.wait_finished("prior-table")
    assert (status["phase"], status["progress"]) == ("Succeeded", "8/8"), status
    (samples,) = site.run("pecan-data", "sh", "-c", f"ls {status['folder']}/ensemble.samples.*.csv").split()
    header, *rows = site.run("pecan-data", "cat", samples).splitlines()
    assert "temperate.coniferous.som_respiration_rate" in header.split(",")
    assert "temperate.coniferous.wood_turnover_rate" not in header, "a constant is not drawn"
    assert {row.split(",")[0] for row in rows} == {str(status["seed"])}


def test_a_wrong_table_ends_the_workflow_with_its_row(site: Site, folder: str) -> None:
    site.run("pecan-data", "sh", "-c", "printf 'trait,distn,parama,paramb\\nSLA,f,1,2\\n' > /data/priors/wrong.csv")
    workflow = example("workflows/prior-table.yaml", name="wrong-table")
    workflow["spec"]["pfts"][0]["priors"] = {"csv": "/data/priors/wrong.csv"}
    site.apply(workflow)
    assert site.wait_finished("wrong-table")["phase"] == "Failed"
    assert (
        "/data/priors/wrong.csv row 2 (SLA): distn f is not supported"
        in site.condition("wrong-table", "Ready")["message"]
    )


def test_sites_from_a_table(site: Site, folder: str) -> None:
    site.apply(example("demo/sites.yaml"))
    site.wait_job("demo-sites")
    site.apply(example("workflows/many-sites.yaml"))
    status = site.wait_finished("many-sites")
    assert (status["phase"], status["progress"]) == ("Succeeded", "60/60"), status
    lines = site.run("pecan-data", "pecan-executor", "table", status["folder"]).splitlines()[1:]
    assert len({line.split()[0] for line in lines} - {"all"}) == 12
    names = site.run("pecan-data", "ls", status["folder"]).split()
    for variable in ("GPP", "NEE"):
        kinds = {name.split(".")[1] + name[-4:] for name in names if f".{variable}." in name}
        assert {"map.png", "map.pdf", "sites.csv"} <= kinds
    written = site.run("pecan-data", "cat", f"{status['folder']}/pecan.xml")
    assert "<settings.12>" in written
    assert "sites.csv" not in written


def test_a_wrong_table_of_sites_ends_the_workflow_with_its_row(site: Site, folder: str) -> None:
    text = "id,name,lat,lon\\na,A,52,5\\nb,B,152,5\\n"
    site.run("pecan-data", "sh", "-c", f"mkdir -p /data/sites; printf '{text}' > /data/sites/wrong.csv")
    workflow = example("workflows/many-sites.yaml", name="wrong-sites")
    workflow["spec"]["sitesCsv"] = "/data/sites/wrong.csv"
    site.apply(workflow)
    assert site.wait_finished("wrong-sites")["phase"] == "Failed"
    assert "/data/sites/wrong.csv row 3, lat: " in site.condition("wrong-sites", "Ready")["message"]
