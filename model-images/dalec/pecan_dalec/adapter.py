"""Runs one run folder: config.json in, standard output and logfile.txt out, an exit code for the worker."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from pecan_dalec.config import RunConfig, read_config
from pecan_dalec.drivers import read_drivers
from pecan_dalec.errors import EXIT_BAD_DATA, EXIT_INPUT_OUTPUT, EXIT_INTERNAL, BadData
from pecan_dalec.files import renamed_into_place
from pecan_dalec.model import Day, simulate
from pecan_dalec.standard_output import write_standard_output
from pecan_dalec.traits import NAMES, parameters_and_state, values_of

Log = Callable[[str], None]


def main(arguments: list[str]) -> int:
    """`run [rundir]`: exit 0 when every output is there, else a non-zero code and one clear last line on stderr."""
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print("usage: run [rundir]  (the folder with config.json; default: the current one)", file=sys.stderr)
        return 2
    lines: list[str] = []
    outdir: Path | None = None
    try:
        config = read_config(Path(arguments[0] if arguments else ".") / "config.json")
        outdir = config.outdir
        outdir.mkdir(parents=True, exist_ok=True)
        _run(config, lines.append)
        code, last = 0, f"MODEL FINISHED: DALEC run {config.run_id}"
    except BadData as error:
        code, last = EXIT_BAD_DATA, f"ERROR IN MODEL RUN: {error}"
    except OSError as error:
        code, last = EXIT_INPUT_OUTPUT, f"ERROR IN MODEL RUN: {error}"
    except Exception as error:
        lines.append(traceback.format_exc())
        code, last = EXIT_INTERNAL, f"ERROR IN MODEL RUN: the DALEC adapter failed ({error!r}); see logfile.txt"
    if outdir is not None:
        try:
            _write_log(outdir, [*lines, last])
        except OSError as error:
            code, last = code or EXIT_INPUT_OUTPUT, f"{last}; cannot write logfile.txt: {error}"
    print(last, file=sys.stderr if code else sys.stdout)
    return code


def _run(config: RunConfig, log: Log) -> None:
    log(f"DALEC run {config.run_id}: {config.site_name} ({config.latitude} N, {config.longitude} E)")
    log(f"{config.start} to {config.end} with met {config.met}")
    values = values_of(config.pfts)
    log("values given (all others are the published defaults of Williams et al. 2005):")
    for name, value in values.items():
        log(f"  {name} = {value:.6g} {NAMES[name].units}")
    parameters, state = parameters_and_state(values)
    drivers = read_drivers(config.met, config.start, config.end)
    days = list(simulate(parameters, state, config.latitude, drivers))
    _log_years(days, log)
    for path in write_standard_output(
        days, config.outdir, config.latitude, config.longitude, parameters.specific_leaf_area
    ):
        log(f"wrote {path}")


def _log_years(days: list[Day], log: Log) -> None:
    for year, rows in groupby(days, key=lambda day: day.day.year):
        of_year = list(rows)
        gpp, nee = sum(day.gpp for day in of_year), sum(day.nee for day in of_year)
        log(f"{year}: {len(of_year)} days, GPP {gpp:.2f}, NEE {nee:.2f} g C m-2 (NEE > 0 is a source)")


def _write_log(outdir: Path, lines: list[str]) -> None:
    with renamed_into_place(outdir / "logfile.txt") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
