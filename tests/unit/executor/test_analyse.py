"""From outputs of known values to statistics, figures and headline numbers."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from netCDF4 import Dataset

from pecan_executor.analyse import analyse
from pecan_executor.ensemble import Period
from pecan_executor.files import WorkflowFolder
from pecan_executor.plots import bins_of
from pecan_executor.prepare import prepare
from pecan_executor.register import register
from pecan_executor.report import MOST_BYTES, headline, read_yearly, report, table, tables
from pecan_executor.resume import resume
from pecan_operator.core.pecanxml import Settings, Site
from pecan_operator.errors import UserError
from pecan_operator.records import RunPlan, RunState

GRAM_A_DAY = 1e-3 / 86400
LAST_RUN = datetime(2026, 6, 1, 12, tzinfo=UTC)
NORTH = Site("north", "North", 55.0, 5.0)


class Ledger:
    """Run states as the ledger gives them; every run succeeded unless `bad` says otherwise."""

    def __init__(self, plans: Sequence[RunPlan], bad: dict[str, tuple[RunState, int, str]] | None = None) -> None:
        self._plans, self._bad = plans, bad or {}
        self.reported: dict[int, Any] = {}

    def run_states(self, workflow_id: int) -> list[tuple[RunPlan, RunState, int, int | None, str | None]]:
        rows: list[tuple[RunPlan, RunState, int, int | None, str | None]] = []
        for plan in self._plans:
            state, code, why = self._bad.get(plan.run_id, (RunState.SUCCEEDED, 0, ""))
            rows.append((plan, state, 1, code, why or None))
        return rows

    def register_runs(self, workflow_id: int, runs: Sequence[RunPlan]) -> int:
        return len(runs)

    def report_settings(self, workflow_id: int, **told: Any) -> None:
        raise AssertionError("the operator has read the pecan.xml itself")

    def last_run_finished_at(self, workflow_id: int) -> datetime | None:
        return LAST_RUN

    def report_analysis(self, workflow_id: int, results: Any) -> None:
        self.reported[workflow_id] = results


@pytest.fixture
def run(write_year: Any) -> Any:
    """Runs a model whose GPP is `member` g C m-2 d-1 (ten times that in the north), and whose LAI is the member."""

    def execute(plans: Sequence[RunPlan]) -> None:
        for plan in plans:
            rate = (plan.member or 0) * (10 if plan.site_id == "north" else 1)
            variables = {
                "GPP": ("kg C m-2 s-1", lambda _, rate=rate: rate * GRAM_A_DAY),
                "LAI": ("m2 m-2", lambda _, rate=rate: float(rate)),
            }
            caveats = {"caveats": "not calibrated"}
            write_year(Path(plan.outdir), date(1999, 12, 1), date(1999, 12, 31), variables, attributes=caveats)
            write_year(Path(plan.outdir), date(2000, 1, 1), date(2000, 12, 31), variables, attributes=caveats)

    return execute


def rows_of(folder: WorkflowFolder, name: str) -> list[dict[str, str]]:
    with (folder.path / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_statistics_of_known_members(settings: Settings, folder: WorkflowFolder, bety: Any, run: Any) -> None:
    settings = replace(settings, ensemble=replace(settings.ensemble, variables=("GPP", "LAI")))
    plans = prepare(settings, folder, bety)
    run(plans)
    assert resume(1, folder, Ledger(plans)) == 4
    results, left_out = analyse(settings, folder)
    assert not left_out
    assert (results["runs"], results["used"], results["caveats"]) == (4, 4, ["not calibrated"])

    yearly = {(row["year"], row["quantity"]): row for row in rows_of(folder, "ensemble.analysis.50.GPP.1999.2000.csv")}
    leap = yearly["2000", "sum"]
    assert (leap["units"], leap["n"], leap["days"]) == ("g C m-2 yr-1", "4", "366")
    np.testing.assert_allclose(
        [float(leap[name]) for name in ("mean", "sd", "q2.5", "q25", "q50", "q75", "q97.5")],
        366 * np.array([2.5, np.std([1, 2, 3, 4], ddof=1), 1.075, 1.75, 2.5, 3.25, 3.925]),
        rtol=1e-6,
    )
    assert float(yearly["1999", "sum"]["mean"]) == pytest.approx(31 * 2.5)
    assert float(yearly["1999", "mean"]["mean"]) == pytest.approx(2.5 * GRAM_A_DAY)
    assert {row["quantity"] for row in rows_of(folder, "ensemble.analysis.50.LAI.1999.2000.csv")} == {"mean"}

    daily = rows_of(folder, "ensemble.ts.50.GPP.1999.2000.csv")
    assert (len(daily), daily[0]["date"], daily[-1]["date"]) == (397, "1999-12-01", "2000-12-31")
    assert float(daily[100]["q50"]) == pytest.approx(2.5 * GRAM_A_DAY)
    with Dataset(folder.path / "ensemble.ts.50.GPP.1999.2000.nc") as dataset:
        assert dataset["GPP_mean"].shape == (1, 397)
        np.testing.assert_allclose(
            dataset["GPP_quantiles"][0, :, 5], GRAM_A_DAY * np.array([1.075, 1.75, 2.5, 3.25, 3.925])
        )
        np.testing.assert_allclose(dataset["GPP_yearly_mean"][0], [31 * 2.5, 366 * 2.5], rtol=1e-6)
        assert (dataset["GPP_mean"].units, dataset["GPP_yearly_mean"].units) == ("kg C m-2 s-1", "g C m-2 yr-1")
        assert dataset["n"][:].tolist() == [4]
        assert dataset.caveats == "not calibrated"
    output = rows_of(folder, "ensemble.output.50.GPP.1999.2000.csv")
    assert [(row["member"], float(row["2000"])) for row in output] == [
        (str(member), pytest.approx(366 * member)) for member in (1, 2, 3, 4)
    ]


def test_numbers_of_a_day_are_written_to_the_last_digit(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any
) -> None:
    plans = prepare(settings, folder, bety)
    run(plans)
    resume(1, folder, Ledger(plans))
    analyse(settings, folder)
    members = np.array([1, 2, 3, 4]) * GRAM_A_DAY
    kept = members.astype(np.float32).astype(np.float64)
    quantiles = np.quantile(kept, (0.025, 0.25, 0.5, 0.75, 0.975)).tolist()
    row = rows_of(folder, "ensemble.ts.50.GPP.1999.2000.csv")[7]
    assert (row["site_id"], row["date"], row["units"], row["n"]) == ("NL-Loo", "1999-12-08", "kg C m-2 s-1", "4")
    assert float(row["sd"]) == kept[:, None].std(axis=0, ddof=1)[0]
    assert [float(row[name]) for name in ("mean", "q2.5", "q25", "q50", "q75", "q97.5")] == [kept.mean(), *quantiles]


def test_several_processes_write_what_one_does(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = replace(settings, sites=(*settings.sites, NORTH))
    plans = prepare(both, folder, bety)
    run(plans)
    (Path(plans[3].outdir) / "2000.nc").write_bytes(b"half")
    resume(1, folder, Ledger(plans, {plans[5].run_id: (RunState.FAILED, 3, "no leaves")}))
    written = []
    for processes in (1, 3):
        monkeypatch.setattr("pecan_executor.collect.processes_for", lambda _, processes=processes: processes)
        monkeypatch.setattr("pecan_executor.analyse.processes_for", lambda _, processes=processes: processes)
        results, left_out = analyse(both, folder)
        files = {path.name: path for path in folder.path.iterdir() if path.suffix in (".csv", ".nc", ".png", ".pdf")}
        written.append(
            (results, left_out, {n: p.read_bytes() for n, p in files.items() if p.suffix != ".pdf"}, set(files))
        )
        for path in files.values():
            if path.name.startswith("ensemble.") and "samples" not in path.name:
                path.unlink()
    assert written[0] == written[1]
    assert len(written[0][1]) == 2


def test_stages_from_the_first_step_to_the_last(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any
) -> None:
    def stages() -> list[tuple[str, ...]]:
        rows = [line.split("\t") for line in folder.status.read_text().splitlines()]
        return [(row[0], *row[3:4]) for row in rows]

    plans = prepare(settings, folder, bety)
    assert stages() == [("TRAIT", "DONE"), ("CONFIG", "DONE")]
    ledger = Ledger(plans)
    register(1, folder, ledger)
    assert stages()[2:] == [("MODEL",)]
    run(plans)
    resume(1, folder, ledger)
    analyse(settings, folder)
    report(1, folder, ledger)
    ended = [(name, "DONE") for name in ("TRAIT", "CONFIG", "MODEL", "OUTPUT", "ENSEMBLE", "FINISHED")]
    assert stages() == ended
    whole = folder.status.read_text()
    resume(1, folder, ledger)
    analyse(settings, folder)
    report(1, folder, ledger)
    assert folder.status.read_text() == whole
    assert (Path(plans[0].outdir) / "2000.nc.var").read_text() == "GPP long GPP\nLAI long LAI\n"


def test_figures_are_there(settings: Settings, folder: WorkflowFolder, bety: Any, run: Any) -> None:
    plans = prepare(settings, folder, bety)
    run(plans)
    resume(1, folder, Ledger(plans))
    analyse(settings, folder)
    assert (folder.path / "ensemble.analysis.50.GPP.1999.2000.png").read_bytes().startswith(b"\x89PNG")
    assert (folder.path / "ensemble.analysis.50.GPP.1999.2000.pdf").read_bytes().startswith(b"%PDF")
    assert not [path for path in folder.path.iterdir() if path.name.startswith(".ensemble")]


def test_missing_and_broken_members_are_named_and_left_out(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any
) -> None:
    plans = prepare(settings, folder, bety)
    run(plans)
    (Path(plans[1].outdir) / "2000.nc").write_bytes(b"half")
    gone = Path(plans[3].outdir)
    assert resume(1, folder, Ledger(plans, {plans[3].run_id: (RunState.FAILED, 3, "no leaves")})) == 3
    assert sorted(path.name for path in (gone / "failed").iterdir()) == ["1999.nc", "2000.nc"]
    assert not list(gone.glob("*.nc"))
    results, left_out = analyse(settings, folder)
    assert {item.plan.member: item.reason.split(" (")[0] for item in left_out} == {
        2: "2000.nc cannot be read",
        4: "failed: no leaves",
    }
    assert results["used"] == 2
    row = rows_of(folder, "ensemble.analysis.50.GPP.1999.2000.csv")[-1]
    assert (row["n"], float(row["mean"])) == ("2", pytest.approx(366 * 2))
    members = rows_of(folder, "ensemble.members.50.csv")
    assert [(row["member"], row["used"]) for row in members] == [("1", "yes"), ("2", "no"), ("3", "yes"), ("4", "no")]


@pytest.mark.parametrize("value", [1e31, -1e50, 1e300, 9.969209968386869e36])
def test_a_member_that_has_blown_up_is_left_out_and_the_rest_goes_on(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any, value: float
) -> None:
    plans = prepare(settings, folder, bety)
    run(plans)
    with Dataset(Path(plans[1].outdir) / "2000.nc", "a") as dataset:
        dataset["GPP"][40] = value
    resume(1, folder, Ledger(plans))
    results, left_out = analyse(settings, folder)
    assert [item.plan.member for item in left_out] == [2]
    assert left_out[0].reason == f"has a GPP of {value:.3g} on 2000-02-10: the model has blown up"
    assert results["used"] == 3


def test_analysed_again_after_a_retry_everything_is_written_anew(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any
) -> None:
    plans = prepare(settings, folder, bety)
    run(plans)
    resume(1, folder, Ledger(plans, {plans[3].run_id: (RunState.FAILED, 3, "no leaves")}))
    analyse(settings, folder)
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    shutil.rmtree(Path(plans[3].outdir) / "failed")
    run(plans[3:])
    assert resume(1, folder, Ledger(plans)) == 4
    results, left_out = analyse(settings, folder)
    assert (results["used"], left_out) == (4, [])
    after = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    assert after.keys() == before.keys()
    results_of = (".pecan-r", "ensemble.ts", "ensemble.analysis", "ensemble.output", "ensemble.members")
    assert not [name for name in before if name.startswith(results_of) and after[name] == before[name]]
    assert rows_of(folder, "ensemble.analysis.50.GPP.1999.2000.csv")[-1]["n"] == "4"
    assert {row["used"] for row in rows_of(folder, "ensemble.members.50.csv")} == {"yes"}
    ledger = Ledger(plans)
    assert report(1, folder, ledger) == ledger.reported[1] == results


def test_sites_alone_and_together(settings: Settings, folder: WorkflowFolder, bety: Any, run: Any) -> None:
    both = replace(settings, sites=(*settings.sites, NORTH))
    plans = prepare(both, folder, bety)
    run(plans)
    broken = next(plan for plan in plans if (plan.member, plan.site_id) == (4, "north"))
    resume(1, folder, Ledger(plans, {broken.run_id: (RunState.CANCELLED, 0, "")}))
    results, left_out = analyse(both, folder)
    assert [item.plan.run_id for item in left_out] == [broken.run_id]
    means = {
        row["site_id"]: (int(row["n"]), float(row["mean"]))
        for row in rows_of(folder, "ensemble.analysis.50.GPP.1999.2000.csv")
        if (row["year"], row["quantity"]) == ("2000", "sum")
    }
    # all sites together: members 1 to 3, which are whole at both, each (1 + 10) / 2 times its number
    assert means == {
        "NL-Loo": (4, pytest.approx(366 * 2.5)),
        "north": (3, pytest.approx(366 * 20)),
        "all": (3, pytest.approx(366 * 11)),
    }
    with Dataset(folder.path / "ensemble.ts.50.GPP.1999.2000.nc") as dataset:
        assert list(dataset["site_id"][:]) == ["NL-Loo", "north", "all"]
        np.testing.assert_allclose(dataset["GPP_mean"][:, 200], GRAM_A_DAY * np.array([2.5, 20, 11]), rtol=1e-6)
    assert results["yearly"][0]["site"] == "all"


def test_years_of_the_analysis_may_be_fewer(settings: Settings, folder: WorkflowFolder, bety: Any, run: Any) -> None:
    later = replace(settings, ensemble=replace(settings.ensemble, start_year=2000))
    plans = prepare(later, folder, bety)
    run(plans)
    resume(1, folder, Ledger(plans))
    results, _ = analyse(later, folder)
    assert {row["year"] for row in results["yearly"]} == {2000}
    assert len(rows_of(folder, "ensemble.ts.50.GPP.2000.2000.csv")) == 366


def test_one_member_can_be_analysed(settings: Settings, folder: WorkflowFolder, bety: Any, run: Any) -> None:
    one = replace(settings, ensemble=replace(settings.ensemble, size=1))
    plans = prepare(one, folder, bety)
    run(plans)
    resume(1, folder, Ledger(plans))
    results, _ = analyse(one, folder)
    assert results["yearly"][0]["sd"] is None
    assert "-" in table(results["yearly"])


def test_a_variable_no_run_wrote_is_refused_with_those_there_are(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any
) -> None:
    other = replace(settings, ensemble=replace(settings.ensemble, variables=("GPP", "Qle")))
    plans = prepare(other, folder, bety)
    run(plans)
    resume(1, folder, Ledger(plans))
    with pytest.raises(UserError, match="the model writes no Qle; it writes GPP, LAI"):
        analyse(other, folder)


def test_without_any_whole_run_it_says_why(settings: Settings, folder: WorkflowFolder, bety: Any) -> None:
    plans = prepare(settings, folder, bety)
    resume(1, folder, Ledger(plans))
    with pytest.raises(UserError, match=r"none of the 4 runs can be analysed; run 9000: 1999\.nc is missing"):
        analyse(settings, folder)
    assert not list(folder.path.glob("ensemble.ts*"))


def test_report_hands_headline_numbers_to_the_ledger(
    settings: Settings, folder: WorkflowFolder, bety: Any, run: Any
) -> None:
    plans = prepare(settings, folder, bety)
    run(plans)
    ledger = Ledger(plans)
    resume(1, folder, ledger)
    results, _ = analyse(settings, folder)
    assert report(1, folder, ledger) == results == ledger.reported[1]
    assert len(json.dumps(results).encode()) < MOST_BYTES
    shown = [row for row in results["yearly"] if (row["variable"], row["year"]) == ("GPP", 2000)]
    assert shown[0]["mean"] == pytest.approx(915, rel=1e-5)
    assert [row["mean"] for row in read_yearly(folder.path)] == [row["mean"] for row in results["yearly"]]


def test_headline_numbers_of_a_large_workflow_stay_small() -> None:
    rows = [
        {"site": f"site-{at}", "variable": "GPP", "units": "g C m-2 yr-1", "year": 2000, "n": 1, "mean": 1.23456e-7}
        for at in range(500)
    ]
    rows.append({**rows[0], "site": "all"})
    results = headline({"ensembleId": "99000000001"}, 501, 0, rows, ["x" * 5000])
    assert len(json.dumps(results).encode()) < MOST_BYTES
    assert results["yearly"][0]["site"] == "all"
    assert results["omitted"] == 501 - len(results["yearly"]) > 0


def test_an_unanalysed_folder_has_no_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has the workflow been analysed"):
        tables(tmp_path)


@pytest.mark.parametrize(
    ("first", "last", "name"),
    [
        (date(2000, 1, 1), date(2000, 12, 31), "daily"),
        (date(1997, 1, 1), date(1999, 12, 31), "weekly"),
        (date(1990, 3, 5), date(1999, 11, 30), "monthly"),
    ],
)
def test_drawn_spans_cover_every_day_once(first: date, last: date, name: str) -> None:
    period = Period(first, last)
    bins = bins_of(period)
    days = [day for span in bins.slices for day in range(span.start, span.stop)]
    assert days == list(range(period.days))
    assert bins.name == name
    assert all(np.diff(bins.middles) > 0)
