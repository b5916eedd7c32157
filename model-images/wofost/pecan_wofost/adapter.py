"""One run of WOFOST, from what config.json says to standard output."""

from __future__ import annotations

from dataclasses import replace

from pecan_adapter.command import Log, run_command
from pecan_adapter.config import RunConfig
from pecan_adapter.standard_output import write_standard_output
from pecan_wofost.parameters import MODEL, NAMES, Parameters, parameters_of
from pecan_wofost.standard_output import ORIGIN, UNRIPE, is_ripe, standard_series
from pecan_wofost.weather import read_weather


def main(arguments: list[str]) -> int:
    """`run [rundir]`, see `run_command`."""
    return run_command(MODEL, _run, arguments)


def _run(config: RunConfig, log: Log) -> None:
    parameters = parameters_of(config.pfts)
    _log_given(config, parameters, log)
    weather = read_weather(config.met, config.start, config.end, parameters.wind_height)
    # pcse takes a second to import: only now, when all that a user can get wrong has been looked at.
    from pecan_wofost.engine import simulate, weather_provider

    provider = weather_provider(weather, config.latitude, config.longitude, parameters.elevation)
    result = simulate(parameters, provider, config.start, config.end)
    for season in result.seasons:
        log(season)
    origin = ORIGIN if is_ripe(result.rows) else replace(ORIGIN, caveats=UNRIPE + ORIGIN.caveats)
    for path in write_standard_output(standard_series(result.rows, config.start, result.saturated), config, origin):
        log(f"wrote {path}")


def _log_given(config: RunConfig, parameters: Parameters, log: Log) -> None:
    log(f"{parameters.crop_name}, {'water-limited' if parameters.water_limited else 'potential'} production")
    log("values given (all others are those of pcse's demonstration data):")
    for pft in config.pfts:
        for name, value in (pft.traits | pft.constants).items():
            log(f"  {name} = {value:.6g} {NAMES[name].units}")
