"""One run of DALEC, from what config.json says to standard output."""

from __future__ import annotations

from itertools import groupby

from pecan_adapter.command import Log, run_command
from pecan_adapter.config import RunConfig
from pecan_adapter.standard_output import write_standard_output
from pecan_adapter.traits import values_of
from pecan_dalec.drivers import read_drivers
from pecan_dalec.model import Day, simulate
from pecan_dalec.standard_output import ORIGIN, standard_series
from pecan_dalec.traits import NAMES, parameters_and_state

MODEL = "DALEC"


def main(arguments: list[str]) -> int:
    """`run [rundir]`, see `run_command`."""
    return run_command(MODEL, _run, arguments)


def _run(config: RunConfig, log: Log) -> None:
    values = values_of(config.pfts, NAMES, MODEL)
    log("values given (all others are the published defaults of Williams et al. 2005):")
    for name, value in values.items():
        log(f"  {name} = {value:.6g} {NAMES[name].units}")
    parameters, state = parameters_and_state(values)
    drivers = read_drivers(config.met, config.start, config.end)
    days = list(simulate(parameters, state, config.latitude, drivers))
    _log_years(days, log)
    for path in write_standard_output(standard_series(days, parameters.specific_leaf_area), config, ORIGIN):
        log(f"wrote {path}")


def _log_years(days: list[Day], log: Log) -> None:
    for year, rows in groupby(days, key=lambda day: day.day.year):
        of_year = list(rows)
        gpp, nee = sum(day.gpp for day in of_year), sum(day.nee for day in of_year)
        log(f"{year}: {len(of_year)} days, GPP {gpp:.2f}, NEE {nee:.2f} g C m-2 (NEE > 0 is a source)")
