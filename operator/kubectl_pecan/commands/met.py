"""met from-csv and met check: meteorology for models, without a cluster."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from kubectl_pecan import screens
from kubectl_pecan.app import Output, OutputOption, command, console, print_json
from kubectl_pecan.errors import CliError, ExitCode
from kubectl_pecan.manifests import read_text

app = typer.Typer(
    help="Convert weather to what models read, and check it.", no_args_is_help=True, rich_markup_mode=None
)
MOST_CSV_BYTES = 1 << 28
# What models read beside temperature and radiation, where they read it.
USEFUL = ("precipitation_flux", "air_pressure", "specific_humidity", "wind_speed")


@command(
    app,
    "met from-csv station.csv met/loobos/Loobos --lat 52.17 --lon 5.74 --elevation 25",
    "met from-csv station.csv Loobos --lat 52.17 --lon 5.74 --units 'TX=degC' --column air_temperature_max=TX",
    name="from-csv",
)
def from_csv(
    file: Annotated[Path, typer.Argument(metavar="CSV", help="A row a day (or hour), with a header.")],
    prefix: Annotated[Path, typer.Argument(help="P of the files P.<year>.nc to be written.")],
    lat: Annotated[float, typer.Option("--lat", min=-90, max=90, help="Latitude, degrees north.")],
    lon: Annotated[float, typer.Option("--lon", min=-180, max=180, help="Longitude, degrees east.")],
    column: Annotated[
        list[str] | None, typer.Option("--column", metavar="VARIABLE=COLUMN", help="Which column is a variable.")
    ] = None,
    units: Annotated[
        list[str] | None, typer.Option("--units", metavar="COLUMN=UNITS", help="Units of a column.")
    ] = None,
    elevation: Annotated[
        float | None, typer.Option("--elevation", min=-500, max=9000, help="Metres above the sea, for air pressure.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace files that are there.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Make CF netCDF of a CSV of weather, a file a year.

    Units stand in the header, as in 'tmax [degC]', or are given by --units. Every value is checked, none is filled in.
    """
    from kubectl_pecan.met.csv_weather import Options, read_weather
    from kubectl_pecan.met.netcdf import write_weather

    text = read_text(file, MOST_CSV_BYTES)
    options = Options(_pairs("--column", column), _pairs("--units", units), elevation)
    try:
        weather = read_weather(text, options)
    except CliError as error:
        raise CliError(error.code, f"{file}: {error.message}") from None
    source = f"{file.name}, SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()}"
    paths = write_weather(weather, prefix, lat, lon, source, replace)
    absent = [name for name in USEFUL if name not in weather.variables]
    if output is Output.JSON:
        print_json({"files": [str(path) for path in paths], "ignored": weather.ignored, "absent": absent})
        return
    notes = [f"not written, as the CSV does not give it: {', '.join(absent)}"] if absent else []
    notes += [f"columns not used: {', '.join(weather.ignored)}"] if weather.ignored else []
    written = [f"{path} is written" for path in paths]
    console().print(Group(_from_table(weather), *(Text(line) for line in [*notes, *written])))


def _from_table(weather: Any) -> RenderableType:
    from kubectl_pecan.met.quantities import QUANTITIES

    made = screens.table("variable", "least", "mean", "most", "units", "from", right=("least", "mean", "most"))
    for name, values in weather.variables.items():
        numbers = [f"{value:.6g}" for value in (values.min(), values.mean(), values.max())]
        made.add_row(name, *numbers, QUANTITIES[name].units, Text(weather.comments[name]))
    return made


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise CliError(ExitCode.USAGE, f"{option} {text}: write NAME=VALUE")
        pairs[key.strip()] = value.strip()
    return pairs


@command(app, "met check Loobos.1998.nc", "met check met/loobos/Loobos", name="check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A netCDF file, or the prefix P of files P.<year>.nc.")],
    output: OutputOption = Output.TEXT,
) -> None:
    """Check meteorology: time steps, variables, units, ranges, gaps."""
    from kubectl_pecan.met.check import check_files, met_files

    reports = check_files(met_files(file))
    if output is Output.JSON:
        print_json([_plain(report) for report in reports])
    else:
        console().print(Group(*(part for report in reports for part in _check_screen(report))))
    problems = sum(len(report.problems) for report in reports)
    if problems:
        raise CliError(ExitCode.INVALID, f"{file}: {problems} problem{'s' if problems > 1 else ''}")


def _plain(report: Any) -> dict[str, Any]:
    times = {name: getattr(report, name) for name in ("begin", "end")}
    return {**asdict(report), **{name: time and f"{time:%Y-%m-%dT%H:%M:%SZ}" for name, time in times.items()}}


def _check_screen(report: Any) -> list[RenderableType]:
    from kubectl_pecan.met.quantities import QUANTITIES

    span = ""
    if report.begin is not None:
        span = f"  {report.begin:%Y-%m-%d %H:%M} to {report.end:%Y-%m-%d %H:%M} in steps of {report.step_seconds} s"
    made = screens.table("variable", "least", "most", "units", "file's units", right=("least", "most"))
    for each in report.variables:
        numbers = ["-" if value is None else f"{value:.6g}" for value in (each.least, each.most)]
        made.add_row(each.name, *numbers, QUANTITIES[each.name].units, Text(each.units))
    verdict = [Text(f"wrong: {problem}", style="red") for problem in report.problems]
    return [Text(f"{report.path}{span}"), made, *(verdict or [Text("in order", style="green")])]
