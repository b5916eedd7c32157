"""Wrong pecan.xml is refused with a sentence that names the node."""

from __future__ import annotations

from pathlib import Path

import pytest

from pecan_executor.settings import parse, read
from pecan_operator.core.pecanxml import Prior, SensitivityAnalysis
from pecan_operator.errors import UserError

GOOD = """
<pecan>
  <info><notes>ignored, as PEcAn does</notes></info>
  <outdir>/data/workflows/PEcAn_1</outdir>
  <pfts><pft>
    <name> conifer </name>
    <constants><leaf_carbon_content>0.06</leaf_carbon_content></constants>
    <priors><prior><trait>SLA</trait><distn>unif</distn><parama>10</parama><paramb>20</paramb></prior></priors>
  </pft></pfts>
  <ensemble><size>3</size><variable>GPP</variable><start.year>1997</start.year><end.year>1998</end.year></ensemble>
  <model><id>2</id><type>DALEC</type><revision>ev</revision><binary>/work/run</binary></model>
  <run>
    <site><id>772</id><name>Niwot</name><lat>40.03</lat><lon>-105.55</lon></site>
    <inputs><met><path>/data/met/a</path></met></inputs>
    <start.date>1997/01/01</start.date><end.date>1998/12/31</end.date>
  </run>
  <host><name>docker</name><rabbitmq><queue>DALEC_ev</queue></rabbitmq></host>
  <workflow><id>1</id></workflow>
</pecan>
"""
SENSITIVITY = """
  <sensitivity.analysis>
    <quantiles><sigma>-1</sigma><sigma>1</sigma><quantile>0.25</quantile></quantiles>
    <variable>NEE</variable><start.year>1998</start.year>
  </sensitivity.analysis>
"""
ENSEMBLE = GOOD[GOOD.index("<ensemble>") : GOOD.index("</ensemble>") + len("</ensemble>")]


def test_reads_settings_as_pecan_users_write_them() -> None:
    settings = parse(GOOD)
    assert settings.pfts[0].name == "conifer"
    assert settings.pfts[0].priors == {"SLA": Prior("unif", 10.0, 20.0)}
    assert settings.start_date.isoformat() == "1997-01-01"
    assert settings.inputs["met"].method == "sampling"
    assert settings.stop_on_error is False


def test_one_member_stops_on_error_unless_it_says_otherwise() -> None:
    one = GOOD.replace("<size>3</size>", "<size>1</size>")
    assert parse(one).stop_on_error is True
    assert parse(one.replace("</run>", "<stop_on_error>FALSE</stop_on_error></run>")).stop_on_error is False


def test_a_sensitivity_analysis_beside_the_ensemble_or_alone() -> None:
    both = parse(GOOD.replace("<ensemble>", f"{SENSITIVITY}<ensemble>"))
    assert both.sensitivity_analysis == SensitivityAnalysis(("NEE",), (-1.0, 1.0), (0.25,), 1998)
    assert both.ensemble
    assert both.ensemble.variables == ("GPP",)
    alone = parse(GOOD.replace(ENSEMBLE, SENSITIVITY))
    assert (alone.ensemble, alone.sensitivity_analysis) == (None, both.sensitivity_analysis)
    assert alone.stop_on_error is False


def test_its_quantiles_and_variables_may_be_left_out_as_in_pecan() -> None:
    settings = parse(GOOD.replace("<ensemble>", "<sensitivity.analysis/><ensemble>"))
    assert settings.sensitivity_analysis == SensitivityAnalysis(("GPP",), (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0))
    other = GOOD.replace("<variable>GPP</variable>", "").replace("<ensemble>", f"{SENSITIVITY}<ensemble>")
    assert (ensemble := parse(other).ensemble)
    assert ensemble.variables == ("NEE",)


def test_a_single_member_beside_a_sensitivity_analysis_does_not_stop_the_rest() -> None:
    one = GOOD.replace("<size>3</size>", "<size>1</size>").replace("<ensemble>", f"{SENSITIVITY}<ensemble>")
    assert parse(one).stop_on_error is False


SEVERAL = "<path><path1>/data/a</path1><path2>/data/b</path2></path>"


def with_space(space: str) -> str:
    """Two weathers and two soils, and what the ensemble says of them."""
    inputs = f"<inputs><met>{SEVERAL}</met><soil>{SEVERAL}</soil></inputs>"
    text = GOOD.replace("<inputs><met><path>/data/met/a</path></met></inputs>", inputs)
    return text.replace("</ensemble>", f"{space}</ensemble>")


def test_without_a_samplingspace_the_weather_is_sampled_and_of_the_rest_the_first_taken_as_in_pecan() -> None:
    inputs = parse(with_space("")).inputs
    assert (inputs["met"].paths, inputs["met"].method) == (("/data/a", "/data/b"), "sampling")
    assert inputs["soil"].paths == ("/data/a",)


def test_a_samplingspace_says_how_members_get_their_files() -> None:
    space = "<met><method>looping</method></met><soil><method>sampling</method><parent>met</parent></soil>"
    inputs = parse(with_space(f"<samplingspace>{space}</samplingspace>")).inputs
    assert (inputs["met"].method, inputs["met"].parent) == ("looping", None)
    assert (inputs["soil"].paths, inputs["soil"].parent) == (("/data/a", "/data/b"), "met")
    only_soil = parse(with_space("<samplingspace><soil><method>looping</method></soil></samplingspace>")).inputs
    assert (only_soil["met"].paths, len(only_soil["soil"].paths)) == (("/data/a",), 2)


def test_a_parent_has_as_many_paths() -> None:
    text = with_space(
        "<samplingspace><met><method>looping</method></met><soil><parent>met</parent></soil></samplingspace>"
    )
    with pytest.raises(UserError, match="soil: run/inputs/soil has 1 paths, its parent met 2"):
        parse(text.replace(f"<soil>{SEVERAL}", "<soil><path>/data/c</path>"))


def test_files_of_a_pft() -> None:
    (pft,) = parse(
        GOOD.replace("</priors>", "<csv>/data/p.csv</csv><samples>/data/s.csv</samples></priors>").replace(
            "<constants>", "<posterior.files>/data/pft/conifer</posterior.files><constants>"
        )
    ).pfts
    assert (pft.priors_csv, pft.samples_csv, pft.posterior_files) == ("/data/p.csv", "/data/s.csv", "/data/pft/conifer")
    assert list(pft.priors) == ["SLA"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</pecan>", "", "not well-formed"),
        ("<pecan>", '<!DOCTYPE p [<!ENTITY e "x">]><pecan>', "entity or a document type"),
        ("pecan>", "settings>", "starts with <settings>"),
        ("<size>3</size>", "", "ensemble/size is missing"),
        ("<size>3</size>", "<size>0</size>", "ensemble/size must be a whole number of at least 1, not '0'"),
        ("<size>3</size>", "<size>many</size>", "ensemble/size .* not 'many'"),
        ("<size>3</size>", "<size>3</size><size>4</size>", "ensemble/size is given 2 times"),
        ("<variable>GPP</variable>", "", "ensemble/variable is missing"),
        ("<start.year>1997", "<start.year>1999", "start.year 1999 lies outside the run"),
        ("<start.year>1997", "<start.year>1896", "start.year must be a whole number of at least 1997"),
        (
            "<start.year>1997</start.year><end.year>1998",
            "<start.year>1998</start.year><end.year>1997",
            "before start.year",
        ),
        ("1998/12/31", "1996/12/31", "run/end.date 1996-12-31 is before start.date"),
        ("1998/12/31", "31.12.1998", "run/end.date must be a day"),
        ("<lat>40.03", "<lat>140.03", "run/site/lat must be a number from -90 to 90, not '140.03'"),
        ("<lat>40.03", "<lat>nan", "run/site/lat must be a number"),
        ("<met><path>/data/met/a</path></met>", "", "run/inputs/met is missing"),
        ("<path>/data/met/a", "<path>met/a", "inputs/met/path must be an absolute path"),
        ("<distn>unif", "<distn>uniform", "prior of SLA: distn 'uniform' is not known; use one of unif, norm"),
        ("<paramb>20</paramb>", "", "of SLA: unif\\(min, max\\) needs paramb"),
        ("<paramb>20", "<paramb>10", "max of unif\\(min, max\\) must be greater than min"),
        ("<leaf_carbon_content>0.06", "<leaf_carbon_content>x", "constants/leaf_carbon_content must be a number"),
        (
            "<ensemble>",
            f"{SENSITIVITY.replace('<sigma>1', '<sigma>-4.5')}<ensemble>",
            "sigma must be a number from -4 to 4",
        ),
        (
            "<ensemble>",
            f"{SENSITIVITY.replace('0.25', '25')}<ensemble>",
            "must be a probability from 0.00001 to 0.99999",
        ),
        ("<ensemble>", f"{SENSITIVITY.replace('0.25', '0')}<ensemble>", "quantile must be a probability"),
        ("<ensemble>", f"{SENSITIVITY.replace('1998', '1999')}<ensemble>", "start.year 1999 lies outside the run"),
        (
            "<ensemble>",
            "<sensitivity.analysis><perpft>TRUE</perpft></sensitivity.analysis><ensemble>",
            "sensitivity.analysis/perpft TRUE is not supported",
        ),
        ("ensemble>", "group>", "has neither ensemble nor sensitivity.analysis: there is nothing to run"),
        ("<distn>unif", "<distn>wilcox", "prior of SLA: distn wilcox is not supported; use one of unif, norm"),
        ("</priors>", "</priors><posterior.files>a</posterior.files>", "pft/posterior.files must be an absolute path"),
        ("</priors>", "<csv>priors.csv</csv></priors>", "pft/priors/csv must be an absolute path"),
        ("</priors>", "<samples/></priors>", "pft/priors/samples is empty"),
        ("<ensemble>", "<meta.analysis/><ensemble>", "meta.analysis is not supported"),
        (
            "</ensemble>",
            "<samplingspace><parameters><method>sobel</method></parameters></samplingspace></ensemble>",
            "samplingspace/parameters/method must be uniform or lhc or halton or sobol or torus, not 'sobel'",
        ),
        (
            "</ensemble>",
            "<samplingspace><met><parent>soil</parent></met></samplingspace></ensemble>",
            "samplingspace/met/parent 'soil' must be an input of run/inputs that has no parent itself",
        ),
        (
            "</ensemble>",
            "<samplingspace><met><method>random</method></met></samplingspace></ensemble>",
            "samplingspace/met/method must be sampling or looping, not 'random'",
        ),
        ("<workflow><id>1</id></workflow>", "", "pecan/workflow is missing"),
        ("<binary>/work/run</binary>", "<binary/>", "model/binary is empty"),
    ],
)
def test_refuses_by_node(old: str, new: str, message: str) -> None:
    wrong = GOOD.strip().replace(old, new)
    assert wrong != GOOD.strip()
    with pytest.raises(UserError, match=message):
        parse(wrong)


def test_sites_must_agree_on_dates() -> None:
    site = GOOD[GOOD.index("<site>") : GOOD.index("</run>")]
    other = site.replace("772", "773").replace("1998/12/31", "1998/12/30")
    both = f"<run><settings.1>{site}</settings.1><settings.2>{other}</settings.2></run>"
    with pytest.raises(UserError, match="different dates"):
        parse(GOOD[: GOOD.index("<run>")] + both + GOOD[GOOD.index("</run>") + 6 :])


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the step folder first"):
        read(tmp_path / "pecan.xml")
