"""A sensitivity analysis from settings to tables and figures, with a model whose answers are known."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from pecan_executor import distributions
from pecan_executor.analyse import analyse
from pecan_executor.files import WorkflowFolder
from pecan_executor.plan import RunStatus, read_plan, write_states
from pecan_executor.prepare import prepare
from pecan_executor.report import MOST_BYTES, sensitivity_table, summary
from pecan_executor.varied import read_varied
from pecan_operator.core.pecanxml import Pft, Prior, SensitivityAnalysis, Settings, Site
from pecan_operator.errors import UserError
from pecan_operator.records import RunPlan, RunState

SCHEMA = json.loads((Path(__file__).parents[3] / "model-images" / "base" / "pecan-run-1.schema.json").read_text())
GRAM_A_DAY = 1e-3 / 86400
NORTH = Site("north", "North", 55.0, 5.0)
NAMES = ["0.135", "2.275", "15.866", "50", "84.134", "97.725", "99.865"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    pft = Pft("conifer", {"SLA": Prior("norm", 10.0, 1.0), "height": Prior("norm", 20.0, 4.0)}, {"leaf_width": 3.0})
    return replace(settings, pfts=(pft,), sensitivity_analysis=SensitivityAnalysis(("GPP",), start_year=2000))


@pytest.fixture
def run(write_year: Any) -> Any:
    """Runs a model whose GPP is 3 SLA - height g C m-2 d-1, and twice that in the north."""

    def execute(plans: Sequence[RunPlan]) -> None:
        for plan in plans:
            traits = json.loads((Path(plan.folder) / "config.json").read_text())["pfts"][0]["traits"]
            rate = (3 * traits["SLA"] - traits["height"]) * (2 if plan.site_id == "north" else 1) * GRAM_A_DAY
            variables = {"GPP": ("kg C m-2 s-1", lambda _, rate=rate: rate)}
            write_year(Path(plan.outdir), date(1999, 12, 1), date(1999, 12, 31), variables)
            write_year(Path(plan.outdir), date(2000, 1, 1), date(2000, 12, 31), variables)

    return execute


def finish(folder: WorkflowFolder, plans: Sequence[RunPlan], *failed: RunPlan) -> None:
    good, bad = RunStatus(RunState.SUCCEEDED, 1, 0, None), RunStatus(RunState.FAILED, 3, 1, "no leaves")
    write_states(folder, [(plan.run_id, bad if plan in failed else good) for plan in plans])


def rows_of(folder: WorkflowFolder, name: str) -> list[dict[str, str]]:
    with (folder.path / name).open(newline="") as file:
        return list(csv.DictReader(file))


def of(plans: Sequence[RunPlan], trait: str | None, quantile: str = "50", site: str = "NL-Loo") -> RunPlan:
    (found,) = (
        plan
        for plan in plans
        if plan.run_type == "sensitivity" and (plan.trait, plan.quantile, plan.site_id) == (trait, quantile, site)
    )
    return found


@pytest.mark.parametrize("alone", [True, False])
def test_status_has_a_line_for_what_was_asked_for(
    alone: bool, settings: Settings, folder: WorkflowFolder, bety: Any, run: Any
) -> None:
    settings = replace(settings, ensemble=None) if alone else settings
    plans = prepare(settings, folder, bety)
    run(plans)
    finish(folder, plans)
    analyse(settings, folder)
    stages = [line.split("\t")[0] for line in folder.status.read_text().splitlines()]
    assert stages == ["TRAIT", "CONFIG", "OUTPUT", *([] if alone else ["ENSEMBLE"]), "SENSITIVITY"]


class TestPrepare:
    def test_its_runs_come_first_with_one_median_run(
        self, settings: Settings, folder: WorkflowFolder, bety: Any
    ) -> None:
        plans = prepare(settings, folder, bety)
        assert [plan.run_type for plan in plans] == ["sensitivity"] * 13 + ["ensemble"] * 4
        assert folder.run_list.read_text().split() == [plan.run_id for plan in plans]
        assert read_plan(folder) == plans
        assert [(plan.pft, plan.trait, plan.quantile, plan.member) for plan in plans[:3]] == [
            (None, None, "50", None),
            ("conifer", "SLA", "0.135", None),
            ("conifer", "SLA", "2.275", None),
        ]
        config = json.loads((Path(plans[1].folder) / "config.json").read_text())
        jsonschema.Draft202012Validator(SCHEMA).validate(config)
        assert (config["run_type"], config["ensemble_id"], "member" in config) == ("sensitivity", "50", False)
        assert config["pfts"][0]["traits"] == {"SLA": pytest.approx(7), "height": pytest.approx(20)}

    def test_bety_and_readme_have_pecans_words(self, settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
        plans = prepare(settings, folder, bety)
        assert list(bety.ensembles) == [
            (settings.workflow_id, "sensitivity analysis"),
            (settings.workflow_id, "ensemble"),
        ]
        lists = [key[5] for key in bety.run_ids]
        assert lists[:2] == ["quantile=MEDIAN,trait=all,pft=conifer", "quantile=0.135,trait=SLA,pft=conifer"]
        assert lists[-1] == "ensemble=4"
        median, low = ((Path(plan.folder) / "README.txt").read_text().splitlines() for plan in plans[:2])
        assert median[:7] == [
            "runtype     : sensitivity analysis",
            "workflow id : 99000000001",
            "ensemble id : 50",
            "pft name    : ALL PFT",
            "quantile    : MEDIAN",
            "trait       : ALL TRAIT",
            f"run id      : {plans[0].run_id}",
        ]
        assert low[3:6] == ["pft name    : conifer", "quantile    : 0.135", "trait       : SLA"]
        assert [line.split(":")[0].strip() for line in low[7:]] == [
            "model", "model id", "site", "site  id", "met data", "start date", "end date", "hostname", "rundir", "outdir",
        ]  # fmt: skip

    def test_every_site_gets_its_runs(self, settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
        plans = prepare(replace(settings, sites=(*settings.sites, NORTH)), folder, bety)
        own = [plan for plan in plans if plan.run_type == "sensitivity"]
        assert len(own) == 26
        assert [plan.site_id for plan in own[:4]] == ["NL-Loo", "north"] * 2
        assert len({plan.run_id for plan in plans}) == len(plans) == 34

    def test_the_values_are_kept_as_a_table(self, settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
        prepare(settings, folder, bety)
        sla, height = rows_of(folder, "sensitivity.samples.50.csv")
        assert [float(sla[name]) for name in NAMES] == pytest.approx([7, 8, 9, 10, 11, 12, 13])
        assert (height["pft"], height["trait"], float(height["50"])) == ("conifer", "height", pytest.approx(20))

    def test_without_an_ensemble_there_are_only_its_runs(
        self, settings: Settings, folder: WorkflowFolder, bety: Any
    ) -> None:
        plans = prepare(replace(settings, ensemble=None), folder, bety)
        assert len(plans) == 13
        assert not list(folder.path.glob("ensemble.samples.*"))


def test_a_linear_model_has_known_effects(settings: Settings, folder: WorkflowFolder, bety: Any, run: Any) -> None:
    plans = prepare(settings, folder, bety)
    run(plans)
    finish(folder, plans)
    results, left_out = analyse(settings, folder)
    assert not left_out
    sla, height = rows_of(folder, "sensitivity.results.50.GPP.2000.2000.csv")
    # GPP of the median run is 10 g C m-2 d-1; a year has 366 days; variances are 9 and 16
    assert (sla["site_id"], sla["pft"], sla["trait"], sla["runs"], sla["units"], sla["left_out"]) == (
        "NL-Loo", "conifer", "SLA", "7", "g C m-2 yr-1", "",
    )  # fmt: skip
    assert float(sla["sensitivity"]) == pytest.approx(3 * 366, rel=1e-5)
    assert float(height["sensitivity"]) == pytest.approx(-366, rel=1e-5)
    assert (float(sla["cv"]), float(height["cv"])) == (pytest.approx(0.1, rel=0.02), pytest.approx(0.2, rel=0.02))
    assert (float(sla["elasticity"]), float(height["elasticity"])) == (
        pytest.approx(3, rel=0.02), pytest.approx(-2, rel=0.02),
    )  # fmt: skip
    assert float(sla["partial_variance"]) == pytest.approx(9 / 25, rel=0.04)
    assert float(sla["partial_variance"]) + float(height["partial_variance"]) == pytest.approx(1)
    output = rows_of(folder, "sensitivity.output.50.GPP.2000.2000.csv")
    assert [row["quantile"] for row in output] == NAMES * 2
    assert float(output[0]["output"]) == pytest.approx(366 * (3 * 7 - 20), rel=1e-5)
    assert output[3]["run_id"] == output[10]["run_id"] == plans[0].run_id, "the shared median run"
    assert results["sensitivityAnalysis"] == {
        "ensembleId": "50", "runs": 13, "used": 13, "traits": 2, "traitsLeftOut": 0,
    }  # fmt: skip
    assert (results["runs"], results["used"], results["ensembleId"]) == (17, 17, "51")
    assert len(json.dumps(results).encode()) < MOST_BYTES
    assert {row["year"] for row in results["yearly"]} == {1999, 2000}, "the years of the ensemble are its own"


def test_figures_are_there_for_each_pft(settings: Settings, folder: WorkflowFolder, bety: Any, run: Any) -> None:
    plans = prepare(settings, folder, bety)
    run(plans)
    finish(folder, plans)
    analyse(settings, folder)
    pft = folder.path / "pft" / "conifer"
    stems = ("sensitivity.analysis.50.GPP.2000.2000", "variance.decomposition.50.GPP.2000.2000")
    assert sorted(path.name for path in pft.iterdir()) == sorted(
        f"{stem}.{suffix}" for stem in stems for suffix in ("pdf", "png")
    )
    for stem in stems:
        assert (pft / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert (pft / f"{stem}.pdf").read_bytes().startswith(b"%PDF")


def test_a_trait_without_enough_runs_is_named_and_the_rest_goes_on(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any
) -> None:
    plans = prepare(settings, folder, bety)
    run(plans)
    gone = [of(plans, "SLA", name) for name in NAMES if name != "50"] + [of(plans, "height", "0.135")]
    finish(folder, plans, *gone)
    results, left_out = analyse(settings, folder)
    assert {item.plan.run_id for item in left_out} == {plan.run_id for plan in gone}
    sla, height = rows_of(folder, "sensitivity.results.50.GPP.2000.2000.csv")
    assert sla["left_out"].startswith("1 of 7 runs can be used")
    assert (sla["partial_variance"], sla["elasticity"]) == ("", "")
    assert (float(height["partial_variance"]), height["runs"]) == (1, "6")
    lost = [row for row in rows_of(folder, "sensitivity.output.50.GPP.2000.2000.csv") if row["left_out"]]
    assert {(row["output"], row["left_out"]) for row in lost} == {("", "failed: no leaves")}
    assert len(lost) == 7
    assert results["sensitivityAnalysis"] == {
        "ensembleId": "50", "runs": 13, "used": 6, "traits": 2, "traitsLeftOut": 1,
    }  # fmt: skip


def test_sites_each_and_together(settings: Settings, folder: WorkflowFolder, bety: Any, run: Any) -> None:
    both = replace(settings, sites=(*settings.sites, NORTH))
    plans = prepare(both, folder, bety)
    run(plans)
    finish(folder, plans, of(plans, "SLA", "0.135", "north"), of(plans, None, site="NL-Loo"))
    analyse(both, folder)
    rows = rows_of(folder, "sensitivity.results.50.GPP.2000.2000.csv")
    found = {(row["site_id"], row["trait"]): (row["runs"], row["left_out"]) for row in rows}
    no_median = "the median run cannot be used"
    assert found == {
        ("NL-Loo", "SLA"): ("6", no_median),
        ("NL-Loo", "height"): ("6", no_median),
        ("north", "SLA"): ("6", ""),
        ("north", "height"): ("7", ""),
        ("all", "SLA"): ("5", no_median),
        ("all", "height"): ("6", no_median),
    }
    finish(folder, plans, of(plans, "SLA", "0.135", "north"))
    analyse(both, folder)
    rows = rows_of(folder, "sensitivity.results.50.GPP.2000.2000.csv")
    together = {row["trait"]: row for row in rows if row["site_id"] == "all"}
    assert float(together["SLA"]["sensitivity"]) == pytest.approx(1.5 * 3 * 366, rel=1e-5)
    assert (together["SLA"]["runs"], together["height"]["runs"]) == ("6", "7")
    missing = [row["left_out"] for row in rows_of(folder, "sensitivity.output.50.GPP.2000.2000.csv") if row["left_out"]]
    lost = of(plans, "SLA", "0.135", "north").run_id
    assert missing == ["failed: no leaves", f"not usable at 1 of 2 sites, such as run {lost}"]


def test_without_an_ensemble_it_stands_alone(settings: Settings, folder: WorkflowFolder, bety: Any, run: Any) -> None:
    alone = replace(settings, ensemble=None)
    plans = prepare(alone, folder, bety)
    run(plans)
    finish(folder, plans)
    results, _ = analyse(alone, folder)
    assert (results["runs"], results["used"], results["yearly"], "ensembleId" in results) == (13, 13, [], False)
    assert not list(folder.path.glob("ensemble.*"))
    assert summary(results) == "2 of 2 traits of the sensitivity analysis are analysed\n"
    table = sensitivity_table(folder.path).splitlines()
    assert table[0].split() == ["site", "variable", "pft", "trait", "runs", "cv", "elasticity", "partial_variance"]
    assert [row.split()[:5] for row in table[1:]] == [
        ["NL-Loo", "GPP", "conifer", "height", "7"],
        ["NL-Loo", "GPP", "conifer", "SLA", "7"],
    ]


def test_when_nothing_can_be_used_it_says_why(settings: Settings, folder: WorkflowFolder, bety: Any, run: Any) -> None:
    plans = prepare(settings, folder, bety)
    own = [plan for plan in plans if plan.run_type == "sensitivity"]
    run(plans[len(own) :])
    finish(folder, plans, *own)
    results, _ = analyse(settings, folder)
    assert results["caveats"] == ["none of the 13 runs of the sensitivity analysis can be used"]
    assert results["sensitivityAnalysis"]["traitsLeftOut"] == 2
    assert results["yearly"]
    with pytest.raises(
        UserError, match=rf"none of the 13 runs can be analysed; run {own[0].run_id}: failed: no leaves"
    ):
        analyse(replace(settings, ensemble=None), folder)


def test_an_ensemble_of_which_nothing_can_be_used_does_not_hide_it(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any
) -> None:
    plans = prepare(settings, folder, bety)
    members = [plan for plan in plans if plan.run_type == "ensemble"]
    run(plans[: -len(members)])
    finish(folder, plans, *members)
    results, left_out = analyse(settings, folder)
    assert {item.plan.run_id for item in left_out} == {plan.run_id for plan in members}
    assert results["caveats"] == ["none of the 4 runs of the ensemble can be used"]
    assert (results["ensembleId"], results["runs"], results["used"], results["yearly"]) == ("51", 17, 13, [])
    assert results["sensitivityAnalysis"]["used"] == 13
    rows = rows_of(folder, "sensitivity.results.50.GPP.2000.2000.csv")
    assert sum(float(row["partial_variance"]) for row in rows) == pytest.approx(1)
    assert {row["reason"] for row in rows_of(folder, "ensemble.members.51.csv")} == {"failed: no leaves"}
    assert not list(folder.path.glob("ensemble.analysis.*"))


def test_without_a_run_that_can_be_used_in_either_part_it_says_why(
    settings: Settings, folder: WorkflowFolder, bety: Any
) -> None:
    plans = prepare(settings, folder, bety)
    finish(folder, plans, *plans)
    with pytest.raises(UserError, match=r"none of the 17 runs can be analysed; run \d+: failed: no leaves") as refused:
        analyse(settings, folder)
    assert refused.value.reason == "NoRunUsable"


def test_an_ensembles_variable_no_run_wrote_is_refused_beside_it_too(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any
) -> None:
    assert settings.ensemble
    other = replace(settings, ensemble=replace(settings.ensemble, variables=("Qle",)))
    plans = prepare(other, folder, bety)
    run(plans)
    finish(folder, plans)
    with pytest.raises(UserError, match=r"ensemble\.variables: the model writes no Qle; it writes GPP"):
        analyse(other, folder)


def test_a_variable_no_run_wrote_is_refused(settings: Settings, folder: WorkflowFolder, bety: Any, run: Any) -> None:
    other = replace(settings, sensitivity_analysis=SensitivityAnalysis(("Qle",)))
    plans = prepare(other, folder, bety)
    run(plans)
    finish(folder, plans)
    with pytest.raises(UserError, match=r"sensitivityAnalysis\.variables: the model writes no Qle; it writes GPP"):
        analyse(other, folder)


def tables_of(folder: WorkflowFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.path.glob("sensitivity.*")}


def test_analysis_reads_nothing_of_the_traits_but_what_prepare_kept(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any
) -> None:
    table, samples = folder.data / "priors.csv", folder.data / "samples.csv"
    table.write_text("trait,distn,parama,paramb\nSLA,norm,10,1\n")
    samples.write_text("height\n" + "".join(f"{height}\n" for height in range(10, 31)))
    files = replace(settings, pfts=(Pft("conifer", priors_csv=str(table), samples_csv=str(samples)),))
    plans = prepare(files, folder, bety)
    run(plans)
    finish(folder, plans)
    analyse(files, folder)
    first = tables_of(folder)
    assert len(first) == 4
    table.unlink()
    samples.write_text("height\n1\n")
    analyse(files, folder)
    assert tables_of(folder) == first


def test_values_of_another_kind_of_cpu_are_no_reason_to_fail(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = prepare(settings, folder, bety)
    run(plans)
    finish(folder, plans)
    exact = distributions.quantile
    monkeypatch.setattr(distributions, "quantile", lambda *given: np.nextafter(exact(*given), np.inf))
    analyse(settings, folder)
    rows = rows_of(folder, "sensitivity.output.50.GPP.2000.2000.csv")
    kept = rows_of(folder, "sensitivity.samples.50.csv")
    assert [row["value"] for row in rows] == [row[name] for row in kept for name in NAMES], "the values that were run"


def test_prepare_keeps_the_draws_and_repeated_it_keeps_the_same(
    settings: Settings, folder: WorkflowFolder, bety: Any
) -> None:
    prepare(settings, folder, bety)
    first = tables_of(folder)
    assert sorted(first) == ["sensitivity.draws.50.csv", "sensitivity.samples.50.csv"]
    sla, _ = rows_of(folder, "sensitivity.draws.50.csv")
    members = rows_of(folder, "ensemble.samples.51.csv")
    assert [sla[str(number)] for number in range(1, 5)] == [row["conifer.SLA"] for row in members]
    prepare(settings, folder, bety)
    assert tables_of(folder) == first


def test_draws_that_are_not_finite_are_refused_before_anything_is_run(
    settings: Settings, folder: WorkflowFolder, bety: Any
) -> None:
    wide = replace(
        settings,
        pfts=(Pft("conifer", {"SLA": Prior("lnorm", 2.3, 250.0)}),),
        ensemble=None,
        sensitivity_analysis=SensitivityAnalysis(("GPP",), sigma=(-1.0, 1.0)),
    )
    with pytest.raises(UserError, match="the prior of SLA of PFT conifer gives values that are not finite"):
        prepare(wide, folder, bety)
    assert not bety.ensembles


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("samples", None, "is missing: run the step prepare again"),
        ("draws", None, "is missing"),
        ("samples", "", "is damaged"),
        ("samples", "pft,trait,50\nconifer,SLA,ten\n", "is damaged .*ten"),
        ("samples", "pft,trait,5,50\nconifer,SLA,1\n", "values are missing"),
        ("samples", "pft,trait,5\nconifer,SLA,1\n", "values are missing"),
        ("draws", "pft,trait,1\nconifer,SLA,10\n", r"its traits are not those of sensitivity\.samples\.50\.csv"),
        ("draws", "pft,trait,1\nconifer,SLA\nconifer,height,1\n", "its traits are not those of"),
    ],
)
def test_tables_that_prepare_did_not_leave_so_are_refused(
    settings: Settings, folder: WorkflowFolder, bety: Any, name: str, text: str | None, message: str
) -> None:
    prepare(settings, folder, bety)
    path = folder.path / f"sensitivity.{name}.50.csv"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"sensitivity\.{name}\.50\.csv .*{message}"):
        read_varied(folder.path, "50")
