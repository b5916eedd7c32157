"""Both passes of the stand-in of R: what they leave in folder, STATUS and BETY."""

from __future__ import annotations

import math
import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
import rdata

from .conftest import FIRST, IMAGE, SECOND, WORKFLOW_ID, Case

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
COPIES = ("pecan.CHECKED.xml", "pecan.METProcess.xml", "pecan.TRAIT.xml", "pecan.CONFIGS.xml")


def journal() -> ModuleType:
    """The program of the test model."""
    loader = SourceFileLoader("journal_run", str(IMAGE.parent / "model-image" / "run"))
    spec = spec_from_loader("journal_run", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def write_outputs(case: Case, run_ids: list[str]) -> None:
    """What the test model writes: 1e-8 times the number of the run in the first year, twice that in the second."""
    for number, run_id in enumerate(run_ids, 1):
        for year in (2004, 2005):
            path = case.folder / "out" / run_id / f"{year}.nc"
            journal().write_output(str(path), year, {"GPP": 1e-8 * number * (year - 2003), "NEE": 0.0})


def test_the_first_pass_stops_in_the_open_line_of_advanced(case: Case) -> None:
    assert case.run() == 0
    text = (case.folder / "STATUS").read_text()
    done = "".join(rf"{stage}\t{TIME}\t{TIME}\tDONE\t\n" for stage in ("TRAIT", "CONFIG"))
    assert re.fullmatch(rf"{done}ADVANCED\t{TIME}", text)
    assert {*COPIES, ".RData", "samples.Rdata"} <= {file.name for file in case.folder.iterdir()}


def test_each_run_has_a_row_folders_and_a_line(case: Case) -> None:
    assert case.run() == 0
    ((ensemble_id, runtype, workflow_id),) = case.bety.ensembles_
    assert (runtype, workflow_id, case.bety.posteriors_ensembles) == ("ensemble", WORKFLOW_ID, ["5"])
    assert [(days, parameters) for _, days, _, parameters in case.bety.runs] == [
        (("2004-01-01", "2005-12-31"), f"ensemble={member}") for member in (1, 2, 3)
    ]
    assert case.run_ids() == [str(run_id) for run_id, _, _, _ in case.bety.runs]
    for member, run_id in enumerate(case.run_ids(), 1):
        readme = (case.folder / "run" / run_id / "README.txt").read_text()
        assert readme.startswith("runtype     :  ensemble \n workflow id :  99000000007 \n")
        assert f"\n run         :  {member} / 3 \n" in readme
        assert f"\n ensemble id :  {ensemble_id} \n" in readme
        assert "\n site        :  Niwot Ridge \n site  id    :  772 \n" in readme
        job = case.folder / "run" / run_id / "job.sh"
        assert job.stat().st_mode & 0o777 == 0o755
        assert f"\n/usr/local/bin/journal {job.parent}\n" in job.read_text()
        assert (case.folder / "out" / run_id).is_dir()
    assert (case.folder / f"ensemble.samples.{ensemble_id}.Rdata").exists()


def test_a_meta_analysis_makes_posteriors_and_a_stage_of_its_own(case: Case) -> None:
    case.change("meta.analysis/iter", "3000")
    case.change("pfts/pft/posteriorid", None)
    assert case.run() == 0
    assert [line[0] for line in case.status()] == ["TRAIT", "META", "CONFIG", "ADVANCED"]
    (posterior_id,) = case.bety.posteriors_ensembles
    kept = case.folder.parents[1] / "dbfiles" / "posterior" / posterior_id
    assert {file.name for file in kept.iterdir()} == {Path(file).name for file in case.bety.files}
    assert (case.folder / "pft" / "orders" / "post.distns.Rdata").is_symlink()


def test_without_posterior_configs_end_in_an_sql_error(case: Case) -> None:
    case.change("pfts/pft/posteriorid", None)
    assert case.run() == 1
    assert [line[0] for line in case.status()] == ["TRAIT", "CONFIG"]
    assert case.status()[-1][3] == "ERROR"


def test_runs_of_the_sensitivity_analysis_come_first(case: Case) -> None:
    case.change("meta.analysis/iter", "3000")
    case.change("sensitivity.analysis/quantiles/sigma", "1")
    assert case.run() == 0
    assert [runtype for _, runtype, _ in case.bety.ensembles_] == ["sensitivity analysis", "ensemble"]
    assert [parameters for _, _, _, parameters in case.bety.runs] == [
        "quantile=MEDIAN,trait=all,pft=orders",
        "quantile=84.134,trait=SLA,pft=orders",
        "quantile=84.134,trait=Amax,pft=orders",
        *(f"ensemble={member}" for member in (1, 2, 3)),
    ]
    assert case.run_ids() == [str(run_id) for run_id, _, _, _ in case.bety.runs]


def test_without_rows_runs_have_names(case: Case) -> None:
    case.change("database/bety/write", "FALSE")
    assert case.run() == 0
    assert (case.bety.ensembles_, case.bety.runs) == ([], [])
    assert case.run_ids() == [f"ENS-{member:05}-772" for member in (1, 2, 3)]
    saved = (case.folder / "pecan.CONFIGS.xml").read_text()
    assert str(WORKFLOW_ID) in saved, "in outdir"
    assert f"<id>{WORKFLOW_ID}</id>" not in saved, "R makes up another id"
    case.complete()
    assert case.run(SECOND) == 0
    assert case.bety.finished == []


def test_the_second_pass_goes_on_behind_the_model(case: Case) -> None:
    assert case.run() == 0
    case.complete()
    run_ids = case.run_ids()
    write_outputs(case, run_ids[:2])
    assert case.run(SECOND) == 0
    assert [line[0] for line in case.status()] == [
        *("TRAIT", "CONFIG", "ADVANCED", "MODEL", "OUTPUT", "ENSEMBLE", "FINISHED")
    ]
    assert {tuple(line[3:]) for line in case.status()} == {("DONE", "")}
    assert (len(case.bety.runs), case.bety.finished) == (3, [WORKFLOW_ID])
    ((ensemble_id, _, _),) = case.bety.ensembles_
    stem = f"{ensemble_id}.GPP.2004.2005"
    read = rdata.read_rda(case.folder / f"ensemble.output.{stem}.Rdata")["ensemble.output"]
    values = {member: float(value[0]) for member, value in read.items()}
    assert (values["1"], values["2"]) == (pytest.approx(1.5e-8), pytest.approx(3e-8))
    assert math.isnan(values["3"])
    assert (case.folder / f"ensemble.analysis.{stem}.pdf").exists()
    assert "has no variable" not in case.said()


def test_a_sensitivity_analysis_has_its_stage_and_files(case: Case) -> None:
    case.change("sensitivity.analysis/quantiles/sigma", "1")
    assert case.run() == 0
    case.complete()
    assert case.run(SECOND) == 0
    assert "SENSITIVITY" in [line[0] for line in case.status()]
    sensitivity_id = case.bety.ensembles_[0][0]
    for stem, suffix in (("sensitivity.output", "Rdata"), ("variance.decomposition", "pdf")):
        assert (case.folder / f"{stem}.{sensitivity_id}.GPP.2004.2005.{suffix}").exists()


def test_data_assimilation_publishes_runs_of_its_own(case: Case) -> None:
    case.change("assim.batch/n.knot", "2")
    assert case.run() == 0
    case.complete()
    before = case.run_ids()
    assert case.run(SECOND) == 0
    published = [folder.name for folder in case.broker.published]
    assert (case.run_ids(), len(published)) == (published, 2)
    assert not set(published) & set(before)
    assert case.bety.ensembles_[-1][1] == "pda.emulator"
    assert [line[0] for line in case.status()][-2:] == ["PDA", "FINISHED"]


@pytest.mark.parametrize(("rule", "code", "level"), [("TRUE", 1, "SEVERE"), ("FALSE", 0, "ERROR")])
def test_a_run_that_failed_ends_data_assimilation_by_stop_on_error(
    case: Case, rule: str, code: int, level: str
) -> None:
    case.change("assim.batch/n.knot", "1")
    case.change("run/stop_on_error", rule)
    case.broker.answer = "ERROR"
    assert case.run() == 0
    case.complete()
    assert case.run(SECOND) == code
    assert re.search(rf"{level} +\[start_model_runs\] : Run \d+ has an ERROR executing", case.said())


@pytest.mark.parametrize("stage", ["TRAIT", "CONFIG"])
def test_a_stage_that_was_told_to_fail_is_an_error_in_status(case: Case, stage: str) -> None:
    case.change("standin/severe", stage)
    assert case.run() == 1
    assert (case.status()[-1][0], case.status()[-1][3:]) == (stage, ["ERROR", ""])
    printed = case.capture.readouterr().err
    assert re.search(rf"SEVERE \[standin.{stage}\] : \n   The stage {stage} was told .*\n   \w.* \n$", printed)


def test_what_fails_before_trait_has_no_name_in_status(case: Case) -> None:
    case.change("standin/stop", "CONVERSIONS")
    assert case.run() == 1
    assert re.fullmatch(rf"\t{TIME}\tERROR\t\n", (case.folder / "STATUS").read_text())
    assert "Error in standin.CONVERSIONS() : subscript out of bounds" in case.said()


def test_a_stage_fails_until_it_is_opened(case: Case) -> None:
    case.change("standin/severe", "TRAIT")
    (case.folder.parents[1] / f"{WORKFLOW_ID}.TRAIT.open").touch()
    assert case.run() == 0


def test_a_held_stage_waits_for_its_gate(case: Case) -> None:
    case.change("standin/hold", "TRAIT")
    assert case.run() == 1
    assert "nobody opened" in case.said()
    for name in (".RData", "STATUS", *COPIES):
        (case.folder / name).unlink(missing_ok=True)
    (case.folder.parents[1] / f"{WORKFLOW_ID}.TRAIT.open").touch()
    assert case.run(FIRST) == 0
